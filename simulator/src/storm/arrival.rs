//! When the devices of a fleet come back.

use std::fmt;
use std::str::FromStr;

use linarite_env::Entropy;

use crate::scenario::duration::Span;

/// The least wait that is drawn, in milliseconds (R-C12).
const JITTER_MIN_MS: u64 = 1000;

/// An arrival profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// All in one moment.
    AtOnce,
    /// Evenly within this span.
    Ramp(Span),
    /// Each at a random time, so that the services are just not asked for too much (R-C12).
    Jitter,
    /// Evenly, so many in so many milliseconds.
    Rate {
        /// How many.
        count: u32,
        /// Within how many milliseconds.
        window_ms: u32,
    },
    /// So many in one moment, the next as many a span later, and so on (R-C13).
    Batches {
        /// How many at a time.
        count: u32,
        /// From one batch to the next.
        every: Span,
    },
}

impl Arrival {
    /// The moments at which `devices` devices arrive, in milliseconds since the start, by device.
    ///
    /// `span_ms` is how long the services take for all of them at their slowest pace: the T of
    /// R-C12.
    #[must_use]
    pub fn moments(self, devices: u32, span_ms: u64, entropy: &Entropy) -> Vec<u64> {
        let share = |index: u32, span: u64, of: u32| {
            u64::try_from(u128::from(index) * u128::from(span) / u128::from(of.max(1)))
                .unwrap_or(u64::MAX)
        };
        match self {
            Self::AtOnce => vec![0; devices as usize],
            Self::Ramp(span) => {
                let span = u64::try_from(span.0).unwrap_or(0);
                let moment = |index| share(index, span, devices);
                (0..devices).map(moment).collect()
            }
            Self::Rate { count, window_ms } => {
                let moment = |index| share(index, u64::from(window_ms), count);
                (0..devices).map(moment).collect()
            }
            Self::Batches { count, every } => {
                let every = u64::try_from(every.0).unwrap_or(0);
                let moment = |index: u32| u64::from(index / count.max(1)).saturating_mul(every);
                (0..devices).map(moment).collect()
            }
            Self::Jitter => {
                let mut rng = entropy.stream("arrival", "");
                let most = span_ms.max(JITTER_MIN_MS);
                (0..devices)
                    .map(|_| rng.u64(JITTER_MIN_MS..=most))
                    .collect()
            }
        }
    }
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no arrival; write at-once, jitter, ramp=10m, rate=100/s or \
                 batches=1000/2m"
            )
        };
        match (text, text.split_once('=')) {
            ("at-once", _) => Ok(Self::AtOnce),
            ("jitter", _) => Ok(Self::Jitter),
            (_, Some(("ramp", span))) => match Span::parse(span)? {
                Span(1..) => Ok(Self::Ramp(Span::parse(span)?)),
                _ => Err(format!(
                    "`{span}` is no time to arrive in; write it like 10m"
                )),
            },
            (_, Some(("rate", rate))) => rate_of(rate).ok_or_else(|| {
                format!("`{rate}` is no rate; write it like 100/s, 500/m or 10000/h")
            }),
            (_, Some(("batches", batches))) => batches_of(batches).ok_or_else(|| {
                format!("`{batches}` are no batches; write them like 1000/2m, devices every span")
            }),
            _ => Err(wrong()),
        }
    }
}

fn rate_of(text: &str) -> Option<Arrival> {
    let (count, unit) = text.split_once('/')?;
    let window_ms = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(Arrival::Rate { count, window_ms })
}

fn batches_of(text: &str) -> Option<Arrival> {
    let (count, every) = text.split_once('/')?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    let every = Span::parse(every).ok().filter(|every| every.0 > 0)?;
    Some(Arrival::Batches { count, every })
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => f.write_str("at-once"),
            Self::Jitter => f.write_str("jitter"),
            Self::Ramp(span) => write!(f, "ramp={span}"),
            Self::Rate { count, window_ms } => {
                let unit = match window_ms {
                    1000 => "s",
                    60_000 => "m",
                    _ => "h",
                };
                write!(f, "rate={count}/{unit}")
            }
            Self::Batches { count, every } => write!(f, "batches={count}/{every}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_read_as_it_is_written() {
        for text in [
            "at-once",
            "jitter",
            "ramp=10m",
            "ramp=1h30m",
            "rate=100/s",
            "rate=7/h",
            "batches=1000/2m",
            "batches=1/1h30m",
        ] {
            let arrival: Arrival = text.parse().unwrap();
            assert_eq!(arrival.to_string(), text);
        }
        for text in [
            "",
            "at once",
            "ramp",
            "ramp=0s",
            "ramp=-1m",
            "ramp=x",
            "rate=0/s",
            "rate=5",
            "rate=5/d",
            "batches",
            "batches=5",
            "batches=0/1m",
            "batches=5/0s",
            "batches=5/-1m",
            "batches=x/1m",
        ] {
            assert!(text.parse::<Arrival>().is_err(), "{text}");
        }
        let message = "batches=5/m".parse::<Arrival>().unwrap_err();
        assert!(message.contains("write them like 1000/2m"), "{message}");
    }

    #[test]
    fn every_profile_but_jitter_has_its_moments_by_arithmetic() {
        let moments = |text: &str, devices| {
            let arrival: Arrival = text.parse().unwrap();
            arrival.moments(devices, 0, &Entropy::new(1))
        };
        assert_eq!(moments("ramp=10s", 4), [0, 2_500, 5_000, 7_500]);
        assert_eq!(moments("rate=4/s", 5), [0, 250, 500, 750, 1_000]);
        assert_eq!(moments("batches=2/1m", 5), [0, 0, 60_000, 60_000, 120_000]);
        assert_eq!(moments("at-once", 2), [0, 0]);
    }

    /// R-C12.
    #[test]
    fn jitter_fills_the_time_the_services_take() {
        let moments = Arrival::Jitter.moments(1_000, 60_000, &Entropy::new(1));
        assert!(moments.iter().all(|at| (1_000..=60_000).contains(at)));
        assert!(moments.iter().any(|at| *at < 3_000));
        assert!(moments.iter().any(|at| *at > 58_000));
        let early = Arrival::Jitter.moments(3, 0, &Entropy::new(1));
        assert_eq!(early, [1_000; 3]);
    }
}
