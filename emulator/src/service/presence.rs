//! Looks once a minute which devices connected and disconnected, and tells it (R-G39).
//!
//! The rule is `core::hub::presence`. A timer runs only while there is something to tell, so an
//! idle hub stays idle; without a route nothing is kept at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linarite_core::hub::message::MessageSource;
use linarite_core::hub::notification::Operation;
use linarite_core::hub::presence::{ConnectionState, Presence, next_look_ms, sequence_number};
use linarite_core::id::IdentityId;
use linarite_env::{Clock, UnixMillis};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::voice::Voice;
use crate::wire::notification as body;

/// Watches the sessions of one hub.
pub(crate) struct Watch {
    known: Mutex<Known>,
    voice: Arc<Voice>,
    clock: Clock,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Known {
    devices: BTreeMap<IdentityId, Presence>,
    /// Whether a look is coming.
    armed: bool,
    last_look: UnixMillis,
    told: u64,
}

impl Watch {
    pub(crate) fn new(
        voice: &Arc<Voice>,
        clock: &Clock,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Self {
        Self {
            known: Mutex::default(),
            voice: Arc::clone(voice),
            clock: clock.clone(),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        }
    }

    /// Notes what happened to a device's or module's session.
    pub(crate) fn note(self: &Arc<Self>, id: &IdentityId, change: impl FnOnce(&mut Presence)) {
        if !self.voice.speaks_of(MessageSource::DeviceConnectionState) {
            return;
        }
        let mut known = self.lock();
        let presence = known.devices.entry(id.clone()).or_default();
        change(presence);
        let (due, forgettable) = (presence.is_due(), presence.is_forgettable());
        if forgettable {
            known.devices.remove(id);
        }
        if due && !known.armed {
            known.armed = true;
            self.arm();
        }
    }

    /// Forgets an identity that is gone; its end is told as such.
    pub(crate) fn forget(&self, id: &IdentityId) {
        if self.voice.speaks_of(MessageSource::DeviceConnectionState) {
            self.lock().devices.remove(id);
        }
    }

    fn arm(self: &Arc<Self>) {
        let now = self.clock.now_ms();
        let pause = UnixMillis(next_look_ms(now.0)).since(now);
        let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(0));
        let (watch, cancel) = (Arc::clone(self), self.cancel.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => watch.look(),
            }
        });
    }

    fn look(&self) {
        let mut known = self.lock();
        known.armed = false;
        // The clock may be set back; sequence numbers grow all the same.
        known.last_look = known.last_look.max(self.clock.now_ms());
        let Known {
            devices,
            last_look,
            told,
            ..
        } = &mut *known;
        devices.retain(|id, presence| {
            let operation = match presence.look() {
                Some(ConnectionState::Connected) => Some(Operation::DeviceConnected),
                Some(ConnectionState::Disconnected) => Some(Operation::DeviceDisconnected),
                None => None,
            };
            if let Some(operation) = operation {
                *told += 1;
                let number = sequence_number(last_look.0, *told);
                self.voice
                    .tell(operation, id, || body::connection_state(&number));
            }
            !presence.is_forgettable()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
