//! What the admin listener shows of what happens, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use linarite_core::hub::message::MessageSource;
use linarite_core::id::HubHostName;
use linarite_emulator::config::HubConfig;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::mqtt::{Mqtt, telemetry};
use crate::support::watch::{Told, Watch, get, text};
use crate::support::{HUB, HUB_2, Lab};

async fn listening(lab: &Lab) -> SocketAddr {
    lab.emulator.listen().await.unwrap().admin
}

/// A session of a new device with a key. Registering would take seconds of real time.
async fn connected(lab: &Lab, id: &str) -> Mqtt {
    let identity = lab.create(id, json!({ "type": "sas" })).await;
    lab.sas_session(id, &identity).await
}

fn bodies(events: &[Told]) -> Vec<&Value> {
    events.iter().map(|told| &told.data["body"]).collect()
}

/// R-G37.
#[tokio::test]
async fn telemetry_is_watched_as_it_comes_with_its_properties() {
    let lab = Lab::start();
    let admin = listening(&lab).await;
    let mut session = connected(&lab, "dev-1").await;
    let topic = telemetry("dev-1");
    session.publish(&topic, "before").await;
    let mut watch = Watch::open(admin, "/events", None).await;
    let bag = "%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m&level=3";
    session
        .publish(&format!("{topic}{bag}"), r#"{"t": 21.50}"#)
        .await;
    let Told { id, name, data } = watch.expect().await;
    assert_eq!(name, None);
    assert!(id.is_some());
    let expected = [
        ("hub", json!(HUB)),
        ("source", json!("Telemetry")),
        ("deviceId", json!("dev-1")),
        ("applicationProperties", json!({ "level": "3" })),
        ("bodyEncoding", json!("json")),
        ("body", json!({ "t": 21.5 })),
        ("sequenceNumber", json!(1)),
    ];
    for (member, value) in expected {
        assert_eq!(data[member], value, "{member} of {data}");
    }
    let system = &data["systemProperties"];
    assert_eq!(system["message-id"], "m");
    assert_eq!(system["iothub-connection-device-id"], "dev-1");
    assert_eq!(system["iothub-message-source"], "Telemetry");
    session.publish(&topic, "raw").await;
    let told = watch.expect().await;
    assert_eq!(told.data["bodyEncoding"], "base64");
    assert_eq!(told.data["body"], "cmF3");
}

/// R-G39, R-G40.
#[tokio::test]
async fn what_the_hub_says_itself_is_watched_too() {
    let lab = Lab::with(|config| {
        let routes = [MessageSource::DeviceLifecycle, MessageSource::TwinChange];
        config.hubs[0].events.routes = routes.to_vec();
    });
    let admin = listening(&lab).await;
    let mut watch = Watch::open(admin, "/events?limit=2", None).await;
    lab.create("d", json!({ "type": "sas" })).await;
    let tags = json!({ "tags": { "floor": 3 } });
    lab.hub("PATCH", "/twins/d", None, Some(tags)).await;
    let told = watch.rest().await;
    let sources: Vec<_> = told.iter().map(|told| &told.data["source"]).collect();
    assert_eq!(sources, ["deviceLifecycleEvents", "twinChangeEvents"]);
    assert_eq!(told[0].data["body"]["deviceId"], "d");
    assert_eq!(told[1].data["body"]["tags"]["floor"], 3);
}

/// R-G38.
#[tokio::test]
async fn a_stream_goes_on_where_another_ended() {
    let lab = Lab::start();
    let admin = listening(&lab).await;
    let mut sent = Vec::new();
    for device in 0..4 {
        let name = format!("dev-{device}");
        let mut session = connected(&lab, &name).await;
        for message in 0..3 {
            let topic = telemetry(&name) + "%24.ct=application%2Fjson";
            sent.push(json!(format!("{name}:{message}")));
            session
                .publish(&topic, json!(format!("{name}:{message}")).to_string())
                .await;
        }
    }
    let path = "/events?from=earliest&follow=false";
    let all = Watch::open(admin, path, None).await.rest().await;
    let mut found: Vec<_> = bodies(&all).into_iter().cloned().collect();
    found.sort_by_key(Value::to_string);
    assert_eq!(found, sent);
    for cut in [0, 5, 11] {
        let id = all[cut].id.as_deref();
        // A client that connects again by itself repeats its address.
        let rest = Watch::open(admin, path, id).await.rest().await;
        let mut found: Vec<_> = bodies(&rest).into_iter().cloned().collect();
        found.extend(all[..=cut].iter().map(|told| told.data["body"].clone()));
        found.sort_by_key(Value::to_string);
        assert_eq!(found, sent, "behind {cut}");
    }
    let partition = all[0].data["partition"].as_u64().unwrap();
    let offset = all[1].data["offset"].as_u64().unwrap();
    assert_eq!(all[1].data["partition"], partition);
    let path = format!("/events?partition={partition}&from={offset}&limit=1");
    let found = Watch::open(admin, &path, None).await.rest().await;
    assert_eq!(bodies(&found), [&all[1].data["body"]]);
    // The id of an emulator that is no more: all there is now.
    let id = all[5].id.as_deref().unwrap();
    let (_, places) = id.split_once('-').unwrap();
    let path = "/events?follow=false";
    let found = Watch::open(admin, path, Some(&format!("1-{places}"))).await;
    assert_eq!({ found }.rest().await.len(), 12);
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let lab = Lab::with_two_hubs(|_| {});
    let admin = listening(&lab).await;
    let events = format!("/events?hub={HUB}");
    let one = "offset is one of a partition";
    let table = [
        ("/events".to_owned(), "hub: expected one of"),
        ("/events?hub=nobody.test".to_owned(), "not \"nobody.test\""),
        (
            format!("{events}&partition=4"),
            "partition: expected 0 to 3",
        ),
        (
            format!("{events}&partition=x"),
            "partition: expected 0 to 3",
        ),
        (format!("{events}&from=then"), "from: expected earliest"),
        (format!("{events}&from=12"), one),
        (format!("{events}&limit=-1"), "limit: expected a number"),
        (
            format!("{events}&follow=1"),
            "follow: expected true or false",
        ),
        (
            format!("{events}&hub={HUB_2}"),
            "hub: is there more than once",
        ),
        (format!("{events}&device=d"), "device: is no parameter here"),
        ("/events/journal?hub=h".to_owned(), "hub: is no parameter"),
        ("/events/journal?from=then".to_owned(), "from: expected"),
    ];
    for (path, problem) in table {
        let (status, body) = text(admin, &path).await;
        assert_eq!(status, 400, "{path}: {body}");
        assert!(body.contains(problem), "{path}: {body}");
    }
    let path = format!("{events}&partition=1");
    for id in ["nothing", "1f-x", "1f-9:x"] {
        assert_eq!(get(admin, &path, Some(id)).await.status(), 400, "{id}");
    }
    let (status, body) = text(admin, "/event").await;
    assert_eq!(status, 501);
    assert!(body.contains("/events/journal"), "{body}");
}

/// R-G38: the hub does not wait for a reader, and its memory is bounded.
#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    const SENT: usize = 200;
    let lab = Lab::with(|config| {
        config.hubs[0].events.partition_count = 1;
        config.hubs[0].events.bytes_max = 1024 * 1024;
    });
    let admin = listening(&lab).await;
    let mut session = connected(&lab, "dev-1").await;
    let mut watch = Watch::open(admin, "/events", None).await;
    let mut first = None;
    for message in 0..SENT {
        session
            .publish(&telemetry("dev-1"), vec![b'x'; 250_000])
            .await;
        if message == 0 {
            first = Some(watch.expect().await);
        }
    }
    session.publish(&telemetry("dev-1"), "last").await;
    let (mut told, mut missed) = (1, 0);
    loop {
        let next = watch.expect().await;
        if next.name.as_deref() == Some("dropped") {
            missed += usize::try_from(next.data["count"].as_u64().unwrap()).unwrap();
            continue;
        }
        told += 1;
        if next.data["body"] == "bGFzdA==" {
            break;
        }
    }
    assert!(missed > 0, "the sockets took it all");
    assert_eq!(told + missed, SENT + 1);
    // Who comes back later than the log remembers is told as well.
    let id = first.unwrap().id;
    let path = "/events?follow=false";
    let again = Watch::open(admin, path, id.as_deref()).await.rest().await;
    assert_eq!(again[0].name.as_deref(), Some("dropped"));
    let missed = again[0].data["count"].as_u64().unwrap();
    assert_eq!(missed + again.len() as u64 - 1, SENT as u64);
}

#[tokio::test]
async fn the_journal_tells_what_the_emulator_did() {
    let lab = Lab::start();
    let admin = listening(&lab).await;
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.publish(&telemetry("dev-1"), "x").await;
    let path = "/events/journal?from=earliest&follow=false";
    let all = Watch::open(admin, path, None).await.rest().await;
    let names: Vec<_> = all
        .iter()
        .filter_map(|told| told.data["event"].as_str())
        .collect();
    assert_eq!(names.len(), all.len());
    for name in ["EnrollmentWritten", "DeviceAssigned", "SessionOpened"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    let last = all.last().unwrap();
    assert_eq!(last.data["event"], "TelemetryAccepted");
    assert_eq!(last.data["deviceId"], "dev-1");
    assert_eq!(last.data["hub"], HUB);
    let assigned = all
        .iter()
        .find(|told| told.data["event"] == "DeviceAssigned");
    let assigned = &assigned.unwrap().data;
    assert_eq!(assigned["slot"], "primary");
    assert_eq!(assigned["presented"].as_str().unwrap().len(), 64);
    let second = all.len() - 2;
    let id = all[second].id.as_deref();
    let rest = Watch::open(admin, path, id).await.rest().await;
    assert_eq!(rest.as_slice(), std::slice::from_ref(last));
    let mut watch = Watch::open(admin, "/events/journal?limit=1", None).await;
    session.publish(&telemetry("dev-1"), "y").await;
    assert_eq!(watch.rest().await[0].data["event"], "TelemetryAccepted");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let lab = Lab::start();
    let admin = listening(&lab).await;
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    for _ in 0..3 {
        session.publish(&telemetry("dev-1"), "x").await;
    }
    let _watch = Watch::open(admin, "/events", None).await;
    let (status, body) = text(admin, "/metrics").await;
    assert_eq!(status, 200);
    let kept: u64 = body
        .lines()
        .filter(|line| line.starts_with("linarite_events_kept{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(kept, 3);
    for line in [
        format!("linarite_telemetry_messages_total{{hub=\"{HUB}\"}} 3"),
        format!("linarite_sessions_opened_total{{hub=\"{HUB}\"}} 1"),
        "linarite_registrations_total{outcome=\"assigned\"} 1".to_owned(),
        "linarite_assignments_total{slot=\"primary\"} 1".to_owned(),
        "linarite_event_streams 1".to_owned(),
    ] {
        assert!(
            body.lines().any(|found| found == line),
            "no {line} in\n{body}"
        );
    }
}

#[tokio::test]
async fn stopping_ends_every_stream_at_once() {
    let lab = Lab::with(|config| config.hubs[0].events.partition_count = 1);
    let admin = listening(&lab).await;
    let mut session = connected(&lab, "dev-1").await;
    let mut events = Watch::open(admin, "/events", None).await;
    let mut journal = Watch::open(admin, "/events/journal", None).await;
    // One that does not read, until its socket is full.
    let mut stuck = TcpStream::connect(admin).await.unwrap();
    stuck
        .write_all(b"GET /events?from=earliest HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..100 {
        session
            .publish(&telemetry("dev-1"), vec![b'x'; 250_000])
            .await;
        events.expect().await;
    }
    let stop = async {
        let began = tokio::time::Instant::now();
        assert!(lab.emulator.stop(Duration::from_secs(10)).await);
        assert!(began.elapsed() < Duration::from_secs(2));
    };
    let ((), rest, _) = tokio::join!(stop, events.rest(), journal.rest());
    assert_eq!(rest, []);
    assert!(TcpStream::connect(admin).await.is_err(), "still listening");
}

/// One hub of two is watched, and only that.
#[tokio::test]
async fn each_hub_has_its_stream() {
    let lab = Lab::with(|config| {
        let other = HubConfig::new(HubHostName::parse(HUB_2).unwrap());
        config.hubs.push(other);
    });
    let admin = listening(&lab).await;
    let mut session = connected(&lab, "d").await;
    session.publish(&telemetry("d"), "x").await;
    for (hub, expected) in [(HUB, 1), (HUB_2, 0)] {
        let path = format!("/events?hub={hub}&from=earliest&follow=false");
        let told = Watch::open(admin, &path, None).await.rest().await;
        assert_eq!(told.len(), expected, "{hub}");
    }
}
