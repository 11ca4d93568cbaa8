//! A certificate with its key, as it lies in a device's secure store.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use linarite_core::certificate::Certificate;
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::{PkiError, certificate_to_pem};
use crate::observation::Generation;

/// A device's certificate, its key and its issuers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Credential(Arc<Parts>);

struct Parts {
    generation: Generation,
    common_name: String,
    leaf: CertificateDer<'static>,
    /// Shared by all certificates of one issuer.
    issuers: Arc<[CertificateDer<'static>]>,
    key: Arc<dyn SigningKey>,
    fingerprint: [u8; 32],
    not_before: i64,
    not_after: i64,
}

impl fmt::Debug for Credential {
    /// Says which certificate it is; leaves the private part out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} ", self.0.common_name, self.0.generation)?;
        self.0.fingerprint[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl Credential {
    /// Puts a signed certificate and its key together; `validity` in Unix seconds.
    pub(super) fn new(
        common_name: &str,
        generation: Generation,
        validity: (i64, i64),
        leaf: CertificateDer<'static>,
        issuers: Arc<[CertificateDer<'static>]>,
        key: &KeyPair,
    ) -> Result<Self, PkiError> {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &leaf).as_ref());
        Ok(Self(Arc::new(Parts {
            generation,
            common_name: common_name.to_owned(),
            leaf,
            issuers,
            key: signing_key(key)?,
            fingerprint,
            not_before: validity.0,
            not_after: validity.1,
        })))
    }

    /// The same with the certificate `leaf` of another device, on the same key and by the same
    /// issuers; good for nothing where keys are asked for.
    pub(crate) fn with_leaf(&self, common_name: &str, leaf: &Certificate) -> Self {
        let parts = &self.0;
        Self(Arc::new(Parts {
            generation: parts.generation,
            common_name: common_name.to_owned(),
            leaf: CertificateDer::from(leaf.der().to_vec()),
            issuers: Arc::clone(&parts.issuers),
            key: Arc::clone(&parts.key),
            fingerprint: leaf.fingerprint(),
            not_before: parts.not_before,
            not_after: parts.not_after,
        }))
    }

    /// Which of its device's certificates this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.generation
    }

    /// Common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.0.common_name
    }

    /// The device's certificate.
    #[must_use]
    pub fn leaf_der(&self) -> &CertificateDer<'static> {
        &self.0.leaf
    }

    /// The device's certificate, PEM.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        certificate_to_pem(&self.0.leaf)
    }

    /// A copy of the chain: the device's certificate first, the root last.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.0.leaf)
            .chain(self.0.issuers.iter())
            .cloned()
            .collect()
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// First second of the certificate's life, Unix seconds.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// Last second of the certificate's life, Unix seconds.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// The same without its issuers, as a device shows it that keeps the leaf alone.
    #[must_use]
    pub fn without_issuers(&self) -> Self {
        self.with_issuers(Arc::from([]))
    }

    /// The same with `issuers` in place of its own, as a device shows it that was given these.
    #[must_use]
    pub fn with_issuers(&self, issuers: Arc<[CertificateDer<'static>]>) -> Self {
        let parts = &self.0;
        Self(Arc::new(Parts {
            generation: parts.generation,
            common_name: parts.common_name.clone(),
            leaf: parts.leaf.clone(),
            issuers,
            key: Arc::clone(&parts.key),
            fingerprint: parts.fingerprint,
            not_before: parts.not_before,
            not_after: parts.not_after,
        }))
    }

    /// What rustls shows to a server that asks for a certificate.
    pub(crate) fn certified_key(&self) -> CertifiedKey {
        CertifiedKey::new(self.chain(), Arc::clone(&self.0.key))
    }
}

/// A key as TLS signs with it.
fn signing_key(key: &KeyPair) -> Result<Arc<dyn SigningKey>, PkiError> {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialized_der()));
    Ok(any_ecdsa_type(&der)?)
}
