//! Registration at DPS: topics, bodies and answers (api-version 2019-03-31).

use serde::Deserialize;
use serde_json::json;

use super::{Packet, QoS, connect, escaped, publish, subscribe};

/// The version of the device API that devices speak unless their firmware model says otherwise.
pub const API_VERSION: &str = "2019-03-31";
const ANSWER_PREFIX: &str = "$dps/registrations/res/";

/// Seconds between packets that DPS is promised, longer than a device ever waits there.
const KEEP_ALIVE: u16 = 180;

/// The CONNECT of a device to DPS.
#[must_use]
pub fn connect_packet(id_scope: &str, registration_id: &str) -> Packet {
    connect_packet_by(API_VERSION, id_scope, registration_id)
}

/// The same of a device that speaks another version of the API.
#[must_use]
pub fn connect_packet_by(api_version: &str, id_scope: &str, registration_id: &str) -> Packet {
    let username = format!(
        "{id_scope}/registrations/{registration_id}/api-version={api_version}&ClientVersion={}",
        escaped(concat!("linarite/", env!("CARGO_PKG_VERSION"))),
    );
    connect(registration_id, username, KEEP_ALIVE, true)
}

/// The SUBSCRIBE to all answers.
#[must_use]
pub fn subscribe_packet(id: u16) -> Packet {
    subscribe("$dps/registrations/res/#", QoS::AtLeastOnce, id)
}

/// The request to register; `request` comes back in the answer.
#[must_use]
pub fn register_packet(registration_id: &str, request: u16) -> Packet {
    let topic = format!("$dps/registrations/PUT/iotdps-register/?$rid={request}");
    let body = json!({ "registrationId": registration_id }).to_string();
    Packet::Publish(publish(topic, QoS::AtLeastOnce, request, body.into_bytes()))
}

/// The question how far `operation` is; `request` comes back in the answer.
#[must_use]
pub fn poll_packet(operation: &str, request: u16) -> Packet {
    let topic = format!(
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request}&operationId={}",
        escaped(operation),
    );
    Packet::Publish(publish(topic, QoS::AtLeastOnce, request, Vec::new()))
}

/// An answer of DPS: what its topic says, and what its body means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP-like status.
    pub status: u16,
    /// The number of the request that is answered.
    pub request: u16,
    /// Seconds to wait before the next request, where DPS says so.
    pub retry_after: Option<u32>,
    /// What the body means.
    pub meaning: Meaning,
}

/// What an answer means for the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Ask again for this operation.
    Assigning {
        /// Name of the operation.
        operation: String,
    },
    /// The device belongs to a hub.
    Assigned {
        /// Host name of the hub.
        hub: String,
        /// Identity at the hub.
        device_id: String,
    },
    /// Nothing came of it; whether for good, the status tells.
    Refused {
        /// Azure's error number; 0 where there was none.
        code: u32,
        /// What the answer said.
        text: String,
    },
}

impl Answer {
    /// Reads the PUBLISH of an answer; none where it is something else.
    ///
    /// A body that cannot be read counts as a refusal without a number: the device cannot
    /// tell what became of its registration.
    #[must_use]
    pub fn read(topic: &str, payload: &[u8]) -> Option<Self> {
        let (status, query) = topic.strip_prefix(ANSWER_PREFIX)?.split_once("/?")?;
        let status = status.parse().ok()?;
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
        };
        let request = value("$rid")?.1.parse().ok()?;
        let retry_after = value("retry-after").and_then(|(_, seconds)| seconds.parse().ok());
        Some(Self {
            status,
            request,
            retry_after,
            meaning: meaning(status, payload),
        })
    }

    /// Whether the same request may succeed later: throttled, or the service is in trouble.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        is_transient(self.status)
    }
}

/// Whether a status asks for the same request again later.
#[must_use]
pub fn is_transient(status: u16) -> bool {
    status == 429 || status >= 500
}

/// Whether a packet is the answer by which DPS puts a request off (R-H1, R-H2).
#[must_use]
pub fn is_put_off(packet: &Packet) -> bool {
    const PUT_OFF: &str = "$dps/registrations/res/429/";
    matches!(packet, Packet::Publish(answer) if answer.topic.starts_with(PUT_OFF))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    operation_id: Option<String>,
    status: Option<String>,
    registration_state: Option<State>,
    error_code: Option<u32>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct State {
    assigned_hub: Option<String>,
    device_id: Option<String>,
    error_code: Option<u32>,
    error_message: Option<String>,
}

fn meaning(status: u16, payload: &[u8]) -> Meaning {
    let body: Body = match serde_json::from_slice(payload) {
        Ok(body) => body,
        Err(error) => return refused(None, format!("unreadable answer: {error}")),
    };
    if status >= 300 {
        return refused(body.error_code, body.message.unwrap_or_default());
    }
    let state = body.registration_state.unwrap_or_default();
    match (
        body.status.as_deref(),
        body.operation_id,
        state.assigned_hub,
        state.device_id,
    ) {
        (Some("assigned"), _, Some(hub), Some(device_id)) => Meaning::Assigned { hub, device_id },
        (Some("assigning"), Some(operation), _, _) => Meaning::Assigning { operation },
        (other, ..) => {
            let said = state.error_message.unwrap_or_default();
            let status = other.unwrap_or("missing");
            let text = match said.is_empty() {
                true => format!("registration status {status}"),
                false => format!("registration status {status}: {said}"),
            };
            refused(state.error_code, text)
        }
    }
}

fn refused(code: Option<u32>, text: String) -> Meaning {
    Meaning::Refused {
        code: code.unwrap_or(0),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(topic: &str, body: &str) -> Answer {
        Answer::read(topic, body.as_bytes()).unwrap()
    }

    #[test]
    fn an_accepted_registration_names_its_operation_and_its_delay() {
        let answer = read(
            "$dps/registrations/res/202/?$rid=7&retry-after=3",
            r#"{"operationId":"4.ab","status":"assigning","registrationState":{"status":"assigning"}}"#,
        );
        assert_eq!(
            (answer.status, answer.request, answer.retry_after),
            (202, 7, Some(3))
        );
        assert_eq!(
            answer.meaning,
            Meaning::Assigning {
                operation: "4.ab".to_owned()
            }
        );
    }

    #[test]
    fn an_assignment_names_hub_and_device() {
        let answer = read(
            "$dps/registrations/res/200/?$rid=8",
            r#"{"status":"assigned","registrationState":{"assignedHub":"h.net","deviceId":"d"}}"#,
        );
        assert_eq!(answer.retry_after, None);
        let expected = Meaning::Assigned {
            hub: "h.net".to_owned(),
            device_id: "d".to_owned(),
        };
        assert_eq!(answer.meaning, expected);
    }

    #[test]
    fn a_failure_keeps_azures_number_and_words() {
        let failed = read(
            "$dps/registrations/res/200/?$rid=8",
            r#"{"status":"failed","registrationState":{"errorCode":400208,"errorMessage":"no hub"}}"#,
        );
        let expected = refused(
            Some(400_208),
            "registration status failed: no hub".to_owned(),
        );
        assert_eq!(failed.meaning, expected);
        let unauthorized = read(
            "$dps/registrations/res/401/?$rid=8",
            r#"{"errorCode":401002,"message":"Unauthorized"}"#,
        );
        assert_eq!(
            unauthorized.meaning,
            refused(Some(401_002), "Unauthorized".to_owned())
        );
        assert!(!unauthorized.is_transient());
    }

    /// R-B6.
    #[test]
    fn throttling_and_trouble_are_transient_even_without_a_body() {
        assert!(read("$dps/registrations/res/429/?$rid=1&retry-after=5", "").is_transient());
        assert!(read("$dps/registrations/res/503/?$rid=1", "{}").is_transient());
    }

    #[test]
    fn other_topics_are_no_answers() {
        assert_eq!(Answer::read("$iothub/methods/POST/x/?$rid=1", b"{}"), None);
        assert_eq!(
            Answer::read("$dps/registrations/res/abc/?$rid=1", b"{}"),
            None
        );
        assert_eq!(Answer::read("$dps/registrations/res/200/", b"{}"), None);
    }

    #[test]
    fn requests_are_spelt_as_documented() {
        let Packet::Connect(connect) = connect_packet("0ne0001", "dev-1") else {
            panic!()
        };
        let username = connect.login.unwrap().username;
        assert!(username.starts_with("0ne0001/registrations/dev-1/api-version=2019-03-31&"));
        assert_eq!(connect.client_id, "dev-1");
        let Packet::Publish(register) = register_packet("dev-1", 3) else {
            panic!()
        };
        assert_eq!(
            register.topic,
            "$dps/registrations/PUT/iotdps-register/?$rid=3"
        );
        assert_eq!(register.payload.as_ref(), br#"{"registrationId":"dev-1"}"#);
        let Packet::Publish(poll) = poll_packet("4.ab", 4) else {
            panic!()
        };
        assert_eq!(
            poll.topic,
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=4&operationId=4.ab"
        );
    }
}
