//! Certificates and entries for tests. Names decide identity, keys are made afresh each run.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
};
use time::OffsetDateTime;

use crate::certificate::path::{CaCertificate, CaStore};
use crate::certificate::{Certificate, Chain};
use crate::dps::attestation::{AttestationMechanism, X509Attestation};
use crate::dps::enrollment::{EnrollmentGroup, IndividualEnrollment, PrimarySecondary};
use crate::id::{CertificateName, ETag, EnrollmentGroupId, HubHostName, RegistrationId};
use crate::time::UnixTime;

/// A moment at which everything holds that says nothing else.
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// From when to when, in seconds around [`NOW`].
pub(crate) type Span = (i64, i64);

/// A thousand days either way.
pub(crate) const LONG: Span = (-86_400_000, 86_400_000);

/// A CA certificate with its key.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, LONG, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn root_with(name: &str, span: Span, kind: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(kind).unwrap();
        let params = params(name, span, IsCa::Ca(BasicConstraints::Unconstrained));
        let certificate = parsed(&params.self_signed(&key).unwrap());
        Self {
            certificate,
            params,
            key,
        }
    }

    pub(crate) fn issue_ca(&self, name: &str) -> Self {
        self.issue_ca_with(name, LONG, IsCa::Ca(BasicConstraints::Unconstrained))
    }

    /// `other` as this authority vouches for it: the same name and key, another issuer.
    pub(crate) fn cross_sign(&self, other: &Self, span: Span) -> Certificate {
        let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = other.certificate.common_name().unwrap();
        parsed(
            &params(name, span, is_ca)
                .signed_by(&other.key, &self.issuer())
                .unwrap(),
        )
    }

    pub(crate) fn issue_ca_with(&self, name: &str, span: Span, is_ca: IsCa) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = params(name, span, is_ca);
        let certificate = parsed(&params.signed_by(&key, &self.issuer()).unwrap());
        Self {
            certificate,
            params,
            key,
        }
    }

    pub(crate) fn issue(&self, name: &str) -> Certificate {
        self.issue_with(name, LONG)
    }

    pub(crate) fn issue_with(&self, name: &str, span: Span) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = params(name, span, IsCa::NoCa);
        parsed(&params.signed_by(&key, &self.issuer()).unwrap())
    }

    /// A leaf of version 1, as `openssl x509 -req` makes it without an extension file.
    pub(crate) fn issue_version_1(&self, name: &str) -> Certificate {
        version_1(&self.issue(name), &self.key)
    }

    /// This authority's certificate in version 1.
    pub(crate) fn in_version_1(&self) -> Certificate {
        version_1(&self.certificate, &self.key)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

pub(crate) fn self_signed(name: &str, span: Span) -> Certificate {
    let key = KeyPair::generate().unwrap();
    parsed(&params(name, span, IsCa::NoCa).self_signed(&key).unwrap())
}

/// The same certificate without version and extensions, signed anew with the issuer's P-256 key.
fn version_1(certificate: &Certificate, issuer: &KeyPair) -> Certificate {
    use rcgen::SigningKey as _;
    let (outer, _) = element(certificate.der());
    let (signed, rest) = element(outer);
    let (_, algorithm_end) = element(rest);
    let algorithm = &rest[..rest.len() - algorithm_end.len()];
    // The version comes first under tag [0], the extensions last under tag [3].
    let (_, mut fields) = element(signed);
    let mut kept = Vec::new();
    while !fields.is_empty() {
        let (_, after) = element(fields);
        if fields[0] != 0xA3 {
            kept.extend_from_slice(&fields[..fields.len() - after.len()]);
        }
        fields = after;
    }
    let signed = wrapped(0x30, &kept);
    let signature = [vec![0], issuer.sign(&signed).unwrap()].concat();
    let parts = [signed, algorithm.to_vec(), wrapped(0x03, &signature)];
    Certificate::from_der(&wrapped(0x30, &parts.concat())).unwrap()
}

/// The content of the first DER element, and what follows it.
pub(crate) fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, header) = match der[1] {
        short @ 0..=0x7F => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(u16::from_be_bytes([der[2], der[3]])), 4),
    };
    der[header..].split_at(length)
}

fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// A PEM block of that label.
pub(crate) fn armoured(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn params(name: &str, span: Span, is_ca: IsCa) -> CertificateParams {
    let moment = |offset| OffsetDateTime::from_unix_timestamp(NOW.plus(offset).0).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(span.0);
    params.not_after = moment(span.1);
    params.is_ca = is_ca;
    params
}

fn parsed(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).unwrap()
}

// === what is put together from them ===

pub(crate) fn chain(leaf: &Certificate, above: &[&Authority]) -> Chain {
    Chain::new(
        leaf.clone(),
        above.iter().map(|authority| authority.certificate.clone()),
    )
}

/// A store with each certificate under its common name.
pub(crate) fn store(authorities: &[(&Authority, bool)]) -> CaStore {
    let mut store = CaStore::new();
    for (authority, verified) in authorities {
        let certificate = authority.certificate.clone();
        let name = ca_name(certificate.common_name().unwrap());
        store.insert(
            name,
            CaCertificate {
                certificate,
                verified: *verified,
            },
        );
    }
    store
}

pub(crate) fn ca_name(text: &str) -> CertificateName {
    CertificateName::parse(text).unwrap()
}

pub(crate) fn registration_id(text: &str) -> RegistrationId {
    RegistrationId::parse(text).unwrap()
}

pub(crate) fn hub(name: &str) -> HubHostName {
    HubHostName::parse(name).unwrap()
}

pub(crate) fn etag() -> ETag {
    ETag::parse("1").unwrap()
}

pub(crate) fn slots<T>(primary: Option<T>, secondary: Option<T>) -> PrimarySecondary<T> {
    PrimarySecondary { primary, secondary }
}

pub(crate) fn individual(
    id: &str,
    primary: Option<&Certificate>,
    secondary: Option<&Certificate>,
) -> IndividualEnrollment {
    let certificates = slots(primary.cloned(), secondary.cloned());
    let attestation = X509Attestation::client_certificates(certificates).unwrap();
    entry(id, AttestationMechanism::X509(attestation))
}

pub(crate) fn entry(id: &str, attestation: AttestationMechanism) -> IndividualEnrollment {
    IndividualEnrollment::new(registration_id(id), attestation, etag(), 0).unwrap()
}

/// A group of uploaded signing certificates.
pub(crate) fn group(
    id: &str,
    primary: Option<&Authority>,
    secondary: Option<&Authority>,
) -> EnrollmentGroup {
    let certificate = |authority: &Authority| authority.certificate.clone();
    let certificates = slots(primary.map(certificate), secondary.map(certificate));
    let attestation = X509Attestation::signing_certificates(certificates).unwrap();
    group_of(id, AttestationMechanism::X509(attestation))
}

/// A group of names in the store.
pub(crate) fn group_by_name(
    id: &str,
    primary: Option<&str>,
    secondary: Option<&str>,
) -> EnrollmentGroup {
    let names = slots(primary.map(ca_name), secondary.map(ca_name));
    let attestation = X509Attestation::ca_references(names).unwrap();
    group_of(id, AttestationMechanism::X509(attestation))
}

pub(crate) fn group_of(id: &str, attestation: AttestationMechanism) -> EnrollmentGroup {
    let id = EnrollmentGroupId::parse(id).unwrap();
    EnrollmentGroup::new(id, attestation, etag(), 0).unwrap()
}
