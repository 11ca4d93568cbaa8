//! The device API of DPS: registration bodies and answers (behaviour B.1, wire 2.3 and 2.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use linarite_core::dps::attestation::tpm::TpmKeys;
use linarite_core::id::ETag;
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};

use super::reader::Reader;
use super::shape;
use super::tpm;
use super::version::ApiVersion;
use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::register::{Beginning, Begun, Challenged, OperationState};
use crate::store::registrations::{Mechanism, RegistrationRecord, RegistrationStatus};

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
    let mut body = error_body(&challenged.error, tracking_id, now);
    body["authenticationKey"] = challenged.authentication_key.to_base64().into();
    body["keyName"] = "registration".into();
    Answer {
        status: challenged.error.status(),
        retry_after_seconds: None,
        body: Bytes::from(body.to_string()),
    }
}

/// The answer while an operation runs (R-B1, W9).
pub(crate) fn assigning(begun: &Begun) -> Answer {
    let body = json!({
        "operationId": begun.operation_id,
        "status": "assigning",
        "registrationState": {
            "registrationId": begun.registration_id,
            "status": "assigning",
        },
    });
    Answer {
        status: 202,
        retry_after_seconds: Some(begun.retry_after_seconds),
        body: Bytes::from(body.to_string()),
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
            let body = json!({
                "operationId": operation_id,
                "status": status_name(&record.status),
                "registrationState": registration_state(record, version),
            });
            Answer {
                status: 200,
                retry_after_seconds: None,
                body: Bytes::from(body.to_string()),
            }
        }
    }
}

/// The error body of both DPS APIs (R-A29); always JSON (W11).
pub(crate) fn error(error: &ServiceError, tracking_id: &str, now: UnixMillis) -> Answer {
    let body = error_body(error, tracking_id, now);
    Answer {
        status: error.status(),
        retry_after_seconds: error.retry_after_seconds,
        body: Bytes::from(body.to_string()),
    }
}

fn error_body(error: &ServiceError, tracking_id: &str, now: UnixMillis) -> Value {
    json!({
        "errorCode": error.code,
        "trackingId": tracking_id,
        "message": error.message,
        "timestampUtc": rfc3339(now),
    })
}

/// A record as a device sees it that speaks `version`.
pub(crate) fn registration_state(record: &RegistrationRecord, version: ApiVersion) -> Value {
    let mut state = common_state(record);
    let group = match &record.group {
        Some(group) => json!({ "enrollmentGroupId": group.as_str() }),
        None => json!({}),
    };
    let (mechanism, about) = match &record.mechanism {
        Mechanism::SymmetricKey => ("symmetricKey", group),
        Mechanism::Tpm(None) => ("tpm", json!({})),
        Mechanism::Tpm(Some(key)) => ("tpm", json!({ "authenticationKey": key.to_base64() })),
        Mechanism::X509 => ("x509", group),
    };
    state.insert(mechanism.to_owned(), about);
    shape::same_hub(version, Value::Object(state))
}

/// A record as an operator sees it.
pub(crate) fn registration_record(record: &RegistrationRecord) -> Value {
    Value::Object(common_state(record))
}

fn common_state(record: &RegistrationRecord) -> Map<String, Value> {
    let mut state = Map::new();
    let mut put = |name: &str, value: Value| state.insert(name.to_owned(), value);
    put("registrationId", record.registration_id.as_str().into());
    put("createdDateTimeUtc", rfc3339(record.created).into());
    put("lastUpdatedDateTimeUtc", rfc3339(record.updated).into());
    put("status", status_name(&record.status).into());
    put("etag", registration_etag(record).into());
    match &record.status {
        RegistrationStatus::Assigned {
            hub,
            device_id,
            substatus,
            payload,
        } => {
            put("assignedHub", hub.as_str().into());
            put("deviceId", device_id.as_str().into());
            put("substatus", substatus.as_str().into());
            if let Some(payload) = payload {
                put("payload", Value::clone(payload));
            }
        }
        RegistrationStatus::Failed { code, text, .. } => {
            put("errorCode", (*code).into());
            put("errorMessage", text.as_str().into());
        }
        RegistrationStatus::Disabled => {}
    }
    state
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
