//! What reaches a hub's event endpoint, and how it is read (behaviour G.8).

mod notifications;

use std::collections::BTreeMap;
use std::sync::Arc;

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use linarite_emulator::events::{HubEvent, StartPosition};
use serde_json::json;

use crate::support::mqtt::{Connect, packet, publish, telemetry};
use crate::support::{HUB, Lab};

/// All events that are kept, partition by partition.
pub(crate) fn all(lab: &Lab) -> Vec<Arc<HubEvent>> {
    let events = lab.emulator.events(HUB).unwrap();
    let mut reader = events.read_all(StartPosition::Earliest);
    let mut all = Vec::new();
    loop {
        let batch = reader.ready(100);
        if batch.is_empty() {
            return all;
        }
        all.extend(batch.events);
    }
}

/// System properties, application properties and what the hub vouches for.
fn properties(event: &HubEvent) -> [BTreeMap<&str, &str>; 3] {
    let message = event.message();
    let properties = message.properties();
    [
        properties.system().collect(),
        properties.application().collect(),
        message.stamps().collect(),
    ]
}

/// R-G37, wire 4.3.
#[tokio::test(start_paused = true)]
async fn telemetry_keeps_its_properties_and_is_vouched_for() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let topic = telemetry("dev-1");
    let bag = "%24.mid=m%201&%24.ct=application%2Fjson&%24.ce=utf-8&temperature%20alert=true&b";
    session
        .publish(&format!("{topic}{bag}"), r#"{"t":21}"#)
        .await;

    let events = all(&lab);
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(event.message().body(), br#"{"t":21}"#);
    assert_eq!(event.enqueued(), lab.env.clock.now_ms());
    let device = lab.hub("GET", "/devices/dev-1", None, None).await;
    let auth = r#"{"scope":"device","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#;
    let expected = [
        BTreeMap::from([
            ("message-id", "m 1"),
            ("content-type", "application/json"),
            ("content-encoding", "utf-8"),
        ]),
        BTreeMap::from([("temperature alert", "true"), ("b", "")]),
        BTreeMap::from([
            ("iothub-connection-device-id", "dev-1"),
            (
                "iothub-connection-auth-generation-id",
                device.text("generationId"),
            ),
            ("iothub-connection-auth-method", auth),
            ("iothub-message-source", "Telemetry"),
        ]),
    ];
    assert_eq!(properties(event), expected);
}

/// R-G37: the way the session was authenticated.
#[tokio::test(start_paused = true)]
async fn telemetry_of_a_device_with_a_key_says_so() {
    let lab = Lab::start();
    let key = SymmetricKey::from_bytes(&[7; 32]).unwrap();
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let body = json!({
        "deviceId": "keyed",
        "authentication": { "type": "sas", "symmetricKey": keys },
    });
    assert_eq!(
        lab.hub("PUT", "/devices/keyed", None, Some(body))
            .await
            .status,
        200
    );
    let mut connect = Connect::hub("keyed");
    let expiry = UnixTime(lab.now() + 600);
    connect.password = Some(sas::sign(
        &format!("{HUB}/devices/keyed"),
        expiry,
        &key,
        None,
    ));
    let mut session = lab.mqtt(None).await;
    assert_eq!(session.connect(&connect).await, (0, 0));
    session.publish(&telemetry("keyed"), "x").await;
    let events = all(&lab);
    let auth = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;
    let [_, _, stamps] = properties(&events[0]);
    assert_eq!(stamps["iothub-connection-auth-method"], auth);
}

/// R-G16, R-G19: a retained message is not kept for others, and a will is telemetry.
#[tokio::test(start_paused = true)]
async fn retained_messages_and_wills_are_marked() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let mut connect = Connect::hub("dev-1");
    let topic = format!("{}%24.mid=last-words&mood=bad", telemetry("dev-1"));
    connect.will = Some((topic, "gone".to_owned()));
    let mut session = lab.session_of(&credential, &connect).await.unwrap();
    let mut retained = publish(&telemetry("dev-1"), Some(7), "kept?");
    retained[0] |= 1;
    session.send(retained).await;
    assert_eq!(session.expect().await.first, 0x40);
    // A protocol error, so that the end is not a goodbye.
    session.send(packet(0xF0, &[])).await;
    session.expect_end().await;

    let events = all(&lab);
    let [kept, will] = &events[..] else {
        panic!("{events:?}");
    };
    let [_, application, _] = properties(kept);
    assert_eq!(application, BTreeMap::from([("mqtt-retain", "true")]));
    assert_eq!(will.message().body(), b"gone");
    let [system, application, stamps] = properties(will);
    assert_eq!(system, BTreeMap::from([("message-id", "last-words")]));
    assert_eq!(
        application,
        BTreeMap::from([("iothub-MessageType", "Will"), ("mood", "bad")])
    );
    assert_eq!(stamps["iothub-message-source"], "Telemetry");
}

/// R-G38, R-G18: what cannot be kept is not acknowledged, and nothing acknowledged is lost.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_ends_the_session_unacknowledged() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let topic = telemetry("dev-1");
    session.publish(&topic, vec![b'x'; 256 * 1024]).await;
    session
        .publish(&format!("{topic}%24.mid=123"), vec![b'x'; 256 * 1024 - 3])
        .await;
    let mark = lab.events.mark();
    let over = publish(&format!("{topic}a=1"), Some(7), vec![b'x'; 256 * 1024 - 1]);
    session.send(over).await;
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G38", 413_001));

    let mut session = lab.session(&credential).await.unwrap();
    let mark = lab.events.mark();
    session
        .send(publish(&format!("{topic}a=%FF"), Some(7), "x"))
        .await;
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G17", 400_004));
    assert_eq!(all(&lab).len(), 2);
}

/// R-G38: a device's messages are in the order in which it sent them.
#[tokio::test(start_paused = true)]
async fn each_device_has_its_partition_and_its_order() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let mut sessions = Vec::new();
    for number in 0..8 {
        let credential = lab.leaf(&format!("dev-{number}"), 1, 30);
        sessions.push((format!("dev-{number}"), lab.admit(&credential).await));
    }
    for message in 0..5 {
        for (device, session) in &mut sessions {
            session
                .publish(&telemetry(device), message.to_string())
                .await;
        }
    }
    let mut by_device: BTreeMap<String, Vec<(u16, u64, String)>> = BTreeMap::new();
    for event in all(&lab) {
        let device = event.message().origin().id().device_id().to_owned();
        let body = String::from_utf8(event.message().body().to_vec()).unwrap();
        by_device.entry(device).or_default().push((
            event.partition(),
            event.sequence_number(),
            body,
        ));
    }
    assert_eq!(by_device.len(), 8);
    let mut used = Vec::new();
    for (device, events) in by_device {
        assert!(
            events.iter().all(|event| event.0 == events[0].0),
            "{device}"
        );
        assert!(events.is_sorted_by(|a, b| a.1 < b.1), "{device}");
        let bodies: Vec<_> = events.iter().map(|event| event.2.as_str()).collect();
        assert_eq!(bodies, ["0", "1", "2", "3", "4"], "{device}");
        used.push(events[0].0);
    }
    used.sort_unstable();
    used.dedup();
    assert!(used.len() > 1, "all devices in one partition");
}
