//! Enrollments and groups as the DPS service API spells them (ENDPOINTS 2, behaviour F.1).

pub(crate) mod bulk;
pub(crate) mod query;

use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_core::dps::allocation::AllocationPolicy;
use linarite_core::dps::attestation::{AttestationMechanism, X509Attestation};
use linarite_core::dps::enrollment::{
    Enrollment, EnrollmentGroup, IndividualEnrollment, InitialTwin, PrimarySecondary,
    ProvisioningStatus, Slot,
};
use linarite_core::dps::reprovision::ReprovisionPolicy;
use linarite_core::id::{
    CertificateName, DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId,
};
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};

use super::reader::Reader;
use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::enroll::{Stamp, check_emulated};

/// What both kinds of entry have in common, read from a body.
struct Common {
    iot_edge: bool,
    initial_twin: Option<InitialTwin>,
    provisioning_status: ProvisioningStatus,
    reprovision_policy: ReprovisionPolicy,
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
    let body = Reader::root(body)?;
    check_id(&body, "registrationId", id.as_str())?;
    let attestation = read_attestation(&body, before.map(|entry| &entry.attestation), false)?;
    let common = read_common(&body)?;
    let mut entry =
        IndividualEnrollment::new(id.clone(), attestation, stamp.etag, stamp.updated_ms)
            .map_err(|error| ServiceError::invalid(format!("attestation: {error}")))?;
    entry.device_id = match body.text("deviceId")? {
        Some(text) => Some(DeviceId::parse(text).map_err(|error| body.wrong("deviceId", error))?),
        None => None,
    };
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
    let body = Reader::root(body)?;
    check_id(&body, "enrollmentGroupId", id.as_str())?;
    let attestation = read_attestation(&body, before.map(|entry| &entry.attestation), true)?;
    let common = read_common(&body)?;
    let mut entry = EnrollmentGroup::new(id.clone(), attestation, stamp.etag, stamp.updated_ms)
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

fn read_common(body: &Reader<'_>) -> Result<Common, ServiceError> {
    let provisioning_status = match body.text("provisioningStatus")? {
        None | Some("enabled") => ProvisioningStatus::Enabled,
        Some("disabled") => ProvisioningStatus::Disabled,
        Some(_) => return Err(body.wrong("provisioningStatus", "expected enabled or disabled")),
    };
    let reprovision = body.object("reprovisionPolicy")?;
    let default = ReprovisionPolicy::default();
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
            .flag("iotEdge")?
            .unwrap_or(false),
        initial_twin: read_initial_twin(body)?,
        provisioning_status,
        reprovision_policy,
        allocation: read_allocation(body)?,
        iot_hubs,
    })
}

fn read_initial_twin(body: &Reader<'_>) -> Result<Option<InitialTwin>, ServiceError> {
    let twin = body.object("initialTwin")?;
    if !twin.is_present() {
        return Ok(None);
    }
    let properties = twin.object("properties")?;
    let section = |value: Option<&Value>| {
        let mut value = value.cloned().unwrap_or_else(|| json!({}));
        if let Value::Object(members) = &mut value {
            // SDKs send the bookkeeping of a twin collection back; it is not content.
            members.retain(|key, _| !key.starts_with('$'));
        }
        value
    };
    Ok(Some(InitialTwin {
        tags: section(twin.value("tags")),
        desired: section(properties.value("desired")),
    }))
}

fn read_allocation(body: &Reader<'_>) -> Result<Option<AllocationPolicy>, ServiceError> {
    match body.text("allocationPolicy")? {
        None => Ok(None),
        Some("hashed") => Ok(Some(AllocationPolicy::Hashed)),
        Some("static") => Ok(Some(AllocationPolicy::Static)),
        Some("geoLatency") => Ok(Some(AllocationPolicy::GeoLatency)),
        Some("custom") => Err(ServiceError::not_emulated("custom allocation webhooks")),
        Some(_) => Err(body.wrong(
            "allocationPolicy",
            "expected hashed, geoLatency, static or custom",
        )),
    }
}

fn read_attestation(
    body: &Reader<'_>,
    before: Option<&AttestationMechanism>,
    group: bool,
) -> Result<AttestationMechanism, ServiceError> {
    let attestation = body.object("attestation")?;
    let mechanism = match attestation.text("type")? {
        Some("x509") => {
            AttestationMechanism::X509(read_x509(&attestation.object("x509")?, before, group)?)
        }
        Some("symmetricKey") => read_keys(&attestation.object("symmetricKey")?, before)?,
        Some("tpm") => AttestationMechanism::Tpm {
            endorsement_key: attestation
                .object("tpm")?
                .text("endorsementKey")?
                .unwrap_or_default()
                .to_owned(),
            storage_root_key: None,
        },
        Some(_) => {
            return Err(attestation.wrong("type", "expected x509, symmetricKey or tpm"));
        }
        None => return Err(attestation.wrong("type", "required: x509, symmetricKey or tpm")),
    };
    check_emulated(&mechanism)?;
    Ok(mechanism)
}

fn read_x509(
    x509: &Reader<'_>,
    before: Option<&AttestationMechanism>,
    group: bool,
) -> Result<X509Attestation, ServiceError> {
    let invalid =
        |error: &dyn std::fmt::Display| ServiceError::invalid(format!("attestation.x509: {error}"));
    let held = match before {
        Some(AttestationMechanism::X509(
            X509Attestation::ClientCertificates(slots)
            | X509Attestation::SigningCertificates(slots),
        )) => Some(slots),
        _ => None,
    };
    let style = |name| {
        x509.object(name)
            .map(|style| style.is_present().then_some(style))
    };
    let (client, signing, references) = (
        style("clientCertificates")?,
        style("signingCertificates")?,
        style("caReferences")?,
    );
    match (client, signing, references) {
        (Some(client), None, None) if !group => {
            let slots = read_slots(&client, held)?;
            X509Attestation::client_certificates(slots).map_err(|error| invalid(&error))
        }
        (None, Some(signing), None) if group => {
            let slots = read_slots(&signing, held)?;
            X509Attestation::signing_certificates(slots).map_err(|error| invalid(&error))
        }
        (None, None, Some(references)) if group => {
            let slot = |name| {
                references
                    .text(name)?
                    .map(|text| {
                        CertificateName::parse(text).map_err(|error| references.wrong(name, error))
                    })
                    .transpose()
            };
            let slots = PrimarySecondary {
                primary: slot("primary")?,
                secondary: slot("secondary")?,
            };
            X509Attestation::ca_references(slots).map_err(|error| invalid(&error))
        }
        _ if group => Err(invalid(
            &"a group takes exactly one of signingCertificates and caReferences (R-A13)",
        )),
        _ => Err(invalid(
            &"an individual enrollment takes clientCertificates alone (R-A8)",
        )),
    }
}

fn read_slots(
    slots: &Reader<'_>,
    held: Option<&PrimarySecondary<Certificate>>,
) -> Result<PrimarySecondary<Certificate>, ServiceError> {
    Ok(PrimarySecondary {
        primary: read_slot(slots, "primary", held)?,
        secondary: read_slot(slots, "secondary", held)?,
    })
}

/// A slot holds what is uploaded; one sent back with its `info` alone keeps what it held, found
/// by thumbprint in either slot; an absent one is emptied (R-F3).
fn read_slot(
    slots: &Reader<'_>,
    name: &str,
    held: Option<&PrimarySecondary<Certificate>>,
) -> Result<Option<Certificate>, ServiceError> {
    let slot = slots.object(name)?;
    if !slot.is_present() {
        return Ok(None);
    }
    if let Some(text) = slot.text("certificate")?.filter(|text| !text.is_empty()) {
        return Certificate::from_pem_or_base64(text)
            .map(Some)
            .map_err(|error| slot.wrong("certificate", error));
    }
    let info = slot.object("info")?;
    let thumbprint = info
        .text("sha256Thumbprint")?
        .or(info.text("sha1Thumbprint")?);
    let thumbprint = thumbprint
        .and_then(|text| Thumbprint::parse(text).ok())
        .ok_or_else(|| slot.wrong("certificate", "required, unless info names what is held"))?;
    held.and_then(|held| {
        held.iter()
            .map(|(_, certificate)| certificate)
            .find(|held| thumbprint.matches(held))
    })
    .cloned()
    .map(Some)
    .ok_or_else(|| slot.wrong("info", "names a certificate the entry does not hold"))
}

/// Keys that are not sent are kept, or generated for a new entry (R-A31).
fn read_keys(
    keys: &Reader<'_>,
    before: Option<&AttestationMechanism>,
) -> Result<AttestationMechanism, ServiceError> {
    let held = match before {
        Some(AttestationMechanism::SymmetricKey { primary, secondary }) => {
            Some((primary, secondary))
        }
        _ => None,
    };
    Ok(AttestationMechanism::SymmetricKey {
        primary: keys.key("primaryKey", held.map(|(primary, _)| primary))?,
        secondary: keys.key("secondaryKey", held.map(|(_, secondary)| secondary))?,
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
    put("attestation", attestation(entry.attestation(), false));
    put("capabilities", json!({ "iotEdge": entry.iot_edge() }));
    if let Some(twin) = entry.initial_twin() {
        put(
            "initialTwin",
            json!({ "tags": twin.tags, "properties": { "desired": twin.desired } }),
        );
    }
    put(
        "provisioningStatus",
        match entry.provisioning_status() {
            ProvisioningStatus::Enabled => "enabled".into(),
            ProvisioningStatus::Disabled => "disabled".into(),
        },
    );
    let policy = entry.reprovision_policy();
    put(
        "reprovisionPolicy",
        json!({
            "updateHubAssignment": policy.update_hub_assignment,
            "migrateDeviceData": policy.migrate_device_data,
        }),
    );
    if let Some(policy) = entry.allocation() {
        put("allocationPolicy", allocation_name(policy).into());
    }
    if !entry.iot_hubs().is_empty() {
        let hubs: Vec<&str> = entry.iot_hubs().iter().map(HubHostName::as_str).collect();
        put("iotHubs", hubs.into());
    }
    body
}

fn allocation_name(policy: &AllocationPolicy) -> &'static str {
    match policy {
        AllocationPolicy::Custom(_) => "custom",
        AllocationPolicy::GeoLatency => "geoLatency",
        AllocationPolicy::Hashed => "hashed",
        AllocationPolicy::Static => "static",
    }
}

/// An attestation; `with_secrets` only for the call that is there to show them (R-F5).
pub(crate) fn attestation(mechanism: &AttestationMechanism, with_secrets: bool) -> Value {
    match mechanism {
        AttestationMechanism::X509(X509Attestation::CaReferences(slots)) => {
            let name = |slot| slots.get(slot).map(CertificateName::as_str);
            let references =
                json!({ "primary": name(Slot::Primary), "secondary": name(Slot::Secondary) });
            json!({ "type": "x509", "x509": { "caReferences": references } })
        }
        AttestationMechanism::X509(X509Attestation::ClientCertificates(slots)) => {
            json!({ "type": "x509", "x509": { "clientCertificates": slot_infos(slots) } })
        }
        AttestationMechanism::X509(X509Attestation::SigningCertificates(slots)) => {
            json!({ "type": "x509", "x509": { "signingCertificates": slot_infos(slots) } })
        }
        AttestationMechanism::SymmetricKey { primary, secondary } if with_secrets => json!({
            "type": "symmetricKey",
            "symmetricKey": {
                "primaryKey": primary.to_base64(),
                "secondaryKey": secondary.to_base64(),
            },
        }),
        AttestationMechanism::SymmetricKey { .. } => json!({ "type": "symmetricKey" }),
        AttestationMechanism::Tpm {
            endorsement_key, ..
        } => {
            json!({ "type": "tpm", "tpm": { "endorsementKey": endorsement_key } })
        }
    }
}

fn slot_infos(slots: &PrimarySecondary<Certificate>) -> Value {
    let mut infos = Map::new();
    for (slot, certificate) in slots.iter() {
        let name = match slot {
            Slot::Primary => "primary",
            Slot::Secondary => "secondary",
        };
        infos.insert(
            name.to_owned(),
            json!({ "info": certificate_info(certificate) }),
        );
    }
    Value::Object(infos)
}

/// `X509CertificateInfo` (R-A8).
pub(crate) fn certificate_info(certificate: &Certificate) -> Value {
    let validity = certificate.validity();
    json!({
        "subjectName": certificate.subject(),
        "sha1Thumbprint": Thumbprint::Sha1(certificate.sha1()).to_string(),
        "sha256Thumbprint": Thumbprint::Sha256(certificate.fingerprint()).to_string(),
        "issuerName": certificate.issuer(),
        "notBeforeUtc": rfc3339(UnixMillis(validity.not_before.0.saturating_mul(1000))),
        "notAfterUtc": rfc3339(UnixMillis(validity.not_after.0.saturating_mul(1000))),
        "serialNumber": certificate.serial(),
        "version": certificate.version(),
    })
}
