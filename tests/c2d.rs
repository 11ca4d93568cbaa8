//! Messages from the cloud to devices over MQTT (behaviour G.6, W12).

mod drops;
mod feedback;
mod moves;

use std::time::Duration;

use linarite_core::hub::c2d::message::{Ack, CloudMessage};
use linarite_core::hub::message::Properties;
use linarite_core::id::IdentityId;
use linarite_env::Event;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::api_hub::assert_hub_error;
use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, Mqtt, Packet, field, packet, subscribe};
use crate::support::{HUB, HUB_2, Lab};

const FILTER: &str = "devices/dev-1/messages/devicebound/#";

impl Lab {
    /// A message for a device or module, at `devices/{id}` or below, with these headers.
    pub(crate) async fn send_to(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Answer {
        let path = format!("/{path}/messages/devicebound");
        let mut request = self.hub_request("POST", &path).plain(body);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.ask(&request, None).await
    }

    /// A message for `dev-1` of this id, with all feedback.
    pub(crate) async fn send(&self, id: &str) {
        let headers = [("IoTHub-MessageId", id), ("iothub-ack", "full")];
        let answer = self.send_to("devices/dev-1", &headers, id).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// How many messages the registry says that `dev-1` has.
    pub(crate) async fn message_count(&self) -> u64 {
        let device = self.hub("GET", "/devices/dev-1", None, None).await;
        let twin = self.hub("GET", "/twins/dev-1", None, None).await;
        let counts = [device, twin].map(|answer| answer.body["cloudToDeviceMessageCount"].as_u64());
        assert_eq!(counts[0], counts[1]);
        counts[0].unwrap()
    }
}

impl Mqtt {
    /// The next message: its id, number of its packet, and whether it was sent before.
    async fn message(&mut self) -> (String, u16, bool) {
        let packet = self.expect().await;
        let id = String::from_utf8(packet.payload().to_vec()).unwrap();
        (id, packet.packet_id().unwrap(), packet.is_again())
    }

    async fn acknowledge(&mut self, packet_id: u16) {
        self.send([&[0x40, 2][..], &packet_id.to_be_bytes()].concat())
            .await;
        // What comes before an answer has been dealt with.
        self.send([0xC0, 0]).await;
        assert_eq!(self.expect().await.first, 0xD0);
    }

    /// Ends the connection without a goodbye.
    async fn drop_connection(self) {
        drop(self);
        sleep(Duration::from_millis(10)).await;
    }
}

/// A CONNECT of `dev-1` that goes on with the session before.
fn resuming(lab: &Lab, identity: &Value) -> Connect {
    Connect {
        clean: false,
        ..lab.sas_connect("dev-1", identity)
    }
}

async fn open(lab: &Lab, connect: &Connect, present: u8) -> Mqtt {
    let mut client = lab.mqtt(None).await;
    assert_eq!(client.connect(connect).await, (present, 0));
    client
}

/// How messages for devices ended, in order.
pub(crate) fn fates(lab: &Lab) -> Vec<(String, &'static str)> {
    let events = lab.events.after(0).into_iter();
    let fates = events.filter_map(|event| match event {
        Event::MessageSettled {
            message_id, fate, ..
        } => Some((message_id.as_deref().unwrap_or("none").to_owned(), fate)),
        _ => None,
    });
    fates.collect()
}

pub(crate) fn named(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    let owned = |(id, fate): &(&str, &'static str)| ((*id).to_owned(), *fate);
    expected.iter().map(owned).collect()
}

/// R-G17, R-G28, R-G1, wire 4.2, wire 4.3: it arrives as Azure sends it, and PUBACK completes it.
#[tokio::test(start_paused = true)]
async fn a_message_arrives_with_its_properties_and_is_completed() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    let headers = [
        ("IoTHub-MessageId", "m-1"),
        ("IoTHub-CorrelationId", "c/1"),
        ("IoTHub-UserId", "u"),
        ("IoTHub-Expiry", "2026-01-01T01:00:00Z"),
        ("iothub-contenttype", "text/plain; charset=utf-8"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-ack", "full"),
        ("iothub-app-colour", "green & blue"),
    ];
    let sent = lab.send_to("devices/dev-1", &headers, "hello").await;
    assert_eq!(sent.status, 204, "{sent:?}");
    let packet = client.expect().await;
    assert_eq!(
        packet.topic(),
        "devices/dev-1/messages/devicebound/%24.mid=m-1\
         &%24.to=%2Fdevices%2Fdev-1%2Fmessages%2Fdevicebound&%24.cid=c%2F1&%24.uid=u\
         &%24.exp=2026-01-01T01%3A00%3A00Z&%24.ct=text%2Fplain%3B%20charset%3Dutf-8&%24.ce=utf-8\
         &iothub-ack=full&colour=green%20%26%20blue"
    );
    assert_eq!(
        (packet.payload(), packet.is_again()),
        (&b"hello"[..], false)
    );
    assert_eq!(lab.message_count().await, 1);
    client.acknowledge(packet.packet_id().unwrap()).await;
    assert_eq!(lab.message_count().await, 0);
    assert_eq!(fates(&lab), named(&[("m-1", "Success")]));
    // Acknowledged again, or never sent: of no consequence.
    for id in [packet.packet_id().unwrap(), 999] {
        client.acknowledge(id).await;
    }
    assert_eq!(fates(&lab).len(), 1);
}

/// R-G27.
#[tokio::test(start_paused = true)]
async fn the_fifty_first_message_is_refused() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    for number in 0..50 {
        lab.send(&number.to_string()).await;
    }
    let over = lab.send_to("devices/dev-1", &[], "x").await;
    assert_hub_error(&over, 403, "DeviceMaximumQueueDepthExceeded");
    assert_eq!(lab.message_count().await, 50);
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    for number in 0..50 {
        let (id, packet_id, again) = client.message().await;
        assert_eq!((id, again), (number.to_string(), false));
        client
            .send([&[0x40, 2][..], &packet_id.to_be_bytes()].concat())
            .await;
    }
    client.expect_silence().await;
    assert_eq!(lab.message_count().await, 0);
}

/// R-G27, R-F10.
#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_taken_is_refused() {
    let lab = Lab::start();
    lab.create("dev-1", Value::Null).await;
    let wrong = [("iothub-ack", "sometimes"), ("iothub-expiry", "tomorrow")];
    for header in wrong {
        let answer = lab.send_to("devices/dev-1", &[header], "x").await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
        assert!(answer.text("Message").contains(header.0), "{answer:?}");
    }
    let large = "x".repeat(64 * 1024);
    let answer = lab.send_to("devices/dev-1", &[], &large).await;
    assert_hub_error(&answer, 413, "MessageTooLarge");
    let answer = lab.send_to("devices/nobody", &[], "x").await;
    assert_hub_error(&answer, 404, "DeviceNotFound");
    // R-G4: a disabled device is not found.
    let off = json!({ "deviceId": "dev-1", "status": "disabled" });
    lab.hub("PUT", "/devices/dev-1", Some("*"), Some(off)).await;
    let answer = lab.send_to("devices/dev-1", &[], "x").await;
    assert_hub_error(&answer, 404, "DeviceNotFound");
    assert_eq!(lab.message_count().await, 0);
}

/// R-G27, R-G28.
#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_fetches_expires() {
    let lab = Lab::with(|config| config.hubs[0].c2d.ttl_seconds = 90);
    let identity = lab.create("dev-1", Value::Null).await;
    lab.send("hub's").await;
    let own = [
        ("iothub-messageid", "own"),
        ("iothub-expiry", "2026-01-01T00:00:30Z"),
    ];
    lab.send_to("devices/dev-1", &own, "x").await;
    let late = [
        ("iothub-messageid", "late"),
        ("iothub-expiry", "2025-12-31T00:00:00Z"),
    ];
    assert_eq!(lab.send_to("devices/dev-1", &late, "x").await.status, 204);
    let mut left = Vec::new();
    for _ in 0..4 {
        left.push(lab.message_count().await);
        sleep(Duration::from_secs(29)).await;
    }
    assert_eq!(left, [2, 2, 1, 1]);
    assert_eq!(lab.message_count().await, 0);
    let expected = [
        ("late", "Expired"),
        ("own", "Expired"),
        ("hub's", "Expired"),
    ];
    assert_eq!(fates(&lab), named(&expected));
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    client.expect_silence().await;
}

/// W12, R-G15, R-G29: after a drop the subscription is still there, what was sent and not
/// acknowledged comes again as such, what was acknowledged does not, and the rest follows.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_connection_drops() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let connect = resuming(&lab, &identity);
    let mut client = open(&lab, &connect, 0).await;
    client.subscribe(FILTER).await;
    for id in ["a", "b", "c"] {
        lab.send(id).await;
    }
    let mut packets = Vec::new();
    for id in ["a", "b", "c"] {
        let (got, packet_id, again) = client.message().await;
        assert_eq!((&*got, again), (id, false));
        packets.push(packet_id);
    }
    // Out of order.
    client.acknowledge(packets[1]).await;
    client.drop_connection().await;
    lab.send("d").await;
    assert_eq!(lab.message_count().await, 3);

    let mut client = open(&lab, &connect, 1).await;
    for (id, packet_id) in [("a", packets[0]), ("c", packets[2])] {
        assert_eq!(client.message().await, (id.to_owned(), packet_id, true));
    }
    let (id, packet_id, again) = client.message().await;
    assert_eq!((&*id, again), ("d", false));
    assert!(!packets.contains(&packet_id), "{packet_id} is in use");
    for id in [packet_id, packets[2], packets[0]] {
        client.acknowledge(id).await;
    }
    let expected = [
        ("b", "Success"),
        ("d", "Success"),
        ("c", "Success"),
        ("a", "Success"),
    ];
    assert_eq!(fates(&lab), named(&expected));
    client.send([0xE0, 0]).await;
    client.expect_end().await;

    // A goodbye keeps the subscription as well.
    let mut client = open(&lab, &connect, 1).await;
    lab.send("e").await;
    assert_eq!(client.message().await.0, "e");
}

/// W12, R-G15: who wants nothing of an earlier session has no subscription and knows no packets;
/// the messages are the hub's and wait.
#[tokio::test(start_paused = true)]
async fn a_clean_session_begins_anew_and_messages_still_wait() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut client = open(&lab, &resuming(&lab, &identity), 0).await;
    client.subscribe(FILTER).await;
    lab.send("a").await;
    assert_eq!(client.message().await.0, "a");
    client.drop_connection().await;

    let mut client = open(&lab, &lab.sas_connect("dev-1", &identity), 0).await;
    client.expect_silence().await;
    client.subscribe(FILTER).await;
    let (id, packet_id, again) = client.message().await;
    assert_eq!((&*id, again), ("a", false));
    client.acknowledge(packet_id).await;
    assert_eq!(fates(&lab), named(&[("a", "Success")]));
}

/// R-G13, W12: a take-over takes the messages along; the old connection settles nothing more.
#[tokio::test(start_paused = true)]
async fn a_take_over_takes_messages_along() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let connect = resuming(&lab, &identity);
    let mut old = open(&lab, &connect, 0).await;
    old.subscribe(FILTER).await;
    lab.send("a").await;
    let (_, packet_id, _) = old.message().await;
    let mut new = open(&lab, &connect, 1).await;
    // It may be gone by now.
    let puback = [&[0x40, 2][..], &packet_id.to_be_bytes()].concat();
    let _ = old.stream.write_all(&puback).await;
    old.expect_end().await;
    assert_eq!(new.message().await, ("a".to_owned(), packet_id, true));
    assert_eq!(lab.message_count().await, 1);
    new.acknowledge(packet_id).await;
    assert_eq!(lab.message_count().await, 0);
}

/// R-G27, R-G29, I-8: what is not acknowledged within a minute comes again, and that is counted
/// as nothing.
#[tokio::test(start_paused = true)]
async fn a_lock_that_lapses_has_the_message_sent_again() {
    let lab = Lab::with(|config| config.hubs[0].c2d.delivery_count_max = 1);
    let identity = lab.create("dev-1", Value::Null).await;
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    let started = lab.env.clock.now_ms();
    lab.send("a").await;
    let (_, packet_id, _) = client.message().await;
    for round in 1..=3 {
        assert_eq!(client.message().await, ("a".to_owned(), packet_id, true));
        assert_eq!(lab.since(started).as_secs(), round * 60);
    }
    client.acknowledge(packet_id).await;
    assert_eq!(fates(&lab), named(&[("a", "Success")]));
    sleep(Duration::from_secs(120)).await;
    client.expect_silence().await;
}

/// R-G28: a device that subscribes at QoS 0 acknowledges nothing.
#[tokio::test(start_paused = true)]
async fn at_qos_0_a_message_is_completed_by_being_sent() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut client = lab.sas_session("dev-1", &identity).await;
    lab.send("a").await;
    let filters = [(FILTER, 0)];
    client.send(subscribe(&filters)).await;
    assert_eq!(client.expect().await.body, [0, 1, 0]);
    let packet = client.expect().await;
    assert_eq!((packet.first, packet.payload()), (0x30, &b"a"[..]));
    assert_eq!(fates(&lab), named(&[("a", "Success")]));
}

/// R-G17: a device is sent only what it asked for, and a module has messages of its own.
#[tokio::test(start_paused = true)]
async fn devices_and_modules_have_queues_of_their_own() {
    let lab = Lab::start();
    let device = lab.create("dev-1", Value::Null).await;
    let body = json!({ "deviceId": "dev-1", "moduleId": "m" });
    let path = "/devices/dev-1/modules/m";
    let module = lab.hub("PUT", path, None, Some(body)).await.body;
    let mut of_device = lab.sas_session("dev-1", &device).await;
    let mut of_module = lab.sas_session("dev-1/m", &module).await;
    lab.send("for the device").await;
    of_device.expect_silence().await;
    let filter = "devices/dev-1/modules/m/messages/devicebound/#";
    of_module.subscribe(filter).await;
    let sent = lab
        .send_to("devices/dev-1/modules/m", &[], "for the module")
        .await;
    assert_eq!(sent.status, 204);
    let sent = of_module.expect().await;
    assert_eq!(sent.payload(), b"for the module");
    assert_eq!(
        sent.topic(),
        "devices/dev-1/modules/m/messages/devicebound/\
         %24.to=%2Fdevices%2Fdev-1%2Fmodules%2Fm%2Fmessages%2Fdevicebound"
    );
    of_device.subscribe(FILTER).await;
    let (id, packet_id, _) = of_device.message().await;
    assert_eq!(id, "for the device");
    // What is no longer subscribed to is no longer sent.
    of_device.acknowledge(packet_id).await;
    let mut unsubscribe = vec![0, 2];
    unsubscribe.extend(field(FILTER));
    of_device.send(packet(0xA2, &unsubscribe)).await;
    let unsuback = Packet {
        first: 0xB0,
        body: vec![0, 2],
    };
    assert_eq!(of_device.expect().await, unsuback);
    lab.send("later").await;
    of_device.expect_silence().await;
}

/// R-G17: topics match the filter as the device wrote it.
#[tokio::test(start_paused = true)]
async fn a_topic_spells_the_device_as_its_filter_does() {
    let lab = Lab::start();
    let identity = lab.create("d$1", Value::Null).await;
    for spelled in ["d$1", "d%241"] {
        let connect = lab.sas_connect("d$1", &identity);
        let mut client = open(&lab, &connect, 0).await;
        let prefix = format!("devices/{spelled}/messages/devicebound/");
        client.subscribe(&format!("{prefix}#")).await;
        assert_eq!(lab.send_to("devices/d$1", &[], "x").await.status, 204);
        let packet = client.expect().await;
        assert!(packet.topic().starts_with(&prefix), "{}", packet.topic());
        client.acknowledge(packet.packet_id().unwrap()).await;
    }
}

/// R-G28: properties that no MQTT topic can hold block nobody.
#[tokio::test(start_paused = true)]
async fn a_message_that_no_packet_can_carry_is_rejected() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let long = "ä".repeat(20_000);
    let properties = Properties::new([("message-id", "long")], [("name", &*long)]);
    let message = CloudMessage::new(properties, b"", Ack::None, None).unwrap();
    let id = IdentityId::parse("dev-1").unwrap();
    lab.emulator.send(HUB, &id, message).unwrap();
    lab.send("short").await;
    let mut client = lab.sas_session("dev-1", &identity).await;
    client.subscribe(FILTER).await;
    assert_eq!(client.message().await.0, "short");
    assert_eq!(fates(&lab), named(&[("long", "Rejected")]));
}

/// R-G31, R-E6, R-C8: with the device go its messages; a later one of that name has none.
#[tokio::test(start_paused = true)]
async fn messages_go_with_their_device() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut client = open(&lab, &resuming(&lab, &identity), 0).await;
    client.subscribe(FILTER).await;
    lab.send("a").await;
    let (_, packet_id, _) = client.message().await;
    lab.send("b").await;
    assert_eq!(client.message().await.0, "b");
    lab.hub("DELETE", "/devices/dev-1", Some("*"), None).await;
    client.expect_end().await;
    let identity = lab.create("dev-1", Value::Null).await;
    assert_eq!(lab.message_count().await, 0);
    let mut client = open(&lab, &resuming(&lab, &identity), 0).await;
    client.subscribe(FILTER).await;
    client.acknowledge(packet_id).await;
    client.expect_silence().await;
    assert_eq!(fates(&lab), []);
}

/// R-G4, R-E6: a disabled device keeps its messages, and settles none while it is cut off.
#[tokio::test(start_paused = true)]
async fn a_disabled_device_finds_its_messages_again() {
    let lab = Lab::with(|config| config.settings.forced_close_delay_seconds = 60);
    let identity = lab.create("dev-1", Value::Null).await;
    let connect = resuming(&lab, &identity);
    let mut client = open(&lab, &connect, 0).await;
    client.subscribe(FILTER).await;
    lab.send("a").await;
    let (_, packet_id, _) = client.message().await;
    let set = async |status: &str| {
        let mut body = identity.clone();
        body["status"] = status.into();
        let answer = lab
            .hub("PUT", "/devices/dev-1", Some("*"), Some(body))
            .await;
        assert_eq!(answer.status, 200);
    };
    set("disabled").await;
    client.acknowledge(packet_id).await;
    client.expect_end().await;
    assert_eq!(lab.message_count().await, 1);
    set("enabled").await;
    let mut client = open(&lab, &connect, 1).await;
    assert_eq!(client.message().await, ("a".to_owned(), packet_id, true));
    client.acknowledge(packet_id).await;
    assert_eq!(lab.message_count().await, 0);
}

/// R-G30, R-G28.
#[tokio::test(start_paused = true)]
async fn a_queue_can_be_emptied() {
    let lab = Lab::start();
    lab.create("dev-1", Value::Null).await;
    let purge = async || {
        lab.hub("DELETE", "/devices/dev-1/commands", None, None)
            .await
    };
    let purged =
        |count: u64| json!({ "totalMessagesPurged": count, "deviceId": "dev-1", "moduleId": null });
    assert_eq!(purge().await.body, purged(0));
    for id in ["a", "b", "c"] {
        lab.send(id).await;
    }
    let answer = purge().await;
    assert_eq!((answer.status, answer.body), (200, purged(3)));
    assert_eq!(lab.message_count().await, 0);
    let expected = [("a", "Purged"), ("b", "Purged"), ("c", "Purged")];
    assert_eq!(fates(&lab), named(&expected));
    let answer = lab
        .hub("DELETE", "/devices/nobody/commands", None, None)
        .await;
    assert_hub_error(&answer, 404, "DeviceNotFound");
}

/// R-F10: a hub knows its own devices alone.
#[tokio::test(start_paused = true)]
async fn messages_are_for_devices_of_the_hub_that_was_asked() {
    let lab = Lab::with_two_hubs(|_| {});
    lab.create("dev-1", Value::Null).await;
    let id = IdentityId::parse("dev-1").unwrap();
    let message = || CloudMessage::new(Properties::default(), b"x", Ack::None, None).unwrap();
    assert!(lab.emulator.send(HUB, &id, message()).is_ok());
    for hub in [HUB_2, "nowhere.test"] {
        let error = lab.emulator.send(hub, &id, message()).unwrap_err();
        assert_eq!(
            (error.code, lab.emulator.feedback(hub).is_some()),
            (404_001, hub != "nowhere.test")
        );
    }
    let request = Request::new(
        "POST",
        "nowhere.test",
        "/devices/dev-1/messages/devicebound?api-version=2021-04-12",
    );
    assert_eq!(lab.ask(&request, None).await.status, 404);
    assert_eq!(lab.message_count().await, 1);
}
