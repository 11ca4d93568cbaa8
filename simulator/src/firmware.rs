//! How a device's firmware behaves, as data.

use std::time::Duration;

use crate::plan::Window;

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

/// What the firmware keeps of a certificate bundle that is delivered (R-A16, R-A17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeps {
    /// The leaf and its issuers; all of them are shown.
    Chain,
    /// The leaf alone, so that its issuers are never shown again.
    LeafOnly,
}

/// When the firmware answers the method that makes it roll (R-G26).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answers {
    /// At once, on the session that the call came on.
    AtOnce,
    /// When it has rolled, on the session that has taken that one over.
    AfterTheRoll,
}

/// How long the firmware waits where DPS asks for patience (R-C12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnThrottle {
    /// As long as DPS says; where it does not say, a random time that grows with each refusal.
    AsTold,
    /// As long as DPS says, and then a random time up to this one, so that a fleet that was
    /// refused in one moment does not come back in one.
    Spread(Duration),
    /// This long, whatever DPS says.
    Insist(Duration),
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
    /// What it keeps of a delivered bundle.
    pub keeps: Keeps,
    /// When it answers a call to roll.
    pub answers: Answers,
    /// How patient it is with DPS.
    pub on_throttle: OnThrottle,
    /// When it is awake, where that differs from the rest of the fleet; else empty.
    pub awake: Vec<Window>,
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
            keeps: Keeps::Chain,
            answers: Answers::AtOnce,
            on_throttle: OnThrottle::AsTold,
            awake: Vec::new(),
            backoff_first: Duration::from_secs(5),
            backoff_max: Duration::from_secs(600),
            keep_alive: Duration::from_secs(1140),
        }
    }
}
