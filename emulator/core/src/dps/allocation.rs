//! Which hub an attested device is assigned to.

use super::attestation::Attested;
use super::reprovision::Movement;
use crate::id::{HubHostName, RegistrationId};

mod linked;
mod rendezvous;
mod url;
mod webhook;

pub use linked::{
    HubAccess, HubWeight, HubWeightError, InstanceAllocationPolicy, LinkedHub, LinkedHubs,
};
pub use url::{WebhookUrl, WebhookUrlError};
pub use webhook::{AllocationAnswer, AllocationQuestion, CustomAllocationDefinition, resume};

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

/// An allocation that came to nothing. The operation ends `failed` (R-B14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationFailure {
    /// The rule it follows.
    pub rule: &'static str,
    /// The number in the registration state.
    pub code: u32,
    /// What goes with it.
    pub text: String,
}

impl AllocationFailure {
    /// A.5: allocation finds no usable hub.
    fn no_hub(text: String) -> Self {
        Self {
            rule: "R-B14",
            code: 400_208,
            text,
        }
    }

    /// A.5: DPS cannot write at a linked hub.
    pub(super) fn hub_unauthorized(hub: &HubHostName) -> Self {
        Self {
            rule: "A.5",
            code: 400_209,
            text: format!(
                "hub unauthorized: the link to {hub} does not open its registry; give it a \
                 connection string of a policy with RegistryWrite and ServiceConnect"
            ),
        }
    }

    /// The webhook did not answer as it should. The number was seen in the field; no document
    /// names it (I-15).
    fn webhook(text: &str) -> Self {
        Self {
            rule: "R-B16",
            code: 400_207,
            text: format!("Custom allocation failed {text}"),
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
        let wanted = match movement {
            Movement::Stay(past) => std::slice::from_ref(&past.hub),
            Movement::First | Movement::May(_) => listed,
        };
        return Allocated::Nowhere(AllocationFailure::no_hub(no_candidate(wanted, hubs)));
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

/// R-B14: what an operator has to link or to list.
fn no_candidate(wanted: &[HubHostName], hubs: &LinkedHubs) -> String {
    let names = |hubs: &mut dyn Iterator<Item = &HubHostName>| {
        let names: Vec<&str> = hubs.map(HubHostName::as_str).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let eligible = hubs.hubs.iter().filter(|hub| hub.apply_allocation_policy);
    format!(
        "no hub: wanted is one of {}; linked and taking part in allocation: {}",
        if wanted.is_empty() {
            "all linked hubs".to_owned()
        } else {
            names(&mut wanted.iter())
        },
        names(&mut eligible.map(|hub| &hub.name))
    )
}

#[cfg(test)]
mod tests;
