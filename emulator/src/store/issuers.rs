//! Certificates that stand above the leaves, read once however many devices show them.
//!
//! What is shared is what follows from a certificate's bytes alone: its fields, its fingerprint, and
//! who signed it, which it remembers. Whether it may vouch for anybody is decided anew each time.

use dashmap::DashMap;
use linarite_core::certificate::{Certificate, CertificateError};

use crate::limits::{ISSUER_BYTES_MAX, ISSUERS_MAX};

/// Certificates by their DER. Holds [`ISSUERS_MAX`] at the most, and begins again when a stranger
/// has filled it.
#[derive(Default)]
pub(crate) struct Issuers(DashMap<Box<[u8]>, Certificate>);

impl Issuers {
    /// The certificate with these bytes.
    ///
    /// # Errors
    /// Those of [`Certificate::from_der`].
    pub(crate) fn read(&self, der: &[u8]) -> Result<Certificate, CertificateError> {
        if let Some(known) = self.0.get(der) {
            return Ok(known.clone());
        }
        let read = Certificate::from_der(der)?;
        if der.len() <= ISSUER_BYTES_MAX {
            if self.0.len() >= ISSUERS_MAX {
                self.0.clear();
            }
            self.0.insert(der.into(), read.clone());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate that has itself signed, with so many bytes of name in it.
    fn der(key: &KeyPair, name: &str) -> Vec<u8> {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        params.self_signed(key).unwrap().der().to_vec()
    }

    #[test]
    fn the_same_bytes_are_read_once_and_others_are_not_taken_for_them() {
        let (issuers, key) = (Issuers::default(), KeyPair::generate().unwrap());
        let [one, other] = ["one.test", "other.test"].map(|name| der(&key, name));
        let first = issuers.read(&one).unwrap();
        let again = issuers.read(&one).unwrap();
        assert!(std::ptr::eq(first.der(), again.der()));
        assert_ne!(issuers.read(&other).unwrap(), first);
        let mut broken = one.clone();
        broken.truncate(one.len() - 1);
        assert!(issuers.read(&broken).is_err());
        assert_eq!(issuers.0.len(), 2);
    }

    #[test]
    fn it_has_a_bound() {
        let (issuers, key) = (Issuers::default(), KeyPair::generate().unwrap());
        for number in 0..=ISSUERS_MAX {
            issuers.read(&der(&key, &format!("{number}.test"))).unwrap();
            assert!(issuers.0.len() <= ISSUERS_MAX);
        }
        assert_eq!(issuers.0.len(), 1);
        let long = format!("{}.test", "a".repeat(ISSUER_BYTES_MAX));
        issuers.read(&der(&key, &long)).unwrap();
        assert_eq!(issuers.0.len(), 1);
    }
}
