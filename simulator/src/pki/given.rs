//! An authority that was made elsewhere and came in files.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use linarite_core::certificate::Certificate;
use rcgen::{Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::files::{self, FileError};
use super::{PkiError, template_of_leaf};

/// The certificate of an authority and, unless it signs nothing, its key. Clones share both.
#[derive(Clone)]
pub struct Given(Arc<Parts>);

struct Parts {
    certificate: Certificate,
    key: Option<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Given {
    /// The certificate; leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.certificate.fmt(f)
    }
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        self.0.certificate == other.0.certificate && self.has_key() == other.has_key()
    }
}

impl Eq for Given {}

/// Why a certificate and a key in files are no authority.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// The certificate's file.
    #[error("{0}")]
    Certificate(FileError),
    /// It may not sign others.
    #[error("{subject} is no certificate authority: its basic constraints do not say CA:TRUE")]
    NoAuthority {
        /// Whose certificate.
        subject: String,
    },
    /// The key's file.
    #[error("{0}")]
    Key(FileError),
    /// The key is another's.
    #[error("{file} is not the key of {subject}")]
    OtherKey {
        /// The key's file.
        file: String,
        /// Whose certificate.
        subject: String,
    },
    /// Its name cannot be repeated byte for byte as that of an issuer.
    #[error(
        "cannot issue below {subject}: a subject that names an attribute twice, or several in \
         one part, is not supported"
    )]
    Subject {
        /// The name.
        subject: String,
    },
    /// The key does not sign.
    #[error("cannot sign with the key: {0}")]
    Signing(#[from] PkiError),
}

impl Given {
    /// Reads an authority: the first certificate of a PEM file, and the key in another.
    ///
    /// # Errors
    /// [`GivenError`] where a file does not hold what it should, or they do not belong together.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Self, GivenError> {
        let mut found = files::read_certificates(certificate).map_err(GivenError::Certificate)?;
        let certificate = found.swap_remove(0);
        if !certificate.is_ca() {
            let subject = certificate.subject().to_owned();
            return Err(GivenError::NoAuthority { subject });
        }
        let Some(path) = key else {
            return Ok(Self(Arc::new(Parts {
                certificate,
                key: None,
            })));
        };
        let key = files::read_key(path).map_err(GivenError::Key)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        try_out(&certificate, key, path)?;
        Ok(Self(Arc::new(Parts {
            certificate,
            key: Some(der),
        })))
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Whether it can sign.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.0.key.is_some()
    }

    /// What signs in its name, if it can.
    pub(super) fn issuer(&self) -> Result<Option<Issuer<'static, KeyPair>>, PkiError> {
        let Some(key) = &self.0.key else {
            return Ok(None);
        };
        Ok(Some(issuer(&self.0.certificate, KeyPair::try_from(key)?)?))
    }
}

fn issuer(certificate: &Certificate, key: KeyPair) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let der = CertificateDer::from(certificate.der().to_vec());
    Ok(Issuer::from_ca_cert_der(&der, key)?)
}

/// Signs something with `key` and looks whether `certificate` vouches for it.
fn try_out(certificate: &Certificate, key: KeyPair, path: &Path) -> Result<(), GivenError> {
    let subject = certificate.subject().to_owned();
    if key.subject_public_key_info() != certificate.public_key_info() {
        let file = path.display().to_string();
        return Err(GivenError::OtherKey { file, subject });
    }
    let params = template_of_leaf("trial", 0, 1)?;
    let trial = KeyPair::generate().map_err(PkiError::from)?;
    let signed = params
        .signed_by(&trial, &issuer(certificate, key)?)
        .map_err(PkiError::from)?;
    let vouched = Certificate::from_der(signed.der()).is_ok_and(|signed| {
        signed.is_issued_under_name_of(certificate) && signed.verify_signed_by(certificate)
    });
    if vouched {
        Ok(())
    } else {
        Err(GivenError::Subject { subject })
    }
}
