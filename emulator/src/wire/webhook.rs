//! What a webhook of custom allocation is asked, and what it may answer (R-B16).

use linarite_core::dps::allocation::AllocationQuestion;
use linarite_core::dps::enrollment::InitialTwin;
use linarite_core::id::HubHostName;
use serde_json::{Map, Value, json};

use super::enrollment::attestation::certificate_info;
use super::enrollment::{self, read_initial_twin};
use super::reader::Reader;
use super::tpm;
use crate::error::ServiceError;
use crate::service::register::{Asked, Entry, Shown};

/// The members of an answer.
const MEMBERS: [&str; 3] = ["initialTwin", "iotHubHostName", "payload"];

/// What a webhook said, as far as it can be judged without knowing what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) hub: HubHostName,
    pub(crate) initial_twin: Option<InitialTwin>,
    pub(crate) payload: Option<Value>,
}

/// The body of the question. The entry is shown as the service API shows it, without secrets.
pub(crate) fn question(question: &AllocationQuestion, entry: &Entry, asked: &Asked) -> Value {
    let mut body = Map::new();
    let (kind, entry) = match entry {
        Entry::Group(entry) => ("enrollmentGroup", enrollment::group(entry)),
        Entry::Individual(entry) => ("individualEnrollment", enrollment::individual(entry)),
    };
    body.insert(kind.to_owned(), entry);
    body.insert("deviceRuntimeContext".to_owned(), context(question, asked));
    let hubs = question.linked_hubs().iter();
    let hubs = hubs.map(|hub| Value::from(hub.as_str())).collect();
    body.insert("linkedHubs".to_owned(), Value::Array(hubs));
    Value::Object(body)
}

/// The spelling of what is known of a certificate is assumed; no source shows it.
fn context(question: &AllocationQuestion, asked: &Asked) -> Value {
    let mut context = Map::new();
    let mut put = |name: &str, value: Value| context.insert(name.to_owned(), value);
    put("registrationId", question.registration_id().as_str().into());
    if let Some(hub) = question.current_hub() {
        put("currentIotHubHostName", hub.as_str().into());
    }
    if let Some(device_id) = question.current_device_id() {
        put("currentDeviceId", device_id.as_str().into());
    }
    match (&asked.tpm, &asked.shown) {
        (Some(keys), _) => put("tpm", tpm::offered(keys)),
        (None, Shown::Certificate(chain)) => put(
            "x509",
            json!({ "certificateInfo": certificate_info(chain.leaf()) }),
        ),
        (None, Shown::Token(_) | Shown::Nothing) => put("symmetricKey", json!({})),
    };
    if let Some(payload) = &asked.payload {
        put("payload", payload.clone());
    }
    Value::Object(context)
}

/// Reads the body of an answer; a member that is not known is refused, for it may be a known one
/// misspelt (assumed: Azure does not say).
///
/// # Errors
/// Words that go on a sentence, naming the member.
pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| format!("because the webhook's answer is not JSON: {error}"))?;
    read(&body).map_err(|error| format!("because of the webhook's answer: {}", error.message))
}

fn read(body: &Value) -> Result<Answer, ServiceError> {
    let body = Reader::root(body)?.only(&MEMBERS)?;
    let hub = body
        .text("iotHubHostName")?
        .ok_or_else(|| body.wrong("iotHubHostName", "required"))?;
    Ok(Answer {
        hub: HubHostName::parse(hub).map_err(|error| body.wrong("iotHubHostName", error))?,
        initial_twin: read_initial_twin(&body)?,
        payload: body.value("payload").cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-B16.
    #[test]
    fn an_answer_names_a_hub_and_may_say_more() {
        let body = json!({
            "iotHubHostName": "hub-1.test",
            "initialTwin": { "tags": { "a": 1 }, "properties": { "desired": { "b": 2 } } },
            "payload": { "hello": true },
        });
        let twin = InitialTwin::new(&json!({ "a": 1 }), &json!({ "b": 2 })).unwrap();
        let expected = Answer {
            hub: HubHostName::parse("hub-1.test").unwrap(),
            initial_twin: Some(twin),
            payload: Some(json!({ "hello": true })),
        };
        assert_eq!(read_answer(body.to_string().as_bytes()), Ok(expected));
        let bare = br#"{"iotHubHostName":"hub-1.test","initialTwin":null,"payload":null}"#;
        let answer = read_answer(bare).unwrap();
        assert_eq!((answer.initial_twin, answer.payload), (None, None));
    }

    /// R-B16.
    #[test]
    fn what_is_wrong_with_an_answer_is_named() {
        let with_twin =
            |twin: Value| json!({ "iotHubHostName": "h", "initialTwin": twin }).to_string();
        let table = [
            (String::new(), "not JSON"),
            ("<html>".to_owned(), "not JSON"),
            ("[]".to_owned(), "JSON object"),
            ("{}".to_owned(), "iotHubHostName: required"),
            (
                json!({ "iotHubHostName": 1 }).to_string(),
                "iotHubHostName: expected",
            ),
            (
                json!({ "iotHubHostName": "a b" }).to_string(),
                "iotHubHostName",
            ),
            (
                json!({ "iotHubHostname": "h" }).to_string(),
                "iotHubHostname: unknown",
            ),
            (with_twin(json!("x")), "initialTwin: expected an object"),
            (
                with_twin(json!({ "tags": { "a.b": 1 } })),
                "initialTwin.tags",
            ),
            (
                with_twin(json!({ "properties": { "desired": [] } })),
                "initialTwin.properties.desired",
            ),
        ];
        for (body, words) in table {
            let error = read_answer(body.as_bytes()).unwrap_err();
            assert!(
                error.starts_with("because") && error.contains(words),
                "{body}: {error}"
            );
        }
    }
}
