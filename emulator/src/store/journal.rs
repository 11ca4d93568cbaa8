//! The latest of everything the emulator told, for those who watch it.
//!
//! Readers take nothing away and hold nobody up: who is too slow is told how much fell out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linarite_env::Stamped;
use tokio::sync::Notify;

use crate::limits::JOURNAL_EVENTS_MAX;

/// A bounded sequence whose places are numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: Mutex<Kept>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    ring: VecDeque<Arc<Stamped>>,
    /// The place of the next event.
    next: u64,
}

/// What lies behind a place.
#[derive(Debug)]
pub(crate) struct Read {
    /// How many fell out before the first of `events`.
    pub(crate) missed: u64,
    /// The place of the first of `events`.
    pub(crate) first: u64,
    pub(crate) events: Vec<Arc<Stamped>>,
}

impl Journal {
    pub(crate) fn append(&self, event: &Stamped) {
        let event = Arc::new(event.clone());
        let mut kept = self.lock();
        if kept.ring.len() >= JOURNAL_EVENTS_MAX {
            kept.ring.pop_front();
        }
        kept.ring.push_back(event);
        kept.next += 1;
        drop(kept);
        self.arrived.notify_waiters();
    }

    /// The places of the oldest event that is kept and of the next one.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let kept = self.lock();
        (kept.beginning(), kept.next)
    }

    /// At most `max` events from `place` on.
    pub(crate) fn ready(&self, place: u64, max: usize) -> Read {
        let kept = self.lock();
        let first = place.max(kept.beginning());
        let skip = usize::try_from(first - kept.beginning()).unwrap_or(usize::MAX);
        Read {
            missed: first - place,
            first,
            events: kept.ring.iter().skip(skip).take(max).cloned().collect(),
        }
    }

    /// The same; waits while there is nothing. Cancel-safe: nothing is taken away.
    pub(crate) async fn read(&self, place: u64, max: usize) -> Read {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // From here on no arrival is missed; only now may the journal be looked at.
            arrived.as_mut().enable();
            let read = self.ready(place, max);
            if !read.events.is_empty() {
                return read;
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn beginning(&self) -> u64 {
        self.next - self.ring.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use linarite_env::{Event, UnixMillis};

    use super::*;

    fn journal(events: u64) -> Journal {
        let journal = Journal::default();
        for sequence in 0..events {
            journal.append(&Stamped {
                at: UnixMillis(0),
                sequence,
                event: Event::LimitReached { limit: "x" },
            });
        }
        journal
    }

    fn sequences(read: &Read) -> Vec<u64> {
        read.events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn who_is_too_slow_is_told_how_much_fell_out() {
        let max = JOURNAL_EVENTS_MAX as u64;
        let journal = journal(max + 5);
        assert_eq!(journal.bounds(), (5, max + 5));
        let read = journal.ready(2, 2);
        assert_eq!(
            (read.missed, read.first, sequences(&read)),
            (3, 5, vec![5, 6])
        );
        let read = journal.ready(max + 4, 10);
        assert_eq!((read.missed, sequences(&read)), (0, vec![max + 4]));
        let read = journal.ready(max + 5, 10);
        assert_eq!(
            (read.missed, read.first, sequences(&read)),
            (0, max + 5, vec![])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waits_is_woken() {
        let journal = Arc::new(journal(1));
        let reader = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { sequences(&journal.read(1, 10).await) }
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!reader.is_finished());
        journal.append(&Stamped {
            at: UnixMillis(0),
            sequence: 9,
            event: Event::LimitReached { limit: "x" },
        });
        assert_eq!(reader.await.unwrap(), [9]);
    }
}
