//! What do a thousand peers that say nothing cost those who mean to be served?
//!
//! Unit: wall time and CPU time of the serving process for each of 40 devices, all at once, until
//! it has registered, entered its hub and sent one message, while 400 peers send nothing, 400 send
//! half a ClientHello, and 200 wait after their handshake.
//! Yardstick: the same without them.
//!
//! The server is a process of its own with one thread that serves; sockets and time are real. How
//! the silent ones are ended in the end is for `tests/silent.rs` to say; here they are all there
//! until the last device is served, or the bench fails.
//!
//! Estimate: a silent peer is a parked task and an entry in a timer wheel. Nobody looks at it, so
//! the ratio is 1 but for the caches that 1,000 connections have passed through.

mod common;

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use linarite::endpoint::{Connector, Services};
use linarite::pki::Pki;
use linarite::tls::Client;
use linarite_env::Clock;
use mimalloc::MiMalloc;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio_rustls::TlsConnector;

use common::client::{Line, register};
use common::cost::{cost, lines_of};
use common::process::{self, Server};
use common::ratio::{self, filter, thorough};
use common::stage::{self, DPS, HUB, ISSUER};

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The beginning of a record that announces 512 bytes of handshake.
const HALF_A_HELLO: [u8; 11] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];

/// How many there are of each kind.
#[derive(Clone, Copy)]
struct Crowd {
    rounds: usize,
    honest: usize,
    /// Peers that send nothing at all, and as many that send half a ClientHello.
    mute: usize,
    /// Peers that finish the handshake, then neither send nor read.
    idle: usize,
}

fn main() -> anyhow::Result<()> {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if process::wanted().is_some() {
        return runtime.block_on(serve());
    }
    let is_asked = filter().is_none_or(|wanted| "silent".contains(&wanted));
    if !is_asked || std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let crowd = match thorough() {
        true => Crowd {
            rounds: 15,
            honest: 40,
            mute: 400,
            idle: 200,
        },
        false => Crowd {
            rounds: 1,
            honest: 2,
            mute: 3,
            idle: 2,
        },
    };
    let lines = runtime.block_on(Box::pin(measure(crowd)))?;
    ratio::print(&lines);
    Ok(())
}

async fn serve() -> anyhow::Result<()> {
    let (_emulator, announcement) = process::emulator().await?;
    process::serve(&announcement, || Value::Null).await
}

async fn measure(crowd: Crowd) -> anyhow::Result<Vec<ratio::Line>> {
    let clock = Clock::system();
    let pki = stage::authorities()?;
    let server = Server::start("emulator")?;
    let (services, connector) = server.services()?;
    stage::enroll_group(&services, Arc::clone(&connector), &clock, &pki).await?;
    let stranger = Client::new(&services.ca_der, &clock)?.connector(None)?;
    let fleet = Fleet::new(&pki, services, connector, &clock, crowd.honest)?;

    let address = server.address("mqtt")?;
    let mut costs = [Vec::new(), Vec::new()];
    fleet.be_served().await.context("warming up")?;
    for round in 0..crowd.rounds {
        let mut turns = [true, false];
        turns.rotate_left(round % 2);
        for silent in turns {
            let peers = match silent {
                true => Silent::arrive(crowd, address, &stranger).await?,
                false => Silent::default(),
            };
            let served = cost(server.process(), crowd.honest, fleet.be_served()).await?;
            costs[usize::from(!silent)].push(served);
            peers.check_they_are_there()?;
        }
    }
    let [beside, alone] = costs;
    Ok(lines_of(
        [
            "a device beside 1,000 silent peers: wall",
            "the same: CPU of the server",
        ],
        &beside,
        ("the same without them", &alone),
        None,
    ))
}

/// The devices that do everything right.
struct Fleet {
    devices: Vec<(String, TlsConnector)>,
    services: Services,
    connector: Arc<dyn Connector>,
}

impl Fleet {
    fn new(
        pki: &Pki,
        services: Services,
        connector: Arc<dyn Connector>,
        clock: &Clock,
        count: usize,
    ) -> anyhow::Result<Self> {
        let client = Client::new(&services.ca_der, clock)?;
        let device = |number| {
            let id = format!("good-{number:03}");
            let credential = stage::credential(pki, ISSUER, &id, 1)?;
            Ok((id, client.connector(Some(&credential))?))
        };
        Ok(Self {
            devices: (0..count).map(device).collect::<anyhow::Result<_>>()?,
            services,
            connector,
        })
    }

    /// Has all of them registered, connected and heard, at once.
    async fn be_served(&self) -> anyhow::Result<()> {
        try_join_all(self.devices.iter().map(async |(id, tls)| {
            let dps = (DPS, self.services.id_scope.as_str());
            register(&self.connector, tls, dps, id).await?;
            let mut line = Line::open(&*self.connector, tls, HUB).await?;
            line.connect(HUB, id).await?;
            line.telemetry(id, 1).await?;
            line.close().await
        }))
        .await?;
        Ok(())
    }
}

/// Peers that hold a connection and say nothing.
#[derive(Default)]
struct Silent(Vec<TcpStream>);

impl Silent {
    async fn arrive(
        crowd: Crowd,
        address: std::net::SocketAddr,
        stranger: &TlsConnector,
    ) -> anyhow::Result<Self> {
        let mut peers = Vec::new();
        for number in 0..2 * crowd.mute {
            let mut stream = TcpStream::connect(address).await?;
            if number >= crowd.mute {
                stream.write_all(&HALF_A_HELLO).await?;
            }
            peers.push(stream);
        }
        for _ in 0..crowd.idle {
            let stream = TcpStream::connect(address).await?;
            let stream = stranger.connect(ServerName::try_from(DPS)?, stream).await?;
            peers.push(stream.into_inner().0);
        }
        Ok(Self(peers))
    }

    /// None was ended in favour of others.
    fn check_they_are_there(&self) -> anyhow::Result<()> {
        let is_there = |stream: &TcpStream| {
            let read = stream.try_read(&mut [0; 1]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        let there = self.0.iter().filter(|stream| is_there(stream)).count();
        ensure!(
            there == self.0.len(),
            "{there} of {} are left",
            self.0.len()
        );
        Ok(())
    }
}
