//! What the hub wants of a live session, queued for the session's own task to carry out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use linarite_env::event::Reason;
use tokio::sync::{Notify, oneshot};

use crate::limits::MAILBOX_MAX;

/// An answer of a device to a direct method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodAnswer {
    /// What the device reported, by convention like an HTTP status.
    pub(crate) status: i64,
    /// What the device sent with it.
    pub(crate) payload: Bytes,
}

/// Something a session is to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Call a direct method and pass the answer on.
    Method {
        name: String,
        payload: Bytes,
        answer: oneshot::Sender<MethodAnswer>,
    },
    /// Tell the device about changed desired properties.
    DesiredChanged { version: u64, patch: Bytes },
    /// Send the device the messages that wait for it.
    Deliver,
    /// End at once.
    Close(Reason),
    /// End before long, and at the next word of the device (R-E6).
    CloseLater { after: Duration, reason: Reason },
}

impl Command {
    fn delivers(&self) -> bool {
        matches!(self, Self::Deliver)
    }

    /// Whether it ends the session.
    fn closes(&self) -> bool {
        matches!(self, Self::Close(_) | Self::CloseLater { .. })
    }
}

/// The queue of one session. An idle one owns no heap memory besides itself.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<VecDeque<Command>>,
    filled: Notify,
}

impl Mailbox {
    /// Queues `command`; gives it back if [`MAILBOX_MAX`] are waiting. A close always fits, and so does
    /// a nudge to deliver, of which there is never more than one.
    pub(crate) fn put(&self, command: Command) -> Result<(), Command> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::Deliver if queue.iter().any(Command::delivers) => return Ok(()),
            Command::Deliver => {}
            _ if command.closes() => {}
            _ if queue.len() >= MAILBOX_MAX => return Err(command),
            _ => {}
        }
        queue.push_back(command);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// The oldest command; waits for one. Cancel-safe: nothing is lost if dropped while waiting.
    pub(crate) async fn take(&self) -> Command {
        loop {
            let next = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let next = queue.pop_front();
                if queue.is_empty() {
                    queue.shrink_to_fit();
                }
                next
            };
            match next {
                Some(command) => return command,
                None => self.filled.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close() -> Command {
        Command::Close(Reason {
            rule: "R-E6",
            code: 0,
            text: "deleted".to_owned(),
        })
    }

    #[tokio::test]
    async fn commands_come_out_in_order_and_the_bound_holds() {
        let mailbox = Mailbox::default();
        for version in 0..MAILBOX_MAX as u64 {
            mailbox
                .put(Command::DesiredChanged {
                    version,
                    patch: Bytes::new(),
                })
                .unwrap();
        }
        let over = Command::DesiredChanged {
            version: 9_999,
            patch: Bytes::new(),
        };
        assert!(mailbox.put(over).is_err());
        mailbox.put(close()).unwrap();
        for expected in 0..MAILBOX_MAX as u64 {
            let taken = mailbox.take().await;
            assert!(
                matches!(taken, Command::DesiredChanged { version, .. } if version == expected)
            );
        }
        assert!(matches!(mailbox.take().await, Command::Close(_)));
    }
}
