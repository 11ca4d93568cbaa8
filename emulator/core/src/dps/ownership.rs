//! Which entry a certificate sits in: one, of whatever kind (R-A6).

use std::collections::HashMap;
use std::fmt;

use super::attestation::AttestationMechanism;
use super::enrollment::Slot;
use super::upload::{self, Style};
use crate::certificate::Certificate;
use crate::id::{EnrollmentGroupId, RegistrationId};

/// An entry by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryName {
    /// An enrollment group.
    Group(EnrollmentGroupId),
    /// An individual enrollment.
    Individual(RegistrationId),
}

/// The certificates of an instance and the entry each sits in.
#[derive(Clone, Debug, Default)]
pub struct Ownership(HashMap<[u8; 32], EntryName>);

/// A certificate already sits in another entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is already in {entry}, and one entry holds it (R-A6)")]
pub struct OwnedElsewhere {
    /// The style in which it was to be held.
    pub style: Style,
    /// The slot it was to be held in.
    pub slot: Slot,
    /// The other entry.
    pub entry: EntryName,
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(id) => write!(f, "enrollment group {id}"),
            Self::Individual(id) => write!(f, "individual enrollment {id}"),
        }
    }
}

impl Ownership {
    /// Moves certificates from what an entry held to what it is to hold. One certificate may sit
    /// in both slots of one entry.
    ///
    /// # Errors
    /// [`OwnedElsewhere`] for the first that sits in another entry; then nothing has changed.
    ///
    /// Source: behaviour.md R-A6.
    pub fn reassign(
        &mut self,
        entry: &EntryName,
        before: Option<&AttestationMechanism>,
        after: Option<&AttestationMechanism>,
    ) -> Result<(), OwnedElsewhere> {
        for (style, slot, certificate) in certificates(after) {
            match self.0.get(&certificate.fingerprint()) {
                Some(other) if other != entry => {
                    return Err(OwnedElsewhere {
                        style,
                        slot,
                        entry: other.clone(),
                    });
                }
                _ => {}
            }
        }
        for (.., certificate) in certificates(before) {
            self.0.remove(&certificate.fingerprint());
        }
        for (.., certificate) in certificates(after) {
            self.0.insert(certificate.fingerprint(), entry.clone());
        }
        Ok(())
    }
}

fn certificates(
    mechanism: Option<&AttestationMechanism>,
) -> impl Iterator<Item = (Style, Slot, &Certificate)> {
    let x509 = mechanism.and_then(|mechanism| match mechanism {
        AttestationMechanism::X509(x509) => Some(x509),
        AttestationMechanism::SymmetricKey { .. } | AttestationMechanism::Tpm { .. } => None,
    });
    let held = x509.and_then(upload::certificates).into_iter();
    held.flat_map(|(style, slots)| {
        slots
            .iter()
            .map(move |(slot, certificate)| (style, slot, certificate))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dps::attestation::X509Attestation;
    use crate::test_pki::{Authority, LONG, registration_id, self_signed, slots};

    /// R-A6.
    #[test]
    fn a_certificate_sits_in_one_entry_of_any_kind() {
        let root = Authority::root("root").certificate;
        let leaves = [1, 2].map(|_| self_signed("dev-1", LONG));
        let client = |primary: &Certificate, secondary: Option<&Certificate>| {
            let slots = slots(Some(primary.clone()), secondary.cloned());
            AttestationMechanism::X509(X509Attestation::ClientCertificates(slots))
        };
        let signing = |primary: &Certificate, secondary: &Certificate| {
            let slots = slots(Some(primary.clone()), Some(secondary.clone()));
            AttestationMechanism::X509(X509Attestation::SigningCertificates(slots))
        };
        let individual = |id| EntryName::Individual(registration_id(id));
        let group = |id| EntryName::Group(EnrollmentGroupId::parse(id).unwrap());
        let mut owners = Ownership::default();
        let twice = client(&leaves[0], Some(&leaves[0]));
        let one = individual("dev-1");
        owners.reassign(&one, None, Some(&twice)).unwrap();

        // A group of that name is another entry; the refusal says where and changes nothing.
        let both = signing(&root, &leaves[0]);
        let refused = owners.reassign(&group("dev-1"), None, Some(&both));
        let expected = OwnedElsewhere {
            style: Style::SigningCertificates,
            slot: Slot::Secondary,
            entry: one.clone(),
        };
        assert_eq!(refused, Err(expected.clone()));
        assert!(expected.to_string().contains("individual enrollment dev-1"));
        let alone = signing(&root, &root);
        owners
            .reassign(&group("other"), None, Some(&alone))
            .unwrap();

        // The same entry, spelled otherwise, may go on holding it, and lets go of what it drops.
        let next = client(&leaves[1], None);
        let same = individual("DEV-1");
        owners.reassign(&same, Some(&twice), Some(&twice)).unwrap();
        owners.reassign(&same, Some(&twice), Some(&next)).unwrap();
        owners
            .reassign(&individual("dev-2"), None, Some(&twice))
            .unwrap();
        let stolen = owners.reassign(&individual("dev-2"), Some(&twice), Some(&next));
        assert_eq!(stolen.unwrap_err().entry, one);
        owners.reassign(&same, Some(&next), None).unwrap();
        owners
            .reassign(&individual("dev-2"), Some(&twice), Some(&next))
            .unwrap();
    }
}
