//! Reads `[limits]`: how often DPS may be asked while the scenario runs (R-H1, R-H2).

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checked, at};
use super::place::Source;

/// The largest number a limit may be.
const LIMIT_MAX: u32 = 1_000_000;

/// Limits of DPS; it has none where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Whether Azure's limits hold, apart from those below.
    pub azure: bool,
    /// Registrations and look-ups of all devices in a minute.
    pub registrations_per_minute: Option<u32>,
    /// Polls of each device in ten seconds.
    pub polls_per_ten_seconds: Option<u32>,
    /// Calls of the service API in a minute.
    pub service_operations_per_minute: Option<u32>,
}

impl Limits {
    /// The section `[dps]` of a configuration of the emulator that keeps these limits.
    #[must_use]
    pub fn configuration(&self) -> String {
        let named = if self.azure { "azure" } else { "none" };
        let mut text = format!("[dps]\nthrottles = \"{named}\"\n");
        let numbers = [
            ("registrations_per_minute", self.registrations_per_minute),
            ("polls_per_ten_seconds", self.polls_per_ten_seconds),
            (
                "service_operations_per_minute",
                self.service_operations_per_minute,
            ),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                text += &format!("{name} = {number}\n");
            }
        }
        text
    }
}

/// Whose limits hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Throttles {
    /// Nobody's.
    #[default]
    None,
    /// Azure's, as published.
    Azure,
}

/// Limits as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    #[serde(default)]
    throttles: Throttles,
    #[serde(default)]
    registrations_per_minute: Option<Spanned<u32>>,
    #[serde(default)]
    polls_per_ten_seconds: Option<Spanned<u32>>,
    #[serde(default)]
    service_operations_per_minute: Option<Spanned<u32>>,
}

pub(super) fn limits(source: Source<'_>, raw: &RawLimits) -> Checked<Limits> {
    let number = |value: &Option<Spanned<u32>>| {
        let Some(value) = value else { return Ok(None) };
        let number = *value.get_ref();
        if !(1..=LIMIT_MAX).contains(&number) {
            let message = format!("{number} is not between 1 and {LIMIT_MAX}");
            return Err(at(source, value, message));
        }
        Ok(Some(number))
    };
    Ok(Limits {
        azure: raw.throttles == Throttles::Azure,
        registrations_per_minute: number(&raw.registrations_per_minute)?,
        polls_per_ten_seconds: number(&raw.polls_per_ten_seconds)?,
        service_operations_per_minute: number(&raw.service_operations_per_minute)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Checked<Limits> {
        let source = Source { file: "f", text };
        limits(source, &toml::from_str(text).unwrap())
    }

    /// R-H1.
    #[test]
    fn a_number_stands_beside_azures_limits_or_alone() {
        assert_eq!(read("").unwrap(), Limits::default());
        let both = read("throttles = \"azure\"\nregistrations_per_minute = 200").unwrap();
        assert_eq!(
            both.configuration(),
            "[dps]\nthrottles = \"azure\"\nregistrations_per_minute = 200\n"
        );
        let alone = read("polls_per_ten_seconds = 7").unwrap();
        assert_eq!(
            alone.configuration(),
            "[dps]\nthrottles = \"none\"\npolls_per_ten_seconds = 7\n"
        );
    }

    #[test]
    fn a_limit_of_nothing_is_refused_with_its_line() {
        let error = read("\nregistrations_per_minute = 0").unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("f:2: "), "{shown}");
        assert!(shown.contains("between 1 and 1000000"), "{shown}");
    }
}
