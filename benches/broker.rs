//! How does a hub compare with an ordinary broker, and how long do its calls take?
//!
//! Units: wall time and CPU time of the serving process for each connection with mutual TLS, and
//! for each message at QoS 1 with properties of its own. Yardsticks: mosquitto, with the same
//! client, the same certificates and the same packets; for connections also a server of rustls that
//! verifies the client's chain, answers with one byte, and does nothing else. Then the time until
//! an HTTPS call returns, over that of a call that asks nothing.
//!
//! All servers are processes of their own with one thread that serves; the client has another.
//! The client's work is the same for all, so the ratio of wall times understates a difference
//! between the servers; that of their CPU times does not. Without mosquitto its lines are left out.
//!
//! Estimate: a handshake with a client certificate costs a server some 300 µs, and mosquitto checks
//! the chain, which is the work of the rules here. A message at QoS 1 costs 1 to 2 µs of packets
//! and TLS and four system calls, which dominate on both sides.

mod common;
#[path = "broker/mosquitto.rs"]
mod mosquitto;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http::Method;
use linarite::endpoint::{BoxedStream, Connecting, Connector, Port, Services};
use linarite::service_client::{Authorization, Call, ConnectionString, ServiceClient};
use linarite::tls::Client;
use linarite::wire::{Packet, hub};
use linarite_env::Clock;
use mimalloc::MiMalloc;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use common::bare;
use common::client::{Line, register};
use common::cost::{cost, lines_of};
use common::process::{self, Server};
use common::ratio::{self, filter, quantile, thorough};
use common::stage::{self, DPS, HUB, ISSUER, ROOT};
use mosquitto::Mosquitto;

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How many devices wait for their connection at a time.
const AT_ONCE: usize = 32;

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Turns of each server.
    rounds: usize,
    /// Devices that connect in a turn, and that are connected while messages are sent.
    connects: usize,
    devices: usize,
    /// Messages of each device in a turn.
    messages: u32,
    /// HTTPS calls of each kind.
    calls: usize,
}

fn main() -> anyhow::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if let Some((kind, told)) = process::wanted() {
        return runtime.block_on(serve(&kind, &told));
    }
    let is_asked = filter().is_none_or(|wanted| "broker".contains(&wanted));
    if !is_asked || std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let effort = if thorough() {
        Effort {
            rounds: 7,
            connects: 1000,
            devices: 4000,
            messages: 10,
            calls: 5000,
        }
    } else {
        Effort {
            rounds: 1,
            connects: 4,
            devices: 8,
            messages: 2,
            calls: 5,
        }
    };
    let lines = runtime.block_on(Box::pin(measure(effort)))?;
    ratio::print(&lines);
    Ok(())
}

/// The server of bare handshakes.
const BARE: &str = "bare";

/// Serves as an emulator, or bare handshakes of who shows a chain up to the root `told`, in base64.
async fn serve(kind: &str, told: &str) -> anyhow::Result<()> {
    if kind != BARE {
        let (_emulator, announcement) = process::emulator().await?;
        return process::serve(&announcement, || Value::Null).await;
    }
    let clock = Clock::system();
    let identity = bare::identity(&clock)?;
    let root = CertificateDer::from(BASE64.decode(told)?);
    let acceptor = bare::ordinary(&identity, root, &clock)?;
    let ca = identity.chain.last().context("the server has no CA")?;
    let announcement = process::handshakes(acceptor, ca).await?;
    process::serve(&announcement, || Value::Null).await
}

/// A device and how it shows its certificate.
type Device = (String, TlsConnector);

/// A server that devices connect to.
struct Broker {
    connector: Arc<dyn Connector>,
    devices: Vec<Device>,
    process: u32,
    /// Whether it answers a CONNECT; one that does not says by a byte that the handshake is done.
    speaks: bool,
}

async fn measure(effort: Effort) -> anyhow::Result<Vec<ratio::Line>> {
    let clock = Clock::system();
    let pki = stage::authorities()?;
    let server = Server::start("emulator")?;
    let (services, connector) = server.services()?;
    stage::enroll_group(&services, Arc::clone(&connector), &clock, &pki).await?;
    let count = effort.devices.max(effort.connects);
    let credentials = (0..count)
        .map(|number| {
            let id = format!("dev-{number:06}");
            Ok((stage::credential(&pki, ISSUER, &id, 1)?, id))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let devices_of = |ca: &[u8]| -> anyhow::Result<Vec<Device>> {
        let client = Client::new(ca, &clock)?;
        let shown = credentials
            .iter()
            .map(|(credential, id)| Ok((id.clone(), client.connector(Some(credential))?)));
        shown.collect()
    };
    let devices = devices_of(&services.ca_der)?;
    for (id, tls) in &devices {
        register(&connector, tls, (DPS, &services.id_scope), id).await?;
    }
    let ours = Broker {
        connector,
        devices,
        process: server.process(),
        speaks: true,
    };
    let root = BASE64.encode(pki.certificate_der(ROOT)?);
    let server = Server::start_told(BARE, &root)?;
    let bare = Broker {
        connector: Arc::new(To(server.address("mqtt")?)),
        devices: devices_of(&server.ca()?)?,
        process: server.process(),
        speaks: false,
    };

    let mut lines = Vec::new();
    match Mosquitto::start(&pki).await? {
        None => {
            say_it_is_missing();
            lines.extend(connects(effort, &ours, &[("a bare handshake", &bare)]).await?);
        }
        Some(broker) => {
            let devices = devices_of(&broker.ca_der)?;
            let connector: Arc<dyn Connector> = Arc::new(To(broker.tls));
            let theirs = Broker {
                connector,
                devices,
                process: broker.process(),
                speaks: true,
            };
            let yardsticks = [
                ("mosquitto with mTLS", &theirs),
                ("a bare handshake", &bare),
            ];
            lines.extend(connects(effort, &ours, &yardsticks).await?);
            lines.extend(messages(effort, &ours, &theirs, &broker).await?);
        }
    }
    lines.extend(calls(effort, &services, &ours, &clock).await?);
    Ok(lines)
}

#[expect(clippy::print_stderr, reason = "why lines are missing from the table")]
fn say_it_is_missing() {
    eprintln!("mosquitto is not installed, so there is nothing to compare with");
}

// === connections and messages ===

/// Connections, each beside those to every one of the yardsticks.
async fn connects(
    effort: Effort,
    ours: &Broker,
    yardsticks: &[(&'static str, &Broker)],
) -> anyhow::Result<Vec<ratio::Line>> {
    let others = yardsticks.iter().map(|(_, broker)| *broker);
    let brokers: Vec<&Broker> = std::iter::once(ours).chain(others).collect();
    let mut costs = vec![Vec::new(); brokers.len()];
    for round in 0..effort.rounds {
        let mut turns: Vec<usize> = (0..brokers.len()).collect();
        turns.rotate_left(round % brokers.len());
        for index in turns {
            let broker = brokers[index];
            let all = async {
                let lines = open(broker, effort.connects).await?;
                anyhow::ensure!(lines.len() == effort.connects, "not all connected");
                Ok(())
            };
            costs[index].push(cost(broker.process, effort.connects, all).await?);
            // The server sees them leave before the next turn.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    let figures = ["mTLS connect: wall", "mTLS connect: CPU of the server"];
    let promised = [Some(1.0 / 1.5), None];
    let mut lines = Vec::new();
    for (((name, _), theirs), reach) in yardsticks.iter().zip(&costs[1..]).zip(promised) {
        lines.extend(lines_of(figures, &costs[0], (name, theirs), reach));
    }
    Ok(lines)
}

/// Opens the sessions of the first `count` devices, some at a time.
async fn open(broker: &Broker, count: usize) -> anyhow::Result<Vec<(String, Line)>> {
    let mut waiting = JoinSet::new();
    let mut lines = Vec::with_capacity(count);
    for (id, tls) in &broker.devices[..count] {
        if waiting.len() == AT_ONCE {
            lines.push(waiting.join_next().await.context("nobody waits")???);
        }
        let (connector, id, tls) = (Arc::clone(&broker.connector), id.clone(), tls.clone());
        let speaks = broker.speaks;
        waiting.spawn(async move {
            let mut line = Line::open(&*connector, &tls, HUB).await?;
            match speaks {
                true => line.connect(HUB, &id).await?,
                false => line.be_let_in().await?,
            }
            anyhow::Ok((id, line))
        });
    }
    while let Some(line) = waiting.join_next().await {
        lines.push(line??);
    }
    Ok(lines)
}

async fn messages(
    effort: Effort,
    ours: &Broker,
    theirs: &Broker,
    broker: &Mosquitto,
) -> anyhow::Result<Vec<ratio::Line>> {
    let mut hub = open(ours, effort.devices).await?;
    let mut plain = Vec::with_capacity(effort.devices);
    for (id, _) in &theirs.devices[..effort.devices] {
        let stream = TcpStream::connect(broker.plain).await?;
        stream.set_nodelay(true)?;
        let mut line = Line::over(stream);
        line.connect(HUB, id).await?;
        plain.push((id.clone(), line));
    }
    let each = effort.messages;
    let count = effort.devices * usize::try_from(each)?;
    let (mut table, mut sent) = (Vec::new(), 0);
    for (figures, window) in [(ONE_BY_ONE, 1), (IN_BURSTS, BURST)] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..effort.rounds {
            let mine = send(&mut hub, sent..sent + each, window);
            costs[0].push(cost(ours.process, count, mine).await?);
            let other = send(&mut plain, sent..sent + each, window);
            costs[1].push(cost(theirs.process, count, other).await?);
            sent += each;
        }
        let [ours, theirs] = &costs;
        let yardstick = ("mosquitto over bare TCP", theirs.as_slice());
        table.extend(lines_of(figures, ours, yardstick, Some(1.0 / 1.5)));
    }
    Ok(table)
}

/// Messages that a device sends before it waits for acknowledgements.
const BURST: usize = 10;

const ONE_BY_ONE: [&str; 2] = [
    "QoS 1 message over mTLS: wall",
    "QoS 1 message over mTLS: CPU of the server",
];

const IN_BURSTS: [&str; 2] = [
    "the same, ten at a time: wall",
    "the same, ten at a time: CPU of the server",
];

/// Lets every device send messages, `window` at a time, each with a message id of its own; all
/// devices at once.
async fn send<S>(
    lines: &mut Vec<(String, Line<S>)>,
    sequences: Range<u32>,
    window: usize,
) -> anyhow::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut sending = JoinSet::new();
    for (id, mut line) in lines.drain(..) {
        let sequences = sequences.clone();
        sending.spawn(async move {
            for first in sequences.clone().step_by(window) {
                let last = sequences.end.min(first + u32::try_from(window)?);
                line.burst(&id, first..last).await?;
            }
            anyhow::Ok((id, line))
        });
    }
    while let Some(line) = sending.join_next().await {
        lines.push(line??);
    }
    Ok(())
}

// === calls over HTTPS ===

async fn calls(
    effort: Effort,
    services: &Services,
    ours: &Broker,
    clock: &Clock,
) -> anyhow::Result<Vec<ratio::Line>> {
    let connector = Arc::clone(&ours.connector);
    let client = ServiceClient::new(services, connector, clock.clone())?;
    let hub_string = services.hubs.first().context("there is no hub")?;
    let owner = Authorization::Sas(Arc::new(ConnectionString::parse(&hub_string.1)?));
    let mut lines = open(ours, 1).await?;
    let (id, line) = lines.pop().context("nobody connected")?;
    tokio::spawn(answer_methods(line));
    let ask = async |method: &Method, path: &str, body: &Option<Value>| {
        let call = Call {
            method: method.clone(),
            host: HUB,
            path: format!("{path}?api-version=2021-04-12"),
            authorization: &owner,
            if_match: None,
            body: body.clone(),
        };
        let begun = Instant::now();
        client.send(&call).await?;
        anyhow::Ok(begun.elapsed().as_secs_f64())
    };
    let method = json!({ "methodName": "reprovision", "responseTimeoutInSeconds": 30,
        "connectTimeoutInSeconds": 10, "payload": {} });
    let patch =
        json!({ "tags": { "site": "north" }, "properties": { "desired": { "interval": 5 } } });
    let kinds = [
        (Method::GET, "/statistics/service".to_owned(), None),
        (Method::POST, format!("/twins/{id}/methods"), Some(method)),
        (Method::PATCH, format!("/twins/{id}"), Some(patch)),
    ];
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.calls {
        for (index, (method, path, body)) in kinds.iter().enumerate() {
            took[index].push(ask(method, path, body).await?);
        }
    }
    let [nothing, called, patched] = took;
    let at = |figure, values: &[f64], at| ratio::Line {
        figure,
        yardstick: "a call that asks nothing",
        ours: ratio::micros(quantile(values, at)),
        theirs: ratio::micros(quantile(&nothing, at)),
        ratio: quantile(values, at) / quantile(&nothing, at),
        spread: None,
        reach: None,
    };
    Ok(vec![
        at("direct method there and back, p50", &called, 0.5),
        at("direct method there and back, p99", &called, 0.99),
        at("twin patch, p50", &patched, 0.5),
        at("twin patch, p99", &patched, 0.99),
    ])
}

async fn answer_methods(mut line: Line) -> anyhow::Result<()> {
    line.send(&hub::subscribe_packet()).await?;
    loop {
        if let Packet::Publish(publish) = line.receive().await?
            && let Some(call) = hub::MethodCall::read(&publish.topic)
        {
            line.send(&call.answer(200)).await?;
        }
    }
}

/// Connects to one address, whatever the host is called.
struct To(std::net::SocketAddr);

impl Connector for To {
    fn connect<'a>(&'a self, _host: &'a str, _port: Port) -> Connecting<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(self.0).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}
