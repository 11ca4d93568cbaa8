//! MQTT over WebSocket on port 443: what W15 asks for, and peers that ask for something else.

use std::time::Duration;

use linarite_emulator::Door;
use linarite_emulator::limits::{CONNECT_TIMEOUT, WEBSOCKET_MESSAGE_BYTES_MAX, WRITE_TIMEOUT};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};

use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, Mqtt, Packet, publish, telemetry};
use crate::support::websocket::{
    ACCEPTED, BINARY, CLOSE, KEY, PING, PONG, TEXT, WebSocket, frame, head, upgrade,
};
use crate::support::{DPS, Lab, drain};

/// How many bytes of a frame ordinary clients fill.
const FRAME_BYTES: usize = 4096;

/// Telemetry, twin and a method, over a session that is open.
async fn assert_works(
    lab: &Lab,
    device_id: &str,
    session: &mut Mqtt<impl AsyncRead + AsyncWrite + Unpin>,
) {
    session.publish(&telemetry(device_id), "hello").await;
    session.subscribe("$iothub/twin/res/#").await;
    session.publish("$iothub/twin/GET/?$rid=1", "").await;
    let twin = session.expect().await;
    assert_eq!(twin.topic(), "$iothub/twin/res/200/?$rid=1");
    assert!(twin.json()["reported"]["$version"].is_u64());

    session.subscribe("$iothub/methods/POST/#").await;
    let body = json!({ "methodName": "ping", "payload": 1, "responseTimeoutInSeconds": 30 });
    let path = format!("/twins/{device_id}/methods");
    let device = async {
        let request = session.expect().await;
        let rid = request.topic().strip_prefix("$iothub/methods/POST/ping/?");
        let topic = format!("$iothub/methods/res/200/?{}", rid.unwrap());
        session.send(publish(&topic, None, "2")).await;
    };
    let (answer, ()) = tokio::join!(lab.hub("POST", &path, None, Some(body)), device);
    assert_eq!(answer.body, json!({ "status": 200, "payload": 2 }));
}

/// R-G12, W15.
#[tokio::test(start_paused = true)]
async fn a_device_lives_over_websocket_whatever_its_frames() {
    let lab = Lab::start();
    lab.open_fleet().await;
    for frame_bytes in [1, 2, 3, 4, FRAME_BYTES] {
        let id = format!("dev-{frame_bytes}");
        let credential = lab.leaf(&id, 1, 30);
        let client = lab.websocket(Some(&credential)).await.mqtt(frame_bytes);
        assert_eq!(client.register(&id).await.outcome(), "assigned");
        let mut session = lab.websocket(Some(&credential)).await.mqtt(frame_bytes);
        assert_eq!(session.connect(&Connect::hub(&id)).await, (0, 0));
        assert_works(&lab, &id, &mut session).await;
        session.send([0xE0, 0]).await;
        session.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_certificate_counts_as_on_port_8883() {
    let lab = Lab::start();
    lab.open_fleet().await;
    lab.serves(&lab.leaf("dev-1", 1, 30)).await;
    for credential in [None, Some(lab.leaf("dev-1", 2, 30))] {
        let mut client = lab.websocket(credential.as_ref()).await.mqtt(FRAME_BYTES);
        assert_eq!(client.connect(&Connect::hub("dev-1")).await, (0, 5));
        client.expect_end().await;
    }
}

/// W15.
#[tokio::test(start_paused = true)]
async fn a_frame_may_hold_several_packets_and_a_message_several_frames() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    lab.serves(&credential).await;
    let mut socket = lab.websocket(Some(&credential)).await;
    let message = publish(&telemetry("dev-1"), Some(7), "x");
    let packets = [Connect::hub("dev-1").bytes(), message, vec![0xC0, 0]].concat();
    // A message of three frames with a ping between them, and an empty frame at the start.
    let (one, rest) = packets.split_at(5);
    let (two, three) = rest.split_at(packets.len() - 7);
    socket.send(BINARY, "").await;
    let mut first = frame(BINARY, one);
    first[0] &= 0x7F;
    let mut second = frame(0, two);
    second[0] &= 0x7F;
    let all = [first, frame(PING, b"?"), second, frame(0, three)].concat();
    socket.send_raw(&all).await;
    assert_eq!(socket.next().await, Some((PONG, b"?".to_vec())));
    let mut answers = Vec::new();
    while !answers.ends_with(&[0xD0, 0]) {
        let (opcode, bytes) = socket.next().await.unwrap();
        assert_eq!(opcode, BINARY);
        answers.extend(bytes);
    }
    assert_eq!(answers, [0x20, 2, 0, 0, 0x40, 2, 0, 7, 0xD0, 0]);
}

/// W15.
#[tokio::test(start_paused = true)]
async fn paths_headers_and_subprotocols_are_known_in_any_case() {
    let lab = Lab::start();
    let table = [
        ("/$iothub/websocket", "mqtt", "mqtt"),
        (
            "/$iothub/websocket?iothub-no-client-cert=true",
            "mqtt",
            "mqtt",
        ),
        ("/$iothub/websocket/", "MQTT", "MQTT"),
        ("/$IoTHub/WebSocket", "Mqtt", "Mqtt"),
        ("/", "mqtt", "mqtt"),
        ("/?iothub-no-client-cert=true", "MQTT", "MQTT"),
        ("/", "AMQPWSB10, MQTT", "MQTT"),
    ];
    for (path, offered, echoed) in table {
        let request = upgrade(path, offered);
        let shouted: String = request
            .split_inclusive("\r\n")
            .map(|line| match line.split_once(": ") {
                Some((name, rest)) => format!("{}: {rest}", name.to_uppercase()),
                None => line.to_owned(),
            })
            .collect();
        let python = request.replace("WebSocket-Version", "Websocket-Version");
        let firefox = request.replace("Connection: Up", "Connection: keep-alive, up");
        for request in [request, shouted, python, firefox] {
            let (answer, socket) = lab.upgraded(&request, None).await;
            assert_eq!(answer.status, 101, "{request}");
            assert_eq!(answer.header("sec-websocket-protocol"), Some(echoed));
            assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPTED));
            let mut client = socket.mqtt(FRAME_BYTES);
            assert_eq!(client.connect(&Connect::dps("dev-1")).await, (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compression_is_declined() {
    let lab = Lab::start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nHost";
    let request = upgrade("/$iothub/websocket", "mqtt").replace("Host", offer);
    let (answer, mut socket) = lab.upgraded(request, None).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    // RSV1 is for those who agreed on compression.
    let mut compressed = frame(BINARY, &Connect::dps("dev-1").bytes());
    compressed[0] |= 0x40;
    socket.send_raw(&compressed).await;
    socket.expect_close(1002).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_mqtt_over_websocket_is_refused_in_clear_words() {
    let lab = Lab::start();
    let good = upgrade("/$iothub/websocket", "mqtt");
    let without = |name: &str| {
        let lines = good.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(name)).collect()
    };
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let table: [(String, u16, &str); 8] = [
        (upgrade("/", "AMQPWSB10"), 501, "AMQPWSB10 over WebSocket"),
        (upgrade("/", "mqttv5, soap"), 501, "mqttv5 over WebSocket"),
        (
            without("Sec-WebSocket-Protocol"),
            400,
            "Sec-WebSocket-Protocol",
        ),
        (good.replace(&key, ""), 400, "Sec-WebSocket-Key"),
        (without("Upgrade"), 426, "only an upgrade to WebSocket"),
        (without("Connection"), 426, "only an upgrade to WebSocket"),
        (good.replace("websocket\r", "h2c\r"), 426, "only an upgrade"),
        (good.replace("Version: 13", "Version: 8"), 426, "version 13"),
    ];
    for (request, status, text) in table {
        // The connection is still one for HTTP and closes as it was asked to.
        let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let mut stream = lab.tls(Door::Https, None).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let answer = Answer::parse(&drain(&mut stream).await);
        assert_eq!(answer.status, status, "{request}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(text), "{message}");
        let wanted = (status == 426).then_some("websocket");
        assert_eq!(answer.header("upgrade"), wanted);
    }
    let table = [
        ("GET", "/$iothub/websocket", 426),
        ("POST", "/$iothub/websocket", 501),
        ("GET", "/", 501),
        ("POST", "/", 501),
    ];
    for (method, path, status) in table {
        let answer = lab.ask(&Request::new(method, DPS, path), None).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

/// A session at the hub, with the frames in plain sight.
async fn admitted(lab: &Lab) -> WebSocket {
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    lab.serves(&credential).await;
    let mut socket = lab.websocket(Some(&credential)).await;
    socket.send(BINARY, Connect::hub("dev-1").bytes()).await;
    let connack = vec![0x20, 2, 0, 0];
    assert_eq!(socket.next().await, Some((BINARY, connack)));
    socket
}

/// What the hub writes in one go is one frame.
#[tokio::test(start_paused = true)]
async fn packets_that_come_together_are_answered_together_and_in_their_order() {
    let lab = Lab::start();
    let mut socket = admitted(&lab).await;
    let message = |id| publish(&telemetry("dev-1"), Some(id), "x");
    let puback = |id: u16| vec![0x40, 2, 0, u8::try_from(id).unwrap()];
    let ten: Vec<u8> = (1..=10).flat_map(message).collect();
    socket.send(BINARY, ten).await;
    let acknowledged = (1..=10).flat_map(puback).collect();
    assert_eq!(socket.next().await, Some((BINARY, acknowledged)));
    // The last one ends the session; what came before it is acknowledged all the same.
    let broken = [message(11), message(12), vec![0xFF, 0]].concat();
    socket.send(BINARY, broken).await;
    let acknowledged = (11..=12).flat_map(puback).collect();
    assert_eq!(socket.next().await, Some((BINARY, acknowledged)));
    // More than one packet of a network carries does not wait for the rest.
    let mut socket = admitted(&lab).await;
    let many: Vec<u8> = (1..=1_000).flat_map(message).collect();
    socket.send(BINARY, many).await;
    let mut answers = Vec::new();
    while answers.len() < 4_000 {
        let (opcode, bytes) = socket.next().await.unwrap();
        assert!(opcode == BINARY && bytes.len() < 1_404, "{}", bytes.len());
        answers.extend(bytes);
    }
    let acknowledged: Vec<u8> = (1..=1_000_u16)
        .flat_map(|id| [[0x40, 2], id.to_be_bytes()].concat())
        .collect();
    assert_eq!(answers, acknowledged);
}

#[tokio::test(start_paused = true)]
async fn frames_that_break_the_rules_end_the_session_with_their_code() {
    let mut unmasked = frame(BINARY, &[0xC0, 0]);
    unmasked[1] &= 0x7F;
    let mut reserved = frame(BINARY, &[0xC0, 0]);
    reserved[0] = 0x83;
    let table = [
        (frame(TEXT, b"hello"), 1003),
        (frame(TEXT, &[0xFF, 0xFE]), 1003),
        (head(BINARY, WEBSOCKET_MESSAGE_BYTES_MAX + 1), 1009),
        (head(BINARY, 1 << 40), 1009),
        (frame(PING, &[0; 126]), 1002),
        (unmasked, 1002),
        (reserved, 1002),
    ];
    for (bytes, code) in table {
        let lab = Lab::start();
        let mut socket = admitted(&lab).await;
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        // A mask, for those that are to look whole.
        socket.send_raw(&[bytes, vec![0; 4]].concat()).await;
        socket.expect_close(code).await;
        assert_eq!(lab.since(began), Duration::ZERO);
        assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
        lab.serves(&lab.leaf("good-1", 1, 30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_is_bounded_as_a_whole() {
    let lab = Lab::start();
    let mut socket = admitted(&lab).await;
    let mark = lab.events.mark();
    let piece = vec![0; WEBSOCKET_MESSAGE_BYTES_MAX / 2];
    for opcode in [BINARY, 0, 0] {
        let mut bytes = frame(opcode, &piece);
        bytes[0] &= 0x7F;
        socket.send_raw(&bytes).await;
    }
    socket.expect_close(1009).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_a_close_is_returned() {
    let lab = Lab::start();
    let mut socket = admitted(&lab).await;
    socket.send(PING, "are you there").await;
    assert_eq!(socket.next().await, Some((PONG, b"are you there".to_vec())));
    socket.send(PONG, "nobody asked").await;
    let mark = lab.events.mark();
    socket.send(CLOSE, 1000u16.to_be_bytes()).await;
    socket.expect_close(1000).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_upgrades_and_sends_no_connect_is_cut_off_at_the_connect_timeout() {
    let lab = Lab::start();
    for pings in [false, true] {
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        let socket = lab.websocket(None).await;
        let (mut read, mut write) = split(socket.stream);
        let keep_busy = async {
            while pings && write.write_all(&frame(PING, b"")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        };
        let ended = async {
            drain(&mut read).await;
            lab.since(began)
        };
        let (took, ()) = tokio::join!(ended, keep_busy);
        assert_eq!(took.as_secs(), CONNECT_TIMEOUT.as_secs());
        let (rule, _, text) = lab.events.violation(mark);
        assert_eq!((rule, &*text), ("R-G12", "no CONNECT arrived in time"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pings_and_never_reads_is_cut_off() {
    let lab = Lab::start();
    let socket = admitted(&lab).await;
    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    let (mut read, mut write) = split(socket.stream);
    let pings = frame(PING, &[7; 125]).repeat(100);
    while write.write_all(&pings).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(lab.since(began) < 3 * WRITE_TIMEOUT, "still open");
    }
    drain(&mut read).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_both_kinds_take_each_other_over() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut plain = lab.admit(&credential).await;

    let mark = lab.events.mark();
    let mut socket = lab.websocket(Some(&credential)).await.mqtt(FRAME_BYTES);
    assert_eq!(socket.connect(&Connect::hub("dev-1")).await, (0, 0));
    plain.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G13", 400_027));
    assert_works(&lab, "dev-1", &mut socket).await;

    let mark = lab.events.mark();
    let mut plain = lab.session(&credential).await.unwrap();
    socket.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G13", 400_027));
    assert_works(&lab, "dev-1", &mut plain).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_websockets_in_every_phase() {
    let lab = Lab::start();
    let session = admitted(&lab).await;
    let upgraded = lab.websocket(None).await;
    let mut halfway = lab.websocket(None).await;
    halfway.send_raw(&head(BINARY, 1000)).await;
    let began = lab.env.clock.now_ms();
    assert!(lab.emulator.stop(Duration::from_secs(10)).await);
    assert_eq!(lab.since(began), Duration::ZERO);
    for mut socket in [session, upgraded, halfway] {
        drain(&mut socket.stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_before_the_upgrade_and_bytes_behind_it_are_no_obstacle() {
    let lab = Lab::start();
    let credential = lab.leaf("dev-1", 1, 30);
    let before = format!("GET /nothing HTTP/1.1\r\nHost: {DPS}\r\n\r\n");
    let mut bytes = [before, upgrade("/", "mqtt")].concat().into_bytes();
    bytes.extend(frame(BINARY, &Connect::dps("dev-1").bytes()));
    let mut stream = lab.tls(Door::Https, Some(&credential)).await;
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answers = Vec::new();
    let mut last = [0];
    while !answers.ends_with(b"\x82\x04\x20\x02\x00\x00") {
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut last)
            .await
            .unwrap();
        answers.extend(last);
    }
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert!(answers.starts_with("HTTP/1.1 501"), "{answers}");
    assert!(answers.contains("HTTP/1.1 101"), "{answers}");
    let mut client = WebSocket { stream }.mqtt(FRAME_BYTES);
    client.send([0xC0, 0]).await;
    let pingresp = Packet {
        first: 0xD0,
        body: Vec::new(),
    };
    assert_eq!(client.expect().await, pingresp);
}
