//! Messages over HTTP, in both directions: headers for properties, the body as it is; telemetry
//! also in batches of JSON (wire 4.5), and feedback (R-G30).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use linarite_core::hub::c2d::feedback::{Batch, Record};
use linarite_core::hub::c2d::message::{Ack, CloudMessage};
use linarite_core::hub::c2d::queue::Delivery;
use linarite_core::hub::message::Properties;
use linarite_core::id::IdentityId;
use linarite_env::UnixMillis;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::format_description::well_known::{Iso8601, Rfc2822, Rfc3339};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::super::reader::Reader;
use crate::error::ServiceError;
use crate::names::rfc3339;

/// Content type of a batch of telemetry.
pub(crate) const BATCH: &str = "application/vnd.microsoft.iothub.json";

/// Content type of feedback.
pub(crate) const FEEDBACK: &str = "application/vnd.microsoft.iothub.feedback.json";

/// What the header of an application property begins with.
const APPLICATION: &str = "iothub-app-";

/// The headers of system properties, and what readers call them. Names of headers have no case.
const SYSTEM: [(&str, &str); 10] = [
    ("iothub-messageid", "message-id"),
    ("iothub-to", "to"),
    ("iothub-correlationid", "correlation-id"),
    ("iothub-userid", "user-id"),
    ("iothub-expiry", "absolute-expiry-time"),
    ("iothub-contenttype", "content-type"),
    ("iothub-contentencoding", "content-encoding"),
    ("iothub-creationtimeutc", "iothub-creation-time-utc"),
    ("iothub-interface-id", "iothub-interface-id"),
    ("dt-subject", "dt-subject"),
];

/// Names a message has over HTTP, and their values.
struct Named<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Named<'a> {
    fn of_headers(headers: &'a HeaderMap) -> Result<Self, ServiceError> {
        let ours = headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("iothub-") || name == "dt-subject"
        });
        let read = |(name, value): (&'a HeaderName, &'a HeaderValue)| {
            let text = std::str::from_utf8(value.as_bytes());
            text.map(|text| (name.as_str(), text))
                .map_err(|_| ServiceError::invalid(format!("{name}: expected UTF-8")))
        };
        ours.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn get(&self, header: &str) -> Option<&'a str> {
        let mut named = self.0.iter();
        let found = named.find(|(name, _)| name.eq_ignore_ascii_case(header));
        found.map(|(_, value)| *value)
    }

    fn system(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let known = SYSTEM.into_iter();
        known.filter_map(|(header, property)| Some((property, self.get(header)?)))
    }

    fn application(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(|(name, value)| {
            let (prefix, own) = name.split_at_checked(APPLICATION.len())?;
            let is_ours = prefix.eq_ignore_ascii_case(APPLICATION) && !own.is_empty();
            is_ours.then_some((own, *value))
        })
    }

    fn properties(&self) -> Properties {
        Properties::new(self.system(), self.application())
    }
}

/// The properties of one message of telemetry.
///
/// # Errors
/// 400004 naming a header that is no text.
pub(crate) fn telemetry(headers: &HeaderMap) -> Result<Properties, ServiceError> {
    Ok(Named::of_headers(headers)?.properties())
}

/// The messages of a batch of telemetry.
///
/// # Errors
/// 400004 naming the item that is not as it should be.
pub(crate) fn batch(body: &Value) -> Result<Vec<(Properties, Vec<u8>)>, ServiceError> {
    Reader::items(body)?.iter().map(batch_item).collect()
}

fn batch_item(item: &Reader<'_>) -> Result<(Properties, Vec<u8>), ServiceError> {
    let text = item.text("body")?;
    let text = text.ok_or_else(|| item.wrong("body", "required"))?;
    let body = if item.flag("base64Encoded")?.unwrap_or(true) {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|error| item.wrong("body", format!("expected base64: {error}")))?
    } else {
        text.as_bytes().to_vec()
    };
    let mut named = Named(Vec::new());
    match item.value("properties") {
        None => {}
        Some(Value::Object(members)) => {
            for (name, value) in members {
                let text = value.as_str();
                let text = text.ok_or_else(|| {
                    item.wrong(&format!("properties.{name}"), "expected a string")
                })?;
                named.0.push((name, text));
            }
        }
        Some(_) => return Err(item.wrong("properties", "expected an object")),
    }
    Ok((named.properties(), body))
}

/// A message for `id`, as a back end sends it.
///
/// # Errors
/// 400004 naming the header, 413001 if it is too large.
pub(crate) fn for_device(
    id: &IdentityId,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<CloudMessage, ServiceError> {
    let named = Named::of_headers(headers)?;
    let ack = match named.get("iothub-ack") {
        None => Ack::None,
        Some(text) => Ack::parse(text).ok_or_else(|| {
            ServiceError::invalid("iothub-ack: expected none, positive, negative or full")
        })?,
    };
    let expires_ms = match named.get("iothub-expiry") {
        None => None,
        Some(text) => Some(moment(text).ok_or_else(|| {
            ServiceError::invalid("iothub-expiry: expected a moment such as 2026-01-01T00:00:00Z")
        })?),
    };
    let to = format!("/{}/messages/devicebound", id.path());
    let mut system: Vec<(&str, &str)> = named.system().collect();
    if named.get("iothub-to").is_none() {
        let behind = usize::from(named.get("iothub-messageid").is_some());
        system.insert(behind, ("to", &to));
    }
    let properties = Properties::new(system, named.application());
    Ok(CloudMessage::new(properties, body, ack, expires_ms)?)
}

/// A moment as clients write it, in Unix milliseconds. One without an offset is in UTC.
fn moment(text: &str) -> Option<i64> {
    let text = text.trim();
    let local = || PrimitiveDateTime::parse(text, &Iso8601::DATE_TIME);
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822))
        .or_else(|_| local().map(PrimitiveDateTime::assume_utc));
    i64::try_from(moment.ok()?.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The headers with which a device gets a message that it has locked under `token`.
pub(crate) fn delivered(token: &str, delivery: &Delivery) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        // What HTTP cannot say in a header is percent-encoded, so that nothing is lost.
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let name = HeaderName::try_from(name).or_else(|_| {
            let own = name.strip_prefix(APPLICATION).unwrap_or(name);
            HeaderName::try_from(format!("{APPLICATION}{}", encoded(own)))
        });
        let value = HeaderValue::from_bytes(value.as_bytes())
            .or_else(|_| HeaderValue::try_from(encoded(value)));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    };
    let message = &delivery.message;
    add("etag", &format!("\"{token}\""));
    for (name, value) in message.properties().system() {
        match name {
            // The names that Microsoft's command line knows these two by.
            "content-type" => add("contenttype", value),
            "content-encoding" => add("contentencoding", value),
            _ => {
                let header = SYSTEM.iter().find(|(_, property)| *property == name);
                add(header.map_or(name, |(header, _)| *header), value);
            }
        }
    }
    add("iothub-ack", message.ack().name());
    add("iothub-sequencenumber", &delivery.sequence.to_string());
    let enqueued = rfc3339(UnixMillis(delivery.enqueued_ms));
    add("iothub-enqueuedtime", &enqueued);
    add("iothub-deliverycount", &delivery.deliveries.to_string());
    for (name, value) in message.properties().application() {
        add(&format!("{APPLICATION}{name}"), value);
    }
    headers
}

/// A batch of feedback.
pub(crate) fn feedback(batch: &Batch) -> Value {
    let record = |record: &Record| {
        json!({
            "originalMessageId": record.message_id,
            "description": record.fate.name(),
            "deviceGenerationId": record.generation_id,
            "deviceId": record.target.device_id(),
            "enqueuedTimeUtc": rfc3339(UnixMillis(record.at_ms)),
            "statusCode": record.fate.name(),
        })
    };
    Value::from_iter(batch.records.iter().map(record))
}

/// What emptying a queue came to.
pub(crate) fn purged(id: &IdentityId, count: usize) -> Value {
    json!({
        "totalMessagesPurged": count,
        "deviceId": id.device_id(),
        "moduleId": id.module_id(),
    })
}

#[cfg(test)]
mod tests {
    use linarite_core::hub::c2d::queue::{Queue, Terms};

    use super::*;

    #[test]
    fn moments_are_read_as_clients_write_them() {
        let table = [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T01:00:01.5+01:00", Some(1500)),
            ("1970-01-01T00:00:01.250", Some(1250)),
            ("1970-01-01T00:00:01", Some(1000)),
            ("Thu, 01 Jan 1970 00:00:01 GMT", Some(1000)),
            ("tomorrow", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(moment(text), expected, "{text}");
        }
    }

    #[test]
    fn a_header_that_is_no_text_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert("iothub-app-a", HeaderValue::from_bytes(&[0xFF]).unwrap());
        let error = telemetry(&headers).unwrap_err();
        assert_eq!(error.code, 400_004);
        assert!(error.message.contains("iothub-app-a"), "{error}");
    }

    /// R-G30, wire 4.5: a device is told everything, also what headers cannot say.
    #[test]
    fn a_message_for_a_device_becomes_headers() {
        let id = IdentityId::parse("d").unwrap();
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("iothub-messageid", "m 1"),
            ("iothub-correlationid", "c"),
            ("iothub-contenttype", "text/plain"),
            ("iothub-ack", "Full"),
            ("iothub-app-lamp", "grün"),
            ("iothub-expiry", "2026-01-01T00:00:00Z"),
        ] {
            sent.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let message = for_device(&id, &sent, b"x").unwrap();
        let terms = Terms {
            ttl_ms: 1,
            delivery_count_max: 1,
        };
        let mut queue = Queue::default();
        queue.push(message, &terms, 0).unwrap();
        let (delivery, _) = queue.take().unwrap();
        assert_eq!(delivery.expires_ms, 1_767_225_600_000);
        let headers = delivered("token", &delivery);
        let expected = [
            ("etag", "\"token\""),
            ("iothub-messageid", "m 1"),
            ("iothub-to", "/devices/d/messages/devicebound"),
            ("iothub-correlationid", "c"),
            ("iothub-expiry", "2026-01-01T00:00:00Z"),
            ("contenttype", "text/plain"),
            ("iothub-ack", "full"),
            ("iothub-sequencenumber", "1"),
            ("iothub-enqueuedtime", "1970-01-01T00:00:00Z"),
            ("iothub-deliverycount", "0"),
            ("iothub-app-lamp", "grün"),
        ];
        let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        let read = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)));
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read.collect::<Vec<_>>(), expected);

        let odd = Properties::new([], [("a b", "line\nbreak")]);
        let message = CloudMessage::new(odd, b"", Ack::None, None).unwrap();
        queue.push(message, &terms, 0).unwrap();
        let headers = delivered("token", &queue.take().unwrap().0);
        assert_eq!(headers["iothub-app-a%20b"], "line%0Abreak");
    }
}
