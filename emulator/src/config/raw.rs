//! The configuration file: TOML in, [`Config`] out.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use linarite_core::dps::allocation::HubWeight;
use linarite_core::hub::message::MessageSource;
use linarite_core::id::{HubHostName, IdScope};
use linarite_core::limits::{EVENT_RETENTION_DAYS_MAX, EVENT_RETENTION_DAYS_MIN, PARTITIONS_MAX};
use linarite_core::settings::{DisabledPrecedence, HubThumbprints};
use serde::Deserialize;
use toml::Spanned;

use super::{Config, EventsConfig, HubConfig};
use crate::limits::PARTITION_BYTES_MIN;

/// What is wrong with a configuration file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The field and what was expected of it.
    pub problem: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    listen: RawListen,
    dps: RawDps,
    hubs: Option<Spanned<Vec<RawHub>>>,
    settings: RawSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    address: Option<Spanned<String>>,
    mqtt: Option<u16>,
    https: Option<u16>,
    admin: Option<u16>,
    names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDps {
    name: Option<String>,
    host: Option<Spanned<String>>,
    id_scope: Option<Spanned<String>>,
    assignment_latency_ms: Option<u32>,
    retry_after_seconds: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHub {
    host: Spanned<String>,
    weight: Option<Spanned<u16>>,
    partition_count: Option<Spanned<u16>>,
    retention_days: Option<Spanned<u8>>,
    events_mib: Option<Spanned<u32>>,
    routes: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSettings {
    disabled_precedence: Option<Spanned<String>>,
    hub_thumbprints: Option<Spanned<String>>,
    require_anchor_in_chain: Option<bool>,
    check_validity: Option<bool>,
    strict_ids: Option<bool>,
    reset_on_same_hub: Option<bool>,
    never_updates_credentials: Option<bool>,
    drop_on_credential_change: Option<bool>,
    protect_referenced_ca: Option<bool>,
    danger_tls_resumption: Option<bool>,
}

/// Where problems are reported.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, at: usize, problem: impl Into<String>) -> ConfigError {
        let line = self
            .text
            .bytes()
            .take(at)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        ConfigError {
            file: self.file.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    fn parse<T, E: std::fmt::Display>(
        &self,
        field: &str,
        value: &Spanned<String>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        parse(value.get_ref())
            .map_err(|error| self.error(value.span().start, format!("{field}: {error}")))
    }

    fn within<T: Copy + PartialOrd + std::fmt::Display>(
        &self,
        field: &str,
        value: &Spanned<T>,
        expected: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        if expected.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let (start, end) = (expected.start(), expected.end());
        let problem = format!("{field}: expected {start} to {end}");
        Err(self.error(value.span().start, problem))
    }
}

pub(super) fn read(file: &str, text: &str) -> Result<Config, ConfigError> {
    let source = Source { file, text };
    let raw: RawConfig = toml::from_str(text).map_err(|error| {
        source.error(error.span().map_or(0, |span| span.start), error.message())
    })?;
    let mut config = Config::developer()
        .map_err(|error| source.error(0, format!("the defaults are wrong: {error}")))?;
    read_listen(&source, raw.listen, &mut config)?;
    read_dps(&source, raw.dps, &mut config)?;
    if let Some(hubs) = raw.hubs {
        config.hubs = read_hubs(&source, &hubs)?;
    }
    read_settings(&source, &raw.settings, &mut config)?;
    Ok(config)
}

fn read_listen(
    source: &Source<'_>,
    raw: RawListen,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let listen = &mut config.listen;
    if let Some(address) = &raw.address {
        listen.address = source.parse("listen.address", address, str::parse::<IpAddr>)?;
    }
    if let Some(port) = raw.https {
        listen.https = port;
        listen.https_fallback = None;
    }
    listen.mqtt = raw.mqtt.unwrap_or(listen.mqtt);
    listen.admin = raw.admin.unwrap_or(listen.admin);
    listen.extra_names = raw.names;
    Ok(())
}

fn read_dps(source: &Source<'_>, raw: RawDps, config: &mut Config) -> Result<(), ConfigError> {
    if let Some(name) = raw.name {
        config.dps.name = name;
    }
    if let Some(host) = &raw.host {
        config.dps.host = source.parse("dps.host", host, HubHostName::parse)?;
    }
    if let Some(scope) = &raw.id_scope {
        config.dps.id_scope = source.parse("dps.id_scope", scope, IdScope::parse)?;
    }
    if let Some(latency) = raw.assignment_latency_ms {
        config.assignment_latency = Duration::from_millis(u64::from(latency));
    }
    config.retry_after_seconds = raw
        .retry_after_seconds
        .unwrap_or(config.retry_after_seconds);
    Ok(())
}

fn read_hubs(
    source: &Source<'_>,
    hubs: &Spanned<Vec<RawHub>>,
) -> Result<Vec<HubConfig>, ConfigError> {
    if hubs.get_ref().is_empty() {
        return Err(source.error(hubs.span().start, "hubs: expected at least one"));
    }
    let mut read: Vec<HubConfig> = Vec::new();
    for hub in hubs.get_ref() {
        let host = source.parse("hubs.host", &hub.host, HubHostName::parse)?;
        if read.iter().any(|other| other.host == host) {
            let problem = format!("hubs.host: {host} is there twice");
            return Err(source.error(hub.host.span().start, problem));
        }
        let weight = match &hub.weight {
            None => HubWeight::default(),
            Some(weight) => HubWeight::new(*weight.get_ref()).map_err(|error| {
                source.error(weight.span().start, format!("hubs.weight: {error}"))
            })?,
        };
        let events = read_events(source, hub)?;
        read.push(HubConfig {
            host,
            weight,
            events,
        });
    }
    Ok(read)
}

fn read_events(source: &Source<'_>, hub: &RawHub) -> Result<EventsConfig, ConfigError> {
    let mut events = EventsConfig::default();
    if let Some(count) = &hub.partition_count {
        let expected = 1..=PARTITIONS_MAX;
        events.partition_count = source.within("hubs.partition_count", count, expected)?;
    }
    if let Some(days) = &hub.retention_days {
        let expected = EVENT_RETENTION_DAYS_MIN..=EVENT_RETENTION_DAYS_MAX;
        let days = source.within("hubs.retention_days", days, expected)?;
        events.retention = Duration::from_secs(u64::from(days) * 86_400);
    }
    if let Some(mib) = &hub.events_mib {
        // At least PARTITION_BYTES_MIN for each partition.
        let expected = u32::from(events.partition_count)..=1024 * 1024;
        let mib = source.within("hubs.events_mib", mib, expected)?;
        events.bytes_max = u64::from(mib) * PARTITION_BYTES_MIN;
    }
    for route in hub.routes.iter().flatten() {
        let from = source.parse("hubs.routes", route, |name| {
            MessageSource::parse(name)
                .filter(|from| *from != MessageSource::Telemetry)
                .ok_or(
                    "expected deviceLifecycleEvents, twinChangeEvents or \
                     deviceConnectionStateEvents; telemetry needs no route",
                )
        })?;
        if !events.routes.contains(&from) {
            events.routes.push(from);
        }
    }
    Ok(events)
}

fn read_settings(
    source: &Source<'_>,
    raw: &RawSettings,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let settings = &mut config.settings;
    if let Some(value) = &raw.disabled_precedence {
        settings.disabled_precedence =
            source.parse("settings.disabled_precedence", value, |text| match text {
                "first_match" => Ok(DisabledPrecedence::FirstMatch),
                "any_in_chain" => Ok(DisabledPrecedence::AnyInChain),
                _ => Err("expected first_match or any_in_chain (I-1)"),
            })?;
    }
    if let Some(value) = &raw.hub_thumbprints {
        settings.hub_thumbprints =
            source.parse("settings.hub_thumbprints", value, |text| match text {
                "presented_both" => Ok(HubThumbprints::PresentedBoth),
                "presented_then_other" => Ok(HubThumbprints::PresentedThenOther),
                _ => Err("expected presented_both or presented_then_other (I-2)"),
            })?;
    }
    let switches = [
        (
            raw.require_anchor_in_chain,
            &mut settings.require_anchor_in_chain,
        ),
        (raw.check_validity, &mut settings.check_validity),
        (raw.strict_ids, &mut settings.strict_ids),
        (raw.reset_on_same_hub, &mut settings.reset_on_same_hub),
        (
            raw.never_updates_credentials,
            &mut settings.never_updates_credentials,
        ),
        (
            raw.drop_on_credential_change,
            &mut settings.drop_on_credential_change,
        ),
        (
            raw.protect_referenced_ca,
            &mut settings.protect_referenced_ca,
        ),
        (raw.danger_tls_resumption, &mut config.danger_tls_resumption),
    ];
    for (value, target) in switches {
        *target = value.unwrap_or(*target);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_developers_default() {
        let config = read("empty.toml", "").unwrap();
        assert_eq!(config.listen.mqtt, 8883);
        assert_eq!(config.hubs[0].host.as_str(), "localhost");
    }

    #[test]
    fn the_documented_file_says_the_defaults() {
        let documented =
            read("linarite.toml", include_str!("../../../docs/linarite.toml")).unwrap();
        let mut default = read("empty.toml", "").unwrap();
        // Naming the HTTPS port is what gives its fallback up.
        default.listen.https_fallback = None;
        assert_eq!(format!("{documented:?}"), format!("{default:?}"));
    }

    /// R-G38, R-G40.
    #[test]
    fn a_hub_may_keep_events_otherwise() {
        let text = "[[hubs]]\nhost = \"a.test\"\npartition_count = 8\nretention_days = 7\n\
                    events_mib = 16\nroutes = [\"twinChangeEvents\", \"TwinChangeEvents\"]\n";
        let config = read("linarite.toml", text).unwrap();
        let expected = EventsConfig {
            partition_count: 8,
            retention: Duration::from_secs(7 * 86_400),
            bytes_max: 16 * 1024 * 1024,
            routes: vec![MessageSource::TwinChange],
        };
        assert_eq!(config.hubs[0].events, expected);
    }

    #[test]
    fn problems_name_file_line_and_field() {
        let table = [
            ("[listen]\nmqtt = 70000\n", 2, "u16"),
            ("[listen]\naddress = \"here\"\n", 2, "listen.address"),
            ("\n[dsp]\n", 2, "dsp"),
            ("hubs = []\n", 1, "hubs: expected at least one"),
            (
                "[[hubs]]\nhost = \"a.test\"\nweight = 0\n",
                3,
                "hubs.weight",
            ),
            (
                "[[hubs]]\nhost = \"a.test\"\n[[hubs]]\nhost = \"A.test\"\n",
                4,
                "twice",
            ),
            (
                "[settings]\nhub_thumbprints = \"both\"\n",
                2,
                "presented_both",
            ),
            (
                "[[hubs]]\nhost = \"a.test\"\npartition_count = 33\n",
                3,
                "hubs.partition_count: expected 1 to 32",
            ),
            (
                "[[hubs]]\nhost = \"a.test\"\nretention_days = 0\n",
                3,
                "hubs.retention_days: expected 1 to 7",
            ),
            (
                "[[hubs]]\nhost = \"a.test\"\nevents_mib = 3\n",
                3,
                "hubs.events_mib: expected 4 to 1048576",
            ),
            (
                "[[hubs]]\nhost = \"a.test\"\nroutes = [\n\"Telemetry\"]\n",
                4,
                "hubs.routes: expected deviceLifecycleEvents, twinChangeEvents or",
            ),
        ];
        for (text, line, expected) in table {
            let error = read("linarite.toml", text).unwrap_err();
            assert_eq!(
                (error.file.as_str(), error.line),
                ("linarite.toml", line),
                "{error}"
            );
            assert!(error.problem.contains(expected), "{error}");
        }
    }
}
