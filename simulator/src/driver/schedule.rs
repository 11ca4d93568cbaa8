//! When a device wakes and sleeps.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{DeviceFaults, Mishap};
use crate::plan::{DevicePlan, Window};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Wake,
    Sleep,
    /// Something goes wrong.
    Mishap(Mishap),
}

/// The edges of a device's windows that are still to come.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    lag: Duration,
    windows: Arc<[Window]>,
    /// Which edge is next, two to a window.
    next: usize,
    faults: Option<Arc<DeviceFaults>>,
    /// How many mishaps are over.
    mishaps: usize,
}

impl Schedule {
    /// The windows of `plan`, counted from `start`.
    pub(crate) fn new(plan: &DevicePlan, start: Instant) -> Self {
        Self {
            start,
            lag: plan.lag,
            windows: Arc::clone(&plan.windows),
            next: 0,
            faults: plan.faults.clone(),
            mishaps: 0,
        }
    }

    /// The next edge and its moment. A window too short for the device's lag has none, and one
    /// that ends beyond all reckoning never ends.
    pub(crate) fn next(&self) -> Option<(Instant, Edge)> {
        let edge = self.upcoming().map(|(_, at, edge)| (at, edge));
        match (edge, self.mishap()) {
            (Some(edge), Some(mishap)) if mishap.0 < edge.0 => Some(mishap),
            (edge, mishap) => edge.or(mishap),
        }
    }

    /// Takes the next edge if its moment has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, Edge)> {
        let (at, edge) = self.next().filter(|(at, _)| *at <= now)?;
        match edge {
            Edge::Mishap(_) => self.mishaps += 1,
            Edge::Wake | Edge::Sleep => self.next = self.upcoming()?.0 + 1,
        }
        Some((at, edge))
    }

    fn mishap(&self) -> Option<(Instant, Edge)> {
        let (offset, mishap) = *self.faults.as_ref()?.mishaps.get(self.mishaps)?;
        Some((self.start.checked_add(offset)?, Edge::Mishap(mishap)))
    }

    fn upcoming(&self) -> Option<(usize, Instant, Edge)> {
        (self.next..2 * self.windows.len()).find_map(|place| {
            let window = self.windows[place / 2];
            let from = window.from.saturating_add(self.lag);
            let (offset, edge) = match place % 2 {
                0 => (from, Edge::Wake),
                _ => (window.until, Edge::Sleep),
            };
            let at = self
                .start
                .checked_add(offset)
                .filter(|_| from < window.until)?;
            Some((place, at, edge))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(windows: &[(u64, u64)], lag: u64) -> Schedule {
        let windows = windows.iter().map(|(from, until)| Window {
            from: Duration::from_secs(*from),
            until: Duration::from_secs(*until),
        });
        Schedule {
            start: Instant::now(),
            lag: Duration::from_secs(lag),
            windows: windows.collect(),
            next: 0,
            faults: None,
            mishaps: 0,
        }
    }

    fn edges(mut schedule: Schedule) -> Vec<(u64, Edge)> {
        let end = schedule.start + Duration::from_secs(1_000_000);
        let start = schedule.start;
        std::iter::from_fn(|| schedule.take_due(end))
            .map(|(at, edge)| ((at - start).as_secs(), edge))
            .collect()
    }

    /// R-C13: devices of a fleet have different lags.
    #[test]
    fn lag_delays_waking_and_not_sleeping() {
        let expected = [
            (3, Edge::Wake),
            (10, Edge::Sleep),
            (23, Edge::Wake),
            (30, Edge::Sleep),
        ];
        assert_eq!(edges(schedule(&[(0, 10), (20, 30)], 3)), expected);
    }

    #[test]
    fn a_window_shorter_than_the_lag_is_slept_through() {
        assert_eq!(
            edges(schedule(&[(0, 3), (20, 30)], 3)),
            [(23, Edge::Wake), (30, Edge::Sleep)]
        );
    }

    #[test]
    fn an_endless_window_never_ends() {
        assert_eq!(edges(schedule(&[(5, u64::MAX)], 0)), [(5, Edge::Wake)]);
    }
}
