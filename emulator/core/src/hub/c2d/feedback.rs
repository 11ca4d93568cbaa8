//! What senders hear of the ends of their messages, in batches (R-G30, R-G31).

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Fate;
use super::queue::LockLost;
use crate::id::IdentityId;
use crate::limits::{FEEDBACK_BATCH_MS, FEEDBACK_BATCH_RECORDS, FEEDBACK_BATCHES_MAX};

/// What a hub is configured to do with feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackTerms {
    /// How long a batch is kept, in milliseconds.
    pub ttl_ms: i64,
    /// How long a batch is locked for whoever took it, in milliseconds.
    pub lock_ms: i64,
    /// How often a batch is abandoned before it is given up.
    pub delivery_count_max: u32,
}

/// How one message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sender's name for it.
    pub message_id: Option<Box<str>>,
    /// The device or module it was for.
    pub target: IdentityId,
    /// The generation of that identity.
    pub generation_id: Box<str>,
    /// How it ended.
    pub fate: Fate,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

/// Records that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The records, in order.
    pub records: Arc<[Record]>,
    /// Grows by one with each batch.
    pub sequence: u64,
    /// When it was put together, in Unix milliseconds.
    pub enqueued_ms: i64,
}

/// What a back end does with a batch it has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackSettlement {
    /// It has it.
    Complete,
    /// It wants it again.
    Abandon,
}

/// The feedback of one hub.
#[derive(Debug, Default)]
pub struct FeedbackQueue {
    /// Records that are in no batch yet.
    pending: Vec<Record>,
    batches: VecDeque<Waiting>,
    last_sequence: u64,
    last_sent_ms: Option<i64>,
    displaced: u64,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    expires_ms: i64,
    deliveries: u32,
    lock: Option<(Box<str>, i64)>,
}

impl FeedbackQueue {
    /// Notes how a message ended. The batch goes out with its 64th record, or 15 seconds after
    /// the one before it.
    ///
    /// Source:  behaviour.md R-G30; cloud-to-device messages, message feedback: "in 15 seconds
    /// from last sent", so after a quiet time at once.
    pub fn note(&mut self, record: Record, terms: &FeedbackTerms, now_ms: i64) {
        self.pending.push(record);
        let full = self.pending.len() >= FEEDBACK_BATCH_RECORDS;
        if full || self.sends_at_ms() <= now_ms {
            self.send(terms, now_ms);
        }
    }

    /// Does what time brings: sends what has waited long enough, puts back what was locked for
    /// too long, and drops what is too old.
    ///
    /// Source:  behaviour.md R-G30; cloud-to-device messages, configuration options.
    pub fn expire(&mut self, terms: &FeedbackTerms, now_ms: i64) {
        if !self.pending.is_empty() && self.sends_at_ms() <= now_ms {
            self.send(terms, now_ms);
        }
        for waiting in &mut self.batches {
            if waiting
                .lock
                .as_ref()
                .is_some_and(|(_, until)| *until <= now_ms)
            {
                waiting.lock = None;
            }
        }
        self.batches
            .retain(|waiting| waiting.lock.is_some() || waiting.expires_ms > now_ms);
    }

    /// Locks the first batch that waits for whoever knows `token`.
    pub fn lock(&mut self, token: &str, terms: &FeedbackTerms, now_ms: i64) -> Option<Batch> {
        let waiting = self
            .batches
            .iter_mut()
            .find(|waiting| waiting.lock.is_none())?;
        waiting.lock = Some((token.into(), now_ms.saturating_add(terms.lock_ms)));
        Some(waiting.batch.clone())
    }

    /// Settles what is locked under `token`.
    ///
    /// Errors:  [`LockLost`].
    /// Source:  behaviour.md R-G30: the semantics are those of messages for devices.
    pub fn settle(
        &mut self,
        token: &str,
        settlement: FeedbackSettlement,
        terms: &FeedbackTerms,
    ) -> Result<(), LockLost> {
        let held = |waiting: &Waiting| {
            waiting
                .lock
                .as_ref()
                .is_some_and(|(held, _)| **held == *token)
        };
        let index = self.batches.iter().position(held).ok_or(LockLost)?;
        if settlement == FeedbackSettlement::Abandon {
            let waiting = &mut self.batches[index];
            waiting.lock = None;
            waiting.deliveries += 1;
            if waiting.deliveries < terms.delivery_count_max {
                return Ok(());
            }
        }
        self.batches.remove(index);
        Ok(())
    }

    /// Forgets what is pending of an identity that is gone; a batch that is out stays as it is.
    ///
    /// Source:  behaviour.md R-G31; cloud-to-device messages, pending feedback for deleted devices.
    pub fn forget(&mut self, target: &IdentityId) {
        self.pending.retain(|record| record.target != *target);
    }

    /// When [`Self::expire`] has something to do next, in Unix milliseconds.
    #[must_use]
    pub fn due_ms(&self) -> Option<i64> {
        let pending = (!self.pending.is_empty()).then(|| self.sends_at_ms());
        let waiting = self.batches.iter().map(|waiting| match waiting.lock {
            Some((_, until)) => until,
            None => waiting.expires_ms,
        });
        pending.into_iter().chain(waiting).min()
    }

    /// Whether a batch waits for somebody to take it.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.batches.iter().any(|waiting| waiting.lock.is_none())
    }

    /// How many batches nobody read because newer ones needed their room.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced
    }

    fn sends_at_ms(&self) -> i64 {
        self.last_sent_ms
            .map_or(i64::MIN, |at| at.saturating_add(FEEDBACK_BATCH_MS))
    }

    fn send(&mut self, terms: &FeedbackTerms, now_ms: i64) {
        if self.batches.len() >= FEEDBACK_BATCHES_MAX {
            self.batches.pop_front();
            self.displaced += 1;
        }
        self.last_sequence += 1;
        self.last_sent_ms = Some(now_ms);
        self.batches.push_back(Waiting {
            batch: Batch {
                records: std::mem::take(&mut self.pending).into(),
                sequence: self.last_sequence,
                enqueued_ms: now_ms,
            },
            expires_ms: now_ms.saturating_add(terms.ttl_ms),
            deliveries: 0,
            lock: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: FeedbackTerms = FeedbackTerms {
        ttl_ms: 3_600_000,
        lock_ms: 60_000,
        delivery_count_max: 3,
    };

    fn record(device: &str, number: usize) -> Record {
        Record {
            message_id: Some(number.to_string().into()),
            target: IdentityId::parse(device).unwrap(),
            generation_id: "1".into(),
            fate: Fate::Success,
            at_ms: 0,
        }
    }

    fn ids(batch: Option<Batch>) -> Vec<String> {
        let records = batch
            .map(|batch| batch.records.to_vec())
            .unwrap_or_default();
        let ids = records.into_iter().filter_map(|record| record.message_id);
        ids.map(String::from).collect()
    }

    /// R-G30.
    #[test]
    fn a_batch_goes_out_after_fifteen_seconds_or_with_64_records() {
        let mut queue = FeedbackQueue::default();
        queue.note(record("d", 0), &TERMS, 1000);
        assert_eq!(ids(queue.lock("a", &TERMS, 1000)), ["0"]);
        for number in 1..=3 {
            queue.note(record("d", number), &TERMS, 2000);
        }
        assert_eq!(queue.due_ms(), Some(16_000));
        queue.expire(&TERMS, 15_999);
        assert!(!queue.has_waiting());
        queue.expire(&TERMS, 16_000);
        assert_eq!(ids(queue.lock("b", &TERMS, 16_000)), ["1", "2", "3"]);
        for number in 0..63 {
            queue.note(record("d", number), &TERMS, 16_001);
        }
        assert!(!queue.has_waiting());
        queue.note(record("d", 63), &TERMS, 16_001);
        let batch = queue.lock("c", &TERMS, 16_001).unwrap();
        assert_eq!((batch.records.len(), batch.sequence), (64, 3));
    }

    /// R-G30: settled like a message for a device.
    #[test]
    fn a_batch_is_locked_abandoned_and_completed() {
        let mut queue = FeedbackQueue::default();
        queue.note(record("d", 0), &TERMS, 0);
        assert_eq!(ids(queue.lock("a", &TERMS, 0)), ["0"]);
        assert_eq!(queue.lock("b", &TERMS, 0), None);
        // The lock lapses.
        queue.expire(&TERMS, 60_000);
        let settle = |queue: &mut FeedbackQueue, token, how| queue.settle(token, how, &TERMS);
        assert_eq!(
            settle(&mut queue, "a", FeedbackSettlement::Complete),
            Err(LockLost)
        );
        for token in ["b", "c", "d"] {
            assert_eq!(ids(queue.lock(token, &TERMS, 60_000)), ["0"], "{token}");
            assert_eq!(
                settle(&mut queue, token, FeedbackSettlement::Abandon),
                Ok(())
            );
        }
        assert!(!queue.has_waiting(), "abandoned three times");
        queue.note(record("d", 1), &TERMS, 100_000);
        assert_eq!(ids(queue.lock("e", &TERMS, 100_000)), ["1"]);
        assert_eq!(
            settle(&mut queue, "e", FeedbackSettlement::Complete),
            Ok(())
        );
        assert_eq!(queue.due_ms(), None);
        queue.note(record("d", 2), &TERMS, 200_000);
        queue.expire(&TERMS, 200_000 + TERMS.ttl_ms);
        assert_eq!(queue.due_ms(), None, "nobody asked for it in time");
    }

    /// R-G31.
    #[test]
    fn pending_feedback_goes_with_its_device() {
        let mut queue = FeedbackQueue::default();
        queue.note(record("d", 0), &TERMS, 0);
        queue.note(record("d", 1), &TERMS, 1);
        queue.note(record("e", 2), &TERMS, 1);
        queue.forget(&IdentityId::parse("d").unwrap());
        queue.expire(&TERMS, 15_000);
        assert_eq!(ids(queue.lock("a", &TERMS, 15_000)), ["0"], "already out");
        assert_eq!(ids(queue.lock("b", &TERMS, 15_000)), ["2"]);
    }

    #[test]
    fn the_oldest_batch_makes_room() {
        let mut queue = FeedbackQueue::default();
        for number in 0..=FEEDBACK_BATCHES_MAX {
            let now_ms = i64::try_from(number).unwrap() * FEEDBACK_BATCH_MS;
            queue.note(record("d", number), &TERMS, now_ms);
        }
        assert_eq!(
            (queue.batches.len(), queue.displaced()),
            (FEEDBACK_BATCHES_MAX, 1)
        );
        assert_eq!(ids(queue.lock("a", &TERMS, 0)), ["1"]);
    }
}
