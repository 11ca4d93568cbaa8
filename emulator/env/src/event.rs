//! Everything that happens in the emulator, said once.
//!
//! Log lines, metrics, the checker of a scenario and the assertions of tests all read this
//! stream. An event names devices and certificates; it never carries a key or a token.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Clock, UnixMillis};

/// SHA-256 of a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    /// The first eight hex digits, enough to tell certificates apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl Serialize for Fingerprint {
    /// All of it, as upper-case hex digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.0.iter().map(|byte| format!("{byte:02X}"));
        serializer.serialize_str(&digits.collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    /// What is serialized.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
        let mut bytes = [0; 32];
        for (at, place) in bytes.iter_mut().enumerate() {
            let read = byte(at).filter(|_| digits.len() == 64);
            *place = read.ok_or_else(|| D::Error::custom("expected 64 hex digits"))?;
        }
        Ok(Self(bytes))
    }
}

/// A word of the emulator's own: a rule number, a status, the name of a bound.
pub type Word = &'static str;

/// Longest word, in bytes, and most different ones that are read in one process.
const WORD_BYTES_MAX: usize = 64;
const WORDS_MAX: usize = 4096;

/// Reads a [`Word`]. Each different one is kept for good, so there is a bound to them.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    let read = String::deserialize(deserializer)?;
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(read.as_str()) {
        return Ok(known);
    }
    if read.len() > WORD_BYTES_MAX || words.len() >= WORDS_MAX {
        return Err(D::Error::custom("not one of the emulator's own words"));
    }
    let kept: Word = Box::leak(read.into_boxed_str());
    words.insert(kept);
    Ok(kept)
}

/// Which of the two certificates of an enrollment matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SlotName {
    /// The primary one, tried first.
    Primary,
    /// The secondary one.
    Secondary,
}

/// Number of a connection, unique within one emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Why the emulator ended or refused something: the words, and the rule it follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Rule number, such as `R-A21b`.
    #[serde(deserialize_with = "word")]
    pub rule: Word,
    /// Azure's error number, such as 401002; 0 where there is none.
    pub code: u32,
    /// A sentence for people, without secrets.
    pub text: String,
}

/// What happened. Names are as the emulator spells them, hubs by host name; a `device_id` at a
/// hub may be that of a module, as `device/module`.
///
/// As JSON it is one object: the member `event` is the name of the variant, the others are its
/// fields in camel case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum Event {
    /// The TLS handshake with a peer failed or took too long.
    HandshakeFailed {
        connection: ConnectionId,
        reason: String,
    },
    /// A peer broke the protocol; its connection ends.
    ProtocolViolated {
        connection: ConnectionId,
        reason: Reason,
    },
    /// An MQTT CONNECT was refused with the return code `connack`; if a hub's registry refused
    /// it, a `SessionRefused` says more.
    ConnectRefused {
        connection: ConnectionId,
        connack: u8,
        reason: Reason,
    },
    /// A bound was reached; what was over it was refused.
    LimitReached {
        #[serde(deserialize_with = "word")]
        limit: Word,
    },

    /// The DPS instance was changed; these are its linked hubs and its default policy from now on.
    ProvisioningServiceWritten {
        hubs: Vec<Arc<str>>,
        #[serde(deserialize_with = "word")]
        allocation_policy: Word,
    },
    /// A CA certificate was added or its content replaced, at `hub` or, without one, at DPS.
    CaCertificateWritten {
        hub: Option<Arc<str>>,
        name: Arc<str>,
        verified: bool,
    },
    /// Possession of a CA certificate's key was proven.
    CaCertificateVerified {
        hub: Option<Arc<str>>,
        name: Arc<str>,
    },
    /// A CA certificate was removed.
    CaCertificateDeleted {
        hub: Option<Arc<str>>,
        name: Arc<str>,
    },
    /// An enrollment was created or replaced. `group` tells the kind.
    EnrollmentWritten {
        id: Arc<str>,
        group: bool,
        enabled: bool,
    },
    /// An enrollment was removed.
    EnrollmentDeleted { id: Arc<str>, group: bool },

    /// A registration passed attestation and goes on as an operation.
    RegistrationAccepted {
        registration_id: Arc<str>,
        presented: Option<Fingerprint>,
    },
    /// The TPM of a registration has to prove itself before anything else.
    RegistrationChallenged { registration_id: Arc<str> },
    /// A registration was refused at the door.
    RegistrationRefused {
        registration_id: Arc<str>,
        presented: Option<Fingerprint>,
        reason: Reason,
    },
    /// An operation ended `assigned`; the hub knows the device from now on.
    DeviceAssigned {
        registration_id: Arc<str>,
        device_id: Arc<str>,
        hub: Arc<str>,
        #[serde(deserialize_with = "word")]
        substatus: Word,
        enrollment: Arc<str>,
        slot: Option<SlotName>,
        presented: Option<Fingerprint>,
    },
    /// An operation ended `failed` or `disabled`.
    RegistrationEnded {
        registration_id: Arc<str>,
        presented: Option<Fingerprint>,
        #[serde(deserialize_with = "word")]
        status: Word,
        reason: Reason,
    },
    /// A webhook of custom allocation chose a hub; it is named without the query of its address.
    WebhookAnswered {
        registration_id: Arc<str>,
        webhook: Arc<str>,
        hub: Arc<str>,
    },
    /// A webhook of custom allocation gave no usable answer.
    WebhookFailed {
        registration_id: Arc<str>,
        webhook: Arc<str>,
        reason: Reason,
    },
    /// A registration record was removed.
    RegistrationDeleted { registration_id: Arc<str> },

    /// A device identity came into being at a hub.
    IdentityCreated {
        hub: Arc<str>,
        device_id: Arc<str>,
        thumbprints: Vec<Fingerprint>,
    },
    /// A device identity was changed; `thumbprints` are those in force from now on.
    IdentityUpdated {
        hub: Arc<str>,
        device_id: Arc<str>,
        enabled: bool,
        thumbprints: Vec<Fingerprint>,
    },
    /// A device identity was removed.
    IdentityDeleted { hub: Arc<str>, device_id: Arc<str> },

    /// A device was let in at a hub.
    SessionOpened {
        hub: Arc<str>,
        device_id: Arc<str>,
        connection: ConnectionId,
        presented: Option<Fingerprint>,
    },
    /// A device was refused at a hub.
    SessionRefused {
        hub: Arc<str>,
        device_id: Arc<str>,
        presented: Option<Fingerprint>,
        reason: Reason,
    },
    /// A session ended. `code` as in Azure's diagnostics (400027 take-over, 404104 otherwise).
    SessionClosed {
        hub: Arc<str>,
        device_id: Arc<str>,
        connection: ConnectionId,
        reason: Reason,
    },
    /// A telemetry message was stored at the hub's event endpoint.
    TelemetryAccepted {
        hub: Arc<str>,
        device_id: Arc<str>,
        message_id: Option<Arc<str>>,
    },
    /// A message for a device was queued.
    MessageQueued {
        hub: Arc<str>,
        device_id: Arc<str>,
        message_id: Option<Arc<str>>,
    },
    /// A message for a device left its queue; `fate` is `Success` if the device completed it.
    MessageSettled {
        hub: Arc<str>,
        device_id: Arc<str>,
        message_id: Option<Arc<str>>,
        #[serde(deserialize_with = "word")]
        fate: Word,
    },
    /// A direct method ended with a device's answer.
    MethodAnswered {
        hub: Arc<str>,
        device_id: Arc<str>,
        method: Arc<str>,
        status: i64,
    },
    /// A direct method ended without an answer.
    MethodFailed {
        hub: Arc<str>,
        device_id: Arc<str>,
        method: Arc<str>,
        reason: Reason,
    },
    /// A job took a step, or went on with its devices, of which `targets` are known.
    JobChanged {
        hub: Arc<str>,
        job_id: Arc<str>,
        #[serde(deserialize_with = "word")]
        status: Word,
        targets: usize,
        succeeded: usize,
        failed: usize,
    },
    /// A twin changed; `reported` tells which side wrote.
    TwinChanged {
        hub: Arc<str>,
        device_id: Arc<str>,
        reported: bool,
        version: u64,
    },
}

/// An event with its moment and its place in the stream.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// When it happened.
    pub at: UnixMillis,
    /// Position in the stream, from 0, without gaps.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

type Listener = Arc<dyn Fn(&Stamped) + Send + Sync>;

/// The stream of events. Cheap to clone; clones share listeners.
#[derive(Clone)]
pub struct Events {
    clock: Clock,
    shared: Arc<Shared>,
}

struct Shared {
    sequence: AtomicU64,
    listeners: RwLock<Vec<Listener>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("sequence", &self.shared.sequence)
            .finish_non_exhaustive()
    }
}

impl Events {
    /// A stream without listeners, stamped by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let shared = Shared {
            sequence: AtomicU64::new(0),
            listeners: RwLock::new(Vec::new()),
        };
        Self {
            clock,
            shared: Arc::new(shared),
        }
    }

    /// Calls `listener` with every event from now on, on the emitting task.
    ///
    /// A listener must be quick and must not emit.
    pub fn listen(&self, listener: impl Fn(&Stamped) + Send + Sync + 'static) {
        let mut listeners = self
            .shared
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::new(listener));
    }

    /// Reports `event` to every listener.
    pub fn emit(&self, event: Event) {
        self.emit_as_of(self.clock.now_ms(), event);
    }

    /// Reports an event that happened elsewhere, at `at`, to every listener.
    pub fn emit_as_of(&self, at: UnixMillis, event: Event) {
        let sequence = self.shared.sequence.fetch_add(1, Ordering::Relaxed);
        let stamped = Stamped {
            at,
            sequence,
            event,
        };
        let listeners = self
            .shared
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            listener(&stamped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_listener_sees_every_event_in_order() {
        let events = Events::new(Clock::system());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..2 {
            let seen = Arc::clone(&seen);
            events.listen(move |stamped| seen.lock().unwrap().push(stamped.sequence));
        }
        events.emit(Event::LimitReached { limit: "first" });
        events.emit(Event::LimitReached { limit: "second" });
        assert_eq!(*seen.lock().unwrap(), [0, 0, 1, 1]);
    }

    #[test]
    fn a_fingerprint_shows_eight_hex_digits() {
        assert_eq!(format!("{:?}", Fingerprint([0xAB; 32])), "ABABABAB");
    }
}
