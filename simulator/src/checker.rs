//! Judges a run: did any device lose service, was a message lost, was a retired certificate
//! still good for something.
//!
//! A [`Ledger`] hears both halves: what devices observe and what the emulator reports. It joins
//! them by device, keeps a bounded record of each, and gives [`Findings`] in the end. It knows
//! nothing of how either side works; what a certificate *ought* to be good for it is told by
//! the operator's side.

mod breach;
mod calls;
mod device;
mod entries;
mod judge;
mod lockout;
mod messages;
mod recovery;
mod retired;
mod spelling;
mod state;
mod steps;
mod story;
mod timeline;
mod trace;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linarite_env::{Events, Stamped, UnixMillis};

pub use judge::{Check, Downtime, Findings, MessageTotals, Offence, Registrations};
pub use recovery::Troubled;
pub use story::{Bin as ActivityBin, Moment, Refusals, Worst};
pub use timeline::{Counts, TimelinePoint};

use crate::observation::{DeviceIndex, Generation, Observation, Observer};
use state::State;

/// The checks by name, each with its letter in the definition of zero downtime.
pub const CHECKS: [(&str, &str); 10] = [
    ("never-stranded", "a"),
    ("gap-within-budget", "b"),
    ("messages-arrive-once", "c"),
    ("retired-credentials-refused", "d"),
    ("ends-on-new-certificate", "e"),
    ("fleet-took-part", ""),
    ("locked-out-refused", "d"),
    ("calls-answered", ""),
    ("operator-steps", ""),
    ("recovers", ""),
];

/// What of a step failed that was not to, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure(pub String);

/// What a run is measured by. All moments are on the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Start of the run; reported times count from here.
    pub origin: UnixMillis,
    /// From when on zero downtime is asked for.
    pub roll_from: UnixMillis,
    /// When the run ends.
    pub end: UnixMillis,
    /// Longest wait between sessions while awake, in milliseconds.
    pub gap_budget_ms: i64,
    /// Longest time a device may hold nothing that its hub would take, in milliseconds.
    pub stranded_budget_ms: i64,
    /// Certificates in the hands of a thief, and from when on nothing may accept them.
    pub breach: Option<(Generation, UnixMillis)>,
    /// Devices that are meant to be refused, one in so many, and from when on.
    pub locked_out: Option<(u32, UnixMillis)>,
    /// When something is made to go wrong, if it is.
    pub troubled: Option<Troubled>,
    /// The generation every device must end on.
    pub newest: Generation,
    /// How far two tasks' reports of one moment may be apart, in milliseconds; 0 on a paused
    /// clock.
    pub grace_ms: i64,
    /// How long before the end a message may be offered without being acknowledged, in
    /// milliseconds.
    pub settle_ms: i64,
}

impl Terms {
    /// Whether something may be made to go wrong at `at`, or not everybody be back from it.
    fn is_troubled(&self, at: i64) -> bool {
        self.troubled.is_some_and(|troubled| troubled.lasts(at))
    }
}

/// The names a device may go by.
#[derive(Clone, Debug)]
pub struct Names {
    /// Its registration id.
    pub registration_id: Arc<str>,
    /// Common names of its certificates where they differ from that.
    pub others: Vec<String>,
}

/// What became of one attempt to use a certificate that ought to be worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was let in.
    Accepted,
    /// It was refused.
    Refused,
    /// No answer came, so nothing is known.
    Unanswered(String),
}

/// A glance at the fleet for the progress line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Milliseconds since the start of the run.
    pub elapsed_ms: i64,
    /// Devices with an open session.
    pub connected: u32,
    /// Of these, with the newest generation.
    pub on_newest: u32,
    /// Refusals by DPS and the hubs so far.
    pub refused: u64,
}

/// Hears everything and forgets nothing that matters. Its memory per device is bounded.
pub struct Ledger {
    state: Mutex<State>,
}

impl Ledger {
    /// A ledger for devices in the order of their indexes.
    #[must_use]
    pub fn new(terms: Terms, devices: &[Names]) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(terms, devices)),
        })
    }

    /// Measures by `terms` from now on: for a run whose start had to be put off.
    pub fn put_off(&self, terms: Terms) {
        self.lock().terms = terms;
    }

    /// Asks that every device end with its one identity at `hub`.
    pub fn expect_hub(&self, hub: &str) {
        self.lock().ends_on = Some(hub.into());
    }

    /// Listens to the emulator from now on.
    pub fn listen(self: &Arc<Self>, events: &Events) {
        let ledger = Arc::clone(self);
        events.listen(move |stamped| ledger.hear(stamped));
    }

    /// Takes note of one event of the emulator.
    pub fn hear(&self, stamped: &Stamped) {
        self.lock().hear(stamped);
    }

    /// Takes note of the generations that, from `at` on, DPS ought to admit of each device, and
    /// of no other.
    pub fn admits(&self, at: UnixMillis, of: impl Fn(DeviceIndex) -> BTreeSet<Generation>) {
        let state = &mut *self.lock();
        for device in 0..u32::try_from(state.devices.len()).unwrap_or(u32::MAX) {
            state.retired.admits(device, at, of(DeviceIndex(device)));
        }
    }

    /// Takes note of an attempt with a certificate of `generation` on behalf of nobody.
    pub fn audited(
        &self,
        device: DeviceIndex,
        generation: Generation,
        place: &'static str,
        at: UnixMillis,
        outcome: AuditOutcome,
    ) {
        self.lock().audited(device, generation, place, at, outcome);
    }

    /// Takes note of the operator's next step, which began at `began`.
    pub fn step_taken(&self, began: UnixMillis, failure: Option<StepFailure>) {
        self.lock().steps.took(began.0, failure);
    }

    /// How the fleet is doing.
    #[must_use]
    pub fn glance(&self) -> Glance {
        self.lock().glance()
    }

    /// The verdict at `end`, after which nothing more should be heard.
    #[must_use]
    pub fn judge(&self, end: UnixMillis) -> Findings {
        judge::judge(&mut self.lock(), end)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Ledger {
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation) {
        self.lock().observe(device, at, &observation);
    }
}

#[cfg(test)]
mod tests;
