//! A device at its hub: CONNECT, telemetry and direct methods (api-version 2021-04-12).

use super::{Packet, Publish, QoS, connect, escaped, publish, subscribe};

const API_VERSION: &str = "2021-04-12";
const METHOD_PREFIX: &str = "$iothub/methods/POST/";

/// The packet id of the SUBSCRIBE; telemetry never uses it.
const SUBSCRIBE_ID: u16 = 1;

/// The CONNECT of a device to its hub; `keep_alive` in seconds.
///
/// The session is persistent: what the hub queued for the device outlives a reconnect.
#[must_use]
pub fn connect_packet(hub: &str, device_id: &str, keep_alive: u16) -> Packet {
    let username = format!(
        "{hub}/{device_id}/?api-version={API_VERSION}&DeviceClientType={}",
        escaped("linarite"),
    );
    connect(device_id, username, keep_alive, false)
}

/// The SUBSCRIBE to direct methods.
#[must_use]
pub fn subscribe_packet() -> Packet {
    subscribe("$iothub/methods/POST/#", QoS::AtMostOnce, SUBSCRIBE_ID)
}

/// The telemetry message number `sequence` of a device's life, at QoS 1.
///
/// Its message id is the number in decimal, so that a back end can tell which messages of a
/// device arrived, and how often.
#[must_use]
pub fn telemetry_packet(device_id: &str, sequence: u32, dup: bool) -> Packet {
    let topic = format!(
        "devices/{device_id}/messages/events/{}={}",
        escaped("$.mid"),
        escaped(&message_id(sequence)),
    );
    let body = format!(r#"{{"sequence":{sequence}}}"#);
    let mut message = publish(
        topic,
        QoS::AtLeastOnce,
        packet_id(sequence),
        body.into_bytes(),
    );
    message.dup = dup;
    Packet::Publish(message)
}

/// The message id of the telemetry message number `sequence`.
#[must_use]
pub fn message_id(sequence: u32) -> String {
    sequence.to_string()
}

/// The number of the telemetry message with this id; none if a device did not send it.
#[must_use]
pub fn sequence_of(message_id: &str) -> Option<u32> {
    message_id.parse().ok()
}

/// The packet id under which telemetry message `sequence` waits for its acknowledgement.
#[must_use]
pub fn packet_id(sequence: u32) -> u16 {
    // 2..=65535: 0 is forbidden and 1 is the SUBSCRIBE's. The remainder is below 65534.
    (sequence % 65_534) as u16 + 2
}

/// A direct method call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodCall<'a> {
    /// Name of the method.
    pub name: &'a str,
    /// The hub's mark of the call, opaque to the device.
    pub request: &'a str,
}

impl<'a> MethodCall<'a> {
    /// Reads the topic of a call; none where it is something else.
    #[must_use]
    pub fn read(topic: &'a str) -> Option<Self> {
        let (name, query) = topic.strip_prefix(METHOD_PREFIX)?.split_once("/?")?;
        let request = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("$rid="))?;
        Some(Self { name, request })
    }

    /// The answer to the call, with an empty JSON object.
    #[must_use]
    pub fn answer(&self, status: u16) -> Packet {
        let topic = format!("$iothub/methods/res/{status}/?$rid={}", self.request);
        Packet::Publish(publish(topic, QoS::AtMostOnce, 0, b"{}".to_vec()))
    }
}

/// The number of the telemetry message a PUBLISH carries, for scripted peers.
#[must_use]
pub fn telemetry_sequence(publish: &Publish) -> Option<u32> {
    let (_, bag) = publish.topic.split_once("/messages/events/")?;
    bag.split('&')
        .find_map(|pair| pair.strip_prefix("%24.mid="))
        .and_then(sequence_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_names_hub_and_device_and_keeps_its_session() {
        let Packet::Connect(connect) = connect_packet("h.net", "dev-1", 1140) else {
            panic!()
        };
        let expected = "h.net/dev-1/?api-version=2021-04-12&DeviceClientType=linarite";
        let login = connect.login.unwrap();
        assert_eq!(login.username, expected);
        assert_eq!(login.password, "");
        assert_eq!(
            (connect.client_id.as_str(), connect.keep_alive),
            ("dev-1", 1140)
        );
        assert!(!connect.clean_session);
    }

    #[test]
    fn telemetry_carries_its_number_as_message_id() {
        let Packet::Publish(message) = telemetry_packet("dev-1", 12, true) else {
            panic!()
        };
        assert_eq!(message.topic, "devices/dev-1/messages/events/%24.mid=12");
        assert_eq!((message.dup, message.pkid), (true, 14));
        assert_eq!(telemetry_sequence(&message), Some(12));
    }

    #[test]
    fn packet_ids_stay_clear_of_zero_and_of_the_subscription() {
        assert_eq!(packet_id(0), 2);
        assert_eq!(packet_id(65_533), 65_535);
        assert_eq!(packet_id(65_534), 2);
    }

    #[test]
    fn a_method_is_answered_under_its_request_mark() {
        let call = MethodCall::read("$iothub/methods/POST/reprovision/?$rid=a1f").unwrap();
        assert_eq!(
            call,
            MethodCall {
                name: "reprovision",
                request: "a1f"
            }
        );
        let Packet::Publish(answer) = call.answer(200) else {
            panic!()
        };
        assert_eq!(answer.topic, "$iothub/methods/res/200/?$rid=a1f");
        assert_eq!(MethodCall::read("$iothub/twin/res/200/?$rid=1"), None);
    }
}
