//! How close does a storm with TLS over sockets come to the handshakes that it cannot do without?
//!
//! Unit: wall time for each device, all of them arriving at once, without limits, until each is
//! registered and connected: two handshakes, in one process that holds both ends.
//! Yardstick: two bare mutual handshakes of rustls over TCP with chains of the same lengths, as
//! many at a time and on as many threads, both ends in this process. Once each connection ends with
//! its handshake, and once the second of the two stays open, as that to the hub does in a storm:
//! that yardstick pays for the memory of so many connections as well.
//!
//! Wall time, because a storm uses all threads; so all take turns, each in a process of its own, and
//! ratios are taken within a round. A storm includes the three seconds that DPS has each device wait
//! for its poll; with few devices they are most of it.

mod common;

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use linarite::interrupt::Interrupt;
use linarite::storm::{Over, Plan};
use linarite_env::Clock;
use mimalloc::MiMalloc;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use common::bare::Bare;
use common::process::{self, SERVE};
use common::ratio::{self, Effort, Subject, filter, interleave, thorough};
use common::stage::{self, DPS, ISSUER};

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Bytes that are touched for each device before a turn, several times what a storm takes.
const TOUCHED_EACH: usize = 150_000;

/// Bytes of the smallest piece of memory that a system gives.
const PAGE: usize = 4_096;

/// Handshakes at a time, as in a storm.
const AT_ONCE: u32 = 64;

/// What takes turns.
const STORM: &str = "storm";
const LEAVE: &str = "leave";
const STAY: &str = "stay";
/// What comes before each of them.
const MEMORY: &str = "memory";

fn main() -> anyhow::Result<()> {
    if let Some((kind, devices)) = process::wanted() {
        return take_turn(&kind, devices.parse()?);
    }
    if std::env::args().any(|argument| argument == "--list")
        || filter().is_some_and(|wanted| !"storm".contains(&wanted))
    {
        return Ok(());
    }
    let devices = if thorough() { 9_500 } else { 8 };
    let turn = |kind| -> Subject<'_> { Box::new(move |devices| turn(kind, devices)) };
    let mut subjects = [STORM, LEAVE, STAY].map(turn);
    let effort = Effort {
        each: devices,
        ..Effort::new(thorough(), 7, 1)
    };
    let samples = interleave(effort, &mut subjects)?;
    let yardsticks = [
        ("2 handshakes over TCP", 1),
        ("the same, one stays open", 2),
    ];
    let figure = "device of a storm over TCP, wall";
    let line = |yardstick| samples.line(figure, 0, yardstick, Some(1.25));
    ratio::print(&yardsticks.map(line));
    Ok(())
}

/// Wall time of a turn of `kind` with `devices`, in a process of its own as a storm of the command
/// is.
fn turn(kind: &str, devices: u32) -> anyhow::Result<Duration> {
    ask(MEMORY, devices)?;
    ask(kind, devices)
}

/// Has a process of its own take a turn, and gives what it says it took.
fn ask(kind: &str, devices: u32) -> anyhow::Result<Duration> {
    let mut command = Command::new(std::env::current_exe()?);
    let turn = command.args([SERVE, kind, &devices.to_string()]);
    let output = turn.stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(output.status.success(), "a turn of {kind} failed");
    let micros = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(Duration::from_micros(micros))
}

#[expect(clippy::print_stdout, reason = "the turn's answer to who started it")]
fn take_turn(kind: &str, devices: u32) -> anyhow::Result<()> {
    let took = match kind {
        STORM => storm(devices)?,
        LEAVE => bare(devices, After::Leave)?,
        STAY => bare(devices, After::Stay)?,
        MEMORY => touch(devices),
        other => anyhow::bail!("there is no turn of {other}"),
    };
    println!("{}", took.as_micros());
    Ok(())
}

/// Has the system hold as much memory as any other turn will want; it has it back when this process
/// ends. A virtual machine gets it from its host once more only after a while, and to get it from
/// there can cost a tenth of a storm, and tells of the host alone.
fn touch(devices: u32) -> Duration {
    let bytes = usize::try_from(devices).unwrap_or(0) * TOUCHED_EACH;
    let mut memory = vec![0_u8; bytes];
    memory.chunks_mut(PAGE).for_each(|page| page[0] = 1);
    black_box(&memory);
    Duration::ZERO
}

/// What becomes of every second connection after its handshake; the others end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Leave,
    Stay,
}

/// Wall time of a storm of `devices`, none of which may fail.
fn storm(devices: u32) -> anyhow::Result<Duration> {
    let plan = Plan {
        devices,
        give_up: Duration::from_secs(600),
        over: Over::Sockets,
        ..Plan::default()
    };
    let outcome = linarite::storm::run(&plan, false, &Interrupt::new())?;
    let failed = outcome.registrations.failed + outcome.connects.failed;
    anyhow::ensure!(outcome.all_served() && failed == 0, "a device failed");
    let wire = outcome.wire.context("a storm without its cost")?;
    Ok(Duration::from_millis(wire.wall_ms))
}

/// Wall time of two mutual handshakes over TCP for each of `devices`, both ends.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall clock")]
fn bare(devices: u32, after: After) -> anyhow::Result<Duration> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let pki = stage::authorities()?;
        let shown = stage::credential(&pki, ISSUER, "dev-1", 1)?;
        let ends = Bare::new(&pki, &shown, &Clock::system())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(listener, ends.ordinary, after));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..AT_ONCE {
            let share = devices / AT_ONCE + u32::from(number < devices % AT_ONCE);
            clients.spawn(connect(ends.client.clone(), address, share, after));
        }
        let mut open = Vec::new();
        while let Some(client) = clients.join_next().await {
            open.extend(client??);
        }
        Ok(began.elapsed())
    })
}

/// Shakes hands, and where connections may stay waits until the client leaves.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, after: After) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(mut stream) = acceptor.accept(stream).await
                && after == After::Stay
            {
                let _ = stream.read_u8().await;
            }
        });
    }
}

/// Shakes hands twice for each of `devices`; gives the connections that stay.
async fn connect(
    connector: TlsConnector,
    address: SocketAddr,
    devices: u32,
    after: After,
) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
    let mut open = Vec::new();
    for _ in 0..devices {
        for connection in 0..2 {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(DPS)?;
            let stream = connector.connect(name, stream).await?;
            if connection == 1 && after == After::Stay {
                open.push(stream);
            }
        }
    }
    Ok(open)
}
