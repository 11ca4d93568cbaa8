//! Enrollments and groups as the DPS service API spells them (ENDPOINTS 2, behaviour F.1).

mod allocation;
pub(crate) mod attestation;
pub(crate) mod bulk;
pub(crate) mod query;

use linarite_core::dps::allocation::AllocationPolicy;
use linarite_core::dps::enrollment::{
    Enrollment, EnrollmentGroup, IndividualEnrollment, InitialTwin, ProvisioningStatus,
};
use linarite_core::dps::reprovision::ReprovisionPolicy;
use linarite_core::dps::upload::Holder;
use linarite_core::hub::twin::TwinSection;
use linarite_core::id::{DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId};
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};

use super::reader::Reader;
use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::enroll::Stamp;

/// The members of an individual enrollment (R-F4). What is read-only is let in, for clients send
/// back what they read.
const INDIVIDUAL: [&str; 16] = [
    "allocationPolicy",
    "attestation",
    "capabilities",
    "createdDateTimeUtc",
    "customAllocationDefinition",
    "deviceId",
    "etag",
    "initialTwin",
    "iotHubHostName",
    "iotHubs",
    "lastUpdatedDateTimeUtc",
    "optionalDeviceInformation",
    "provisioningStatus",
    "registrationId",
    "registrationState",
    "reprovisionPolicy",
];

/// The members of a group (R-F4).
const GROUP: [&str; 13] = [
    "allocationPolicy",
    "attestation",
    "capabilities",
    "createdDateTimeUtc",
    "customAllocationDefinition",
    "enrollmentGroupId",
    "etag",
    "initialTwin",
    "iotHubHostName",
    "iotHubs",
    "lastUpdatedDateTimeUtc",
    "provisioningStatus",
    "reprovisionPolicy",
];

/// The members of a registration record, which an individual enrollment shows (R-B4, R-F4).
const REGISTRATION_STATE: [&str; 11] = [
    "assignedHub",
    "createdDateTimeUtc",
    "deviceId",
    "errorCode",
    "errorMessage",
    "etag",
    "lastUpdatedDateTimeUtc",
    "payload",
    "registrationId",
    "status",
    "substatus",
];

/// What both kinds of entry have in common, read from a body.
struct Common {
    iot_edge: bool,
    initial_twin: Option<InitialTwin>,
    provisioning_status: ProvisioningStatus,
    reprovision_policy: Option<ReprovisionPolicy>,
    allocation: Option<AllocationPolicy>,
    iot_hubs: Vec<HubHostName>,
}

/// Reads the body of `PUT /enrollments/{id}`.
pub(crate) fn read_individual(
    id: &RegistrationId,
    body: &Value,
    before: Option<&IndividualEnrollment>,
    stamp: Stamp,
) -> Result<IndividualEnrollment, ServiceError> {
    let body = Reader::root(body)?.only(&INDIVIDUAL)?;
    check_id(&body, "registrationId", id.as_str())?;
    body.object("registrationState")?
        .only(&REGISTRATION_STATE)?;
    let held = before.map(|entry| &entry.attestation);
    let mechanism = attestation::read(&body, Holder::Individual(id), held, &stamp)?;
    let common = read_common(&body, before.and_then(|entry| entry.allocation.as_ref()))?;
    let mut entry = IndividualEnrollment::new(id.clone(), mechanism, stamp.etag, stamp.updated_ms)
        .map_err(|error| ServiceError::invalid(format!("attestation: {error}")))?;
    entry.device_id = match body.text("deviceId")? {
        Some(text) => Some(DeviceId::parse(text).map_err(|error| body.wrong("deviceId", error))?),
        None => None,
    };
    // Free content, but an object: a twin collection.
    body.object("optionalDeviceInformation")?;
    entry.optional_device_information = body.value("optionalDeviceInformation").cloned();
    entry.iot_edge = common.iot_edge;
    entry.initial_twin = common.initial_twin;
    entry.provisioning_status = common.provisioning_status;
    entry.reprovision_policy = common.reprovision_policy;
    entry.allocation = common.allocation;
    entry.iot_hubs = common.iot_hubs;
    entry.created_ms = stamp.created_ms;
    Ok(entry)
}

/// Reads the body of `PUT /enrollmentGroups/{id}`.
pub(crate) fn read_group(
    id: &EnrollmentGroupId,
    body: &Value,
    before: Option<&EnrollmentGroup>,
    stamp: Stamp,
) -> Result<EnrollmentGroup, ServiceError> {
    let body = Reader::root(body)?.only(&GROUP)?;
    check_id(&body, "enrollmentGroupId", id.as_str())?;
    let held = before.map(|entry| &entry.attestation);
    let mechanism = attestation::read(&body, Holder::Group, held, &stamp)?;
    let common = read_common(&body, before.and_then(|entry| entry.allocation.as_ref()))?;
    let mut entry = EnrollmentGroup::new(id.clone(), mechanism, stamp.etag, stamp.updated_ms)
        .map_err(|error| ServiceError::invalid(format!("attestation: {error}")))?;
    entry.iot_edge = common.iot_edge;
    entry.initial_twin = common.initial_twin;
    entry.provisioning_status = common.provisioning_status;
    entry.reprovision_policy = common.reprovision_policy;
    entry.allocation = common.allocation;
    entry.iot_hubs = common.iot_hubs;
    entry.created_ms = stamp.created_ms;
    Ok(entry)
}

fn check_id(body: &Reader<'_>, name: &str, id: &str) -> Result<(), ServiceError> {
    match body.text(name)? {
        Some(named) if named.eq_ignore_ascii_case(id) => Ok(()),
        Some(_) => Err(body.wrong(name, format!("expected {id}, the id in the address"))),
        None => Err(body.wrong(name, "required")),
    }
}

fn read_common(body: &Reader<'_>, held: Option<&AllocationPolicy>) -> Result<Common, ServiceError> {
    let provisioning_status = match body.text("provisioningStatus")? {
        None | Some("enabled") => ProvisioningStatus::Enabled,
        Some("disabled") => ProvisioningStatus::Disabled,
        Some(_) => return Err(body.wrong("provisioningStatus", "expected enabled or disabled")),
    };
    for name in ["etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"] {
        body.text(name)?;
    }
    let reprovision = body
        .object("reprovisionPolicy")?
        .only(&["migrateDeviceData", "updateHubAssignment"])?;
    let default = ReprovisionPolicy::default();
    // One that is absent is remembered as absent: old clients tell the difference (R-C7).
    let reprovision_policy = ReprovisionPolicy {
        update_hub_assignment: reprovision
            .flag("updateHubAssignment")?
            .unwrap_or(default.update_hub_assignment),
        migrate_device_data: reprovision
            .flag("migrateDeviceData")?
            .unwrap_or(default.migrate_device_data),
    };
    let mut hubs = body.texts("iotHubs")?;
    if let Some(one) = body.text("iotHubHostName")?
        && !hubs.contains(&one)
    {
        hubs.push(one);
    }
    let iot_hubs = hubs
        .into_iter()
        .map(|host| HubHostName::parse(host).map_err(|error| body.wrong("iotHubs", error)))
        .collect::<Result<_, _>>()?;
    Ok(Common {
        iot_edge: body
            .object("capabilities")?
            .only(&["iotEdge"])?
            .flag("iotEdge")?
            .unwrap_or(false),
        initial_twin: read_initial_twin(body)?,
        provisioning_status,
        reprovision_policy: reprovision.is_present().then_some(reprovision_policy),
        allocation: allocation::read(body, held)?,
        iot_hubs,
    })
}

pub(super) fn read_initial_twin(body: &Reader<'_>) -> Result<Option<InitialTwin>, ServiceError> {
    let twin = body.object("initialTwin")?.only(&["properties", "tags"])?;
    if !twin.is_present() {
        return Ok(None);
    }
    let properties = twin.object("properties")?.only(&["desired"])?;
    let section = |value: Option<&Value>| {
        let mut value = value.cloned().unwrap_or_else(|| json!({}));
        if let Value::Object(members) = &mut value {
            // SDKs send the bookkeeping of a twin collection back; it is not content.
            members.retain(|key, _| !key.starts_with('$'));
        }
        value
    };
    let initial = InitialTwin::new(
        &section(twin.value("tags")),
        &section(properties.value("desired")),
    );
    initial.map(Some).map_err(|error| match error.section {
        TwinSection::Tags => twin.wrong("tags", error),
        TwinSection::Desired | TwinSection::Reported => properties.wrong("desired", error),
    })
}

/// An individual enrollment as the service shows it: without certificates and keys (R-F5).
pub(crate) fn individual(entry: &IndividualEnrollment) -> Value {
    let mut body = common(&Enrollment::Individual(entry));
    body.insert(
        "registrationId".to_owned(),
        entry.registration_id.as_str().into(),
    );
    if let Some(device_id) = &entry.device_id {
        body.insert("deviceId".to_owned(), device_id.as_str().into());
    }
    if let Some(information) = &entry.optional_device_information {
        body.insert("optionalDeviceInformation".to_owned(), information.clone());
    }
    stamps(&mut body, &entry.etag, entry.created_ms, entry.updated_ms);
    Value::Object(body)
}

/// A group as the service shows it.
pub(crate) fn group(entry: &EnrollmentGroup) -> Value {
    let mut body = common(&Enrollment::Group(entry));
    body.insert(
        "enrollmentGroupId".to_owned(),
        entry.enrollment_group_id.as_str().into(),
    );
    stamps(&mut body, &entry.etag, entry.created_ms, entry.updated_ms);
    Value::Object(body)
}

fn stamps(body: &mut Map<String, Value>, etag: &ETag, created_ms: i64, updated_ms: i64) {
    body.insert("etag".to_owned(), etag.quoted().into());
    let moment = |ms| Value::from(rfc3339(UnixMillis(ms)));
    body.insert("createdDateTimeUtc".to_owned(), moment(created_ms));
    body.insert("lastUpdatedDateTimeUtc".to_owned(), moment(updated_ms));
}

fn common(entry: &Enrollment<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("attestation", attestation::show(entry.attestation(), false));
    put("capabilities", json!({ "iotEdge": entry.iot_edge() }));
    if let Some(twin) = entry.initial_twin() {
        put(
            "initialTwin",
            json!({ "tags": twin.tags(), "properties": { "desired": twin.desired() } }),
        );
    }
    put(
        "provisioningStatus",
        match entry.provisioning_status() {
            ProvisioningStatus::Enabled => "enabled".into(),
            ProvisioningStatus::Disabled => "disabled".into(),
        },
    );
    let policy = entry.reprovision_policy().unwrap_or_default();
    put(
        "reprovisionPolicy",
        json!({
            "updateHubAssignment": policy.update_hub_assignment,
            "migrateDeviceData": policy.migrate_device_data,
        }),
    );
    for (name, value) in allocation::members(entry.allocation().as_ref()) {
        put(name, value);
    }
    if !entry.iot_hubs().is_empty() {
        let hubs: Vec<&str> = entry.iot_hubs().iter().map(HubHostName::as_str).collect();
        put("iotHubs", hubs.into());
    }
    body
}
