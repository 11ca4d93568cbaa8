//! Reading what became of messages for devices.
//!
//! Feedback comes in batches, each of which goes to one reader: readers share it with each other
//! and with whoever asks the hub's service API.
//!
//! ```no_run
//! # async fn read(emulator: linarite_emulator::Emulator) {
//! let feedback = emulator.feedback("localhost").expect("the hub is configured");
//! while let Some(batch) = feedback.next().await {
//!     for record in batch.records.iter() {
//!         println!("{:?}: {}", record.message_id, record.fate.name());
//!     }
//! }
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use linarite_core::hub::c2d::feedback::{Batch, FeedbackSettlement};
use tokio_util::sync::CancellationToken;

use crate::service::hub::Hub;

/// The feedback of one hub. Cheap to clone.
#[derive(Clone)]
pub struct HubFeedback {
    hub: Arc<Hub>,
    stopped: CancellationToken,
}

impl fmt::Debug for HubFeedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubFeedback")
            .field("hub", &self.hub.host)
            .finish_non_exhaustive()
    }
}

impl HubFeedback {
    pub(crate) fn new(hub: Arc<Hub>, stopped: CancellationToken) -> Self {
        Self { hub, stopped }
    }

    /// The batch that has waited longest, which is completed by that; `None` if none waits.
    #[must_use]
    pub fn ready(&self) -> Option<Batch> {
        let locked = self.hub.receive_feedback()?;
        // Nobody else can settle it meanwhile: the token is known here alone.
        let _ = self
            .hub
            .settle_feedback(&locked.token, FeedbackSettlement::Complete);
        Some(locked.batch)
    }

    /// The same; waits if none does. `None` once the emulator was stopped.
    ///
    /// Cancel-safe: a batch is taken only in the poll that gives it.
    pub async fn next(&self) -> Option<Batch> {
        loop {
            let arrived = self.hub.feedback_arrived.notified();
            tokio::pin!(arrived);
            // Registered before looking, so that a batch that arrives in between is not missed.
            arrived.as_mut().enable();
            if let Some(batch) = self.ready() {
                return Some(batch);
            }
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => return None,
                () = arrived => {}
            }
        }
    }
}
