//! What a device knows of its hub connections.

use linarite_env::UnixMillis;

use super::Link;
use crate::observation::Generation;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: Link,
    pub(super) generation: Generation,
    pub(super) last_sent: UnixMillis,
    pub(super) pong_by: Option<UnixMillis>,
    pub(super) telemetry_at: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) link: Link,
    pub(super) generation: Generation,
    /// Set once the CONNECT is sent.
    pub(super) connack_by: Option<UnixMillis>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) sequence: u32,
    pub(super) ack_by: UnixMillis,
}

#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) open: Option<Session>,
    pub(super) attempt: Option<Attempt>,
    /// Set while a session's end is unreported.
    pub(super) orphaned_until: Option<UnixMillis>,
    /// Not before this moment another attempt begins.
    pub(super) retry_at: UnixMillis,
    /// Whether the current credential is worth showing before DPS has spoken.
    allowed: bool,
    /// Attempts in a row that failed for want of an answer or of a service.
    pub(super) failures: u16,
    /// Attempts in a row that the hub refused as unauthorized.
    pub(super) refusals: u16,
    pub(super) next_sequence: u32,
    /// The telemetry message that waits for its acknowledgement, over all sessions.
    pub(super) in_flight: Option<InFlight>,
}

impl Hub {
    /// Forgets past failures: the next attempt may begin at once.
    pub(super) fn reset(&mut self, now: UnixMillis, allowed: bool) {
        self.retry_at = now;
        self.allowed = allowed;
        self.failures = 0;
        self.refusals = 0;
    }

    pub(super) fn allow(&mut self, allowed: bool) {
        self.allowed = allowed;
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Whether an open session waits for an acknowledgement.
    pub(super) fn is_draining(&self) -> bool {
        self.open.is_some() && self.in_flight.is_some()
    }

    pub(super) fn is_attempt(&self, link: Link) -> bool {
        self.attempt
            .as_ref()
            .is_some_and(|attempt| attempt.link == link)
    }

    pub(super) fn is_open(&self, link: Link) -> bool {
        self.open.as_ref().is_some_and(|open| open.link == link)
    }
}
