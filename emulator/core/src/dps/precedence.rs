//! Which enrollment speaks for a device, and whether it lets the device in.

use super::attestation::symmetric_key::DeviceKeys;
use super::attestation::{AttestationMechanism, Attested, PresentedAttestation, X509Attestation};
use super::enrollment::{
    Enrollment, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus, Slot,
};
use super::registration::{Attempt, Book};
use crate::certificate::path::{self, CaStore, PathError, VerifiedPath};
use crate::certificate::{Certificate, Chain};
use crate::id::RegistrationId;
use crate::sas::SharedAccessSignature;
use crate::settings::{DisabledPrecedence, Settings};
use crate::time::UnixTime;

/// The entry that speaks for a device, with what finding it has already shown.
#[derive(Clone, Debug)]
pub enum Governing<'a> {
    /// A symmetric-key group one of whose derived keys made the signature (R-A34).
    DerivedKeyGroup {
        /// The group.
        group: &'a EnrollmentGroup,
        /// The device's keys under that group.
        keys: DeviceKeys,
        /// The key that signed.
        slot: Slot,
        /// What it signed.
        token: &'a SharedAccessSignature,
    },
    /// The device's own entry (R-A21).
    Individual(&'a IndividualEnrollment),
    /// The group of the certificate nearest the leaf (R-A22).
    SigningGroup {
        /// What was presented.
        chain: &'a Chain,
        /// The group.
        group: &'a EnrollmentGroup,
        /// The way from the leaf to a verified certificate.
        path: VerifiedPath,
        /// The slot that names a certificate of the path.
        slot: Slot,
    },
}

/// Why no entry speaks for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecedenceError {
    /// The chain is verified but no group has any of its certificates (R-A15, R-A23).
    #[error("no enrollment group names a certificate above {leaf}; nearest is {nearest}")]
    NoGroupInChain {
        /// The leaf's subject.
        leaf: String,
        /// Subject of the CA certificate nearest the leaf.
        nearest: String,
    },
    /// There is no individual entry, and what was presented leads to no group.
    #[error("{registration_id} has no individual enrollment, and {presented} leads to no group")]
    NotEnrolled {
        /// The id asked for.
        registration_id: RegistrationId,
        /// What was shown.
        presented: &'static str,
    },
    /// The chain does not hold or leads nowhere verified (R-A16).
    #[error(transparent)]
    Path(#[from] PathError),
}

impl<'a> Governing<'a> {
    /// The entry.
    #[must_use]
    pub fn enrollment(&self) -> Enrollment<'a> {
        match self {
            Self::DerivedKeyGroup { group, .. } | Self::SigningGroup { group, .. } => {
                Enrollment::Group(group)
            }
            Self::Individual(entry) => Enrollment::Individual(entry),
        }
    }
}

/// Finds the one entry that speaks for a device.
///
/// An individual entry of the same registration id speaks whatever its mechanism and whatever was
/// presented: there is no way back to a group (R-A21). Otherwise the first certificate above the
/// leaf that has a group decides which one (R-A22), or the derived key that signed (R-A34).
///
/// Takes:   the attempt, the entries, `now` in Unix seconds.
/// Gives:   [`Governing`].
/// Errors:  [`PrecedenceError::Path`] when the chain is not verified,
///          [`PrecedenceError::NoGroupInChain`] when it is but leads to no group,
///          [`PrecedenceError::NotEnrolled`] for tokens and for nothing presented.
/// Source:  behaviour.md R-A15, R-A16, R-A21, R-A22, R-A34, R-A35, I-13.
pub fn governing<'a>(
    attempt: &Attempt<'a>,
    book: &Book<'a>,
    settings: &Settings,
    now: UnixTime,
) -> Result<Governing<'a>, PrecedenceError> {
    if let Some(entry) = book.individual {
        return Ok(Governing::Individual(entry));
    }
    let not_enrolled = || PrecedenceError::NotEnrolled {
        registration_id: attempt.registration_id.clone(),
        presented: attempt.presented.name(),
    };
    match attempt.presented {
        // There are no groups of TPMs (R-A35).
        PresentedAttestation::None | PresentedAttestation::Tpm { .. } => Err(not_enrolled()),
        PresentedAttestation::SymmetricKey(token) => {
            derived_key_group(attempt.registration_id, token, book).ok_or_else(not_enrolled)
        }
        PresentedAttestation::X509(chain) => {
            let path = path::build(chain, book.ca_store, settings, now)?;
            signing_group(chain, path, book)
        }
    }
}

/// R-A22.
fn signing_group<'a>(
    chain: &'a Chain,
    path: VerifiedPath,
    book: &Book<'a>,
) -> Result<Governing<'a>, PrecedenceError> {
    let nearest = path
        .above_leaf()
        .iter()
        .find_map(|above| group_of(above, book, |_| true));
    match nearest {
        Some((group, slot)) => Ok(Governing::SigningGroup {
            chain,
            group,
            path,
            slot,
        }),
        None => Err(PrecedenceError::NoGroupInChain {
            leaf: path.leaf().subject().to_owned(),
            nearest: path
                .above_leaf()
                .first()
                .map_or("", Certificate::subject)
                .to_owned(),
        }),
    }
}

/// The group of one certificate. There is at most one for uploaded certificates (R-A6); of several
/// that name it by reference the first by id speaks, so the order of the book does not matter.
fn group_of<'a>(
    certificate: &Certificate,
    book: &Book<'a>,
    considered: impl Fn(&EnrollmentGroup) -> bool,
) -> Option<(&'a EnrollmentGroup, Slot)> {
    let groups = book
        .groups
        .iter()
        .map(AsRef::as_ref)
        .filter(|group| considered(group));
    let named = groups.filter_map(|group: &EnrollmentGroup| {
        slot_of(certificate, group, book.ca_store).map(|slot| (group, slot))
    });
    named.min_by(|(one, _), (other, _)| one.enrollment_group_id.cmp(&other.enrollment_group_id))
}

/// R-A15: the slot that holds the certificate, or names it. A name that is not in the store, and an
/// expired certificate, match no path and so leave the other slot alone (R-D8).
fn slot_of(certificate: &Certificate, group: &EnrollmentGroup, store: &CaStore) -> Option<Slot> {
    let AttestationMechanism::X509(x509) = &group.attestation else {
        return None;
    };
    match x509 {
        X509Attestation::CaReferences(names) => names
            .iter()
            .find(|(_, name)| {
                store
                    .get(name)
                    .is_some_and(|ca| ca.certificate == *certificate)
            })
            .map(|(slot, _)| slot),
        X509Attestation::ClientCertificates(_) => None,
        X509Attestation::SigningCertificates(certificates) => certificates
            .iter()
            .find(|(_, signing)| *signing == certificate)
            .map(|(slot, _)| slot),
    }
}

/// R-A34. The first by id speaks if several share a key.
fn derived_key_group<'a>(
    registration_id: &RegistrationId,
    token: &'a SharedAccessSignature,
    book: &Book<'a>,
) -> Option<Governing<'a>> {
    let signed = |group: &'a EnrollmentGroup| {
        let keys = DeviceKeys::derived(&group.attestation, registration_id)?;
        keys.signing_slot(token).map(|slot| (group, slot, keys))
    };
    let found = book.groups.iter().filter_map(|group| signed(group));
    let (group, slot, keys) = found
        .min_by(|(one, ..), (other, ..)| one.enrollment_group_id.cmp(&other.enrollment_group_id))?;
    Some(Governing::DerivedKeyGroup {
        group,
        keys,
        slot,
        token,
    })
}

/// The disabled entry that blocks an attested device, if any.
///
/// By default only the entry that speaks counts; in strict mode also any other that names a
/// certificate of the chain.
///
/// Source:  behaviour.md R-A23, R-A24, I-1.
#[must_use]
pub fn blocking<'a>(
    attested: &Attested<'a>,
    book: &Book<'a>,
    settings: &Settings,
) -> Option<Enrollment<'a>> {
    let speaking = attested.enrollment();
    if speaking.provisioning_status() == &ProvisioningStatus::Disabled {
        return Some(speaking);
    }
    match settings.disabled_precedence {
        DisabledPrecedence::AnyInChain => disabled_in_path(attested.path()?, book),
        DisabledPrecedence::FirstMatch => None,
    }
}

/// R-A24 (ii), the one nearest the leaf.
fn disabled_in_path<'a>(path: &VerifiedPath, book: &Book<'a>) -> Option<Enrollment<'a>> {
    let disabled =
        |group: &EnrollmentGroup| group.provisioning_status == ProvisioningStatus::Disabled;
    let nearest = path
        .above_leaf()
        .iter()
        .find_map(|above| group_of(above, book, disabled));
    nearest.map(|(group, _)| Enrollment::Group(group))
}
