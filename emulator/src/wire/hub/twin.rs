//! Twins, as the back end reads and writes them (behaviour G.4).

use linarite_env::UnixMillis;
use serde_json::{Value, json};

use super::super::reader::Reader;
use super::identity::{add_scopes, authentication};
use super::{connection_state, moment, status};
use crate::error::ServiceError;
use crate::service::twin::{TwinDraft, TwinView};

/// Reads the body of a PATCH or PUT of a twin.
pub(crate) fn read(body: &Value) -> Result<TwinDraft, ServiceError> {
    read_sections(&Reader::root(body)?)
}

/// Reads tags and desired properties.
pub(super) fn read_sections(body: &Reader<'_>) -> Result<TwinDraft, ServiceError> {
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

/// A twin as the back end sees it; a module's has no status or capabilities of its own.
pub(crate) fn twin(view: &TwinView) -> Value {
    let identity = &view.identity.identity;
    let (desired, reported) = (view.twin.desired_version(), view.twin.reported_version());
    let mut json = json!({
        "deviceId": identity.id.device_id(),
        "etag": view.etag.as_str(),
        "deviceEtag": identity.etag.as_str(),
        "status": status(identity.status),
        "statusUpdateTime": moment(identity.status_updated_ms.map(UnixMillis)),
        "connectionState": connection_state(&view.identity),
        "lastActivityTime": moment(view.identity.last_activity),
        "cloudToDeviceMessageCount": view.identity.messages,
        "authenticationType": identity.authentication.name(),
        "x509Thumbprint": authentication(&identity.authentication)["x509Thumbprint"],
        "version": desired + reported,
        "tags": view.twin.tags(),
        "properties": view.twin.properties_json(true),
    });
    match identity.id.module_id() {
        Some(module_id) => json["moduleId"] = module_id.into(),
        None => {
            json["capabilities"] = json!({ "iotEdge": identity.iot_edge });
            add_scopes(&mut json, identity);
        }
    }
    json
}
