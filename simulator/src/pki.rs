//! The fleet's own certificates: named authorities, and the credentials devices are given.
//!
//! Names and moments come in, certificates and keys go out. Keys are never drawn from the
//! seed; reports name certificates by issuer and generation, so a run stays reproducible.
//! Files are only read, for authorities that were made elsewhere; [`crate::command::pki`] writes.

mod credential;
pub(crate) mod files;
mod given;
mod template;

pub use credential::Credential;
pub use given::{Given, GivenError};
pub(crate) use template::{certificate_to_pem, template_of_authority, template_of_leaf};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::observation::Generation;

/// Why a certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// No authority has that name.
    #[error("no certificate authority is named {name:?}; known are: {known}")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// Another authority has that name already.
    #[error("a certificate authority named {name:?} exists already")]
    NameTaken {
        /// The name asked for twice.
        name: String,
    },
    /// The authority came without its key.
    #[error("the certificate authority {name:?} was given without its key, so it cannot sign")]
    NoKey {
        /// The name.
        name: String,
    },
    /// A moment lies outside the years a certificate can state.
    #[error("{seconds} s since 1970 lies outside the years a certificate can state")]
    Moment {
        /// Unix seconds.
        seconds: i64,
    },
    /// A name, key or certificate could not be encoded or signed.
    #[error("cannot make the certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A key cannot be used for TLS.
    #[error("cannot use the key for TLS: {0}")]
    Key(#[from] rustls::Error),
}

/// One certificate authority: what it signs with, and what it sends along.
struct Authority {
    /// `None` where its key is not at hand.
    issuer: Option<Issuer<'static, KeyPair>>,
    /// Its certificate first, its root's last.
    path: Arc<[CertificateDer<'static>]>,
}

impl Authority {
    /// What signs in its name, which is `name`.
    fn signer(&self, name: &str) -> Result<&Issuer<'static, KeyPair>, PkiError> {
        self.issuer.as_ref().ok_or_else(|| PkiError::NoKey {
            name: name.to_owned(),
        })
    }
}

/// A tree of certificate authorities, by name.
#[derive(Default)]
pub struct Pki {
    authorities: BTreeMap<String, Authority>,
}

impl fmt::Debug for Pki {
    /// Names only: authorities hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.authorities.keys()).finish()
    }
}

impl Pki {
    /// A tree without authorities.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a self-signed authority with subject `CN=name`, valid from `not_before` to
    /// `not_after` (Unix seconds, both included).
    ///
    /// # Errors
    /// [`PkiError::NameTaken`] when the name is in use, otherwise what making it met.
    pub fn add_root(
        &mut self,
        name: &str,
        not_before: i64,
        not_after: i64,
    ) -> Result<(), PkiError> {
        self.require_free(name)?;
        let params = template_of_authority(name, not_before, not_after)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let path = Arc::from([certificate.into()]);
        self.authorities.insert(
            name.to_owned(),
            Authority {
                issuer: Some(Issuer::new(params, key)),
                path,
            },
        );
        Ok(())
    }

    /// Adds an authority signed by the authority `issuer`; otherwise like [`Self::add_root`].
    ///
    /// # Errors
    /// [`PkiError::NameTaken`], [`PkiError::UnknownName`], otherwise what making it met.
    pub fn add_intermediate(
        &mut self,
        name: &str,
        issuer: &str,
        not_before: i64,
        not_after: i64,
    ) -> Result<(), PkiError> {
        self.require_free(name)?;
        let above = self.authority(issuer)?;
        let params = template_of_authority(name, not_before, not_after)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, above.signer(issuer)?)?;
        let path = std::iter::once(certificate.into())
            .chain(above.path.iter().cloned())
            .collect();
        self.authorities.insert(
            name.to_owned(),
            Authority {
                issuer: Some(Issuer::new(params, key)),
                path,
            },
        );
        Ok(())
    }

    /// Adds a cross certificate: an authority with the name and key of the authority `twin`, signed
    /// by the authority `issuer`; otherwise like [`Self::add_root`].
    ///
    /// # Errors
    /// [`PkiError::NameTaken`], [`PkiError::UnknownName`], [`PkiError::NoKey`], otherwise what
    /// making it met.
    pub fn add_cross_signed(
        &mut self,
        name: &str,
        twin: &str,
        issuer: &str,
        validity: (i64, i64),
    ) -> Result<(), PkiError> {
        self.require_free(name)?;
        let above = self.authority(issuer)?;
        let key = self.authority(twin)?.signer(twin)?.key();
        let params = template_of_authority(twin, validity.0, validity.1)?;
        let certificate = params.signed_by(key, above.signer(issuer)?)?;
        let path = std::iter::once(certificate.into())
            .chain(above.path.iter().cloned())
            .collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let issuer = Some(Issuer::new(params, KeyPair::try_from(&key)?));
        self.authorities
            .insert(name.to_owned(), Authority { issuer, path });
        Ok(())
    }

    /// Adds an authority that was made elsewhere, below the authority `issuer` or as a root.
    ///
    /// # Errors
    /// [`PkiError::NameTaken`], [`PkiError::UnknownName`], otherwise what reading its key met.
    pub fn add_given(
        &mut self,
        name: &str,
        given: &Given,
        issuer: Option<&str>,
    ) -> Result<(), PkiError> {
        self.require_free(name)?;
        let above = match issuer {
            Some(issuer) => self.authority(issuer)?.path.to_vec(),
            None => Vec::new(),
        };
        let own = CertificateDer::from(given.certificate().der().to_vec());
        let authority = Authority {
            issuer: given.issuer()?,
            path: std::iter::once(own).chain(above).collect(),
        };
        self.authorities.insert(name.to_owned(), authority);
        Ok(())
    }

    /// Names of the authorities, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.authorities.keys().map(String::as_str)
    }

    /// The certificate of the authority `name`, PEM.
    ///
    /// # Errors
    /// [`PkiError::UnknownName`].
    pub fn certificate_pem(&self, name: &str) -> Result<String, PkiError> {
        Ok(certificate_to_pem(self.certificate_der(name)?))
    }

    /// The certificate of the authority `name`, DER.
    ///
    /// # Errors
    /// [`PkiError::UnknownName`].
    pub fn certificate_der(&self, name: &str) -> Result<&CertificateDer<'static>, PkiError> {
        Ok(&self.authority(name)?.path[0])
    }

    /// A certificate with subject `CN=code`, signed by the authority `name`: what DPS asks for
    /// to believe that the authority's key is at hand. PEM, valid for a day around `now`
    /// (Unix seconds).
    ///
    /// # Errors
    /// [`PkiError::UnknownName`], otherwise what making it met.
    pub fn proof_of_possession(
        &self,
        name: &str,
        code: &str,
        now: i64,
    ) -> Result<String, PkiError> {
        const HALF_DAY: i64 = 43_200;
        let authority = self.authority(name)?;
        let params = template_of_leaf(code, now - HALF_DAY, now + HALF_DAY)?;
        Ok(params
            .signed_by(&KeyPair::generate()?, authority.signer(name)?)?
            .pem())
    }

    /// A device's certificate with subject `CN=common_name`, its key, and everything above it
    /// up to and including the root.
    ///
    /// # Errors
    /// [`PkiError::UnknownName`], otherwise what making it met.
    pub fn leaf(
        &self,
        issuer: &str,
        common_name: &str,
        generation: Generation,
        not_before: i64,
        not_after: i64,
    ) -> Result<Credential, PkiError> {
        let authority = self.authority(issuer)?;
        let params = template_of_leaf(common_name, not_before, not_after)?;
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, authority.signer(issuer)?)?.into();
        let path = Arc::clone(&authority.path);
        Credential::new(
            common_name,
            generation,
            (not_before, not_after),
            leaf,
            path,
            &key,
        )
    }

    fn authority(&self, name: &str) -> Result<&Authority, PkiError> {
        self.authorities.get(name).ok_or_else(|| {
            let known = self.names().collect::<Vec<_>>().join(", ");
            PkiError::UnknownName {
                name: name.to_owned(),
                known,
            }
        })
    }

    fn require_free(&self, name: &str) -> Result<(), PkiError> {
        match self.authorities.contains_key(name) {
            true => Err(PkiError::NameTaken {
                name: name.to_owned(),
            }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Pki {
        let mut pki = Pki::new();
        pki.add_root("root", 0, 1_000).unwrap();
        pki.add_intermediate("ca", "root", 0, 900).unwrap();
        pki
    }

    #[test]
    fn a_credential_carries_its_chain_up_to_the_root() {
        let pki = tree();
        let credential = pki.leaf("ca", "dev-1", Generation(2), 10, 500).unwrap();
        let chain = credential.chain();
        assert_eq!(chain.len(), 3);
        assert_eq!(&chain[0], credential.leaf_der());
        assert_eq!(&chain[1], pki.certificate_der("ca").unwrap());
        assert_eq!(&chain[2], pki.certificate_der("root").unwrap());
        assert_eq!((credential.not_before(), credential.not_after()), (10, 500));
        assert_eq!(credential.generation(), Generation(2));
    }

    #[test]
    fn an_unknown_issuer_is_answered_with_the_known_ones() {
        let error = tree().leaf("cb", "dev-1", Generation(1), 0, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no certificate authority is named "cb"; known are: ca, root"#
        );
    }

    #[test]
    fn a_name_is_given_once() {
        assert!(matches!(
            tree().add_root("ca", 0, 1),
            Err(PkiError::NameTaken { .. })
        ));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let credential = tree().leaf("ca", "dev-1", Generation(1), 0, 500).unwrap();
        let shown = format!("{credential:?}");
        assert!(shown.contains("dev-1"), "{shown}");
        assert!(!shown.to_lowercase().contains("key"), "{shown}");
    }

    #[test]
    fn every_leaf_has_its_own_key_and_fingerprint() {
        let pki = tree();
        let first = pki.leaf("ca", "dev-1", Generation(1), 0, 500).unwrap();
        let second = pki.leaf("ca", "dev-1", Generation(2), 0, 500).unwrap();
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert!(
            first
                .leaf_pem()
                .starts_with("-----BEGIN CERTIFICATE-----\n")
        );
    }
}
