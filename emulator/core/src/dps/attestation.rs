//! Whether what a device showed satisfies the entry that governs it.
//!
//! [`attest`] is the only maker of [`Attested`], which everything after it demands.

use super::enrollment::{Enrollment, EnrollmentError, PrimarySecondary, Slot};
use super::precedence::Governing;
use super::registration::{Attempt, Book, Transport};
use crate::certificate::path::{PathError, VerifiedPath};
use crate::certificate::{Certificate, Chain, Thumbprint};
use crate::id::{CertificateName, RegistrationId};
use crate::sas::{SasError, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::settings::Settings;
use crate::time::UnixTime;
use tpm::{TpmError, TpmKey, TpmKeys};

pub(super) mod symmetric_key;
pub mod tpm;
pub(super) mod x509;

/// What an entry demands.
#[derive(Clone, Debug, PartialEq)]
pub enum AttestationMechanism {
    /// A token signed with one of two keys (R-A32), or keys derived from them (R-A33).
    SymmetricKey {
        /// First key.
        primary: SymmetricKey,
        /// Second key, as good as the first.
        secondary: SymmetricKey,
    },
    /// A Trusted Platform Module (R-A35).
    Tpm {
        /// Its endorsement key.
        endorsement_key: TpmKey,
        /// Its storage root key, if the operator wrote it down. Devices name theirs themselves.
        storage_root_key: Option<TpmKey>,
    },
    /// A certificate.
    X509(X509Attestation),
}

/// The three styles of X.509 attestation. Setting one clears the others (R-A13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum X509Attestation {
    /// Names of CA certificates in the instance's store: groups only.
    CaReferences(PrimarySecondary<CertificateName>),
    /// The device's own certificates: individual enrollments only (R-A8).
    ClientCertificates(PrimarySecondary<Certificate>),
    /// Uploaded CA certificates: groups only.
    SigningCertificates(PrimarySecondary<Certificate>),
}

/// What a device showed. Proof that it holds the certificate's key was given in TLS.
#[derive(Clone, Copy, Debug)]
pub enum PresentedAttestation<'a> {
    /// Nothing.
    None,
    /// A token, signed with a key of the entry or with one that a TPM was given before.
    SymmetricKey(&'a SharedAccessSignature),
    /// The keys of a TPM, and a token once it was challenged.
    Tpm {
        /// Whose keys they are is yet to be shown.
        keys: &'a TpmKeys,
        /// What shows it.
        token: Option<&'a SharedAccessSignature>,
    },
    /// A chain, leaf first.
    X509(&'a Chain),
}

/// Why what was shown does not satisfy the governing entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// The leaf is named otherwise than the registration (R-A4).
    #[error("the leaf's common name {common_name:?} is not the registration id {registration_id}")]
    CommonNameMismatch {
        /// The leaf's common name.
        common_name: Option<String>,
        /// The id asked for.
        registration_id: RegistrationId,
    },
    /// The entry wants another kind of evidence (R-A21a).
    #[error("{presented} was presented but the enrollment demands {enrolled}")]
    MechanismMismatch {
        /// What was shown.
        presented: &'static str,
        /// What the entry demands.
        enrolled: &'static str,
    },
    /// The leaf sits in neither slot of the individual entry (R-A21b).
    #[error(
        "the leaf {presented} is in neither slot (primary {primary:?}, secondary {secondary:?})"
    )]
    NoMatchingSlot {
        /// The leaf shown.
        presented: Thumbprint,
        /// The leaf in the primary slot.
        primary: Option<Thumbprint>,
        /// The leaf in the secondary slot.
        secondary: Option<Thumbprint>,
    },
    /// A certificate does not hold, or the chain leads nowhere verified.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The token is for another registration (R-A31).
    #[error("the token's resource {resource:?} is not that of registration {registration_id}")]
    ResourceMismatch {
        /// The token's resource, decoded.
        resource: String,
        /// The id asked for.
        registration_id: RegistrationId,
    },
    /// The token does not hold.
    #[error(transparent)]
    Sas(#[from] SasError),
    /// The TPM does not satisfy its entry, or not yet.
    #[error(transparent)]
    Tpm(#[from] TpmError),
}

/// Proof that a device satisfied its entry. Only [`attest`] makes one.
#[derive(Clone, Debug)]
pub struct Attested<'a> {
    enrollment: Enrollment<'a>,
    slot: Slot,
    evidence: Evidence<'a>,
}

/// What satisfied the entry.
#[derive(Clone, Debug)]
pub(super) enum Evidence<'a> {
    /// The keys the hub will know the device by.
    Keys {
        primary: SymmetricKey,
        secondary: SymmetricKey,
    },
    /// The leaf, and its path unless the leaf is self-signed.
    Leaf {
        leaf: &'a Certificate,
        path: Option<VerifiedPath>,
    },
}

// === impl AttestationMechanism ===

impl AttestationMechanism {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SymmetricKey { .. } => "symmetric key",
            Self::Tpm { .. } => "TPM",
            Self::X509(X509Attestation::CaReferences(_)) => "X.509 CA reference",
            Self::X509(X509Attestation::ClientCertificates(_)) => "X.509 client certificate",
            Self::X509(X509Attestation::SigningCertificates(_)) => "X.509 signing certificate",
        }
    }
}

impl X509Attestation {
    /// Names of stored CA certificates, at least one.
    ///
    /// # Errors
    /// [`EnrollmentError::NoSlot`] when both are absent.
    ///
    /// Source: behaviour.md R-A13.
    pub fn ca_references(
        slots: PrimarySecondary<CertificateName>,
    ) -> Result<Self, EnrollmentError> {
        if slots.is_empty() {
            Err(EnrollmentError::NoSlot)
        } else {
            Ok(Self::CaReferences(slots))
        }
    }

    /// Leaf certificates, at least one.
    ///
    /// # Errors
    /// [`EnrollmentError::NoSlot`] when both are absent.
    ///
    /// Source: behaviour.md R-A8.
    pub fn client_certificates(
        slots: PrimarySecondary<Certificate>,
    ) -> Result<Self, EnrollmentError> {
        let empty = slots.is_empty();
        if empty {
            Err(EnrollmentError::NoSlot)
        } else {
            Ok(Self::ClientCertificates(slots))
        }
    }

    /// CA certificates, at least one.
    ///
    /// # Errors
    /// [`EnrollmentError::NoSlot`] when both are absent.
    ///
    /// Source: behaviour.md R-A13.
    pub fn signing_certificates(
        slots: PrimarySecondary<Certificate>,
    ) -> Result<Self, EnrollmentError> {
        let empty = slots.is_empty();
        if empty {
            Err(EnrollmentError::NoSlot)
        } else {
            Ok(Self::SigningCertificates(slots))
        }
    }
}

impl PresentedAttestation<'_> {
    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::SymmetricKey(_) => "a shared access signature",
            Self::Tpm { .. } => "a TPM",
            Self::X509(_) => "a certificate",
        }
    }
}

// === impl Attested ===

impl<'a> Attested<'a> {
    /// The entry that was satisfied.
    #[must_use]
    pub fn enrollment(&self) -> Enrollment<'a> {
        self.enrollment
    }

    /// The slot that satisfied it: which generation of credentials the device is on.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The way from the leaf to a verified CA certificate; none for a token or a self-signed leaf.
    #[must_use]
    pub fn path(&self) -> Option<&VerifiedPath> {
        match &self.evidence {
            Evidence::Keys { .. } => None,
            Evidence::Leaf { path, .. } => path.as_ref(),
        }
    }

    pub(super) fn evidence(&self) -> &Evidence<'a> {
        &self.evidence
    }
}

/// Judges a device's evidence against the entry that governs it.
///
/// Neither the status of the entry nor any past assignment is looked at (I-12).
///
/// Takes:   the governing entry; `now` in Unix seconds.
/// Gives:   [`Attested`].
/// Errors:  [`TpmError::NotOverMqtt`] for TPM entries over MQTT, then
///          [`AttestationError::MechanismMismatch`], then what the mechanism finds;
///          [`TpmError::ProofOutstanding`] asks for a challenge.
/// Cost:    at most one signature check per certificate in the path.
/// Source:  behaviour.md R-A4, R-A11, R-A12, R-A16, R-A19 step 4, R-A21, R-A32 to R-A35.
pub fn attest<'a>(
    governing: Governing<'a>,
    attempt: &Attempt<'a>,
    book: &Book<'a>,
    settings: &Settings,
    now: UnixTime,
) -> Result<Attested<'a>, AttestationError> {
    let enrollment = governing.enrollment();
    let (slot, evidence) = match governing {
        Governing::Individual(entry) => match (&entry.attestation, attempt.presented) {
            (AttestationMechanism::Tpm { .. }, _) if attempt.transport == Transport::Mqtt => {
                return Err(TpmError::NotOverMqtt.into());
            }
            (
                AttestationMechanism::Tpm {
                    endorsement_key, ..
                },
                PresentedAttestation::Tpm { keys, token },
            ) => {
                let id = attempt.registration_id;
                let challenge = book.tpm_challenge;
                tpm::attest_individual(id, endorsement_key, Some(keys), token, challenge, now)?
            }
            (
                AttestationMechanism::Tpm {
                    endorsement_key, ..
                },
                PresentedAttestation::SymmetricKey(token),
            ) => {
                let id = attempt.registration_id;
                let challenge = book.tpm_challenge;
                tpm::attest_individual(id, endorsement_key, None, Some(token), challenge, now)?
            }
            (AttestationMechanism::X509(enrolled), PresentedAttestation::X509(chain)) => {
                let id = attempt.registration_id;
                x509::attest_individual(id, enrolled, chain, book.ca_store, settings, now)?
            }
            (
                AttestationMechanism::SymmetricKey { primary, secondary },
                PresentedAttestation::SymmetricKey(token),
            ) => {
                let id = attempt.registration_id;
                symmetric_key::attest_individual(id, primary, secondary, token, now)?
            }
            (enrolled, presented) => {
                let (presented, enrolled) = (presented.name(), enrolled.name());
                return Err(AttestationError::MechanismMismatch {
                    presented,
                    enrolled,
                });
            }
        },
        Governing::SigningGroup {
            slot, chain, path, ..
        } => {
            x509::check_common_name(attempt.registration_id, chain.leaf())?;
            (
                slot,
                Evidence::Leaf {
                    leaf: chain.leaf(),
                    path: Some(path),
                },
            )
        }
        Governing::DerivedKeyGroup {
            slot, token, keys, ..
        } => {
            symmetric_key::check_resource(attempt.registration_id, token)?;
            token.check_expiry(now)?;
            (
                slot,
                Evidence::Keys {
                    primary: keys.primary,
                    secondary: keys.secondary,
                },
            )
        }
    };
    Ok(Attested {
        enrollment,
        slot,
        evidence,
    })
}
