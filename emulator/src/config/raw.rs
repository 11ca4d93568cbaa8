//! The configuration file: TOML in, [`Config`] out.

use std::net::IpAddr;
use std::time::Duration;

use linarite_core::dps::allocation::HubWeight;
use linarite_core::id::{HubHostName, IdScope};
use linarite_core::settings::{DisabledPrecedence, HubThumbprints};
use serde::Deserialize;
use toml::Spanned;

use super::{Config, HubConfig};

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
        read.push(HubConfig { host, weight });
    }
    Ok(read)
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
