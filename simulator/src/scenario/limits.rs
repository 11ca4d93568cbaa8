//! Reads `[limits]`: how often DPS and the hubs may be asked while the scenario runs (R-H1 to R-H7).

use linarite_core::hub::tier::{Edition, Tier};
use serde::Deserialize;
use toml::Spanned;

use super::check::{Checked, at};
use super::place::Source;

/// The largest number a limit may be.
const LIMIT_MAX: u32 = 1_000_000;

/// Limits of DPS and the hubs; they have none where nothing is said.
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
    /// The tier whose limits every hub keeps.
    pub tier: Option<Tier>,
    /// Limits of every hub in place of its tier's, by the name that the configuration gives them.
    pub hub: Vec<(&'static str, u64)>,
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

    /// What stands in the `[[hubs]]` of a configuration that keeps these limits.
    #[must_use]
    pub fn of_hubs(&self) -> String {
        let mut text = String::new();
        if let Some(tier) = self.tier {
            let (edition, units) = (tier.edition().name(), tier.units());
            text += &format!("tier = \"{edition}\"\nunits = {units}\n");
        }
        let limits = self.hub.iter();
        let limits: Vec<_> = limits
            .map(|(name, count)| format!("{name} = {count}"))
            .collect();
        text + &format!("limits = {{ {} }}\n", limits.join(", "))
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
    #[serde(default)]
    tier: Option<Spanned<String>>,
    #[serde(default)]
    units: Option<Spanned<u32>>,
    #[serde(default)]
    hub: RawHubLimits,
}

/// Limits of hubs as they are written; 0 lifts one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHubLimits {
    #[serde(default)]
    registry_operations_per_minute: Option<Spanned<u64>>,
    #[serde(default)]
    connections_per_second: Option<Spanned<u64>>,
    #[serde(default)]
    d2c_sends_per_second: Option<Spanned<u64>>,
    #[serde(default)]
    queries_per_minute: Option<Spanned<u64>>,
    #[serde(default)]
    c2d_sends_per_minute: Option<Spanned<u64>>,
    #[serde(default)]
    method_calls_per_second: Option<Spanned<u64>>,
    #[serde(default)]
    twin_reads_per_second: Option<Spanned<u64>>,
    #[serde(default)]
    twin_updates_per_second: Option<Spanned<u64>>,
    #[serde(default)]
    job_operations_per_minute: Option<Spanned<u64>>,
    #[serde(default)]
    messages_per_day: Option<Spanned<u64>>,
}

impl RawHubLimits {
    fn named(&self) -> [(&'static str, &Option<Spanned<u64>>); 10] {
        [
            (
                "registry_operations_per_minute",
                &self.registry_operations_per_minute,
            ),
            ("connections_per_second", &self.connections_per_second),
            ("d2c_sends_per_second", &self.d2c_sends_per_second),
            ("queries_per_minute", &self.queries_per_minute),
            ("c2d_sends_per_minute", &self.c2d_sends_per_minute),
            ("method_calls_per_second", &self.method_calls_per_second),
            ("twin_reads_per_second", &self.twin_reads_per_second),
            ("twin_updates_per_second", &self.twin_updates_per_second),
            ("job_operations_per_minute", &self.job_operations_per_minute),
            ("messages_per_day", &self.messages_per_day),
        ]
    }
}

/// The largest number a hub's limit may be, as in the emulator's configuration.
const HUB_LIMIT_MAX: u64 = 1_000_000_000;

fn tier(source: Source<'_>, raw: &RawLimits) -> Checked<Option<Tier>> {
    let units = raw.units.as_ref().map_or(1, |units| *units.get_ref());
    let Some(named) = &raw.tier else {
        return match &raw.units {
            Some(units) => Err(at(
                source,
                units,
                "units are of a tier; name one, such as tier = \"S1\"",
            )),
            None => Ok(None),
        };
    };
    let edition = Edition::parse(named.get_ref()).map_err(|_| {
        let message = format!(
            "no tier is called {:?}; expected F1, S1, S2 or S3",
            named.get_ref()
        );
        at(source, named, message)
    })?;
    let place = raw.units.as_ref();
    Tier::new(edition, units)
        .map(Some)
        .map_err(|error| match place {
            Some(units) => at(source, units, error.to_string()),
            None => at(source, named, error.to_string()),
        })
}

fn hub(source: Source<'_>, raw: &RawHubLimits) -> Checked<Vec<(&'static str, u64)>> {
    let mut limits = Vec::new();
    for (name, value) in raw.named() {
        let Some(value) = value else { continue };
        let number = *value.get_ref();
        if number > HUB_LIMIT_MAX {
            let message = format!("{number} is not between 0 and {HUB_LIMIT_MAX}");
            return Err(at(source, value, message));
        }
        limits.push((name, number));
    }
    Ok(limits)
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
        tier: tier(source, raw)?,
        hub: hub(source, &raw.hub)?,
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

    /// R-H4, R-H7.
    #[test]
    fn hubs_keep_the_limits_of_a_tier_and_others_in_their_place() {
        assert_eq!(read("").unwrap().of_hubs(), "limits = {  }\n");
        let all = read(
            "tier = \"s2\"\nunits = 3\n[hub]\nmessages_per_day = 7\nconnections_per_second = 0",
        );
        assert_eq!(
            all.unwrap().of_hubs(),
            "tier = \"S2\"\nunits = 3\nlimits = { connections_per_second = 0, messages_per_day = 7 }\n"
        );
        for (text, line, expected) in [
            ("units = 2", 1, "name one"),
            ("\ntier = \"B1\"", 2, "F1, S1, S2 or S3"),
            ("tier = \"F1\"\nunits = 2", 2, "F1 has one unit"),
            ("tier = \"S1\"\nunits = 201", 2, "1 to 200"),
            (
                "[hub]\nmessages_per_day = 1000000001",
                2,
                "between 0 and 1000000000",
            ),
        ] {
            let shown = read(text).unwrap_err().to_string();
            assert!(
                shown.starts_with(&format!("f:{line}: ")) && shown.contains(expected),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused_with_its_line() {
        let error = read("\nregistrations_per_minute = 0").unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("f:2: "), "{shown}");
        assert!(shown.contains("between 1 and 1000000"), "{shown}");
    }
}
