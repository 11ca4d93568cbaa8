//! How a device's firmware behaves, as data.

use std::borrow::Cow;
use std::time::Duration;

use crate::plan::Window;
use crate::wire::dps::API_VERSION;

/// What makes the firmware roll to a certificate it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The direct method `reprovision`. A call missed while asleep does not count; the operator
    /// has to repeat it.
    Method,
    /// The arrival of the new certificate in the secure store.
    Delivery,
    /// That the hub refuses the old one as unauthorized, even if it has come to its end before
    /// (R-C14). Scenarios have [`Self::Delivery`] in its place.
    #[serde(skip_deserializing)]
    Refusal,
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

/// When the firmware writes a new key to where it survives a loss of power. Until then it lies in
/// memory, and so does the intention to roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persists {
    /// As soon as it has it, before anything else.
    WhenDelivered,
    /// Once DPS has assigned with it (R-C15). Power lost just before takes the only key that the
    /// hub would take (R-B21).
    WhenAssigned,
    /// Once the hub has let it in with it.
    WhenConnected,
}

/// At which step of its first roll the device loses power, for ten seconds and once in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerLoss {
    /// It is about to register, and has not asked DPS yet.
    BeforeRegistering,
    /// DPS has assigned it, and nothing has followed from that in the device (R-B21).
    AfterRegistering,
    /// The hub has let it in with the new certificate, and the old key is not erased.
    AfterConnecting,
}

/// How the firmware reaches DPS and its hub (R-B10, R-G12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// MQTT at its own port, 8883.
    Mqtt,
    /// MQTT over WebSocket at the port of HTTPS, 443, where a firewall lets nothing else out.
    MqttWs,
}

/// Under which registration id the firmware asks DPS (R-A4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistersAs {
    /// The common name of the certificate that it shows.
    CommonName,
    /// The name that it was given in the factory, whatever its certificate says.
    Device,
}

/// How the firmware spreads its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// Anything from nothing to the whole delay, so that a fleet does not come back in one moment.
    Full,
    /// The whole delay, every time.
    None,
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
    /// When a new key is safe from a loss of power.
    pub persists: Persists,
    /// At which step of its roll it loses power, if at any.
    pub power_loss: Option<PowerLoss>,
    /// How it reaches its services.
    pub transport: Transport,
    /// Under which registration id it asks DPS.
    pub registers_as: RegistersAs,
    /// The version of the device API that it speaks, such as `2019-03-31` (R-C7).
    pub dps_api_version: Cow<'static, str>,
    /// How far its clock, by which it judges certificates, is ahead of the time, in milliseconds;
    /// its timers are right.
    pub clock_skew_ms: i64,
    /// How patient it is with DPS.
    pub on_throttle: OnThrottle,
    /// When it is awake, where that differs from the rest of the fleet; else empty.
    pub awake: Vec<Window>,
    /// First delay of the exponential back-off.
    pub backoff_first: Duration,
    /// Longest delay of the back-off.
    pub backoff_max: Duration,
    /// How much of a delay is left to chance.
    pub jitter: Jitter,
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
            persists: Persists::WhenDelivered,
            power_loss: None,
            transport: Transport::Mqtt,
            registers_as: RegistersAs::CommonName,
            dps_api_version: Cow::Borrowed(API_VERSION),
            clock_skew_ms: 0,
            on_throttle: OnThrottle::AsTold,
            awake: Vec::new(),
            backoff_first: Duration::from_secs(5),
            backoff_max: Duration::from_secs(600),
            jitter: Jitter::Full,
            keep_alive: Duration::from_secs(1140),
        }
    }
}
