//! What DPS has written down: enrollments and CA certificates.
//!
//! Groups and CA certificates are few and read by every registration, so readers take a
//! snapshot of both at once. Individual enrollments are many and looked up one at a time, by
//! registrations that must not wait for a write; lists go by an ordered index beside them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dashmap::DashMap;
use linarite_core::certificate::path::CaStore;
use linarite_core::dps::attestation::AttestationMechanism;
use linarite_core::dps::enrollment::{EnrollmentGroup, IndividualEnrollment};
use linarite_core::dps::ownership::{EntryName, OwnedElsewhere, Ownership};
use linarite_core::id::RegistrationId;
use linarite_core::settings::Settings;
use linarite_env::Env;

use super::certificates::{Certificates, StoredCa, ca_store};
use super::page::Page;
use crate::names::Names;

/// Groups and CA certificates as one registration sees them.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) groups: Arc<[Arc<EnrollmentGroup>]>,
    pub(crate) ca_store: Arc<CaStore>,
}

/// See the module's page.
pub(crate) struct Book {
    pub(crate) env: Env,
    pub(crate) names: Arc<Names>,
    pub(crate) settings: Settings,
    /// What `ordered` holds, for look-ups.
    individuals: DashMap<RegistrationId, Arc<IndividualEnrollment>>,
    ordered: RwLock<Individuals>,
    shared: RwLock<Shared>,
    owners: Mutex<Ownership>,
}

/// Individual enrollments in the order of their ids.
pub(crate) type Individuals = BTreeMap<RegistrationId, Arc<IndividualEnrollment>>;

#[derive(Default)]
struct Shared {
    groups: BTreeMap<String, Arc<EnrollmentGroup>>,
    certificates: Certificates,
    snapshot: Option<Snapshot>,
}

impl Book {
    pub(crate) fn new(env: Env, names: Arc<Names>, settings: Settings) -> Self {
        Self {
            env,
            names,
            settings,
            individuals: DashMap::new(),
            ordered: RwLock::new(Individuals::new()),
            shared: RwLock::new(Shared::default()),
            owners: Mutex::default(),
        }
    }

    /// Groups and CA certificates at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        match &shared.snapshot {
            Some(snapshot) => snapshot.clone(),
            None => shared.take_snapshot(),
        }
    }

    /// The individual enrollment of that id, whatever its case (R-A3).
    pub(crate) fn individual(&self, id: &RegistrationId) -> Option<Arc<IndividualEnrollment>> {
        self.individuals.get(id).map(|entry| Arc::clone(&entry))
    }

    /// Writes or removes an individual enrollment while no other is written: `work` sees what is
    /// there, in all and under this id, and gives what becomes of it.
    pub(crate) fn change_individual<T, E>(
        &self,
        id: &RegistrationId,
        work: impl FnOnce(
            &Individuals,
            Option<&Arc<IndividualEnrollment>>,
        ) -> Result<(Option<Arc<IndividualEnrollment>>, T), E>,
    ) -> Result<T, E> {
        let mut ordered = self.ordered.write().unwrap_or_else(PoisonError::into_inner);
        let (next, result) = work(&ordered, ordered.get(id))?;
        match next {
            Some(next) => {
                self.individuals.insert(id.clone(), Arc::clone(&next));
                ordered.insert(id.clone(), next);
            }
            None => {
                self.individuals.remove(id);
                ordered.remove(id);
            }
        }
        Ok(result)
    }

    /// Up to `count` individual enrollments that come after `after` in the order of ids.
    pub(crate) fn individuals_after(
        &self,
        after: Option<&RegistrationId>,
        count: usize,
    ) -> Page<Arc<IndividualEnrollment>> {
        let ordered = self.ordered.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = ordered.range((from, Bound::Unbounded));
        Page::first(rest.map(|(id, entry)| (id.key(), Arc::clone(entry))), count)
    }

    /// The group of that id.
    pub(crate) fn group(&self, key: &str) -> Option<Arc<EnrollmentGroup>> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.groups.get(key).cloned()
    }

    /// All groups in the order of their ids.
    pub(crate) fn groups(&self) -> Vec<Arc<EnrollmentGroup>> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.groups.values().cloned().collect()
    }

    /// Up to `count` groups that come after the key `after` in the order of ids.
    pub(crate) fn groups_after(
        &self,
        after: Option<&str>,
        count: usize,
    ) -> Page<Arc<EnrollmentGroup>> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = shared.groups.range::<str, _>((from, Bound::Unbounded));
        Page::first(
            rest.map(|(key, group)| (key.as_str(), Arc::clone(group))),
            count,
        )
    }

    /// Works on the groups; whatever `work` leaves is what the next snapshot shows.
    pub(crate) fn change_groups<T>(
        &self,
        work: impl FnOnce(&mut BTreeMap<String, Arc<EnrollmentGroup>>) -> T,
    ) -> T {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut shared.groups);
        shared.snapshot = Some(shared.take_snapshot());
        result
    }

    /// Works on the CA certificates; whatever `work` leaves is what the next snapshot shows.
    pub(crate) fn change_stored_certificates<T>(
        &self,
        work: impl FnOnce(&mut Certificates) -> T,
    ) -> T {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut shared.certificates);
        shared.snapshot = Some(shared.take_snapshot());
        result
    }

    /// All CA certificates in the order of their names.
    pub(crate) fn stored_certificates(&self) -> Vec<StoredCa> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.certificates.values().cloned().collect()
    }

    /// Moves certificates from what an entry held to what it is to hold (R-A6).
    pub(crate) fn own(
        &self,
        entry: &EntryName,
        before: Option<&AttestationMechanism>,
        after: Option<&AttestationMechanism>,
    ) -> Result<(), OwnedElsewhere> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.reassign(entry, before, after)
    }
}

impl Shared {
    fn take_snapshot(&self) -> Snapshot {
        Snapshot {
            groups: self.groups.values().cloned().collect(),
            ca_store: Arc::new(ca_store(&self.certificates)),
        }
    }
}
