//! A scenario file as it is written, before anything in it is believed.
//!
//! Spans are kept where a later check may have to point at the line.

use serde::Deserialize;
use toml::Spanned;

use super::backoff::RawBackoff;
use super::condition::RawCondition;
use super::duration::Span;
use super::fault::{RawFault, RawRecovery};
use super::limits::RawLimits;
use super::readings::{RawMatrix, RawSettings};
use super::{Allocation, Reprovision};
use crate::firmware::{
    Answers, Keeps, OnBoot, OnUnauthorized, Persists, PowerLoss, RegistersAs, RollOrder, Transport,
    Trigger,
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    pub(super) name: Spanned<String>,
    pub(super) claim: String,
    #[serde(default)]
    pub(super) guide: Option<String>,
    #[serde(default)]
    pub(super) proves: Vec<String>,
    #[serde(default = "one")]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) starts: Option<Spanned<String>>,
    pub(super) duration: Spanned<Span>,
    pub(super) roll_starts: Spanned<Span>,
    pub(super) budget: RawBudget,
    #[serde(default)]
    pub(super) real_time: RawRealTime,
    #[serde(default)]
    pub(super) settings: RawSettings,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) matrix: RawMatrix,
    pub(super) fleet: RawFleet,
    #[serde(default)]
    pub(super) hubs: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(super) ends_on: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) breach: Option<RawBreach>,
    #[serde(default)]
    pub(super) locked_out: Option<RawLockout>,
    #[serde(default)]
    pub(super) authority: Vec<RawAuthority>,
    #[serde(default)]
    pub(super) leaf: Vec<RawLeaf>,
    #[serde(default)]
    pub(super) step: Vec<RawStep>,
    #[serde(default)]
    pub(super) fault: Vec<RawFault>,
    #[serde(default)]
    pub(super) recovery: Option<RawRecovery>,
    #[serde(default)]
    pub(super) expect: Option<RawExpect>,
}

fn one() -> u64 {
    1
}

/// What a device may suffer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBudget {
    pub(super) gap: Spanned<Span>,
    #[serde(default)]
    pub(super) stranded: Option<Spanned<Span>>,
}

/// Certificates in the hands of a thief.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBreach {
    pub(super) generation: Spanned<u32>,
    pub(super) contained: Spanned<Span>,
}

/// Devices that are meant to be refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLockout {
    pub(super) share: Spanned<String>,
    pub(super) from: Spanned<Span>,
}

/// How the procedure shrinks when it runs against the wall clock.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRealTime {
    pub(super) day: Option<Spanned<Span>>,
    pub(super) telemetry: Option<Spanned<Span>>,
    pub(super) spread: Option<Spanned<Span>>,
    pub(super) awake: Option<Spanned<Span>>,
}

/// The devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFleet {
    pub(super) devices: Spanned<u32>,
    pub(super) enrollment: Spanned<RawEnrollment>,
    pub(super) telemetry: Spanned<Span>,
    pub(super) spread: Spanned<Span>,
    pub(super) awake: Spanned<Vec<Spanned<RawWindow>>>,
    pub(super) firmware: Vec<RawFirmware>,
}

/// How DPS knows the devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEnrollment {
    #[serde(default)]
    pub(super) group: Option<String>,
    #[serde(default)]
    pub(super) individual: bool,
}

/// A time awake.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWindow {
    pub(super) from: Span,
    pub(super) r#for: Span,
}

/// A firmware model and its share of the fleet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFirmware {
    pub(super) name: Spanned<String>,
    pub(super) share: Spanned<u32>,
    #[serde(default)]
    pub(super) trigger: Option<Trigger>,
    #[serde(default)]
    pub(super) roll: Option<RollOrder>,
    #[serde(default)]
    pub(super) on_unauthorized: Option<OnUnauthorized>,
    #[serde(default)]
    pub(super) on_boot: Option<OnBoot>,
    #[serde(default)]
    pub(super) keeps: Option<Keeps>,
    #[serde(default)]
    pub(super) answers: Option<Answers>,
    #[serde(default)]
    pub(super) backoff: RawBackoff,
    #[serde(default)]
    pub(super) transport: Option<Transport>,
    #[serde(default)]
    pub(super) registers_as: Option<RegistersAs>,
    #[serde(default)]
    pub(super) dps_api_version: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) clock_skew: Option<Span>,
    #[serde(default)]
    pub(super) persists: Option<Spanned<Persists>>,
    #[serde(default)]
    pub(super) power_loss: Option<Spanned<PowerLoss>>,
    #[serde(default)]
    pub(super) awake: Option<Spanned<Vec<Spanned<RawWindow>>>>,
}

/// A root or an intermediate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthority {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) issuer: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) valid: Option<Spanned<[Span; 2]>>,
    #[serde(default)]
    pub(super) certificate: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) same_key_as: Option<Spanned<String>>,
}

/// One generation of device certificates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLeaf {
    pub(super) generation: Spanned<u32>,
    pub(super) issuer: Spanned<String>,
    #[serde(default)]
    pub(super) common_name: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) chain: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) valid: Spanned<[Span; 2]>,
}

/// A slot's content: an authority's name in a group, a generation in an individual entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "an authority's name or the number of a generation"
)]
pub(super) enum RawSlot {
    Generation(u32),
    Authority(String),
}

/// One thing the operator does. Which fields belong depends on `do`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    #[serde(default)]
    pub(super) at: Option<Spanned<Span>>,
    pub(super) r#do: Spanned<String>,
    #[serde(default)]
    pub(super) when: Option<Spanned<RawCondition>>,
    #[serde(default)]
    pub(super) may_fail: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) certificate: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) group: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) primary: Option<Spanned<RawSlot>>,
    #[serde(default)]
    pub(super) secondary: Option<Spanned<RawSlot>>,
    #[serde(default)]
    pub(super) style: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) disabled: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) hub: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) reprovision: Option<Spanned<Reprovision>>,
    #[serde(default)]
    pub(super) allocation: Option<Spanned<Allocation>>,
    #[serde(default)]
    pub(super) linked: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) verified: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) generation: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) method: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) firmware: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) at_hub: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) at_dps: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) share: Option<Spanned<String>>,
}

/// How the scenario is meant to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    pub(super) verdict: Spanned<String>,
    #[serde(default)]
    pub(super) check: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) rule: Option<Spanned<String>>,
}
