//! A device at its hub: opening, losing and leaving a session, pings, direct methods.

use std::time::Duration;

use linarite_env::UnixMillis;

use super::hub::{Attempt, Session};
use super::{ANSWER_TIMEOUT, Device, Errand, Link, Output, later};
use crate::firmware::{Answers, PowerLoss};
use crate::observation::{Generation, Observation};
use crate::wire::hub::{self, MethodCall};
use crate::wire::{self, Packet, Publish};

/// How long the end of a session that is being taken over stays unreported, because the
/// acceptance of its successor may be on its way on the other stream.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// The direct method that makes a device roll.
const REPROVISION: &str = "reprovision";

impl Device {
    pub(super) fn session_opened(&mut self, now: UnixMillis) {
        let Some(Attempt {
            link, generation, ..
        }) = self.hub.attempt.take()
        else {
            return;
        };
        let session = Session {
            link,
            generation,
            last_sent: now,
            pong_by: None,
            telemetry_at: now,
        };
        let old = self.hub.open.replace(session);
        self.hub.orphaned_until = None;
        self.hub.reset(now, true);
        self.report(Observation::SessionOpened { generation });
        if let Some(old) = old {
            // The hub ends it, too; a hub the device moved away from perhaps only later.
            self.close(old.link);
        }
        self.send_hub(hub::subscribe_packet(), now);
        self.resend(now);
        self.errand_done(generation, now);
    }

    fn errand_done(&mut self, generation: Generation, now: UnixMillis) {
        match self.errand {
            Errand::TakeOver { .. } => {
                if self.power_fails(PowerLoss::AfterConnecting, now) {
                    return;
                }
                self.errand = Errand::Stay;
                self.adopt(generation);
                if let Some(unanswered) = self.unanswered.take() {
                    let (method, answer) = *unanswered;
                    self.answer(method, 200, answer, now);
                }
            }
            Errand::Register {
                generation: wanted,
                commanded: false,
            } if wanted == generation => {
                self.abandon_registration();
                self.errand = Errand::Stay;
            }
            Errand::Stay | Errand::Register { .. } => {}
        }
        if !self.is_rolling() {
            self.roll_to_delivered(now);
        }
    }

    /// The session on `link`, if there is one, was ended by the peer.
    pub(super) fn session_lost(&mut self, link: Link, now: UnixMillis) {
        if !self.hub.is_open(link) {
            return;
        }
        self.hub.open = None;
        let awaited = self
            .hub
            .attempt
            .as_ref()
            .is_some_and(|it| it.connack_by.is_some());
        if awaited {
            self.hub.orphaned_until = Some(later(now, ORPHAN_GRACE));
        } else {
            self.report(Observation::SessionClosed { planned: false });
        }
        if !matches!(self.errand, Errand::TakeOver { .. }) {
            let delay = self.backoff(0);
            self.hub.retry_at = later(now, delay);
        }
    }

    /// The hub left a message or a ping unanswered: the connection is dead.
    pub(super) fn session_timed_out(&mut self, now: UnixMillis) {
        if let Some(link) = self.hub.open.as_ref().map(|open| open.link) {
            self.close(link);
            self.session_lost(link, now);
        }
    }

    /// Ends the open session from this side.
    pub(super) fn close_session(&mut self, now: UnixMillis, planned: bool) {
        if let Some(link) = self.hub.open.as_ref().map(|open| open.link) {
            self.send_hub(Packet::Disconnect, now);
            self.close(link);
            self.hub.open = None;
            self.report(Observation::SessionClosed { planned });
        }
    }

    pub(super) fn hub_packet(&mut self, link: Link, packet: &Packet, now: UnixMillis) {
        if let (Packet::ConnAck(connack), true) = (packet, self.hub.is_attempt(link)) {
            self.attempt_answered(connack, now);
            return;
        }
        let Some(session) = self.hub.open.as_mut().filter(|open| open.link == link) else {
            return;
        };
        match packet {
            Packet::PingResp => session.pong_by = None,
            Packet::PubAck(ack) => self.acknowledged(ack.pkid),
            Packet::Publish(publish) => self.hub_message(publish, now),
            _ => {}
        }
    }

    pub(super) fn ping(&mut self, now: UnixMillis) {
        self.send_hub(Packet::PingReq, now);
        if let Some(session) = &mut self.hub.open {
            session.pong_by = Some(later(now, ANSWER_TIMEOUT));
        }
    }

    fn hub_message(&mut self, publish: &Publish, now: UnixMillis) {
        if let Some(packet) = wire::acknowledgement(publish) {
            self.send_hub(packet, now);
        }
        let Some(call) = MethodCall::read(&publish.topic) else {
            return;
        };
        let known = call.name == REPROVISION;
        let status = if known { 200 } else { 404 };
        let answer = call.answer(status);
        if known && self.firmware.answers == Answers::AfterTheRoll {
            self.unanswered = Some(Box::new((call.name.to_owned(), answer)));
        } else {
            // The answer goes first: the take-over would cut it off (R-G26).
            self.answer(call.name.to_owned(), status, answer, now);
        }
        if known {
            self.reprovision(now);
        }
    }

    fn answer(&mut self, method: String, status: u16, packet: Packet, now: UnixMillis) {
        self.send_hub(packet, now);
        self.report(Observation::MethodAnswered { method, status });
    }

    pub(super) fn send_hub(&mut self, packet: Packet, now: UnixMillis) {
        if let Some(session) = &mut self.hub.open {
            session.last_sent = now;
            self.outputs.push_back(Output::Send {
                link: session.link,
                packet,
            });
        }
    }
}
