//! Bodies of what a hub says itself, as the event endpoint spells them (R-G39, R-G40).

use linarite_core::hub::twin::{DeviceTwin, TwinSection};
use linarite_core::id::{ETag, IdentityId};
use serde_json::{Map, Value, json};

/// A whole twin: of an identity that came or went, or of one that was replaced.
pub(crate) fn twin(id: &IdentityId, etag: &ETag, twin: &DeviceTwin) -> Value {
    let mut body = Map::new();
    body.insert("deviceId".to_owned(), id.device_id().into());
    if let Some(module) = id.module_id() {
        body.insert("moduleId".to_owned(), module.into());
    }
    body.insert("etag".to_owned(), etag.as_str().into());
    body.insert("version".to_owned(), version(twin));
    if !twin.tags().is_empty() {
        body.insert("tags".to_owned(), Value::Object(twin.tags().clone()));
    }
    body.insert("properties".to_owned(), twin.properties_json(true));
    Value::Object(body)
}

/// The parts of a twin that were patched.
pub(crate) fn update(
    twin: &DeviceTwin,
    tags: Option<&Value>,
    desired: Option<&Value>,
    reported: Option<&Value>,
) -> Value {
    let mut body = Map::new();
    body.insert("version".to_owned(), version(twin));
    if let Some(patch) = tags {
        body.insert("tags".to_owned(), twin.touched(TwinSection::Tags, patch));
    }
    let mut properties = Map::new();
    for (name, section, patch) in [
        ("desired", TwinSection::Desired, desired),
        ("reported", TwinSection::Reported, reported),
    ] {
        if let Some(patch) = patch {
            properties.insert(name.to_owned(), twin.touched(section, patch));
        }
    }
    if !properties.is_empty() {
        body.insert("properties".to_owned(), Value::Object(properties));
    }
    Value::Object(body)
}

/// That a device was seen connected or disconnected.
pub(crate) fn connection_state(sequence_number: &str) -> Value {
    json!({ "sequenceNumber": sequence_number })
}

/// The version of a whole twin, as the service API counts it.
fn version(twin: &DeviceTwin) -> Value {
    (twin.desired_version() + twin.reported_version()).into()
}
