//! The services' own CA and TLS certificate, made anew at every start.

use std::fmt;

use linarite_env::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

/// Years for which the CA and the certificate hold: longer than any scenario.
const LIFE_YEARS: i64 = 30;

/// A certificate for every name the services answer to, and the CA that signed it.
pub struct ServerIdentity {
    /// Leaf, then CA.
    pub chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The CA clients are to trust.
    pub ca_pem: String,
}

impl fmt::Debug for ServerIdentity {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// Makes a CA and, signed by it, a certificate that lists each of `names` explicitly (W21).
    ///
    /// # Errors
    /// If a name fits neither a DNS name nor an IP address.
    pub fn generate(names: &[String], clock: &Clock) -> Result<Self, rcgen::Error> {
        let now = OffsetDateTime::from_unix_timestamp(clock.now().0)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut ca = parameters("Linarite test CA, not for production", now);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut leaf = parameters(names.first().map_or("localhost", String::as_str), now);
        leaf.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &ca)?;
        Ok(Self {
            chain: vec![leaf.der().clone(), ca.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            ca_pem: ca.pem(),
        })
    }
}

fn parameters(common_name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.not_before = now - Duration::days(1);
    parameters.not_after = now + Duration::days(365 * LIFE_YEARS);
    parameters
}
