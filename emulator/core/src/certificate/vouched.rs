//! Leaf certificates by value: each device has its own, and no signature is made or checked for it.
//!
//! For studies of a whole fleet in which nothing lies between devices and services, so that
//! nobody could prove that he holds a key anyway. There a signature says nothing but that the
//! fleet's issuer made the leaf, and the one who makes it here is the fleet.
//!
//! It is sound because nothing of it can come in from outside: what is known of such a leaf is
//! known of the value, not of its bytes. Whoever sends those bytes has them read like any others,
//! and their signature, which was made for another leaf, is checked and does not hold.
//! So this module is for who makes a fleet, never for who reads what a peer shows.

use super::Certificate;

/// Bytes at the end of a serial number that tell the leaves of one mould apart.
const SERIAL_BYTES: usize = 8;

/// A leaf that others are made after.
#[derive(Clone, Debug)]
pub struct Mould {
    template: Certificate,
    issuer: [u8; 32],
}

/// Why there is no leaf by value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MouldError {
    /// The key of whoever is to be vouched for did not sign the template.
    #[error("{issuer} did not sign {template}, which leaves are to be made after")]
    NotSigned {
        /// Subject of the template.
        template: String,
        /// Subject of the issuer.
        issuer: String,
    },
    /// The template has no room for names or numbers of others.
    #[error(
        "{template} is no template: it needs a common name and a serial number of at least \
         {} bytes", SERIAL_BYTES + 2
    )]
    NoRoom {
        /// Subject of the template.
        template: String,
    },
    /// The name does not fit where the template has its own.
    #[error(
        "the common name {name:?} is not one of {bytes} letters, digits, hyphens and full stops, \
         as the template's is"
    )]
    Name {
        /// The name.
        name: String,
        /// Bytes of the template's.
        bytes: usize,
    },
}

impl Mould {
    /// Makes leaves after `template`, which `issuer` signed.
    ///
    /// # Errors
    /// [`MouldError::NotSigned`], and [`MouldError::NoRoom`] if its common name or serial number
    /// cannot be another's.
    pub fn new(template: Certificate, issuer: &Certificate) -> Result<Self, MouldError> {
        let subject = || template.subject().to_owned();
        if !template.is_issued_under_name_of(issuer) || !template.verify_signed_by(issuer) {
            return Err(MouldError::NotSigned {
                template: subject(),
                issuer: issuer.subject().to_owned(),
            });
        }
        // The first two bytes stay: they say that the number is positive and how long it is.
        let serial = template.0.fields.serial.range();
        if template.common_name().is_none() || serial.len() < SERIAL_BYTES + 2 {
            return Err(MouldError::NoRoom {
                template: subject(),
            });
        }
        Ok(Self {
            template,
            issuer: issuer.fingerprint(),
        })
    }

    /// The leaf of the device `common_name`: the template but for that name and the end of the
    /// serial number, which is `number`. DER, fields and fingerprints are those of one and the
    /// same certificate; that its issuer signed it is taken from whoever calls this.
    ///
    /// # Errors
    /// [`MouldError::Name`] if the name is longer or shorter than the template's, or has
    /// characters that not every kind of text in a certificate can spell.
    pub fn cast(&self, common_name: &str, number: u64) -> Result<Certificate, MouldError> {
        let fields = self.template.0.fields;
        let place = fields.common_name.map(|name| name.range());
        let place = place.unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if place.len() != common_name.len() || !common_name.bytes().all(plain) {
            return Err(MouldError::Name {
                name: common_name.to_owned(),
                bytes: place.len(),
            });
        }
        let mut der: Box<[u8]> = self.template.der().into();
        der[place].copy_from_slice(common_name.as_bytes());
        let serial = fields.serial.range();
        der[serial.end - SERIAL_BYTES..serial.end].copy_from_slice(&number.to_be_bytes());
        let leaf = Certificate::of_parts(der, fields);
        // Nobody has asked yet, so this is the answer that is remembered.
        let _ = leaf.0.signed_by.set((self.issuer, true));
        Ok(leaf)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::test_pki::Authority;

    static ISSUER: LazyLock<Authority> = LazyLock::new(|| Authority::root("issuer"));

    fn mould(name: &str) -> Mould {
        Mould::new(ISSUER.issue(name), &ISSUER.certificate).unwrap()
    }

    proptest! {
        /// What a leaf by value says of itself is what its bytes say.
        #[test]
        fn a_cast_is_the_certificate_that_its_bytes_are(
            name in "[a-zA-Z0-9.-]{11}", number in any::<u64>(),
        ) {
            let cast = mould("dev-0000000").cast(&name, number).unwrap();
            let read = Certificate::from_der(cast.der()).unwrap();
            prop_assert_eq!(read.common_name(), Some(name.as_str()));
            let serial = format!("{number:016X}");
            prop_assert!(read.serial().ends_with(&serial));
            prop_assert_eq!(
                (cast.common_name(), cast.serial(), cast.subject(), cast.issuer()),
                (read.common_name(), read.serial(), read.subject(), read.issuer()),
            );
            prop_assert_eq!(
                (cast.fingerprint(), cast.sha1(), cast.validity(), cast.version(), cast.is_ca()),
                (read.fingerprint(), read.sha1(), read.validity(), read.version(), read.is_ca()),
            );
            prop_assert_eq!(cast.public_key_info(), read.public_key_info());
            prop_assert_eq!(cast, read);
        }
    }

    /// Whoever shows the bytes of a cast is not believed.
    #[test]
    fn a_cast_is_vouched_for_and_its_bytes_are_not() {
        let mould = mould("dev-0000000");
        let cast = mould.cast("dev-0000001", 1).unwrap();
        assert!(cast.verify_signed_by(&ISSUER.certificate));
        assert!(!cast.is_self_signed());
        // The same name, another key: only the one that was vouched for counts.
        let stranger = Authority::root("issuer").certificate;
        assert!(cast.is_issued_under_name_of(&stranger) && !cast.verify_signed_by(&stranger));
        let read = Certificate::from_der(cast.der()).unwrap();
        assert!(!read.verify_signed_by(&ISSUER.certificate));
    }

    #[test]
    fn names_and_numbers_tell_casts_apart() {
        let mould = mould("dev-0000000");
        let cast = |name, number| mould.cast(name, number).unwrap();
        let first = cast("dev-0000001", 1);
        assert_eq!(first, cast("dev-0000001", 1));
        assert_ne!(first, cast("dev-0000002", 1));
        assert_ne!(first, cast("dev-0000001", 2));
        assert_ne!(first.serial(), cast("dev-0000001", 2).serial());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mould = mould("dev-1");
        for name in ["dev-10", "dev", "", "dev_1", "dév1"] {
            let refused = MouldError::Name {
                name: name.to_owned(),
                bytes: 5,
            };
            assert_eq!(mould.cast(name, 1), Err(refused));
        }
        let stranger = Authority::root("stranger").certificate;
        let refused = Mould::new(ISSUER.issue("dev-1"), &stranger).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "CN=stranger did not sign CN=dev-1, which leaves are to be made after"
        );
    }
}
