//! Certificates as evidence.

use super::{AttestationError, Evidence, X509Attestation};
use crate::certificate::path::{self, CaStore};
use crate::certificate::{Certificate, Chain, Thumbprint};
use crate::dps::enrollment::{self, PrimarySecondary, Slot};
use crate::id::RegistrationId;
use crate::settings::Settings;
use crate::time::UnixTime;

/// R-A4, then R-A11, then R-A20; a leaf signed by a CA also needs a verified one (R-A12).
pub(super) fn attest_individual<'a>(
    registration_id: &RegistrationId,
    enrolled: &X509Attestation,
    chain: &'a Chain,
    store: &CaStore,
    settings: &Settings,
    now: UnixTime,
) -> Result<(Slot, Evidence<'a>), AttestationError> {
    let leaf = chain.leaf();
    check_common_name(registration_id, leaf)?;
    let slot = matching_slot(enrolled, leaf)?;
    let path = if leaf.is_self_signed() {
        path::check_validity(leaf, settings, now)?;
        None
    } else {
        Some(path::build(chain, store, settings, now)?)
    };
    Ok((slot, Evidence::Leaf { leaf, path }))
}

/// R-A4.
pub(super) fn check_common_name(
    registration_id: &RegistrationId,
    leaf: &Certificate,
) -> Result<(), AttestationError> {
    if enrollment::is_named(leaf, registration_id) {
        return Ok(());
    }
    Err(AttestationError::CommonNameMismatch {
        common_name: leaf.common_name().map(str::to_owned),
        registration_id: registration_id.clone(),
    })
}

/// R-A11, R-A21b. An entry made past its constructor with a group's style matches nothing.
fn matching_slot(enrolled: &X509Attestation, leaf: &Certificate) -> Result<Slot, AttestationError> {
    let none = PrimarySecondary {
        primary: None,
        secondary: None,
    };
    let slots = match enrolled {
        X509Attestation::ClientCertificates(slots) => slots,
        X509Attestation::CaReferences(_) | X509Attestation::SigningCertificates(_) => &none,
    };
    let found = slots.iter().find(|(_, certificate)| *certificate == leaf);
    found
        .map(|(slot, _)| slot)
        .ok_or_else(|| AttestationError::NoMatchingSlot {
            presented: Thumbprint::Sha256(leaf.fingerprint()),
            primary: slots.primary.as_ref().map(thumbprint),
            secondary: slots.secondary.as_ref().map(thumbprint),
        })
}

fn thumbprint(certificate: &Certificate) -> Thumbprint {
    Thumbprint::Sha256(certificate.fingerprint())
}
