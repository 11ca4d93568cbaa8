//! TLS as the services speak it: it proves that a peer holds its key, and judges nothing else.

pub(crate) mod outgoing;
pub mod peer;
pub mod server_identity;
mod verifier;

use std::sync::Arc;

use linarite_env::Clock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use server_identity::ServerIdentity;

/// Tells rustls the emulator's time.
#[derive(Debug)]
struct EmulatorTime(Clock);

impl TimeProvider for EmulatorTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}

/// The configuration of every TLS listener: 1.2 and 1.3, any client certificate or none.
///
/// Without `danger_resumption` no session is stored and no ticket is sent, so each connection
/// shows its certificate anew.
///
/// # Errors
/// If rustls refuses the server's key, which would be a mistake of ours.
pub fn server_config(
    identity: &ServerIdentity,
    clock: &Clock,
    danger_resumption: bool,
) -> Result<ServerConfig, rustls::Error> {
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(verifier::DangerBelievesAnyCertificate::new(&provider));
    let mut config =
        ServerConfig::builder_with_details(provider, Arc::new(EmulatorTime(clock.clone())))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    if danger_resumption {
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(65_536);
    } else {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
