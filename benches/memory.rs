//! How much memory does a connected, idle device take on the emulator's side?
//!
//! Unit: bytes on the heap of the serving process for each connection, as its allocator counts
//! them. The server runs in a process of its own, so the clients' memory does not count; sockets
//! are real, and what the kernel keeps for them is left out on both sides.
//! Yardstick: a server of rustls and tokio that has done the handshake and waits for a byte.
//!
//! Estimate: rustls keeps about 8 kB for each connection, client certificates included, and a task
//! 1 kB more. A session of ours adds read buffer, timer, mailbox and its entry at the hub, 1 to
//! 2 kB; the registration record and the identity, which stay when the device leaves, add 2 kB.
//!
//! A counting allocator slows every allocation down, which is why this is not a module of the
//! other bench.

mod common;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use linarite::endpoint::Connector;
use linarite::tls::Client;
use linarite_emulator::tls;
use linarite_env::Clock;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use common::bare;
use common::client::{Line, register};
use common::process::{self, Server};
use common::ratio::{self, filter, thorough};
use common::stage::{self, DPS, HUB, ISSUER};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // As many as there may be; a shortage shows as a refused connection.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let wanted = process::wanted().map(|(kind, _)| kind);
    match wanted.as_deref() {
        Some("emulator") => runtime.block_on(serve_emulator()),
        Some(_) => runtime.block_on(serve_bare()),
        // Asked what tests there are, or for another question: none by that name.
        None if arguments.iter().any(|argument| argument == "--list") => Ok(()),
        None if filter().is_some_and(|wanted| !"memory".contains(&wanted)) => Ok(()),
        None => {
            let mut lines = Vec::new();
            let counts: &[usize] = if thorough() {
                &[1000, 4000, 10_000]
            } else {
                &[8]
            };
            for &count in counts {
                lines.extend(runtime.block_on(Box::pin(measure(count)))?);
            }
            ratio::print(&lines);
            Ok(())
        }
    }
}

// === the serving process ===

/// Bytes on the heap of this process.
fn heap_bytes() -> Value {
    let stats = ALLOCATOR.stats();
    json!(stats.bytes_allocated - stats.bytes_deallocated)
}

async fn serve_emulator() -> anyhow::Result<()> {
    let (_emulator, announcement) = process::emulator().await?;
    process::serve(&announcement, heap_bytes).await
}

async fn serve_bare() -> anyhow::Result<()> {
    let clock = Clock::system();
    let identity = bare::identity(&clock)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&identity, &clock, false)?));
    let ca = identity.chain.last().context("the server has no CA")?;
    let announcement = process::handshakes(acceptor, ca).await?;
    process::serve(&announcement, heap_bytes).await
}

// === the measuring process ===

/// Bytes on the server's heap, once they stay the same for a while.
async fn heap(server: &mut Server) -> anyhow::Result<f64> {
    let mut last = None;
    for _ in 0..200 {
        let bytes = server.ask()?.as_f64().context("not a number")?;
        if last.replace(bytes) == Some(bytes) {
            return Ok(bytes);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the server's heap does not come to rest")
}

async fn measure(count: usize) -> anyhow::Result<Vec<ratio::Line>> {
    let bare = measure_bare(count).await?;
    let ours = measure_emulator(count).await?;
    let line = |figure, ours: f64, reach| ratio::Line {
        figure,
        yardstick: "idle rustls server connection",
        ours: format!("{ours:.0} B"),
        theirs: format!("{bare:.0} B"),
        ratio: ours / bare,
        spread: None,
        reach,
    };
    let (connection, whole) = match count {
        10_000 => (
            "idle connection, of 10,000",
            "the same with the device's records",
        ),
        4000 => (
            "idle connection, of 4,000",
            "the same with the device's records",
        ),
        1000 => (
            "idle connection, of 1,000",
            "the same with the device's records",
        ),
        _ => ("idle connection", "the same with the device's records"),
    };
    Ok(vec![
        line(connection, ours.connection, Some(2.0)),
        line(whole, ours.connection + ours.records, None),
    ])
}

async fn measure_bare(count: usize) -> anyhow::Result<f64> {
    let mut server = Server::start("bare")?;
    let clock = Clock::system();
    let pki = stage::authorities()?;
    let client = Client::new(&server.ca()?, &clock)?;
    let address = server.address("mqtt")?;
    let mut open = Vec::with_capacity(count);
    let mut before = 0.0;
    // The first one is not counted: it pays for what all have in common.
    for number in 0..=count {
        let credential = stage::credential(&pki, ISSUER, &name(number), 1)?;
        let stream = TcpStream::connect(address).await?;
        let tls = client.connector(Some(&credential))?;
        let mut stream = tls.connect(ServerName::try_from(HUB)?, stream).await?;
        stream.read_u8().await?;
        open.push(stream);
        if number == 0 {
            before = heap(&mut server).await?;
        }
    }
    Ok(each(heap(&mut server).await? - before, count))
}

/// Bytes for each device.
struct Memory {
    connection: f64,
    records: f64,
}

async fn measure_emulator(count: usize) -> anyhow::Result<Memory> {
    let mut server = Server::start("emulator")?;
    let clock = Clock::system();
    let pki = stage::authorities()?;
    let (services, connector) = server.services()?;
    stage::enroll_group(&services, Arc::clone(&connector), &clock, &pki).await?;
    let client = Client::new(&services.ca_der, &clock)?;
    let dps = (DPS, services.id_scope.as_str());

    let mut devices = Vec::with_capacity(count + 1);
    let mut open = Vec::with_capacity(count + 1);
    let mut empty = 0.0;
    // The first one is not counted: it pays for what all have in common.
    for number in 0..=count {
        let id = name(number);
        let credential = stage::credential(&pki, ISSUER, &id, 1)?;
        let tls = client.connector(Some(&credential))?;
        register(&connector, &tls, dps, &id).await?;
        if number == 0 {
            open.push(enter(&*connector, &tls, &id).await?);
            empty = heap(&mut server).await?;
        } else {
            devices.push((id, tls));
        }
    }
    let registered = heap(&mut server).await?;
    for (id, tls) in &devices {
        open.push(enter(&*connector, tls, id).await?);
    }
    let connected = heap(&mut server).await?;
    Ok(Memory {
        connection: each(connected - registered, count),
        records: each(registered - empty, count),
    })
}

async fn enter(
    connector: &dyn Connector,
    tls: &tokio_rustls::TlsConnector,
    id: &str,
) -> anyhow::Result<Line> {
    let mut line = Line::open(connector, tls, HUB).await?;
    line.connect(HUB, id).await?;
    line.telemetry(id, 1).await?;
    Ok(line)
}

fn name(number: usize) -> String {
    format!("dev-{number:06}")
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn each(bytes: f64, count: usize) -> f64 {
    bytes / count as f64
}
