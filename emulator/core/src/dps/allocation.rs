//! Which hub an attested device is assigned to.

use super::attestation::Attested;
use super::enrollment::InitialTwin;
use super::registration::{Decision, Draft, EnrollmentRef};
use super::reprovision::Movement;
use crate::id::{DeviceId, HubHostName, RegistrationId};
use crate::limits::{HUB_WEIGHT_MAX, HUB_WEIGHT_MIN};
use serde_json::Value;

mod rendezvous;

/// How an entry has its hub chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllocationPolicy {
    /// By asking a webhook.
    Custom(CustomAllocationDefinition),
    /// By lowest latency.
    GeoLatency,
    /// By a weighted hash of the registration id.
    Hashed,
    /// By naming it.
    Static,
}

/// How an instance has hubs chosen where an entry does not say. Never custom (R-B11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstanceAllocationPolicy {
    /// By lowest latency.
    GeoLatency,
    /// By a weighted hash of the registration id.
    #[default]
    Hashed,
    /// By naming it.
    Static,
}

/// The webhook of a custom policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomAllocationDefinition {
    /// Where to ask.
    pub webhook_url: String,
    /// Which version of the question to send.
    pub api_version: String,
}

/// A hub's share of hashed devices: 1 to 1000, 1 unless told otherwise (R-B13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubWeight(u16);

/// A weight out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hub weight of {weight} is outside {min} to {max}")]
pub struct HubWeightError {
    /// What was given.
    pub weight: u16,
    /// Smallest allowed.
    pub min: u16,
    /// Largest allowed.
    pub max: u16,
}

impl HubWeight {
    /// A weight within bounds.
    ///
    /// # Errors
    /// [`HubWeightError`] outside 1 to 1000.
    ///
    /// Source: behaviour.md R-B13.
    pub fn new(weight: u16) -> Result<Self, HubWeightError> {
        let (min, max) = (HUB_WEIGHT_MIN, HUB_WEIGHT_MAX);
        if (min..=max).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(HubWeightError { weight, min, max })
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for HubWeight {
    fn default() -> Self {
        Self(HUB_WEIGHT_MIN)
    }
}

/// A hub that devices may be assigned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedHub {
    /// Its host name.
    pub name: HubHostName,
    /// Its share of hashed devices.
    pub weight: HubWeight,
    /// Whether any policy may choose it (R-B12).
    pub apply_allocation_policy: bool,
    /// Its latency in milliseconds; unknown counts as slowest.
    pub latency_ms: Option<u32>,
}

impl LinkedHub {
    /// A hub of weight 1 that every policy may choose.
    #[must_use]
    pub fn new(name: HubHostName) -> Self {
        Self {
            name,
            weight: HubWeight::default(),
            apply_allocation_policy: true,
            latency_ms: None,
        }
    }
}

/// The hubs of an instance and how it chooses among them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkedHubs {
    /// The hubs. Their order does not matter.
    pub hubs: Vec<LinkedHub>,
    /// What entries without a policy follow.
    pub default_policy: InstanceAllocationPolicy,
}

/// An allocation that came to nothing. The operation ends `failed` (R-B14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationFailure {
    /// The number in the registration state.
    pub code: u32,
    /// What goes with it.
    pub text: String,
}

impl AllocationFailure {
    /// A.5: allocation finds no usable hub.
    fn no_hub(text: String) -> Self {
        Self {
            code: 400_208,
            text,
        }
    }

    /// The webhook did not answer as it should. The number is not public (I-15).
    fn webhook(text: String) -> Self {
        Self {
            code: 400_207,
            text,
        }
    }
}

/// What comes of the allocation room.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Allocated {
    Ask {
        webhook: CustomAllocationDefinition,
        linked_hubs: Vec<HubHostName>,
    },
    Hub(HubHostName),
    Nowhere(AllocationFailure),
}

/// A question only a webhook can answer. [`resume`] goes on from here.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationQuestion {
    webhook: CustomAllocationDefinition,
    linked_hubs: Vec<HubHostName>,
    draft: Draft,
}

/// What the webhook said.
#[derive(Clone, Debug, PartialEq)]
pub enum AllocationAnswer {
    /// It could not be asked, or its answer is unreadable.
    Failed {
        /// What happened.
        text: String,
    },
    /// A hub.
    Hub {
        /// The hub, which must be one of those it was told.
        hub: HubHostName,
        /// A twin to start with instead of the entry's.
        initial_twin: Option<InitialTwin>,
        /// Something for the device.
        payload: Option<Value>,
    },
}

impl AllocationQuestion {
    pub(super) fn new(
        webhook: CustomAllocationDefinition,
        linked_hubs: Vec<HubHostName>,
        draft: Draft,
    ) -> Self {
        Self {
            webhook,
            linked_hubs,
            draft,
        }
    }

    /// Whom to ask.
    #[must_use]
    pub fn webhook(&self) -> &CustomAllocationDefinition {
        &self.webhook
    }

    /// The hubs to choose from: the present one alone if the hub may not change (R-B17).
    #[must_use]
    pub fn linked_hubs(&self) -> &[HubHostName] {
        &self.linked_hubs
    }

    /// The device.
    #[must_use]
    pub fn registration_id(&self) -> &RegistrationId {
        self.draft.registration_id()
    }

    /// The entry that speaks for it.
    #[must_use]
    pub fn enrollment(&self) -> &EnrollmentRef {
        self.draft.enrollment()
    }

    /// The hub it is assigned to now.
    #[must_use]
    pub fn current_hub(&self) -> Option<&HubHostName> {
        self.draft.past().map(|past| &past.hub)
    }

    /// The id it has there.
    #[must_use]
    pub fn current_device_id(&self) -> Option<&DeviceId> {
        self.draft.past().map(|past| &past.device_id)
    }
}

/// Goes on with a registration once the webhook has answered.
///
/// Takes:   the question as it was asked, and the answer.
/// Gives:   an assignment, or a failure if the answer is none of the hubs offered.
/// Source:  behaviour.md R-B16, R-B17.
#[must_use]
pub fn resume(question: AllocationQuestion, answer: AllocationAnswer) -> Decision {
    let (hub, initial_twin, payload) = match answer {
        AllocationAnswer::Failed { text } => {
            return Decision::Failed(AllocationFailure::webhook(text));
        }
        AllocationAnswer::Hub {
            hub,
            initial_twin,
            payload,
        } => (hub, initial_twin, payload),
    };
    let Some(hub) = question
        .linked_hubs
        .into_iter()
        .find(|offered| *offered == hub)
    else {
        let text = format!("the webhook chose {hub}, which it was not offered");
        return Decision::Failed(AllocationFailure::webhook(text));
    };
    Decision::Assign(question.draft.assign_as_told(hub, initial_twin, payload))
}

/// Chooses the hub of an attested device.
///
/// A device that may not move stays, though its webhook is asked all the same (R-B17).
///
/// Source:  behaviour.md R-B11 to R-B14, R-B17, R-C6.
pub(super) fn allocate(
    attested: &Attested<'_>,
    registration_id: &RegistrationId,
    movement: Movement<'_>,
    hubs: &LinkedHubs,
) -> Allocated {
    let policy = attested.enrollment().allocation().clone();
    let policy = policy.unwrap_or_else(|| hubs.default_policy.into());
    let listed = attested.enrollment().iot_hubs();
    let (candidates, policy) = match (movement, policy) {
        (Movement::Stay(past), AllocationPolicy::Custom(webhook)) => {
            (linked(hubs, &past.hub), AllocationPolicy::Custom(webhook))
        }
        (Movement::Stay(past), _) => (linked(hubs, &past.hub), AllocationPolicy::Hashed),
        (Movement::First | Movement::May(_), policy) => (candidates(hubs, listed), policy),
    };
    if candidates.is_empty() {
        return Allocated::Nowhere(AllocationFailure::no_hub(no_candidate(listed, hubs)));
    }
    choose(policy, &candidates, listed, registration_id)
}

fn choose(
    policy: AllocationPolicy,
    candidates: &[&LinkedHub],
    listed: &[HubHostName],
    registration_id: &RegistrationId,
) -> Allocated {
    let hub = match policy {
        AllocationPolicy::Custom(webhook) => {
            let linked_hubs = candidates.iter().map(|hub| hub.name.clone()).collect();
            return Allocated::Ask {
                webhook,
                linked_hubs,
            };
        }
        AllocationPolicy::GeoLatency => rendezvous::pick(&nearest(candidates), registration_id),
        AllocationPolicy::Hashed => rendezvous::pick(candidates, registration_id),
        AllocationPolicy::Static => only(candidates, listed),
    };
    match hub {
        Some(hub) => Allocated::Hub(hub.name.clone()),
        None => {
            let count = candidates.len().max(listed.len());
            let text = format!("static allocation needs exactly one hub, not {count}");
            Allocated::Nowhere(AllocationFailure::no_hub(text))
        }
    }
}

/// R-B12.
fn candidates<'h>(hubs: &'h LinkedHubs, listed: &[HubHostName]) -> Vec<&'h LinkedHub> {
    let eligible = hubs.hubs.iter().filter(|hub| hub.apply_allocation_policy);
    eligible
        .filter(|hub| listed.is_empty() || listed.contains(&hub.name))
        .collect()
}

/// The hub of a device that stays: whatever list or policy say, but it must be linked (R-C6).
fn linked<'h>(hubs: &'h LinkedHubs, name: &HubHostName) -> Vec<&'h LinkedHub> {
    hubs.hubs.iter().filter(|hub| hub.name == *name).collect()
}

/// R-B13, geoLatency.
fn nearest<'h>(candidates: &[&'h LinkedHub]) -> Vec<&'h LinkedHub> {
    let latency = |hub: &LinkedHub| hub.latency_ms.unwrap_or(u32::MAX);
    let lowest = candidates.iter().map(|hub| latency(hub)).min();
    candidates
        .iter()
        .copied()
        .filter(|hub| Some(latency(hub)) == lowest)
        .collect()
}

/// R-B13, static.
fn only<'h>(candidates: &[&'h LinkedHub], listed: &[HubHostName]) -> Option<&'h LinkedHub> {
    match candidates {
        [hub] if listed.len() <= 1 => Some(hub),
        _ => None,
    }
}

fn no_candidate(listed: &[HubHostName], hubs: &LinkedHubs) -> String {
    format!(
        "no usable hub: the enrollment lists {} and {} are linked",
        listed.len(),
        hubs.hubs.len()
    )
}

impl From<InstanceAllocationPolicy> for AllocationPolicy {
    fn from(policy: InstanceAllocationPolicy) -> Self {
        match policy {
            InstanceAllocationPolicy::GeoLatency => Self::GeoLatency,
            InstanceAllocationPolicy::Hashed => Self::Hashed,
            InstanceAllocationPolicy::Static => Self::Static,
        }
    }
}

#[cfg(test)]
mod tests;
