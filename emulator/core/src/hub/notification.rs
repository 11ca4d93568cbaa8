//! What a hub says itself at its event endpoint: lifecycle, twin and connection-state events.
//!
//! No route exists by default, so none of these is published unless somebody asks (R-G40).

use std::sync::Arc;

use super::message::{Message, MessageSource, Origin, Properties};
use crate::id::IdentityId;

/// What happened: the value of `opType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An identity came into being.
    CreateDeviceIdentity,
    /// An identity was removed.
    DeleteDeviceIdentity,
    /// Part of a twin changed.
    UpdateTwin,
    /// Sections of a twin were replaced as a whole.
    ReplaceTwin,
    /// A device was seen connected.
    DeviceConnected,
    /// A device was seen disconnected.
    DeviceDisconnected,
}

impl Operation {
    /// What `opType` says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateDeviceIdentity => "createDeviceIdentity",
            Self::DeleteDeviceIdentity => "deleteDeviceIdentity",
            Self::UpdateTwin => "updateTwin",
            Self::ReplaceTwin => "replaceTwin",
            Self::DeviceConnected => "deviceConnected",
            Self::DeviceDisconnected => "deviceDisconnected",
        }
    }

    /// The source it belongs to.
    #[must_use]
    pub fn source(self) -> MessageSource {
        match self {
            Self::CreateDeviceIdentity | Self::DeleteDeviceIdentity => {
                MessageSource::DeviceLifecycle
            }
            Self::UpdateTwin | Self::ReplaceTwin => MessageSource::TwinChange,
            Self::DeviceConnected | Self::DeviceDisconnected => {
                MessageSource::DeviceConnectionState
            }
        }
    }

    /// What `iothub-message-schema` says.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Self::CreateDeviceIdentity | Self::DeleteDeviceIdentity => {
                "deviceLifecycleNotification"
            }
            Self::UpdateTwin | Self::ReplaceTwin => "twinChangeNotification",
            Self::DeviceConnected | Self::DeviceDisconnected => "deviceConnectionStateNotification",
        }
    }
}

/// Something to tell of a device or module.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// What happened.
    pub operation: Operation,
    /// To which device or module.
    pub id: &'a IdentityId,
    /// The hub's name, without its domain.
    pub hub: &'a str,
    /// When, as it is to be shown.
    pub at_text: &'a str,
    /// Tells the event from all others.
    pub correlation_id: &'a str,
    /// What is told: JSON.
    pub body: &'a [u8],
}

/// The message that tells it.
///
/// Source: behaviour.md R-G39, R-G40; non-telemetry event schemas.
#[must_use]
pub fn message(notification: &Notification<'_>) -> Message {
    let operation = notification.operation;
    let system = [
        ("content-encoding", "utf-8"),
        ("content-type", "application/json"),
        ("correlation-id", notification.correlation_id),
        ("user-id", notification.hub),
    ];
    let id = notification.id;
    let module = id.module_id().map(|module| ("moduleId", module));
    let application = [("hubName", notification.hub), ("deviceId", id.device_id())]
        .into_iter()
        .chain(module)
        .chain([
            ("operationTimestamp", notification.at_text),
            ("opType", operation.name()),
            ("iothub-message-schema", operation.schema()),
        ]);
    let origin = Origin::subject(id.clone());
    let properties = Properties::new(system, application);
    Message::new(
        operation.source(),
        Arc::new(origin),
        properties,
        notification.body,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G39, R-G40.
    #[test]
    fn a_notification_has_the_published_properties() {
        let table = [
            (
                Operation::CreateDeviceIdentity,
                "createDeviceIdentity",
                "deviceLifecycleNotification",
                "deviceLifecycleEvents",
            ),
            (
                Operation::DeleteDeviceIdentity,
                "deleteDeviceIdentity",
                "deviceLifecycleNotification",
                "deviceLifecycleEvents",
            ),
            (
                Operation::UpdateTwin,
                "updateTwin",
                "twinChangeNotification",
                "twinChangeEvents",
            ),
            (
                Operation::ReplaceTwin,
                "replaceTwin",
                "twinChangeNotification",
                "twinChangeEvents",
            ),
            (
                Operation::DeviceConnected,
                "deviceConnected",
                "deviceConnectionStateNotification",
                "deviceConnectionStateEvents",
            ),
            (
                Operation::DeviceDisconnected,
                "deviceDisconnected",
                "deviceConnectionStateNotification",
                "deviceConnectionStateEvents",
            ),
        ];
        for (operation, name, schema, source) in table {
            for module_id in [None, Some("m")] {
                let id = IdentityId::parse(if module_id.is_some() { "d/m" } else { "d" });
                let message = message(&Notification {
                    operation,
                    id: &id.unwrap(),
                    hub: "h",
                    at_text: "2026-01-01T00:00:00Z",
                    correlation_id: "c",
                    body: b"{}",
                });
                let system: Vec<_> = message.properties().system().collect();
                assert_eq!(
                    system,
                    [
                        ("content-encoding", "utf-8"),
                        ("content-type", "application/json"),
                        ("correlation-id", "c"),
                        ("user-id", "h"),
                    ]
                );
                let application: Vec<_> = message.properties().application().collect();
                let mut expected = vec![("hubName", "h"), ("deviceId", "d")];
                expected.extend(module_id.map(|module| ("moduleId", module)));
                expected.extend([
                    ("operationTimestamp", "2026-01-01T00:00:00Z"),
                    ("opType", name),
                    ("iothub-message-schema", schema),
                ]);
                assert_eq!(application, expected);
                let stamps: Vec<_> = message.stamps().collect();
                let mut expected = vec![("iothub-connection-device-id", "d")];
                expected.extend(module_id.map(|module| ("iothub-connection-module-id", module)));
                expected.push(("iothub-message-source", source));
                assert_eq!(stamps, expected);
                assert_eq!(message.body(), b"{}");
            }
        }
    }
}
