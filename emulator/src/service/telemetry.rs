//! Messages from devices, whatever transport they came by (R-G17, R-G37, R-G38).

use std::sync::Arc;

use linarite_core::hub::identity::DeviceStatus;
use linarite_core::hub::message::{Message, MessageError, Origin, Properties};
use linarite_core::hub::presence::Presence;
use linarite_core::hub::quota::Way;
use linarite_core::hub::tier::Metered;
use linarite_core::limits::MESSAGE_BYTES_MAX;
use linarite_env::Event;

use super::hub::Hub;
use crate::error::ServiceError;

impl Hub {
    /// Keeps a message at the hub's event endpoint. What this returns without an error may be
    /// acknowledged.
    ///
    /// # Errors
    /// If the sender is no longer there or disabled, which ends its session (R-G4), or the
    /// message is too large; if the hub has taken as many as it may today (R-H7).
    pub(crate) fn accept_telemetry(
        &self,
        origin: &Arc<Origin>,
        properties: Properties,
        body: &[u8],
    ) -> Result<(), ServiceError> {
        let message = Message::telemetry(Arc::clone(origin), properties, body)?;
        self.accept(origin, [message])
    }

    /// Keeps all messages of a batch, or none.
    ///
    /// # Errors
    /// As for one message; a batch is as large as a message may be.
    pub(crate) fn accept_batch(
        &self,
        origin: &Arc<Origin>,
        batch: Vec<(Properties, Vec<u8>)>,
    ) -> Result<(), ServiceError> {
        let message = |(properties, body): (Properties, Vec<u8>)| {
            Message::telemetry(Arc::clone(origin), properties, &body)
        };
        let messages: Result<Vec<Message>, MessageError> = batch.into_iter().map(message).collect();
        let messages = messages?;
        let bytes: usize = messages.iter().map(Message::counted_bytes).sum();
        if bytes > MESSAGE_BYTES_MAX {
            let bytes_max = MESSAGE_BYTES_MAX;
            return Err(MessageError::TooLarge { bytes, bytes_max }.into());
        }
        self.accept(origin, messages)
    }

    fn accept(
        &self,
        origin: &Arc<Origin>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), ServiceError> {
        self.check_quota()?;
        let (id, now) = (origin.id(), self.env.clock.now_ms());
        let enabled = self.devices.change_of(id, |held, device| {
            held.last_activity = Some(now);
            device.unwrap_or(&held.identity).status == DeviceStatus::Enabled
        });
        if enabled != Some(true) {
            return Err(ServiceError::identity_not_found(id));
        }
        self.presence.note(id, Presence::reported);
        for message in messages {
            self.charge(Metered::DeviceToCloud, Way::Sent, message.counted_bytes());
            let event = self.events.append(message);
            let properties = event.message().properties();
            self.env.events.emit(Event::TelemetryAccepted {
                hub: self.name(),
                device_id: id.text(),
                message_id: properties.system_value("message-id").map(Into::into),
            });
        }
        Ok(())
    }
}

impl From<MessageError> for ServiceError {
    fn from(error: MessageError) -> Self {
        Self::new(
            error.code(),
            "MessageTooLarge",
            error.rule(),
            error.to_string(),
        )
    }
}
