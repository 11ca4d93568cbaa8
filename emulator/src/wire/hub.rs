//! The hub's service API as Azure spells it (ENDPOINTS 4, behaviour F.2).

pub(crate) mod bulk;
pub(crate) mod identity;
pub(crate) mod job;
pub(crate) mod message;
pub(crate) mod method;
pub(crate) mod query;
pub(crate) mod twin;

use bytes::Bytes;
use linarite_core::hub::identity::DeviceStatus;
use linarite_env::UnixMillis;
use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::registry::IdentityView;

/// What Azure writes where a moment has never come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A JSON body.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, ServiceError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ServiceError::invalid(format!("The body is not JSON: {error}")))
}

/// The body of a twin answer that reports an error: `errorCode` and `message` are never empty,
/// because the Node client decides by them (W13).
pub(crate) fn twin_error(error: &ServiceError, tracking_id: &str) -> Bytes {
    let body = json!({
        "errorCode": error.code,
        "trackingId": tracking_id,
        "message": error.message,
    });
    Bytes::from(body.to_string())
}

/// The hub's error body (ENDPOINTS 1).
pub(crate) fn error(error: &ServiceError, tracking_id: &str, now: UnixMillis) -> Value {
    json!({
        "Message": format!("ErrorCode:{};{}", error.name, error.message),
        "ExceptionMessage": format!("Tracking ID:{tracking_id}-TimeStamp:{}", rfc3339(now)),
    })
}

fn connection_state(view: &IdentityView) -> &'static str {
    if view.connected {
        "Connected"
    } else {
        "Disconnected"
    }
}

fn status(status: DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Disabled => "disabled",
        DeviceStatus::Enabled => "enabled",
    }
}

fn moment(at: Option<UnixMillis>) -> String {
    at.map_or_else(|| NEVER.to_owned(), rfc3339)
}
