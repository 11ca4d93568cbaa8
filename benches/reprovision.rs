//! What does it cost to reprovision a device, over the two handshakes that cannot be saved?
//!
//! Unit: CPU time of one thread that holds both ends, per device: registration at DPS over MQTT
//! (handshake, CONNECT, SUBSCRIBE, register, 202, poll, 200) and entry at the hub (handshake,
//! CONNECT, one message at QoS 1, PUBACK), both closed in good order.
//! Yardstick: two bare handshakes of rustls with the same chains, once with a server that
//! verifies the client's chain, once with the emulator's verifier that leaves it to the rules.
//!
//! Estimate: a handshake is two signatures, three verifications besides those of the client's
//! chain, and two key agreements, 370 µs for both ends. An ordinary server adds two verifications
//! of 55 µs to each handshake; the emulator pays them once, in the registration. Some 14 packets
//! in TLS records of their own cost 5 µs each, reading six certificates 10 µs each. So about
//! 980 µs against 960 µs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use criterion::Criterion;
use linarite::endpoint::{BoxedStream, Connecting, Connector, Port, Services};
use linarite::tls::Client;
use linarite_emulator::{Config, Door, Emulator};
use linarite_env::{Clock, Env, UnixMillis};
use rustls::pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::common::bare::Bare;
use crate::common::client::{Line, register};
use crate::common::ratio::{self, Effort, Subject, cpu, interleave};
use crate::common::stage::{self, DPS, HUB, ISSUER};

/// Any moment within the life of the certificates.
pub(crate) const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);

/// Bytes a pipe holds for each direction, as in the simulator.
const PIPE_BYTES: usize = 16 * 1024;

/// The device that rolls and registers each time.
const ROLLING: &str = "dev-000001";

/// The device that is registered once and enters its hub again and again.
pub(crate) const SETTLED: &str = "dev-000002";

/// A runtime whose clock is paused: no wait costs anything but the CPU time to notice it.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?)
}

/// A reprovision by itself.
pub(crate) fn single(criterion: &mut Criterion) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let stage = runtime.block_on(Stage::new())?;
    let mut generation = 0;
    criterion.bench_function("reprovision, both ends", |bencher| {
        bencher.iter(|| {
            generation += 1;
            runtime.block_on(stage.reprovision(generation))
        });
    });
    Ok(())
}

/// Ratios of a full reprovision, and of its parts.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let runtime = runtime()?;
    let stage = runtime.block_on(Stage::new())?;
    let mut generation = 0;
    let mut whole = |times: u32| {
        timed(&runtime, times, async || {
            generation += 1;
            stage.reprovision(generation).await
        })
    };
    let mut entry = 0;
    let mut hub_only = |times: u32| {
        timed(&runtime, times, async || {
            entry += 1;
            stage.talk(&stage.settled, SETTLED, entry).await
        })
    };
    let bare = |acceptor: &TlsAcceptor, handshakes: u32, times: u32| {
        timed(&runtime, times, async || {
            for _ in 0..handshakes {
                stage.shake_hands(acceptor).await?;
            }
            Ok(())
        })
    };
    let mut subjects: [Subject<'_>; 5] = [
        Box::new(&mut whole),
        Box::new(|times| bare(&stage.bare.ordinary, 2, times)),
        Box::new(|times| bare(&stage.bare.permissive, 2, times)),
        Box::new(&mut hub_only),
        Box::new(|times| bare(&stage.bare.ordinary, 1, times)),
    ];
    let samples = interleave(Effort::new(thorough, 80, 10), &mut subjects)?;
    let figure = "reprovision: DPS and hub, both ends";
    let entry = "hub entry alone, with one message";
    Ok(vec![
        samples.line(figure, 0, ("2 handshakes, verifying server", 1), Some(1.25)),
        samples.line(figure, 0, ("2 handshakes, permissive server", 2), None),
        samples.line(entry, 3, ("1 handshake, verifying server", 4), None),
    ])
}

/// CPU time of doing `work` so many times, both ends.
pub(crate) fn timed(
    runtime: &Runtime,
    times: u32,
    mut work: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let before = cpu();
    runtime.block_on(async {
        for _ in 0..times {
            work().await?;
        }
        // What the other end still has to tidy up belongs to this turn.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })?;
    Ok(cpu() - before)
}

/// Client's and server's end of a connection through memory.
pub(crate) type Pair = (
    client::TlsStream<DuplexStream>,
    server::TlsStream<DuplexStream>,
);

/// The emulator with its two devices, and the two servers that only shake hands.
pub(crate) struct Stage {
    connector: Arc<dyn Connector>,
    services: Services,
    rolling: [TlsConnector; 2],
    settled: TlsConnector,
    bare: Bare,
}

impl Stage {
    /// A stage with both devices registered.
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let clock = Clock::tokio(EPOCH);
        let pki = stage::authorities()?;
        let mut config = Config::local(DPS, &[HUB.to_owned()])?;
        config.assignment_latency = Duration::ZERO;
        let emulator = Emulator::new(config, Env::new(clock.clone(), 1))?;
        let (services, connector) = reach(emulator);
        stage::enroll_group(&services, Arc::clone(&connector), &clock, &pki).await?;
        let client = Client::new(&services.ca_der, &clock)?;
        let rolling = [1, 2].map(|generation| -> anyhow::Result<_> {
            let credential = stage::credential(&pki, ISSUER, ROLLING, generation)?;
            Ok(client.connector(Some(&credential))?)
        });
        let [first, second] = rolling;
        let settled = stage::credential(&pki, ISSUER, SETTLED, 1)?;

        let bare = Bare::new(&pki, &settled, &clock)?;
        let stage = Self {
            connector,
            services,
            rolling: [first?, second?],
            settled: client.connector(Some(&settled))?,
            bare,
        };
        stage
            .reprovision(0)
            .await
            .context("the first registration")?;
        stage.register(&stage.settled, SETTLED).await?;
        Ok(stage)
    }

    /// Odd and even generations have different certificates, so each time the device rolls.
    async fn reprovision(&self, generation: u32) -> anyhow::Result<()> {
        let tls = &self.rolling[usize::from(generation % 2 == 1)];
        self.register(tls, ROLLING).await?;
        // The session that stays open in life is closed here, so that turns are alike.
        self.talk(tls, ROLLING, generation).await
    }

    async fn register(&self, tls: &TlsConnector, id: &str) -> anyhow::Result<()> {
        let dps = (
            self.services.dps_host.as_str(),
            self.services.id_scope.as_str(),
        );
        let hub = register(&self.connector, tls, dps, id).await?;
        anyhow::ensure!(hub == HUB, "assigned to {hub}");
        Ok(())
    }

    async fn talk(&self, tls: &TlsConnector, id: &str, sequence: u32) -> anyhow::Result<()> {
        let mut line = Line::open(&*self.connector, tls, HUB).await?;
        line.connect(HUB, id).await?;
        line.telemetry(id, sequence).await?;
        line.close().await
    }

    /// An open session of [`SETTLED`].
    pub(crate) async fn session(&self) -> anyhow::Result<Line> {
        let mut line = Line::open(&*self.connector, &self.settled, HUB).await?;
        line.connect(HUB, SETTLED).await?;
        Ok(line)
    }

    /// Both ends of a bare connection.
    pub(crate) async fn pair(&self) -> anyhow::Result<Pair> {
        self.shake_hands(&self.bare.permissive).await
    }

    async fn shake_hands(&self, acceptor: &TlsAcceptor) -> anyhow::Result<Pair> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let name = ServerName::try_from(DPS)?;
        let (near, far) = tokio::join!(self.bare.client.connect(name, near), acceptor.accept(far));
        Ok((near?, far?))
    }
}

/// Where the services of `emulator` are, and the way to them through memory.
pub(crate) fn reach(emulator: Emulator) -> (Services, Arc<dyn Connector>) {
    let services = Services {
        dps_host: DPS.to_owned(),
        id_scope: emulator.config().dps.id_scope.as_str().to_owned(),
        dps_connection_string: emulator.dps_connection_string(),
        dps_name: emulator.config().dps.name.clone(),
        hubs: emulator.hub_connection_strings(),
        ca_der: emulator.ca_der().to_vec(),
    };
    (services, Arc::new(Pipes(emulator)))
}

/// Connects through memory.
struct Pipes(Emulator);

impl Connector for Pipes {
    fn connect<'a>(&'a self, _host: &'a str, port: Port) -> Connecting<'a> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let door = match port {
            Port::Mqtt => Door::Mqtt,
            Port::Https => Door::Https,
        };
        self.0.accept(far, door);
        Box::pin(std::future::ready(Ok(Box::new(near) as BoxedStream)))
    }
}
