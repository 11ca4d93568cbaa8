//! A laboratory: an emulator in virtual time, a PKI, and the ways to talk to it.
//!
//! Clients here speak TLS, MQTT and HTTP by themselves, byte by byte, so that they can also do
//! what no library would let them do.

pub(crate) mod function;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod mqtt;
pub(crate) mod operator;
mod panics;
pub(crate) mod repository;
pub(crate) mod tpm;
pub(crate) mod watch;
pub(crate) mod websocket;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use function::Function;
use linarite::observation::Generation;
use linarite::pki::{Credential, Pki};
use linarite_core::dps::allocation::InstanceAllocationPolicy;
use linarite_core::id::HubHostName;
use linarite_emulator::config::HubConfig;
use linarite_emulator::outgoing::{Dial, Sockets};
use linarite_emulator::{Config, Door, Emulator};
use linarite_env::{Clock, Env, Event, Stamped, UnixMillis};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// 2026-01-01T00:00:00Z: when every laboratory opens unless told otherwise.
pub(crate) const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
pub(crate) const DPS: &str = "dps.linarite.test";
pub(crate) const HUB: &str = "hub-1.linarite.test";
/// A second hub, where a laboratory has one.
pub(crate) const HUB_2: &str = "hub-2.linarite.test";
pub(crate) const SCOPE: &str = "0ne00000001";
pub(crate) const ROOT: &str = "root";
pub(crate) const ISSUER: &str = "issuer";
pub(crate) const DAY: i64 = 86_400;

/// How much a pipe holds for each direction, in bytes.
const PIPE_BYTES: usize = 16 * 1024;

pub(crate) type Tls = TlsStream<DuplexStream>;

/// An emulator, its clock, what it told, and certificates for its devices.
pub(crate) struct Lab {
    pub(crate) emulator: Emulator,
    pub(crate) env: Env,
    pub(crate) events: Recorder,
    pub(crate) pki: Pki,
}

impl Lab {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// A laboratory with two hubs, the first of which is nearer.
    pub(crate) fn with_two_hubs(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(|config| {
            link_two_hubs(config);
            change(config);
        })
    }

    /// The same, whose emulator asks webhooks of `function`.
    pub(crate) fn dialling(function: Function, change: impl FnOnce(&mut Config)) -> Self {
        Self::open(EPOCH, Arc::new(function), |config| {
            link_two_hubs(config);
            change(config);
        })
    }

    /// A laboratory whose emulator is configured by `change`.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(EPOCH, change)
    }

    /// The same, opening at `epoch`.
    pub(crate) fn at(epoch: UnixMillis, change: impl FnOnce(&mut Config)) -> Self {
        Self::open(epoch, Arc::new(Sockets), change)
    }

    fn open(epoch: UnixMillis, dialer: Arc<dyn Dial>, change: impl FnOnce(&mut Config)) -> Self {
        panics::watch();
        let mut config = Config::local(DPS, &[HUB.to_owned()]).unwrap();
        change(&mut config);
        let env = Env::new(Clock::tokio(epoch), 1);
        let events = Recorder::default();
        let listener = events.clone();
        env.events
            .listen(move |stamped| listener.0.lock().unwrap().push(stamped.clone()));
        let emulator = Emulator::with_dialer(config, env.clone(), dialer).unwrap();
        let mut pki = Pki::new();
        let from = epoch.seconds().0 - DAY;
        pki.add_root(ROOT, from, from + 4000 * DAY).unwrap();
        pki.add_intermediate(ISSUER, ROOT, from, from + 2000 * DAY)
            .unwrap();
        Self {
            emulator,
            env,
            events,
            pki,
        }
    }

    /// Unix seconds on the emulator's clock.
    pub(crate) fn now(&self) -> i64 {
        self.env.clock.now().0
    }

    /// Virtual time since `earlier`.
    pub(crate) fn since(&self, earlier: UnixMillis) -> Duration {
        let span = self.env.clock.now_ms().since(earlier);
        Duration::from_millis(u64::try_from(span).unwrap())
    }

    /// A leaf of the intermediate, good for `days` from now.
    pub(crate) fn leaf(&self, common_name: &str, generation: u32, days: i64) -> Credential {
        self.leaf_of(ISSUER, common_name, generation, days)
    }

    /// A leaf of the authority `issuer`, good for `days` from now.
    pub(crate) fn leaf_of(&self, issuer: &str, name: &str, number: u32, days: i64) -> Credential {
        let now = self.now();
        let generation = Generation(number);
        self.pki
            .leaf(issuer, name, generation, now - 60, now + days * DAY)
            .unwrap()
    }

    /// A stream to the door, nothing spoken on it yet.
    pub(crate) fn pipe(&self, door: Door) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.emulator.accept(far, door);
        near
    }

    /// A connector as the fleet uses it: one credential or none, no resumption.
    pub(crate) fn connector(&self, credential: Option<&Credential>) -> TlsConnector {
        linarite::tls::connector(self.emulator.ca_der(), credential, &self.env.clock).unwrap()
    }

    /// A TLS client of the given versions that may resume, if `resumption` says so.
    pub(crate) fn client(
        &self,
        identity: Arc<dyn ResolvesClientCert>,
        versions: &[&'static SupportedProtocolVersion],
        resumption: Resumption,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.emulator.ca_der().to_vec()))
            .unwrap();
        let mut config =
            client_config(&self.env.clock, roots, versions).with_client_cert_resolver(identity);
        config.resumption = resumption;
        TlsConnector::from(Arc::new(config))
    }

    /// What the fleet shows for `credential`.
    pub(crate) fn identity(&self, credential: &Credential) -> Arc<dyn ResolvesClientCert> {
        let connector = self.connector(Some(credential));
        Arc::clone(&connector.config().client_auth_cert_resolver)
    }

    /// A connection whose handshake succeeded.
    pub(crate) async fn tls(&self, door: Door, credential: Option<&Credential>) -> Tls {
        let connector = self.connector(credential);
        self.try_tls(door, &connector).await.unwrap()
    }

    /// A connection, if the handshake succeeds.
    pub(crate) async fn try_tls(&self, door: Door, connector: &TlsConnector) -> io::Result<Tls> {
        let name = ServerName::try_from(DPS).unwrap();
        connector.connect(name, self.pipe(door)).await
    }
}

fn link_two_hubs(config: &mut Config) {
    let hub = |(host, latency)| HubConfig {
        latency_ms: Some(latency),
        ..HubConfig::new(HubHostName::parse(host).unwrap())
    };
    config.hubs = [(HUB, 10), (HUB_2, 20)].map(hub).to_vec();
    config.dps.allocation_policy = InstanceAllocationPolicy::GeoLatency;
}

impl Drop for Lab {
    /// A task of the emulator that panicked fails the test, however well the rest went.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let panics = panics::seen();
            assert!(panics.is_empty(), "something panicked: {panics:#?}");
        }
    }
}

/// Everything the emulator told.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Stamped>>>);

impl Recorder {
    /// How many events there are so far.
    pub(crate) fn mark(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The events after the first `mark`.
    pub(crate) fn after(&self, mark: usize) -> Vec<Event> {
        let all = self.0.lock().unwrap();
        all[mark..]
            .iter()
            .map(|stamped| stamped.event.clone())
            .collect()
    }

    /// When the last event that `matches` happened.
    pub(crate) fn last_at(&self, matches: impl Fn(&Event) -> bool) -> Option<UnixMillis> {
        let all = self.0.lock().unwrap();
        let found = all.iter().rev().find(|stamped| matches(&stamped.event));
        found.map(|stamped| stamped.at)
    }

    /// Rule and number of the one protocol violation after `mark`, with its words.
    pub(crate) fn violation(&self, mark: usize) -> (&'static str, u32, String) {
        let events = self.after(mark);
        let mut found = events.iter().filter_map(|event| match event {
            Event::ProtocolViolated { reason, .. } => Some(reason),
            _ => None,
        });
        let reason = found
            .next()
            .unwrap_or_else(|| panic!("no violation in {events:#?}"));
        assert_eq!(found.next(), None, "more than one violation");
        (reason.rule, reason.code, reason.text.clone())
    }

    /// Rule and number with which the session of `device` ended after `mark`.
    pub(crate) fn closing(&self, mark: usize, device: &str) -> (&'static str, u32) {
        let events = self.after(mark);
        let found = events.iter().find_map(|event| match event {
            Event::SessionClosed {
                device_id, reason, ..
            } if **device_id == *device => Some((reason.rule, reason.code)),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{device} was not closed: {events:#?}"))
    }

    /// Rule and number with which the hub refused `device` after `mark`.
    pub(crate) fn refusal(&self, mark: usize, device: &str) -> (&'static str, u32) {
        let events = self.after(mark);
        let found = events.iter().find_map(|event| match event {
            Event::SessionRefused {
                device_id, reason, ..
            } if **device_id == *device => Some((reason.rule, reason.code)),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{device} was not refused: {events:#?}"))
    }

    /// Why the one handshake after `mark` failed.
    pub(crate) fn failed_handshake(&self, mark: usize) -> String {
        let events = self.after(mark);
        let found = events.iter().find_map(|event| match event {
            Event::HandshakeFailed { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no handshake failed: {events:#?}"))
    }
}

/// Reads until the other end closes, orderly or not; gives what came until then.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let read = async {
        while let Ok(1..) = stream.read(&mut chunk).await.inspect(|count| {
            bytes.extend_from_slice(&chunk[..*count]);
        }) {}
    };
    let ended = tokio::time::timeout(Duration::from_secs(7200), read).await;
    assert!(ended.is_ok(), "still open after two virtual hours");
    bytes
}

/// The start of a TLS client's configuration on `clock`.
pub(crate) fn client_config(
    clock: &Clock,
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_details(provider, Arc::new(VirtualTime(clock.clone())))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

/// Tells rustls the laboratory's time.
#[derive(Debug)]
pub(crate) struct VirtualTime(pub(crate) Clock);

impl TimeProvider for VirtualTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A folder that lies beside the checkout, or `None` with a line on standard error.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared")
        .join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: there is no folder ../shared/{folder} beside this checkout");
    None
}
