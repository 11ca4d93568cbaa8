//! Spans of time as operators write them: `90d`, `1h30m`, `500ms`, `-1d`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

/// Longest span a scenario may name: a hundred years.
const LONGEST_MS: i64 = 100 * 365 * DAY_MS;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Units, the longest first; `ms` stands before `m` and `s` so that it is not read as either.
const UNITS: [(&str, i64); 6] = [
    ("ms", 1),
    ("w", 7 * DAY_MS),
    ("d", DAY_MS),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
];

/// A span in milliseconds, of either sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

impl Span {
    /// The span as a duration; zero where it is negative.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads a span.
    ///
    /// # Errors
    /// A sentence for the author, where `text` is not a span or is longer than a hundred years.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let magnitude = sum_of_parts(digits).ok_or_else(|| {
            format!("`{text}` is not a duration; write it like 90d, 1h30m, 500ms or -1d")
        })?;
        if magnitude > LONGEST_MS {
            return Err(format!(
                "`{text}` is longer than the longest duration, 36500d"
            ));
        }
        Ok(Self(sign * magnitude))
    }
}

impl Span {
    /// The span in its two largest units, and from ten seconds on without milliseconds.
    #[must_use]
    pub fn rounded(self) -> String {
        let keep = match self.0.unsigned_abs() {
            0..10_000 => 1,
            10_000..3_600_000 => 1000,
            3_600_000..86_400_000 => 60_000,
            _ => 3_600_000,
        };
        Self((self.0 + keep / 2).div_euclid(keep) * keep).to_string()
    }
}

fn sum_of_parts(mut rest: &str) -> Option<i64> {
    if rest.is_empty() {
        return None;
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..end].parse().ok()?;
        let (unit, factor) = UNITS
            .iter()
            .find(|(unit, _)| rest[end..].starts_with(unit))?;
        total = total.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[end + unit.len()..];
    }
    Some(total)
}

impl fmt::Display for Span {
    /// The shortest exact spelling with at most two units, or milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut left = self.0.unsigned_abs();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [
            ("d", DAY_MS.unsigned_abs()),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if left >= factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_operators_write_them() {
        let table = [
            ("90d", 90 * DAY_MS),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("-1d", -DAY_MS),
            ("2w", 14 * DAY_MS),
            ("1d2h3m4s5ms", DAY_MS + 7_384_005),
            ("0s", 0),
        ];
        for (text, milliseconds) in table {
            assert_eq!(Span::parse(text), Ok(Span(milliseconds)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in [
            "",
            "-",
            "90",
            "d",
            "1x",
            "1.5h",
            "1h ",
            "99999999999999999999d",
        ] {
            let message = Span::parse(text).unwrap_err();
            assert!(message.contains("write it like"), "{text}: {message}");
        }
        assert!(Span::parse("36501d").unwrap_err().contains("36500d"));
    }

    #[test]
    fn a_rounded_span_has_two_units() {
        let table = [
            (3_004, "3s4ms"),
            (14_398_384, "4h"),
            (4_657_326, "1h18m"),
            (61_400, "1m1s"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(Span(milliseconds).rounded(), text);
        }
    }

    #[test]
    fn a_span_prints_what_it_reads() {
        for text in ["90d", "1h30m", "500ms", "-1d", "0s", "60d2h"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
    }
}
