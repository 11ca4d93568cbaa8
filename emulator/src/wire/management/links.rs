//! Linked hubs and the default allocation policy as the management API spells them (ENDPOINTS 5).

use std::sync::Arc;

use linarite_core::dps::allocation::{HubWeight, InstanceAllocationPolicy};
use linarite_core::id::HubHostName;
use linarite_core::secret::SymmetricKey;
use serde_json::{Value, json};

use crate::error::ServiceError;
use crate::limits::{LINKED_HUBS_MAX, LOCATION_LENGTH_MAX, POLICY_NAME_LENGTH_MAX};
use crate::service::hub::Hub;
use crate::service::instance::name;
use crate::service::links::{LOCATION, Link, Linked};
use crate::wire::reader::Reader;

/// What stands for a key that is not shown.
const MASK: &str = "****";

/// `IotHubDefinitionDescription`, without the key.
pub(super) fn link(link: &Link) -> Value {
    let host = link.hub.host.as_str();
    json!({
        "name": host,
        "connectionString": format!(
            "HostName={host};SharedAccessKeyName={};SharedAccessKey={MASK}",
            link.policy
        ),
        "location": &*link.location,
        "applyAllocationPolicy": link.apply_allocation_policy,
        "allocationWeight": link.weight.get(),
    })
}

/// Reads `properties.iotHubs`, which replaces the links held as a whole, and
/// `properties.allocationPolicy`; without a member what it stands for stays.
pub(super) fn read(
    properties: &Reader<'_>,
    held: &Linked,
    hubs: &[Arc<Hub>],
) -> Result<Linked, ServiceError> {
    Ok(Linked {
        links: match properties.objects("iotHubs")? {
            Some(items) => read_links(properties, &items, held, hubs)?.into(),
            None => Arc::clone(&held.links),
        },
        allocation_policy: read_policy(properties)?.unwrap_or(held.allocation_policy),
    })
}

fn read_policy(properties: &Reader<'_>) -> Result<Option<InstanceAllocationPolicy>, ServiceError> {
    use InstanceAllocationPolicy::{GeoLatency, Hashed, Static};
    const MEMBER: &str = "allocationPolicy";
    let Some(text) = properties.text(MEMBER)? else {
        return Ok(None);
    };
    let all = [Hashed, GeoLatency, Static];
    let known = all
        .into_iter()
        .find(|policy| name(*policy).eq_ignore_ascii_case(text));
    known
        .map(Some)
        .ok_or_else(|| properties.wrong(MEMBER, "expected Hashed, GeoLatency or Static"))
}

fn read_links(
    properties: &Reader<'_>,
    items: &[Reader<'_>],
    held: &Linked,
    hubs: &[Arc<Hub>],
) -> Result<Vec<Link>, ServiceError> {
    if items.len() > LINKED_HUBS_MAX {
        let expected = format!("expected at most {LINKED_HUBS_MAX} hubs");
        return Err(properties.wrong("iotHubs", expected));
    }
    let mut links: Vec<Link> = Vec::new();
    for item in items {
        let link = read_link(item, held, hubs)?;
        if links.iter().any(|known| known.hub.host == link.hub.host) {
            return Err(item.wrong("connectionString", "expected each hub once"));
        }
        links.push(link);
    }
    Ok(links)
}

fn read_link(item: &Reader<'_>, held: &Linked, hubs: &[Arc<Hub>]) -> Result<Link, ServiceError> {
    match item.text("authenticationType")? {
        None => {}
        Some(kind) if kind.eq_ignore_ascii_case("KeyBased") => {}
        Some(_) => {
            let member = item.path("authenticationType");
            let what = format!("{member} other than KeyBased: managed identities");
            return Err(ServiceError::not_emulated(what));
        }
    }
    let given = read_connection_string(item)?;
    let hub = find_hub(item, given.host, hubs)?;
    let before = held.find(&hub.host);
    let key = read_key(item, &given, before)?;
    let location = item.text("location")?.unwrap_or(LOCATION);
    if location.len() > LOCATION_LENGTH_MAX {
        let expected = format!("expected at most {LOCATION_LENGTH_MAX} characters");
        return Err(item.wrong("location", expected));
    }
    for member in ["name", "hostName"] {
        if item.text(member)?.is_some_and(|text| !names(text, hub)) {
            let expected = format!("expected {}, the host of the connection string", hub.host);
            return Err(item.wrong(member, expected));
        }
    }
    Ok(Link {
        weight: read_weight(item)?,
        apply_allocation_policy: item.flag("applyAllocationPolicy")?.unwrap_or(true),
        location: location.into(),
        policy: given.policy.into(),
        key,
        hub: Arc::clone(hub),
    })
}

/// The parts of a connection string, not looked into.
struct ConnectionString<'a> {
    host: &'a str,
    policy: &'a str,
    key: &'a str,
}

/// Takes `connectionString` apart. No complaint repeats it, for it holds a key.
fn read_connection_string<'a>(item: &Reader<'a>) -> Result<ConnectionString<'a>, ServiceError> {
    const MEMBER: &str = "connectionString";
    const FORM: &str = "HostName=…;SharedAccessKeyName=…;SharedAccessKey=…";
    let text = item.text(MEMBER)?.unwrap_or_default();
    if text.is_empty() {
        return Err(item.wrong(MEMBER, format!("required: {FORM}")));
    }
    let part = |name: &str| {
        let mut parts = text.split(';').filter_map(|part| part.split_once('='));
        let named = parts.find(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        let value = named
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty());
        value.ok_or_else(|| item.wrong(MEMBER, format!("{name} is missing; expected {FORM}")))
    };
    let (host, policy) = (part("HostName")?, part("SharedAccessKeyName")?);
    if policy.len() > POLICY_NAME_LENGTH_MAX {
        let expected = format!(
            "expected a SharedAccessKeyName of at most {POLICY_NAME_LENGTH_MAX} characters"
        );
        return Err(item.wrong(MEMBER, expected));
    }
    Ok(ConnectionString {
        host,
        policy,
        key: part("SharedAccessKey")?,
    })
}

/// A hub of this process; there is no other to link.
fn find_hub<'h>(
    item: &Reader<'_>,
    host: &str,
    hubs: &'h [Arc<Hub>],
) -> Result<&'h Arc<Hub>, ServiceError> {
    let found = hubs.iter().find(|hub| names(host, hub));
    found.ok_or_else(|| {
        let served: Vec<&str> = hubs.iter().map(|hub| hub.host.as_str()).collect();
        let expected = format!(
            "expected a HostName of a hub that is served here: {}",
            served.join(", ")
        );
        item.wrong("connectionString", expected)
    })
}

/// Whether `text` is the name of `hub`, with or without a port.
fn names(text: &str, hub: &Hub) -> bool {
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    HubHostName::parse(host).is_ok_and(|host| host == hub.host)
}

/// The key as given. Whether it opens anything shows when a device registers (A.5, 400209).
fn read_key(
    item: &Reader<'_>,
    given: &ConnectionString<'_>,
    before: Option<&Link>,
) -> Result<SymmetricKey, ServiceError> {
    const MEMBER: &str = "connectionString";
    if given.key != MASK {
        let key = SymmetricKey::from_base64(given.key);
        return key.map_err(|error| item.wrong(MEMBER, format!("SharedAccessKey: {error}")));
    }
    let before = before.filter(|link| *link.policy == *given.policy);
    before.map(|link| link.key.clone()).ok_or_else(|| {
        let expected = "SharedAccessKey: a masked key stands for that of a hub that is linked by \
                        the same policy; expected a key";
        item.wrong(MEMBER, expected)
    })
}

fn read_weight(item: &Reader<'_>) -> Result<HubWeight, ServiceError> {
    const MEMBER: &str = "allocationWeight";
    let Some(number) = item.number(MEMBER)? else {
        return Ok(HubWeight::default());
    };
    HubWeight::new(u16::try_from(number).unwrap_or(u16::MAX)).map_err(|error| {
        let expected = format!("expected {} to {}, not {number}", error.min, error.max);
        item.wrong(MEMBER, expected)
    })
}
