//! The configuration file: TOML in, [`Config`] out.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use linarite_core::dps::allocation::{HubWeight, InstanceAllocationPolicy};
use linarite_core::hub::message::MessageSource;
use linarite_core::hub::tier::{Edition, Tier};
use linarite_core::id::{HubHostName, IdScope};
use linarite_core::limits::{
    EVENT_RETENTION_DAYS_MAX, EVENT_RETENTION_DAYS_MIN, FORCED_CLOSE_DELAY_SECONDS_MAX,
    HUB_UNITS_MAX, HUB_UNITS_MIN, PARTITIONS_MAX,
};
use linarite_core::settings::{DisabledPrecedence, HubThumbprints};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use toml::Spanned;

use super::{Config, EventsConfig, HubConfig, WebhookConfig};
use crate::limits::{PARTITION_BYTES_MIN, WEBHOOK_TIMEOUT_SECONDS_MAX};

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
    webhook: RawWebhook,
    settings: RawSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawListen {
    address: Option<Spanned<String>>,
    mqtt: Option<u16>,
    https: Option<u16>,
    admin: Option<u16>,
    mirror: Option<Spanned<toml::Value>>,
    names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDps {
    name: Option<String>,
    host: Option<Spanned<String>>,
    id_scope: Option<Spanned<String>>,
    allocation_policy: Option<Spanned<String>>,
    assignment_latency_ms: Option<u32>,
    retry_after_seconds: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHub {
    host: Spanned<String>,
    weight: Option<Spanned<i64>>,
    latency_ms: Option<Spanned<i64>>,
    apply_allocation_policy: Option<bool>,
    partition_count: Option<Spanned<u16>>,
    retention_days: Option<Spanned<u8>>,
    events_mib: Option<Spanned<u32>>,
    routes: Option<Vec<Spanned<String>>>,
    tier: Option<Spanned<String>>,
    units: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWebhook {
    timeout_seconds: Option<Spanned<i64>>,
    ca_file: Option<Spanned<String>>,
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
    drop_on_expiry: Option<bool>,
    forced_close_delay_seconds: Option<Spanned<u32>>,
    sas_clock_skew_seconds: Option<u32>,
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

    /// The key on the line at `at`, if it sets one.
    fn field_at(&self, at: usize) -> Option<&str> {
        let before = self.text.get(..at)?;
        let line = before.rsplit('\n').next()?;
        let (key, _) = line.split_once('=')?;
        Some(key.trim())
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

    fn number<T, E: std::fmt::Display>(
        &self,
        field: &str,
        value: &Spanned<i64>,
        read: impl Fn(i64) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let number = *value.get_ref();
        read(number).map_err(|error| {
            let problem = format!("{field}: {error}, not {number}");
            self.error(value.span().start, problem)
        })
    }
}

pub(super) fn read(file: &str, text: &str) -> Result<Config, ConfigError> {
    let source = Source { file, text };
    let raw: RawConfig = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let field = source.field_at(at).map(|field| format!("{field}: "));
        let problem = field.unwrap_or_default() + error.message();
        source.error(at, problem)
    })?;
    let mut config = Config::developer()
        .map_err(|error| source.error(0, format!("the defaults are wrong: {error}")))?;
    read_listen(&source, raw.listen, &mut config)?;
    read_dps(&source, raw.dps, &mut config)?;
    if let Some(hubs) = raw.hubs {
        config.hubs = read_hubs(&source, &hubs)?;
    }
    read_webhook(&source, &raw.webhook, &mut config.webhook)?;
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
    if let Some(mirror) = &raw.mirror {
        listen.mirror = match mirror.get_ref() {
            toml::Value::Boolean(false) => None,
            value => {
                let port = value.as_integer().and_then(|port| u16::try_from(port).ok());
                Some(port.ok_or_else(|| {
                    let problem = format!("listen.mirror: expected a port or false, not {value}");
                    source.error(mirror.span().start, problem)
                })?)
            }
        };
    }
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
    if let Some(policy) = &raw.allocation_policy {
        config.dps.allocation_policy =
            source.parse("dps.allocation_policy", policy, |text| match text {
                "geo_latency" => Ok(InstanceAllocationPolicy::GeoLatency),
                "hashed" => Ok(InstanceAllocationPolicy::Hashed),
                "static" => Ok(InstanceAllocationPolicy::Static),
                _ => Err("expected hashed, geo_latency or static (R-B11)"),
            })?;
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
        let mut config = HubConfig::new(host);
        if let Some(weight) = &hub.weight {
            config.weight = source.number("hubs.weight", weight, |number| {
                let weight = u16::try_from(number).unwrap_or(u16::MAX);
                HubWeight::new(weight)
                    .map_err(|error| format!("expected {} to {}", error.min, error.max))
            })?;
        }
        if let Some(latency) = &hub.latency_ms {
            config.latency_ms = Some(source.number("hubs.latency_ms", latency, |number| {
                u32::try_from(number).map_err(|_| format!("expected 0 to {}", u32::MAX))
            })?);
        }
        config.apply_allocation_policy = hub.apply_allocation_policy.unwrap_or(true);
        config.events = read_events(source, hub)?;
        config.tier = read_tier(source, hub)?;
        read.push(config);
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

fn read_webhook(
    source: &Source<'_>,
    raw: &RawWebhook,
    webhook: &mut WebhookConfig,
) -> Result<(), ConfigError> {
    if let Some(seconds) = &raw.timeout_seconds {
        let max = WEBHOOK_TIMEOUT_SECONDS_MAX;
        let seconds = source.number("webhook.timeout_seconds", seconds, |number| {
            let seconds = u64::try_from(number).ok();
            let within = seconds.filter(|seconds| (1..=max).contains(seconds));
            within.ok_or_else(|| format!("expected 1 to {max}"))
        })?;
        webhook.timeout = Duration::from_secs(seconds);
    }
    if let Some(path) = &raw.ca_file {
        let beside = Path::new(source.file).parent().unwrap_or(Path::new(""));
        webhook.extra_ca = source.parse("webhook.ca_file", path, |path| {
            read_certificates(&beside.join(path))
        })?;
    }
    Ok(())
}

/// The certificates of a PEM file, at least one, as DER.
fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let name = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{name} is not readable: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| format!("{name} is no PEM file: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{name} holds no certificate"));
    }
    Ok(certificates.iter().map(|der| der.to_vec()).collect())
}

/// No tier and the tier `none` are the same; the units are checked with either.
fn read_tier(source: &Source<'_>, hub: &RawHub) -> Result<Option<Tier>, ConfigError> {
    let named = hub.tier.as_ref();
    let named = named.filter(|tier| !tier.get_ref().eq_ignore_ascii_case("none"));
    let edition = match named {
        None => None,
        Some(tier) => Some(source.parse("hubs.tier", tier, Edition::parse)?),
    };
    let units = match &hub.units {
        None => HUB_UNITS_MIN,
        Some(units) => source.within("hubs.units", units, HUB_UNITS_MIN..=HUB_UNITS_MAX)?,
    };
    let at = hub.units.as_ref().map(|units| units.span().start);
    let tier = edition.map(|edition| Tier::new(edition, units)).transpose();
    tier.map_err(|error| source.error(at.unwrap_or_default(), format!("hubs.units: {error}")))
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
    if let Some(delay) = &raw.forced_close_delay_seconds {
        let max = FORCED_CLOSE_DELAY_SECONDS_MAX;
        if *delay.get_ref() > max {
            let problem = format!(
                "settings.forced_close_delay_seconds: {} is over {max} (R-E6)",
                delay.get_ref()
            );
            return Err(source.error(delay.span().start, problem));
        }
        settings.forced_close_delay_seconds = *delay.get_ref();
    }
    settings.sas_clock_skew_seconds = raw
        .sas_clock_skew_seconds
        .unwrap_or(settings.sas_clock_skew_seconds);
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
        (raw.drop_on_expiry, &mut settings.drop_on_expiry),
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
mod tests;
