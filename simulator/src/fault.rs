//! What goes wrong on purpose in a run, as data: which kind of fault, when, and for whom.
//!
//! The seed decides whom a fault meets and at which moments, before the run begins. Faults of
//! connections and of power are the fleet's own matter (`stream`, and `driver`); those of the
//! services need services that can be made to fail (`service`). The operator's function is the
//! run's own, and fails by itself (`function`).

pub mod service;
pub(crate) mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use linarite_env::Entropy;

use crate::scenario::pace::Pace;

/// Most faults a scenario may have.
pub const FAULTS_MAX: usize = 50;
/// Most moments at which one fault cuts connections.
pub const CUTS_MAX: u128 = 1000;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place among the faults of the file, from 1. Everything drawn for it hangs on that, so
    /// a run without one fault leaves the others as they were.
    pub number: u32,
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins, from the start of the run.
    pub from: Duration,
    /// When it is over.
    pub until: Duration,
    /// Whom it meets.
    pub share: Share,
}

/// A part of a whole: `hits` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// At least 1 and at most `of`.
    pub hits: u32,
    /// The whole.
    pub of: u32,
}

impl Share {
    /// All there are.
    pub const ALL: Self = Self { hits: 1, of: 1 };
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// All connections of a device that are open or being opened are cut, on average this often.
    DropConnections { every: Duration },
    /// What comes towards a device is held back by up to this long, chunk by chunk.
    DelayReplies { by: Duration },
    /// What comes towards a device is lost, and its connection silent from then on.
    LoseReplies,
    /// DPS leaves the share of requests without its answer.
    DpsErrors(DpsAnswer),
    /// Every session at a hub ends, and devices are refused until the fault is over. Without a
    /// name, at every hub.
    HubRestart { hub: Option<String> },
    /// A device loses its power once, for so long, and boots again before the fault is over.
    PowerLoss { lasts: Duration },
    /// The operator's function answers the share of questions in this way.
    WebhookErrors(WebhookAnswer),
}

/// What a function that fails says in place of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookAnswer {
    /// An HTTP status, and nothing more.
    Status(u16),
    /// Nothing, until whoever asked has waited long enough.
    Nothing,
    /// 200, and something that is no answer.
    Nonsense,
    /// A hub that DPS has no link to.
    UnlinkedHub,
}

/// What DPS says in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpsAnswer {
    /// 429, and after how many seconds to come back.
    Throttled(u32),
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
}

impl FaultKind {
    /// Its name, as scenario files spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DropConnections { .. } => "drop-connections",
            Self::DelayReplies { .. } => "delay-replies",
            Self::LoseReplies => "lose-replies",
            Self::DpsErrors(_) => "dps-errors",
            Self::HubRestart { .. } => "hub-restart",
            Self::PowerLoss { .. } => "power-loss",
            Self::WebhookErrors(_) => "webhook-errors",
        }
    }
}

impl fmt::Display for Fault {
    /// As reports name it: its place in the file and its kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault[{}] {}", self.number, self.kind.name())
    }
}

impl Fault {
    /// The fault on the clock of a run: its times shrink as the time it lies in does.
    #[must_use]
    pub fn on_clock(&self, pace: &Pace) -> Self {
        let (from, until) = (pace.procedure(self.from), pace.procedure(self.until));
        let (before, after) = (self.until - self.from, until.saturating_sub(from));
        let shrunk = |time: Duration| {
            let scaled = time.as_millis() * after.as_millis() / before.as_millis().max(1);
            Duration::from_millis(u64::try_from(scaled).unwrap_or(u64::MAX))
        };
        let kind = match &self.kind {
            FaultKind::DropConnections { every } => FaultKind::DropConnections {
                every: shrunk(*every),
            },
            FaultKind::PowerLoss { lasts } => FaultKind::PowerLoss {
                lasts: shrunk(*lasts),
            },
            other => other.clone(),
        };
        Self {
            kind,
            from,
            until,
            ..self.clone()
        }
    }
}

/// Within which time everybody has to be back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When the first fault begins.
    pub from: Duration,
    /// When the last one is over.
    pub calm: Duration,
    /// How long after that, or after waking, a device may take to be connected with its newest
    /// certificate.
    pub within: Duration,
}

/// Something that happens to a device at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Its connections are cut.
    Cut,
    /// Its power goes.
    PowerOff,
    /// Its power is back.
    PowerOn,
}

/// What is done to bytes on their way to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTheWay {
    /// They come later by up to so much.
    Late(Duration),
    /// They are lost.
    Lost,
}

/// Everything that goes wrong for one device, on the clock of the run and from its start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeviceFaults {
    /// Ascending.
    pub(crate) mishaps: Vec<(Duration, Mishap)>,
    /// From when until when, and what.
    pub(crate) streams: Vec<(Duration, Duration, OnTheWay)>,
    /// For what its connections draw.
    pub(crate) seed: u64,
}

impl DeviceFaults {
    /// Draws what `faults`, which are on the run's clock, do to the device `id`; `None` where
    /// that is nothing.
    #[must_use]
    pub fn draw(faults: &[Fault], entropy: &Entropy, id: &str) -> Option<Arc<Self>> {
        let mut drawn = Self::default();
        for fault in faults {
            let mut rng = entropy.stream(&format!("fault {}", fault.number), id);
            if rng.u32(0..fault.share.of.max(1)) < fault.share.hits {
                drawn.add(fault, &mut rng);
            }
        }
        if drawn.mishaps.is_empty() && drawn.streams.is_empty() {
            return None;
        }
        // Stable, so that of two at one moment the one that stands first in the file is first.
        drawn.mishaps.sort_by_key(|(at, _)| *at);
        drawn.seed = entropy.stream("connections", id).u64(..);
        Some(Arc::new(drawn))
    }

    fn add(&mut self, fault: &Fault, rng: &mut Rng) {
        let (from, until) = (fault.from, fault.until);
        match &fault.kind {
            FaultKind::DropConnections { every } => {
                let most = millis(*every).saturating_mul(2).max(1);
                let mut at = from + Duration::from_millis(rng.u64(1..=most));
                while at < until {
                    self.mishaps.push((at, Mishap::Cut));
                    at += Duration::from_millis(rng.u64(1..=most));
                }
            }
            FaultKind::DelayReplies { by } => self.streams.push((from, until, OnTheWay::Late(*by))),
            FaultKind::LoseReplies => self.streams.push((from, until, OnTheWay::Lost)),
            FaultKind::PowerLoss { lasts } => {
                let latest = millis(until.saturating_sub(from + *lasts));
                let at = from + Duration::from_millis(rng.u64(0..=latest));
                self.mishaps.push((at, Mishap::PowerOff));
                self.mishaps.push((at + *lasts, Mishap::PowerOn));
            }
            FaultKind::DpsErrors(_)
            | FaultKind::HubRestart { .. }
            | FaultKind::WebhookErrors(_) => {}
        }
    }

    /// What is done at `at` to bytes on their way to the device. Loss goes before delay.
    pub(crate) fn on_the_way(&self, at: Duration) -> Option<OnTheWay> {
        let lasting = || {
            let lasts =
                |(from, until, _): &&(Duration, Duration, OnTheWay)| *from <= at && at < *until;
            self.streams.iter().filter(lasts).map(|(_, _, what)| *what)
        };
        lasting()
            .find(|what| *what == OnTheWay::Lost)
            .or_else(|| lasting().next())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
