//! The DPS instance as a resource: its etag, and what of it may be changed while it runs: tags,
//! shared access policies, linked hubs, and the default allocation policy (R-F9, ENDPOINTS 5).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use linarite_core::dps::allocation::InstanceAllocationPolicy;
use linarite_core::id::{ETag, Precondition};
use linarite_env::{Env, Event};

use super::links::Linked;
use crate::error::ServiceError;
use crate::names::Names;
use crate::policy::Policy;
use crate::service::Services;

/// Labels of a resource.
pub(crate) type Tags = BTreeMap<String, String>;

/// What the management API may change.
#[derive(Clone, Debug)]
pub(crate) struct Changeable {
    pub(crate) tags: Tags,
    pub(crate) policies: Vec<Policy>,
    pub(crate) linked: Linked,
}

/// The instance's own part of that; whoever holds its lock sees all of one moment.
pub(crate) struct Instance {
    state: Mutex<State>,
    names: Names,
}

struct State {
    etag: ETag,
    tags: Tags,
}

impl Instance {
    pub(crate) fn new(env: &Env) -> Self {
        let names = Names::new(&env.entropy, "instance");
        let state = State {
            etag: names.etag(),
            tags: Tags::new(),
        };
        Self {
            state: Mutex::new(state),
            names,
        }
    }
}

impl Services {
    /// The etag of the instance and what may be changed of it.
    pub(crate) fn instance(&self) -> (ETag, Changeable) {
        let state = self.instance.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (state.etag.clone(), self.changeable(&state))
    }

    fn changeable(&self, state: &State) -> Changeable {
        Changeable {
            tags: state.tags.clone(),
            policies: self.dps_policy.all(),
            linked: self.links.current(),
        }
    }

    /// Writes the instance: `read` gives what it is to be from its etag and what it is. As with
    /// CA certificates, the etag need not be sent (R-F1).
    pub(crate) fn put_instance(
        &self,
        precondition: &Precondition,
        read: impl FnOnce(&ETag, &Changeable) -> Result<Changeable, ServiceError>,
    ) -> Result<(ETag, Changeable), ServiceError> {
        let state = self.instance.state.lock();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        precondition
            .check_delete(Some(&state.etag))
            .map_err(|failed| ServiceError::dps_precondition(&failed))?;
        let next = read(&state.etag, &self.changeable(&state))?;
        self.dps_policy.replace(next.policies.clone());
        self.links.replace(next.linked.clone());
        state.tags.clone_from(&next.tags);
        state.etag = self.instance.names.etag();
        let hubs = next.linked.links.iter();
        self.env.events.emit(Event::ProvisioningServiceWritten {
            hubs: hubs.map(|link| link.hub.name()).collect(),
            allocation_policy: name(next.linked.allocation_policy),
        });
        Ok((state.etag.clone(), next))
    }
}

/// The policy as the management API spells it.
pub(crate) fn name(policy: InstanceAllocationPolicy) -> &'static str {
    match policy {
        InstanceAllocationPolicy::GeoLatency => "GeoLatency",
        InstanceAllocationPolicy::Hashed => "Hashed",
        InstanceAllocationPolicy::Static => "Static",
    }
}
