//! The hubs of the configuration file.

use std::num::NonZeroU32;
use std::time::Duration;

use linarite_core::dps::allocation::HubWeight;
use linarite_core::hub::message::MessageSource;
use linarite_core::hub::quota::{DailyQuota, METER_BYTES};
use linarite_core::hub::tier::{Edition, Metered, Tier};
use linarite_core::id::HubHostName;
use linarite_core::limits::{
    C2D_DELIVERY_COUNT_MAX, C2D_TTL_SECONDS_MAX, C2D_TTL_SECONDS_MIN, EVENT_RETENTION_DAYS_MAX,
    EVENT_RETENTION_DAYS_MIN, HUB_UNITS_MAX, HUB_UNITS_MIN, PARTITIONS_MAX,
};
use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Source};
use crate::config::{C2dConfig, EventsConfig, HubConfig, HubLimits};
use crate::limits::{DAILY_MESSAGES_MAX, PARTITION_BYTES_MIN, THROTTLE_MAX};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHub {
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
    limits: Option<RawLimits>,
    dps_writes_count: Option<bool>,
    c2d_ttl_seconds: Option<Spanned<u32>>,
    c2d_max_delivery_count: Option<Spanned<u32>>,
    feedback_ttl_seconds: Option<Spanned<u32>>,
}

/// Limits in place of the tier's; 0 for none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    registry_operations_per_minute: Option<Spanned<u32>>,
    connections_per_second: Option<Spanned<u32>>,
    d2c_sends_per_second: Option<Spanned<u32>>,
    queries_per_minute: Option<Spanned<u32>>,
    c2d_sends_per_minute: Option<Spanned<u32>>,
    method_calls_per_second: Option<Spanned<u32>>,
    twin_reads_per_second: Option<Spanned<u32>>,
    twin_updates_per_second: Option<Spanned<u32>>,
    job_operations_per_minute: Option<Spanned<u32>>,
    messages_per_day: Option<Spanned<u64>>,
}

/// The hubs of a file, in their order.
pub(super) fn read_hubs(
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
        config.c2d = read_c2d(source, hub)?;
        config.tier = read_tier(source, hub)?;
        config.limits = read_limits(source, hub, config.tier)?;
        config.dps_writes_count = hub.dps_writes_count.unwrap_or(true);
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

fn read_c2d(source: &Source<'_>, hub: &RawHub) -> Result<C2dConfig, ConfigError> {
    let mut c2d = C2dConfig::default();
    let seconds = || C2D_TTL_SECONDS_MIN..=C2D_TTL_SECONDS_MAX;
    if let Some(value) = &hub.c2d_ttl_seconds {
        c2d.ttl_seconds = source.within("hubs.c2d_ttl_seconds", value, seconds())?;
    }
    if let Some(value) = &hub.feedback_ttl_seconds {
        let field = "hubs.feedback_ttl_seconds";
        c2d.feedback_ttl_seconds = source.within(field, value, seconds())?;
    }
    if let Some(count) = &hub.c2d_max_delivery_count {
        let expected = 1..=C2D_DELIVERY_COUNT_MAX;
        c2d.delivery_count_max = source.within("hubs.c2d_max_delivery_count", count, expected)?;
    }
    Ok(c2d)
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

/// The tier's limits, and in their place those that the file names.
fn read_limits(
    source: &Source<'_>,
    hub: &RawHub,
    tier: Option<Tier>,
) -> Result<HubLimits, ConfigError> {
    let mut limits = tier.map_or_else(HubLimits::default, HubLimits::of_tier);
    let Some(raw) = &hub.limits else {
        return Ok(limits);
    };
    let named = [
        (
            &raw.registry_operations_per_minute,
            Metered::RegistryOperations,
        ),
        (&raw.connections_per_second, Metered::Connections),
        (&raw.d2c_sends_per_second, Metered::DeviceToCloud),
        (&raw.queries_per_minute, Metered::Queries),
        (&raw.c2d_sends_per_minute, Metered::CloudToDevice),
        (&raw.method_calls_per_second, Metered::MethodCalls),
        (&raw.twin_reads_per_second, Metered::TwinReads),
        (&raw.twin_updates_per_second, Metered::TwinUpdates),
        (&raw.job_operations_per_minute, Metered::JobOperations),
    ];
    for (count, metered) in named {
        if let Some(count) = count {
            let count = source.within("hubs.limits", count, 0..=THROTTLE_MAX)?;
            limits.set(
                metered,
                NonZeroU32::new(count).map(|count| metered.at_most(count)),
            );
        }
    }
    if let Some(messages) = &raw.messages_per_day {
        let messages = source.within("hubs.limits", messages, 0..=DAILY_MESSAGES_MAX)?;
        let meter_bytes = limits
            .daily()
            .map_or(METER_BYTES, |daily| daily.meter_bytes);
        let quota = DailyQuota {
            messages,
            meter_bytes,
        };
        limits.set_daily((messages > 0).then_some(quota));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

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

    /// R-H4, R-H5, R-H6.
    #[test]
    fn limits_are_the_tiers_or_ones_own() {
        let hub = |lines: &str| {
            let text = format!("[[hubs]]\nhost = \"a.test\"\n{lines}");
            read("linarite.toml", &text).map(|config| config.hubs[0].clone())
        };
        let none = hub("").unwrap();
        assert_eq!(
            (none.limits, none.dps_writes_count),
            (HubLimits::default(), true)
        );
        let tier = hub("tier = \"S2\"\nunits = 3\ndps_writes_count = false\n").unwrap();
        assert!(!tier.dps_writes_count);
        let connections = |hub: &HubConfig| {
            let limit = hub.limits.of(Metered::Connections);
            limit.map(|limit| (limit.count.get(), limit.window_ms.get()))
        };
        assert_eq!(connections(&tier), Some((360, 1_000)));
        let own =
            hub("tier = \"S1\"\nlimits = { connections_per_second = 7, queries_per_minute = 0 }\n");
        let own = own.unwrap();
        assert_eq!(connections(&own), Some((7, 1_000)));
        assert_eq!(own.limits.of(Metered::Queries), None);
        let registry = own.limits.of(Metered::RegistryOperations).unwrap();
        assert_eq!(
            (registry.count.get(), registry.window_ms.get()),
            (100, 60_000)
        );
        let daily = |lines: &str| hub(lines).unwrap().limits.daily();
        let quota = |messages, meter_bytes| {
            Some(DailyQuota {
                messages,
                meter_bytes,
            })
        };
        assert_eq!(daily("tier = \"S1\"\nunits = 2\n"), quota(800_000, 4_096));
        assert_eq!(
            daily("limits = { messages_per_day = 7 }\n"),
            quota(7, 4_096)
        );
        let free = "tier = \"F1\"\nlimits = { messages_per_day = 7 }\n";
        assert_eq!(daily(free), quota(7, 512));
        assert_eq!(
            daily("tier = \"S1\"\nlimits = { messages_per_day = 0 }\n"),
            None
        );
        let unknown = hub("limits = { connections = 7 }\n")
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("connections_per_second"), "{unknown}");
    }

    /// R-G27, R-G30.
    #[test]
    fn a_hub_may_keep_messages_for_devices_otherwise() {
        let text = "[[hubs]]\nhost = \"a.test\"\nc2d_ttl_seconds = 60\n\
                    c2d_max_delivery_count = 100\nfeedback_ttl_seconds = 172800\n";
        let config = read("linarite.toml", text).unwrap();
        let expected = C2dConfig {
            ttl_seconds: 60,
            delivery_count_max: 100,
            feedback_ttl_seconds: 172_800,
        };
        assert_eq!(config.hubs[0].c2d, expected);
        for (field, number, expected) in [
            ("c2d_ttl_seconds", 59, "60 to 172800"),
            ("c2d_ttl_seconds", 172_801, "60 to 172800"),
            ("feedback_ttl_seconds", 0, "60 to 172800"),
            ("c2d_max_delivery_count", 0, "1 to 100"),
            ("c2d_max_delivery_count", 101, "1 to 100"),
        ] {
            let text = format!("[[hubs]]\nhost = \"a.test\"\n{field} = {number}\n");
            let error = read("linarite.toml", &text).unwrap_err();
            let expected = format!("hubs.{field}: expected {expected}");
            assert_eq!((error.line, error.problem), (3, expected));
        }
    }
}
