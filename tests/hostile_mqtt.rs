//! What no device may say in MQTT, and what becomes of those who do.

use std::time::Duration;

use linarite_emulator::limits::{
    CONNECT_BYTES_MAX, DPS_MESSAGE_BYTES_MAX, FILTERS_PER_SUBSCRIBE_MAX, HUB_PACKET_BYTES_MAX,
    KEEP_ALIVE_SERVER_MAX,
};
use linarite_env::Event;

use crate::support::mqtt::{Connect, Mqtt, field, header, packet, publish, subscribe, telemetry};
use crate::support::{HUB, Lab, SCOPE};

/// A CONNECT body with these flags and this payload.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [b"\x00\x04MQTT\x04".as_slice(), &[flags], &[0, 60]].concat();
    packet(0x10, &[&head, payload].concat())
}

/// What breaks the protocol wherever it stands.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("reserved type 0", packet(0x00, &[])),
        ("reserved type 15", packet(0xF0, &[])),
        ("CONNACK from a client", packet(0x20, &[0, 0])),
        ("SUBACK from a client", packet(0x90, &[0, 1, 0])),
        ("UNSUBACK from a client", packet(0xB0, &[0, 1])),
        ("PINGRESP from a client", packet(0xD0, &[])),
        (
            "a length of five bytes",
            vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
        ),
        ("PUBLISH of QoS 3", packet(0x36, &[0, 1, b'a', 0, 1])),
        ("PUBLISH of QoS 0 with DUP", packet(0x38, &[0, 1, b'a'])),
        (
            "PUBLISH that ends in its topic",
            packet(0x30, &[0, 9, b'a']),
        ),
        (
            "PUBLISH of QoS 1 without packet id",
            packet(0x32, &[0, 1, b'a']),
        ),
        (
            "PUBLISH of QoS 1 with packet id 0",
            packet(0x32, &[0, 1, b'a', 0, 0]),
        ),
        ("PUBLISH to an empty topic", packet(0x30, &[0, 0])),
        (
            "PUBLISH to a wildcard",
            packet(0x30, &field("devices/+/messages/events/")),
        ),
        (
            "PUBLISH to a topic with U+0000",
            packet(0x30, &field("a\0b")),
        ),
        (
            "PUBLISH to a topic that is no UTF-8",
            packet(0x30, &field([0xC3, 0x28])),
        ),
        (
            "SUBSCRIBE with flags 0",
            packet(0x80, &[0, 1, 0, 1, b'a', 0]),
        ),
        ("SUBSCRIBE without packet id", packet(0x82, &[0])),
        (
            "SUBSCRIBE with packet id 0",
            packet(0x82, &[0, 0, 0, 1, b'a', 0]),
        ),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1])),
        ("SUBSCRIBE without QoS", packet(0x82, &[0, 1, 0, 1, b'a'])),
        ("SUBSCRIBE at QoS 3", packet(0x82, &[0, 1, 0, 1, b'a', 3])),
        (
            "SUBSCRIBE with reserved bits",
            packet(0x82, &[0, 1, 0, 1, b'a', 0x80]),
        ),
        ("SUBSCRIBE to a filter a/#/b", subscribe(&[("a/#/b", 0)])),
        ("SUBSCRIBE to a filter a+", subscribe(&[("a+", 0)])),
        (
            "UNSUBSCRIBE with flags 0",
            packet(0xA0, &[0, 1, 0, 1, b'a']),
        ),
        ("UNSUBSCRIBE without filters", packet(0xA2, &[0, 1])),
        ("PINGREQ with flags", packet(0xC1, &[])),
        ("PINGREQ with a body", packet(0xC0, &[0])),
        ("DISCONNECT with flags", packet(0xE1, &[])),
        ("DISCONNECT with a body", packet(0xE0, &[0])),
        ("PUBACK of one byte", packet(0x40, &[1])),
    ]
}

/// What speaks of QoS 2, which the services do not know (R-G16).
fn qos_two() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("PUBLISH at QoS 2", packet(0x34, &[0, 1, b'a', 0, 1])),
        ("PUBREC", packet(0x50, &[0, 1])),
        ("PUBREL", packet(0x62, &[0, 1])),
        ("PUBCOMP", packet(0x70, &[0, 1])),
    ]
}

/// Says `bytes` in a session and sees it end at once, without a word.
async fn ends(lab: &Lab, client: &mut Mqtt, name: &str, bytes: &[u8]) {
    let began = lab.env.clock.now_ms();
    client.send(bytes).await;
    let answer = client.next().await;
    assert_eq!(answer, None, "{name}: an answer");
    assert_eq!(lab.since(began), Duration::ZERO, "{name}: not at once");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_packet_ends_a_session_at_the_hub_and_no_other() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (bad, good) = (lab.leaf("bad-1", 1, 30), lab.leaf("good-1", 1, 30));
    assert_eq!(lab.register(&bad).await.outcome(), "assigned");
    let mut bystander = lab.admit(&good).await;
    let table = malformed().into_iter().map(|row| (row, "R-G18"));
    for ((name, bytes), rule) in table.chain(qos_two().into_iter().map(|row| (row, "R-G16"))) {
        let mark = lab.events.mark();
        let mut session = lab.session(&bad).await.unwrap();
        ends(&lab, &mut session, name, &bytes).await;
        assert_eq!(lab.events.closing(mark, "bad-1"), (rule, 400_000), "{name}");
        bystander.publish(&telemetry("good-1"), name).await;
    }
    lab.serves(&good).await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_packet_ends_a_session_at_dps() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("bad-1", 1, 30);
    let table = malformed().into_iter().map(|row| (row, "R-G18"));
    for ((name, bytes), rule) in table.chain(qos_two().into_iter().map(|row| (row, "R-G16"))) {
        let mark = lab.events.mark();
        let mut client = lab.mqtt(Some(&credential)).await;
        assert_eq!(client.connect(&Connect::dps("bad-1")).await, (0, 0));
        ends(&lab, &mut client, name, &bytes).await;
        let (told, code, _) = lab.events.violation(mark);
        assert_eq!((told, code), (rule, 400_000), "{name}");
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_packet_that_is_no_proper_connect_ends_the_connection_without_an_answer() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let id = field("dev-1");
    let with_user = [&id[..], &field("u"), &field("p")].concat();
    let mut table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("SUBSCRIBE", subscribe(&[("a", 0)]), "R-G12"),
        ("PUBLISH", publish("a", None, "b"), "R-G12"),
        ("PINGREQ", packet(0xC0, &[]), "R-G12"),
        ("DISCONNECT", packet(0xE0, &[]), "R-G12"),
        (
            "CONNECT with flags",
            packet(0x11, &connect(2, &id)[2..]),
            "R-G18",
        ),
        ("a reserved connect flag", connect(0x03, &id), "R-G18"),
        (
            "a password without user name",
            connect(0x42, &with_user),
            "R-G18",
        ),
        ("will QoS without will", connect(0x0A, &id), "R-G18"),
        ("will retain without will", connect(0x22, &id), "R-G18"),
        ("a will of QoS 2", connect(0x16, &with_user), "R-G16"),
        ("a will of QoS 3", connect(0x1E, &with_user), "R-G18"),
        ("bytes left over", connect(0x02, &with_user), "R-G18"),
        (
            "an id that ends early",
            connect(0x02, &[0, 9, b'd']),
            "R-G18",
        ),
        ("no payload", connect(0x02, &[]), "R-G18"),
        ("an id with U+0000", connect(0x02, &field("a\0b")), "R-G18"),
        (
            "an id that is no UTF-8",
            connect(0x02, &field([0xFF])),
            "R-G18",
        ),
        (
            "a CONNECT over its bound",
            header(0x10, CONNECT_BYTES_MAX + 1),
            "R-G18",
        ),
        ("random bytes", vec![0xFF; 64], "R-G18"),
    ];
    table.extend(
        qos_two()
            .into_iter()
            .map(|(name, bytes)| (name, bytes, "R-G16")),
    );
    for (name, bytes, rule) in table {
        let mark = lab.events.mark();
        let mut client = lab.mqtt(None).await;
        ends(&lab, &mut client, name, &bytes).await;
        assert_eq!(lab.events.violation(mark).0, rule, "{name}");
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn other_versions_of_mqtt_are_told_that_theirs_is_not_spoken() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let five = [
        b"\x00\x04MQTT\x05\x02\x00\x3c\x00".as_slice(),
        &field("dev-1"),
    ]
    .concat();
    let three_one = [
        b"\x00\x06MQIsdp\x03\x02\x00\x3c".as_slice(),
        &field("dev-1"),
    ]
    .concat();
    let unknown = [b"\x00\x04MQTT\x09\x02\x00\x3c".as_slice(), &field("dev-1")].concat();
    for (name, body) in [("5", five), ("3.1", three_one), ("level 9", unknown)] {
        let mark = lab.events.mark();
        let mut client = lab.mqtt(None).await;
        client.send(packet(0x10, &body)).await;
        let connack = client.expect().await;
        assert_eq!(
            (connack.first, &*connack.body),
            (0x20, &[0, 1][..]),
            "MQTT {name}"
        );
        client.expect_end().await;
        let (rule, _, text) = lab.events.violation(mark);
        assert_eq!(
            (rule, &*text),
            ("R-G18", "the protocol is not MQTT 3.1.1"),
            "MQTT {name}"
        );
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

fn is_refusal(event: &Event, code: u8) -> bool {
    matches!(event, Event::ConnectRefused { connack, .. } if *connack == code)
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_may_not_come_in_is_told_why_by_its_return_code() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let user = |text: &str| Connect::new("dev-1", text.to_owned());
    let mut bad_token = Connect::hub("dev-1");
    bad_token.password = Some("let me in".to_owned());
    let mut will_elsewhere = Connect::hub("dev-1");
    will_elsewhere.will = Some((telemetry("dev-2"), "boo".to_owned()));
    let table = [
        ("a user name of neither form", user("dev-1"), 4),
        ("no api-version", user(&format!("{HUB}/dev-1/?x=1")), 4),
        ("a password that is no token", bad_token, 4),
        (
            "another client id at the hub",
            Connect::new("dev-2", Connect::hub("dev-1").user_name),
            2,
        ),
        (
            "another client id at DPS",
            Connect::new("dev-2", Connect::dps("dev-1").user_name),
            2,
        ),
        (
            "a module",
            user(&format!("{HUB}/dev-1/mod/?api-version=2021-04-12")),
            2,
        ),
        (
            "another id scope",
            user("0ne0/registrations/dev-1/api-version=2019-03-31"),
            5,
        ),
        (
            "another hub",
            user("hub-9.linarite.test/dev-1/?api-version=2021-04-12"),
            5,
        ),
        ("an unknown device", Connect::hub("dev-3"), 5),
        ("a will to another device's topic", will_elsewhere, 5),
        ("another device's certificate", Connect::hub("other"), 5),
    ];
    let other = lab.leaf("other", 1, 30);
    assert_eq!(lab.register(&other).await.outcome(), "assigned");
    for (name, connect, code) in table {
        let mark = lab.events.mark();
        let refused = lab.session_of(&credential, &connect).await;
        assert_eq!(refused.err(), Some(code), "{name}");
        let events = lab.events.after(mark);
        let told = events.iter().filter(|event| is_refusal(event, code));
        assert_eq!(told.count(), 1, "{name} is told once");
    }
    let mark = lab.events.mark();
    assert_eq!(
        lab.session_of(&credential, &Connect::hub("dev-3"))
            .await
            .err(),
        Some(5)
    );
    assert_eq!(lab.events.refusal(mark, "dev-3"), ("R-E7", 404_001));
    let mark = lab.events.mark();
    assert_eq!(
        lab.session_of(&credential, &Connect::hub("other"))
            .await
            .err(),
        Some(5)
    );
    assert_eq!(lab.events.refusal(mark, "other"), ("R-G10", 401_003));
    let mut nobody = lab.mqtt(None).await;
    assert_eq!(nobody.connect(&Connect::hub("dev-1")).await, (0, 5));
    nobody.expect_end().await;
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_over_the_bound_is_refused_by_its_length_alone() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let mark = lab.events.mark();
    let declared = header(0x32, HUB_PACKET_BYTES_MAX + 1);
    ends(&lab, &mut session, "hub", &declared).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G18", 400_000));

    let mark = lab.events.mark();
    let mut client = lab.mqtt(Some(&credential)).await;
    assert_eq!(client.connect(&Connect::dps("dev-1")).await, (0, 0));
    let declared = header(0x32, DPS_MESSAGE_BYTES_MAX + 1);
    ends(&lab, &mut client, "DPS", &declared).await;
    let (rule, _, text) = lab.events.violation(mark);
    assert_eq!(
        (rule, &*text),
        ("R-G18", "the packet is longer than 98304 bytes")
    );

    // One of the very length is taken: a message of 256 KB is what the hub is for.
    let mut session = lab.session(&credential).await.unwrap();
    session
        .publish(&telemetry("dev-1"), vec![b'x'; 256 * 1024])
        .await;
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_may_use_its_own_topics_only() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let topics = [
        "devices/dev-2/messages/events/",
        "devices/dev-10/messages/events/",
        "devices/DEV-1/messages/events/",
        "devices/dev-1/messages/devicebound/",
        "devices/dev-1/modules/m/messages/events/",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$version=9",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/twin/GET/",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "$SYS/broker/version",
        "anything",
    ];
    let filters = [
        "#",
        "+/#",
        "$SYS/#",
        "$iothub/#",
        "$iothub/twin/#",
        "$iothub/streams/POST/#",
        "devices/#",
        "devices/+/messages/devicebound/#",
        "devices/dev-2/messages/devicebound/#",
        "devices/dev-10/messages/devicebound/#",
        "devices/dev-1/messages/events/#",
        "$dps/registrations/res/#",
    ];
    let publishes = topics.map(|topic| (topic, publish(topic, Some(2), "x")));
    let subscribes = filters.map(|filter| (filter, subscribe(&[(filter, 1)])));
    for (topic, bytes) in publishes.into_iter().chain(subscribes) {
        let mark = lab.events.mark();
        let mut session = lab.session(&credential).await.unwrap();
        ends(&lab, &mut session, topic, &bytes).await;
        assert_eq!(
            lab.events.closing(mark, "dev-1"),
            ("R-G17", 400_000),
            "{topic}"
        );
    }
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn dps_knows_two_topics_and_one_filter() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let hub_topic = telemetry("dev-1");
    let topics = [
        "$dps/registrations/DELETE/iotdps-register/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/?rid=1",
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
        "$dps/registrations/res/200/?$rid=1",
        "$iothub/twin/GET/?$rid=1",
        &hub_topic,
    ];
    let filters = ["#", "$dps/#", "$dps/registrations/res/200/#", "$SYS/#"];
    let publishes = topics.map(|topic| (topic, publish(topic, Some(2), "x")));
    let subscribes = filters.map(|filter| (filter, subscribe(&[(filter, 1)])));
    for (topic, bytes) in publishes.into_iter().chain(subscribes) {
        let mark = lab.events.mark();
        let mut client = lab.mqtt(Some(&credential)).await;
        assert_eq!(client.connect(&Connect::dps("dev-1")).await, (0, 0));
        ends(&lab, &mut client, topic, &bytes).await;
        let (rule, code, _) = lab.events.violation(mark);
        assert_eq!((rule, code), ("R-B10", 400_000), "{topic}");
    }
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connect_or_too_many_filters_end_the_session() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let mark = lab.events.mark();
    ends(
        &lab,
        &mut session,
        "CONNECT",
        &Connect::hub("dev-1").bytes(),
    )
    .await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G18", 400_000));

    let mut session = lab.session(&credential).await.unwrap();
    let filters = vec![("$iothub/twin/res/#", 0); FILTERS_PER_SUBSCRIBE_MAX + 1];
    let mark = lab.events.mark();
    ends(&lab, &mut session, "filters", &subscribe(&filters)).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G15", 400_000));
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_without_keep_alive_is_not_kept_without_end() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let mut longest = Connect::hub("dev-1");
    longest.keep_alive = u16::MAX;
    let mut longest_at_dps = Connect::dps("dev-1");
    longest_at_dps.keep_alive = u16::MAX;
    for connect in [
        Connect::hub("dev-1"),
        longest,
        Connect::dps("dev-1"),
        longest_at_dps,
    ] {
        let began = lab.env.clock.now_ms();
        let mut client = lab.session_of(&credential, &connect).await.unwrap();
        client.expect_end().await;
        assert_eq!(
            lab.since(began).as_secs(),
            KEEP_ALIVE_SERVER_MAX.as_secs(),
            "{connect:?}"
        );
    }
    assert!(Connect::dps("dev-1").user_name.starts_with(SCOPE));
    lab.serves(&credential).await;
}
