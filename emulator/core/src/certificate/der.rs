//! The one place that reads X.509 structures.

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::signature::{Digest, PublicKey, PublicKeyAlgorithm, Scheme};
use super::{CertificateError, Name};
use crate::time::{UnixTime, Validity};

/// What the rules want to know of a certificate.
pub(super) struct Fields {
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) serial: String,
    pub(super) version: u32,
    pub(super) validity: Validity,
    /// The flag of the basic constraints, if there are any.
    pub(super) ca_flag: Option<bool>,
    pub(super) key: PublicKey,
    /// `SubjectPublicKeyInfo` in DER, for checking handshakes.
    pub(super) public_key_info: Box<[u8]>,
    signed: Box<[u8]>,
    signature: Box<[u8]>,
    /// None: an algorithm that is not supported, so the signature never holds.
    scheme: Option<Scheme>,
}

impl Fields {
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject.der == self.issuer.der
    }

    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.scheme
            .is_some_and(|scheme| key.made(scheme, &self.signature, &self.signed))
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Fields, CertificateError> {
    let (rest, parsed) = X509Certificate::from_der(bytes).map_err(|error| malformed(&error))?;
    if !rest.is_empty() {
        return Err(CertificateError::TrailingBytes { bytes: rest.len() });
    }
    let constraints = parsed
        .basic_constraints()
        .map_err(|error| malformed(&error))?;
    Ok(Fields {
        subject: name(parsed.subject()),
        issuer: name(parsed.issuer()),
        serial: serial(parsed.raw_serial()),
        version: parsed.version().0.saturating_add(1),
        validity: Validity {
            not_before: UnixTime(parsed.validity().not_before.timestamp()),
            not_after: UnixTime(parsed.validity().not_after.timestamp()),
        },
        ca_flag: constraints.map(|constraints| constraints.value.ca),
        key: public_key(parsed.public_key())?,
        public_key_info: parsed.public_key().raw.into(),
        signed: parsed.tbs_certificate.as_ref().into(),
        signature: parsed.signature_value.data.as_ref().into(),
        scheme: scheme(&parsed),
    })
}

fn malformed(error: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::Malformed {
        reason: error.to_string(),
    }
}

fn name(parsed: &X509Name<'_>) -> Name {
    Name {
        der: parsed.as_raw().into(),
        text: parsed.to_string(),
        common_name: parsed
            .iter_common_name()
            .find_map(|attribute| attribute.as_str().ok())
            .map(str::to_owned),
    }
}

fn serial(raw: &[u8]) -> String {
    let first = raw
        .iter()
        .position(|&byte| byte != 0)
        .unwrap_or(raw.len().saturating_sub(1));
    raw[first..]
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// R-A7.
fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, CertificateError> {
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    let algorithm = if info.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        Some(PublicKeyAlgorithm::Rsa)
    } else if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        match &curve {
            Some(curve) if *curve == OID_EC_P256 => Some(PublicKeyAlgorithm::P256),
            Some(curve) if *curve == OID_NIST_EC_P384 => Some(PublicKeyAlgorithm::P384),
            Some(curve) if *curve == OID_NIST_EC_P521 => Some(PublicKeyAlgorithm::P521),
            _ => None,
        }
    } else {
        None
    };
    let bytes = info.subject_public_key.data.as_ref().into();
    algorithm
        .map(|algorithm| PublicKey { algorithm, bytes })
        .ok_or_else(|| {
            let curve = curve
                .map(|curve| format!(" with {curve}"))
                .unwrap_or_default();
            CertificateError::UnsupportedKey {
                algorithm: format!("{}{curve}", info.algorithm.algorithm),
            }
        })
}

/// The signed part repeats the algorithm; if the two differ the signature is void
/// (RFC 5280, 4.1.1.2).
fn scheme(parsed: &X509Certificate<'_>) -> Option<Scheme> {
    let algorithm = &parsed.signature_algorithm;
    if *algorithm != parsed.tbs_certificate.signature {
        return None;
    }
    let table = [
        (OID_SIG_ECDSA_WITH_SHA256, Scheme::Ecdsa(Digest::Sha256)),
        (OID_SIG_ECDSA_WITH_SHA384, Scheme::Ecdsa(Digest::Sha384)),
        (OID_SIG_ECDSA_WITH_SHA512, Scheme::Ecdsa(Digest::Sha512)),
        (OID_PKCS1_SHA256WITHRSA, Scheme::RsaPkcs1(Digest::Sha256)),
        (OID_PKCS1_SHA384WITHRSA, Scheme::RsaPkcs1(Digest::Sha384)),
        (OID_PKCS1_SHA512WITHRSA, Scheme::RsaPkcs1(Digest::Sha512)),
    ];
    if algorithm.algorithm == OID_PKCS1_RSASSAPSS {
        return pss_scheme(algorithm);
    }
    let found = table
        .into_iter()
        .find(|(identifier, _)| *identifier == algorithm.algorithm);
    found.map(|(_, scheme)| scheme)
}

fn pss_scheme(algorithm: &AlgorithmIdentifier<'_>) -> Option<Scheme> {
    let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    let table = [
        (OID_NIST_HASH_SHA256, Digest::Sha256),
        (OID_NIST_HASH_SHA384, Digest::Sha384),
        (OID_NIST_HASH_SHA512, Digest::Sha512),
    ];
    let hash = parameters.hash_algorithm_oid();
    let found = table.into_iter().find(|(identifier, _)| identifier == hash);
    found.map(|(_, digest)| Scheme::RsaPss(digest))
}
