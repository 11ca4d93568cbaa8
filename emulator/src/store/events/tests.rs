use std::time::Duration;

use linarite_core::hub::message::{AuthenticatedBy, Origin, Properties};
use linarite_core::id::IdentityId;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::events::{EventReader, HubEvents};

const DAY_MS: u64 = 86_400_000;

struct Rig {
    log: Arc<EventLog>,
    stop: CancellationToken,
}

impl Rig {
    fn new(partition_count: u16, bytes_max: u64) -> Self {
        let clock = Clock::tokio(UnixMillis(1_000));
        let config = EventsConfig {
            partition_count,
            bytes_max,
            ..EventsConfig::default()
        };
        Self {
            log: Arc::new(EventLog::new(&config, clock)),
            stop: CancellationToken::new(),
        }
    }

    fn events(&self) -> HubEvents {
        HubEvents::new(Arc::clone(&self.log), self.stop.clone())
    }

    fn send(&self, device: &str, body: &[u8]) -> Arc<HubEvent> {
        let id = IdentityId::parse(device).unwrap();
        let origin = Origin::authenticated(id, "1", AuthenticatedBy::Sas);
        let message = Message::telemetry(Arc::new(origin), Properties::default(), body).unwrap();
        self.log.append(message)
    }

    /// What a single event of `body` bytes costs.
    fn cost(body: u64) -> u64 {
        EVENT_BYTES as u64 + body
    }
}

fn bodies(batch: &Batch) -> Vec<&[u8]> {
    let events = batch.events.iter();
    events.map(|event| event.message().body()).collect()
}

fn drain(reader: &mut EventReader, max: usize) -> (Vec<Arc<HubEvent>>, u64) {
    let (mut events, mut missed) = (Vec::new(), 0);
    loop {
        let batch = reader.ready(max);
        if batch.is_empty() {
            return (events, missed);
        }
        events.extend(batch.events);
        missed += batch.missed;
    }
}

/// R-G38.
#[tokio::test(start_paused = true)]
async fn events_are_numbered_and_each_reader_sees_all_of_them() {
    let rig = Rig::new(1, 1 << 20);
    for body in [b"a", b"b", b"c"] {
        rig.send("d", body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..2 {
        let mut reader = rig.events().read_all(StartPosition::Earliest);
        let first = reader.ready(2);
        assert_eq!(bodies(&first), [b"a", b"b"]);
        let second = reader.ready(2);
        assert_eq!(bodies(&second), [b"c"]);
        assert!(reader.ready(2).is_empty());
        let event = &second.events[0];
        assert_eq!(event.sequence_number(), 2);
        assert_eq!(event.offset(), 2 * Rig::cost(1));
        assert_eq!(event.enqueued(), UnixMillis(1_020));
        assert_eq!(event.partition(), 0);
    }
    let info = rig.events().partition(0).unwrap();
    assert_eq!(info.last, Some((2, 2 * Rig::cost(1), UnixMillis(1_020))));
    assert_eq!((info.events, info.bytes), (3, 3 * Rig::cost(1)));
    assert_eq!(rig.events().partition(1), None);
    assert!(rig.events().read(1, StartPosition::Earliest).is_none());
}

/// Wire 5.3: readers begin by offset, sequence number or moment.
#[tokio::test(start_paused = true)]
async fn a_reader_begins_where_it_says() {
    let rig = Rig::new(1, 1 << 20);
    let sent = [b"a", b"b", b"c"].map(|body| rig.send("d", body));
    tokio::time::sleep(Duration::from_millis(5)).await;
    rig.send("d", b"d");
    let offset = sent[1].offset();
    let table: [(StartPosition, &[&[u8]]); 10] = [
        (StartPosition::Earliest, &[b"a", b"b", b"c", b"d"]),
        (StartPosition::Latest, &[]),
        (StartPosition::Offset(offset), &[b"b", b"c", b"d"]),
        (StartPosition::Offset(offset + 1), &[b"c", b"d"]),
        (StartPosition::Offset(u64::MAX), &[]),
        (StartPosition::SequenceNumber(3), &[b"d"]),
        (StartPosition::SequenceNumber(4), &[]),
        (
            StartPosition::Enqueued(UnixMillis(0)),
            &[b"a", b"b", b"c", b"d"],
        ),
        (StartPosition::Enqueued(UnixMillis(1_001)), &[b"d"]),
        (StartPosition::Enqueued(UnixMillis(1_006)), &[]),
    ];
    for (from, expected) in table {
        let mut reader = rig.events().read(0, from).unwrap();
        assert_eq!(bodies(&reader.ready(10)), expected, "{from:?}");
    }
}

/// R-G38: one to seven days on the emulator's clock.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_falls_out() {
    let rig = Rig::new(1, 1 << 20);
    rig.send("d", b"old");
    let mut slow = rig.events().read_all(StartPosition::Earliest);
    tokio::time::sleep(Duration::from_millis(DAY_MS)).await;
    rig.send("d", b"new");
    assert_eq!(rig.log.info(0).events, 2, "one day old is not too old");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let info = rig.log.info(0);
    assert_eq!((info.events, info.expired, info.displaced), (1, 1, 0));
    assert_eq!(info.beginning_sequence_number, 1);
    let batch = slow.ready(10);
    assert_eq!(bodies(&batch), [b"new"]);
    assert_eq!(batch.missed, 1);
    tokio::time::sleep(Duration::from_millis(2 * DAY_MS)).await;
    let info = rig.log.info(0);
    assert_eq!((info.events, info.bytes, info.expired), (0, 0, 2));
    assert_eq!(info.beginning_sequence_number, 2);
    assert_eq!(info.last.unwrap().0, 1, "the last number is remembered");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_falls_out_and_is_counted() {
    let rig = Rig::new(2, 2 * 3 * Rig::cost(10));
    let mut slow = rig.events().read_all(StartPosition::Earliest);
    // Partition 0 holds three; partition 1 has its own share.
    let (here, there) = ("dev-1", "dev-2");
    assert_eq!(rig.send(there, &[0; 10]).partition(), 1);
    for number in 0..5 {
        assert_eq!(rig.send(here, &[number; 10]).partition(), 0);
    }
    let info = rig.log.info(0);
    assert_eq!((info.events, info.displaced, info.expired), (3, 2, 0));
    assert_eq!(info.bytes, 3 * Rig::cost(10));
    assert_eq!(rig.log.info(1).events, 1);
    let (events, missed) = drain(&mut slow, 2);
    assert_eq!((events.len(), missed), (4, 2));
    // One event larger than the share is kept, alone.
    rig.send(here, &[9; 4_000]);
    assert_eq!(rig.log.info(0).events, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_the_next_event_and_for_the_end() {
    let rig = Rig::new(4, 1 << 20);
    let mut reader = rig.events().read_all(StartPosition::Latest);
    let read = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(batch) = reader.next(10).await {
            heard.extend(
                batch
                    .events
                    .iter()
                    .map(|event| event.message().body().to_vec()),
            );
        }
        heard
    });
    for number in 0..20u8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.send(&format!("dev-{number}"), &[number]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.log.waiting.load(Ordering::SeqCst), 1);
    rig.send("last", b"!");
    rig.stop.cancel();
    let heard = read.await.unwrap();
    assert_eq!(heard.len(), 21, "what was there at the end is read");
    assert!((0..20u8).all(|number| heard[usize::from(number)] == [number]));
    assert_eq!(rig.log.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn readers_on_other_threads_miss_nothing() {
    const DEVICES: u8 = 4;
    const MESSAGES: u16 = 500;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let rig = Arc::new(Rig::new(3, 1 << 20));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = rig.events().read_all(StartPosition::Earliest);
                tokio::spawn(async move {
                    let mut heard = 0;
                    while heard < usize::from(DEVICES) * usize::from(MESSAGES) {
                        heard += reader.next(7).await.unwrap().events.len();
                    }
                    heard
                })
            })
            .collect();
        let senders: Vec<_> = (0..DEVICES)
            .map(|device| {
                let rig = Arc::clone(&rig);
                tokio::spawn(async move {
                    for number in 0..MESSAGES {
                        rig.send(&format!("dev-{device}"), &number.to_le_bytes());
                        if number % 16 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 2_000);
        }
    });
}

proptest! {
    /// R-G38: each event is read once and in order, or counted as missed; nothing is over the bounds.
    #[test]
    fn a_reader_sees_each_event_once_and_in_order(
        steps in prop::collection::vec((0u8..4, 0u8..5, 0u16..200), 1..80),
        partitions in 1u16..4,
        share in 2u64..6,
        max in 1usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bytes_max = u64::from(partitions) * share * Rig::cost(100);
            let rig = Rig::new(partitions, bytes_max);
            let mut reader = rig.events().read_all(StartPosition::Earliest);
            let (mut sent, mut heard, mut missed) = (0u64, Vec::new(), 0u64);
            for (step, device, number) in steps {
                match step {
                    0 | 1 => {
                        rig.send(&format!("dev-{device}"), &vec![device; usize::from(number)]);
                        sent += 1;
                    }
                    2 => {
                        let batch = reader.ready(max);
                        prop_assert!(batch.events.len() <= max);
                        missed += batch.missed;
                        heard.extend(batch.events);
                    }
                    _ => {
                        let pause = u64::from(number) * DAY_MS / 300;
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                }
                for partition in 0..partitions {
                    let info = rig.log.info(partition);
                    prop_assert!(info.bytes <= bytes_max / u64::from(partitions) || info.events == 1);
                }
            }
            let (rest, more) = drain(&mut reader, max);
            heard.extend(rest);
            missed += more;
            prop_assert_eq!(heard.len() as u64 + missed, sent);
            for partition in 0..partitions {
                let of_one: Vec<_> = heard
                    .iter()
                    .filter(|event| event.partition() == partition)
                    .collect();
                let in_order = of_one.is_sorted_by(|a, b| {
                    a.sequence_number() < b.sequence_number()
                        && a.offset() < b.offset()
                        && a.enqueued() <= b.enqueued()
                });
                prop_assert!(in_order);
                let info = rig.log.info(partition);
                let fell_out = info.expired + info.displaced;
                prop_assert_eq!(fell_out + info.events as u64, info.last.map_or(0, |last| last.0 + 1));
            }
            Ok(())
        })?;
    }
}
