//! An event of a hub as one JSON text, for those who watch: the admin listener's streams and the
//! telemetry mirror. Azure has no such shape; its names for properties are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linarite_core::hub::message::Properties;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::events::HubEvent;
use crate::names::rfc3339;

/// The event as one line of JSON.
///
/// Members: `hub`, `source` (the value of `iothub-message-source`), `deviceId`, `moduleId` where a
/// module sent it, `enqueuedTime`, `partition`, `offset`, `sequenceNumber`, `systemProperties`
/// (the sender's and what the hub vouches for), `applicationProperties`, `bodyEncoding` and
/// `body`. A body that says it is JSON in UTF-8, and is, stands there as it was sent
/// (`bodyEncoding` is `json`); any other is text in base64 (`base64`).
pub(crate) fn event(hub: &str, event: &HubEvent) -> String {
    let message = event.message();
    let (id, properties) = (message.origin().id(), message.properties());
    let vouched = message.stamps();
    let mut head = json!({
        "hub": hub,
        "source": message.source().name(),
        "deviceId": id.device_id(),
        "enqueuedTime": rfc3339(event.enqueued()),
        "partition": event.partition(),
        "offset": event.offset(),
        "sequenceNumber": event.sequence_number(),
        "systemProperties": pairs(vouched).chain(pairs(properties.system())).collect::<Map<_, _>>(),
        "applicationProperties": pairs(properties.application()).collect::<Map<_, _>>(),
    });
    if let Some(module) = id.module_id() {
        head["moduleId"] = module.into();
    }
    let (encoding, body) = match json_text(properties, message.body()) {
        Some(text) => ("json", text),
        None => ("base64", format!("\"{}\"", STANDARD.encode(message.body()))),
    };
    let mut text = head.to_string();
    // The body is put in as text: parsed and written again, its numbers might not be the same.
    text.pop();
    text + &format!(",\"bodyEncoding\":\"{encoding}\",\"body\":{body}}}")
}

fn pairs<'n, 'v>(
    properties: impl Iterator<Item = (&'n str, &'v str)>,
) -> impl Iterator<Item = (String, Value)> {
    properties.map(|(name, value)| (name.to_owned(), value.into()))
}

/// The body on one line, if its properties say that it is JSON in UTF-8 and it is.
fn json_text(properties: &Properties, body: &[u8]) -> Option<String> {
    let kind = properties.system_value("content-type")?;
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    let encoding = properties.system_value("content-encoding");
    let declared = kind.eq_ignore_ascii_case("application/json")
        && encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("utf-8"));
    let text = std::str::from_utf8(body).ok().filter(|_| declared)?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    // Line ends stand between tokens only: within a string JSON has them escaped.
    Some(text.trim().replace(['\r', '\n'], " "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use linarite_core::hub::message::{AuthenticatedBy, Message, Origin};
    use linarite_core::id::IdentityId;
    use linarite_env::UnixMillis;

    use super::*;

    fn written(id: &str, system: &[(&str, &str)], body: &[u8]) -> String {
        let id = IdentityId::parse(id).unwrap();
        let origin = Origin::authenticated(id, "1", AuthenticatedBy::X509);
        let properties = Properties::new(system.iter().copied(), [("a", "\"b\"")]);
        let message = Message::telemetry(Arc::new(origin), properties, body).unwrap();
        let kept = HubEvent {
            partition: 2,
            offset: 40,
            sequence_number: 7,
            enqueued: UnixMillis(1_500),
            message,
        };
        event("hub.test", &kept)
    }

    /// R-G37.
    #[test]
    fn an_event_has_its_place_its_properties_and_its_body() {
        let json = [("content-type", "application/json; charset=utf-8")];
        let text = written(
            "d/m",
            &json,
            b"{\"t\": 1.0,\r\n\"u\": 12345678901234567890123}\n",
        );
        let expected = json!({
            "hub": "hub.test",
            "source": "Telemetry",
            "deviceId": "d",
            "moduleId": "m",
            "enqueuedTime": "1970-01-01T00:00:01.5Z",
            "partition": 2,
            "offset": 40,
            "sequenceNumber": 7,
            "systemProperties": {
                "content-type": "application/json; charset=utf-8",
                "iothub-connection-device-id": "d",
                "iothub-connection-module-id": "m",
                "iothub-connection-auth-generation-id": "1",
                "iothub-connection-auth-method":
                    r#"{"scope":"module","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#,
                "iothub-message-source": "Telemetry",
            },
            "applicationProperties": { "a": "\"b\"" },
            "bodyEncoding": "json",
            "body": { "t": 1.0, "u": 12_345_678_901_234_567_890_123_f64 },
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert!(text.ends_with(r#""body":{"t": 1.0,  "u": 12345678901234567890123}}"#));
        assert!(!text.contains(['\r', '\n']));
    }

    #[test]
    fn what_is_not_declared_or_no_json_is_base64() {
        let json = ("content-type", "Application/JSON");
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], &'a str, Value);
        let table: [Case<'_>; 7] = [
            (&[json], b"[1]", "json", json!([1])),
            (
                &[json, ("content-encoding", "UTF-8")],
                b"1",
                "json",
                json!(1),
            ),
            (&[], b"[1]", "base64", json!("WzFd")),
            (
                &[json, ("content-encoding", "utf-16")],
                b"1",
                "base64",
                json!("MQ=="),
            ),
            (&[json], b"[1", "base64", json!("WzE=")),
            (&[json], b"\"\xFF\"", "base64", json!("Iv8i")),
            (&[], b"", "base64", json!("")),
        ];
        for (system, body, encoding, expected) in table {
            let read: Value = serde_json::from_str(&written("d", system, body)).unwrap();
            assert_eq!(
                (&read["bodyEncoding"], &read["body"]),
                (&json!(encoding), &expected)
            );
            assert_eq!(read.get("moduleId"), None);
        }
    }
}
