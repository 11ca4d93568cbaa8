//! TLS as a client of webhooks: the system's CAs are trusted, and those that were named.

use std::sync::Arc;

use linarite_env::Clock;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::EmulatorTime;

/// Checks that each of `extra_ca`, in DER, can be trusted at all.
pub(crate) fn check_ca(extra_ca: &[Vec<u8>]) -> Result<(), rustls::Error> {
    add(&mut RootCertStore::empty(), extra_ca)
}

/// The configuration of a client that shows no certificate. A CA of the system that is not
/// readable is left out, with a line in the log.
pub(crate) fn client_config(
    extra_ca: &[Vec<u8>],
    clock: &Clock,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "CA certificates of the system are left out");
    }
    roots.add_parsable_certificates(native.certs);
    add(&mut roots, extra_ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let time = Arc::new(EmulatorTime(clock.clone()));
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn add(roots: &mut RootCertStore, extra_ca: &[Vec<u8>]) -> Result<(), rustls::Error> {
    for der in extra_ca {
        roots.add(CertificateDer::from(der.clone()))?;
    }
    Ok(())
}
