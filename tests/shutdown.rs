//! The end of an emulator: every task is gone, whatever its peer was in the middle of.

use std::time::Duration;

use linarite_emulator::Door;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::http::Answer;
use crate::support::mqtt::{Connect, publish};
use crate::support::{DPS, Lab, drain};

/// How long connections may take to end; the fleet's laboratory allows the same.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn stopping_ends_connections_in_every_phase_at_once() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (one, other) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-2", 1, 30));

    let silent = lab.pipe(Door::Mqtt);
    let mut halfway = lab.pipe(Door::Https);
    halfway
        .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
        .await
        .unwrap();
    let shaken = lab.tls(Door::Mqtt, Some(&one)).await;
    let mut speaking = lab.mqtt(Some(&one)).await;
    let connect = Connect::hub("dev-1").bytes();
    speaking.send(&connect[..9]).await;
    let mut hub = lab.admit(&one).await;
    hub.subscribe("$iothub/methods/POST/#").await;
    let mut reads_not = lab.admit(&other).await;
    reads_not.subscribe("$iothub/twin/res/#").await;
    let patch = json!({ "a": "x".repeat(4000), "b": "x".repeat(4000) }).to_string();
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=0";
    reads_not.send(publish(topic, None, patch)).await;
    for rid in 0..8 {
        reads_not
            .send(publish(&format!("$iothub/twin/GET/?$rid={rid}"), None, ""))
            .await;
    }
    let mut head = lab.tls(Door::Https, None).await;
    head.write_all(b"GET /devices HTTP/1.1\r\nHost: ")
        .await
        .unwrap();
    let mut body = lab.tls(Door::Https, None).await;
    let half = format!("PUT /enrollments/d HTTP/1.1\r\nHost: {DPS}\r\nContent-Length: 9\r\n\r\n{{");
    body.write_all(half.as_bytes()).await.unwrap();
    let mut dps = lab.mqtt(Some(&one)).await;
    assert_eq!(dps.connect(&Connect::dps("dev-1")).await, (0, 0));
    // An operation that is under way.
    dps.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "")
        .await;

    let method = json!({ "methodName": "wait", "responseTimeoutInSeconds": 300 });
    let request = lab.hub_request("POST", "/twins/dev-1/methods").json(method);
    let call = async {
        let mut stream = lab.tls(Door::Https, None).await;
        stream.write_all(&request.bytes()).await.unwrap();
        stream.flush().await.unwrap();
        drain(&mut stream).await
    };
    let stop = async {
        assert!(
            hub.expect().await.is_publish(),
            "the call has reached the device"
        );
        let began = lab.env.clock.now_ms();
        assert!(lab.emulator.stop(GRACE).await, "a task outlived the grace");
        // An assignment under way is carried out; it is the only thing that takes time.
        assert!(
            lab.since(began) <= Duration::from_millis(500),
            "{:?}",
            lab.since(began)
        );
    };
    let (answer, ()) = tokio::join!(call, stop);
    // The caller is told that no answer will come, unless its own connection goes first.
    assert!(answer.is_empty() || Answer::parse(&answer).status == 504);

    for mut pipe in [silent, halfway] {
        drain(&mut pipe).await;
    }
    for mut stream in [
        shaken,
        speaking.stream,
        hub.stream,
        reads_not.stream,
        head,
        body,
        dps.stream,
    ] {
        drain(&mut stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_emulator_takes_nobody_in() {
    let lab = Lab::start();
    assert!(lab.emulator.stop(GRACE).await);
    for door in [Door::Mqtt, Door::Https] {
        let began = lab.env.clock.now_ms();
        let refused = lab.try_tls(door, &lab.connector(None)).await;
        if let Ok(mut stream) = refused {
            assert_eq!(drain(&mut stream).await, b"");
        }
        assert_eq!(lab.since(began), Duration::ZERO);
    }
    assert!(lab.emulator.stop(GRACE).await, "stopping twice");
}
