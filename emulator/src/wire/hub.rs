//! Devices, twins and methods as the hub's service API spells them (ENDPOINTS 4, behaviour F.2).

use bytes::Bytes;
use linarite_core::certificate::Thumbprint;
use linarite_core::hub::identity::{AuthenticationMechanism, DeviceStatus};
use linarite_core::hub::method::MethodRequest;
use linarite_env::UnixMillis;
use serde_json::{Value, json};

use super::reader::Reader;
use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::mailbox::MethodAnswer;
use crate::service::registry::{DeviceView, IdentityDraft};
use crate::service::twin::{TwinDraft, TwinView};

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

/// Reads the body of `PUT /devices/{id}`. Keys that are not sent are generated.
pub(crate) fn read_device(id: &str, body: &Value) -> Result<IdentityDraft, ServiceError> {
    let body = Reader::root(body)?;
    match body.text("deviceId")? {
        Some(named) if named == id => {}
        Some(_) => return Err(body.wrong("deviceId", format!("expected {id}, as in the address"))),
        None => return Err(body.wrong("deviceId", "required")),
    }
    let status = match body.text("status")? {
        None | Some("enabled") => DeviceStatus::Enabled,
        Some("disabled") => DeviceStatus::Disabled,
        Some(_) => return Err(body.wrong("status", "expected enabled or disabled")),
    };
    Ok(IdentityDraft {
        status,
        status_reason: body.text("statusReason")?.map(str::to_owned),
        authentication: read_authentication(&body.object("authentication")?)?,
        iot_edge: body
            .object("capabilities")?
            .flag("iotEdge")?
            .unwrap_or(false),
    })
}

fn read_authentication(body: &Reader<'_>) -> Result<AuthenticationMechanism, ServiceError> {
    let thumbprints = body.object("x509Thumbprint")?;
    let named = |name| {
        thumbprints
            .text(name)
            .map(|text| text.filter(|text| !text.is_empty()))
    };
    let (primary, secondary) = (named("primaryThumbprint")?, named("secondaryThumbprint")?);
    let read = |name: &str, text: Option<&str>| {
        text.map(|text| Thumbprint::parse(text).map_err(|error| thumbprints.wrong(name, error)))
            .transpose()
    };
    match body.text("type")? {
        Some("selfSigned") => self_signed(
            read("primaryThumbprint", primary)?,
            read("secondaryThumbprint", secondary)?,
            body,
        ),
        Some("certificateAuthority") => Err(ServiceError::not_emulated(
            "devices of type certificateAuthority",
        )),
        Some("none") => Ok(AuthenticationMechanism::None),
        Some("sas") => read_sas(&body.object("symmetricKey")?),
        Some(_) => Err(body.wrong(
            "type",
            "expected sas, selfSigned, certificateAuthority or none",
        )),
        // SDKs of old leave the type out and let the thumbprints speak.
        None if primary.is_some() || secondary.is_some() => self_signed(
            read("primaryThumbprint", primary)?,
            read("secondaryThumbprint", secondary)?,
            body,
        ),
        None => read_sas(&body.object("symmetricKey")?),
    }
}

fn self_signed(
    primary: Option<Thumbprint>,
    secondary: Option<Thumbprint>,
    body: &Reader<'_>,
) -> Result<AuthenticationMechanism, ServiceError> {
    if primary.is_none() && secondary.is_none() {
        return Err(body.wrong("x509Thumbprint", "selfSigned needs at least one thumbprint"));
    }
    Ok(AuthenticationMechanism::SelfSigned { primary, secondary })
}

fn read_sas(keys: &Reader<'_>) -> Result<AuthenticationMechanism, ServiceError> {
    Ok(AuthenticationMechanism::Sas {
        primary: keys.key("primaryKey", None)?,
        secondary: keys.key("secondaryKey", None)?,
    })
}

/// A device as the registry shows it; unset members are `null` (ENDPOINTS 1).
pub(crate) fn device(view: &DeviceView) -> Value {
    let identity = &view.identity;
    json!({
        "deviceId": identity.device_id.as_str(),
        "generationId": identity.generation_id,
        "etag": identity.etag.as_str(),
        "connectionState": connection_state(view),
        "status": status(identity.status),
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": moment(view.connection_changed),
        "statusUpdatedTime": moment(identity.status_updated_ms.map(UnixMillis)),
        "lastActivityTime": moment(view.last_activity),
        "cloudToDeviceMessageCount": 0,
        "capabilities": { "iotEdge": identity.iot_edge },
        "authentication": authentication(&identity.authentication),
    })
}

fn authentication(mechanism: &AuthenticationMechanism) -> Value {
    let (mut primary_key, mut secondary_key) = (None, None);
    let (mut primary_thumbprint, mut secondary_thumbprint) = (None, None);
    match mechanism {
        AuthenticationMechanism::Sas { primary, secondary } => {
            primary_key = Some(primary.to_base64());
            secondary_key = Some(secondary.to_base64());
        }
        AuthenticationMechanism::SelfSigned { primary, secondary } => {
            primary_thumbprint = primary.as_ref().map(ToString::to_string);
            secondary_thumbprint = secondary.as_ref().map(ToString::to_string);
        }
        AuthenticationMechanism::CertificateAuthority | AuthenticationMechanism::None => {}
    }
    json!({
        "type": mechanism.name(),
        "symmetricKey": { "primaryKey": primary_key, "secondaryKey": secondary_key },
        "x509Thumbprint": {
            "primaryThumbprint": primary_thumbprint,
            "secondaryThumbprint": secondary_thumbprint,
        },
    })
}

/// Reads the body of `PATCH` or `PUT /twins/{id}`.
pub(crate) fn read_twin(body: &Value) -> Result<TwinDraft, ServiceError> {
    let body = Reader::root(body)?;
    let properties = body.object("properties")?;
    if properties
        .value("reported")
        .is_some_and(|reported| !is_empty_section(reported))
    {
        return Err(properties.wrong("reported", "only the device writes reported properties"));
    }
    let section = |value: Option<&Value>| {
        value.cloned().map(|mut value| {
            if let Value::Object(members) = &mut value {
                members.retain(|key, _| !key.starts_with('$'));
            }
            value
        })
    };
    Ok(TwinDraft {
        tags: section(body.value("tags")),
        desired: section(properties.value("desired")),
    })
}

/// Back ends read a twin, change a part and send all of it back; reported properties that come
/// along that way are not a write.
fn is_empty_section(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty() || members.contains_key("$version"),
        _ => false,
    }
}

/// A twin as the back end sees it.
pub(crate) fn twin(view: &TwinView) -> Value {
    let identity = &view.device.identity;
    let (desired, reported) = (view.twin.desired_version(), view.twin.reported_version());
    json!({
        "deviceId": identity.device_id.as_str(),
        "etag": identity.etag.as_str(),
        "deviceEtag": identity.etag.as_str(),
        "status": status(identity.status),
        "statusUpdateTime": moment(identity.status_updated_ms.map(UnixMillis)),
        "connectionState": connection_state(&view.device),
        "lastActivityTime": moment(view.device.last_activity),
        "cloudToDeviceMessageCount": 0,
        "authenticationType": identity.authentication.name(),
        "x509Thumbprint": authentication(&identity.authentication)["x509Thumbprint"],
        "capabilities": { "iotEdge": identity.iot_edge },
        "version": desired + reported,
        "tags": view.twin.tags(),
        "properties": view.twin.properties_json(true),
    })
}

/// Reads the body of `POST /twins/{id}/methods`; gives the request and the payload on the wire.
pub(crate) fn read_method(body: &Value) -> Result<(MethodRequest, Bytes), ServiceError> {
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
pub(crate) fn method_answer(answer: &MethodAnswer) -> Value {
    let payload = if answer.payload.trim_ascii().is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(&answer.payload).into_owned().into())
    };
    json!({ "status": answer.status, "payload": payload })
}

fn connection_state(view: &DeviceView) -> &'static str {
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
