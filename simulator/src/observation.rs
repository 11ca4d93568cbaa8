//! What a virtual device sees of its own life, as the checker hears it.
//!
//! The emulator tells the other half through its event stream; a verdict needs both.

use std::fmt;

use linarite_env::UnixMillis;

/// Position of a device in its fleet, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIndex(pub u32);

/// Which successor of its certificate a device means: 1 is the one it was born with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Something a device did or met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The device is switched on and wants to be connected from now on.
    Awoke,
    /// The device goes to sleep as planned and wants no connection until it wakes.
    FellAsleep,
    /// The power went while it was awake.
    PowerLost,
    /// A certificate and its key lie in the device's secure store from now on.
    CredentialStored {
        /// Which of the device's certificates.
        generation: Generation,
        /// SHA-256 of the certificate.
        fingerprint: [u8; 32],
        /// First second of its life, Unix seconds.
        not_before: i64,
        /// Last second of its life, Unix seconds.
        not_after: i64,
    },
    /// A certificate and its key were erased from the secure store, or lost with the power that
    /// kept them in memory.
    CredentialDropped {
        /// Which of the device's certificates.
        generation: Generation,
    },
    /// Registration at DPS began.
    RegistrationStarted {
        /// The certificate shown.
        generation: Generation,
    },
    /// DPS assigned the device to a hub.
    RegistrationSucceeded {
        /// The certificate shown.
        generation: Generation,
        /// Host name of the hub.
        hub: String,
        /// Identity at the hub.
        device_id: String,
    },
    /// DPS refused, failed, or could not be reached.
    RegistrationFailed {
        /// The certificate shown.
        generation: Generation,
        /// HTTP-like status of the answer; 0 where there was none.
        status: u16,
        /// Azure's error number; 0 where there was none.
        code: u32,
        /// What the answer said, or what went wrong on the way.
        text: String,
    },
    /// The hub let the device in.
    SessionOpened {
        /// The certificate shown.
        generation: Generation,
    },
    /// The hub refused the device, or could not be reached.
    ConnectRefused {
        /// The certificate shown.
        generation: Generation,
        /// MQTT CONNACK return code; 0 where none arrived.
        connack: u8,
        /// What went wrong.
        text: String,
    },
    /// The device's last open session at the hub ended.
    SessionClosed {
        /// Whether the device closed it to sleep.
        planned: bool,
    },
    /// A telemetry message was handed to the transport for the first time.
    MessageOffered {
        /// Number of the message in the device's life, from 0.
        sequence: u32,
    },
    /// The hub acknowledged a telemetry message.
    MessageAcknowledged {
        /// Number of the message in the device's life, from 0.
        sequence: u32,
    },
    /// A direct method was answered.
    MethodAnswered {
        /// Name of the method.
        method: String,
        /// Status the device gave.
        status: u16,
    },
}

/// Hears what devices observe. Called on the device's task; must be quick and must not block.
pub trait Observer: Send + Sync {
    /// Takes note of what `device` observed at `at`.
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation);

    /// Takes note of a poll that DPS put off, which devices do not speak of (R-H2).
    fn poll_put_off(&self, _at: UnixMillis) {}
}
