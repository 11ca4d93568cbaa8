//! What a caller is told when something is refused or fails.
//!
//! The status of an HTTP or MQTT answer is the leading part of Azure's six-digit error number,
//! so the number alone decides both.

use linarite_core::dps::registration::Refusal;
use linarite_core::hub::admission::AdmissionError;
use linarite_core::id::{IdError, IdentityId, PreconditionFailed};
use linarite_core::throttle::Throttled;
use linarite_env::event::Reason;

/// A refusal or failure on its way to a caller. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {name}: {message} ({rule})")]
pub struct ServiceError {
    /// Azure's error number; its first three digits are the HTTP status.
    pub code: u32,
    /// Azure's name for it, such as `DeviceNotFound`.
    pub name: &'static str,
    /// What the caller is told.
    pub message: String,
    /// The rule behind it.
    pub rule: &'static str,
    /// Seconds after which a retry makes sense.
    pub retry_after_seconds: Option<u32>,
}

impl ServiceError {
    /// An error with the given number, name, rule and words.
    #[must_use]
    pub fn new(
        code: u32,
        name: &'static str,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            name,
            message: message.into(),
            rule,
            retry_after_seconds: None,
        }
    }

    /// The HTTP status that goes with the number.
    #[must_use]
    pub fn status(&self) -> u16 {
        u16::try_from(self.code / 1000).unwrap_or(500)
    }

    /// The caller's input was wrong; `message` names the field and what was expected.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400_004, "ArgumentInvalid", "R-F8", message)
    }

    /// Nobody said who they are, or they may not do this.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401_003, "IotHubUnauthorizedAccess", "R-F9", message)
    }

    /// DPS knows nothing by that name (R-F8: 404201 for enrollments, 404202 for records).
    #[must_use]
    pub fn dps_not_found(code: u32, what: &str) -> Self {
        Self::new(code, "NotFound", "R-F8", format!("{what} not found."))
    }

    /// The hub knows no such device or module, or will not say.
    #[must_use]
    pub fn identity_not_found(id: &IdentityId) -> Self {
        let device_id = id.device_id();
        match id.module_id() {
            None => Self::new(
                404_001,
                "DeviceNotFound",
                "R-F10",
                format!("Device {device_id} not registered or disabled"),
            ),
            Some(module_id) => Self::new(
                404_010,
                "ModuleNotFound",
                "R-F10",
                format!("Module {module_id} on device {device_id} not registered"),
            ),
        }
    }

    /// A part of Azure that is not emulated. Never silent: the caller sees what is missing.
    #[must_use]
    pub fn not_emulated(what: impl std::fmt::Display) -> Self {
        Self::new(
            501_000,
            "NotEmulated",
            "none",
            format!("Linarite does not emulate {what}; `linarite parity` lists what it does"),
        )
    }

    /// A bound was reached.
    #[must_use]
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(403_002, "QuotaExceeded", "R-H7", message)
    }

    /// DPS is asked too often (R-H1). The number is the one of hubs; DPS's own is not public.
    #[must_use]
    pub fn throttled(what: &str, throttled: Throttled) -> Self {
        let text = format!("Too many {what}; {throttled}.");
        Self {
            retry_after_seconds: Some(throttled.seconds),
            ..Self::new(429_001, "ThrottlingException", "R-H1", text)
        }
    }

    /// A hub is asked too often (R-H4).
    #[must_use]
    pub fn hub_throttled(what: &str, throttled: Throttled) -> Self {
        Self {
            rule: "R-H4",
            ..Self::throttled(what, throttled)
        }
    }

    /// A precondition failed at DPS (R-F1, R-F2).
    #[must_use]
    pub fn dps_precondition(failed: &PreconditionFailed) -> Self {
        match failed {
            PreconditionFailed::AlreadyExists => Self::new(
                409_000,
                "Conflict",
                "R-F2",
                "It already exists; send If-Match to update.",
            ),
            PreconditionFailed::Missing => Self::new(
                412_000,
                "PreconditionFailed",
                "R-F2",
                "There is nothing to match.",
            ),
            PreconditionFailed::Mismatch => Self::new(
                412_000,
                "PreconditionFailed",
                "R-F1",
                "The etag does not match.",
            ),
        }
    }

    /// A precondition failed at a hub (behaviour F.2).
    #[must_use]
    pub fn hub_precondition(failed: &PreconditionFailed, id: &IdentityId) -> Self {
        let device_id = id.device_id();
        match (failed, id.module_id()) {
            (PreconditionFailed::AlreadyExists, None) => Self::new(
                409_001,
                "DeviceAlreadyExists",
                "R-F10",
                format!("A device with ID '{device_id}' is already registered."),
            ),
            (PreconditionFailed::AlreadyExists, Some(module_id)) => Self::new(
                409_301,
                "ModuleAlreadyExistsOnDevice",
                "R-F10",
                format!("Device '{device_id}' already has a module '{module_id}'."),
            ),
            (PreconditionFailed::Missing, _) => Self::identity_not_found(id),
            (PreconditionFailed::Mismatch, _) => Self::new(
                412_001,
                "PreconditionFailed",
                "R-F10",
                format!("Precondition failed: the etag in If-Match is not that of {id}."),
            ),
        }
    }

    /// The same, as an event carries it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason {
            rule: self.rule,
            code: self.code,
            text: self.message.clone(),
        }
    }
}

impl From<IdError> for ServiceError {
    fn from(error: IdError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<&Refusal> for ServiceError {
    /// The wire gets Azure's terse words (behaviour A.5).
    fn from(refusal: &Refusal) -> Self {
        Self::new(
            refusal.code(),
            "Unauthorized",
            refusal.rule(),
            refusal.message(),
        )
    }
}

impl From<&AdmissionError> for ServiceError {
    fn from(error: &AdmissionError) -> Self {
        let name = match error.code() {
            403_012 => "DeviceDisabled",
            404_001 => "DeviceNotFound",
            _ => "IotHubUnauthorizedAccess",
        };
        Self::new(error.code(), name, error.rule(), error.to_string())
    }
}
