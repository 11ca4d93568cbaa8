//! The trap of resumed TLS sessions: the certificate of a device that resumes is not shown again.
//!
//! A stock server judges a chain in the full handshake only, so with resumption on it lets in a
//! device whose certificate has expired since. The emulator does not resume; told to, it still
//! judges what the session remembers, at every CONNECT.

use std::sync::Arc;

use linarite_emulator::Door;
use linarite_env::Clock;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, Error, HandshakeKind, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, sleep};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::mqtt::{Connect, Mqtt, telemetry};
use crate::support::{Lab, VirtualTime, client_config};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// How a device fared whose certificate expired between its two connections.
#[derive(Debug, PartialEq)]
struct Reconnect {
    handshake: Option<HandshakeKind>,
    connack: u8,
}

/// Connects `device` with a certificate that lives for a day, waits until it is over, and
/// connects again with the same client, which would rather resume.
async fn reconnects_expired(lab: &Lab, client: &TlsConnector, device: &str) -> Reconnect {
    let first = lab.try_tls(Door::Mqtt, client).await.unwrap();
    assert_eq!(
        first.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
    let mut first = Mqtt { stream: first };
    assert_eq!(first.connect(&Connect::hub(device)).await, (0, 0));
    first.publish(&telemetry(device), "valid").await;
    first.send([0xE0, 0]).await;
    first.expect_end().await;

    // Past the end of the certificate, well within the life of a ticket.
    sleep(Duration::from_secs(23 * 3600)).await;
    let second = lab.try_tls(Door::Mqtt, client).await.unwrap();
    let handshake = second.get_ref().1.handshake_kind();
    let mut second = Mqtt { stream: second };
    let (_, connack) = second.connect(&Connect::hub(device)).await;
    second.expect_end().await;
    Reconnect { handshake, connack }
}

/// The client a device would have that resumes whenever it can.
fn resuming(lab: &Lab, device: &str, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let credential = lab
        .pki
        .leaf(
            "issuer",
            device,
            linarite::observation::Generation(1),
            lab.now() - 60,
            lab.now() + 12 * 3600,
        )
        .unwrap();
    lab.client(
        lab.identity(&credential),
        &[version],
        Resumption::in_memory_sessions(16),
    )
}

async fn register_with(lab: &Lab, client: &TlsConnector, device: &str) -> String {
    let stream = lab.try_tls(Door::Mqtt, client).await.unwrap();
    let mut dps = Mqtt { stream };
    assert_eq!(dps.connect(&Connect::dps(device)).await, (0, 0));
    dps.subscribe("$dps/registrations/res/#").await;
    dps.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "")
        .await;
    let answer = dps.expect().await;
    dps.send([0xE0, 0]).await;
    dps.expect_end().await;
    sleep(Duration::from_secs(1)).await;
    answer.topic().to_owned()
}

/// R-G9.
#[tokio::test(start_paused = true)]
async fn a_device_that_expired_while_away_makes_a_full_handshake_and_is_refused() {
    for version in VERSIONS {
        let lab = Lab::start();
        lab.open_fleet().await;
        let client = resuming(&lab, "dev-1", version);
        let accepted = register_with(&lab, &client, "dev-1").await;
        assert!(
            accepted.starts_with("$dps/registrations/res/202/"),
            "{accepted}"
        );
        let mark = lab.events.mark();
        let expected = Reconnect {
            handshake: Some(HandshakeKind::Full),
            connack: 5,
        };
        assert_eq!(reconnects_expired(&lab, &client, "dev-1").await, expected);
        assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G7", 401_003));
        let refused = register_with(&lab, &client, "dev-1").await;
        assert_eq!(refused, "$dps/registrations/res/401/?$rid=1");
    }
}

/// R-G9.
#[tokio::test(start_paused = true)]
async fn with_resumption_on_tls_lets_the_expired_device_in_and_the_hub_still_refuses_it() {
    for version in VERSIONS {
        let lab = Lab::with(|config| config.danger_tls_resumption = true);
        lab.open_fleet().await;
        // A client of its own for each service, so that each has a first, full handshake.
        let to_dps = resuming(&lab, "dev-1", version);
        let accepted = register_with(&lab, &to_dps, "dev-1").await;
        assert!(
            accepted.starts_with("$dps/registrations/res/202/"),
            "{accepted}"
        );
        let identity = Arc::clone(&to_dps.config().client_auth_cert_resolver);
        let to_hub = lab.client(identity, &[version], Resumption::in_memory_sessions(16));
        let mark = lab.events.mark();
        let expected = Reconnect {
            handshake: Some(HandshakeKind::Resumed),
            connack: 5,
        };
        assert_eq!(reconnects_expired(&lab, &to_hub, "dev-1").await, expected);
        assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G7", 401_003));

        // DPS judges what the session remembers as well.
        let resumed = lab.try_tls(Door::Mqtt, &to_dps).await.unwrap();
        assert_eq!(
            resumed.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed)
        );
        let refused = register_with(&lab, &to_dps, "dev-1").await;
        assert_eq!(refused, "$dps/registrations/res/401/?$rid=1");
    }
}

/// A stock server: rustls, webpki's verifier for clients, and nothing behind it.
fn stock_server(lab: &Lab, clock: &Clock, resumption: bool) -> (TlsAcceptor, RootCertStore) {
    let mut server_pki = linarite::pki::Pki::new();
    let now = lab.now();
    server_pki
        .add_root("server", now - 60, now + 100 * 86_400)
        .unwrap();
    let mut trusted = RootCertStore::empty();
    trusted
        .add(lab.pki.certificate_der("root").unwrap().clone())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider))
            .build()
            .unwrap();
    let (certificate, key) = self_signed("stock.test", now);
    let mut believed = RootCertStore::empty();
    believed.add(certificate.clone()).unwrap();
    let mut config =
        ServerConfig::builder_with_details(provider, Arc::new(VirtualTime(clock.clone())))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
    if resumption {
        config.session_storage = ServerSessionMemoryCache::new(16);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    (TlsAcceptor::from(Arc::new(config)), believed)
}

/// One connection to a stock server, which says `hello` to whom it lets in.
async fn visit(
    server: &TlsAcceptor,
    client: &TlsConnector,
) -> Result<Option<HandshakeKind>, Error> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let serve = async {
        let mut stream = server.accept(far).await?;
        let kind = stream.get_ref().1.handshake_kind();
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        std::io::Result::Ok(kind)
    };
    let call = async {
        let name = ServerName::try_from("stock.test").unwrap();
        let mut stream = client.connect(name, near).await?;
        let mut greeting = Vec::new();
        stream.read_to_end(&mut greeting).await?;
        std::io::Result::Ok(greeting)
    };
    let (served, called) = tokio::join!(serve, call);
    match served {
        Ok(kind) => {
            assert_eq!(called.unwrap(), b"hello");
            Ok(kind)
        }
        Err(error) => Err(error.downcast::<Error>().unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stock_server_accepts_an_expired_certificate_if_and_only_if_it_resumes() {
    for version in VERSIONS {
        for resumption in [true, false] {
            let lab = Lab::start();
            let clock = &lab.env.clock;
            let (server, believed) = stock_server(&lab, clock, resumption);
            let identity = resuming(&lab, "dev-1", version);
            let identity = Arc::clone(&identity.config().client_auth_cert_resolver);
            let mut config: ClientConfig =
                client_config(clock, believed, &[version]).with_client_cert_resolver(identity);
            config.resumption = Resumption::in_memory_sessions(16);
            let client = TlsConnector::from(Arc::new(config));

            let first = visit(&server, &client).await;
            assert_eq!(first, Ok(Some(HandshakeKind::Full)));
            sleep(Duration::from_secs(23 * 3600)).await;
            let again = visit(&server, &client).await;
            if resumption {
                assert_eq!(again, Ok(Some(HandshakeKind::Resumed)), "{version:?}");
            } else {
                let error = again.unwrap_err();
                let expired = matches!(
                    error,
                    Error::InvalidCertificate(
                        CertificateError::Expired | CertificateError::ExpiredContext { .. }
                    )
                );
                assert!(expired, "{version:?}: {error:?}");
            }
        }
    }
}

/// A server certificate for `name` that vouches for itself.
fn self_signed(name: &str, now: i64) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let moment = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = moment(now - 60);
    params.not_after = moment(now + 100 * 86_400);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (certificate.into(), PrivateKeyDer::from(key))
}
