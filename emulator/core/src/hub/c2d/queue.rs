//! The queue of one device (R-G27 to R-G29).
//!
//! A message is Enqueued until somebody takes it, Invisible while it is locked, and leaves the
//! queue when it is Completed or Dead-lettered. The queue also numbers the MQTT packets its
//! messages travel in, so that one that travels again in the same MQTT session is known by its
//! number (W12; MQTT 3.1.1, 4.4).

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::message::{CloudMessage, Fate};
use crate::limits::{C2D_LOCK_SECONDS, C2D_QUEUE_LENGTH_MAX};

/// What a hub is configured to do with messages for devices (R-G27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a message is good that does not say so itself, in milliseconds.
    pub ttl_ms: i64,
    /// How often a message is abandoned before it is given up.
    pub delivery_count_max: u32,
}

/// The messages that wait for one device, or that it has taken and not settled.
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Entry>,
    last_sequence: u64,
    last_packet: u16,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    /// The packet it travelled in, for as long as that MQTT session lives.
    packet: Option<NonZeroU16>,
    lock: Option<Lock>,
}

#[derive(Debug)]
struct Lock {
    holder: Holder,
    until_ms: i64,
}

#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// An MQTT connection.
    Session(u64),
    /// Whoever knows this.
    Token(Box<str>),
}

/// A message as a device gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Grows by one with each message for the device.
    pub sequence: u64,
    /// The message.
    pub message: Arc<CloudMessage>,
    /// When the hub took it, in Unix milliseconds.
    pub enqueued_ms: i64,
    /// When it is worthless, in Unix milliseconds.
    pub expires_ms: i64,
    /// How often it was abandoned.
    pub deliveries: u32,
}

/// The MQTT packet a message travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number.
    pub id: NonZeroU16,
    /// Whether it was sent before.
    pub again: bool,
}

/// What a device does with a message it has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has it.
    Complete,
    /// It wants it again.
    Abandon,
    /// It does not want it.
    Reject,
}

/// A message that has left the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub message: Arc<CloudMessage>,
    /// How it ended.
    pub fate: Fate,
}

/// The queue holds as many messages as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{C2D_QUEUE_LENGTH_MAX} messages are waiting for the device")]
pub struct QueueFull;

/// Nobody holds that lock any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is not held any more")]
pub struct LockLost;

impl Queue {
    /// Takes a message in; gives its sequence number.
    ///
    /// Errors:  [`QueueFull`], those that are locked counted.
    /// Source:  behaviour.md R-G27.
    pub fn push(
        &mut self,
        message: CloudMessage,
        terms: &Terms,
        now_ms: i64,
    ) -> Result<u64, QueueFull> {
        if self.entries.len() >= C2D_QUEUE_LENGTH_MAX {
            return Err(QueueFull);
        }
        self.last_sequence += 1;
        let expires_ms = message
            .expires_ms()
            .unwrap_or(now_ms.saturating_add(terms.ttl_ms));
        let delivery = Delivery {
            sequence: self.last_sequence,
            message: Arc::new(message),
            enqueued_ms: now_ms,
            expires_ms,
            deliveries: 0,
        };
        self.entries.push_back(Entry {
            delivery,
            packet: None,
            lock: None,
        });
        Ok(self.last_sequence)
    }

    /// How many messages there are, those that are locked counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a message is Enqueued.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.entries.iter().any(|entry| entry.lock.is_none())
    }

    /// Locks the first message that is Enqueued for whoever knows `token`.
    ///
    /// Source:  behaviour.md R-G27, R-G28.
    pub fn lock(&mut self, token: &str, seconds: u32, now_ms: i64) -> Option<Delivery> {
        let entry = self.next_waiting()?;
        entry.lock = Some(Lock {
            holder: Holder::Token(token.into()),
            until_ms: now_ms.saturating_add(i64::from(seconds) * 1000),
        });
        Some(entry.delivery.clone())
    }

    /// Locks the first message that is Enqueued for an MQTT connection, and numbers its packet.
    ///
    /// Source:  behaviour.md R-G27, R-G28; W12.
    pub fn deliver(&mut self, connection: u64, now_ms: i64) -> Option<(Delivery, Packet)> {
        let fresh = self.next_packet();
        let entry = self.next_waiting()?;
        let (id, again) = match entry.packet {
            Some(id) => (id, true),
            None => (fresh, false),
        };
        entry.packet = Some(id);
        entry.lock = Some(Lock {
            holder: Holder::Session(connection),
            until_ms: now_ms.saturating_add(i64::from(C2D_LOCK_SECONDS) * 1000),
        });
        let delivery = entry.delivery.clone();
        if !again {
            self.last_packet = id.get();
        }
        Some((delivery, Packet { id, again }))
    }

    /// Takes out the first message that is Enqueued, for a device that acknowledges nothing.
    ///
    /// Source:  behaviour.md R-G28 — that a message sent at QoS 0 is completed is assumed.
    pub fn take(&mut self) -> Option<(Delivery, Settled)> {
        let index = self.entries.iter().position(|entry| entry.lock.is_none())?;
        let delivery = self.entries[index].delivery.clone();
        Some((delivery, self.remove(index, Fate::Success)))
    }

    /// Settles what is locked under `token`. A message that is abandoned too often leaves the
    /// queue.
    ///
    /// Errors:  [`LockLost`].
    /// Source:  behaviour.md R-G28, R-G29.
    pub fn settle(
        &mut self,
        token: &str,
        settlement: Settlement,
        terms: &Terms,
    ) -> Result<Option<Settled>, LockLost> {
        let held = |entry: &Entry| match &entry.lock {
            Some(lock) => matches!(&lock.holder, Holder::Token(held) if **held == *token),
            None => false,
        };
        let index = self.entries.iter().position(held).ok_or(LockLost)?;
        let fate = match settlement {
            Settlement::Complete => Fate::Success,
            Settlement::Reject => Fate::Rejected,
            Settlement::Abandon => {
                let entry = &mut self.entries[index];
                entry.lock = None;
                entry.delivery.deliveries += 1;
                if entry.delivery.deliveries < terms.delivery_count_max {
                    return Ok(None);
                }
                Fate::DeliveryCountExceeded
            }
        };
        Ok(Some(self.remove(index, fate)))
    }

    /// Settles what an MQTT connection was sent in packet `id`: `None` if it was sent nothing in
    /// it, or not by this connection.
    ///
    /// Source:  behaviour.md R-G28.
    pub fn acknowledge(
        &mut self,
        connection: u64,
        id: NonZeroU16,
        settlement: PacketSettlement,
    ) -> Option<Settled> {
        let holder = Holder::Session(connection);
        let index = self.entries.iter().position(|entry| {
            let lock = entry.lock.as_ref();
            entry.packet == Some(id) && lock.is_some_and(|lock| lock.holder == holder)
        })?;
        let fate = match settlement {
            PacketSettlement::Acknowledged => Fate::Success,
            PacketSettlement::Impossible => Fate::Rejected,
        };
        Some(self.remove(index, fate))
    }

    /// Puts back what MQTT connections hold, those of `connection` or all; nothing is counted.
    ///
    /// Source:  behaviour.md R-G29 — that the end of a connection ends its locks is assumed.
    pub fn release(&mut self, connection: Option<u64>) {
        for entry in &mut self.entries {
            let released = match (&entry.lock, connection) {
                (None, _) => false,
                (Some(lock), None) => matches!(lock.holder, Holder::Session(_)),
                (Some(lock), Some(connection)) => lock.holder == Holder::Session(connection),
            };
            if released {
                entry.lock = None;
            }
        }
    }

    /// Forgets which packets messages travelled in: another MQTT session begins.
    pub fn forget_packets(&mut self) {
        for entry in &mut self.entries {
            entry.packet = None;
        }
    }

    /// Puts back what was locked for too long, which counts as nothing, and takes out what
    /// nobody holds and is worthless.
    ///
    /// Source:  behaviour.md R-G27, R-G29, I-8 — that a lock keeps a message from expiring is
    /// assumed.
    pub fn expire(&mut self, now_ms: i64) -> Vec<Settled> {
        let mut settled = Vec::new();
        let mut index = 0;
        while let Some(entry) = self.entries.get_mut(index) {
            if entry
                .lock
                .as_ref()
                .is_some_and(|lock| lock.until_ms <= now_ms)
            {
                entry.lock = None;
            }
            if entry.lock.is_none() && entry.delivery.expires_ms <= now_ms {
                settled.push(self.remove(index, Fate::Expired));
            } else {
                index += 1;
            }
        }
        settled
    }

    /// Empties the queue.
    ///
    /// Source:  behaviour.md R-G30 — that what is locked goes too is assumed.
    pub fn purge(&mut self) -> Vec<Settled> {
        let entries = std::mem::take(&mut self.entries);
        let settled = entries.into_iter().map(|entry| Settled {
            message: entry.delivery.message,
            fate: Fate::Purged,
        });
        settled.collect()
    }

    /// When [`Self::expire`] has something to do next, in Unix milliseconds.
    #[must_use]
    pub fn due_ms(&self) -> Option<i64> {
        let due = self.entries.iter().map(|entry| match &entry.lock {
            Some(lock) => lock.until_ms,
            None => entry.delivery.expires_ms,
        });
        due.min()
    }

    fn next_waiting(&mut self) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.lock.is_none())
    }

    /// A number that no packet has which is not acknowledged. The queue is far shorter than the
    /// numbers are many.
    fn next_packet(&self) -> NonZeroU16 {
        let mut number = self.last_packet;
        loop {
            number = number.checked_add(1).unwrap_or(1);
            let id = NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
            if self.entries.iter().all(|entry| entry.packet != Some(id)) {
                return id;
            }
        }
    }

    fn remove(&mut self, index: usize, fate: Fate) -> Settled {
        let entry = self.entries.remove(index);
        if self.entries.is_empty() {
            // Most queues are empty most of the time.
            self.entries.shrink_to_fit();
        }
        let entry = entry.expect("the index was found under the same borrow");
        Settled {
            message: entry.delivery.message,
            fate,
        }
    }
}

/// What became of a message that was sent in an MQTT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketSettlement {
    /// The device acknowledged it, which completes it.
    Acknowledged,
    /// No MQTT packet can carry it.
    Impossible,
}

#[cfg(test)]
mod tests;
