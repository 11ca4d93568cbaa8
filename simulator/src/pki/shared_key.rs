//! Many leaves on one key, for runs without TLS.

use std::fmt;
use std::sync::Arc;

use rcgen::KeyPair;
use rustls::sign::SigningKey;

use super::credential::signing_key;
use super::{Credential, Pki, PkiError, template_of_leaf};
use crate::observation::Generation;

/// A key that many devices share. Without TLS nobody proves that he holds the key of his
/// certificate, so a key for each device would only cost time; certificates, and with them
/// thumbprints, are each device's own.
pub struct SharedKey {
    pair: KeyPair,
    signing: Arc<dyn SigningKey>,
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey")
    }
}

impl SharedKey {
    /// A fresh one.
    ///
    /// # Errors
    /// [`PkiError`] if it cannot be made.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = KeyPair::generate()?;
        let signing = signing_key(&pair)?;
        Ok(Self { pair, signing })
    }
}

impl Pki {
    /// Like [`Self::leaf`], on `key`.
    ///
    /// # Errors
    /// As [`Self::leaf`].
    pub fn leaf_on(
        &self,
        key: &SharedKey,
        issuer: &str,
        common_name: &str,
        validity: (i64, i64),
    ) -> Result<Credential, PkiError> {
        let authority = self.authority(issuer)?;
        let params = template_of_leaf(common_name, validity.0, validity.1)?;
        let leaf = params
            .signed_by(&key.pair, authority.signer(issuer)?)?
            .into();
        let (path, signing) = (Arc::clone(&authority.path), Arc::clone(&key.signing));
        let generation = Generation(1);
        Ok(Credential::of_parts(
            common_name,
            generation,
            validity,
            leaf,
            path,
            signing,
        ))
    }
}
