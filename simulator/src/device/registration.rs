//! A device's conversation with DPS.
//!
//! CONNECT, SUBSCRIBE, register, poll as often and as late as DPS says, DISCONNECT. Throttling
//! is waited out on the open connection if that is short; everything else that goes wrong ends
//! the conversation, and another one begins after a back-off.

use std::sync::Arc;
use std::time::Duration;

use linarite_env::UnixMillis;

use super::{ANSWER_TIMEOUT, Assignment, Device, Errand, Link, Output, later};
use crate::firmware::{Persists, PowerLoss, RegistersAs};
use crate::observation::{Generation, Observation};
use crate::wire::dps::{self, Answer, Meaning};
use crate::wire::{self, ConnectReturnCode, Packet};

/// The longest wait with an open connection; for a longer one it is closed.
const WAIT_CONNECTED: Duration = Duration::from_secs(60);

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Dialling,
    Connack,
    Suback,
    Answer,
    Pause,
}

#[derive(Debug)]
pub(super) struct Registration {
    step: Step,
    generation: Generation,
    /// Number of the latest request.
    request: u16,
    /// What to poll for, once DPS has accepted the registration.
    operation: Option<Box<str>>,
    /// When waiting for an answer, or for the next request, is over.
    until: UnixMillis,
    /// Not before this moment another conversation begins.
    pub(super) retry_at: UnixMillis,
    failures: u16,
    throttles: u16,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            step: Step::Idle,
            generation: Generation(0),
            request: 0,
            operation: None,
            until: UnixMillis::default(),
            retry_at: UnixMillis::default(),
            failures: 0,
            throttles: 0,
        }
    }
}

impl Registration {
    /// Forgets past failures: the next conversation may begin at once.
    pub(super) fn reset(&mut self, now: UnixMillis) {
        self.retry_at = now;
        self.failures = 0;
        self.throttles = 0;
    }

    fn next_request(&mut self) -> u16 {
        self.request = self.request.checked_add(1).unwrap_or(1);
        self.request
    }
}

impl Device {
    pub(super) fn steer_registration(&mut self, now: UnixMillis) {
        let Errand::Register { generation, .. } = self.errand else {
            return;
        };
        if self.registration.step != Step::Idle || self.registration.retry_at > now {
            return;
        }
        let Some(credential) = self.store.get(generation).cloned() else {
            return;
        };
        self.registration.step = Step::Dialling;
        self.registration.generation = generation;
        self.registration.operation = None;
        self.report(Observation::RegistrationStarted { generation });
        let host = Arc::clone(&self.account.dps_host);
        self.outputs.push_back(Output::Connect {
            link: Link::Dps,
            host,
            credential,
        });
    }

    pub(super) fn registration_deadline(&self) -> Option<UnixMillis> {
        match (self.registration.step, self.errand) {
            (Step::Idle, Errand::Register { .. }) => Some(self.registration.retry_at),
            (Step::Idle, _) | (Step::Dialling, _) => None,
            (Step::Connack | Step::Suback | Step::Answer | Step::Pause, _) => {
                Some(self.registration.until)
            }
        }
    }

    pub(super) fn registration_timeout(&mut self, now: UnixMillis) {
        match self.registration.step {
            Step::Idle | Step::Dialling => {}
            Step::Connack | Step::Suback | Step::Answer => {
                self.registration_lost("DPS did not answer within 60 s".to_owned(), now);
            }
            Step::Pause => {
                if self.registration.operation.is_none() {
                    let generation = self.registration.generation;
                    self.report(Observation::RegistrationStarted { generation });
                }
                self.request_registration(now);
            }
        }
    }

    pub(super) fn registration_connected(&mut self, now: UnixMillis) {
        if self.registration.step != Step::Dialling {
            return;
        }
        let (scope, version) = (&self.account.id_scope, &self.firmware.dps_api_version);
        let packet = dps::connect_packet_by(version, scope, &self.shown_id());
        self.send_dps(packet, Step::Connack, now);
    }

    /// Ends a conversation that broke off.
    pub(super) fn registration_lost(&mut self, text: String, now: UnixMillis) {
        if self.registration.step != Step::Idle {
            self.registration_failed(0, 0, text, now);
        }
    }

    pub(super) fn registration_packet(&mut self, packet: &Packet, now: UnixMillis) {
        match (packet, self.registration.step) {
            (Packet::ConnAck(connack), Step::Connack) => match connack.code {
                ConnectReturnCode::Success => {
                    let packet = dps::subscribe_packet(self.registration.next_request());
                    self.send_dps(packet, Step::Suback, now);
                }
                code => self.registration_door_closed(code, now),
            },
            (Packet::SubAck(_), Step::Suback) => self.request_registration(now),
            (Packet::Publish(publish), step) => {
                if let Some(packet) = wire::acknowledgement(publish) {
                    self.outputs.push_back(Output::Send {
                        link: Link::Dps,
                        packet,
                    });
                }
                let answer = Answer::read(&publish.topic, &publish.payload)
                    .filter(|answer| answer.request == self.registration.request);
                if let (Some(answer), Step::Answer) = (answer, step) {
                    self.registration_answered(answer, now);
                }
            }
            _ => {}
        }
    }

    /// Gives the conversation up without a word.
    pub(super) fn abandon_registration(&mut self) {
        if self.registration.step != Step::Idle {
            self.registration.step = Step::Idle;
            self.registration.operation = None;
            self.close(Link::Dps);
        }
    }

    /// Whether DPS has accepted the registration and is carrying it out.
    pub(crate) fn is_accepted(&self) -> bool {
        self.registration.operation.is_some()
    }

    /// How long the device waits until it polls again, if that is what it does and each poll that
    /// is told "assigning" is followed by the same wait.
    pub(crate) fn polls_every(&self, now: UnixMillis) -> Option<Duration> {
        let registration = &self.registration;
        let waits = registration.step == Step::Pause && registration.throttles == 0;
        let left = u64::try_from(registration.until.since(now)).ok()?;
        (waits && self.is_accepted() && left > 0).then(|| Duration::from_millis(left))
    }

    /// Takes so many polls, one `every` so often, for made and told "assigning".
    pub(crate) fn pass_over_polls(&mut self, polls: u32, every: Duration) {
        let registration = &mut self.registration;
        registration.until = later(registration.until, every.saturating_mul(polls));
        // Numbers of requests go from 1 to the largest and round again.
        let numbers = u32::from(u16::MAX);
        let number = u32::from(registration.request).saturating_sub(1);
        let number = (number + polls % numbers) % numbers + 1;
        registration.request = u16::try_from(number).unwrap_or(1);
    }

    fn request_registration(&mut self, now: UnixMillis) {
        let request = self.registration.next_request();
        let packet = match &self.registration.operation {
            Some(operation) => dps::poll_packet(operation, request),
            None => dps::register_packet(&self.shown_id(), request),
        };
        self.send_dps(packet, Step::Answer, now);
    }

    /// The id to register under: usually the common name of the certificate that is shown (R-A4).
    fn shown_id(&self) -> Arc<str> {
        let shown = match self.firmware.registers_as {
            RegistersAs::CommonName => self.store.get(self.registration.generation),
            RegistersAs::Device => None,
        };
        shown.map_or_else(
            || Arc::clone(&self.registration_id),
            |credential| credential.common_name().into(),
        )
    }

    fn send_dps(&mut self, packet: Packet, step: Step, now: UnixMillis) {
        self.outputs.push_back(Output::Send {
            link: Link::Dps,
            packet,
        });
        self.registration.step = step;
        self.registration.until = later(now, ANSWER_TIMEOUT);
    }

    fn registration_answered(&mut self, answer: Answer, now: UnixMillis) {
        let said = answer
            .retry_after
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        let transient = answer.is_transient();
        match answer.meaning {
            Meaning::Assigned { hub, device_id } => self.assigned(hub, device_id, now),
            Meaning::Assigning { operation } => {
                self.registration.operation = Some(operation.into());
                self.registration.throttles = 0;
                self.pause_registration(self.poll_delay(said), now);
            }
            Meaning::Refused { code, text } if transient => {
                self.registration_throttled(answer.status, code, text, said, now);
            }
            Meaning::Refused { code, text } => {
                self.registration_failed(answer.status, code, text, now);
                if (400..500).contains(&answer.status) {
                    self.try_other_credential(now);
                }
            }
        }
    }

    /// Waits as long as DPS says, or a random time; a throttled poll is no news to anybody.
    fn registration_throttled(
        &mut self,
        status: u16,
        code: u32,
        text: String,
        said: Option<Duration>,
        now: UnixMillis,
    ) {
        let generation = self.registration.generation;
        if self.registration.operation.is_none() {
            self.report(Observation::RegistrationFailed {
                generation,
                status,
                code,
                text,
            });
        }
        let attempt = self.registration.throttles;
        self.registration.throttles = attempt.saturating_add(1);
        let delay = self.throttle_delay(said, attempt);
        self.pause_registration(delay, now);
    }

    fn pause_registration(&mut self, delay: Duration, now: UnixMillis) {
        if delay > WAIT_CONNECTED {
            self.abandon_registration();
            self.registration.retry_at = later(now, delay);
        } else {
            self.registration.step = Step::Pause;
            self.registration.until = later(now, delay);
        }
    }

    /// DPS refused the connection itself.
    fn registration_door_closed(&mut self, code: ConnectReturnCode, now: UnixMillis) {
        self.registration_failed(0, 0, wire::connack_text(code).to_owned(), now);
        if wire::is_unauthorized(code) {
            self.try_other_credential(now);
        }
    }

    fn registration_failed(&mut self, status: u16, code: u32, text: String, now: UnixMillis) {
        let generation = self.registration.generation;
        self.report(Observation::RegistrationFailed {
            generation,
            status,
            code,
            text,
        });
        self.abandon_registration();
        let delay = self.backoff(self.registration.failures);
        self.registration.failures = self.registration.failures.saturating_add(1);
        self.registration.retry_at = later(now, delay);
    }

    /// Changes the credential for the next registration where DPS will not have this one and
    /// the hub has nothing left for the device to lose.
    fn try_other_credential(&mut self, now: UnixMillis) {
        let tried = self.registration.generation;
        let stuck =
            self.hub.open.is_none() && (!self.hub.is_allowed() || self.assignment.is_none());
        let newest = self.newest(now);
        let other = if newest == Some(tried) {
            self.current
        } else {
            newest
        };
        if let (true, Some(generation)) = (stuck, other) {
            self.errand = Errand::Register {
                generation,
                commanded: true,
            };
        }
    }

    fn assigned(&mut self, hub: String, device_id: String, now: UnixMillis) {
        let generation = self.registration.generation;
        self.report(Observation::RegistrationSucceeded {
            generation,
            hub: hub.clone(),
            device_id: device_id.clone(),
        });
        if self.power_fails(PowerLoss::AfterRegistering, now) {
            return;
        }
        if self.firmware.persists == Persists::WhenAssigned {
            self.store.save(generation);
        }
        self.outputs.push_back(Output::Send {
            link: Link::Dps,
            packet: Packet::Disconnect,
        });
        self.abandon_registration();
        self.registration.reset(now);
        let assignment = Assignment {
            hub: hub.into(),
            device_id: device_id.into(),
        };
        let moved = self.assignment.as_ref() != Some(&assignment);
        self.assignment = Some(assignment);
        self.hub.allow(true);
        self.hub.retry_at = now;
        self.abandon_attempt();
        let connected = self
            .hub
            .open
            .as_ref()
            .is_some_and(|open| open.generation == generation);
        self.errand = match connected && !moved {
            true => Errand::Stay,
            false => Errand::TakeOver { generation },
        };
    }
}
