//! The telemetry mirror, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use linarite_emulator::{Config, MirrorAddress};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::mqtt::{Connect, Mqtt, Packet, field, packet, publish, subscribe, telemetry};
use crate::support::watch::text;
use crate::support::{HUB, Lab};

type Watcher = Mqtt<TcpStream>;

/// Longest wait for anything, on the real clock.
const PATIENCE: Duration = Duration::from_secs(30);

struct Mirrored {
    lab: Lab,
    mirror: SocketAddr,
    admin: SocketAddr,
}

impl Mirrored {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::with(|config| {
            config.listen.mirror = Some(0);
            change(config);
        });
        let addresses = lab.emulator.listen().await.unwrap();
        let MirrorAddress::At(mirror) = addresses.mirror else {
            panic!("{addresses:?}");
        };
        let admin = addresses.admin;
        Self { lab, mirror, admin }
    }

    /// A session of a new device with a key. Registering would take seconds of real time.
    async fn device(&self, id: &str) -> Mqtt {
        let identity = self.lab.create(id, json!({ "type": "sas" })).await;
        self.lab.sas_session(id, &identity).await
    }

    async fn stream(&self) -> Watcher {
        let stream = TcpStream::connect(self.mirror).await.unwrap();
        Mqtt { stream }
    }

    /// A subscriber whose CONNECT was answered so.
    async fn answered(&self, connect: &[u8], code: u8) -> Watcher {
        let mut watcher = self.stream().await;
        watcher.send(connect).await;
        let connack = Packet {
            first: 0x20,
            body: vec![0, code],
        };
        assert_eq!(next(&mut watcher).await, Some(connack));
        watcher
    }

    async fn connected(&self) -> Watcher {
        self.answered(&anonymous(), 0).await
    }

    /// A subscriber to these filters, all granted.
    async fn watch(&self, filters: &[(&str, u8)]) -> Watcher {
        let mut watcher = self.connected().await;
        watcher.send(subscribe(filters)).await;
        let granted = filters.iter().map(|(_, qos)| *qos);
        assert_eq!(suback(&mut watcher).await, granted.collect::<Vec<_>>());
        watcher
    }

    /// The value of a metric, its labels included in the name.
    async fn metric(&self, name: &str) -> u64 {
        let (_, body) = text(self.admin, "/metrics").await;
        let found = body.lines().find_map(|line| line.strip_prefix(name));
        let found = found.unwrap_or_else(|| panic!("no {name} in\n{body}"));
        found.trim().parse().unwrap()
    }
}

/// A CONNECT of nobody in particular.
fn anonymous() -> Vec<u8> {
    packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
}

async fn next(watcher: &mut Watcher) -> Option<Packet> {
    timeout(PATIENCE, watcher.next())
        .await
        .expect("nothing came")
}

async fn expect(watcher: &mut Watcher) -> Packet {
    next(watcher)
        .await
        .expect("the mirror closed the connection")
}

/// What the one SUBACK grants.
async fn suback(watcher: &mut Watcher) -> Vec<u8> {
    let suback = expect(watcher).await;
    assert_eq!((suback.first, &suback.body[..2]), (0x90, &[0, 1][..]));
    suback.body[2..].to_vec()
}

/// Topic and body of the next message.
async fn message(watcher: &mut Watcher) -> (String, Value) {
    let publish = expect(watcher).await;
    let told = publish.json();
    (publish.topic().to_owned(), told["body"].clone())
}

/// The topic with which a device sends JSON.
fn json_topic(device: &str) -> String {
    telemetry(device) + "%24.ct=application%2Fjson&%24.ce=utf-8"
}

/// R-G37.
#[tokio::test]
async fn a_subscriber_sees_what_devices_send() {
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    device.publish(&telemetry("dev-1"), "before").await;
    let mut all = emulator.watch(&[("telemetry/#", 0)]).await;
    let mut one = emulator.watch(&[("telemetry/dev-1", 1)]).await;
    let mut other = emulator
        .watch(&[("telemetry/+", 1), ("telemetry/x", 0)])
        .await;
    let topic = json_topic("dev-1") + "&%24.mid=m&level=3";
    device.publish(&topic, r#"{"t": 21.50}"#).await;
    let expected = [
        ("hub", json!(HUB)),
        ("deviceId", json!("dev-1")),
        ("applicationProperties", json!({ "level": "3" })),
        ("bodyEncoding", json!("json")),
        ("body", json!({ "t": 21.5 })),
    ];
    for (watcher, first) in [(&mut all, 0x30), (&mut one, 0x32), (&mut other, 0x32)] {
        let publish = expect(watcher).await;
        assert_eq!(publish.first, first);
        assert_eq!(publish.topic(), "telemetry/dev-1");
        let told = publish.json();
        for (member, value) in &expected {
            assert_eq!(told[member], *value, "{member} of {told}");
        }
        assert_eq!(told["systemProperties"]["message-id"], "m");
    }
    // Until it does not want to any more.
    let unsubscribe = [&[0, 2][..], &field("telemetry/dev-1")].concat();
    one.send(packet(0xA2, &unsubscribe)).await;
    let unsuback = Packet {
        first: 0xB0,
        body: vec![0, 2],
    };
    assert_eq!(expect(&mut one).await, unsuback);
    device.publish(&json_topic("dev-1"), "1").await;
    assert_eq!(message(&mut all).await.1, 1);
    one.send([0xC0, 0]).await;
    assert_eq!(
        expect(&mut one).await.first,
        0xD0,
        "only the answer to a ping"
    );
}

#[tokio::test]
async fn a_module_has_a_topic_of_its_own() {
    let emulator = Mirrored::start().await;
    let lab = &emulator.lab;
    let mut watcher = emulator.watch(&[("telemetry/d/+", 0)]).await;
    let mut device = emulator.device("d").await;
    let module = json!({ "deviceId": "d", "moduleId": "m", "authentication": { "type": "sas" } });
    let module = lab
        .hub("PUT", "/devices/d/modules/m", None, Some(module))
        .await;
    assert_eq!(module.status, 200, "{module:?}");
    let mut connect = Connect::new("d/m", format!("{HUB}/d/m/?api-version=2021-04-12"));
    connect.password = Some(lab.device_token("d/m", &module.body, 3600));
    let mut module = lab.mqtt(None).await;
    assert_eq!(module.connect(&connect).await, (0, 0));
    device.publish(&json_topic("d"), "1").await;
    let topic = "devices/d/modules/m/messages/events/%24.ct=application%2Fjson";
    module.publish(topic, "2").await;
    let publish = expect(&mut watcher).await;
    assert_eq!(publish.topic(), "telemetry/d/m");
    let told = publish.json();
    assert_eq!(
        (&told["deviceId"], &told["moduleId"]),
        (&json!("d"), &json!("m"))
    );
    assert_eq!(told["body"], 2);
}

#[tokio::test]
async fn what_can_match_nothing_is_not_granted() {
    let emulator = Mirrored::start().await;
    let mut watcher = emulator.connected().await;
    let filters = [
        "$SYS/#",
        "$share/g/telemetry/#",
        "devices/#",
        "telemetry/+",
        "#",
    ];
    watcher
        .send(subscribe(&filters.map(|filter| (filter, 2))))
        .await;
    assert_eq!(suback(&mut watcher).await, [0x80, 0x80, 0x80, 1, 1]);
    for round in 0..2 {
        let many: Vec<_> = (0..40)
            .map(|number| format!("telemetry/{number}"))
            .collect();
        let many: Vec<_> = many.iter().map(|filter| (filter.as_str(), 0)).collect();
        watcher.send(subscribe(&many)).await;
        let granted = suback(&mut watcher).await;
        assert_eq!(
            granted.iter().filter(|code| **code == 0).count(),
            30,
            "{round}"
        );
    }
}

#[tokio::test]
async fn who_publishes_is_cut_off_and_reaches_nobody() {
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut witness = emulator.watch(&[("#", 0)]).await;
    let topics = [
        "telemetry/dev-1",
        "x",
        "$SYS/broker",
        "devices/dev-1/messages/events/",
    ];
    for (topic, id) in topics
        .into_iter()
        .flat_map(|topic| [(topic, None), (topic, Some(1))])
    {
        let mut publisher = emulator.watch(&[("#", 0)]).await;
        publisher.send(publish(topic, id, "forged")).await;
        assert_eq!(next(&mut publisher).await, None, "{topic}");
    }
    device.publish(&json_topic("dev-1"), "1").await;
    assert_eq!(
        message(&mut witness).await.1,
        1,
        "the first the witness sees"
    );
    assert_eq!(
        emulator
            .metric("linarite_mirror_publishes_refused_total")
            .await,
        8
    );
    let kept = emulator.lab.emulator.events(HUB).unwrap();
    let kept: usize = (0..kept.partition_count())
        .map(|partition| kept.partition(partition).unwrap().events)
        .sum();
    assert_eq!(kept, 1, "the hub has it from the device alone");
}

#[tokio::test]
async fn a_will_is_dropped_with_its_connect() {
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut witness = emulator.watch(&[("#", 0)]).await;
    let mut connect = Connect::new("dying", "anybody".to_owned());
    connect.will = Some(("telemetry/dev-1".to_owned(), "last words".to_owned()));
    drop(emulator.answered(&connect.bytes(), 0).await);
    let mut broken = emulator.answered(&connect.bytes(), 0).await;
    broken.send(packet(0xF0, &[])).await;
    assert_eq!(next(&mut broken).await, None);
    device.publish(&json_topic("dev-1"), "1").await;
    assert_eq!(
        message(&mut witness).await.1,
        1,
        "the first the witness sees"
    );
}

#[tokio::test]
async fn a_malformed_packet_ends_its_connection_and_no_other() {
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut witness = emulator.watch(&[("telemetry/#", 0)]).await;
    let malformed = [
        packet(0xF0, &[]),
        packet(0xC1, &[]),
        packet(0x80, &[0, 1, 0, 1, b'#', 0]),
        packet(0x82, &[0, 1]),
        packet(0x82, &[0, 1, 0, 2, b'#', b'#', 0]),
        packet(0x82, &[0, 1, 0, 1, b'#', 3]),
        packet(0xA2, &[0, 1]),
        packet(0xD0, &[]),
        anonymous(),
        vec![0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        vec![0x82, 0xFF, 0xFF, 0xFF, 0x7F],
    ];
    for bytes in malformed {
        let mut watcher = emulator.connected().await;
        watcher.send(&bytes).await;
        assert_eq!(next(&mut watcher).await, None, "{bytes:?}");
    }
    // Before there is a session.
    let mut five = anonymous();
    five[8] = 5;
    let mut watcher = emulator.answered(&five, 1).await;
    assert_eq!(next(&mut watcher).await, None);
    let nameless = packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x00\x00\x00");
    let ping = packet(0xC0, &[]);
    for bytes in [nameless, ping, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut watcher = emulator.stream().await;
        watcher.send(&bytes).await;
        assert_eq!(next(&mut watcher).await, None, "{bytes:?}");
    }
    device.publish(&json_topic("dev-1"), "1").await;
    assert_eq!(message(&mut witness).await.1, 1);
}

#[tokio::test]
async fn a_subscriber_that_does_not_acknowledge_is_given_no_more_than_a_window() {
    const WINDOW: u16 = 64;
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut watcher = emulator.watch(&[("telemetry/#", 1)]).await;
    for number in 0..100 {
        device
            .publish(&json_topic("dev-1"), number.to_string())
            .await;
    }
    let mut ids = Vec::new();
    for number in 0..WINDOW {
        let publish = expect(&mut watcher).await;
        assert_eq!(publish.json()["body"], number);
        ids.push(publish.packet_id().unwrap());
    }
    watcher.send([0xC0, 0]).await;
    assert_eq!(
        expect(&mut watcher).await.first,
        0xD0,
        "more than the window"
    );
    for id in ids {
        let [high, low] = id.to_be_bytes();
        watcher.send([0x40, 2, high, low]).await;
    }
    for number in WINDOW..100 {
        assert_eq!(message(&mut watcher).await.1, number);
    }
}

/// R-G38: the hub does not wait, and what is left out is counted.
#[tokio::test]
async fn a_slow_subscriber_holds_nobody_up_and_what_it_missed_is_counted() {
    const SENT: u64 = 750;
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut slow = emulator.watch(&[("telemetry/#", 0)]).await;
    let mut quick = emulator.watch(&[("telemetry/#", 0)]).await;
    let body = json!("x".repeat(100_000)).to_string();
    for _ in 0..SENT {
        device.publish(&json_topic("dev-1"), &body).await;
        expect(&mut quick).await;
    }
    device.publish(&json_topic("dev-1"), "0").await;
    let mut told = 0;
    while message(&mut slow).await.1 != 0 {
        told += 1;
    }
    let missed = emulator
        .metric("linarite_mirror_dropped_total{where=\"subscriber\"}")
        .await;
    assert!(missed > 0, "the buffers took it all");
    assert_eq!(told + missed, SENT);
    assert_eq!(emulator.lab.emulator.mirror_dropped(), missed);
    assert_eq!(
        emulator.metric("linarite_mirror_messages_total").await,
        SENT + 1
    );
}

/// Connections that come and go while messages flow; one stays and sees everything it asked for.
#[tokio::test]
async fn subscribers_come_and_go_and_who_stays_misses_nothing() {
    const SENT: u64 = 600;
    let emulator = Mirrored::start().await;
    let mut device = emulator.device("dev-1").await;
    let mut noisy = emulator.device("dev-2").await;
    let mut steady = emulator.watch(&[("telemetry/dev-1", 0)]).await;
    let noise = async {
        loop {
            noisy.publish(&json_topic("dev-2"), "0").await;
        }
    };
    let send = async {
        for number in 0..SENT {
            let number = number.to_string();
            device.publish(&json_topic("dev-1"), number).await;
        }
    };
    let stay = async {
        for number in 0..SENT {
            assert_eq!(message(&mut steady).await.1, number);
        }
    };
    let come_and_go = async {
        for round in 0..150 {
            let mut watcher = emulator.watch(&[("telemetry/dev-2", round % 2)]).await;
            if round % 3 == 0 {
                message(&mut watcher).await;
            }
            if round % 5 == 0 {
                watcher.send([0xE0, 0]).await;
            }
        }
    };
    let work = async { tokio::join!(send, stay, come_and_go) };
    tokio::select! {
        () = noise => {}
        done = timeout(2 * PATIENCE, work) => drop(done.expect("not done")),
    }
    assert_eq!(emulator.metric("linarite_mirror_up").await, 1);
}

/// Everybody there is room for, and room again once somebody leaves.
#[tokio::test]
async fn there_are_so_many_subscribers_and_no_more() {
    const MAX: usize = 32;
    let emulator = Mirrored::start().await;
    let mut all = Vec::new();
    for _ in 0..MAX {
        all.push(emulator.connected().await);
    }
    let mut late = emulator.answered(&anonymous(), 3).await;
    assert_eq!(next(&mut late).await, None);
    assert_eq!(
        emulator.metric("linarite_mirror_subscribers").await,
        MAX as u64
    );
    all.pop();
    let again = async {
        loop {
            let mut watcher = emulator.stream().await;
            watcher.send(anonymous()).await;
            if expect(&mut watcher).await.body == [0, 0] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("no place came free");
}

#[tokio::test]
async fn a_silent_subscriber_ends_and_so_does_everybody_when_the_emulator_stops() {
    let emulator = Mirrored::start().await;
    let silent = packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x01\x00\x00");
    let mut silent = emulator.answered(&silent, 0).await;
    let mut patient = emulator.watch(&[("#", 0)]).await;
    assert_eq!(next(&mut silent).await, None);
    let began = tokio::time::Instant::now();
    assert!(emulator.lab.emulator.stop(Duration::from_secs(10)).await);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(next(&mut patient).await, None);
    assert!(TcpStream::connect(emulator.mirror).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_costs_the_mirror_and_nothing_else() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let lab = Lab::with(|config| config.listen.mirror = Some(port));
    let addresses = lab.emulator.listen().await.unwrap();
    let problem = std::io::ErrorKind::AddrInUse;
    assert_eq!(addresses.mirror, MirrorAddress::NotBound { port, problem });
    let identity = lab.create("d", json!({ "type": "sas" })).await;
    let mut session = lab.sas_session("d", &identity).await;
    session.publish(&telemetry("d"), "x").await;
    let (status, body) = text(addresses.admin, "/metrics").await;
    assert_eq!(status, 200);
    assert!(!body.contains("mirror"), "{body}");
}
