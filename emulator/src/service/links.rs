//! The hubs that are linked to the DPS instance, and what it does by default. A registration
//! reads both as they are at its moment, so a change bears on later ones alone (R-B12, R-B15).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use linarite_core::dps::allocation::{
    HubAccess, HubWeight, InstanceAllocationPolicy, LinkedHub, LinkedHubs,
};
use linarite_core::id::HubHostName;
use linarite_core::secret::SymmetricKey;

use super::hub::Hub;
use crate::config::Config;
use crate::policy::Right;

/// Where a hub is, as far as the management API asks for a region.
pub(crate) const LOCATION: &str = "local";

/// What DPS needs at a hub to provision devices there.
const NEEDED: [Right; 2] = [Right::RegistryWrite, Right::ServiceConnect];

/// A linked hub, and the credentials with which DPS writes there.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) hub: Arc<Hub>,
    pub(crate) weight: HubWeight,
    pub(crate) apply_allocation_policy: bool,
    pub(crate) location: Arc<str>,
    /// The policy of the hub whose key this is, both as they were given.
    pub(crate) policy: Arc<str>,
    pub(crate) key: SymmetricKey,
}

impl fmt::Debug for Link {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("hub", &self.hub.host)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A link as a hub of the configuration starts with: by its owner's policy.
    fn to_hub(hub: &Arc<Hub>) -> Option<Self> {
        let owner = hub.policy.all().into_iter().next()?;
        let [key, _] = owner.keys();
        Some(Self {
            hub: Arc::clone(hub),
            weight: HubWeight::default(),
            apply_allocation_policy: true,
            location: LOCATION.into(),
            key: key.clone(),
            policy: owner.name,
        })
    }

    /// What the credentials are worth now: a key may have been replaced at the hub since.
    fn access(&self) -> HubAccess {
        if self.hub.policy.grants(&self.policy, &self.key, &NEEDED) {
            HubAccess::Granted
        } else {
            HubAccess::Refused
        }
    }
}

/// All links and the instance's policy at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    pub(crate) links: Arc<[Link]>,
    pub(crate) allocation_policy: InstanceAllocationPolicy,
}

impl Linked {
    /// The same, as the rules take it.
    pub(crate) fn hubs(&self) -> LinkedHubs {
        let hub = |link: &Link| LinkedHub {
            weight: link.weight,
            apply_allocation_policy: link.apply_allocation_policy,
            latency_ms: link.hub.latency_ms,
            access: link.access(),
            ..LinkedHub::new(link.hub.host.clone())
        };
        LinkedHubs {
            hubs: self.links.iter().map(hub).collect(),
            default_policy: self.allocation_policy,
        }
    }

    /// The link to the hub of that name.
    pub(crate) fn find(&self, host: &HubHostName) -> Option<&Link> {
        self.links.iter().find(|link| link.hub.host == *host)
    }
}

/// See the module's page.
pub(crate) struct Links(RwLock<Linked>);

impl Links {
    /// Every hub of the configuration, linked as it says.
    pub(crate) fn new(config: &Config, hubs: &[Arc<Hub>]) -> Self {
        let configured = config.hubs.iter().zip(hubs);
        let links = configured.filter_map(|(configured, hub)| {
            Some(Link {
                weight: configured.weight,
                apply_allocation_policy: configured.apply_allocation_policy,
                ..Link::to_hub(hub)?
            })
        });
        Self(RwLock::new(Linked {
            links: links.collect(),
            allocation_policy: config.dps.allocation_policy,
        }))
    }

    pub(crate) fn current(&self) -> Linked {
        let linked = self.0.read().unwrap_or_else(PoisonError::into_inner);
        linked.clone()
    }

    pub(crate) fn replace(&self, linked: Linked) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = linked;
    }
}
