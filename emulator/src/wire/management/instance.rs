//! The DPS instance and shared access policies as the management API spells them (ENDPOINTS 5).

use std::sync::Arc;

use linarite_core::id::ETag;
use serde_json::{Value, json};

use super::links;
use crate::config::Config;
use crate::error::ServiceError;
use crate::limits::{
    POLICIES_MAX, POLICY_NAME_LENGTH_MAX, TAG_NAME_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_MAX,
};
use crate::policy::{Policy, Rights};
use crate::service::hub::Hub;
use crate::service::instance::{Changeable, Tags, name};
use crate::service::links::LOCATION;
use crate::wire::reader::Reader;

/// `ProvisioningServiceDescription`, without any key.
pub(crate) fn instance(config: &Config, path: &str, etag: &ETag, state: &Changeable) -> Value {
    let host = config.dps.host.as_str();
    let links = state.linked.links.iter();
    json!({
        "id": path,
        "name": config.dps.name,
        "type": "Microsoft.Devices/provisioningServices",
        "location": LOCATION,
        "tags": state.tags,
        "etag": etag.as_str(),
        "sku": { "name": "S1", "tier": "Standard", "capacity": 1 },
        "properties": {
            "state": "Active",
            "provisioningState": "Succeeded",
            "iotHubs": links.map(links::link).collect::<Value>(),
            "allocationPolicy": name(state.linked.allocation_policy),
            "serviceOperationsHostName": host,
            "deviceProvisioningHostName": host,
            "idScope": config.dps.id_scope.as_str(),
            "authorizationPolicies": state.policies.iter().map(policy).collect::<Value>(),
        },
    })
}

/// A policy without its keys.
pub(super) fn policy(policy: &Policy) -> Value {
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

/// The members of `properties` that a PUT may change.
const CHANGEABLE: [&str; 3] = ["allocationPolicy", "authorizationPolicies", "iotHubs"];

/// The members that a PUT must send.
const REQUIRED: [&str; 3] = ["location", "sku", "properties"];

/// Reads the body of a PUT: what it is to be from what it is. A member that is not sent, and need
/// not be, stays.
pub(crate) fn read(
    body: &Value,
    shown: &Value,
    held: &Changeable,
    hubs: &[Arc<Hub>],
) -> Result<Changeable, ServiceError> {
    let root = Reader::root(body)?;
    if let Some(missing) = REQUIRED.iter().find(|name| body[**name].is_null()) {
        return Err(root.wrong(missing, "required"));
    }
    check_unchanged(body, shown)?;
    let properties = Reader::root(body)?.object("properties")?;
    Ok(Changeable {
        tags: read_tags(body)?.unwrap_or_else(|| held.tags.clone()),
        policies: read_policies(body, &held.policies)?,
        linked: links::read(&properties, &held.linked, hubs)?,
    })
}

/// Reads the body of a PATCH, which knows tags alone (`TagsResource`) and replaces them as a
/// whole.
pub(crate) fn read_patch(body: &Value, held: &Changeable) -> Result<Changeable, ServiceError> {
    let other = Reader::root(body)?.names().find(|name| *name != "tags");
    if let Some(name) = other {
        let what = format!("changing {name} by PATCH; it takes tags, and PUT takes the rest");
        return Err(ServiceError::not_emulated(what));
    }
    Ok(Changeable {
        tags: read_tags(body)?.unwrap_or_else(|| held.tags.clone()),
        ..held.clone()
    })
}

fn read_tags(body: &Value) -> Result<Option<Tags>, ServiceError> {
    const MEMBER: &str = "tags";
    let body = Reader::root(body)?;
    let tags = body.object(MEMBER)?;
    if !tags.is_present() {
        return Ok(None);
    }
    let mut read = Tags::new();
    for name in tags.names() {
        let value = tags.text(name)?.unwrap_or_default();
        let fits = |text: &str, max| text.chars().count() <= max;
        if name.is_empty() || !fits(name, TAG_NAME_LENGTH_MAX) {
            let expected = format!("expected names of 1 to {TAG_NAME_LENGTH_MAX} characters");
            return Err(body.wrong(MEMBER, expected));
        }
        if !fits(value, TAG_VALUE_LENGTH_MAX) {
            let expected = format!("expected at most {TAG_VALUE_LENGTH_MAX} characters");
            return Err(tags.wrong(name, expected));
        }
        read.insert(name.to_owned(), value.to_owned());
    }
    if read.len() > TAGS_MAX {
        return Err(body.wrong(MEMBER, format!("expected at most {TAGS_MAX}")));
    }
    Ok(Some(read))
}

/// Checks that the body of a PUT changes nothing that cannot be changed. What is shown may be
/// sent back, in whole or in part; the etag counts as a header alone.
///
/// # Errors
/// 501 naming the member.
fn check_unchanged(body: &Value, shown: &Value) -> Result<(), ServiceError> {
    let Value::Object(members) = body else {
        return Err(ServiceError::invalid("The body must be a JSON object."));
    };
    for (name, sent) in members {
        match (name.as_str(), sent) {
            ("etag" | "tags", _) => {}
            ("properties", Value::Object(properties)) => {
                for (name, sent) in properties {
                    if !CHANGEABLE.contains(&name.as_str()) {
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
fn read_policies(body: &Value, held: &[Policy]) -> Result<Vec<Policy>, ServiceError> {
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
