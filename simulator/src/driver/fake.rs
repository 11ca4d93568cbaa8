//! Services made of a script, behind real TLS over pipes in memory.
//!
//! They accept every registration after one poll, and at the hub every certificate on a list.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use bytes::BytesMut;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rumqttc::mqttbytes::v4::SubscribeReasonCode;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::endpoint::{Connecting, Connector, Port, Services};
use crate::pki::{Credential, Pki};
use crate::wire::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck};

pub(crate) const DPS: &str = "dps.fake.net";
pub(crate) const HUB: &str = "hub.fake.net";

/// A moment all certificates here are valid at, Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The fake services and the certificates devices have there.
pub(crate) struct Fake {
    pub(crate) pki: Pki,
    pub(crate) services: Services,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: Mutex<Vec<[u8; 32]>>,
    refused_at_dps: Mutex<Vec<[u8; 32]>>,
    /// How often each device was let in; a session ends when its number is no longer the latest.
    sessions: Mutex<BTreeMap<String, watch::Sender<u64>>>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let mut pki = Pki::new();
        pki.add_root("ca", 0, 2 * NOW).unwrap();
        let (config, ca_der) = server_config(&pki);
        let services = Services {
            dps_host: DPS.to_owned(),
            id_scope: "0ne0001".to_owned(),
            dps_connection_string: String::new(),
            dps_name: "dps".to_owned(),
            hubs: vec![(HUB.to_owned(), String::new())],
            ca_der,
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Arc::new(Self {
            pki,
            services,
            acceptor,
            shared: Arc::default(),
        })
    }

    /// The hub lets this certificate in from now on.
    pub(crate) fn accept(&self, credential: &Credential) {
        self.shared
            .accepted
            .lock()
            .unwrap()
            .push(credential.fingerprint());
    }

    /// DPS refuses this certificate from now on.
    pub(crate) fn refuse_at_dps(&self, credential: &Credential) {
        self.shared
            .refused_at_dps
            .lock()
            .unwrap()
            .push(credential.fingerprint());
    }
}

impl Connector for Fake {
    fn connect<'a>(&'a self, host: &'a str, port: Port) -> Connecting<'a> {
        Box::pin(async move {
            if port != Port::Mqtt || ![DPS, HUB].contains(&host) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            let (acceptor, shared) = (self.acceptor.clone(), Arc::clone(&self.shared));
            let is_dps = host == DPS;
            tokio::spawn(async move {
                let stream = acceptor.accept(theirs).await?;
                Peer::new(stream).serve(is_dps, &shared).await
            });
            Ok(Box::new(ours) as _)
        })
    }
}

fn server_config(pki: &Pki) -> (ServerConfig, Vec<u8>) {
    let ca_key = KeyPair::generate().unwrap();
    let ca_params = crate::pki::template_of_authority("services", 0, 2 * NOW).unwrap();
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([DPS.to_owned(), HUB.to_owned()]).unwrap();
    let certificate = params
        .signed_by(&key, &Issuer::new(ca_params, ca_key))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(pki.certificate_der("ca").unwrap().clone())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.into()], key)
        .unwrap();
    (config, ca.der().to_vec())
}

struct Peer {
    stream: TlsStream<DuplexStream>,
    buffer: BytesMut,
    shown: [u8; 32],
}

impl Peer {
    fn new(stream: TlsStream<DuplexStream>) -> Self {
        let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let mut shown = [0; 32];
        shown.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
        Self {
            stream,
            buffer: BytesMut::new(),
            shown,
        }
    }

    async fn serve(mut self, is_dps: bool, shared: &Shared) -> io::Result<()> {
        let Packet::Connect(connect) = self.read().await? else {
            return Ok(());
        };
        if is_dps {
            self.write(Packet::ConnAck(ConnAck::new(
                ConnectReturnCode::Success,
                false,
            )))
            .await?;
            return self.serve_dps(&connect.client_id, shared).await;
        }
        if !shared.accepted.lock().unwrap().contains(&self.shown) {
            let refused = ConnAck::new(ConnectReturnCode::NotAuthorized, false);
            return self.write(Packet::ConnAck(refused)).await;
        }
        let mut latest = shared.take_over(&connect.client_id);
        self.write(Packet::ConnAck(ConnAck::new(
            ConnectReturnCode::Success,
            false,
        )))
        .await?;
        loop {
            tokio::select! {
                biased;
                _ = latest.changed() => return Ok(()),
                packet = self.read() => self.answer(packet?).await?,
            }
        }
    }

    async fn serve_dps(&mut self, device_id: &str, shared: &Shared) -> io::Result<()> {
        let assigned = format!(
            r#"{{"status":"assigned","registrationState":{{"assignedHub":"{HUB}","deviceId":"{device_id}"}}}}"#
        );
        let assigning = r#"{"operationId":"op.1","status":"assigning"}"#;
        loop {
            let packet = self.read().await?;
            let Packet::Publish(publish) = packet else {
                self.answer(packet).await?;
                continue;
            };
            self.write(Packet::PubAck(PubAck::new(publish.pkid)))
                .await?;
            let request = publish
                .topic
                .split("$rid=")
                .nth(1)
                .unwrap()
                .split('&')
                .next()
                .unwrap();
            let (head, body) = if shared.refused_at_dps.lock().unwrap().contains(&self.shown) {
                ("401", r#"{"errorCode":401002,"message":"Unauthorized"}"#)
            } else if publish.topic.contains("iotdps-register") {
                ("202", assigning)
            } else {
                shared.accepted.lock().unwrap().push(self.shown);
                ("200", assigned.as_str())
            };
            let topic = format!("$dps/registrations/res/{head}/?$rid={request}&retry-after=3");
            let mut answer = Publish::new(topic, QoS::AtLeastOnce, body.as_bytes().to_vec());
            answer.pkid = 1;
            self.write(Packet::Publish(answer)).await?;
        }
    }

    async fn answer(&mut self, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Subscribe(subscribe) => {
                let codes = vec![SubscribeReasonCode::Success(QoS::AtMostOnce)];
                self.write(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
                    .await
            }
            Packet::Publish(publish) => self.write(Packet::PubAck(PubAck::new(publish.pkid))).await,
            Packet::PingReq => self.write(Packet::PingResp).await,
            Packet::Disconnect => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> io::Result<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, 256 * 1024) {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn write(&mut self, packet: Packet) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        packet
            .write(&mut bytes, 256 * 1024)
            .map_err(io::Error::other)?;
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }
}

impl Shared {
    /// Ends the session of the device, and gives what tells when the next one is ended.
    fn take_over(&self, device_id: &str) -> watch::Receiver<u64> {
        let mut sessions = self.sessions.lock().unwrap();
        let latest = sessions
            .entry(device_id.to_owned())
            .or_insert_with(|| watch::Sender::new(0));
        latest.send_modify(|number| *number += 1);
        latest.subscribe()
    }
}
