//! How long it takes until a whole fleet that comes back at once is served again under Azure's
//! limits, beside what arithmetic says it takes at the least.
//!
//! The devices are the state machines that every run drives, and the services are the emulator's
//! own sessions. Unless it is asked for ([`Over`]), TLS and the streams between them are left out,
//! and time is virtual, so that there may be a million of them.

pub mod arrival;
pub mod cause;
pub mod echo;
mod field;
pub mod forecast;
mod html;
mod junit;
pub mod outcome;
mod progress;
mod prologue;
mod stage;
mod tally;
mod text;
pub mod threshold;
pub mod waits;
mod wire;

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use linarite_core::hub::tier::Tier;
use linarite_core::throttle::RateLimit;
use linarite_env::{Clock, Env, UnixMillis};

use crate::firmware::{Firmware, OnThrottle, Trigger};
use crate::interrupt::Interrupt;
use crate::scenario::duration::Span;
use arrival::Arrival;
use cause::{Cause, Toll};
use echo::Echo;
use field::Field;
use forecast::Forecast;
use outcome::Outcome;
use progress::Progress;
use stage::Stage;
use tally::Tally;
use threshold::Threshold;
pub use wire::{Over, WireFigures};

/// 2026-01-01T00:00:00Z: when virtual time begins.
const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);

/// How long impatient firmware waits, whatever it is told.
const NAIVE_PAUSE: Duration = Duration::from_millis(500);

/// The limits a fleet has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registrations that DPS accepts in a minute; without a number as many as come (R-H1).
    pub registrations_per_minute: Option<NonZeroU32>,
    /// The tier of the hub; without one it has no limits (R-H4, R-H5).
    pub tier: Option<Tier>,
    /// R-H1: whether a request that is turned away counts against its limit like any other.
    pub refused_requests_count: bool,
}

impl Limits {
    /// R-H1.
    #[must_use]
    pub fn registrations(&self) -> Option<RateLimit> {
        self.registrations_per_minute.map(RateLimit::per_minute)
    }
}

/// How the devices' firmware takes being throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Waits as long as it is told, and then for a random time over which the whole fleet is
    /// spread (R-C12).
    Patient,
    /// Tries again every half second, whatever it is told.
    Naive,
}

impl Patience {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Naive => "naive",
        }
    }
}

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "patient" => Ok(Self::Patient),
            "naive" => Ok(Self::Naive),
            _ => Err(format!(
                "`{text}` is no firmware; known are patient and naive"
            )),
        }
    }
}

/// How long nobody may get a step further before a storm is given up, beside the firmware's waits.
const STALL: Duration = Duration::from_secs(600);

/// What is to be tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many devices there are.
    pub devices: u32,
    /// Why they come back.
    pub cause: Cause,
    /// When they come back.
    pub arrival: Arrival,
    /// What they have to pass.
    pub limits: Limits,
    /// How they take being throttled.
    pub patience: Patience,
    /// When the storm is given up, if it has not ended before.
    pub give_up: Duration,
    /// The seed of all chance.
    pub seed: u64,
    /// What lies between the devices and their services.
    pub over: Over,
    /// How long the certificates are good that devices get; none where nobody asks what comes then.
    pub certificate_life: Option<Span>,
    /// What it is held to beside that everybody be served.
    pub thresholds: Vec<Threshold>,
}

impl Default for Plan {
    /// A thousand patient devices for the first time and at once, without limits, TLS or thresholds.
    fn default() -> Self {
        Self {
            devices: 1_000,
            cause: Cause::FirstBoot,
            arrival: Arrival::AtOnce,
            limits: Limits {
                registrations_per_minute: None,
                tier: None,
                refused_requests_count: false,
            },
            patience: Patience::Patient,
            give_up: Duration::from_secs(30 * 86_400),
            seed: 1,
            over: Over::Nothing,
            certificate_life: None,
            thresholds: Vec::new(),
        }
    }
}

impl Plan {
    /// What each device has to pass.
    #[must_use]
    pub fn tolls(&self) -> Vec<Toll> {
        self.cause.tolls(&self.limits)
    }

    /// What comes when the certificates end that devices get, who come at `arrivals`, ascending. To
    /// renew one takes what a first registration does.
    fn echo(&self, arrivals: &[u64]) -> Option<Echo> {
        let life = self.certificate_life?;
        Some(Echo::new(
            arrivals,
            life,
            &Cause::FirstBoot.tolls(&self.limits),
        ))
    }

    /// How long a limit takes for the whole fleet at its pace, in milliseconds: the T of R-C12.
    fn span_ms(&self, limit: RateLimit) -> u64 {
        let whole = u64::from(self.devices) * u64::from(limit.window_ms.get());
        whole / u64::from(limit.count.get())
    }

    fn firmware(&self) -> Firmware {
        let spread_ms = self.limits.registrations().map(|limit| self.span_ms(limit));
        let like = Firmware {
            name: self.patience.name().to_owned(),
            trigger: match self.cause.rolls() {
                true => Trigger::Refusal,
                false => Trigger::Method,
            },
            ..Firmware::default()
        };
        match self.patience {
            Patience::Patient => Firmware {
                on_throttle: OnThrottle::Spread(Duration::from_millis(spread_ms.unwrap_or(0))),
                ..like
            },
            Patience::Naive => Firmware {
                on_throttle: OnThrottle::Insist(NAIVE_PAUSE),
                backoff_first: NAIVE_PAUSE,
                backoff_max: NAIVE_PAUSE,
                ..like
            },
        }
    }

    /// How long nobody may get a step further before nothing is to be hoped for any more; none
    /// where refusals are free, so that somebody always gets in.
    fn patience_with_all(&self) -> Option<Duration> {
        if !self.limits.refused_requests_count {
            return None;
        }
        let firmware = self.firmware();
        let spread = match firmware.on_throttle {
            OnThrottle::Spread(spread) | OnThrottle::Insist(spread) => spread,
            _ => Duration::ZERO,
        };
        // What is told is at most what one limit takes to come back twice: the bucket and the debt.
        let told = self.tolls().into_iter();
        let told = told.map(|toll| u64::from(toll.limit.window_ms.get()) * 2);
        let told = Duration::from_millis(told.max().unwrap_or(0));
        let longest = spread.max(firmware.backoff_max) + told;
        Some(STALL + longest * 2)
    }

    /// Counts for devices that are to come at `arrivals`.
    fn tally(&self, arrivals: Vec<u64>) -> Tally {
        let mut tally = Tally::new(arrivals, self.patience_with_all());
        tally.rolls = self.cause.rolls();
        tally.expect_nobody_before(self.cause.back_ms());
        tally
    }

    /// When each device arrives, in milliseconds since the start, by device.
    fn arrivals(&self, env: &Env) -> Vec<u64> {
        let spans = self.tolls().into_iter();
        let spans = spans.map(|toll| self.span_ms(toll.limit) * u64::from(toll.times));
        let slowest = spans.max();
        let slowest = slowest.unwrap_or(0);
        self.arrival.moments(self.devices, slowest, &env.entropy)
    }
}

/// Tries `plan` on a clock of its own, until it is over or interrupted, and tells on standard error
/// how it goes if that takes long and `shown`.
///
/// # Errors
/// If the emulator or the fleet cannot be set up; what a storm shows is no error.
pub fn run(plan: &Plan, shown: bool, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    if plan.over != Over::Nothing {
        return wire::run(plan, shown, interrupt);
    }
    run_with(plan, shown, true, interrupt)
}

/// The same without TLS; without `foresight` each poll is made, even one whose answer is known.
fn run_with(
    plan: &Plan,
    shown: bool,
    foresight: bool,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(Box::pin(async {
        let mut opening = Opening::of(plan).await?;
        let progress = opening.first_progress(shown);
        let held = prologue::play(&opening.stage, plan, progress, interrupt).await?;
        opening.begins();
        let (arrivals, progress) = (opening.by_device.clone(), opening.progress(shown));
        let mut field = Field::new(&opening.stage, plan, arrivals, progress);
        field.foresight = foresight;
        field.begin_with(held);
        opening.stage.fail_over().await?;
        field.run(interrupt).await?;
        let (tally, fleet) = field.close();
        let outcome = opening.outcome(plan, &tally, interrupt);
        // Nobody waits until a million sessions are closed one by one.
        std::thread::spawn(move || drop((fleet, opening.stage)));
        Ok(outcome)
    }))
}

/// What the device at this place of the fleet is called.
fn name_of(index: u32) -> String {
    format!("dev-{:07}", u64::from(index) + 1)
}

/// What every storm begins with, and is measured by in the end.
struct Opening {
    wall: Clock,
    began: UnixMillis,
    stage: Stage,
    /// When each device arrives, in milliseconds since the start: by device, and in order.
    by_device: Vec<u64>,
    arrivals: Vec<u64>,
    forecast: Forecast,
}

impl Opening {
    async fn of(plan: &Plan) -> anyhow::Result<Self> {
        let wall = Clock::system();
        let began = wall.now_ms();
        let env = Env::new(Clock::tokio(EPOCH), plan.seed);
        let by_device = plan.arrivals(&env);
        let stage = Stage::set_up(plan, env).await?;
        let mut arrivals = by_device.clone();
        arrivals.sort_unstable();
        Ok(Self {
            wall,
            began,
            stage,
            by_device,
            forecast: Forecast::once_back(plan.cause.back_ms(), &arrivals, &plan.tolls()),
            arrivals,
        })
    }

    /// From here on wall time counts.
    fn begins(&mut self) {
        self.began = self.wall.now_ms();
    }

    fn progress(&self, shown: bool) -> Progress {
        Progress::new(self.wall.clone(), Some(self.forecast.bound_ms), shown)
    }

    /// Of what comes before the storm.
    fn first_progress(&self, shown: bool) -> Progress {
        Progress::new(self.wall.clone(), None, shown)
    }

    fn outcome(&self, plan: &Plan, tally: &Tally, interrupt: &Interrupt) -> Outcome {
        let wall_ms = self.wall.now_ms().since(self.began);
        // One that is over has nothing left to interrupt.
        let interrupted = interrupt.is_asked() && !tally.all_served();
        let (arrivals, forecast) = (&self.arrivals, &self.forecast);
        Outcome::new(plan, arrivals, forecast, tally, wall_ms, interrupted)
    }
}

#[cfg(test)]
mod tests;
