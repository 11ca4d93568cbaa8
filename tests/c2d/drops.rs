//! Messages for a device whose connection is never the same for long.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{FILTER, fates, open, resuming};
use crate::support::Lab;

const MESSAGES: usize = 80;

/// W12, R-G27, R-G28: however often the connection drops, each message that was taken arrives and
/// ends once; what arrives again says so and comes in the packet it came in before.
#[tokio::test(start_paused = true)]
async fn messages_survive_any_number_of_drops() {
    for seed in 0..6 {
        let lab = Lab::start();
        let identity = lab.create("dev-1", Value::Null).await;
        let connect = resuming(&lab, &identity);
        let mut chance = lab.env.entropy.stream("drops", &seed.to_string());
        let mut client = open(&lab, &connect, 0).await;
        client.subscribe(FILTER).await;
        let (mut sent, mut drops, mut packets) = (0, 0, BTreeMap::new());
        let mut steps = 0;
        while fates(&lab).len() < MESSAGES {
            steps += 1;
            assert!(steps < 10_000, "no end with seed {seed}: {packets:?}");
            match chance.u8(..10) {
                0..3 if sent < MESSAGES && sent - fates(&lab).len() < 50 => {
                    lab.send(&sent.to_string()).await;
                    sent += 1;
                }
                3 => {
                    client.drop_connection().await;
                    drops += 1;
                    client = open(&lab, &connect, 1).await;
                }
                _ => {
                    let arrived = timeout(Duration::from_millis(50), client.next()).await;
                    let Ok(packet) = arrived else { continue };
                    let packet = packet.expect("the emulator closed the connection");
                    let id = String::from_utf8(packet.payload().to_vec()).unwrap();
                    let packet_id = packet.packet_id().unwrap();
                    if let Some(before) = packets.insert(id, packet_id) {
                        assert_eq!((packet_id, packet.is_again()), (before, true));
                    }
                    if chance.bool() {
                        let puback = [&[0x40, 2][..], &packet_id.to_be_bytes()].concat();
                        client.stream.write_all(&puback).await.unwrap();
                        client.stream.flush().await.unwrap();
                    }
                }
            }
        }
        assert!(drops > 5, "only {drops} drops with seed {seed}");
        let mut ended = fates(&lab);
        ended.sort_by_key(|(id, _)| id.parse::<usize>().unwrap());
        let expected = (0..MESSAGES).map(|number| (number.to_string(), "Success"));
        assert_eq!(ended, expected.collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(packets.len(), MESSAGES);
        assert_eq!(lab.message_count().await, 0);
    }
}
