//! Peers that mean harm or do not know better, before MQTT comes into it: in TLS, in HTTP, and
//! by silence.
//!
//! Each of them ends its own connection within the bounds of `limits.rs`, on the emulator's
//! clock, is told of in the event stream, and costs nobody else anything.

use std::time::Duration;

use linarite_emulator::Door;
use linarite_emulator::limits::{
    BODY_TIMEOUT, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, HTTP_BODY_BYTES_MAX, WRITE_TIMEOUT,
};
use linarite_env::Event;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, publish};
use crate::support::operator::ConnectionString;
use crate::support::{DPS, HUB, ISSUER, Lab, drain};

const DOORS: [Door; 2] = [Door::Mqtt, Door::Https];

/// What a wait may take longer than its bound: nothing but the rounding of timers.
const ROUNDING: Duration = Duration::from_secs(1);

fn assert_ended_at(lab: &Lab, began: linarite_env::UnixMillis, bound: Duration, what: &str) {
    let took = lab.since(began);
    assert!(
        (bound..bound + ROUNDING).contains(&took),
        "{what}: ended after {took:?}, expected {bound:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_begins_tls_is_cut_off_at_the_handshake_timeout() {
    let lab = Lab::start();
    lab.open_fleet().await;
    for door in DOORS {
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        let mut pipe = lab.pipe(door);
        assert_eq!(drain(&mut pipe).await, b"");
        assert_ended_at(&lab, began, HANDSHAKE_TIMEOUT, "silence");
        let reason = lab.events.failed_handshake(mark);
        assert!(reason.contains("not finished in 20s"), "{reason}");
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stops_halfway_is_cut_off_at_the_handshake_timeout() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    let mut pipe = lab.pipe(Door::Mqtt);
    // The beginning of a record that announces 512 bytes of handshake.
    pipe.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
        .await
        .unwrap();
    assert_eq!(drain(&mut pipe).await, b"");
    assert_ended_at(&lab, began, HANDSHAKE_TIMEOUT, "half a ClientHello");
    assert!(lab.events.failed_handshake(mark).contains("not finished"));
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_instead_of_tls_ends_the_connection_at_once() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let plain = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        Connect::hub("dev-1").bytes(),
        vec![0; 64],
        vec![0xFF; 4096],
    ];
    for door in DOORS {
        for bytes in &plain {
            let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
            let mut pipe = lab.pipe(door);
            pipe.write_all(bytes).await.unwrap();
            // An alert may come before the end, but no answer in the clear.
            let answer = drain(&mut pipe).await;
            assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
            assert_ended_at(&lab, began, Duration::ZERO, "garbage");
            assert!(!lab.events.failed_handshake(mark).is_empty());
        }
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_eleven_certificates_is_refused_in_the_handshake_and_one_of_ten_is_not() {
    let mut lab = Lab::start();
    let (from, until) = (lab.now() - 60, lab.now() + 100 * 86_400);
    // Root, intermediate, and eight more: ten authorities above the leaf in the end.
    let mut above = ISSUER.to_owned();
    for depth in 3..=10 {
        let name = format!("level-{depth}");
        lab.pki
            .add_intermediate(&name, &above, from, until)
            .unwrap();
        above = name;
    }
    lab.open_fleet().await;
    let eleven = lab.leaf_of("level-10", "deep-1", 1, 30);
    assert_eq!(eleven.chain().len(), 11);
    for door in DOORS {
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        // With TLS 1.3 the client may believe itself through before it is refused.
        if let Ok(mut stream) = lab.try_tls(door, &lab.connector(Some(&eleven))).await {
            assert_eq!(drain(&mut stream).await, b"");
        }
        assert_ended_at(&lab, began, Duration::ZERO, "eleven certificates");
        let reason = lab.events.failed_handshake(mark);
        assert!(
            reason.contains("a chain of 11 certificates; at most 10"),
            "{reason}"
        );
    }
    let ten = lab.leaf_of("level-9", "deep-2", 1, 30);
    assert_eq!(ten.chain().len(), 10);
    lab.serves(&ten).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_no_key_made_end_a_session() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    let record = [&[0x17, 3, 3, 0, 64][..], &[0xAA; 64]].concat();
    session.stream.get_mut().0.write_all(&record).await.unwrap();
    session.expect_end().await;
    assert_ended_at(&lab, began, Duration::ZERO, "a forged record");
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_after_tls_is_cut_off_at_the_connect_timeout() {
    let lab = Lab::start();
    lab.open_fleet().await;
    for door in DOORS {
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        let mut stream = lab.tls(door, None).await;
        drain(&mut stream).await;
        assert_ended_at(&lab, began, CONNECT_TIMEOUT, "silence after TLS");
        if door == Door::Mqtt {
            let (rule, _, text) = lab.events.violation(mark);
            assert_eq!((rule, &*text), ("R-G12", "no CONNECT arrived in time"));
        }
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_connect_buys_no_more_time_than_none_however_slowly_it_comes() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let bytes = Connect::hub("dev-1").bytes();
    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    let mut client = lab.mqtt(None).await;
    client.send(&bytes[..bytes.len() / 2]).await;
    client.expect_end().await;
    assert_ended_at(&lab, began, CONNECT_TIMEOUT, "half a CONNECT");
    assert_eq!(lab.events.violation(mark).0, "R-G12");

    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    let client = lab.mqtt(None).await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let drip = async {
        for byte in bytes.chunks(1) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if write.write_all(byte).await.is_err() {
                break;
            }
        }
    };
    let (rest, ()) = tokio::join!(drain(&mut read), drip);
    assert_eq!(rest, b"");
    let at = lab
        .events
        .last_at(|event| matches!(event, Event::ProtocolViolated { .. }));
    let took = at.unwrap().since(began);
    assert_eq!(
        took / 1000,
        i64::try_from(CONNECT_TIMEOUT.as_secs()).unwrap()
    );
    assert_eq!(lab.events.violation(mark).0, "R-G12");
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stops_reading_loses_its_session_after_the_write_timeout() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    session.subscribe("$iothub/twin/res/#").await;
    let long = "x".repeat(4000);
    let reported = json!({ "a": long, "b": long, "c": long, "d": long, "e": long, "f": long });
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=0";
    session.publish(topic, reported.to_string()).await;
    assert!(session.expect().await.is_publish());

    let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
    for rid in 0..8 {
        let get = publish(&format!("$iothub/twin/GET/?$rid={rid}"), None, "");
        session.send(get).await;
    }
    tokio::time::sleep(3 * WRITE_TIMEOUT + ROUNDING).await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G14", 404_104));
    let closed = lab
        .events
        .last_at(|event| matches!(event, Event::SessionClosed { .. }));
    let took = Duration::from_millis(u64::try_from(closed.unwrap().since(began)).unwrap());
    // The write that found no taker, and one try more to get rid of the rest.
    assert!(
        (WRITE_TIMEOUT..=2 * WRITE_TIMEOUT + ROUNDING).contains(&took),
        "{took:?}"
    );
    drain(&mut session.stream).await;
    lab.serves(&credential).await;
}

#[tokio::test(start_paused = true)]
async fn an_http_client_that_stops_reading_is_cut_off() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let policy = lab.hub_string();
    let began = lab.env.clock.now_ms();
    let stream = lab.tls(Door::Https, None).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let request = format!(
        "GET /devices?api-version=2021-04-12 HTTP/1.1\r\nHost: {HUB}\r\nAuthorization: {}\r\n\r\n",
        policy.token(lab.now() + 3600)
    );
    // Asks and asks and never reads, until the door is shut.
    let flood = async { while write.write_all(request.as_bytes()).await.is_ok() {} };
    let shut = tokio::time::timeout(Duration::from_secs(3600), flood).await;
    assert!(shut.is_ok(), "still open after a virtual hour");
    let took = lab.since(began);
    assert!(took <= 2 * WRITE_TIMEOUT + ROUNDING, "{took:?}");
    drain(&mut read).await;
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_at_the_https_door_is_answered_with_400_and_closed() {
    let lab = Lab::start();
    lab.open_fleet().await;
    for bytes in [
        &b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00\r\n\r\n"[..],
        &[0xFF; 600],
    ] {
        let began = lab.env.clock.now_ms();
        let mut stream = lab.tls(Door::Https, None).await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(Answer::parse(&drain(&mut stream).await).status, 400);
        assert_ended_at(&lab, began, Duration::ZERO, "garbage");
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_endless_http_header_is_refused_with_431() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let line = format!("x-long: {}\r\n", "y".repeat(8000));
    for lines in ["x-more: y\r\n".to_owned(), line, "z".repeat(4096)] {
        let began = lab.env.clock.now_ms();
        let stream = lab.tls(Door::Https, None).await;
        let (mut read, mut write) = tokio::io::split(stream);
        let flood = async {
            let _ = write.write_all(b"GET /devices HTTP/1.1\r\n").await;
            while write.write_all(lines.as_bytes()).await.is_ok() {}
        };
        let (answer, ()) = tokio::join!(drain(&mut read), flood);
        assert_eq!(Answer::parse(&answer).status, 431);
        assert_ended_at(&lab, began, Duration::ZERO, "an endless header");
    }
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_http_header_that_trickles_in_is_cut_off_at_the_connect_timeout() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let began = lab.env.clock.now_ms();
    let stream = lab.tls(Door::Https, None).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let trickle = async {
        let _ = write
            .write_all(b"GET /devices HTTP/1.1\r\nHost: x\r\n")
            .await;
        while write.write_all(b"x-slow: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    };
    let ended = async {
        drain(&mut read).await;
        lab.env.clock.now_ms()
    };
    let (ended, ()) = tokio::join!(ended, trickle);
    assert_eq!(ended.since(began) / 1000, 30);
    assert_eq!(CONNECT_TIMEOUT.as_secs(), 30);
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_http_body_that_never_comes_is_not_waited_for_without_end() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let began = lab.env.clock.now_ms();
    let mut stream = lab.tls(Door::Https, None).await;
    let head = format!(
        "PUT /enrollments/dev-1?api-version=2021-10-01 HTTP/1.1\r\nHost: {DPS}\r\n\
         Content-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let answer = Answer::parse(&drain(&mut stream).await);
    assert_eq!(
        (answer.status, &answer.body["errorCode"]),
        (408, &json!(408_000))
    );
    assert_ended_at(&lab, began, BODY_TIMEOUT, "half a body");
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_http_body_over_its_bound_is_refused_with_413() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let body = json!({ "x": "y".repeat(3 * HTTP_BODY_BYTES_MAX) });
    let request = lab.dps_request("PUT", "/enrollments/dev-1").json(body);
    let body = request.body.as_ref().unwrap().to_string();
    let mut stream = lab.tls(Door::Https, None).await;
    // As most clients do: nothing is read before everything is sent.
    let sent = head(&request, body.len()) + &body;
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let answer = Answer::parse(&drain(&mut stream).await);
    assert_eq!(
        (answer.status, &answer.body["errorCode"]),
        (413, &json!(413_000))
    );
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}

fn head(request: &Request, length: usize) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n",
        request.method, request.path, request.host
    );
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

#[tokio::test(start_paused = true)]
async fn an_idle_http_connection_is_kept_for_the_connect_timeout_and_no_longer() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let policy: ConnectionString = lab.hub_string();
    let mut stream = lab.tls(Door::Https, None).await;
    let request = format!(
        "GET /devices?api-version=2021-04-12 HTTP/1.1\r\nHost: {HUB}\r\nAuthorization: {}\r\n\r\n",
        policy.token(lab.now() + 3600)
    );
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(bytes[..count].starts_with(b"HTTP/1.1 200"), "kept alive");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let began = lab.env.clock.now_ms();
    drain(&mut stream).await;
    assert!(lab.since(began) <= CONNECT_TIMEOUT);
    lab.serves(&lab.leaf("good-1", 1, 30)).await;
}
