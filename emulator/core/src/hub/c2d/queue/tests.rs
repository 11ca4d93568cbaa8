use proptest::prelude::*;

use super::super::super::message::Properties;
use super::super::message::Ack;
use super::*;

const TERMS: Terms = Terms {
    ttl_ms: 3_600_000,
    delivery_count_max: 3,
};
const MINUTE: i64 = 60_000;

fn message(id: &str, expires_ms: Option<i64>) -> CloudMessage {
    let properties = Properties::new([("message-id", id)], []);
    CloudMessage::new(properties, b"x", Ack::Full, expires_ms).unwrap()
}

fn queue(ids: &[&str]) -> Queue {
    let mut queue = Queue::default();
    for id in ids {
        queue.push(message(id, None), &TERMS, 0).unwrap();
    }
    queue
}

fn packet(id: u16, again: bool) -> Packet {
    let id = NonZeroU16::new(id).unwrap();
    Packet { id, again }
}

fn sent(queue: &mut Queue, connection: u64, now_ms: i64) -> Vec<(String, Packet)> {
    std::iter::from_fn(|| queue.deliver(connection, now_ms))
        .map(|(delivery, packet)| (delivery.message.id().unwrap().to_owned(), packet))
        .collect()
}

fn ends(settled: impl IntoIterator<Item = Settled>) -> Vec<(String, Fate)> {
    let end = |settled: Settled| (settled.message.id().unwrap().to_owned(), settled.fate);
    settled.into_iter().map(end).collect()
}

fn acknowledge(queue: &mut Queue, connection: u64, id: u16) -> Option<Settled> {
    let id = NonZeroU16::new(id).unwrap();
    queue.acknowledge(connection, id, PacketSettlement::Acknowledged)
}

/// R-G27.
#[test]
fn the_fifty_first_message_finds_no_room() {
    let mut queue = Queue::default();
    for number in 0..50 {
        let text = number.to_string();
        assert_eq!(queue.push(message(&text, None), &TERMS, 0), Ok(number + 1));
    }
    let over = queue.push(message("50", None), &TERMS, 0);
    assert_eq!(over, Err(QueueFull));
    // What is locked takes room too; what is completed does not.
    queue.lock("a", 60, 0).unwrap();
    assert_eq!(queue.push(message("50", None), &TERMS, 0), Err(QueueFull));
    queue.settle("a", Settlement::Complete, &TERMS).unwrap();
    assert_eq!(queue.push(message("50", None), &TERMS, 0), Ok(51));
}

/// R-G27, R-G28.
#[test]
fn a_locked_message_is_invisible_for_a_minute() {
    let mut queue = queue(&["1", "2"]);
    let first = queue.lock("a", 60, 0).unwrap();
    assert_eq!(first.message.id(), Some("1"));
    assert_eq!(queue.lock("b", 60, 0).unwrap().message.id(), Some("2"));
    assert_eq!(queue.lock("c", 60, 0), None);
    assert_eq!(queue.due_ms(), Some(MINUTE));
    assert!(queue.expire(MINUTE - 1).is_empty());
    assert!(!queue.has_waiting());
    assert!(queue.expire(MINUTE).is_empty());
    assert_eq!(
        queue.settle("a", Settlement::Complete, &TERMS),
        Err(LockLost)
    );
    assert_eq!(queue.lock("c", 60, MINUTE).unwrap().message.id(), Some("1"));
}

/// R-G28, R-G29, I-8.
#[test]
fn only_abandoning_counts_as_a_delivery() {
    let mut queue = queue(&["1"]);
    let mut counted = Vec::new();
    for round in 0..5 {
        counted.push(queue.lock("lapses", 60, round * MINUTE).unwrap().deliveries);
        assert!(queue.expire((round + 1) * MINUTE).is_empty());
    }
    for _ in 0..2 {
        counted.push(queue.lock("a", 60, 0).unwrap().deliveries);
        assert_eq!(queue.settle("a", Settlement::Abandon, &TERMS), Ok(None));
    }
    counted.push(queue.lock("a", 60, 0).unwrap().deliveries);
    assert_eq!(counted, [0, 0, 0, 0, 0, 0, 1, 2]);
    let settled = queue.settle("a", Settlement::Abandon, &TERMS).unwrap();
    let expected = [("1".to_owned(), Fate::DeliveryCountExceeded)];
    assert_eq!(ends(settled), expected);
    assert!(queue.is_empty());
}

/// R-G28.
#[test]
fn completing_and_rejecting_end_a_message() {
    let mut queue = queue(&["1", "2"]);
    for (settlement, id, fate) in [
        (Settlement::Complete, "1", Fate::Success),
        (Settlement::Reject, "2", Fate::Rejected),
    ] {
        queue.lock("a", 60, 0).unwrap();
        let settled = queue.settle("a", settlement, &TERMS).unwrap();
        assert_eq!(ends(settled), [(id.to_owned(), fate)]);
    }
    assert!(queue.is_empty() && queue.due_ms().is_none());
}

/// R-G27, R-G28.
#[test]
fn a_message_expires_by_its_own_word_or_the_hubs() {
    let mut queue = Queue::default();
    queue.push(message("hub", None), &TERMS, 0).unwrap();
    queue.push(message("own", Some(90_000)), &TERMS, 0).unwrap();
    assert_eq!(queue.due_ms(), Some(90_000));
    let expired = |queue: &mut Queue, now| ends(queue.expire(now));
    assert_eq!(expired(&mut queue, 89_999), []);
    assert_eq!(
        expired(&mut queue, 90_000),
        [("own".to_owned(), Fate::Expired)]
    );
    // Whoever has locked it may still complete it.
    queue.lock("a", 60, TERMS.ttl_ms - 1).unwrap();
    assert_eq!(expired(&mut queue, TERMS.ttl_ms + 1), []);
    let settled = queue.settle("a", Settlement::Complete, &TERMS).unwrap();
    assert_eq!(ends(settled), [("hub".to_owned(), Fate::Success)]);
}

/// W12, R-G15.
#[test]
fn packets_are_numbered_and_acknowledged_in_any_order() {
    let mut queue = queue(&["1", "2", "3"]);
    let expected = [("1", 1), ("2", 2), ("3", 3)];
    let expected = expected.map(|(id, number)| (id.to_owned(), packet(number, false)));
    assert_eq!(sent(&mut queue, 7, 0), expected);
    assert_eq!(acknowledge(&mut queue, 8, 1), None, "another connection");
    assert_eq!(acknowledge(&mut queue, 7, 4), None, "no such packet");
    assert_eq!(
        ends(acknowledge(&mut queue, 7, 3)),
        [("3".to_owned(), Fate::Success)]
    );
    assert_eq!(acknowledge(&mut queue, 7, 3), None, "twice");
    assert_eq!(
        ends(acknowledge(&mut queue, 7, 1)),
        [("1".to_owned(), Fate::Success)]
    );
    // A number that is taken is left out, also when the numbers begin anew.
    queue.last_packet = u16::MAX;
    queue.push(message("4", None), &TERMS, 0).unwrap();
    queue.push(message("5", None), &TERMS, 0).unwrap();
    let expected = [("4", 1), ("5", 3)];
    let expected = expected.map(|(id, number)| (id.to_owned(), packet(number, false)));
    assert_eq!(sent(&mut queue, 7, 0), expected);
}

/// W12, R-G29.
#[test]
fn what_a_connection_leaves_behind_travels_again_in_the_same_packet() {
    let mut queue = queue(&["1", "2"]);
    sent(&mut queue, 7, 0);
    queue.lock("token", 60, 0);
    queue.release(Some(8));
    assert_eq!(sent(&mut queue, 9, 0), []);
    queue.release(Some(7));
    queue.push(message("3", None), &TERMS, 0).unwrap();
    let expected = [("1", 1, true), ("2", 2, true), ("3", 3, false)];
    let expected = expected.map(|(id, number, again)| (id.to_owned(), packet(number, again)));
    assert_eq!(sent(&mut queue, 9, 0), expected);
    assert_eq!(acknowledge(&mut queue, 7, 1), None, "the old connection");
    // A session that begins anew knows nothing of packets.
    queue.release(None);
    queue.forget_packets();
    let expected = [("1", 4), ("2", 5), ("3", 6)];
    let expected = expected.map(|(id, number)| (id.to_owned(), packet(number, false)));
    assert_eq!(sent(&mut queue, 10, 0), expected);
}

/// R-G30.
#[test]
fn purging_empties_the_queue() {
    let mut queue = queue(&["1", "2"]);
    queue.lock("a", 60, 0);
    let expected = ["1", "2"].map(|id| (id.to_owned(), Fate::Purged));
    assert_eq!(ends(queue.purge()), expected);
    assert!(queue.is_empty());
    assert_eq!(
        queue.settle("a", Settlement::Complete, &TERMS),
        Err(LockLost)
    );
}

/// A step of whoever works with a queue.
#[derive(Clone, Debug)]
enum Step {
    Push(Option<i64>),
    Lock,
    Settle(usize, Settlement),
    Deliver(u64),
    Acknowledge(u64, u16),
    Take,
    Release(u64),
    Purge,
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Step> {
    let settlement = prop_oneof![
        Just(Settlement::Complete),
        Just(Settlement::Abandon),
        Just(Settlement::Reject),
    ];
    prop_oneof![
        6 => prop::option::of(0..200_000_i64).prop_map(Step::Push),
        3 => Just(Step::Lock),
        3 => (0..40_usize, settlement).prop_map(|(token, how)| Step::Settle(token, how)),
        3 => (0..3_u64).prop_map(Step::Deliver),
        3 => (0..3_u64, 1..40_u16).prop_map(|(who, id)| Step::Acknowledge(who, id)),
        1 => Just(Step::Take),
        1 => (0..3_u64).prop_map(Step::Release),
        1 => Just(Step::Purge),
        2 => (0..90_000_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// R-G27 to R-G29: whatever happens, a message is in the queue or ended once, never both.
    #[test]
    fn no_message_is_lost_or_ends_twice(steps in prop::collection::vec(steps(), 0..200)) {
        let mut queue = Queue::default();
        let (mut now_ms, mut pushed, mut ended, mut tokens) = (0, 0_u64, Vec::new(), 0);
        for step in steps {
            match step {
                Step::Push(ttl) => {
                    let text = (pushed + 1).to_string();
                    let message = message(&text, ttl.map(|ttl| now_ms + ttl));
                    if queue.push(message, &TERMS, now_ms).is_ok() {
                        pushed += 1;
                    }
                }
                Step::Lock => {
                    tokens += 1;
                    queue.lock(&tokens.to_string(), 60, now_ms);
                }
                Step::Settle(token, how) => {
                    let settled = queue.settle(&token.to_string(), how, &TERMS);
                    ended.extend(settled.unwrap_or_default());
                }
                Step::Deliver(who) => drop(queue.deliver(who, now_ms)),
                Step::Acknowledge(who, id) => ended.extend(acknowledge(&mut queue, who, id)),
                Step::Take => ended.extend(queue.take().map(|(_, settled)| settled)),
                Step::Release(who) => queue.release(Some(who)),
                Step::Purge => ended.extend(queue.purge()),
                Step::Wait(ms) => {
                    now_ms += ms;
                    ended.extend(queue.expire(now_ms));
                    prop_assert!(queue.due_ms().is_none_or(|due| due > now_ms));
                }
            }
            prop_assert!(queue.len() <= C2D_QUEUE_LENGTH_MAX);
        }
        ended.extend(queue.purge());
        let mut ids: Vec<u64> = ended
            .iter()
            .map(|settled| settled.message.id().unwrap().parse().unwrap())
            .collect();
        ids.sort_unstable();
        let expected: Vec<u64> = (1..=pushed).collect();
        prop_assert_eq!(ids, expected);
    }
}
