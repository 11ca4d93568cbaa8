//! A hub that restarts because somebody wants it to: every session ends, and devices are refused
//! until it is back. What it knows of them stays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use linarite_core::id::IdentityId;
use linarite_env::event::Reason;

use super::hub::Hub;
use super::mailbox::{Command, Mailbox};
use crate::error::ServiceError;

impl Hub {
    /// Ends every session and stays away for `down_for`. Gives how many sessions ended.
    pub(crate) fn restart(&self, down_for: Duration) -> usize {
        let down_ms = i64::try_from(down_for.as_millis()).unwrap_or(i64::MAX);
        let until = self.env.clock.now_ms().0.saturating_add(down_ms);
        self.down_until.fetch_max(until, Ordering::Relaxed);
        let mailboxes = self.mailboxes();
        for mailbox in &mailboxes {
            // A close always fits into a mailbox.
            let _ = mailbox.put(Command::Close(Reason {
                rule: "R-C11",
                code: 503_000,
                text: "the hub restarts".to_owned(),
            }));
        }
        mailboxes.len()
    }

    /// Ends a restart before its time.
    pub(crate) fn is_back(&self) {
        self.down_until.store(i64::MIN, Ordering::Relaxed);
    }

    /// Fails while the hub restarts.
    ///
    /// # Errors
    /// 503000.
    pub(crate) fn is_up(&self) -> Result<(), ServiceError> {
        if self.env.clock.now_ms().0 >= self.down_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(ServiceError::new(
            503_000,
            "ServiceUnavailable",
            "R-C11",
            "The hub is not available. Please retry later.",
        ))
    }

    /// The mailboxes of all open sessions, in the order of their identities.
    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let mut ids = Vec::new();
        for device in self.devices.after(None, usize::MAX) {
            let modules = self.devices.module_ids(&device);
            ids.push(IdentityId::from(device));
            ids.extend(modules.into_iter().flatten());
        }
        let mailbox = |id| {
            let live = |held: &crate::store::devices::Registered| {
                held.live.as_ref().map(|live| Arc::clone(&live.mailbox))
            };
            self.devices.read(id, live).flatten()
        };
        ids.iter().filter_map(mailbox).collect()
    }
}
