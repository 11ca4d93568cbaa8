//! Messages for devices, whatever transports they come and go by (R-G27 to R-G31).
//!
//! The rules are `core::hub::c2d`. Whatever happens to a queue happens under its device's lock,
//! and what that brings (feedback, an event, a nudge for the session, another moment to wait
//! for) is seen to before the lock is given back.

use std::num::NonZeroU16;

use linarite_core::hub::c2d::feedback::Record;
use linarite_core::hub::c2d::message::{CloudMessage, TooLarge};
use linarite_core::hub::c2d::queue::{
    Delivery, LockLost, Packet, PacketSettlement, Queue, Settled, Settlement, Terms,
};
use linarite_core::hub::identity::DeviceStatus;
use linarite_core::id::IdentityId;
use linarite_env::event::ConnectionId;
use linarite_env::{Event, UnixMillis};

use super::alarm::Subject;
use super::hub::Hub;
use super::mailbox::Command;
use crate::error::ServiceError;
use crate::mqtt::topic::HubFilter;
use crate::store::devices::Registered;

/// A message on its way in an MQTT packet, or in one that nobody acknowledges.
pub(crate) struct Sent {
    pub(crate) delivery: Delivery,
    pub(crate) packet: Option<Packet>,
}

/// A message that a device locked.
pub(crate) struct Locked {
    pub(crate) token: String,
    pub(crate) delivery: Delivery,
}

impl Hub {
    /// Queues a message for a device or module.
    ///
    /// # Errors
    /// 404001 if it is unknown or disabled (R-G4), 403004 if 50 messages are waiting (R-G27).
    pub(crate) fn send_to_device(
        &self,
        id: &IdentityId,
        message: CloudMessage,
    ) -> Result<(), ServiceError> {
        let message_id = message.id().map(Into::into);
        let pushed = self.devices.change_of(id, |held, device| {
            if device.unwrap_or(&held.identity).status == DeviceStatus::Disabled {
                return Err(ServiceError::identity_not_found(id));
            }
            let pushed = self.tend(held, |queue, terms, now| {
                let expired = queue.expire(now.0);
                (queue.push(message, terms, now.0), expired)
            });
            pushed.map_err(|full| {
                let text = format!("Device queue depth cannot exceed the maximum: {full}.");
                let name = "DeviceMaximumQueueDepthExceeded";
                ServiceError::new(403_004, name, "R-G27", text)
            })?;
            self.env.events.emit(Event::MessageQueued {
                hub: self.name(),
                device_id: id.text(),
                message_id,
            });
            // One that came too late is told as such, after it was told as queued.
            self.tend(held, |queue, _, now| ((), queue.expire(now.0)));
            self.nudge(held);
            Ok(())
        });
        pushed.unwrap_or_else(|| Err(ServiceError::identity_not_found(id)))
    }

    /// The next message for the session of `connection`, locked for it; at QoS 0, where nobody
    /// acknowledges, completed. `None` once the session is no longer that of the device.
    pub(crate) fn next_message(
        &self,
        id: &IdentityId,
        connection: ConnectionId,
        acknowledged: bool,
    ) -> Option<Sent> {
        let sent = self.devices.change(id, |held| {
            let live = held.live.as_ref()?;
            if live.connection != connection || held.inbox.is_none() {
                return None;
            }
            self.tend(held, |queue, _, now| {
                let mut settled = queue.expire(now.0);
                let sent = if acknowledged {
                    let sent = queue.deliver(connection.0, now.0);
                    sent.map(|(delivery, packet)| (delivery, Some(packet)))
                } else {
                    queue.take().map(|(delivery, completed)| {
                        settled.push(completed);
                        (delivery, None)
                    })
                };
                let sent = sent.map(|(delivery, packet)| Sent { delivery, packet });
                (sent, settled)
            })
        });
        sent.flatten()
    }

    /// Settles what `connection` was sent in packet `packet_id`, if it still holds it.
    pub(crate) fn settle_packet(
        &self,
        id: &IdentityId,
        connection: ConnectionId,
        packet_id: NonZeroU16,
        settlement: PacketSettlement,
    ) {
        self.devices.change(id, |held| {
            if held.inbox.is_none() {
                return;
            }
            let now = self.env.clock.now_ms();
            held.last_activity = Some(now);
            self.tend(held, |queue, _, _| {
                ((), queue.acknowledge(connection.0, packet_id, settlement))
            });
        });
    }

    /// Takes the next message for a device that asks for it, and locks it for so long.
    ///
    /// # Errors
    /// If the device is gone.
    pub(crate) fn receive(
        &self,
        id: &IdentityId,
        lock_seconds: u32,
    ) -> Result<Option<Locked>, ServiceError> {
        let token = self.names.lock_token();
        let delivery = self.devices.change(id, |held| {
            held.last_activity = Some(self.env.clock.now_ms());
            held.inbox.as_ref()?;
            let delivery = self.tend(held, |queue, _, now| {
                let settled = queue.expire(now.0);
                (queue.lock(&token, lock_seconds, now.0), settled)
            });
            // Others may have come back into the queue by that.
            self.nudge(held);
            delivery
        });
        let delivery = delivery.ok_or_else(|| ServiceError::identity_not_found(id))?;
        Ok(delivery.map(|delivery| Locked { token, delivery }))
    }

    /// Settles what a device locked under `token`.
    ///
    /// # Errors
    /// 412002 if the lock is not held any more.
    pub(crate) fn settle(
        &self,
        id: &IdentityId,
        token: &str,
        settlement: Settlement,
    ) -> Result<(), ServiceError> {
        let settled = self.devices.change(id, |held| {
            held.inbox.as_ref().ok_or(LockLost)?;
            self.tend(held, |queue, terms, now| {
                let mut ended = queue.expire(now.0);
                let settled = queue.settle(token, settlement, terms).map(|settled| {
                    ended.extend(settled);
                });
                (settled, ended)
            })?;
            self.nudge(held);
            Ok(())
        });
        match settled {
            None => Err(ServiceError::identity_not_found(id)),
            Some(settled) => settled.map_err(|LockLost| lock_lost()),
        }
    }

    /// Empties the queue of a device or module; gives how many messages that were.
    ///
    /// # Errors
    /// 404001 if it is unknown.
    pub(crate) fn purge(&self, id: &IdentityId) -> Result<usize, ServiceError> {
        let purged = self.devices.change(id, |held| {
            if held.inbox.is_none() {
                return 0;
            }
            self.tend(held, |queue, _, now| {
                let mut settled = queue.expire(now.0);
                let purged = queue.purge();
                let count = purged.len();
                settled.extend(purged);
                (count, settled)
            })
        });
        purged.ok_or_else(|| ServiceError::identity_not_found(id))
    }

    /// Hands what an earlier session left behind to the one that opened (W12). One that wants
    /// nothing of an earlier session does not know its packets.
    pub(super) fn hand_over_messages(&self, held: &mut Registered, resumed: bool) {
        if held.inbox.is_none() {
            return;
        }
        self.tend(held, |queue, _, _| {
            queue.release(None);
            if !resumed {
                queue.forget_packets();
            }
            ((), None)
        });
        self.nudge(held);
    }

    /// Puts back what a connection that ended had not acknowledged.
    pub(super) fn release_messages(&self, held: &mut Registered, connection: ConnectionId) {
        if held.inbox.is_some() {
            self.tend(held, |queue, _, _| {
                queue.release(Some(connection.0));
                ((), None)
            });
        }
    }

    /// Forgets what was for an identity that is gone, and what its senders have not heard yet
    /// (R-G31).
    pub(super) fn forget_messages(&self, held: &Registered) {
        let id = &held.identity.id;
        if let Some(inbox) = &held.inbox {
            let subject = Subject::Queue(id.clone());
            self.alarm.set(&self.this, subject, inbox.due, None);
        }
        self.forget_feedback(id);
    }

    /// Tells the session that something waits for it, if it asked for that.
    pub(super) fn nudge(&self, held: &Registered) {
        let waiting = held
            .inbox
            .as_ref()
            .is_some_and(|inbox| inbox.queue.has_waiting());
        let live = held.live.as_ref();
        let listener = live.filter(|live| live.subscriptions.has(HubFilter::CloudToDevice));
        if let (true, Some(live)) = (waiting, listener) {
            // A nudge always fits into a mailbox.
            let _ = live.mailbox.put(Command::Deliver);
        }
    }

    /// Does what time brings to a queue.
    pub(super) fn look_at_queue(&self, id: &IdentityId) {
        self.devices.change(id, |held| {
            let Some(inbox) = &mut held.inbox else { return };
            // The alarm that rang is out of the way.
            inbox.due = None;
            self.tend(held, |queue, _, now| ((), queue.expire(now.0)));
            self.nudge(held);
        });
    }

    /// Works on the queue of `held` and sees to what that brings.
    fn tend<T, S>(
        &self,
        held: &mut Registered,
        work: impl FnOnce(&mut Queue, &Terms, UnixMillis) -> (T, S),
    ) -> T
    where
        S: IntoIterator<Item = Settled>,
    {
        let now = self.env.clock.now_ms();
        let inbox = held.inbox.get_or_insert_default();
        let (result, settled) = work(&mut inbox.queue, &self.c2d.terms(), now);
        let due = inbox.queue.due_ms().map(UnixMillis);
        let before = std::mem::replace(&mut inbox.due, due);
        let id = &held.identity.id;
        self.alarm
            .set(&self.this, Subject::Queue(id.clone()), before, due);
        for Settled { message, fate } in settled {
            if message.ack().covers(fate) {
                self.note_feedback(Record {
                    message_id: message.id().map(Into::into),
                    target: id.clone(),
                    generation_id: held.identity.generation_id.as_str().into(),
                    fate,
                    at_ms: now.0,
                });
            }
            self.env.events.emit(Event::MessageSettled {
                hub: self.name(),
                device_id: id.text(),
                message_id: message.id().map(Into::into),
                fate: fate.name(),
            });
        }
        result
    }
}

/// What somebody hears who settles what is not locked for them any more.
pub(super) fn lock_lost() -> ServiceError {
    let text = "The lock is not held any more; the message may have been given to others.";
    ServiceError::new(412_002, "DeviceMessageLockLost", "R-G28", text)
}

impl From<TooLarge> for ServiceError {
    fn from(error: TooLarge) -> Self {
        Self::new(413_001, "MessageTooLarge", "R-G27", error.to_string())
    }
}
