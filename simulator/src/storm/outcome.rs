//! What came of a storm: the figures, and the curve along which the fleet came back.

use std::borrow::Cow;

use serde::Serialize;

use super::cause::Cause;
use super::echo::Echo;
use super::forecast::{Forecast, Gate};
use super::tally::Tally;
use super::threshold::Judgement;
use super::waits::{Percentiles, Rank};
use super::{Over, Plan, WireFigures};
use crate::scenario::Span;

/// Points of the curve, the first at the start and the last at the end.
const POINTS: u64 = 60;

/// What came of a storm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many devices there were.
    pub devices: u32,
    /// Why they came back.
    pub cause: &'static str,
    /// What that means, in a sentence.
    pub told: Cow<'static, str>,
    /// Whether they had forgotten their hub; none where that is no question.
    pub hub_forgotten: Option<bool>,
    /// For how long from the start the hub let nobody in, in milliseconds; none where that is no
    /// question.
    pub down_for_ms: Option<u64>,
    /// How many of them were connected in the end.
    pub served: u32,
    /// How they came back.
    pub arrival: String,
    /// The hub's tier, such as `S1`; none for a hub without limits.
    pub tier: Option<String>,
    /// Units of that tier; none for a hub without limits.
    pub units: Option<u32>,
    /// Registrations that DPS accepts in a minute; 0 for as many as come.
    pub registrations_per_minute: u32,
    /// Whether requests that are turned away count against their limit.
    pub refused_requests_count: bool,
    /// How the firmware takes being throttled.
    pub firmware: &'static str,
    /// The seed of all chance.
    pub seed: u64,
    /// When the last device was connected, in milliseconds since the start; none if the storm was
    /// given up before.
    pub finish_ms: Option<u64>,
    /// Whether it was given up because nobody got a step further any more.
    pub stalled: bool,
    /// Whether it was interrupted; then the rest is what was seen by then.
    pub interrupted: bool,
    /// The same by arithmetic, at the least.
    pub forecast: ForecastFigures,
    /// What comes when the certificates end that devices got; none if nobody asked.
    pub echo: Option<Echo>,
    /// The finish divided by its bound; none without either.
    pub ratio: Option<f64>,
    /// What became of registrations.
    pub registrations: Registrations,
    /// Polls for the outcome of a registration that DPS put off.
    pub polls_throttled: u64,
    /// What became of connections to the hub.
    pub connects: Connects,
    /// Devices that were connected with the first generation of their certificate, and with the
    /// second if there is one.
    pub served_with_generation: Vec<u32>,
    /// How long devices waited from the moment they were to arrive until they were connected, in
    /// milliseconds; none if no device was.
    pub time_to_service_ms: Option<Percentiles>,
    /// Of that, until DPS had assigned them; none if it assigned nobody.
    pub registration_ms: Option<Percentiles>,
    /// Of that, from there until they were connected.
    pub connect_ms: Option<Percentiles>,
    /// All of that distribution, from the shortest wait to the longest.
    pub time_to_service_by_percentile: Vec<Rank>,
    /// Whether every device was connected in the end and every threshold held.
    pub passed: bool,
    /// What it was held to beside that.
    pub thresholds: Vec<Judgement>,
    /// How the fleet came back.
    pub curve: Vec<Point>,
    /// Wall time, in milliseconds.
    pub wall_ms: i64,
    /// What devices with TLS cost; none for a storm without.
    pub wire: Option<WireFigures>,
    /// The command that does the same again.
    pub replay: String,
}

/// What arithmetic says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastFigures {
    /// When the last device can be connected at the earliest, in milliseconds since the start.
    pub bound_ms: u64,
    /// The limit that sets it; none where devices can be served as they arrive, or once the hub is
    /// back.
    pub set_by: Option<&'static str>,
    /// Every limit by itself.
    pub gates: Vec<Gate>,
}

/// What became of registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Registrations {
    /// Carried out.
    pub accepted: u64,
    /// Put off with 429.
    pub throttled: u64,
    /// Failed in any other way.
    pub failed: u64,
}

/// What became of connections to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connects {
    /// Put off with CONNACK 3.
    pub refused: u64,
    /// Refused as unauthorized (CONNACK 4 or 5).
    pub unauthorized: u64,
    /// Failed in any other way.
    pub failed: u64,
}

/// How far the fleet was at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// Devices that had arrived.
    pub arrived: usize,
    /// Devices that were assigned to the hub.
    pub registered: usize,
    /// Devices that were connected.
    pub connected: usize,
    /// How often anything had been put off, to the second.
    pub throttled: u64,
    /// Devices that could have been connected, by arithmetic.
    pub forecast: usize,
}

impl Outcome {
    /// Puts the figures together; `arrivals` ascend.
    pub(super) fn new(
        plan: &Plan,
        arrivals: &[u64],
        forecast: &Forecast,
        tally: &Tally,
        wall_ms: i64,
        interrupted: bool,
    ) -> Self {
        let finished = tally.all_served();
        let last = tally.served.iter().flatten().max().copied();
        let finish_ms = last.map(u64::from).filter(|_| finished);
        let give_up_ms = u64::try_from(plan.give_up.as_millis()).unwrap_or(u64::MAX);
        let stalls_at = tally.stalls_at_ms();
        let tier = plan.limits.tier;
        let mut outcome = Self {
            devices: plan.devices,
            cause: plan.cause.name(),
            told: plan.cause.told(),
            hub_forgotten: match plan.cause {
                Cause::PowerCut { forgetful } => Some(forgetful),
                _ => None,
            },
            down_for_ms: plan.cause.down_for().map(|_| plan.cause.back_ms()),
            served: tally.served_count(),
            arrival: plan.arrival.to_string(),
            tier: tier.map(|tier| tier.edition().name().to_owned()),
            units: tier.map(|tier| tier.units()),
            registrations_per_minute: plan
                .limits
                .registrations_per_minute
                .map_or(0, |count| count.get()),
            refused_requests_count: plan.limits.refused_requests_count,
            firmware: plan.patience.name(),
            seed: plan.seed,
            finish_ms,
            stalled: !finished && stalls_at.is_some_and(|at| at < give_up_ms),
            interrupted,
            forecast: ForecastFigures {
                bound_ms: forecast.bound_ms,
                set_by: forecast.set_by,
                gates: forecast.gates.clone(),
            },
            echo: plan.echo(arrivals),
            ratio: finish_ms.and_then(|finish| ratio(finish, forecast.bound_ms)),
            registrations: Registrations {
                accepted: tally.accepted,
                throttled: tally.throttled,
                failed: tally.failed,
            },
            polls_throttled: tally.polls_throttled,
            connects: Connects {
                refused: tally.connects_refused,
                unauthorized: tally.connects_unauthorized,
                failed: tally.connects_failed,
            },
            served_with_generation: tally.served_with.clone(),
            time_to_service_ms: tally.until_served.percentiles(),
            registration_ms: tally.until_registered.percentiles(),
            connect_ms: tally.until_connected.percentiles(),
            time_to_service_by_percentile: tally.until_served.ranks(),
            passed: false,
            thresholds: Vec::new(),
            curve: curve(arrivals, forecast, tally, interrupted),
            wall_ms,
            wire: None,
            replay: plan.replay(),
        };
        let thresholds = plan.thresholds.iter();
        outcome.thresholds = thresholds.map(|it| it.judge(&outcome)).collect();
        outcome.passed = finished && outcome.thresholds.iter().all(|it| it.passed);
        outcome
    }

    /// Whether every device was connected in the end.
    #[must_use]
    pub fn all_served(&self) -> bool {
        self.served == self.devices
    }
}

impl Plan {
    /// The command that does the same again.
    #[must_use]
    pub fn replay(&self) -> String {
        let hub = match self.limits.tier {
            Some(tier) => format!("{} --units {}", tier.edition().name(), tier.units()),
            None => "none".to_owned(),
        };
        let registrations = self.limits.registrations_per_minute;
        let over = match self.over {
            Over::Nothing => String::new(),
            over => format!(" --over {}", over.name()),
        };
        let life = self.certificate_life;
        let life = life.map(|life| format!(" --certificate-life {life}"));
        let life = life.unwrap_or_default();
        let thresholds = self.thresholds.iter();
        // A shell would take the comparison for its own.
        let thresholds = thresholds.map(|it| format!(" --threshold '{it}'"));
        let thresholds: String = thresholds.collect();
        let cause = match self.cause {
            Cause::FirstBoot => String::new(),
            Cause::PowerCut { forgetful: true } => " --cause power-cut --forget-hub".to_owned(),
            Cause::HubFailover {
                down_for: down_for @ Span(1..),
            } => format!(" --cause hub-failover --down-for {down_for}"),
            cause => format!(" --cause {cause}"),
        };
        format!(
            "linarite storm --devices {}{cause} --arrival {} --tier {hub} --registrations-per-minute {} \
             --firmware {} --seed {} --limit {}{}{over}{life}{thresholds}",
            self.devices,
            self.arrival,
            registrations.map_or(0, |count| count.get()),
            self.patience.name(),
            self.seed,
            Span(i64::try_from(self.give_up.as_millis()).unwrap_or(i64::MAX)),
            match self.limits.refused_requests_count {
                true => " --refused-requests-count",
                false => "",
            },
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a storm's milliseconds fit 53 bits"
)]
fn ratio(finish_ms: u64, bound_ms: u64) -> Option<f64> {
    (bound_ms > 0).then(|| finish_ms as f64 / bound_ms as f64)
}

fn curve(arrivals: &[u64], forecast: &Forecast, tally: &Tally, interrupted: bool) -> Vec<Point> {
    let ascending = |moments: &[Option<u32>]| {
        let mut moments: Vec<u32> = moments.iter().flatten().copied().collect();
        moments.sort_unstable();
        moments
    };
    let (registered, served) = (ascending(&tally.registered), ascending(&tally.served));
    let by = |moments: &[u32], at: u64| moments.partition_point(|moment| u64::from(*moment) <= at);
    let end = match interrupted {
        // Nobody has seen what comes after.
        true => tally.last_ms,
        false => tally.last_ms.max(forecast.bound_ms),
    };
    let (mut seconds, mut throttled) = (0, 0);
    let mut point = |number: u64| {
        let at_ms = end * number / POINTS;
        let arrived = arrivals.partition_point(|arrival| *arrival <= at_ms);
        while let Some(count) = tally.put_off.get(seconds)
            && seconds as u64 * 1000 <= at_ms
        {
            throttled += u64::from(*count);
            seconds += 1;
        }
        Point {
            at_ms,
            arrived,
            registered: by(&registered, at_ms),
            connected: by(&served, at_ms),
            throttled,
            forecast: forecast.served_by(at_ms, arrived),
        }
    };
    (0..=POINTS).map(&mut point).collect()
}
