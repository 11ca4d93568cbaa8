//! The topics of DPS and IoT Hub, read and written as the services spell them.
//!
//! Topics become typed values here and go no further inward as text (R-G17, wire 2.2 and 4.2).

use std::borrow::Cow;

use linarite_core::hub::c2d::message::Ack;
use linarite_core::hub::c2d::queue::Delivery;
use linarite_core::hub::message::BagText;
use linarite_core::id::IdentityId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest topic MQTT can say, in bytes.
pub(crate) const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// What a device may publish at DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DpsPublish<'a> {
    /// Register, or register again.
    Register { rid: &'a str },
    /// Ask how an operation stands.
    OperationStatus { rid: &'a str, operation_id: &'a str },
}

/// The only filter DPS grants.
pub(crate) const DPS_RESPONSES: &str = "$dps/registrations/res/#";

impl<'a> DpsPublish<'a> {
    /// Reads a topic name; `None` if DPS knows no such topic.
    pub(crate) fn parse(topic: &'a str) -> Option<Self> {
        if let Some(query) = topic.strip_prefix("$dps/registrations/PUT/iotdps-register/?") {
            return Some(Self::Register {
                rid: query_value(query, "$rid")?,
            });
        }
        let query = topic.strip_prefix("$dps/registrations/GET/iotdps-get-operationstatus/?")?;
        Some(Self::OperationStatus {
            rid: query_value(query, "$rid")?,
            operation_id: query_value(query, "operationId")?,
        })
    }
}

/// The topic of an answer of DPS. The order of its parts is fixed (W8).
pub(crate) fn dps_response(status: u16, rid: &str, retry_after_seconds: Option<u32>) -> String {
    match retry_after_seconds {
        None => format!("$dps/registrations/res/{status}/?$rid={rid}"),
        Some(seconds) => {
            format!("$dps/registrations/res/{status}/?$rid={rid}&retry-after={seconds}")
        }
    }
}

/// What a device may publish at a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HubPublish<'a> {
    /// Telemetry with its property bag, which [`property_bag`] reads.
    Telemetry { bag: &'a str },
    /// Read the twin.
    TwinGet { rid: &'a str },
    /// Patch the reported properties.
    TwinPatch { rid: &'a str },
    /// Answer a direct method.
    MethodResponse { status: i64, rid: &'a str },
}

impl<'a> HubPublish<'a> {
    /// Reads a topic name published by `id`; `None` if that device or module may not use it.
    pub(crate) fn parse(topic: &'a str, id: &IdentityId) -> Option<Self> {
        if let Some(bag) = telemetry_bag(topic, id) {
            return Some(Self::Telemetry { bag });
        }
        let rest = topic.strip_prefix("$iothub/")?;
        if let Some(query) = rest.strip_prefix("twin/GET/?") {
            return Some(Self::TwinGet {
                rid: query_value(query, "$rid")?,
            });
        }
        if let Some(query) = rest.strip_prefix("twin/PATCH/properties/reported/?") {
            return Some(Self::TwinPatch {
                rid: query_value(query, "$rid")?,
            });
        }
        let (status, query) = rest.strip_prefix("methods/res/")?.split_once("/?")?;
        Some(Self::MethodResponse {
            status: status.parse().ok()?,
            rid: query_value(query, "$rid")?,
        })
    }
}

/// The property bag of a telemetry topic of `id`, in which a module names its output (wire 4.2);
/// `None` if it is another topic.
pub(crate) fn telemetry_bag<'a>(topic: &'a str, id: &IdentityId) -> Option<&'a str> {
    let rest = own(topic, id)?.strip_prefix("/messages/events")?;
    match rest.strip_prefix('/') {
        Some(bag) => Some(bag.strip_suffix('/').unwrap_or(bag)),
        None => rest.is_empty().then_some(""),
    }
}

/// What follows `devices/{device}`, or `devices/{device}/modules/{module}`, in a topic of `id`.
fn own<'a>(topic: &'a str, id: &IdentityId) -> Option<&'a str> {
    let rest = level(topic.strip_prefix("devices/")?, id.device_id())?;
    match id.module_id() {
        None => Some(rest),
        Some(module) => level(rest.strip_prefix("/modules/")?, module),
    }
}

/// What follows `name`, which is the first level of `topic`; some clients percent-encode it.
fn level<'a>(topic: &'a str, name: &str) -> Option<&'a str> {
    let (first, rest) = topic.split_at(topic.find('/').unwrap_or(topic.len()));
    let decoded = || percent_decode_str(first).decode_utf8().ok();
    (first == name || decoded().is_some_and(|first| first == name)).then_some(rest)
}

/// What a device may subscribe to at a hub. The value is a bit, so a set fits one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HubFilter {
    /// Cloud-to-device messages.
    CloudToDevice = 1,
    /// Direct methods.
    Methods = 2,
    /// Answers to twin requests.
    TwinResponses = 4,
    /// Changes of desired properties.
    DesiredChanges = 8,
    /// What other modules of an IoT Edge device send to this one; a hub sends nothing there.
    Inputs = 16,
}

impl HubFilter {
    /// Reads a topic filter of `id`; `None` if that device or module may not use it.
    pub(crate) fn parse(filter: &str, id: &IdentityId) -> Option<Self> {
        match filter {
            "$iothub/methods/POST/#" => Some(Self::Methods),
            "$iothub/twin/res/#" => Some(Self::TwinResponses),
            "$iothub/twin/PATCH/properties/desired/#" => Some(Self::DesiredChanges),
            _ => match (own(filter, id)?, id.is_module()) {
                ("/messages/devicebound/#" | "/messages/devicebound", _) => {
                    Some(Self::CloudToDevice)
                }
                // The clients of C and C# ask for all that is theirs (wire 4.2).
                ("/inputs/#" | "/#", true) => Some(Self::Inputs),
                _ => None,
            },
        }
    }
}

/// Whether a filter of `id` spells its device id percent-encoded, as the Python client does.
pub(crate) fn spells_encoded(filter: &str, id: &IdentityId) -> bool {
    let rest = filter.strip_prefix("devices/");
    rest.is_some_and(|rest| !rest.starts_with(id.device_id()))
}

/// What is left as it is in a property bag, and in an id that is encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The topic on which `id` is sent a message, with its properties (R-G17, wire 4.2 and 4.3);
/// `encoded` says how the id is spelled.
pub(crate) fn device_bound(id: &IdentityId, delivery: &Delivery, encoded: bool) -> String {
    let spell = |name| match encoded {
        false => Cow::from(name),
        true => Cow::from(utf8_percent_encode(name, UNRESERVED)),
    };
    let mut topic = format!("devices/{}", spell(id.device_id()));
    if let Some(module) = id.module_id() {
        topic.push_str("/modules/");
        topic.push_str(&spell(module));
    }
    topic.push_str("/messages/devicebound/");
    let message = &delivery.message;
    let ack = message.ack();
    let ack = (ack != Ack::None).then(|| ("iothub-ack", ack.name()));
    let properties = message.properties();
    let pairs = properties.system_bag().chain(ack);
    for (index, (name, value)) in pairs.chain(properties.application()).enumerate() {
        if index > 0 {
            topic.push('&');
        }
        topic.extend(utf8_percent_encode(name, UNRESERVED));
        topic.push('=');
        topic.extend(utf8_percent_encode(value, UNRESERVED));
    }
    topic
}

/// The topic of an answer to a twin request.
pub(crate) fn twin_response(status: u16, rid: &str, version: Option<u64>) -> String {
    match version {
        None => format!("$iothub/twin/res/{status}/?$rid={rid}"),
        Some(version) => format!("$iothub/twin/res/{status}/?$rid={rid}&$version={version}"),
    }
}

/// The topic on which a change of desired properties is told.
pub(crate) fn desired_change(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// The topic on which a direct method is called.
pub(crate) fn method_request(method: &str, rid: u64) -> String {
    format!("$iothub/methods/POST/{method}/?$rid={rid:x}")
}

/// Who a CONNECT says it is, from its user name (wire 2.1, 4.1, 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserName<'a> {
    /// `{scope}/registrations/{id}/api-version=…`.
    Dps {
        id_scope: &'a str,
        registration_id: &'a str,
        api_version: Option<&'a str>,
    },
    /// `{hub}/{device}/?api-version=…`.
    Hub {
        hub: &'a str,
        device_id: &'a str,
        module_id: Option<&'a str>,
    },
}

impl<'a> UserName<'a> {
    /// Reads a user name; `None` if it has neither form.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [id_scope, "registrations", registration_id, query, ..]
                if query.contains("api-version=") =>
            {
                let query = query.strip_prefix('?').unwrap_or(query);
                Some(Self::Dps {
                    id_scope,
                    registration_id,
                    api_version: query_value(query, "api-version"),
                })
            }
            [hub, device_id, query] | [hub, device_id, query, ..]
                if has_api_version(query) && !hub.is_empty() && !device_id.is_empty() =>
            {
                Some(Self::Hub {
                    hub,
                    device_id,
                    module_id: None,
                })
            }
            [hub, device_id, module_id, query, ..]
                if has_api_version(query) && !hub.is_empty() && !device_id.is_empty() =>
            {
                Some(Self::Hub {
                    hub,
                    device_id,
                    module_id: Some(module_id),
                })
            }
            _ => None,
        }
    }
}

/// Go's client leaves the question mark out.
fn has_api_version(query: &str) -> bool {
    query
        .strip_prefix('?')
        .unwrap_or(query)
        .contains("api-version=")
}

fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

/// A property whose name or value is no text once it is decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("property {property} is not UTF-8 once it is decoded")]
pub(crate) struct NotText {
    property: String,
}

/// Reads `key=value&…`, both sides percent-encoded; a key alone has an empty value (wire 4.3).
///
/// # Errors
/// [`NotText`] names the first property that is none.
pub(crate) fn property_bag(bag: &str) -> Result<Vec<(BagText<'_>, BagText<'_>)>, NotText> {
    bag.trim_start_matches('?')
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| percent_decode_str(text).decode_utf8();
            match (decode(key), decode(value)) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                _ => Err(NotText {
                    property: key.to_owned(),
                }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
