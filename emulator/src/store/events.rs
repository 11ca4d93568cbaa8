//! The events of one hub, in partitions that many read while they are appended to.
//!
//! An event is written once and shared with whoever reads it. What is too old by the emulator's
//! clock, or over the partition's share of the hub's memory, falls out at the beginning and is
//! counted. Numbers follow each other without a gap, so the place of an event in memory is a
//! subtraction away.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use linarite_core::hub::message::Message;
use linarite_core::hub::partition::partition_of;
use linarite_env::{Clock, UnixMillis};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::config::EventsConfig;
use crate::events::{Batch, HubEvent, PartitionInfo, StartPosition};

/// What an event costs beside its message: itself, its counts, its place in the ring.
const EVENT_BYTES: usize = size_of::<HubEvent>() + 3 * size_of::<usize>();

/// A place between two events of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    partition: u16,
    next: u64,
}

impl Cursor {
    /// Its partition, and the sequence number of the event behind it.
    pub(crate) fn position(&self) -> (u16, u64) {
        (self.partition, self.next)
    }
}

/// The events of one hub.
#[derive(Debug)]
pub(crate) struct EventLog {
    partitions: Box<[Mutex<Partition>]>,
    bounds: Bounds,
    clock: Clock,
    /// Readers that wait, so that an append wakes nobody where nobody waits.
    waiting: AtomicUsize,
    arrived: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    retention_ms: i64,
    /// For each partition.
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct Partition {
    ring: VecDeque<Arc<HubEvent>>,
    next_sequence_number: u64,
    next_offset: u64,
    bytes: u64,
    last: Option<(u64, u64, UnixMillis)>,
    expired: u64,
    displaced: u64,
}

impl EventLog {
    pub(crate) fn new(config: &EventsConfig, clock: Clock) -> Self {
        let count = config.partition_count.max(1);
        let retention_ms = i64::try_from(config.retention.as_millis()).unwrap_or(i64::MAX);
        Self {
            partitions: (0..count).map(|_| Mutex::default()).collect(),
            bounds: Bounds {
                retention_ms,
                bytes_max: config.bytes_max / u64::from(count),
            },
            clock,
            waiting: AtomicUsize::new(0),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn partition_count(&self) -> u16 {
        u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)
    }

    /// Keeps a message at the end of its device's partition.
    pub(crate) fn append(&self, message: Message) -> Arc<HubEvent> {
        let number = partition_of(message.origin().id().device_id(), self.partition_count());
        let now = self.clock.now_ms();
        let event = self.lock(number).append(number, message, now, self.bounds);
        // Whoever announced itself before this append's lock is seen here; whoever did so later
        // finds the event.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.arrived.notify_waiters();
        }
        event
    }

    /// The place in a partition that `from` names.
    pub(crate) fn cursor(&self, partition: u16, from: StartPosition) -> Cursor {
        let log = self.lock(partition);
        let behind = |earlier: &dyn Fn(&HubEvent) -> bool| {
            let index = log.ring.partition_point(|event| earlier(event));
            log.beginning() + index as u64
        };
        let next = match from {
            StartPosition::Earliest => log.beginning(),
            StartPosition::Latest => log.next_sequence_number,
            StartPosition::Offset(offset) => behind(&|event| event.offset < offset),
            StartPosition::SequenceNumber(number) => {
                behind(&|event| event.sequence_number < number)
            }
            StartPosition::Enqueued(at) => behind(&|event| event.enqueued < at),
        };
        Cursor { partition, next }
    }

    /// The place before the event of this sequence number, even if that fell out; at most behind
    /// the newest event.
    pub(crate) fn resume(&self, partition: u16, next: u64) -> Cursor {
        let next = next.min(self.lock(partition).next_sequence_number);
        Cursor { partition, next }
    }

    /// Adds what lies behind `cursor` to `batch`, until that holds `room` events, and moves the
    /// cursor on.
    pub(crate) fn take(&self, cursor: &mut Cursor, room: usize, batch: &mut Batch) {
        let now = self.clock.now_ms();
        let mut log = self.lock(cursor.partition);
        log.expire(now, self.bounds);
        let beginning = log.beginning();
        batch.missed += beginning.saturating_sub(cursor.next);
        cursor.next = cursor.next.max(beginning);
        let skip = usize::try_from(cursor.next - beginning).unwrap_or(usize::MAX);
        let free = room.saturating_sub(batch.events.len());
        let before = batch.events.len();
        batch
            .events
            .extend(log.ring.iter().skip(skip).take(free).map(Arc::clone));
        cursor.next += (batch.events.len() - before) as u64;
    }

    /// How a partition stands.
    pub(crate) fn info(&self, partition: u16) -> PartitionInfo {
        let now = self.clock.now_ms();
        let mut log = self.lock(partition);
        log.expire(now, self.bounds);
        PartitionInfo {
            beginning_sequence_number: log.beginning(),
            last: log.last,
            events: log.ring.len(),
            bytes: log.bytes,
            expired: log.expired,
            displaced: log.displaced,
        }
    }

    /// The next append, for a reader that finds nothing.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Arrival {
            waiting: &self.waiting,
            arrived: Box::pin(self.arrived.notified()),
        }
    }

    fn lock(&self, partition: u16) -> MutexGuard<'_, Partition> {
        self.partitions[usize::from(partition)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    /// Sequence number of the oldest event that is kept, or of the next one if none is.
    fn beginning(&self) -> u64 {
        self.next_sequence_number - self.ring.len() as u64
    }

    fn append(
        &mut self,
        partition: u16,
        message: Message,
        now: UnixMillis,
        bounds: Bounds,
    ) -> Arc<HubEvent> {
        self.expire(now, bounds);
        let bytes = cost(&message);
        let event = Arc::new(HubEvent {
            partition,
            offset: self.next_offset,
            sequence_number: self.next_sequence_number,
            // The clock may be set back; a partition is in order all the same.
            enqueued: self.last.map_or(now, |(_, _, last)| now.max(last)),
            message,
        });
        self.last = Some((event.sequence_number, event.offset, event.enqueued));
        self.next_sequence_number += 1;
        self.next_offset += bytes;
        self.bytes += bytes;
        self.ring.push_back(Arc::clone(&event));
        while self.bytes > bounds.bytes_max && self.ring.len() > 1 {
            self.drop_oldest();
            self.displaced += 1;
        }
        event
    }

    fn expire(&mut self, now: UnixMillis, bounds: Bounds) {
        let too_old = |event: &Arc<HubEvent>| now.since(event.enqueued) > bounds.retention_ms;
        let mut dropped = 0;
        while self.ring.front().is_some_and(too_old) {
            self.drop_oldest();
            dropped += 1;
        }
        self.expired += dropped;
        if dropped > 0 && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to_fit();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.ring.pop_front() {
            self.bytes -= cost(&oldest.message);
        }
    }
}

fn cost(message: &Message) -> u64 {
    (message.kept_bytes() + EVENT_BYTES) as u64
}

/// Ends with the next append. Counts as a waiting reader while it lives.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    waiting: &'a AtomicUsize,
    arrived: Pin<Box<Notified<'a>>>,
}

impl Arrival<'_> {
    /// Counts every append from now on.
    pub(crate) fn announce(mut self: Pin<&mut Self>) {
        self.arrived.as_mut().enable();
    }
}

impl Future for Arrival<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.arrived.as_mut().poll(context)
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
