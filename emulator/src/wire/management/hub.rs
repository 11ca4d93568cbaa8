//! Hubs as the management API spells them (ENDPOINTS 6).

use linarite_core::limits::{C2D_DELIVERY_COUNT_DEFAULT, FEEDBACK_LOCK_SECONDS_DEFAULT};
use serde_json::{Value, json};

use super::instance::policy;
use crate::config::C2dConfig;
use crate::service::hub::Hub;
use crate::service::links::LOCATION;

/// `IotHubDescription`, without any key.
pub(crate) fn hub(hub: &Hub, path: &str) -> Value {
    let policies = hub.policy.all();
    json!({
        "id": path,
        "name": hub.resource_name(),
        "type": "Microsoft.Devices/IotHubs",
        "location": LOCATION,
        "tags": {},
        "etag": hub.resource_etag.as_str(),
        "sku": { "name": "S1", "tier": "Standard", "capacity": 1 },
        "properties": {
            "state": "Active",
            "provisioningState": "Succeeded",
            "hostName": hub.host.as_str(),
            "locations": [{ "location": LOCATION, "role": "primary" }],
            "authorizationPolicies": policies.iter().map(policy).collect::<Value>(),
            "features": "DeviceManagement",
            "cloudToDevice": cloud_to_device(&hub.c2d),
        },
    })
}

/// What becomes of messages for devices (R-G27, R-G30).
fn cloud_to_device(c2d: &C2dConfig) -> Value {
    json!({
        "maxDeliveryCount": c2d.delivery_count_max,
        "defaultTtlAsIso8601": duration(c2d.ttl_seconds),
        "feedback": {
            "lockDurationAsIso8601": duration(FEEDBACK_LOCK_SECONDS_DEFAULT),
            "ttlAsIso8601": duration(c2d.feedback_ttl_seconds),
            "maxDeliveryCount": C2D_DELIVERY_COUNT_DEFAULT,
        },
    })
}

/// A span as ISO 8601 writes it: `P1DT2H`, `PT1M`.
fn duration(seconds: u32) -> String {
    let part = |count: u32, unit: &str| match count {
        0 => String::new(),
        count => format!("{count}{unit}"),
    };
    let (minutes, seconds) = (seconds / 60, part(seconds % 60, "S"));
    let (hours, minutes) = (minutes / 60, part(minutes % 60, "M"));
    let (days, hours) = (part(hours / 24, "D"), part(hours % 24, "H"));
    match format!("{hours}{minutes}{seconds}") {
        time if time.is_empty() => format!("P{days}"),
        time => format!("P{days}T{time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_leave_out_what_they_do_not_have() {
        let table = [
            (60, "PT1M"),
            (3600, "PT1H"),
            (5445, "PT1H30M45S"),
            (86_400, "P1D"),
            (172_799, "P1DT23H59M59S"),
        ];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected);
        }
    }
}
