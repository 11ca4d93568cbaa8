//! How long devices waited, as a histogram: what a million of them take is always the same room,
//! and percentiles are there while a storm goes on.
//!
//! A wait counts from the moment at which a device was to come, not from when it got its turn, so
//! that services which are slow cannot hide it by letting nobody ask (coordinated omission).

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest wait that is told from longer ones: seven weeks, in milliseconds.
const LONGEST_MS: u64 = u32::MAX as u64;
/// A percentile is right to four digits: at most a ten-thousandth above the wait that it stands for,
/// and exact up to half a minute. That takes three megabytes.
const DIGITS: u8 = 4;
/// Points between one halving of those who waited longer and the next.
const POINTS_BY_HALF: u32 = 5;

/// A distribution, in milliseconds. Percentiles are to four digits and never beyond the longest
/// wait; the longest and the mean are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half of the devices waited no longer.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// 95 in a hundred.
    pub p95: u64,
    /// 99 in a hundred.
    pub p99: u64,
    /// 999 in a thousand.
    pub p999: u64,
    /// The longest wait.
    pub max: u64,
    /// The mean.
    pub mean: u64,
}

/// How long those waited who were served at a percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rank {
    /// So many in a hundred waited no longer.
    pub percentile: f64,
    /// Milliseconds.
    pub ms: u64,
}

/// Waits, counted.
pub(super) struct Waits {
    histogram: Histogram<u64>,
    longest: u64,
    sum: u64,
}

impl Waits {
    /// None yet.
    ///
    /// # Panics
    /// Never: the bounds are right.
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_MS, DIGITS);
        Self {
            histogram: histogram.expect("the bounds of waits are right"),
            longest: 0,
            sum: 0,
        }
    }

    /// One more waited so long.
    pub(super) fn note(&mut self, ms: u64) {
        self.histogram.saturating_record(ms);
        self.longest = self.longest.max(ms);
        self.sum = self.sum.saturating_add(ms);
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The distribution; none of nobody.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let count = self.histogram.len();
        Some(Percentiles {
            p50: self.at(0.5),
            p90: self.at(0.9),
            p95: self.at(0.95),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.longest,
            mean: self.sum.checked_div(count)?,
        })
    }

    /// The whole distribution, in points that lie closer together the fewer waited longer. The last
    /// is the longest wait.
    pub(super) fn ranks(&self) -> Vec<Rank> {
        let points = self.histogram.iter_quantiles(POINTS_BY_HALF);
        let ranks = points.map(|point| Rank {
            percentile: point.quantile_iterated_to() * 100.0,
            ms: point.value_iterated_to().min(self.longest),
        });
        ranks.collect()
    }

    /// The wait that this part of all did not exceed.
    fn at(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile).min(self.longest)
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waits").field(&self.percentiles()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(waits: impl IntoIterator<Item = u64>) -> Waits {
        let mut counted = Waits::new();
        waits.into_iter().for_each(|ms| counted.note(ms));
        counted
    }

    #[test]
    fn nobody_has_no_distribution() {
        assert_eq!(of([]).percentiles(), None);
        assert_eq!(of([]).ranks(), []);
    }

    #[test]
    fn a_thousand_waits_have_their_percentiles_where_they_belong() {
        let found = of(1..=1_000).percentiles().unwrap();
        let expected = Percentiles {
            p50: 500,
            p90: 900,
            p95: 950,
            p99: 990,
            p999: 999,
            max: 1_000,
            mean: 500,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn ranks_climb_to_the_longest_wait() {
        let waits = of((1..=10_000).map(|ms| ms * 7));
        let ranks = waits.ranks();
        assert!(ranks.len() > 40, "{}", ranks.len());
        let climbs =
            |pair: &[Rank]| pair[0].percentile <= pair[1].percentile && pair[0].ms <= pair[1].ms;
        assert!(ranks.windows(2).all(climbs), "{ranks:?}");
        let last = ranks.last().unwrap();
        assert_eq!((last.percentile, last.ms), (100.0, 70_000));
    }

    proptest! {
        /// A percentile is what sorting gives, or at most a ten-thousandth more.
        #[test]
        fn a_percentile_is_right_to_four_digits(
            mut waits in prop::collection::vec(0_u64..4_000_000_000, 1..300),
        ) {
            let found = of(waits.iter().copied()).percentiles().unwrap();
            waits.sort_unstable();
            let sorted = |thousandths: usize| {
                waits[(waits.len() * thousandths).div_ceil(1000).max(1) - 1]
            };
            for (thousandths, found) in [
                (500, found.p50),
                (900, found.p90),
                (950, found.p95),
                (990, found.p99),
                (999, found.p999),
            ] {
                let exact = sorted(thousandths);
                prop_assert!(
                    (exact..=exact + exact / 10_000).contains(&found),
                    "{thousandths}: {exact} {found}"
                );
            }
            prop_assert_eq!(found.max, *waits.last().unwrap());
        }
    }
}
