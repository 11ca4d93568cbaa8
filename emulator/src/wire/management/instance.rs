//! The DPS instance and shared access policies as the management API spells them (ENDPOINTS 5).

use linarite_core::dps::allocation::InstanceAllocationPolicy;
use linarite_core::id::ETag;
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::ServiceError;
use crate::limits::{POLICIES_MAX, POLICY_NAME_LENGTH_MAX};
use crate::policy::{Policy, Rights};
use crate::wire::reader::Reader;

/// Where everything is, as far as the API asks for a region.
const LOCATION: &str = "local";

/// `ProvisioningServiceDescription`, without any key; `owners` are the hubs' owner policies in
/// the hubs' order.
pub(crate) fn instance(
    config: &Config,
    owners: &[Policy],
    path: &str,
    etag: &ETag,
    policies: &[Policy],
) -> Value {
    let host = config.dps.host.as_str();
    let hubs = config.hubs.iter().zip(owners).map(|(hub, owner)| {
        json!({
            "name": hub.host.as_str(),
            "connectionString": format!(
                "HostName={};SharedAccessKeyName={};SharedAccessKey=****",
                hub.host, owner.name
            ),
            "location": LOCATION,
            "applyAllocationPolicy": true,
            "allocationWeight": hub.weight.get(),
        })
    });
    json!({
        "id": path,
        "name": config.dps.name,
        "type": "Microsoft.Devices/provisioningServices",
        "location": LOCATION,
        "tags": {},
        "etag": etag.as_str(),
        "sku": { "name": "S1", "tier": "Standard", "capacity": 1 },
        "properties": {
            "state": "Active",
            "provisioningState": "Succeeded",
            "iotHubs": hubs.collect::<Value>(),
            "allocationPolicy": allocation_name(InstanceAllocationPolicy::default()),
            "serviceOperationsHostName": host,
            "deviceProvisioningHostName": host,
            "idScope": config.dps.id_scope.as_str(),
            "authorizationPolicies": policies.iter().map(policy).collect::<Value>(),
        },
    })
}

fn allocation_name(policy: InstanceAllocationPolicy) -> &'static str {
    match policy {
        InstanceAllocationPolicy::GeoLatency => "GeoLatency",
        InstanceAllocationPolicy::Hashed => "Hashed",
        InstanceAllocationPolicy::Static => "Static",
    }
}

/// A policy without its keys.
fn policy(policy: &Policy) -> Value {
    json!({ "keyName": &*policy.name, "rights": policy.rights.to_string() })
}

/// A policy with its keys.
pub(crate) fn keys(policy: &Policy) -> Value {
    let [primary, secondary] = policy.keys();
    json!({
        "keyName": &*policy.name,
        "primaryKey": primary.to_base64(),
        "secondaryKey": secondary.to_base64(),
        "rights": policy.rights.to_string(),
    })
}

/// All policies with their keys.
pub(crate) fn key_list(policies: &[Policy]) -> Value {
    json!({ "value": policies.iter().map(keys).collect::<Value>() })
}

/// Checks that the body of a PUT changes nothing but `properties.authorizationPolicies`. What is
/// shown may be sent back, in whole or in part; the etag counts as a header alone.
///
/// # Errors
/// 501 naming the member.
pub(crate) fn check_unchanged(body: &Value, shown: &Value) -> Result<(), ServiceError> {
    let Value::Object(members) = body else {
        return Err(ServiceError::invalid("The body must be a JSON object."));
    };
    for (name, sent) in members {
        match (name.as_str(), sent) {
            ("etag", _) => {}
            ("properties", Value::Object(properties)) => {
                for (name, sent) in properties {
                    if name != "authorizationPolicies" {
                        same(
                            &format!("properties.{name}"),
                            sent,
                            &shown["properties"][name],
                        )?;
                    }
                }
            }
            (_, sent) => same(name, sent, &shown[name])?,
        }
    }
    Ok(())
}

fn same(path: &str, sent: &Value, shown: &Value) -> Result<(), ServiceError> {
    if says_no_more(sent, shown) {
        return Ok(());
    }
    let what = format!("changing {path} of a provisioning service");
    Err(ServiceError::not_emulated(what))
}

/// Whether `sent` holds nothing that `shown` does not. Nothing, an empty list and an empty
/// object are the same where nothing is shown; words of this API ignore case.
fn says_no_more(sent: &Value, shown: &Value) -> bool {
    match (sent, shown) {
        (Value::Null, _) => true,
        (Value::Object(sent), Value::Object(_) | Value::Null) => sent
            .iter()
            .all(|(name, sent)| says_no_more(sent, &shown[name])),
        (Value::Array(sent), Value::Array(shown)) => {
            let mut pairs = sent.iter().zip(shown);
            sent.len() == shown.len() && pairs.all(|(sent, shown)| says_no_more(sent, shown))
        }
        (Value::Array(sent), Value::Null) => sent.is_empty(),
        (Value::String(sent), Value::String(shown)) => sent.eq_ignore_ascii_case(shown),
        (sent, shown) => sent == shown,
    }
}

/// Reads `properties.authorizationPolicies`, which replaces the policies held as a whole. Keys
/// that are not sent are kept, or generated for a new policy; without the member all stays.
///
/// The owner cannot be taken away: the connection strings handed out are its.
pub(crate) fn read_policies(body: &Value, held: &[Policy]) -> Result<Vec<Policy>, ServiceError> {
    const MEMBER: &str = "authorizationPolicies";
    let properties = Reader::root(body)?.object("properties")?;
    let Some(items) = properties.objects(MEMBER)? else {
        return Ok(held.to_vec());
    };
    if items.len() > POLICIES_MAX {
        return Err(properties.wrong(MEMBER, format!("expected at most {POLICIES_MAX} policies")));
    }
    let mut policies: Vec<Policy> = Vec::new();
    for item in &items {
        let policy = read_policy(item, held)?;
        if policies.iter().any(|known| known.name == policy.name) {
            return Err(item.wrong("keyName", "expected each name once"));
        }
        policies.push(policy);
    }
    let owner = held.first().and_then(|owner| {
        let is_owner = |policy: &Policy| policy.name == owner.name && policy.rights == owner.rights;
        policies.iter().position(is_owner)
    });
    let owner = owner.ok_or_else(|| {
        let what = format!("properties.{MEMBER} without the owner's policy and all its rights");
        ServiceError::not_emulated(what)
    })?;
    policies[..=owner].rotate_right(1);
    Ok(policies)
}

fn read_policy(item: &Reader<'_>, held: &[Policy]) -> Result<Policy, ServiceError> {
    let name = item.text("keyName")?.unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !(1..=POLICY_NAME_LENGTH_MAX).contains(&name.len()) || !name.chars().all(allowed) {
        let expected = format!("expected 1 to {POLICY_NAME_LENGTH_MAX} letters, digits and -._");
        return Err(item.wrong("keyName", expected));
    }
    let rights = item.text("rights")?.unwrap_or_default();
    let rights: Rights = rights
        .parse()
        .map_err(|error| item.wrong("rights", error))?;
    let before = held.iter().find(|policy| *policy.name == *name);
    let [primary, secondary] = before
        .map(Policy::keys)
        .map_or([None; 2], |keys| keys.map(Some));
    let primary = item.key("primaryKey", primary)?;
    let secondary = item.key("secondaryKey", secondary)?;
    Ok(Policy::new(name, rights, primary, secondary))
}
