//! The one place that reads X.509 structures.

use std::ops::Range;

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

use super::CertificateError;
use super::signature::{Digest, PublicKey, PublicKeyAlgorithm, Scheme};
use crate::time::{UnixTime, Validity};

/// Where in a certificate's DER something stands.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    from: u32,
    to: u32,
}

/// What the rules want to know of a certificate. What is bytes or text stays in its DER, so that
/// a certificate is one piece of memory however much is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// The name as DER; comparison goes by it.
    pub(super) subject: Spot,
    pub(super) issuer: Spot,
    /// The first common name of the subject that is text.
    pub(super) common_name: Option<Spot>,
    pub(super) serial: Spot,
    pub(super) version: u32,
    pub(super) validity: Validity,
    /// The flag of the basic constraints, if there are any.
    pub(super) ca_flag: Option<bool>,
    pub(super) algorithm: PublicKeyAlgorithm,
    key: Spot,
    /// `SubjectPublicKeyInfo` in DER, for checking handshakes.
    pub(super) public_key_info: Spot,
    signed: Spot,
    signature: Spot,
    /// None: an algorithm that is not supported, so the signature never holds.
    scheme: Option<Scheme>,
}

impl Spot {
    fn of(part: &[u8], whole: &[u8]) -> Result<Self, CertificateError> {
        let from = part.as_ptr().addr().checked_sub(whole.as_ptr().addr());
        let spot = from.and_then(|from| {
            let to = from.checked_add(part.len())?;
            let ends = |at| u32::try_from(at).ok();
            (to <= whole.len()).then_some(())?;
            Some(Self {
                from: ends(from)?,
                to: ends(to)?,
            })
        });
        spot.ok_or_else(|| malformed(&"a part of it does not lie in one piece"))
    }

    /// What stands there in the DER it was made of, or in one of the same shape.
    pub(super) fn of_der(self, der: &[u8]) -> &[u8] {
        &der[self.range()]
    }

    pub(super) fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
}

impl Fields {
    /// The key in `der`, which these are the fields of.
    pub(super) fn key<'a>(&self, der: &'a [u8]) -> PublicKey<'a> {
        PublicKey {
            algorithm: self.algorithm,
            bytes: self.key.of_der(der),
        }
    }

    /// Whether `key` made the signature in `der`, which these are the fields of.
    pub(super) fn is_signed_by(&self, der: &[u8], key: &PublicKey<'_>) -> bool {
        let (signature, signed) = (self.signature.of_der(der), self.signed.of_der(der));
        self.scheme
            .is_some_and(|scheme| key.made(scheme, signature, signed))
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
    let spot = |part| Spot::of(part, bytes);
    let common_name = parsed
        .subject()
        .iter_common_name()
        .find_map(|attribute| attribute.as_str().ok());
    Ok(Fields {
        subject: spot(parsed.subject().as_raw())?,
        issuer: spot(parsed.issuer().as_raw())?,
        common_name: common_name.map(|name| spot(name.as_bytes())).transpose()?,
        serial: spot(parsed.raw_serial())?,
        version: parsed.version().0.saturating_add(1),
        validity: Validity {
            not_before: UnixTime(parsed.validity().not_before.timestamp()),
            not_after: UnixTime(parsed.validity().not_after.timestamp()),
        },
        ca_flag: constraints.map(|constraints| constraints.value.ca),
        algorithm: algorithm(parsed.public_key())?,
        key: spot(parsed.public_key().subject_public_key.data.as_ref())?,
        public_key_info: spot(parsed.public_key().raw)?,
        signed: spot(parsed.tbs_certificate.as_ref())?,
        signature: spot(parsed.signature_value.data.as_ref())?,
        scheme: scheme(&parsed),
    })
}

fn malformed(error: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::Malformed {
        reason: error.to_string(),
    }
}

/// A name's DER as text for people.
pub(super) fn name_text(der: &[u8]) -> String {
    // It was parsed before.
    X509Name::from_der(der).map_or_else(|_| String::new(), |(_, name)| name.to_string())
}

/// A serial number's bytes in upper-case hex without leading zero bytes.
pub(super) fn serial_text(raw: &[u8]) -> String {
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
fn algorithm(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKeyAlgorithm, CertificateError> {
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
    algorithm.ok_or_else(|| {
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
