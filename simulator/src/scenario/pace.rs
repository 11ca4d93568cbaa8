//! How scenario time becomes time on the run's clock, and back.

use std::sync::Arc;
use std::time::Duration;

use super::duration::{DAY_MS, Span};
use super::{RealTime, Scenario};

/// The pace of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One to one, on a paused clock.
    Virtual,
    /// The procedure shrunk, on the wall clock.
    RealTime(Arc<Shrunk>),
}

/// A procedure shrunk for the wall clock: sleeps to a fraction of a second for each day, times
/// awake to a length in which registrations, which keep their pace, have room.
#[derive(Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// What the scenario says of it.
    pub real_time: RealTime,
    /// Corresponding moments in milliseconds, scenario and clock, ascending; straight between.
    points: Vec<(i64, i64)>,
}

impl Pace {
    /// The pace of `scenario` against the wall clock.
    #[must_use]
    pub fn real_time(scenario: &Scenario) -> Self {
        let real_time = scenario.real_time;
        let (day, awake) = (millis(real_time.day), millis(real_time.awake));
        let mut points = vec![(0, 0)];
        let (mut before, mut clock) = (0, 0);
        for window in &scenario.fleet.awake {
            let (from, until) = (millis(window.from), millis(window.until));
            clock += shrink(from - before, day, DAY_MS);
            points.push((from, clock));
            clock += awake;
            points.push((until, clock));
            before = until;
        }
        // A window at the very beginning would give two moments to time zero.
        points.dedup_by_key(|(scenario, _)| *scenario);
        Self::RealTime(Arc::new(Shrunk { real_time, points }))
    }

    /// A time of the procedure (steps, validity, windows) on the run's clock, in milliseconds.
    #[must_use]
    pub fn procedure_ms(&self, span: Span) -> i64 {
        match self {
            Self::Virtual => span.0,
            Self::RealTime(shrunk) => shrunk.map(span.0, |point| point),
        }
    }

    /// A time of the procedure that is not negative, on the run's clock.
    #[must_use]
    pub fn procedure(&self, time: Duration) -> Duration {
        Span(self.procedure_ms(Span(millis(time)))).duration()
    }

    /// The scenario day of `elapsed_ms` on the run's clock.
    #[must_use]
    pub fn days(&self, elapsed_ms: i64) -> f64 {
        let scenario_ms = match self {
            Self::Virtual => elapsed_ms,
            Self::RealTime(shrunk) => shrunk.map(elapsed_ms, |(scenario, clock)| (clock, scenario)),
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "for people; milliseconds fit 53 bits"
        )]
        let days = scenario_ms as f64 / DAY_MS as f64;
        days
    }
}

impl Shrunk {
    /// Carries `at` over along the points, each turned by `turn` into (from, to). Beyond the
    /// points days shrink as sleeps do.
    fn map(&self, at: i64, turn: impl Fn((i64, i64)) -> (i64, i64)) -> i64 {
        let day = turn((DAY_MS, millis(self.real_time.day)));
        let mut before = turn((0, 0));
        for point in &self.points {
            let point = turn(*point);
            if at <= point.0 && before.0 < point.0 && before.0 <= at {
                return before.1 + shrink(at - before.0, point.1 - before.1, point.0 - before.0);
            }
            before = if at < point.0 { before } else { point };
        }
        before.1 + shrink(at - before.0, day.1, day.0)
    }
}

/// `span` in the proportion `to` : `from`.
fn shrink(span: i64, to: i64, from: i64) -> i64 {
    let scaled = i128::from(span) * i128::from(to) / i128::from(from.max(1));
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
