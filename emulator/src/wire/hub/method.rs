//! Direct methods, as the back end calls them (R-G24).

use bytes::Bytes;
use linarite_core::hub::method::MethodRequest;
use serde_json::{Value, json};

use super::super::reader::Reader;
use crate::error::ServiceError;
use crate::service::mailbox::MethodAnswer;

/// Reads the body of `POST …/methods`; gives the request and the payload on the wire.
pub(crate) fn read(body: &Value) -> Result<(MethodRequest, Bytes), ServiceError> {
    let request = read_request(&Reader::root(body)?)?;
    let payload = request
        .payload()
        .map_or_else(|| "null".to_owned(), ToString::to_string);
    Ok((request, Bytes::from(payload)))
}

/// Reads what is to be called.
pub(super) fn read_request(body: &Reader<'_>) -> Result<MethodRequest, ServiceError> {
    let name = body
        .text("methodName")?
        .ok_or_else(|| body.wrong("methodName", "required"))?;
    MethodRequest::new(
        name,
        body.number("responseTimeoutInSeconds")?,
        body.number("connectTimeoutInSeconds")?,
        body.value("payload").cloned(),
    )
    .map_err(|error| ServiceError::invalid(error.to_string()))
}

/// What is to be called, as it is read back.
pub(super) fn request(request: &MethodRequest) -> Value {
    json!({
        "methodName": request.name(),
        "payload": request.payload(),
        "responseTimeoutInSeconds": request.response_timeout_seconds(),
        "connectTimeoutInSeconds": request.connect_timeout_seconds(),
    })
}

/// The answer of a device, as the caller gets it. A payload that is no JSON travels as text.
pub(crate) fn answer(answer: &MethodAnswer) -> Value {
    outcome(answer.status, &answer.payload)
}

/// The same, in parts.
pub(super) fn outcome(status: i64, payload: &[u8]) -> Value {
    let payload = if payload.trim_ascii().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(payload).into_owned().into())
    };
    json!({ "status": status, "payload": payload })
}
