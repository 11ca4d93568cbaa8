//! Attestation mechanisms as the DPS service API spells them (R-A8, R-A13, R-A31, R-A35).

use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_core::dps::attestation::{AttestationMechanism, X509Attestation};
use linarite_core::dps::enrollment::{PrimarySecondary, Slot};
use linarite_core::id::CertificateName;
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};

use crate::error::ServiceError;
use crate::names::rfc3339;
use crate::service::enroll::check_emulated;
use crate::wire::reader::Reader;

/// The mechanism of an entry. What the entry holds `before` may be referred to (R-F3).
pub(super) fn read(
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
