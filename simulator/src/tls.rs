//! The client side of TLS: whom a device believes, and what it shows.
//!
//! A device believes exactly one authority, the one that signed the services' certificate,
//! and never resumes a session: a resumed session would carry the old certificate's identity
//! past its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use linarite_env::Clock;
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore, SignatureScheme, SupportedCipherSuite};
use tokio_rustls::TlsConnector;

use crate::pki::Credential;

/// Why no TLS client could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's certificate cannot be read.
    #[error("the CA certificate of the services cannot be used: {0}")]
    Authority(rustls::Error),
    /// The authority's certificate cannot serve as an anchor.
    #[error("the CA certificate of the services cannot be trusted: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The cryptography and the protocol versions do not fit together.
    #[error("no common TLS version: {0}")]
    Versions(rustls::Error),
}

/// What all connections of a fleet have in common. Cheap to clone, and to make connectors from.
#[derive(Clone, Debug)]
pub struct Client {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
    clock: Clock,
}

impl Client {
    /// A client that believes `services_ca_der` alone and judges validity by `clock`.
    ///
    /// # Errors
    /// [`TlsError::Authority`] or [`TlsError::Verifier`] when the certificate is not usable.
    pub fn new(services_ca_der: &[u8], clock: &Clock) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from(services_ca_der.to_vec());
        roots.add(authority).map_err(TlsError::Authority)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        Ok(Self {
            provider,
            verifier,
            clock: clock.clone(),
        })
    }

    /// Makes connections that show `credential`, or nothing.
    ///
    /// # Errors
    /// [`TlsError::Versions`], if the cryptography were ever built without TLS 1.2 and 1.3.
    pub fn connector(&self, credential: Option<&Credential>) -> Result<TlsConnector, TlsError> {
        self.connector_by(credential, 0)
    }

    /// The same for somebody whose clock is `skew_ms` milliseconds ahead.
    ///
    /// # Errors
    /// [`TlsError::Versions`], if the cryptography were ever built without TLS 1.2 and 1.3.
    pub fn connector_by(
        &self,
        credential: Option<&Credential>,
        skew_ms: i64,
    ) -> Result<TlsConnector, TlsError> {
        let time: Arc<dyn TimeProvider> = Arc::new(Time {
            clock: self.clock.clone(),
            skew_ms,
        });
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), time)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?
            .with_webpki_verifier(Arc::clone(&self.verifier));
        let mut config = match credential {
            Some(credential) => {
                builder.with_client_cert_resolver(Arc::new(Shown(credential.clone())))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Cryptography that offers the smallest keys first, as small devices do: most of what a handshake
/// does besides signatures is hashing, and SHA-256 has instructions of its own where SHA-384 has
/// none.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let rank = |suite: &SupportedCipherSuite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    };
    // Stable: all else keeps its order.
    provider.cipher_suites.sort_by_key(rank);
    provider
}

/// A connector for a single use: [`Client::new`] and [`Client::connector`] in one.
///
/// # Errors
/// Those of the two.
pub fn connector(
    services_ca_der: &[u8],
    credential: Option<&Credential>,
    clock: &Clock,
) -> Result<TlsConnector, TlsError> {
    Client::new(services_ca_der, clock)?.connector(credential)
}

/// Tells rustls what moment it is.
struct Time {
    clock: Clock,
    skew_ms: i64,
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Time")
            .field("clock", &self.clock)
            .field("skew_ms", &self.skew_ms)
            .finish()
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        // A clock that is set to before 1970 stands at its beginning.
        let shown = self.clock.now_ms().0.saturating_add(self.skew_ms).max(0);
        let shown = Duration::from_millis(u64::try_from(shown).ok()?);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            shown.as_secs(),
        )))
    }
}

/// Shows one credential whatever the server hints at.
///
/// The chain is copied per handshake and dropped after it, so that a connection which has been
/// up for days holds none.
#[derive(Debug)]
struct Shown(Credential);

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::new(self.0.certified_key()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Generation;
    use crate::pki::Pki;

    #[test]
    fn a_client_is_made_for_a_certificate_and_without_one() {
        let mut pki = Pki::new();
        pki.add_root("services", 0, 4_000_000_000).unwrap();
        let ca = pki.certificate_der("services").unwrap();
        let client = Client::new(ca, &Clock::system()).unwrap();
        let credential = pki.leaf("services", "dev-1", Generation(1), 0, 1).unwrap();
        let shows = client.connector(Some(&credential)).unwrap();
        assert!(shows.config().client_auth_cert_resolver.has_certs());
        let silent = client.connector(None).unwrap();
        assert!(!silent.config().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn all_suites_are_offered_those_with_sha_256_and_small_keys_first() {
        let offered = provider().cipher_suites;
        let usual = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
        assert!(offered.len() == usual.len() && usual.iter().all(|suite| offered.contains(suite)));
        let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
        assert_eq!(offered.first().map(|suite| suite.suite()), Some(first));
    }

    #[test]
    fn rubbish_is_no_authority() {
        assert!(matches!(
            Client::new(b"rubbish", &Clock::system()),
            Err(TlsError::Authority(_))
        ));
    }
}
