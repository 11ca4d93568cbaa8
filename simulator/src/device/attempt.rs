//! A device on its way to its hub: when it tries, what it makes of a refusal.

use std::sync::Arc;

use linarite_env::UnixMillis;

use super::hub::Attempt;
use super::{ANSWER_TIMEOUT, DRAIN, Device, Errand, Link, Output, later};
use crate::firmware::{OnUnauthorized, Trigger};
use crate::observation::{Generation, Observation};
use crate::wire::{self, ConnAck, ConnectReturnCode, hub};

/// After so many failures to reach the hub in a row a device asks DPS (R-C11).
const FAILURES_BEFORE_DPS: u16 = 10;

impl Device {
    /// When the next attempt is due; none if none is wanted.
    ///
    /// A take-over lets a message in flight land first, but not for ever.
    pub(super) fn reconnect_at(&self) -> Option<UnixMillis> {
        self.wanted()?;
        match self.hub.is_draining() {
            true => Some(later(self.hub.retry_at, DRAIN)),
            false => Some(self.hub.retry_at),
        }
    }

    fn wanted(&self) -> Option<Generation> {
        if self.hub.attempt.is_some() || self.assignment.is_none() {
            return None;
        }
        match self.errand {
            Errand::TakeOver { generation } => Some(generation),
            Errand::Stay | Errand::Register { .. } => self
                .current
                .filter(|_| self.hub.open.is_none() && self.hub.is_allowed()),
        }
    }

    pub(super) fn steer_hub(&mut self, now: UnixMillis) {
        if self.reconnect_at().is_none_or(|at| at > now) {
            return;
        }
        let (Some(generation), Some(assignment)) = (self.wanted(), &self.assignment) else {
            return;
        };
        let Some(credential) = self.store.get(generation).cloned() else {
            return;
        };
        let link = if self.hub.is_open(Link::HubA) {
            Link::HubB
        } else {
            Link::HubA
        };
        let host = Arc::clone(&assignment.hub);
        self.hub.attempt = Some(Attempt {
            link,
            generation,
            connack_by: None,
        });
        self.outputs.push_back(Output::Connect {
            link,
            host,
            credential,
        });
    }

    pub(super) fn attempt_connected(&mut self, link: Link, now: UnixMillis) {
        let Some(attempt) = self.hub.attempt.as_mut().filter(|it| it.link == link) else {
            return;
        };
        let Some(assignment) = &self.assignment else {
            return;
        };
        attempt.connack_by = Some(later(now, ANSWER_TIMEOUT));
        let keep_alive = u16::try_from(self.firmware.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let packet = hub::connect_packet(&assignment.hub, &assignment.device_id, keep_alive);
        self.outputs.push_back(Output::Send { link, packet });
    }

    /// The attempt on `link`, if there is one, ended without an answer.
    pub(super) fn attempt_lost(&mut self, link: Link, text: String, now: UnixMillis) {
        if self.hub.is_attempt(link) {
            self.attempt_failed(None, text, now);
        }
    }

    pub(super) fn attempt_timed_out(&mut self, now: UnixMillis) {
        self.attempt_failed(
            None,
            "the hub did not answer CONNECT within 60 s".to_owned(),
            now,
        );
    }

    /// Gives an attempt up without counting it.
    pub(super) fn abandon_attempt(&mut self) {
        if let Some(attempt) = self.hub.attempt.take() {
            self.close(attempt.link);
        }
        self.settle_orphan();
    }

    /// Reports the end of a session whose successor was not accepted.
    pub(super) fn settle_orphan(&mut self) {
        if self.hub.orphaned_until.take().is_some() {
            self.report(Observation::SessionClosed { planned: false });
        }
    }

    pub(super) fn attempt_answered(&mut self, connack: &ConnAck, now: UnixMillis) {
        match connack.code {
            ConnectReturnCode::Success => self.session_opened(now),
            code => {
                let text = wire::connack_text(code).to_owned();
                self.attempt_failed(Some(code), text, now);
            }
        }
    }

    fn attempt_failed(&mut self, code: Option<ConnectReturnCode>, text: String, now: UnixMillis) {
        let Some(generation) = self.hub.attempt.as_ref().map(|attempt| attempt.generation) else {
            return;
        };
        let connack = code.map_or(0, wire::connack_number);
        self.report(Observation::ConnectRefused {
            generation,
            connack,
            text,
        });
        self.abandon_attempt();
        if code.is_some_and(wire::is_unauthorized) {
            self.unauthorized(generation, now);
        } else {
            self.unreachable(generation, now);
        }
    }

    /// What to register with after the hub would not take `generation`.
    fn registers_with(&self, generation: Generation, now: UnixMillis) -> Generation {
        match self.firmware.trigger {
            Trigger::Refusal => self.newest(now).unwrap_or(generation).max(generation),
            Trigger::Method | Trigger::Delivery => generation,
        }
    }

    fn unreachable(&mut self, generation: Generation, now: UnixMillis) {
        let delay = self.backoff(self.hub.failures);
        self.hub.retry_at = later(now, delay);
        self.hub.failures = self.hub.failures.saturating_add(1);
        let registers = matches!(self.errand, Errand::Register { .. });
        if self.hub.failures.is_multiple_of(FAILURES_BEFORE_DPS) && !registers {
            let generation = self.registers_with(generation, now);
            let commanded = Some(generation) != self.current;
            self.registration.reset(now);
            self.errand = Errand::Register {
                generation,
                commanded,
            };
        }
    }

    fn unauthorized(&mut self, generation: Generation, now: UnixMillis) {
        let delay = self.backoff(self.hub.refusals);
        let first = self.hub.refusals == 0;
        self.hub.refusals = self.hub.refusals.saturating_add(1);
        self.hub.retry_at = later(now, delay);
        if self.firmware.on_unauthorized == OnUnauthorized::Retry {
            return;
        }
        if Some(generation) == self.current {
            self.hub.allow(false);
        }
        if matches!(self.errand, Errand::Register { .. }) {
            return;
        }
        let generation = self.registers_with(generation, now);
        let commanded = Some(generation) != self.current;
        self.errand = Errand::Register {
            generation,
            commanded,
        };
        self.registration.reset(now);
        if !first {
            // Registered and refused again: DPS is not to be asked in a tight circle.
            self.registration.retry_at = later(now, delay);
        }
    }
}
