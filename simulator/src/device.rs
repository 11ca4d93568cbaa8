//! A virtual device as a pure state machine.
//!
//! Moments, packets and the fate of connections come in through `handle_*`, the owner's wishes
//! through [`Device::wake`], [`Device::sleep`] and [`Device::store_credential`]. What the device
//! wants done leaves through [`Device::poll_output`], and when it wants to be woken through
//! [`Device::poll_timeout`]. It reads no clock, opens no stream, and draws its chances from a
//! stream of its own, so one script has one outcome.
//!
//! Every entry point ends in `steer`, which compares what the device is about
//! (its `Errand`) with what is open and starts what is missing and due.

mod attempt;
mod backoff;
mod hub;
mod patience;
mod power;
mod registration;
mod roll;
mod session;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use linarite_env::{Entropy, UnixMillis};

use crate::firmware::{Firmware, Keeps, OnBoot, Persists, PowerLoss, Trigger};
use crate::observation::{Generation, Observation};
use crate::pki::Credential;
use crate::plan::DevicePlan;
use crate::wire::Packet;

use hub::Hub;
use registration::Registration;
use store::SecureStore;

/// One of the connections a device may have open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// To DPS.
    Dps,
    /// To the hub. The two hub links take turns: a take-over opens the one not in use.
    HubA,
    /// To the hub, the other one.
    HubB,
}

/// Something a device wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a TLS connection; answered by [`Device::handle_connected`] or
    /// [`Device::handle_connect_failed`].
    Connect {
        /// Which connection.
        link: Link,
        /// Host name to dial and to expect in the certificate.
        host: Arc<str>,
        /// What to show.
        credential: Credential,
    },
    /// Write a packet and flush it before anything that follows.
    Send {
        /// On which connection.
        link: Link,
        /// What to write.
        packet: Packet,
    },
    /// Give a connection up, open or not; nothing more is heard of it.
    Close {
        /// Which connection.
        link: Link,
    },
    /// Tell the observer.
    Report(Observation),
    /// Go without power: drop every connection without a word, and call [`Device::wake`] when it
    /// is back and the device ought to be awake. It has taken note itself.
    PowerOff {
        /// For how long.
        lasts: Duration,
    },
}

/// Where a fleet's devices register.
#[derive(Clone, Debug)]
pub struct Account {
    /// Host name of DPS.
    pub dps_host: Arc<str>,
    /// Id scope of DPS.
    pub id_scope: Arc<str>,
}

/// Where a device belongs, as DPS said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    hub: Arc<str>,
    device_id: Arc<str>,
}

/// What a device is about besides its daily work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// Nothing: to be connected with the current credential is enough.
    Stay,
    /// To register, then to take over.
    Register {
        generation: Generation,
        /// Whether it goes on although the hub lets the device in meanwhile.
        commanded: bool,
    },
    /// To connect with this credential, which ends a session still open.
    TakeOver { generation: Generation },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asleep,
    Awake,
    /// Going to sleep, waiting for an acknowledgement.
    Draining {
        until: UnixMillis,
    },
}

/// A virtual device.
#[derive(Debug)]
pub struct Device {
    registration_id: Arc<str>,
    firmware: Arc<Firmware>,
    account: Arc<Account>,
    telemetry_every: Duration,
    rng: Rng,
    store: SecureStore,
    /// The credential in force; none until the first is stored.
    current: Option<Generation>,
    assignment: Option<Assignment>,
    /// Whether it has lost its hub in the moment it first wakes.
    dropped: bool,
    phase: Phase,
    errand: Errand,
    hub: Hub,
    registration: Registration,
    /// The answer to a call that the firmware puts off until it has rolled.
    unanswered: Option<Box<(String, Packet)>>,
    /// Whether power has failed as the firmware model says.
    power_failed: bool,
    outputs: VecDeque<Output>,
}

/// How long a device waits for an answer it cannot go on without (CONNACK, PUBACK, PINGRESP,
/// an answer of DPS).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long sleep or a take-over waits for the acknowledgement of a message in flight.
const DRAIN: Duration = Duration::from_secs(5);

impl Device {
    /// A device that was never awake and holds no credential; it knows its hub if it has a past.
    #[must_use]
    pub fn new(plan: &DevicePlan, account: Arc<Account>, entropy: &Entropy) -> Self {
        let past = plan.past.as_ref();
        Self {
            registration_id: Arc::clone(&plan.registration_id),
            firmware: Arc::clone(&plan.firmware),
            account,
            telemetry_every: plan.telemetry_every,
            rng: entropy.stream("device", &plan.registration_id),
            store: SecureStore::default(),
            current: None,
            assignment: past.map(|past| Assignment {
                hub: Arc::clone(&past.hub),
                device_id: Arc::clone(&past.device_id),
            }),
            dropped: past.is_some_and(|past| past.dropped),
            phase: Phase::Asleep,
            errand: Errand::Stay,
            hub: Hub::default(),
            registration: Registration::default(),
            unanswered: None,
            power_failed: false,
            outputs: VecDeque::new(),
        }
    }

    // === The owner's wishes ===

    /// Switches the device on. Nothing happens if it is on.
    pub fn wake(&mut self, now: UnixMillis) {
        match self.phase {
            Phase::Awake => return,
            Phase::Draining { .. } => self.fall_asleep(now),
            Phase::Asleep => {}
        }
        self.phase = Phase::Awake;
        self.report(Observation::Awoke);
        self.current = self.current.or(self.store.oldest());
        self.boot(now);
        self.steer(now);
    }

    /// Sends the device to sleep, once a message in flight is acknowledged or five seconds have
    /// passed. An unfinished roll is taken up again when it wakes.
    pub fn sleep(&mut self, now: UnixMillis) {
        if self.phase != Phase::Awake {
            return;
        }
        self.abandon_registration();
        self.abandon_attempt();
        self.phase = Phase::Draining {
            until: later(now, DRAIN),
        };
        self.steer(now);
    }

    /// Puts a credential into the secure store, asleep or awake. One of a generation already
    /// stored is ignored.
    pub fn store_credential(&mut self, credential: Credential, now: UnixMillis) {
        let stored = Observation::CredentialStored {
            generation: credential.generation(),
            fingerprint: credential.fingerprint(),
            not_before: credential.not_before(),
            not_after: credential.not_after(),
        };
        // A device leaves the factory with a whole bundle; what it makes of later ones is its own.
        let factory = credential.generation() == Generation(1);
        let kept = match self.firmware.keeps {
            Keeps::LeafOnly if !factory => credential.without_issuers(),
            Keeps::LeafOnly | Keeps::Chain => credential,
        };
        let saved = self.firmware.persists == Persists::WhenDelivered;
        if !self.store.insert(kept, saved) {
            return;
        }
        self.report(stored);
        if self.phase == Phase::Awake {
            if self.current.is_none() {
                self.current = self.store.oldest();
                self.boot(now);
            } else {
                self.roll_to_delivered(now);
            }
        }
        self.steer(now);
    }

    // === What the driver tells ===

    /// A connection asked for is open, TLS included.
    pub fn handle_connected(&mut self, link: Link, now: UnixMillis) {
        match link {
            Link::Dps => self.registration_connected(now),
            Link::HubA | Link::HubB => self.attempt_connected(link, now),
        }
        self.steer(now);
    }

    /// A connection asked for could not be opened.
    pub fn handle_connect_failed(&mut self, link: Link, text: String, now: UnixMillis) {
        match link {
            Link::Dps => self.registration_lost(text, now),
            Link::HubA | Link::HubB => self.attempt_lost(link, text, now),
        }
        self.steer(now);
    }

    /// A packet arrived on an open connection.
    pub fn handle_packet(&mut self, link: Link, packet: &Packet, now: UnixMillis) {
        match link {
            Link::Dps => self.registration_packet(packet, now),
            Link::HubA | Link::HubB => self.hub_packet(link, packet, now),
        }
        self.steer(now);
    }

    /// The peer ended a connection, or broke the protocol.
    pub fn handle_closed(&mut self, link: Link, now: UnixMillis) {
        const TEXT: &str = "the peer closed the connection";
        match link {
            Link::Dps => self.registration_lost(TEXT.to_owned(), now),
            Link::HubA | Link::HubB => {
                self.attempt_lost(link, TEXT.to_owned(), now);
                self.session_lost(link, now);
            }
        }
        self.steer(now);
    }

    /// The moment [`Self::poll_timeout`] gave, or a later one, has come.
    pub fn handle_timeout(&mut self, now: UnixMillis) {
        self.fire_timers(now);
        self.steer(now);
    }

    // === What the device wants ===

    /// The next thing to do. To be emptied after every call of another method.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // An idle device keeps no memory for outputs; there may be 100,000 of them.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When the device wants [`Self::handle_timeout`]; never while it is asleep.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        self.next_timer()
    }

    // === Steering ===

    /// Starts whatever is wanted, missing and due.
    fn steer(&mut self, now: UnixMillis) {
        match self.phase {
            Phase::Asleep => {}
            Phase::Draining { .. } => {
                if !self.hub.is_draining() {
                    self.fall_asleep(now);
                }
            }
            Phase::Awake => {
                if matches!(self.errand, Errand::Register { .. })
                    && self.power_fails(PowerLoss::BeforeRegistering, now)
                {
                    return;
                }
                self.steer_registration(now);
                self.steer_hub(now);
                self.steer_telemetry(now);
            }
        }
    }

    /// Decides what to do first after waking, or after the first credential arrived awake.
    fn boot(&mut self, now: UnixMillis) {
        let (Some(current), Some(newest)) = (self.current, self.newest(now)) else {
            return;
        };
        self.hub
            .reset(now, self.firmware.on_boot == OnBoot::Connect);
        self.registration.reset(now);
        if std::mem::take(&mut self.dropped) {
            let delay = self.backoff(0);
            self.hub.retry_at = later(now, delay);
        }
        if self.is_rolling() {
            return;
        }
        self.errand = Errand::Stay;
        let expired = self.store.is_expired(current, self.own_time(now));
        let rolls = match self.firmware.trigger {
            Trigger::Delivery => true,
            Trigger::Method => expired,
            Trigger::Refusal => false,
        };
        if newest > current && rolls {
            // An expired credential is not worth showing while the new one registers.
            self.hub.allow(self.hub.is_allowed() && !expired);
            self.roll(newest, now);
        } else if self.assignment.is_none() || self.firmware.on_boot == OnBoot::Register {
            self.errand = Errand::Register {
                generation: current,
                commanded: false,
            };
        }
    }

    /// What the device's own clock shows, by which it judges certificates.
    fn own_time(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_add(self.firmware.clock_skew_ms))
    }

    /// The newest credential that is any good by the device's own clock.
    fn newest(&self, now: UnixMillis) -> Option<Generation> {
        self.store.newest_begun(self.own_time(now)).or(self.current)
    }

    /// How the device behaves.
    #[must_use]
    pub fn firmware(&self) -> &Arc<Firmware> {
        &self.firmware
    }

    fn fall_asleep(&mut self, now: UnixMillis) {
        self.close_session(now, true);
        self.phase = Phase::Asleep;
        self.report(Observation::FellAsleep);
    }

    fn report(&mut self, observation: Observation) {
        self.outputs.push_back(Output::Report(observation));
    }

    fn close(&mut self, link: Link) {
        self.outputs.push_back(Output::Close { link });
    }

    /// A delay before attempt number `attempt` (from 0) of something that failed.
    fn backoff(&mut self, attempt: u16) -> Duration {
        backoff::delay(&mut self.rng, &self.firmware, attempt)
    }
}

/// The moment `span` after `now`.
fn later(now: UnixMillis, span: Duration) -> UnixMillis {
    UnixMillis(
        now.0
            .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
    )
}
