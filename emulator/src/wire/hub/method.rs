//! Direct methods, as the back end calls them (R-G24).

use bytes::Bytes;
use linarite_core::hub::method::MethodRequest;
use serde_json::{Value, json};

use super::super::reader::Reader;
use crate::error::ServiceError;
use crate::service::mailbox::MethodAnswer;

/// Reads the body of `POST …/methods`; gives the request and the payload on the wire.
pub(crate) fn read(body: &Value) -> Result<(MethodRequest, Bytes), ServiceError> {
    let body = Reader::root(body)?;
    let name = body
        .text("methodName")?
        .ok_or_else(|| body.wrong("methodName", "required"))?;
    let request = MethodRequest::new(
        name,
        body.number("responseTimeoutInSeconds")?,
        body.number("connectTimeoutInSeconds")?,
        body.value("payload").cloned(),
    )
    .map_err(|error| ServiceError::invalid(error.to_string()))?;
    let payload = request
        .payload()
        .map_or_else(|| "null".to_owned(), ToString::to_string);
    Ok((request, Bytes::from(payload)))
}

/// The answer of a device, as the caller gets it. A payload that is no JSON travels as text.
pub(crate) fn answer(answer: &MethodAnswer) -> Value {
    let payload = if answer.payload.trim_ascii().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(&answer.payload).into_owned().into())
    };
    json!({ "status": answer.status, "payload": payload })
}
