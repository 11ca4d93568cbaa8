//! What an operator writes into an entry's certificate slots, judged before it is stored.

use super::attestation::X509Attestation;
use super::enrollment::{self, PrimarySecondary, Slot};
use crate::certificate::{Certificate, Thumbprint};
use crate::id::{CertificateName, RegistrationId};
use crate::settings::Settings;
use crate::time::UnixTime;

/// The styles of X.509 attestation, of which an entry has one (R-A13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Names of CA certificates: groups.
    CaReferences,
    /// The device's own certificates: individual enrollments.
    ClientCertificates,
    /// Uploaded CA certificates: groups.
    SigningCertificates,
}

/// What is written into one slot; nothing empties it (R-F3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotWrite {
    /// A certificate.
    Certificate(Certificate),
    /// What the entry already holds under this thumbprint, in either slot.
    Held(Thumbprint),
}

/// What is written in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StyleWrite {
    /// [`Style::CaReferences`].
    CaReferences(PrimarySecondary<CertificateName>),
    /// [`Style::ClientCertificates`].
    ClientCertificates(PrimarySecondary<SlotWrite>),
    /// [`Style::SigningCertificates`].
    SigningCertificates(PrimarySecondary<SlotWrite>),
}

/// Whose entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A group.
    Group,
    /// One device of this id.
    Individual(&'a RegistrationId),
}

/// Why a write is refused. Where is told by style and slot, for the message to name the member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// Both slots are empty.
    #[error("neither the primary nor the secondary slot holds anything")]
    Empty {
        /// The style.
        style: Style,
    },
    /// A style that this kind of entry does not have.
    #[error("belongs to {belongs_to}")]
    Foreign {
        /// The style.
        style: Style,
        /// The kind of entry that has it.
        belongs_to: &'static str,
    },
    /// No style, or several.
    #[error("expected one of {expected}, found {found}")]
    OneStyle {
        /// The styles this kind of entry may have.
        expected: &'static str,
        /// How many were named.
        found: usize,
    },
    /// What is written into a slot may not stand there.
    #[error("{problem}")]
    Slot {
        /// The style.
        style: Style,
        /// The slot.
        slot: Slot,
        /// What is wrong.
        problem: SlotProblem,
    },
}

/// What is wrong with one slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotProblem {
    /// A leaf of another name than the entry (R-A9).
    #[error("the certificate's common name {common_name:?} is not {registration_id}")]
    CommonName {
        /// The entry's id.
        registration_id: RegistrationId,
        /// The certificate's common name.
        common_name: Option<String>,
    },
    /// A new certificate that is too old to serve anybody (R-A20, I-14; assumed).
    #[error("the certificate held until {not_after}; it is {now}")]
    Expired {
        /// Its last second.
        not_after: UnixTime,
        /// The moment of judging.
        now: UnixTime,
    },
    /// A signing certificate without the CA flag (I-14).
    #[error("the certificate may not sign others: its basic constraints do not say CA")]
    NotACertificateAuthority,
    /// A slot is to be kept that the entry does not hold (R-F3).
    #[error("names a certificate the entry does not hold")]
    NotHeld,
}

/// Judges what is written of an entry's X.509 attestation.
///
/// A certificate that the entry holds already is not new: it may have expired meanwhile, and its
/// slot stays as it is (R-D8). Whether a certificate is one at all, alone, and of an accepted key
/// was judged when it was parsed (R-A7, R-A10); whether another entry has it is judged when it is
/// stored (R-A6).
///
/// Takes:   what is written in each style that is named, whose entry it is, what the entry held; `now` in Unix seconds.
/// Gives:   the attestation to store.
/// Errors:  [`UploadError`]: the style, then primary and secondary in turn.
/// Source:  behaviour.md R-A8, R-A9, R-A13, R-A20, R-D8, R-F3, I-14. Refusing a new certificate
///          that has expired is assumed; `check_validity` switches it off.
pub fn judge(
    mut styles: Vec<StyleWrite>,
    holder: Holder<'_>,
    held: Option<&X509Attestation>,
    settings: &Settings,
    now: UnixTime,
) -> Result<X509Attestation, UploadError> {
    let (found, expected) = (styles.len(), holder.styles());
    let (Some(write), true) = (styles.pop(), styles.is_empty()) else {
        return Err(UploadError::OneStyle { expected, found });
    };
    let style = write.style();
    let belongs_to = style.holder();
    if belongs_to != holder.kind() {
        return Err(UploadError::Foreign { style, belongs_to });
    }
    let held = held.and_then(certificates).map(|(_, slots)| slots);
    let fill = |slots: PrimarySecondary<SlotWrite>| {
        let fill = |slot, write: Option<SlotWrite>| {
            let fill = |write| fill(write, style, holder, held, settings, now);
            let filled = write.map(fill).transpose();
            filled.map_err(|problem| UploadError::Slot {
                style,
                slot,
                problem,
            })
        };
        Ok(PrimarySecondary {
            primary: fill(Slot::Primary, slots.primary)?,
            secondary: fill(Slot::Secondary, slots.secondary)?,
        })
    };
    let attestation = match write {
        StyleWrite::CaReferences(names) => X509Attestation::ca_references(names),
        StyleWrite::ClientCertificates(slots) => X509Attestation::client_certificates(fill(slots)?),
        StyleWrite::SigningCertificates(slots) => {
            X509Attestation::signing_certificates(fill(slots)?)
        }
    };
    attestation.map_err(|_| UploadError::Empty { style })
}

fn fill(
    write: SlotWrite,
    style: Style,
    holder: Holder<'_>,
    held: Option<&PrimarySecondary<Certificate>>,
    settings: &Settings,
    now: UnixTime,
) -> Result<Certificate, SlotProblem> {
    let find = |thumbprint: Thumbprint| {
        let mut held = held.into_iter().flat_map(PrimarySecondary::iter);
        let found = held.find(|(_, certificate)| thumbprint.matches(certificate));
        found.map(|(_, certificate)| certificate.clone())
    };
    let certificate = match write {
        SlotWrite::Held(thumbprint) => return find(thumbprint).ok_or(SlotProblem::NotHeld),
        SlotWrite::Certificate(certificate) => certificate,
    };
    if let Some(same) = find(Thumbprint::Sha256(certificate.fingerprint())) {
        return Ok(same);
    }
    let not_after = certificate.validity().not_after;
    if settings.check_validity && now > not_after {
        return Err(SlotProblem::Expired { not_after, now });
    }
    if style == Style::SigningCertificates && !certificate.is_ca() {
        return Err(SlotProblem::NotACertificateAuthority);
    }
    match holder {
        Holder::Individual(id) if !enrollment::is_named(&certificate, id) => {
            Err(SlotProblem::CommonName {
                registration_id: id.clone(),
                common_name: certificate.common_name().map(str::to_owned),
            })
        }
        Holder::Group | Holder::Individual(_) => Ok(certificate),
    }
}

/// The certificates an attestation holds itself, and in which style.
pub(super) fn certificates(
    attestation: &X509Attestation,
) -> Option<(Style, &PrimarySecondary<Certificate>)> {
    match attestation {
        X509Attestation::CaReferences(_) => None,
        X509Attestation::ClientCertificates(slots) => Some((Style::ClientCertificates, slots)),
        X509Attestation::SigningCertificates(slots) => Some((Style::SigningCertificates, slots)),
    }
}

impl StyleWrite {
    fn style(&self) -> Style {
        match self {
            Self::CaReferences(_) => Style::CaReferences,
            Self::ClientCertificates(_) => Style::ClientCertificates,
            Self::SigningCertificates(_) => Style::SigningCertificates,
        }
    }
}

impl Style {
    /// The kind of entry that has this style.
    fn holder(self) -> &'static str {
        match self {
            Self::CaReferences | Self::SigningCertificates => GROUP,
            Self::ClientCertificates => INDIVIDUAL,
        }
    }
}

const GROUP: &str = "an enrollment group";
const INDIVIDUAL: &str = "an individual enrollment";

impl Holder<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Group => GROUP,
            Self::Individual(_) => INDIVIDUAL,
        }
    }

    fn styles(self) -> &'static str {
        match self {
            Self::Group => "signingCertificates and caReferences (R-A13)",
            Self::Individual(_) => "clientCertificates alone (R-A8)",
        }
    }
}

#[cfg(test)]
mod tests;
