//! The device API of a hub over HTTPS (wire 4.5): telemetry and messages without a session.

use std::collections::BTreeMap;
use std::time::Duration;

use linarite::pki::Credential;
use linarite_core::hub::message::MessageSource;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api_hub::assert_hub_error;
use crate::events::all;
use crate::support::http::{Answer, Request};
use crate::support::{HUB, Lab};

/// A device that speaks HTTPS alone.
struct Device<'a> {
    lab: &'a Lab,
    id: &'a str,
    token: Option<String>,
    credential: Option<&'a Credential>,
}

impl<'a> Device<'a> {
    async fn with_key(lab: &'a Lab, id: &'a str) -> Self {
        let identity = lab.create(id, Value::Null).await;
        Self {
            lab,
            id,
            token: Some(lab.device_token(id, &identity, 3600)),
            credential: None,
        }
    }

    fn request(&self, method: &'static str, what: &str) -> Request {
        let path = format!("/devices/{}/messages/{what}", self.id);
        let separator = if what.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}api-version=2021-04-12");
        let request = Request::new(method, HUB, path);
        match &self.token {
            Some(token) => request.header("Authorization", token.clone()),
            None => request,
        }
    }

    async fn ask(&self, request: Request) -> Answer {
        self.lab.ask(&request, self.credential).await
    }

    async fn call(&self, method: &'static str, what: &str) -> Answer {
        self.ask(self.request(method, what)).await
    }

    async fn receive(&self) -> Answer {
        self.call("GET", "devicebound").await
    }

    /// Settles what `answer` brought.
    async fn settle(&self, answer: &Answer, how: &str) -> Answer {
        let token = token(answer);
        let (method, what) = match how {
            "abandon" => ("POST", format!("devicebound/{token}/abandon")),
            "reject" => ("DELETE", format!("devicebound/{token}?reject")),
            _ => ("DELETE", format!("devicebound/{token}")),
        };
        self.call(method, &what).await
    }
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("etag").unwrap().trim_matches('"').to_owned()
}

type Map = BTreeMap<String, String>;

/// What readers of the hub's events see: body, system and application properties.
fn telemetry(lab: &Lab) -> Vec<(String, Map, Map)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let events = all(lab);
    let told = events.iter().map(|event| {
        let (message, properties) = (event.message(), event.message().properties());
        (
            String::from_utf8(message.body().to_vec()).unwrap(),
            properties.system().map(owned).collect(),
            properties.application().map(owned).collect(),
        )
    });
    told.collect()
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> Map {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// R-G37, wire 4.5: headers are properties, as with MQTT.
#[tokio::test(start_paused = true)]
async fn telemetry_is_sent_singly() {
    let lab = Lab::start();
    let device = Device::with_key(&lab, "dev-1").await;
    let request = device
        .request("POST", "events")
        .header("iothub-to", "/devices/dev-1/messages/events")
        .header("IoTHub-MessageId", "id 1")
        .header("IoTHub-CorrelationId", "c/1")
        .header("IoTHub-UserId", "u1")
        .header("IoTHub-Expiry", "2030-01-02T03:04:05Z")
        .header("iothub-contenttype", "application/json")
        .header("iothub-contentencoding", "utf-8")
        .header("iothub-app-alert", "yes&no=1")
        .header("X-Other", "of no interest")
        .plain(r#"{"t":1}"#);
    let answer = device.ask(request).await;
    assert_eq!((answer.status, &*answer.content), (204, ""));
    let plain = device.request("POST", "events").plain("plain");
    assert_eq!(device.ask(plain).await.status, 204);
    let system = map([
        ("to", "/devices/dev-1/messages/events"),
        ("message-id", "id 1"),
        ("correlation-id", "c/1"),
        ("user-id", "u1"),
        ("absolute-expiry-time", "2030-01-02T03:04:05Z"),
        ("content-type", "application/json"),
        ("content-encoding", "utf-8"),
    ]);
    let expected = [
        (
            r#"{"t":1}"#.to_owned(),
            system,
            map([("alert", "yes&no=1")]),
        ),
        ("plain".to_owned(), map([]), map([])),
    ];
    assert_eq!(telemetry(&lab), expected);
    let events = all(&lab);
    let stamps: BTreeMap<_, _> = events[0].message().stamps().collect();
    assert_eq!(stamps["iothub-connection-device-id"], "dev-1");
    assert!(stamps["iothub-connection-auth-method"].contains(r#""type":"sas""#));
}

/// R-G38, wire 4.5: a batch is taken as a whole or not at all.
#[tokio::test(start_paused = true)]
async fn telemetry_is_sent_in_batches() {
    let lab = Lab::start();
    let device = Device::with_key(&lab, "dev-1").await;
    let post = async |body: Value| {
        let request = device.request("POST", "events");
        let media = "application/vnd.microsoft.iothub.json; charset=utf-8";
        device
            .ask(request.header("Content-Type", media).json(body))
            .await
    };
    let batch = json!([
        { "body": "YjE=" },
        { "body": "b2", "base64Encoded": false, "properties": {
            "iothub-app-Alert": "yes", "iothub-messageid": "m", "other": "x",
        } },
    ]);
    assert_eq!(post(batch).await.status, 204);
    let expected = [
        ("b1".to_owned(), map([]), map([])),
        (
            "b2".to_owned(),
            map([("message-id", "m")]),
            map([("Alert", "yes")]),
        ),
    ];
    assert_eq!(telemetry(&lab), expected);
    let wrong = [
        (json!({}), "array"),
        (json!([{ "body": "YjE=" }, {}]), "[1].body: required"),
        (json!([{ "body": "%" }]), "[0].body: expected base64"),
        (
            json!([{ "body": "", "properties": { "iothub-app-a": 1 } }]),
            "properties.iothub-app-a",
        ),
        (json!([{ "body": "", "properties": [] }]), "[0].properties"),
    ];
    for (body, expected) in wrong {
        let answer = post(body).await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
        assert!(answer.text("Message").contains(expected), "{answer:?}");
    }
    // A single message of that size, and a batch that comes to it.
    let half = "x".repeat(140 * 1024);
    let item = json!({ "body": half, "base64Encoded": false });
    let answer = post(json!([item, item])).await;
    assert_hub_error(&answer, 413, "MessageTooLarge");
    let large = device
        .request("POST", "events")
        .plain("x".repeat(260 * 1024));
    assert_hub_error(&device.ask(large).await, 413, "MessageTooLarge");
    assert_eq!(all(&lab).len(), 2);
}

/// R-G28, R-G29, R-G30, wire 4.5.
#[tokio::test(start_paused = true)]
async fn messages_are_received_and_settled() {
    let lab = Lab::with(|config| config.hubs[0].c2d.delivery_count_max = 2);
    let device = Device::with_key(&lab, "dev-1").await;
    let empty = device.receive().await;
    assert_eq!((empty.status, &*empty.content), (204, ""));
    let headers = [
        ("iothub-messageid", "m-1"),
        ("iothub-correlationid", "c"),
        ("iothub-ack", "full"),
        ("iothub-app-k", "v"),
    ];
    assert_eq!(
        lab.send_to("devices/dev-1", &headers, "hello").await.status,
        204
    );
    let first = device.receive().await;
    assert_eq!(&*first.content, "hello");
    let expected = [
        ("iothub-messageid", "m-1"),
        ("iothub-to", "/devices/dev-1/messages/devicebound"),
        ("iothub-correlationid", "c"),
        ("iothub-ack", "full"),
        ("iothub-app-k", "v"),
        ("iothub-sequencenumber", "1"),
        ("iothub-enqueuedtime", "2026-01-01T00:00:00Z"),
        ("iothub-deliverycount", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    assert_eq!(device.receive().await.status, 204, "locked");
    assert_eq!(lab.message_count().await, 1);
    assert_eq!(device.settle(&first, "abandon").await.status, 204);
    let second = device.receive().await;
    assert_eq!(second.header("iothub-deliverycount"), Some("1"));
    let lost = device.settle(&first, "complete").await;
    assert_hub_error(&lost, 412, "DeviceMessageLockLost");
    assert_eq!(device.settle(&second, "abandon").await.status, 204);
    assert_eq!(device.receive().await.status, 204, "abandoned too often");

    for (id, how) in [("m-2", "complete"), ("m-3", "reject")] {
        lab.send(id).await;
        let got = device.receive().await;
        assert_eq!(device.settle(&got, how).await.status, 204);
        let again = device.settle(&got, how).await;
        assert_hub_error(&again, 412, "DeviceMessageLockLost");
    }
    let fates = super::c2d::fates(&lab);
    let expected = [
        ("m-1", "DeliveryCountExceeded"),
        ("m-2", "Success"),
        ("m-3", "Rejected"),
    ];
    assert_eq!(fates, super::c2d::named(&expected));
}

/// R-G27, I-8.
#[tokio::test(start_paused = true)]
async fn a_lock_lasts_a_minute_or_as_long_as_the_device_says() {
    let lab = Lab::start();
    let device = Device::with_key(&lab, "dev-1").await;
    lab.send("a").await;
    let with = async |seconds: Option<&str>| {
        let request = device.request("GET", "devicebound");
        let request = match seconds {
            Some(seconds) => request.header("IoTHub-MessageLockTimeout", seconds),
            None => request,
        };
        device.ask(request).await
    };
    for (asked, seconds) in [(None, 60), (Some("5"), 5), (Some("300"), 300)] {
        let got = with(asked).await;
        assert_eq!(got.header("iothub-deliverycount"), Some("0"));
        sleep(Duration::from_secs(seconds - 1)).await;
        assert_eq!(device.receive().await.status, 204, "{asked:?}");
        sleep(Duration::from_secs(1)).await;
        let lost = device.settle(&got, "complete").await;
        assert_hub_error(&lost, 412, "DeviceMessageLockLost");
    }
    // The C# client says it in the query.
    let got = device
        .call("GET", "devicebound?IoTHub-MessageLockTimeout=10")
        .await;
    assert_eq!(got.status, 200);
    sleep(Duration::from_secs(10)).await;
    for asked in ["0", "301", "long"] {
        assert_hub_error(&with(Some(asked)).await, 400, "ArgumentInvalid");
    }
    assert_eq!(device.receive().await.status, 200);
}

/// R-G28: what one transport has locked, the other is not sent.
#[tokio::test(start_paused = true)]
async fn both_transports_share_the_queue() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let device = Device {
        lab: &lab,
        id: "dev-1",
        token: Some(lab.device_token("dev-1", &identity, 3600)),
        credential: None,
    };
    lab.send("a").await;
    lab.send("b").await;
    let locked = device.receive().await;
    let mut session = lab.sas_session("dev-1", &identity).await;
    session
        .subscribe("devices/dev-1/messages/devicebound/#")
        .await;
    assert_eq!(session.expect().await.payload(), b"b");
    assert_eq!(device.receive().await.status, 204);
    device.settle(&locked, "abandon").await;
    assert_eq!(session.expect().await.payload(), b"a");
}

/// R-G7, R-G8, R-G37: a certificate opens it like a CONNECT, and another one does not.
#[tokio::test(start_paused = true)]
async fn a_certificate_speaks_for_its_device() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let device = |credential| Device {
        lab: &lab,
        id: "dev-1",
        token: None,
        credential,
    };
    let own = device(Some(&credential));
    let sent = own.ask(own.request("POST", "events").plain("x")).await;
    assert_eq!(sent.status, 204, "{sent:?}");
    lab.send("a").await;
    let got = own.receive().await;
    assert_eq!(own.settle(&got, "complete").await.status, 204);
    let events = all(&lab);
    let stamps: BTreeMap<_, _> = events[0].message().stamps().collect();
    assert!(stamps["iothub-connection-auth-method"].contains(r#""type":"x509""#));

    let mark = lab.events.mark();
    let next = lab.leaf("dev-1", 2, 30);
    for stranger in [Some(&next), None] {
        let answer = device(stranger).receive().await;
        assert_hub_error(&answer, 401, "IotHubUnauthorizedAccess");
    }
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G10", 401_003));
    assert_eq!(lab.events.opened(mark), Vec::<String>::new());
}

/// R-E7, R-F10, R-G4, R-G11: each request is judged by the rules of a CONNECT, and refused with
/// its number.
#[tokio::test(start_paused = true)]
async fn each_request_is_judged() {
    let lab = Lab::start();
    let device = Device::with_key(&lab, "dev-1").await;
    let other = Device::with_key(&lab, "dev-2").await;
    let calls = [
        ("POST", "events"),
        ("GET", "devicebound"),
        ("DELETE", "devicebound/x"),
        ("POST", "devicebound/x/abandon"),
    ];
    let judged = async |token: Option<&str>, id: &str| {
        let mut codes = Vec::new();
        for (method, what) in calls {
            let device = Device {
                lab: &lab,
                id,
                token: token.map(str::to_owned),
                credential: None,
            };
            let answer = device.call(method, what).await;
            let name = answer.header("iothub-errorcode").map(str::to_owned);
            codes.push((answer.status, name));
        }
        codes.dedup();
        codes
    };
    let own = device.token.as_deref();
    let mark = lab.events.mark();
    let unauthorized = vec![(401, Some("IotHubUnauthorizedAccess".to_owned()))];
    let identity = lab.hub("GET", "/devices/dev-1", None, None).await.body;
    let expired = lab.device_token("dev-1", &identity, -400);
    for token in [
        None,
        Some("no token"),
        other.token.as_deref(),
        Some(&expired),
    ] {
        assert_eq!(judged(token, "dev-1").await, unauthorized, "{token:?}");
    }
    // R-F9: the owner's policy may speak as a device.
    let owner = lab.hub_string().token(lab.now() + 600);
    let answers = judged(Some(&owner), "dev-1").await;
    assert_eq!(answers[0], (204, None));
    let unknown = judged(Some(&owner), "nobody").await;
    assert_eq!(unknown[0], (404, Some("DeviceNotFound".to_owned())));
    assert_eq!(lab.events.refusal(mark, "nobody"), ("R-E7", 404_001));
    let mut off = identity;
    off["status"] = "disabled".into();
    lab.hub("PUT", "/devices/dev-1", Some("*"), Some(off)).await;
    let disabled = judged(own, "dev-1").await;
    assert_eq!(disabled, [(403, Some("DeviceDisabled".to_owned()))]);
}

/// R-G39: a device without a session is never told to be connected.
#[tokio::test(start_paused = true)]
async fn https_alone_makes_nobody_connected() {
    let routes = vec![MessageSource::DeviceConnectionState];
    let lab = Lab::with(|config| config.hubs[0].events.routes = routes);
    let device = Device::with_key(&lab, "dev-1").await;
    let sent = device
        .ask(device.request("POST", "events").plain("x"))
        .await;
    assert_eq!(sent.status, 204);
    device.receive().await;
    sleep(Duration::from_secs(180)).await;
    assert_eq!(all(&lab).len(), 1, "the telemetry alone");
    let shown = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(shown.text("connectionState"), "Disconnected");
    assert_eq!(shown.text("lastActivityTime"), "2026-01-01T00:00:00Z");
}
