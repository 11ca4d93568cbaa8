//! What a storm takes at the least, by arithmetic: no limit lets more through than its bucket
//! holds and what comes back into it.
//!
//! Nothing here is shared with the emulator's buckets, so that one holds the other to account.

use linarite_core::throttle::RateLimit;
use serde::Serialize;

use super::cause::Toll;

/// A limit that every device has to pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// What is limited.
    pub name: &'static str,
    /// So many.
    pub count: u32,
    /// Within so many milliseconds.
    pub window_ms: u32,
    /// How often each device has to pass.
    pub times: u32,
    /// When the last device is through if no other limit holds it up, in milliseconds since the
    /// start.
    pub finish_ms: u64,
    /// When each is through, in the order of arrival.
    #[serde(skip)]
    turns: Vec<u64>,
}

/// What no fleet of firmware can beat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// When the last device can be served at the earliest, in milliseconds since the start.
    pub bound_ms: u64,
    /// The limit that sets it; none where devices are served as they arrive, or once the hub is
    /// back.
    pub set_by: Option<&'static str>,
    /// All limits.
    pub gates: Vec<Gate>,
    /// When the hub lets devices in, in milliseconds since the start.
    #[serde(skip)]
    back_ms: u64,
}

impl Gate {
    fn longest_wait_ms(&self, arrivals: &[u64]) -> u64 {
        let waits = self.turns.iter().zip(arrivals);
        waits
            .map(|(turn, arrival)| turn - arrival)
            .max()
            .unwrap_or(0)
    }
}

impl Forecast {
    /// For devices that arrive at `arrivals`, ascending, at a hub that is there.
    #[must_use]
    pub fn new(arrivals: &[u64], tolls: &[Toll]) -> Self {
        Self::once_back(0, arrivals, tolls)
    }

    /// For devices that arrive at `arrivals`, ascending, at a hub that lets nobody in before
    /// `back_ms`; all in milliseconds since the start. Every limit is met at the hub.
    ///
    /// Who came before stands at its door then, and nobody has used the limits up.
    #[must_use]
    pub fn once_back(back_ms: u64, arrivals: &[u64], tolls: &[Toll]) -> Self {
        let at_the_door = arrivals.iter().map(|arrival| back_ms.max(*arrival));
        let at_the_door: Vec<u64> = at_the_door.collect();
        let gate = |toll: &Toll| {
            let turns = turns(&at_the_door, toll.limit, toll.times);
            Gate {
                name: toll.name,
                count: toll.limit.count.get(),
                window_ms: toll.limit.window_ms.get(),
                times: toll.times,
                finish_ms: turns.last().copied().unwrap_or(0),
                turns,
            }
        };
        let gates: Vec<Gate> = tolls.iter().map(gate).collect();
        let last = at_the_door.last().copied().unwrap_or(back_ms);
        let slowest = gates.iter().max_by_key(|gate| gate.finish_ms);
        let slowest = slowest.filter(|gate| gate.finish_ms > last);
        Self {
            bound_ms: slowest.map_or(last, |gate| gate.finish_ms),
            set_by: slowest.map(|gate| gate.name),
            gates,
            back_ms,
        }
    }

    /// How long a device waits at any limit, at the most, of those that come at the `arrivals` it was
    /// made for; in milliseconds.
    #[must_use]
    pub fn longest_wait_ms(&self, arrivals: &[u64]) -> u64 {
        let waits = self.gates.iter().map(|gate| gate.longest_wait_ms(arrivals));
        waits.max().unwrap_or(0)
    }

    /// Whether somebody waits at a limit longer than that limit's own time: a bucket takes what is a
    /// little uneven, and this is more.
    #[must_use]
    pub fn is_storm(&self, arrivals: &[u64]) -> bool {
        let long = |gate: &Gate| gate.longest_wait_ms(arrivals) > u64::from(gate.window_ms);
        self.gates.iter().any(long)
    }

    /// How many devices can be served by `at_ms` at the most, of those that `arrived` by then.
    #[must_use]
    pub fn served_by(&self, at_ms: u64, arrived: usize) -> usize {
        let let_in = if at_ms < self.back_ms { 0 } else { arrived };
        let through = |gate: &Gate| gate.turns.partition_point(|turn| *turn <= at_ms);
        self.gates.iter().map(through).fold(let_in, usize::min)
    }
}

/// When each of those who come at `arrivals`, ascending, has passed `limit` so many times, in their
/// order.
///
/// A bucket holds as many tokens as the limit says and is full at first; each arrival takes one for
/// each time, and where there is none it waits for its own to come back.
fn turns(arrivals: &[u64], limit: RateLimit, times: u32) -> Vec<u64> {
    // Tokens are counted in parts of the window, so that nothing is rounded: `count` parts come
    // back in a millisecond, and one token is as many parts as the window has milliseconds.
    let count = i128::from(limit.count.get());
    let token = i128::from(limit.window_ms.get());
    let full = count * token;
    let (mut left, mut last) = (full, 0_i128);
    let turn = |arrival: &u64| {
        let at = i128::from(*arrival);
        left = (left + (at - last) * count).min(full) - token * i128::from(times);
        last = at;
        let wait = ((-left).max(0) + count - 1) / count;
        u64::try_from(at + wait).unwrap_or(u64::MAX)
    };
    arrivals.iter().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use linarite_core::hub::tier::{Edition, Tier};

    use super::*;
    use crate::scenario::duration::Span;
    use crate::storm::Limits;
    use crate::storm::cause::Cause;

    fn limits(registrations: u32, tier: Option<(Edition, u32)>) -> Limits {
        Limits {
            registrations_per_minute: NonZeroU32::new(registrations),
            tier: tier.map(|(edition, units)| Tier::new(edition, units).unwrap()),
            refused_requests_count: false,
        }
    }

    /// For a fleet that was never provisioned.
    fn at_first_boot(arrivals: &[u64], limits: &Limits) -> Forecast {
        Forecast::new(arrivals, &Cause::FirstBoot.tolls(limits))
    }

    fn bound(devices: usize, limits: &Limits) -> (u64, Option<&'static str>) {
        let forecast = at_first_boot(&vec![0; devices], limits);
        (forecast.bound_ms, forecast.set_by)
    }

    /// R-H3: what is over the bucket comes at the limit's pace.
    #[test]
    fn a_fleet_at_once_takes_what_is_over_the_bucket_divided_by_the_pace() {
        let dps = Some("DPS registrations");
        assert_eq!(bound(1_000, &limits(1_000, None)), (0, None));
        assert_eq!(bound(1_001, &limits(1_000, None)), (60, dps));
        assert_eq!(bound(10_000, &limits(1_000, None)), (540_000, dps));
        assert_eq!(bound(10_000, &limits(200, None)), (2_940_000, dps));
        assert_eq!(bound(1_000_000, &limits(1_000, None)), (59_940_000, dps));
        assert_eq!(bound(10_000, &limits(0, None)), (0, None));
    }

    /// R-H6: on small tiers the hub's registry is the bottleneck, on large ones DPS is.
    #[test]
    fn the_slowest_limit_sets_the_bound() {
        let s1 = limits(1_000, Some((Edition::S1, 1)));
        let s3 = limits(1_000, Some((Edition::S3, 1)));
        let registry = (540_000, Some("hub registry writes"));
        assert_eq!(bound(1_000, &s1), registry);
        assert_eq!(bound(10_000, &s3), (540_000, Some("DPS registrations")));
        let connections = limits(0, Some((Edition::S3, 1)));
        let forecast = at_first_boot(&vec![0; 20_000], &connections);
        let finishes: Vec<u64> = forecast.gates.iter().map(|gate| gate.finish_ms).collect();
        // 15,000 over the bucket at 5,000 a minute; 14,000 over it at 6,000 a second.
        assert_eq!(finishes, [180_000, 2_334]);
    }

    #[test]
    fn a_bucket_fills_while_nobody_comes_and_never_over_its_brim() {
        let limit = RateLimit::per_minute(NonZeroU32::new(2).unwrap());
        let arrivals = [0, 0, 0, 40_000, 1_000_000, 1_000_000, 1_000_000];
        let expected = [0, 0, 30_000, 60_000, 1_000_000, 1_000_000, 1_030_000];
        assert_eq!(turns(&arrivals, limit, 1), expected);
    }

    #[test]
    fn who_passes_twice_takes_two_tokens() {
        let limit = RateLimit::per_minute(NonZeroU32::new(4).unwrap());
        assert_eq!(turns(&[0; 4], limit, 2), [0, 0, 30_000, 60_000]);
    }

    #[test]
    fn a_fleet_that_arrives_slowly_enough_is_served_as_it_arrives() {
        let arrivals: Vec<u64> = (0..5_000).map(|index| index * 60).collect();
        let forecast = at_first_boot(&arrivals, &limits(1_000, None));
        assert_eq!((forecast.bound_ms, forecast.set_by), (4_999 * 60, None));
        assert_eq!(forecast.served_by(60_000, 1_001), 1_001);
    }

    /// R-C13: batches that the bucket holds cost nothing but their own time; larger ones queue up.
    #[test]
    fn batches_no_larger_than_the_limit_are_served_as_they_arrive() {
        let batch = |index: u64| vec![index * 60_000; 1_000];
        let arrivals: Vec<u64> = (0..5).flat_map(batch).collect();
        let forecast = at_first_boot(&arrivals, &limits(1_000, None));
        assert_eq!((forecast.bound_ms, forecast.set_by), (240_000, None));
        let forecast = at_first_boot(&arrivals, &limits(500, None));
        // 5,000 devices, 500 of them from the bucket and 500 a minute.
        assert_eq!(forecast.bound_ms, 540_000);
        assert_eq!(forecast.served_by(60_000, 2_000), 1_000);
    }

    /// For a fleet on one unit of S1, whose door lets 100 a second through.
    fn once_back(back_ms: u64, arrivals: &[u64]) -> Forecast {
        let limits = limits(1_000, Some((Edition::S1, 1)));
        let cause = Cause::HubFailover { down_for: Span(0) };
        Forecast::once_back(back_ms, arrivals, &cause.tolls(&limits))
    }

    /// R-H5: who came while the hub was down stands at its door when it is back.
    #[test]
    fn nobody_is_let_in_before_the_hub_is_back() {
        let connections = Some("hub connections");
        let (back, at_once) = (600_000, [0; 1_000]);
        let forecast = once_back(back, &at_once);
        assert_eq!((forecast.bound_ms, forecast.set_by), (609_000, connections));
        assert_eq!(forecast.gates[0].finish_ms, 609_000);
        for (at_ms, served) in [
            (0, 0),
            (599_999, 0),
            (600_000, 100),
            (601_000, 200),
            (609_000, 1_000),
        ] {
            assert_eq!(forecast.served_by(at_ms, 1_000), served, "{at_ms}");
        }
        assert_eq!(once_back(0, &at_once).bound_ms, 9_000);
    }

    #[test]
    fn the_hub_sets_the_bound_where_its_door_holds_nobody_up() {
        let forecast = once_back(600_000, &[0; 100]);
        assert_eq!((forecast.bound_ms, forecast.set_by), (600_000, None));
        let unlimited = Forecast::once_back(600_000, &[0; 5_000], &[]);
        assert_eq!((unlimited.bound_ms, unlimited.set_by), (600_000, None));
        assert_eq!(unlimited.served_by(599_999, 5_000), 0);
        assert_eq!(unlimited.served_by(600_000, 5_000), 5_000);
    }

    #[test]
    fn who_comes_after_the_hub_is_back_notices_nothing() {
        // Ten a second for a hundred seconds, ten of which the hub is down for.
        let arrivals: Vec<u64> = (0..1_000).map(|index| index * 100).collect();
        let forecast = once_back(10_000, &arrivals);
        assert_eq!((forecast.bound_ms, forecast.set_by), (99_900, None));
        assert_eq!(forecast.served_by(9_999, 100), 0);
        assert_eq!(forecast.served_by(10_000, 101), 100);
        assert_eq!(forecast.served_by(10_100, 102), 102);
    }

    #[test]
    fn the_curve_climbs_from_the_bucket_at_the_pace() {
        let forecast = at_first_boot(&[0; 3_000], &limits(1_000, None));
        for (at_ms, served) in [
            (0, 1_000),
            (59, 1_000),
            (60, 1_001),
            (60_000, 2_000),
            (120_000, 3_000),
        ] {
            assert_eq!(forecast.served_by(at_ms, 3_000), served, "{at_ms}");
        }
    }
}
