//! Certificates, parsed once at the door, and the chains devices present.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;

use crate::time::Validity;
use der::Spot;

pub mod path;
pub mod vouched;

mod der;
mod pem;
mod signature;
mod thumbprint;

pub use signature::PublicKeyAlgorithm;
pub use thumbprint::{Thumbprint, ThumbprintError};

/// A parsed X.509 certificate. Clones share it.
#[derive(Clone)]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: Box<[u8]>,
    fields: der::Fields,
    sha256: [u8; 32],
    /// Judged when first asked for: a signature check is dear.
    self_signed: OnceLock<bool>,
    /// Who was first asked about, by fingerprint, and whether his key made the signature.
    signed_by: OnceLock<([u8; 32], bool)>,
    /// What is shown to people or seldom compared; most certificates are never asked for it.
    sha1: OnceLock<[u8; 20]>,
    subject: OnceLock<Box<str>>,
    issuer: OnceLock<Box<str>>,
    serial: OnceLock<Box<str>>,
}

/// Why bytes or text are no single acceptable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// PEM armour around something else, such as a private key.
    #[error("a PEM block is labelled {label:?}, not CERTIFICATE")]
    ForeignPemBlock {
        /// The label.
        label: String,
    },
    /// The DER does not parse.
    #[error("not an X.509 certificate: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// Several certificates where one belongs (R-A10).
    #[error("{count} certificates where exactly one belongs")]
    MoreThanOne {
        /// Certificates found.
        count: usize,
    },
    /// Neither PEM nor base64.
    #[error("the text is neither PEM nor base64")]
    NotText,
    /// Bytes after the certificate.
    #[error("{bytes} bytes follow the certificate")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A key that is neither RSA nor on an accepted curve (R-A7).
    #[error("public key algorithm {algorithm} is neither RSA nor EC on P-256, P-384 or P-521")]
    UnsupportedKey {
        /// Its object identifier, with the curve if there is one.
        algorithm: String,
    },
}

impl Certificate {
    /// Parses one certificate.
    ///
    /// # Errors
    /// [`CertificateError`] when the bytes are not exactly one certificate with an accepted key.
    ///
    /// Source: behaviour.md R-A7, R-A10.
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self::of_parts(bytes.into(), der::parse(bytes)?))
    }

    /// Of bytes that have these fields.
    fn of_parts(der: Box<[u8]>, fields: der::Fields) -> Self {
        Self(Arc::new(Parts {
            sha256: hash(&digest::SHA256, &der),
            der,
            fields,
            self_signed: OnceLock::new(),
            signed_by: OnceLock::new(),
            sha1: OnceLock::new(),
            subject: OnceLock::new(),
            issuer: OnceLock::new(),
            serial: OnceLock::new(),
        }))
    }

    /// Parses PEM text, base64 of PEM text, or base64 of DER: what clients upload.
    ///
    /// # Errors
    /// [`CertificateError`] as for DER, and when there are several or foreign PEM blocks.
    ///
    /// Source: behaviour.md R-A10.
    pub fn from_pem_or_base64(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(&pem::decode(text)?)
    }

    /// The bytes as they were parsed.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 over the DER: what identity of certificates goes by.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.sha256
    }

    /// SHA-1 over the DER, as DPS shows it.
    #[must_use]
    pub fn sha1(&self) -> [u8; 20] {
        let hash = || hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.der());
        *self.0.sha1.get_or_init(hash)
    }

    /// The subject, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        let text = || der::name_text(self.part(self.0.fields.subject));
        self.0.subject.get_or_init(|| text().into())
    }

    /// The issuer, for people.
    #[must_use]
    pub fn issuer(&self) -> &str {
        let text = || der::name_text(self.part(self.0.fields.issuer));
        self.0.issuer.get_or_init(|| text().into())
    }

    /// The first common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        let name = self.part(self.0.fields.common_name?);
        std::str::from_utf8(name).ok()
    }

    /// The serial number in upper-case hex without leading zero bytes.
    #[must_use]
    pub fn serial(&self) -> &str {
        let text = || der::serial_text(self.part(self.0.fields.serial));
        self.0.serial.get_or_init(|| text().into())
    }

    /// The public key as `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        self.part(self.0.fields.public_key_info)
    }

    /// 1, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.fields.version
    }

    /// From when to when it holds.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.fields.validity
    }

    /// The kind of its public key.
    #[must_use]
    pub fn public_key_algorithm(&self) -> PublicKeyAlgorithm {
        self.0.fields.algorithm
    }

    /// Whether it may issue others: basic constraints say so, or, before version 3 knew them, it
    /// is self-signed (I-14).
    #[must_use]
    pub fn is_ca(&self) -> bool {
        match self.0.fields.ca_flag {
            Some(flag) => flag,
            None => self.version() < 3 && self.is_self_signed(),
        }
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.part(self.0.fields.subject) == self.part(self.0.fields.issuer)
    }

    /// Whether its own key signed it.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        let judge = || self.is_self_issued() && self.verify_signed_by(self);
        *self.0.self_signed.get_or_init(judge)
    }

    /// Whether its issuer has the name of `issuer`, byte for byte.
    #[must_use]
    pub fn is_issued_under_name_of(&self, issuer: &Self) -> bool {
        self.part(self.0.fields.issuer) == issuer.part(issuer.0.fields.subject)
    }

    /// Whether the key of `issuer` made its signature. Names are not looked at.
    ///
    /// The answer follows from the bytes of both alone, so it is remembered for one issuer.
    #[must_use]
    pub fn verify_signed_by(&self, issuer: &Self) -> bool {
        let judge = || {
            let key = issuer.0.fields.key(issuer.der());
            self.0.fields.is_signed_by(self.der(), &key)
        };
        let asked = issuer.0.sha256;
        let (known, made) = *self.0.signed_by.get_or_init(|| (asked, judge()));
        if known == asked { made } else { judge() }
    }

    fn part(&self, spot: Spot) -> &[u8] {
        spot.of_der(self.der())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.sha256 == other.0.sha256
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} <- {})", self.subject(), self.issuer())
    }
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> [u8; N] {
    let mut hash = [0; N];
    // `N` is the output length of the algorithm at both call sites.
    hash.copy_from_slice(digest::digest(algorithm, bytes).as_ref());
    hash
}

// === chains ===

/// What a device presented: leaf first, never empty. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Arc<[Certificate]>);

/// Why presented certificates make no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// One of them is not acceptable.
    #[error("certificate {position} of the chain (leaf is 0): {error}")]
    Certificate {
        /// Which one; the leaf is 0.
        position: usize,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// None at all.
    #[error("no certificate was presented")]
    Empty,
    /// More than the bound (R-A18).
    #[error("{length} certificates were presented, more than {limit}")]
    TooLong {
        /// Certificates presented.
        length: usize,
        /// Certificates allowed.
        limit: usize,
    },
}

impl Chain {
    /// Parses leaf-first certificates, at most `max` of them
    /// (see [`crate::limits::CHAIN_LENGTH_MAX`]).
    ///
    /// # Errors
    /// [`ChainError`] when there are none, too many, or one does not parse.
    ///
    /// Source: behaviour.md R-A18.
    pub fn from_der<'a>(
        certificates: impl IntoIterator<Item = &'a [u8]>,
        max: usize,
    ) -> Result<Self, ChainError> {
        Self::read(certificates, max, Certificate::from_der)
    }

    /// The same, where `above` parses what comes after the leaf: few issuers stand above many
    /// leaves, and a certificate that is shared is parsed once and remembers who signed it.
    ///
    /// # Errors
    /// As [`Self::from_der`].
    pub fn read<'a>(
        certificates: impl IntoIterator<Item = &'a [u8]>,
        max: usize,
        above: impl Fn(&[u8]) -> Result<Certificate, CertificateError>,
    ) -> Result<Self, ChainError> {
        let ders: Vec<&[u8]> = certificates.into_iter().collect();
        let (length, limit) = (ders.len(), max);
        if length > limit {
            return Err(ChainError::TooLong { length, limit });
        }
        let parse = |(position, der): (usize, &&[u8])| {
            let parsed = match position {
                0 => Certificate::from_der(der),
                _ => above(der),
            };
            parsed.map_err(|error| ChainError::Certificate { position, error })
        };
        let chain = ders
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        if chain.is_empty() {
            Err(ChainError::Empty)
        } else {
            Ok(Self(chain.into()))
        }
    }

    /// A chain of certificates that are parsed already.
    #[must_use]
    pub fn new(leaf: Certificate, above: impl IntoIterator<Item = Certificate>) -> Self {
        Self(std::iter::once(leaf).chain(above).collect())
    }

    /// The device's own certificate.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        // Both constructors refuse or rule out an empty list.
        &self.0[0]
    }

    /// What was presented beyond the leaf, in the order presented.
    #[must_use]
    pub fn above_leaf(&self) -> &[Certificate] {
        &self.0[1..]
    }

    /// All of it, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
