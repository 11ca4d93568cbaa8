//! How close does a storm with TLS over sockets come to the handshakes that it cannot do without?
//!
//! Unit: wall time for each device, all of them arriving at once, without limits, until each is
//! registered and connected: two handshakes, in one process that holds both ends.
//! Yardstick: two bare mutual handshakes of rustls over TCP with chains of the same lengths, as
//! many at a time and on as many threads, both ends in this process.
//!
//! Wall time, because a storm uses all threads; so both take turns and ratios are taken within a
//! round. A storm includes the three seconds that DPS has each device wait for its poll; with few
//! devices they are most of it.

mod common;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use linarite::interrupt::Interrupt;
use linarite::storm::{Over, Plan};
use linarite_env::Clock;
use mimalloc::MiMalloc;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use common::bare::Bare;
use common::ratio::{self, Effort, Subject, filter, interleave, thorough};
use common::stage::{self, DPS, ISSUER};

/// That of the command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Handshakes at a time, as in a storm.
const AT_ONCE: u32 = 64;

fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == "--list")
        || filter().is_some_and(|wanted| !"storm".contains(&wanted))
    {
        return Ok(());
    }
    let devices = if thorough() { 9_500 } else { 8 };
    let mut subjects: [Subject<'_>; 2] = [Box::new(storm), Box::new(|devices| bare(2 * devices))];
    let effort = Effort {
        each: devices,
        ..Effort::new(thorough(), 5, 1)
    };
    let samples = interleave(effort, &mut subjects)?;
    let yardstick = ("2 handshakes over TCP", 1);
    let line = samples.line("device of a storm over TCP, wall", 0, yardstick, Some(1.25));
    ratio::print(&[line]);
    Ok(())
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

/// Wall time of so many mutual handshakes over TCP, both ends.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall clock")]
fn bare(handshakes: u32) -> anyhow::Result<Duration> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let pki = stage::authorities()?;
        let shown = stage::credential(&pki, ISSUER, "dev-1", 1)?;
        let ends = Bare::new(&pki, &shown, &Clock::system())?;
        let (acceptor, connector) = (ends.ordinary, ends.client);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let _ = acceptor.accept(stream).await;
                });
            }
        });
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for number in 0..AT_ONCE {
            let connector = connector.clone();
            let share = handshakes / AT_ONCE + u32::from(number < handshakes % AT_ONCE);
            clients.spawn(async move {
                for _ in 0..share {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    connector
                        .connect(ServerName::try_from(DPS)?, stream)
                        .await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(began.elapsed())
    })
}
