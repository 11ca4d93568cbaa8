//! Attestation mechanisms as the DPS service API spells them (R-A8, R-A13, R-A31, R-A35).

use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_core::dps::attestation::{AttestationMechanism, X509Attestation};
use linarite_core::dps::enrollment::{PrimarySecondary, Slot};
use linarite_core::dps::ownership::OwnedElsewhere;
use linarite_core::dps::upload::{
    self, Holder, SlotProblem, SlotWrite, Style, StyleWrite, UploadError,
};
use linarite_core::id::CertificateName;
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};

use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::enroll::Stamp;
use crate::wire::reader::Reader;
use crate::wire::tpm;

const KINDS: [&str; 3] = ["symmetricKey", "tpm", "x509"];

/// The mechanism of `holder`'s entry, which held `held` before.
pub(super) fn read(
    body: &Reader<'_>,
    holder: Holder<'_>,
    held: Option<&AttestationMechanism>,
    stamp: &Stamp,
) -> Result<AttestationMechanism, ServiceError> {
    let attestation = body
        .object("attestation")?
        .only(&["symmetricKey", "tpm", "type", "x509"])?;
    let kind = match attestation.text("type")? {
        Some(kind) if KINDS.contains(&kind) => kind,
        Some(_) => return Err(attestation.wrong("type", "expected x509, symmetricKey or tpm")),
        None => return Err(attestation.wrong("type", "required: x509, symmetricKey or tpm")),
    };
    for other in KINDS.into_iter().filter(|other| *other != kind) {
        if attestation.value(other).is_some() {
            let text = format!("does not go with attestation.type {kind}");
            return Err(attestation.wrong(other, text));
        }
    }
    let details = attestation.object(kind)?;
    Ok(match kind {
        "x509" => AttestationMechanism::X509(read_x509(&details, holder, held, stamp)?),
        "symmetricKey" => read_keys(&details.only(&["primaryKey", "secondaryKey"])?, held)?,
        _ => read_tpm(&details.only(&["endorsementKey", "storageRootKey"])?)?,
    })
}

fn read_tpm(keys: &Reader<'_>) -> Result<AttestationMechanism, ServiceError> {
    let (endorsement_key, storage_root_key) = tpm::read_enrolled(keys)?;
    Ok(AttestationMechanism::Tpm {
        endorsement_key,
        storage_root_key,
    })
}

fn read_x509(
    x509: &Reader<'_>,
    holder: Holder<'_>,
    held: Option<&AttestationMechanism>,
    stamp: &Stamp,
) -> Result<X509Attestation, ServiceError> {
    let x509 = x509.clone().only(&[
        style_name(Style::CaReferences),
        style_name(Style::ClientCertificates),
        style_name(Style::SigningCertificates),
    ])?;
    let mut styles = Vec::new();
    for style in [
        Style::CaReferences,
        Style::ClientCertificates,
        Style::SigningCertificates,
    ] {
        let slots = x509
            .object(style_name(style))?
            .only(&["primary", "secondary"])?;
        if slots.is_present() {
            styles.push(match style {
                Style::CaReferences => StyleWrite::CaReferences(read_names(&slots)?),
                Style::ClientCertificates => StyleWrite::ClientCertificates(read_slots(&slots)?),
                Style::SigningCertificates => StyleWrite::SigningCertificates(read_slots(&slots)?),
            });
        }
    }
    let held = match held {
        Some(AttestationMechanism::X509(held)) => Some(held),
        _ => None,
    };
    let now = UnixMillis(stamp.updated_ms).seconds();
    upload::judge(styles, holder, held, &stamp.settings, now).map_err(|error| refusal(&error))
}

fn read_names(slots: &Reader<'_>) -> Result<PrimarySecondary<CertificateName>, ServiceError> {
    let read = |name| {
        let text = slots.text(name)?;
        let parse = |text| CertificateName::parse(text).map_err(|error| slots.wrong(name, error));
        text.map(parse).transpose()
    };
    Ok(PrimarySecondary {
        primary: read("primary")?,
        secondary: read("secondary")?,
    })
}

fn read_slots(slots: &Reader<'_>) -> Result<PrimarySecondary<SlotWrite>, ServiceError> {
    Ok(PrimarySecondary {
        primary: read_slot(slots, "primary")?,
        secondary: read_slot(slots, "secondary")?,
    })
}

/// A slot is written with a certificate, or with the `info` of one that is to be kept (R-F3).
fn read_slot(slots: &Reader<'_>, name: &str) -> Result<Option<SlotWrite>, ServiceError> {
    let slot = slots.object(name)?.only(&["certificate", "info"])?;
    let info = slot.object("info")?.only(&[
        "issuerName",
        "notAfterUtc",
        "notBeforeUtc",
        "serialNumber",
        "sha1Thumbprint",
        "sha256Thumbprint",
        "subjectName",
        "version",
    ])?;
    if !slot.is_present() {
        return Ok(None);
    }
    if let Some(text) = slot.text("certificate")?.filter(|text| !text.is_empty()) {
        return Certificate::from_pem_or_base64(text)
            .map(|certificate| Some(SlotWrite::Certificate(certificate)))
            .map_err(|error| slot.wrong("certificate", error));
    }
    let thumbprint = info
        .text("sha256Thumbprint")?
        .or(info.text("sha1Thumbprint")?);
    thumbprint
        .and_then(|text| Thumbprint::parse(text).ok())
        .map(|thumbprint| Some(SlotWrite::Held(thumbprint)))
        .ok_or_else(|| slot.wrong("certificate", "required, unless info names what is held"))
}

/// What is wrong with an upload, by the path of the member that is wrong.
fn refusal(error: &UploadError) -> ServiceError {
    let path = match error {
        UploadError::OneStyle { .. } => "attestation.x509".to_owned(),
        UploadError::Empty { style } | UploadError::Foreign { style, .. } => {
            format!("attestation.x509.{}", style_name(*style))
        }
        UploadError::Slot {
            style,
            slot,
            problem: SlotProblem::NotHeld,
        } => format!("{}.info", slot_path(*style, *slot)),
        UploadError::Slot { style, slot, .. } => {
            format!("{}.certificate", slot_path(*style, *slot))
        }
    };
    ServiceError::invalid(format!("{path}: {error}"))
}

/// A certificate that sits in another entry (R-A6).
pub(crate) fn owned_elsewhere(error: &OwnedElsewhere) -> ServiceError {
    let path = slot_path(error.style, error.slot);
    ServiceError::new(409_000, "Conflict", "R-A6", format!("{path}: {error}"))
}

fn slot_path(style: Style, slot: Slot) -> String {
    format!("attestation.x509.{}.{}", style_name(style), slot_name(slot))
}

fn style_name(style: Style) -> &'static str {
    match style {
        Style::CaReferences => "caReferences",
        Style::ClientCertificates => "clientCertificates",
        Style::SigningCertificates => "signingCertificates",
    }
}

fn slot_name(slot: Slot) -> &'static str {
    match slot {
        Slot::Primary => "primary",
        Slot::Secondary => "secondary",
    }
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

/// An attestation; `with_secrets` only for the call that is there to show them (R-F5).
pub(crate) fn show(mechanism: &AttestationMechanism, with_secrets: bool) -> Value {
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
        // Public keys are no secrets.
        AttestationMechanism::Tpm {
            endorsement_key,
            storage_root_key,
        } => {
            let mut tpm = json!({ "endorsementKey": endorsement_key.to_base64() });
            if let Some(key) = storage_root_key {
                tpm["storageRootKey"] = key.to_base64().into();
            }
            json!({ "type": "tpm", "tpm": tpm })
        }
    }
}

fn slot_infos(slots: &PrimarySecondary<Certificate>) -> Value {
    let mut infos = Map::new();
    for (slot, certificate) in slots.iter() {
        infos.insert(
            slot_name(slot).to_owned(),
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
