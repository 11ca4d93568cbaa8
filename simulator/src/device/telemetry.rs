//! Telemetry: one message in flight, offered once, resent until it is acknowledged.

use linarite_env::UnixMillis;

use super::hub::InFlight;
use super::{ANSWER_TIMEOUT, Device, Errand, Phase, later};
use crate::observation::Observation;
use crate::wire::hub;

impl Device {
    /// When the next message is due; none while one is in flight or a take-over is under way.
    pub(super) fn telemetry_due(&self) -> Option<UnixMillis> {
        let session = self.hub.open.as_ref()?;
        let taking_over =
            matches!(self.errand, Errand::TakeOver { .. }) && self.hub.attempt.is_some();
        let held = taking_over || self.hub.in_flight.is_some() || self.telemetry_every.is_zero();
        (!held && self.phase == Phase::Awake).then_some(session.telemetry_at)
    }

    pub(super) fn steer_telemetry(&mut self, now: UnixMillis) {
        if self.telemetry_due().is_none_or(|at| at > now) {
            return;
        }
        let sequence = self.hub.next_sequence;
        self.hub.next_sequence = sequence.wrapping_add(1);
        self.report(Observation::MessageOffered { sequence });
        self.send_telemetry(sequence, false, now);
        if let Some(session) = &mut self.hub.open {
            session.telemetry_at = later(now, self.telemetry_every);
        }
    }

    /// Sends the message again that the last session left unacknowledged.
    pub(super) fn resend(&mut self, now: UnixMillis) {
        if let Some(sequence) = self.hub.in_flight.as_ref().map(|it| it.sequence) {
            self.send_telemetry(sequence, true, now);
        }
    }

    fn send_telemetry(&mut self, sequence: u32, dup: bool, now: UnixMillis) {
        let Some(assignment) = &self.assignment else {
            return;
        };
        let packet = hub::telemetry_packet(&assignment.device_id, sequence, dup);
        self.hub.in_flight = Some(InFlight {
            sequence,
            ack_by: later(now, ANSWER_TIMEOUT),
        });
        self.send_hub(packet, now);
    }

    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        let sequence = self.hub.in_flight.as_ref().map(|it| it.sequence);
        if let Some(sequence) = sequence.filter(|it| hub::packet_id(*it) == packet_id) {
            self.hub.in_flight = None;
            self.report(Observation::MessageAcknowledged { sequence });
        }
    }
}
