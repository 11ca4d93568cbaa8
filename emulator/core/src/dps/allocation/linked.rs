//! The hubs of an instance, and how it chooses among them by default.

use crate::id::HubHostName;
use crate::limits::{HUB_WEIGHT_MAX, HUB_WEIGHT_MIN};

use super::AllocationPolicy;

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
    /// Whether DPS may write there with the policy and key it was given.
    pub access: HubAccess,
}

/// What the credentials in a link are worth at the hub (A.5, 400209).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HubAccess {
    /// They open the registry.
    #[default]
    Granted,
    /// They do not: another key, a policy that is not there, or one without the rights.
    Refused,
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
            access: HubAccess::default(),
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

impl LinkedHubs {
    /// The link to the hub of that name.
    #[must_use]
    pub fn find(&self, name: &HubHostName) -> Option<&LinkedHub> {
        self.hubs.iter().find(|hub| hub.name == *name)
    }
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
