//! The devices' own spelling of Azure's MQTT protocol, written from the public documents.
//!
//! It deliberately shares nothing with the emulator: a field both sides misspelt alike would
//! otherwise never be noticed.

pub mod dps;
pub mod hub;

pub use rumqttc::mqttbytes::QoS;
pub use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Login, Packet};
pub use rumqttc::mqttbytes::v4::{PubAck, Publish, SubAck, Subscribe};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Largest packet a device sends or accepts, bytes: IoT Hub's message limit.
pub const PACKET_MAX: usize = 256 * 1024;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `text` as it may stand between `=` and `&`.
fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// MQTT's number for an answer to CONNECT.
#[must_use]
pub fn connack_number(code: ConnectReturnCode) -> u8 {
    code as u8
}

/// Whether an answer to CONNECT means that the credential is not accepted.
#[must_use]
pub fn is_unauthorized(code: ConnectReturnCode) -> bool {
    matches!(
        code,
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized
    )
}

/// What an answer to CONNECT says, for people.
#[must_use]
pub fn connack_text(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "accepted",
        ConnectReturnCode::RefusedProtocolVersion => "CONNACK 1, protocol version refused",
        ConnectReturnCode::BadClientId => "CONNACK 2, client id rejected",
        ConnectReturnCode::ServiceUnavailable => "CONNACK 3, server unavailable",
        ConnectReturnCode::BadUserNamePassword => "CONNACK 4, bad user name or password",
        ConnectReturnCode::NotAuthorized => "CONNACK 5, not authorized",
    }
}

/// A CONNECT that authenticates by the client certificate alone.
fn connect(client_id: &str, username: String, keep_alive: u16, clean_session: bool) -> Packet {
    let mut connect = Connect::new(client_id);
    connect.keep_alive = keep_alive;
    connect.clean_session = clean_session;
    connect.login = Some(Login::new(username, ""));
    Packet::Connect(connect)
}

/// A SUBSCRIBE to one filter, with packet id `id`.
fn subscribe(filter: &str, qos: QoS, id: u16) -> Packet {
    let mut subscribe = Subscribe::new(filter, qos);
    subscribe.pkid = id;
    Packet::Subscribe(subscribe)
}

/// A PUBLISH; `id` is ignored at QoS 0.
fn publish(topic: String, qos: QoS, id: u16, payload: Vec<u8>) -> Publish {
    let mut publish = Publish::new(topic, qos, payload);
    publish.pkid = if qos == QoS::AtMostOnce { 0 } else { id };
    publish
}

/// The acknowledgement a PUBLISH wants, if it wants one.
#[must_use]
pub fn acknowledgement(publish: &Publish) -> Option<Packet> {
    (publish.qos == QoS::AtLeastOnce).then(|| Packet::PubAck(PubAck::new(publish.pkid)))
}
