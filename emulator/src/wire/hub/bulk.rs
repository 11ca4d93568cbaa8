//! Bulk operations on the registry (behaviour F.2, ENDPOINTS 4).

use std::collections::BTreeSet;

use linarite_core::hub::import::ImportMode;
use linarite_core::id::{DeviceId, IdentityId, ModuleId, Precondition};
use serde_json::{Value, json};

use super::super::reader::Reader;
use super::identity::read_draft;
use super::twin::read_sections;
use crate::error::ServiceError;
use crate::limits::REGISTRY_ITEMS_MAX;
use crate::service::bulk::{BulkFailure, BulkItem};

/// Reads the body of `POST /devices`: at most a hundred items, each identity once.
pub(crate) fn read(body: &Value) -> Result<Vec<BulkItem>, ServiceError> {
    if body.as_array().map_or(0, Vec::len) > REGISTRY_ITEMS_MAX {
        let text = format!("The body may have at most {REGISTRY_ITEMS_MAX} items.");
        return Err(ServiceError::new(413_002, "TooManyDevices", "R-F10", text));
    }
    let items = Reader::items(body)?;
    let items: Vec<BulkItem> = items.iter().map(read_item).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if !seen.insert(&item.id) {
            let text = format!("[{index}].id: {} is in the list twice", item.id);
            let name = "DeviceDefinedMultipleTimes";
            return Err(ServiceError::new(400_011, name, "R-F10", text));
        }
    }
    Ok(items)
}

fn read_item(item: &Reader<'_>) -> Result<BulkItem, ServiceError> {
    let id = read_id(item)?;
    let mode = match item.text("importMode")? {
        // What Azure does with items of an import that name no mode.
        None => ImportMode::CreateOrUpdate,
        Some(text) => ImportMode::parse(text).ok_or_else(|| {
            let names = ImportMode::ALL.map(ImportMode::name);
            item.wrong(
                "importMode",
                format!("expected one of {}", names.join(", ")),
            )
        })?,
    };
    Ok(BulkItem {
        mode,
        etag: read_etag(item, "eTag")?,
        twin_etag: read_etag(item, "twinETag")?,
        draft: read_draft(item, id.is_module())?,
        twin: read_sections(item)?,
        id,
    })
}

fn read_id(item: &Reader<'_>) -> Result<IdentityId, ServiceError> {
    let text = item
        .text("id")?
        .ok_or_else(|| item.wrong("id", "required"))?;
    let device = DeviceId::parse(text).map_err(|error| item.wrong("id", error))?;
    match item.text("moduleId")?.filter(|text| !text.is_empty()) {
        None => Ok(device.into()),
        Some(text) => {
            let module = ModuleId::parse(text).map_err(|error| item.wrong("moduleId", error))?;
            Ok(IdentityId::module(&device, &module))
        }
    }
}

fn read_etag(item: &Reader<'_>, name: &str) -> Result<Precondition, ServiceError> {
    let text = item.text(name)?.filter(|text| !text.is_empty());
    Precondition::parse(text).map_err(|error| item.wrong(name, error))
}

/// What became of the items. Azure's error code is the number, whatever its API model says.
pub(crate) fn result(failures: &[BulkFailure]) -> Value {
    let failure = |failure: &BulkFailure| {
        json!({
            "deviceId": failure.id.device_id(),
            "moduleId": failure.id.module_id(),
            "errorCode": failure.error.code,
            "errorStatus": failure.error.message,
            "operation": failure.mode.name(),
        })
    };
    json!({
        "isSuccessful": failures.is_empty(),
        "errors": Value::from_iter(failures.iter().map(failure)),
        "warnings": [],
    })
}
