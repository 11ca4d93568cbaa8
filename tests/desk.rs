//! A connection without a wire is held to the same rules as one with a wire (R-G12, R-G13, R-G14).

use std::time::Duration;

use linarite_emulator::{Desk, Said};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::Lab;
use crate::support::mqtt::{Connect, publish, subscribe, telemetry};

const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// A session of `device` with a token, on a desk.
async fn seated(lab: &Lab, identity: &Value) -> Desk {
    let mut connect = Connect::hub("dev-1");
    connect.password = Some(lab.device_token("dev-1", identity, 86_400));
    let mut desk = lab.emulator.desk(None).unwrap();
    let said = desk.take(&connect.bytes());
    assert_eq!((&said.bytes[..], said.ended), (&ACCEPTED[..], false));
    desk
}

fn nothing() -> Said {
    Said {
        bytes: Vec::new().into(),
        ended: false,
    }
}

#[tokio::test(start_paused = true)]
async fn packets_may_come_in_pieces_and_answers_come_whole() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut desk = seated(&lab, &identity).await;
    let mut bytes = publish(&telemetry("dev-1"), Some(7), "x");
    bytes.extend(subscribe(&[("$iothub/methods/POST/#", 0)]));
    let (front, back) = bytes.split_at(5);
    assert_eq!(desk.take(front), nothing());
    let said = desk.take(back);
    // PUBACK of 7, SUBACK of 1 at QoS 0.
    assert_eq!(&said.bytes[..], [0x40, 2, 0, 7, 0x90, 3, 0, 1, 0]);
    assert_eq!(desk.poll(), nothing());
}

/// R-G13.
#[tokio::test(start_paused = true)]
async fn a_second_connection_of_a_device_ends_the_first() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut first = seated(&lab, &identity).await;
    let mark = lab.events.mark();
    let _second = seated(&lab, &identity).await;
    assert!(first.poll().ended);
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G13", 400_027));
    assert!(first.take(&[0xC0, 0]).bytes.is_empty());
}

/// R-G14, R-G19.
#[tokio::test(start_paused = true)]
async fn silence_ends_a_session_and_so_does_letting_go() {
    let lab = Lab::start();
    let identity = lab.create("dev-1", Value::Null).await;
    let mut desk = seated(&lab, &identity).await;
    let mark = lab.events.mark();
    sleep(Duration::from_secs(86_000)).await;
    assert!(desk.poll().ended);
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G14", 404_104));
    let desk = seated(&lab, &identity).await;
    let mark = lab.events.mark();
    drop(desk);
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G19", 404_104));
}

/// R-G12, R-G18.
#[tokio::test(start_paused = true)]
async fn what_is_no_connect_ends_a_desk_before_it_began() {
    let lab = Lab::start();
    let table = [
        (vec![0xC0, 0], "R-G12"),
        (vec![0xF0, 0], "R-G18"),
        (vec![0x20, 0], "R-G18"),
    ];
    for (bytes, rule) in table {
        let mark = lab.events.mark();
        let mut desk = lab.emulator.desk(None).unwrap();
        assert!(desk.take(&bytes).ended, "{bytes:?}");
        assert_eq!(lab.events.violation(mark).0, rule, "{bytes:?}");
    }
    let mark = lab.events.mark();
    let mut slow = lab.emulator.desk(None).unwrap();
    sleep(Duration::from_secs(31)).await;
    assert!(slow.poll().ended);
    assert_eq!(lab.events.violation(mark).0, "R-G12");
    // A name that nobody bears is answered before the end.
    let mut stranger = lab.emulator.desk(None).unwrap();
    let said = stranger.take(&Connect::hub("nobody").bytes());
    assert_eq!((&said.bytes[..], said.ended), (&[0x20, 2, 0, 5][..], true));
}
