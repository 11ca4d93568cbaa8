//! What a TLS client meets at the door, before anything is said (wire 1).

use std::sync::Arc;

use linarite_core::id::HubHostName;
use linarite_emulator::Door;
use linarite_emulator::config::HubConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, Mqtt};
use crate::support::{DPS, HUB, Lab, drain};

/// W1, W22: either version, with a certificate and without one, and no ALPN but where it is
/// offered for HTTPS.
#[tokio::test(start_paused = true)]
async fn both_versions_are_spoken_with_and_without_a_certificate() {
    let lab = Lab::start();
    let credential = lab.leaf("dev-1", 1, 30);
    for version in [&TLS12, &TLS13] {
        for shown in [None, Some(&credential)] {
            let identity = Arc::clone(&lab.connector(shown).config().client_auth_cert_resolver);
            let client = lab.client(identity, &[version], Resumption::disabled());
            let stream = lab.try_tls(Door::Mqtt, &client).await.unwrap();
            let (_, tls) = stream.get_ref();
            assert_eq!(tls.protocol_version(), Some(version.version));
            assert_eq!(tls.alpn_protocol(), None);
            let mut dps = Mqtt { stream };
            assert_eq!(dps.connect(&Connect::dps("dev-1")).await, (0, 0));

            let mut config = client.config().as_ref().clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let client = TlsConnector::from(Arc::new(config));
            let mut stream = lab.try_tls(Door::Https, &client).await.unwrap();
            let request = Request::new("GET", DPS, "/enrollments/dev-1?api-version=2021-10-01");
            stream.write_all(&request.bytes()).await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(Answer::parse(&drain(&mut stream).await).status, 401);
        }
    }
}

/// W21: each name and address by itself, for clients refuse wildcards.
#[tokio::test(start_paused = true)]
async fn the_server_certificate_lists_every_name() {
    const HUB_2: &str = "hub-2.linarite.test";
    let lab = Lab::with(|config| {
        config.hubs.push(HubConfig {
            host: HubHostName::parse(HUB_2).unwrap(),
            ..config.hubs[0].clone()
        });
        config.listen.extra_names = vec!["my.name.test".to_owned(), "10.1.2.3".to_owned()];
    });
    let client = lab.connector(None);
    let names = [
        (DPS, true),
        (HUB, true),
        (HUB_2, true),
        ("localhost", true),
        ("127.0.0.1", true),
        ("my.name.test", true),
        ("10.1.2.3", true),
        ("hub-3.linarite.test", false),
        ("10.1.2.4", false),
    ];
    for door in [Door::Mqtt, Door::Https] {
        for (name, listed) in names {
            let server = ServerName::try_from(name).unwrap();
            let handshake = client.connect(server, lab.pipe(door)).await;
            assert_eq!(handshake.is_ok(), listed, "{name}: {handshake:?}");
        }
    }
}
