//! How a device's firmware behaves, as data.

use std::time::Duration;

/// What makes the firmware roll to a certificate it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The direct method `reprovision`. A call missed while asleep does not count; the operator
    /// has to repeat it.
    Method,
    /// The arrival of the new certificate in the secure store.
    Delivery,
}

/// In which order the firmware rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollOrder {
    /// Register at DPS with the new certificate while the old session stays open, then take
    /// over with the new one, then erase the old key (R-C15).
    RegisterFirst,
    /// Connect to the hub with the new certificate first, keep the old key until that worked.
    ConnectFirst,
    /// Erase the old key at once and connect with the new certificate.
    Switch,
}

/// What the firmware does when its hub says "unauthorized" (R-C11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnauthorized {
    /// Register again through DPS.
    Register,
    /// Try the same hub again with back-off, for ever.
    Retry,
}

/// What the firmware does when it wakes (R-C10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBoot {
    /// Connect to the hub it remembers.
    Connect,
    /// Register through DPS every time.
    Register,
}

/// A firmware model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// Name for reports.
    pub name: String,
    /// What starts a roll.
    pub trigger: Trigger,
    /// How it rolls.
    pub roll: RollOrder,
    /// Reaction to "unauthorized".
    pub on_unauthorized: OnUnauthorized,
    /// Reaction to waking up.
    pub on_boot: OnBoot,
    /// First delay of the exponential back-off with full jitter.
    pub backoff_first: Duration,
    /// Longest delay of the back-off.
    pub backoff_max: Duration,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
}

impl Default for Firmware {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            trigger: Trigger::Method,
            roll: RollOrder::RegisterFirst,
            on_unauthorized: OnUnauthorized::Register,
            on_boot: OnBoot::Connect,
            backoff_first: Duration::from_secs(5),
            backoff_max: Duration::from_secs(600),
            keep_alive: Duration::from_secs(1140),
        }
    }
}
