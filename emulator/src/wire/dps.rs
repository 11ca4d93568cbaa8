//! The device API of DPS: registration bodies and answers (behaviour B.1, wire 2.3 and 2.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use linarite_core::dps::attestation::tpm::TpmKeys;
use linarite_core::id::{ETag, EnrollmentGroupId};
use linarite_env::UnixMillis;
use serde::Serialize;
use serde_json::Value;

use super::reader::Reader;
use super::shape;
use super::tpm;
use super::version::ApiVersion;
use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::register::{Beginning, Begun, Challenged, OperationState};
use crate::store::registrations::{Mechanism, RegistrationRecord, RegistrationStatus};
use crate::tpm::ActivationBlob;

/// An answer, whichever transport carries it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after_seconds: Option<u32>,
    pub(crate) body: Bytes,
}

/// What a device says when it registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RegisterBody {
    /// The keys of its TPM (R-A35).
    pub(crate) tpm: Option<TpmKeys>,
    /// For a webhook to read (R-B16).
    pub(crate) payload: Option<Value>,
}

/// Reads a register body. It may be empty (W5); an id in it must be the one that registers. Its
/// size is bounded by whoever took it in.
pub(crate) fn read_register_body(body: &[u8], id: &str) -> Result<RegisterBody, ServiceError> {
    if body.trim_ascii().is_empty() {
        return Ok(RegisterBody::default());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ServiceError::invalid(format!("The body is not JSON: {error}")))?;
    let Value::Object(members) = &value else {
        return Err(ServiceError::invalid("The body must be a JSON object."));
    };
    match members.get("registrationId") {
        None | Some(Value::Null) => {}
        Some(Value::String(named)) if named.eq_ignore_ascii_case(id) => {}
        Some(_) => {
            return Err(ServiceError::invalid(format!(
                "registrationId: expected {id}, the id under which the device connects"
            )));
        }
    }
    let payload = members.get("payload").filter(|payload| !payload.is_null());
    let tpm = Reader::root(&value)?.object("tpm")?;
    let tpm = tpm
        .is_present()
        .then(|| tpm::read_offered(&tpm))
        .transpose()?;
    Ok(RegisterBody {
        tpm,
        payload: payload.cloned(),
    })
}

/// The answer to who wants to register: an operation, or a challenge to its TPM.
pub(crate) fn beginning(beginning: &Beginning, tracking_id: &str, now: UnixMillis) -> Answer {
    match beginning {
        Beginning::Assigning(begun) => assigning(begun),
        Beginning::Challenged(challenged) => challenge(challenged, tracking_id, now),
    }
}

/// The 401 that SDKs wait for before their TPM can prove itself (wire 3.4).
fn challenge(challenged: &Challenged, tracking_id: &str, now: UnixMillis) -> Answer {
    let mut body = value_of(&ErrorBody::new(&challenged.error, tracking_id, now));
    body["authenticationKey"] = challenged.authentication_key.to_base64().into();
    body["keyName"] = "registration".into();
    Answer {
        status: challenged.error.status(),
        retry_after_seconds: None,
        body: Bytes::from(body.to_string()),
    }
}

/// How an operation stands, as a device is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationBody<'a, S> {
    operation_id: &'a str,
    registration_state: S,
    status: &'static str,
}

/// A registration that is not carried out yet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pending<'a> {
    registration_id: &'a str,
    status: &'static str,
}

/// The answer while an operation runs (R-B1, W9).
pub(crate) fn assigning(begun: &Begun) -> Answer {
    let status = "assigning";
    let body = OperationBody {
        operation_id: &begun.operation_id,
        registration_state: Pending {
            registration_id: &begun.registration_id,
            status,
        },
        status,
    };
    Answer {
        status: 202,
        retry_after_seconds: Some(begun.retry_after_seconds),
        body: bytes_of(&body),
    }
}

/// The answer to a question about an operation (R-B2).
pub(crate) fn operation(state: &OperationState, version: ApiVersion) -> Answer {
    match state {
        OperationState::Assigning(begun) => assigning(begun),
        OperationState::Ended {
            operation_id,
            record,
        } => {
            let body = OperationBody {
                operation_id,
                registration_state: State::for_device(record, version),
                status: status_name(&record.status),
            };
            Answer {
                status: 200,
                retry_after_seconds: None,
                body: bytes_of(&body),
            }
        }
    }
}

/// The error body of both DPS APIs (R-A29); always JSON (W11).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    error_code: u32,
    message: &'a str,
    timestamp_utc: String,
    tracking_id: &'a str,
}

impl<'a> ErrorBody<'a> {
    fn new(error: &'a ServiceError, tracking_id: &'a str, now: UnixMillis) -> Self {
        Self {
            error_code: error.code,
            message: &error.message,
            timestamp_utc: rfc3339(now),
            tracking_id,
        }
    }
}

/// The answer that something is refused or failed.
pub(crate) fn error(error: &ServiceError, tracking_id: &str, now: UnixMillis) -> Answer {
    Answer {
        status: error.status(),
        retry_after_seconds: error.retry_after_seconds,
        body: bytes_of(&ErrorBody::new(error, tracking_id, now)),
    }
}

/// Texts and numbers, which always have a form in JSON.
fn bytes_of(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).unwrap_or_default().into()
}

/// The same as a value that may be added to.
fn value_of(body: &impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

/// A record, and for a device what it was attested with.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned_hub: Option<&'a str>,
    created_date_time_utc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    etag: String,
    last_updated_date_time_utc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
    registration_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    substatus: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symmetric_key: Option<About<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<About<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509: Option<About<'a>>,
}

/// What is told of an attestation.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment_group_id: Option<&'a str>,
}

impl<'a> State<'a> {
    fn new(record: &'a RegistrationRecord) -> Self {
        let state = Self {
            created_date_time_utc: rfc3339(record.created),
            etag: registration_etag(record),
            last_updated_date_time_utc: rfc3339(record.updated),
            registration_id: record.registration_id.as_str(),
            status: status_name(&record.status),
            ..Self::default()
        };
        match &record.status {
            RegistrationStatus::Assigned {
                hub,
                device_id,
                substatus,
                payload,
            } => Self {
                assigned_hub: Some(hub.as_str()),
                device_id: Some(device_id.as_str()),
                substatus: Some(substatus.as_str()),
                payload: payload.as_deref(),
                ..state
            },
            RegistrationStatus::Failed { code, text, .. } => Self {
                error_code: Some(*code),
                error_message: Some(text),
                ..state
            },
            RegistrationStatus::Disabled => state,
        }
    }

    /// As a device sees it that speaks `version`.
    fn for_device(record: &'a RegistrationRecord, version: ApiVersion) -> Self {
        let mut state = Self::new(record);
        let group = || About {
            enrollment_group_id: record.group.as_ref().map(EnrollmentGroupId::as_str),
            ..About::default()
        };
        match &record.mechanism {
            Mechanism::SymmetricKey => state.symmetric_key = Some(group()),
            Mechanism::Tpm(key) => {
                state.tpm = Some(About {
                    authentication_key: key.as_ref().map(ActivationBlob::to_base64),
                    ..About::default()
                });
            }
            Mechanism::X509 => state.x509 = Some(group()),
        }
        let substatus = state.substatus.take();
        state.substatus = substatus.map(|word| shape::substatus(version, word));
        state
    }
}

/// A record as a device sees it that speaks `version`.
pub(crate) fn registration_state(record: &RegistrationRecord, version: ApiVersion) -> Value {
    value_of(&State::for_device(record, version))
}

/// A record as an operator sees it.
pub(crate) fn registration_record(record: &RegistrationRecord) -> Value {
    value_of(&State::new(record))
}

/// The etag of a record: base64 of a quoted text (R-B4).
pub(crate) fn registration_etag(record: &RegistrationRecord) -> String {
    STANDARD.encode(record.etag.quoted())
}

/// The same as a value to compare `If-Match` with.
pub(crate) fn registration_etag_value(record: &RegistrationRecord) -> ETag {
    ETag::parse(&registration_etag(record)).unwrap_or_else(|_| record.etag.clone())
}

fn status_name(status: &RegistrationStatus) -> &'static str {
    match status {
        RegistrationStatus::Assigned { .. } => "assigned",
        RegistrationStatus::Disabled => "disabled",
        RegistrationStatus::Failed { .. } => "failed",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// W5.
    #[test]
    fn a_register_body_may_be_empty_and_may_not_name_somebody_else() {
        let table: [(&[u8], bool); 8] = [
            (b"", true),
            (b" ", true),
            (b"{}", true),
            (br#"{"payload":null,"registrationId":"Dev-1"}"#, true),
            (br#"{"registrationId":null}"#, true),
            (br#"{"registrationId":"dev-2"}"#, false),
            (b"[]", false),
            (b"{", false),
        ];
        for (body, passes) in table {
            let answer = read_register_body(body, "dev-1");
            assert_eq!(answer.is_ok(), passes, "{}", String::from_utf8_lossy(body));
        }
    }

    /// R-B16.
    #[test]
    fn a_payload_is_anything_but_null() {
        let table: [(&[u8], Option<Value>); 5] = [
            (b"{}", None),
            (br#"{"payload":null}"#, None),
            (
                br#"{"payload":{"model":"x"}}"#,
                Some(json!({ "model": "x" })),
            ),
            (br#"{"payload":"text"}"#, Some(json!("text"))),
            (
                br#"{"payload":[1,2],"registrationId":"d"}"#,
                Some(json!([1, 2])),
            ),
        ];
        for (body, payload) in table {
            assert_eq!(read_register_body(body, "d").unwrap().payload, payload);
        }
    }
}
