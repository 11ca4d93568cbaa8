//! The storm that comes after this one: certificates that were issued together end together.
//!
//! Nothing here is measured. A device is taken to get its new certificate when it comes back, and to
//! come for the next one a certificate's life later, so the fleet comes back as it came.

use serde::Serialize;

use super::cause::Toll;
use super::forecast::Forecast;
use super::text::{span, thousands};
use crate::scenario::duration::Span;

/// What becomes of a fleet whose certificates live so long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Echo {
    /// Life of a certificate, in milliseconds.
    pub certificate_life_ms: u64,
    /// When the first device comes for its next certificate, in milliseconds since the start.
    pub from_ms: u64,
    /// When the last one does.
    pub until_ms: u64,
    /// The most that comes at a time, limit by limit.
    pub peaks: Vec<Peak>,
    /// How long a device waits for its turn at the most, by arithmetic, in milliseconds.
    pub longest_wait_ms: u64,
    /// Over how long certificates have to be spread so that hardly anybody waits, in milliseconds
    /// (the T of R-C12).
    pub spread_ms: u64,
    /// Whether it is a storm again: somebody waits longer than the limit's own time.
    pub storm: bool,
}

/// The most that comes at a time where a limit counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// What is limited.
    pub name: &'static str,
    /// So many.
    pub count: u32,
    /// Within so many milliseconds.
    pub window_ms: u32,
    /// So many come within that time.
    pub come: u64,
}

impl Echo {
    /// For devices that get certificates of this life at `arrivals`, ascending, and later pass these
    /// tolls for the next.
    #[must_use]
    pub fn new(arrivals: &[u64], life: Span, tolls: &[Toll]) -> Self {
        let life_ms = u64::try_from(life.0).unwrap_or(0);
        let at = |arrival: Option<&u64>| arrival.copied().unwrap_or(0).saturating_add(life_ms);
        let forecast = Forecast::new(arrivals, tolls);
        let peak = |toll: &Toll| Peak {
            name: toll.name,
            count: toll.limit.count.get(),
            window_ms: toll.limit.window_ms.get(),
            come: most_within(arrivals, u64::from(toll.limit.window_ms.get()))
                * u64::from(toll.times),
        };
        let spread = |toll: &Toll| {
            let come = arrivals.len() as u64 * u64::from(toll.times);
            come * u64::from(toll.limit.window_ms.get()) / u64::from(toll.limit.count.get())
        };
        Self {
            certificate_life_ms: life_ms,
            from_ms: at(arrivals.first()),
            until_ms: at(arrivals.last()),
            peaks: tolls.iter().map(peak).collect(),
            longest_wait_ms: forecast.longest_wait_ms(arrivals),
            spread_ms: tolls.iter().map(spread).max().unwrap_or(0),
            storm: forecast.is_storm(arrivals),
        }
    }

    /// The limit that is asked for the most beyond what it lets through.
    fn worst(&self) -> Option<&Peak> {
        // Of two that are as bad the first counts.
        self.peaks
            .iter()
            .rev()
            .max_by(|a, b| a.times().total_cmp(&b.times()))
    }

    /// What it says, in a sentence or two.
    #[must_use]
    pub fn line(&self) -> String {
        let begins = span(self.from_ms);
        let (true, Some(worst)) = (self.storm, self.worst()) else {
            return format!(
                "no storm when certificates of {} end: nobody waits longer than {}",
                span(self.certificate_life_ms),
                span(self.longest_wait_ms),
            );
        };
        format!(
            "the next storm comes after {begins}, when certificates of {} end: {} within {}, {:.1} \
             times what {} let through ({}), and the last waits {}. Spread over {} or more, they \
             would not",
            span(self.certificate_life_ms),
            thousands(worst.come),
            span(u64::from(worst.window_ms)),
            worst.times(),
            worst.name,
            thousands(u64::from(worst.count)),
            span(self.longest_wait_ms),
            span(self.spread_ms),
        )
    }
}

impl Peak {
    /// How many times the limit that is.
    #[expect(clippy::cast_precision_loss, reason = "a few million at the most")]
    fn times(&self) -> f64 {
        self.come as f64 / f64::from(self.count)
    }
}

/// How many of those who come at `arrivals`, ascending, do so within any `window_ms`.
fn most_within(arrivals: &[u64], window_ms: u64) -> u64 {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in arrivals.iter().enumerate() {
        while at - arrivals[first] >= window_ms {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most as u64
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use linarite_core::hub::tier::{Edition, Tier};
    use linarite_env::Entropy;

    use super::*;
    use crate::storm::Limits;
    use crate::storm::arrival::Arrival;
    use crate::storm::cause::Cause;

    const LIFE: Span = Span(90 * 86_400_000);

    /// A thousand devices on one unit of S1, before Azure's limit on registrations.
    fn echo(arrival: &str) -> Echo {
        let limits = Limits {
            registrations_per_minute: NonZeroU32::new(1_000),
            tier: Some(Tier::new(Edition::S1, 1).unwrap()),
            refused_requests_count: false,
        };
        let arrival: Arrival = arrival.parse().unwrap();
        let mut arrivals = arrival.moments(1_000, 600_000, &Entropy::new(1));
        arrivals.sort_unstable();
        Echo::new(&arrivals, LIFE, &Cause::FirstBoot.tolls(&limits))
    }

    /// R-H6: a fleet issued in one moment comes back in one, and the hub's registry takes it at 100
    /// a minute.
    #[test]
    fn certificates_issued_together_end_together() {
        let echo = echo("at-once");
        assert!(echo.storm);
        assert_eq!(
            (echo.from_ms, echo.until_ms),
            (7_776_000_000, 7_776_000_000)
        );
        let come: Vec<_> = echo
            .peaks
            .iter()
            .map(|peak| (peak.name, peak.come))
            .collect();
        let all = [
            "DPS registrations",
            "hub registry writes",
            "hub connections",
        ];
        assert_eq!(come, all.map(|name| (name, 1_000)));
        assert_eq!((echo.longest_wait_ms, echo.spread_ms), (540_000, 600_000));
        let line = echo.line();
        let expected = "the next storm comes after 90d, when certificates of 90d end: 1,000 within \
                        1m, 10.0 times what hub registry writes let through (100), and the last \
                        waits 9m. Spread over 10m or more, they would not";
        assert_eq!(line, expected);
    }

    /// R-C12, R-C13: the spread that it names is one that would do.
    #[test]
    fn certificates_spread_over_what_is_advised_bring_no_storm() {
        for arrival in ["ramp=10m", "rate=100/m", "jitter"] {
            let echo = echo(arrival);
            assert!(!echo.storm, "{arrival}: {echo:?}");
            assert!(
                echo.line()
                    .starts_with("no storm when certificates of 90d end")
            );
        }
        let half = echo("ramp=5m");
        assert!(half.storm && half.spread_ms == 600_000);
        assert_eq!(half.until_ms - half.from_ms, 299_700);
        // 200 a minute at 100: 900 beyond the bucket, less what came back in the meantime.
        assert_eq!(half.longest_wait_ms, 540_000 - 299_700);
    }

    #[test]
    fn the_most_within_a_window_is_counted_wherever_it_lies() {
        let arrivals = [0, 10, 500, 900, 999, 1_400, 5_000];
        for (window, most) in [(1, 1), (100, 2), (500, 3), (1_000, 5), (9_000, 7)] {
            assert_eq!(most_within(&arrivals, window), most, "{window}");
        }
        assert_eq!(most_within(&[], 1_000), 0);
    }

    #[test]
    fn without_limits_there_is_no_storm() {
        let echo = Echo::new(&[0; 50], LIFE, &[]);
        assert!(!echo.storm);
        assert_eq!((echo.spread_ms, echo.longest_wait_ms), (0, 0));
    }
}
