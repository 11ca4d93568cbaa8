//! The configuration file: TOML in, [`Config`] out.

mod hub;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use linarite_core::dps::allocation::InstanceAllocationPolicy;
use linarite_core::id::{HubHostName, IdScope};
use linarite_core::limits::{FORCED_CLOSE_DELAY_SECONDS_MAX, RETRY_AFTER_JITTER_SECONDS_MAX};
use linarite_core::settings::{DisabledPrecedence, HubThumbprints};
use linarite_core::throttle::RateLimit;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use toml::Spanned;

use super::{Config, DpsThrottles, WebhookConfig};
use crate::limits::{THROTTLE_MAX, WEBHOOK_TIMEOUT_SECONDS_MAX};
use hub::{RawHub, read_hubs};

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
    throttles: Option<Spanned<String>>,
    registrations_per_minute: Option<Spanned<i64>>,
    polls_per_ten_seconds: Option<Spanned<i64>>,
    service_operations_per_minute: Option<Spanned<i64>>,
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
    retry_after_jitter_seconds: Option<Spanned<u32>>,
    refused_requests_count: Option<bool>,
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
    config.dps.throttles = read_throttles(source, &raw)?;
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

/// All of Azure's limits or none, and beside them each by itself; 0 takes one away.
fn read_throttles(source: &Source<'_>, raw: &RawDps) -> Result<DpsThrottles, ConfigError> {
    let mut throttles = match &raw.throttles {
        None => DpsThrottles::default(),
        Some(named) => source.parse("dps.throttles", named, |text| match text {
            "none" => Ok(DpsThrottles::default()),
            "azure" => Ok(DpsThrottles::azure()),
            _ => Err("expected azure or none (R-H1)"),
        })?,
    };
    let minute: fn(NonZeroU32) -> RateLimit = RateLimit::per_minute;
    let table = [
        (
            "registrations_per_minute",
            &raw.registrations_per_minute,
            &mut throttles.registrations,
            minute,
        ),
        (
            "polls_per_ten_seconds",
            &raw.polls_per_ten_seconds,
            &mut throttles.polls,
            RateLimit::per_ten_seconds,
        ),
        (
            "service_operations_per_minute",
            &raw.service_operations_per_minute,
            &mut throttles.service_operations,
            minute,
        ),
    ];
    for (name, value, limit, of) in table {
        if let Some(value) = value {
            let count = source.number(&format!("dps.{name}"), value, |number| {
                let count = u32::try_from(number).ok();
                let count = count.filter(|count| *count <= THROTTLE_MAX);
                count.ok_or_else(|| format!("expected 0 to {THROTTLE_MAX}"))
            })?;
            *limit = NonZeroU32::new(count).map(of);
        }
    }
    Ok(throttles)
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
    let bounded = [
        (
            "forced_close_delay_seconds",
            &raw.forced_close_delay_seconds,
            (FORCED_CLOSE_DELAY_SECONDS_MAX, "R-E6"),
            &mut settings.forced_close_delay_seconds,
        ),
        (
            "retry_after_jitter_seconds",
            &raw.retry_after_jitter_seconds,
            (RETRY_AFTER_JITTER_SECONDS_MAX, "R-H1"),
            &mut settings.retry_after_jitter_seconds,
        ),
    ];
    for (name, value, (max, rule), target) in bounded {
        let Some(seconds) = value else { continue };
        if *seconds.get_ref() > max {
            let problem = format!(
                "settings.{name}: {} is over {max} ({rule})",
                seconds.get_ref()
            );
            return Err(source.error(seconds.span().start, problem));
        }
        *target = *seconds.get_ref();
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
        (
            raw.refused_requests_count,
            &mut settings.refused_requests_count,
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
