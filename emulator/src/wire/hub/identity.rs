//! Devices and modules (R-G1, R-G3).

use linarite_core::certificate::Thumbprint;
use linarite_core::hub::identity::{AuthenticationMechanism, DeviceStatus, Identity, Scopes};
use linarite_core::id::IdentityId;
use linarite_core::limits::{
    MANAGED_BY_LENGTH_MAX, PARENT_SCOPES_MAX, SCOPE_LENGTH_MAX, STATUS_REASON_LENGTH_MAX,
};
use linarite_env::UnixMillis;
use serde_json::{Value, json};

use super::super::reader::Reader;
use super::{connection_state, moment, status};
use crate::error::ServiceError;
use crate::service::registry::{IdentityDraft, IdentityView, Statistics};

/// Reads the body of a PUT to the identity `id`. Keys that are not sent are generated.
pub(crate) fn read(id: &IdentityId, body: &Value) -> Result<IdentityDraft, ServiceError> {
    let body = Reader::root(body)?;
    check_named(&body, "deviceId", id.device_id())?;
    if let Some(module_id) = id.module_id() {
        check_named(&body, "moduleId", module_id)?;
    }
    read_draft(&body, id.is_module())
}

/// Reads what may be set of an identity.
pub(super) fn read_draft(body: &Reader<'_>, module: bool) -> Result<IdentityDraft, ServiceError> {
    let authentication = read_authentication(&body.object("authentication")?)?;
    if module {
        let managed_by = body.text_within("managedBy", MANAGED_BY_LENGTH_MAX)?;
        return Ok(IdentityDraft {
            status: DeviceStatus::Enabled,
            status_reason: None,
            authentication,
            iot_edge: false,
            managed_by: managed_by.map(Into::into),
            scopes: None,
        });
    }
    let status = match body.text("status")? {
        None | Some("enabled") => DeviceStatus::Enabled,
        Some("disabled") => DeviceStatus::Disabled,
        Some(_) => return Err(body.wrong("status", "expected enabled or disabled")),
    };
    let status_reason = body.text_within("statusReason", STATUS_REASON_LENGTH_MAX)?;
    let capabilities = body.object("capabilities")?;
    Ok(IdentityDraft {
        status,
        status_reason: status_reason.map(str::to_owned),
        authentication,
        iot_edge: capabilities.flag("iotEdge")?.unwrap_or(false),
        managed_by: None,
        scopes: read_scopes(body)?.map(Box::new),
    })
}

/// Where a device stands among IoT Edge devices.
fn read_scopes(body: &Reader<'_>) -> Result<Option<Scopes>, ServiceError> {
    let device_scope = body.text_within("deviceScope", SCOPE_LENGTH_MAX)?;
    let parent_scopes = body.texts("parentScopes")?;
    if parent_scopes.len() > PARENT_SCOPES_MAX {
        let expected = format!("expected at most {PARENT_SCOPES_MAX} scopes");
        return Err(body.wrong("parentScopes", expected));
    }
    let long = |scope: &&str| scope.chars().count() > SCOPE_LENGTH_MAX;
    if parent_scopes.iter().any(long) {
        let expected = format!("expected at most {SCOPE_LENGTH_MAX} characters in a scope");
        return Err(body.wrong("parentScopes", expected));
    }
    if device_scope.is_none() && parent_scopes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Scopes {
        device_scope: device_scope.map(str::to_owned),
        parent_scopes: parent_scopes.into_iter().map(str::to_owned).collect(),
    }))
}

/// The body repeats the address.
fn check_named(body: &Reader<'_>, member: &str, expected: &str) -> Result<(), ServiceError> {
    match body.text(member)? {
        Some(named) if named == expected => Ok(()),
        Some(_) => Err(body.wrong(member, format!("expected {expected}, as in the address"))),
        None => Err(body.wrong(member, "required")),
    }
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
        Some("certificateAuthority") => Ok(AuthenticationMechanism::CertificateAuthority),
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

/// A device or module as the registry shows it; unset members are `null` (ENDPOINTS 1).
pub(crate) fn identity(view: &IdentityView) -> Value {
    let identity = &view.identity;
    let mut json = json!({
        "deviceId": identity.id.device_id(),
        "generationId": identity.generation_id,
        "etag": identity.etag.as_str(),
        "connectionState": connection_state(view),
        "connectionStateUpdatedTime": moment(view.connection_changed),
        "lastActivityTime": moment(view.last_activity),
        "cloudToDeviceMessageCount": view.messages,
        "authentication": authentication(&identity.authentication),
    });
    match identity.id.module_id() {
        Some(module_id) => {
            json["moduleId"] = module_id.into();
            json["managedBy"] = identity.managed_by.as_deref().into();
        }
        None => {
            json["status"] = status(identity.status).into();
            json["statusReason"] = identity.status_reason.as_deref().into();
            json["statusUpdatedTime"] = moment(identity.status_updated_ms.map(UnixMillis)).into();
            json["capabilities"] = json!({ "iotEdge": identity.iot_edge });
            add_scopes(&mut json, identity);
        }
    }
    json
}

/// Adds the scopes a device has; one that has none has no members for them.
pub(super) fn add_scopes(json: &mut Value, identity: &Identity) {
    if let Some(scope) = identity.device_scope() {
        json["deviceScope"] = scope.into();
    }
    if !identity.parent_scopes().is_empty() {
        json["parentScopes"] = identity.parent_scopes().into();
    }
}

/// How many devices there are, by their status.
pub(crate) fn device_statistics(counted: &Statistics) -> Value {
    json!({
        "totalDeviceCount": counted.total,
        "enabledDeviceCount": counted.enabled,
        "disabledDeviceCount": counted.total - counted.enabled,
    })
}

/// How many devices are connected.
pub(crate) fn service_statistics(counted: &Statistics) -> Value {
    json!({ "connectedDeviceCount": counted.connected })
}

pub(super) fn authentication(mechanism: &AuthenticationMechanism) -> Value {
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
