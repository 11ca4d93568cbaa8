//! Storms in which every byte goes through mutual TLS: through memory in virtual time, or through
//! sockets of the loopback interface in real time.
//!
//! The devices are driven by the fleet of every run, so the state machines, the limits, the counts
//! and the forecast are those of a storm without TLS; only what lies between is real.

mod cost;
mod prologue;

use std::fmt;
use std::iter;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use linarite_env::{Clock, UnixMillis};
use tokio::sync::Notify;

use super::field::{after, past_of};
use super::outcome::Outcome;
use super::progress::Progress;
use super::tally::Tally;
use super::{Opening, Plan, name_of};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::lab::LabMode;
use crate::observation::{DeviceIndex, Observation, Observer};
use crate::plan::{DevicePlan, Past, Window};
use cost::Cost;

pub use cost::WireFigures;

/// Handshakes the fleet makes at a time, as in every run.
const HANDSHAKES_AT_ONCE: usize = 64;

/// Devices for which the ports of one loopback address do for certain: each takes two, one of
/// which rests for a minute after it was closed, and Linux has 28,000.
const DEVICES_BY_ADDRESS: u32 = 10_000;

/// Descriptors besides the devices': what the process itself has open, and connections that are
/// being closed while the next are opened.
const DESCRIPTORS_SPARE: u64 = 256;

/// Real time between two looks at a fleet to which nothing happens.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Later than any storm ends.
const FOR_EVER: Duration = Duration::from_secs(400 * 86_400);

/// What lies between the devices and their services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: packets are handed over, and time is virtual.
    Nothing,
    /// Mutual TLS through memory, in virtual time.
    Pipes,
    /// Mutual TLS through sockets of the loopback interface, in real time.
    Sockets,
}

impl Over {
    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Pipes => "tls",
            Self::Sockets => "tcp",
        }
    }

    /// How so many devices reach the emulator.
    pub(super) fn mode(self, devices: u32) -> LabMode {
        match self {
            Self::Nothing | Self::Pipes => LabMode::InMemory,
            Self::Sockets if devices <= DEVICES_BY_ADDRESS => LabMode::Loopback,
            Self::Sockets => {
                let addresses = devices.div_ceil(DEVICES_BY_ADDRESS);
                let addresses = u8::try_from(addresses).unwrap_or(u8::MAX);
                LabMode::LoopbackFrom { addresses }
            }
        }
    }
}

impl FromStr for Over {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Nothing, Self::Pipes, Self::Sockets];
        let named = all.into_iter().find(|over| over.name() == text);
        named.ok_or_else(|| format!("`{text}` is no wire; known are none, tls and tcp"))
    }
}

/// Descriptors that `devices` take, both ends of a connection being in this process.
const fn descriptors(devices: u32) -> u64 {
    2 * devices as u64 + DESCRIPTORS_SPARE
}

/// Checks that `devices` have descriptors enough where the process may have `allowed`.
fn check_descriptors(devices: u32, allowed: u64) -> anyhow::Result<()> {
    let (wanted, most) = (
        descriptors(devices),
        allowed.saturating_sub(DESCRIPTORS_SPARE) / 2,
    );
    ensure!(
        wanted <= allowed,
        "{devices} devices over sockets take {wanted} file descriptors, and this process may open \
         {allowed}; raise the limit (ulimit -Hn {wanted}), take at most --devices {most}, or use \
         --over tls, which needs none",
    );
    Ok(())
}

/// Tries `plan` with TLS; see [`super::run`].
pub(super) fn run(plan: &Plan, shown: bool, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let mut builder = match plan.over {
        Over::Nothing | Over::Pipes => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.start_paused(true);
            builder
        }
        Over::Sockets => {
            let allowed = rlimit::increase_nofile_limit(u64::MAX);
            let allowed = allowed.context("cannot raise the limit of file descriptors")?;
            check_descriptors(plan.devices, allowed)?;
            tokio::runtime::Builder::new_multi_thread()
        }
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(Box::pin(try_out(plan, shown, interrupt)));
    if interrupt.is_asked() {
        // The process is about to end, and a hundred thousand handshakes take seconds to put down.
        std::mem::forget(runtime);
    }
    outcome
}

async fn try_out(plan: &Plan, shown: bool, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let mut opening = Opening::of(plan).await?;
    // Made before the first device arrives: a device has its certificate from the factory.
    let devices = || {
        let all = (0..plan.devices).map(DeviceIndex);
        all.take_while(|_| !interrupt.is_asked())
    };
    let credentials = devices().map(|device| opening.stage.credential(device));
    let credentials: Vec<_> = credentials.collect::<Result<_, _>>()?;
    let pasts = prologue::play(&opening, plan, &credentials, (shown, interrupt)).await?;
    opening.begins();
    let stage = &opening.stage;
    let next = devices().map(|device| stage.next_credential(device));
    let next: Vec<_> = next.collect::<Result<_, _>>()?;
    let plans = device_plans(plan, &opening.by_device, &pasts);

    let cost = Cost::now();
    let clock = &stage.env.clock;
    let tally = plan.tally(opening.by_device.clone());
    let progress = opening.progress(shown);
    let watch = Arc::new(Watch::new(clock.now_ms(), tally, progress));
    stage.fail_over().await?;
    let fleet = Fleet::start(
        plans,
        stage.lab.services.clone(),
        Arc::clone(&stage.lab.connector),
        stage.env.clone(),
        Arc::clone(&watch) as _,
        HANDSHAKES_AT_ONCE,
    )?;
    let storm = async {
        for ((index, credential), next) in (0..).zip(credentials).zip(next) {
            for credential in iter::once(credential).chain(next) {
                fleet.store(DeviceIndex(index), credential).await?;
            }
        }
        watch.until_over(plan.give_up, clock).await;
        anyhow::Ok(())
    };
    let showing = (shown && plan.over == Over::Sockets)
        .then(|| tokio::spawn(Arc::clone(&watch).keep_showing(clock.clone())));
    tokio::select! {
        biased;
        () = interrupt.asked() => {}
        ended = storm => ended?,
    }
    if let Some(showing) = showing {
        showing.abort();
    }
    let cost = Cost::now().since(&cost);
    let (tally, connected) = watch.close();
    let mut outcome = opening.outcome(plan, &tally, interrupt);
    outcome.wire = Some(WireFigures::new(plan, connected, cost));
    // What was interrupted does not wait for anybody.
    if !interrupt.is_asked() {
        fleet.stop().await;
        opening.stage.lab.stop().await;
    }
    Ok(outcome)
}

/// What the fleet is made of: each device is switched on when it arrives, with what it knows by
/// then, and stays on.
fn device_plans(plan: &Plan, arrivals: &[u64], pasts: &[Past]) -> Vec<DevicePlan> {
    let firmware = Arc::new(plan.firmware());
    let awake: Arc<[Window]> = Arc::from([Window {
        from: Duration::ZERO,
        until: FOR_EVER,
    }]);
    let device = |(index, arrival): (u32, &u64)| DevicePlan {
        index: DeviceIndex(index),
        registration_id: name_of(index).into(),
        firmware: Arc::clone(&firmware),
        windows: Arc::clone(&awake),
        lag: Duration::from_millis(*arrival),
        telemetry_every: Duration::ZERO,
        faults: None,
        past: { pasts.get(index as usize) }.and_then(|past| plan.remembered(past.clone())),
    };
    (0..).zip(arrivals).map(device).collect()
}

/// Counts what the fleet observes, and says when all are served.
struct Watch {
    origin: UnixMillis,
    seen: Mutex<Seen>,
    done: Notify,
}

struct Seen {
    /// None once the counts were taken.
    tally: Option<Tally>,
    progress: Progress,
    /// Devices that are connected now.
    connected: u32,
    /// What each device was told last of where it belongs.
    pasts: Vec<Option<Past>>,
}

impl Watch {
    fn new(origin: UnixMillis, tally: Tally, progress: Progress) -> Self {
        let seen = Seen {
            pasts: vec![None; tally.served.len()],
            tally: Some(tally),
            progress,
            connected: 0,
        };
        Self {
            origin,
            seen: Mutex::new(seen),
            done: Notify::new(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_start(&self, at: UnixMillis) -> u64 {
        u64::try_from(at.since(self.origin)).unwrap_or(0)
    }

    fn stalls_at_ms(&self) -> Option<u64> {
        self.seen().tally.as_ref()?.stalls_at_ms()
    }

    /// Waits until every device is served, or nothing is to be hoped for any more, or for
    /// `give_up`; which of them it was can be told from the counts.
    async fn until_over(&self, give_up: Duration, clock: &Clock) {
        let end = after(self.origin, give_up);
        let all_served = self.done.notified();
        tokio::pin!(all_served);
        loop {
            let stalls_at = self.stalls_at_ms();
            let stalls_at = stalls_at.map(|ms| after(self.origin, Duration::from_millis(ms)));
            let until = stalls_at.map_or(end, |stalls_at| stalls_at.min(end));
            // Nobody has got further since the last look.
            if until <= clock.now_ms() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut all_served => return,
                () = clock.sleep_until(until) => {}
            }
        }
    }

    /// Shows how far the fleet is, though nothing happens to it. In virtual time nothing waits that
    /// could be shown.
    async fn keep_showing(self: Arc<Self>, clock: Clock) {
        loop {
            tokio::time::sleep(SHOW_EVERY).await;
            let at_ms = self.since_start(clock.now_ms());
            let mut seen = self.seen();
            let Seen {
                tally: Some(tally),
                progress,
                ..
            } = &mut *seen
            else {
                return;
            };
            progress.look(at_ms, tally);
        }
    }

    /// The counts, and how many devices are connected; nothing is counted after, and who asks again
    /// is told of no device.
    fn close(&self) -> (Tally, u32) {
        let mut seen = self.seen();
        let tally = seen.tally.take();
        let tally = tally.unwrap_or_else(|| Tally::new(Vec::new(), None));
        (tally, seen.connected)
    }

    /// What those know of where they belong who were connected; nothing is noted after.
    fn pasts(&self) -> Vec<Past> {
        let (tally, _) = self.close();
        let pasts = std::mem::take(&mut self.seen().pasts);
        let served = { pasts.into_iter().zip(tally.served) }.filter(|(_, served)| served.is_some());
        served.filter_map(|(past, _)| past).collect()
    }
}

impl Observer for Watch {
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation) {
        let (at_ms, index) = (self.since_start(at), device.0 as usize);
        let mut seen = self.seen();
        let Seen {
            tally: Some(tally),
            progress,
            connected,
            pasts,
        } = &mut *seen
        else {
            // The counts were taken; the fleet is being stopped.
            return;
        };
        match observation {
            Observation::SessionOpened { .. } => *connected += 1,
            Observation::SessionClosed { .. } => *connected = connected.saturating_sub(1),
            _ => {}
        }
        if let Some(past) = past_of(&observation) {
            pasts[index] = Some(past);
        }
        let served = tally.note(index, at_ms, &observation);
        progress.tick(at_ms, tally);
        if served && tally.all_served() {
            self.done.notify_one();
        }
    }

    fn poll_put_off(&self, at: UnixMillis) {
        let at_ms = self.since_start(at);
        if let Some(tally) = &mut self.seen().tally {
            tally.poll_put_off(at_ms);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
