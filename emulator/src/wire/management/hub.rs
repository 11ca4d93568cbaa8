//! Hubs as the management API spells them (ENDPOINTS 6).

use serde_json::{Value, json};

use super::instance::policy;
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
        },
    })
}
