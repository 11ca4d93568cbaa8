//! Reading what devices sent to a hub, and what the hub said itself.
//!
//! A hub keeps its events in partitions, as Azure's event endpoint does: each is a sequence that
//! only grows at its end and, when it is too old or too much, falls away at its beginning.
//! Any number of readers read at their own pace and take nothing away from each other.
//!
//! ```no_run
//! # async fn read(emulator: linarite_emulator::Emulator) {
//! use linarite_emulator::events::StartPosition;
//!
//! let events = emulator.events("localhost").expect("the hub is configured");
//! let mut reader = events.read_all(StartPosition::Latest);
//! while let Some(batch) = reader.next(100).await {
//!     for event in batch.events {
//!         let message = event.message();
//!         println!("{}: {} bytes", message.origin().id(), message.body().len());
//!     }
//! }
//! # }
//! ```

use std::sync::Arc;

use linarite_core::hub::message::Message;
use linarite_env::UnixMillis;
use tokio_util::sync::CancellationToken;

use crate::limits::EVENT_BATCH_MAX;
use crate::store::events::{Cursor, EventLog};

/// A message at its place in a partition.
#[derive(Debug)]
pub struct HubEvent {
    pub(crate) partition: u16,
    pub(crate) offset: u64,
    pub(crate) sequence_number: u64,
    pub(crate) enqueued: UnixMillis,
    pub(crate) message: Message,
}

impl HubEvent {
    /// The partition, from 0.
    #[must_use]
    pub fn partition(&self) -> u16 {
        self.partition
    }

    /// Grows by the size of each event.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Grows by one with each event of the partition.
    #[must_use]
    pub fn sequence_number(&self) -> u64 {
        self.sequence_number
    }

    /// When the hub took it; never earlier than the event before it.
    #[must_use]
    pub fn enqueued(&self) -> UnixMillis {
        self.enqueued
    }

    /// What was sent or said, and by whom.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// At the oldest event that is kept.
    Earliest,
    /// Behind the newest event.
    Latest,
    /// At the first event of at least this offset.
    Offset(u64),
    /// At the first event of at least this sequence number.
    SequenceNumber(u64),
    /// At the first event that was taken at this moment or later.
    Enqueued(UnixMillis),
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Sequence number of the oldest event that is kept, or of the next one if none is.
    pub beginning_sequence_number: u64,
    /// The newest event: sequence number, offset and moment, if there ever was one.
    pub last: Option<(u64, u64, UnixMillis)>,
    /// How many events are kept.
    pub events: usize,
    /// About how much memory they take, in bytes.
    pub bytes: u64,
    /// How many fell out because they were too old.
    pub expired: u64,
    /// How many fell out because there was no room, however young they were.
    pub displaced: u64,
}

/// Events that were read.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The events; those of one partition are in order.
    pub events: Vec<Arc<HubEvent>>,
    /// How many fell out before this reader came to them.
    pub missed: u64,
}

impl Batch {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.missed == 0
    }
}

/// The event endpoint of one hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HubEvents {
    log: Arc<EventLog>,
    stopped: CancellationToken,
}

impl HubEvents {
    pub(crate) fn new(log: Arc<EventLog>, stopped: CancellationToken) -> Self {
        Self { log, stopped }
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> u16 {
        self.log.partition_count()
    }

    /// How a partition stands; `None` if there is no such partition.
    #[must_use]
    pub fn partition(&self, partition: u16) -> Option<PartitionInfo> {
        (partition < self.partition_count()).then(|| self.log.info(partition))
    }

    /// Reads one partition; `None` if there is no such partition.
    #[must_use]
    pub fn read(&self, partition: u16, from: StartPosition) -> Option<EventReader> {
        (partition < self.partition_count()).then(|| self.reader(partition..partition + 1, from))
    }

    /// Reads all partitions. Events of different partitions are in no order.
    ///
    /// Offsets and sequence numbers are those of each partition by itself.
    #[must_use]
    pub fn read_all(&self, from: StartPosition) -> EventReader {
        self.reader(0..self.partition_count(), from)
    }

    /// Reads on where another reader stood: at these sequence numbers, partition by partition.
    /// What fell out since then is told as missed.
    ///
    /// `None` if there is no such partition.
    #[must_use]
    pub fn resume(&self, positions: &[(u16, u64)]) -> Option<EventReader> {
        let count = self.partition_count();
        let there = positions.iter().all(|(partition, _)| *partition < count);
        let cursors = positions
            .iter()
            .map(|(partition, next)| self.log.resume(*partition, *next));
        there.then(|| self.reader_at(cursors.collect()))
    }

    fn reader(&self, partitions: std::ops::Range<u16>, from: StartPosition) -> EventReader {
        let cursors = partitions.map(|partition| self.log.cursor(partition, from));
        self.reader_at(cursors.collect())
    }

    fn reader_at(&self, cursors: Vec<Cursor>) -> EventReader {
        EventReader {
            cursors,
            first: 0,
            log: Arc::clone(&self.log),
            stopped: self.stopped.clone(),
        }
    }
}

/// Reads events in batches and waits for more.
#[derive(Debug)]
pub struct EventReader {
    cursors: Vec<Cursor>,
    /// Which partition is asked first, so that none waits for ever behind a busy one.
    first: usize,
    log: Arc<EventLog>,
    stopped: CancellationToken,
}

impl EventReader {
    /// The partitions that are read, each with the sequence number of the event to come next.
    pub fn positions(&self) -> impl Iterator<Item = (u16, u64)> {
        self.cursors.iter().map(Cursor::position)
    }

    /// What is there now, at most `max` events and never more than [`EVENT_BATCH_MAX`].
    pub fn ready(&mut self, max: usize) -> Batch {
        let mut batch = Batch::default();
        let room = max.clamp(1, EVENT_BATCH_MAX);
        let count = self.cursors.len();
        for turn in 0..count {
            let cursor = &mut self.cursors[(self.first + turn) % count];
            self.log.take(cursor, room, &mut batch);
        }
        self.first = (self.first + 1) % count.max(1);
        batch
    }

    /// What is there now; waits if nothing is. `None` once the emulator was stopped and all was
    /// read.
    ///
    /// Cancel-safe: an event is taken only in the poll that gives it.
    pub async fn next(&mut self, max: usize) -> Option<Batch> {
        let batch = self.ready(max);
        if !batch.is_empty() {
            return Some(batch);
        }
        let (log, stopped) = (Arc::clone(&self.log), self.stopped.clone());
        loop {
            let arrival = log.arrival();
            tokio::pin!(arrival);
            // From here on no arrival is missed; only now may the log be looked at.
            arrival.as_mut().announce();
            let batch = self.ready(max);
            if !batch.is_empty() {
                return Some(batch);
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => {
                    let rest = self.ready(max);
                    return (!rest.is_empty()).then_some(rest);
                }
                () = arrival => {}
            }
        }
    }
}
