//! Servers that only shake hands, with a certificate like the emulator's.

use std::sync::Arc;

use anyhow::Context as _;
use linarite::pki::{Credential, Pki};
use linarite::tls::Client;
use linarite_emulator::tls;
use linarite_emulator::tls::server_identity::ServerIdentity;
use linarite_env::Clock;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stage::{DPS, HUB, ROOT};

/// Two servers, and what dials either.
pub(crate) struct Bare {
    /// Verifies its clients' chains in the handshake.
    pub(crate) ordinary: TlsAcceptor,
    /// The emulator's way: leaves the chain to the rules.
    pub(crate) permissive: TlsAcceptor,
    /// Believes both, and shows a chain of its own.
    pub(crate) client: TlsConnector,
}

impl Bare {
    /// Servers that ask for what [`ROOT`] has signed, and a client that shows `shown`.
    pub(crate) fn new(pki: &Pki, shown: &Credential, clock: &Clock) -> anyhow::Result<Self> {
        let identity = identity(clock)?;
        let root = pki.certificate_der(ROOT)?.clone();
        let ca = identity.chain.last().context("the server has no CA")?;
        Ok(Self {
            ordinary: ordinary(&identity, root, clock)?,
            permissive: TlsAcceptor::from(Arc::new(tls::server_config(&identity, clock, false)?)),
            client: Client::new(ca, clock)?.connector(Some(shown))?,
        })
    }
}

/// Who a server is that devices look for under any of the names.
pub(crate) fn identity(clock: &Clock) -> anyhow::Result<ServerIdentity> {
    let names = [DPS, HUB, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    Ok(ServerIdentity::generate(&names, clock)?)
}

/// A server that verifies its clients' chains up to `root` in the handshake.
pub(crate) fn ordinary(
    identity: &ServerIdentity,
    root: CertificateDer<'static>,
    clock: &Clock,
) -> anyhow::Result<TlsAcceptor> {
    let like = tls::server_config(identity, clock, false)?;
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let provider = Arc::clone(like.crypto_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::clone(&like.time_provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&like.cert_resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
