//! What DPS remembers of registrations: the record, and the operation that is under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use linarite_core::dps::registration::PastAssignment;
use linarite_core::dps::reprovision::RegistrationSubstatus;
use linarite_core::id::{DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId};
use linarite_core::throttle::Bucket;
use linarite_env::UnixMillis;
use linarite_env::event::Fingerprint;
use serde_json::Value;

use super::order::Order;
use super::page::Page;
use crate::tpm::ActivationBlob;

/// How a registration stands (R-B3). What only one state has lives in that state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationStatus {
    Assigned {
        hub: HubHostName,
        device_id: DeviceId,
        substatus: RegistrationSubstatus,
        /// A webhook's word to the device (R-B17).
        payload: Option<Arc<Value>>,
    },
    Disabled,
    Failed {
        rule: &'static str,
        code: u32,
        text: String,
    },
}

/// Which attestation the record came from, for the result object (R-B4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    SymmetricKey,
    /// With the key for the hub, if there is one (R-B22).
    Tpm(Option<ActivationBlob>),
    X509,
}

/// DPS's memory of a registration (R-E5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistrationRecord {
    /// The spelling first seen (R-A3).
    pub(crate) registration_id: RegistrationId,
    pub(crate) created: UnixMillis,
    pub(crate) updated: UnixMillis,
    pub(crate) etag: ETag,
    pub(crate) status: RegistrationStatus,
    pub(crate) mechanism: Mechanism,
    pub(crate) group: Option<EnrollmentGroupId>,
    /// Where the device was last assigned. A later failure does not take it away: the identity
    /// is still there, and the next assignment is to move it rather than make a second one.
    pub(crate) assigned: Option<PastAssignment>,
}

/// An operation, kept until the next one of the same registration.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    /// What was shown; whoever asks about the operation must show the same.
    pub(crate) presented: Option<Fingerprint>,
    /// When it ends, once that is known: a turn at a hub was waited for.
    pub(crate) ends_at: Option<UnixMillis>,
    /// How it ended; `None` while it runs.
    pub(crate) ended: Option<Arc<RegistrationRecord>>,
}

/// Everything about one registration id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registration {
    pub(crate) record: Option<Arc<RegistrationRecord>>,
    pub(crate) operation: Option<Operation>,
    /// What is left of the device's limit on polls (R-H2).
    pub(crate) polls: Bucket,
}

/// Registrations by id; ids compare without case (R-A3).
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    map: DashMap<RegistrationId, Registration>,
    /// Which records each group has, in order. Written under the lock of the registration.
    groups: Mutex<BTreeMap<EnrollmentGroupId, Order<RegistrationId>>>,
}

impl Registrations {
    pub(crate) fn read<T>(
        &self,
        id: &RegistrationId,
        look: impl FnOnce(&Registration) -> T,
    ) -> Option<T> {
        self.map.get(id).map(|registration| look(&registration))
    }

    /// Works on a registration under its lock; one that ends up empty is forgotten.
    pub(crate) fn change<T>(
        &self,
        id: &RegistrationId,
        work: impl FnOnce(&mut Registration) -> T,
    ) -> T {
        match self.map.entry(id.clone()) {
            MapEntry::Occupied(mut occupied) => {
                let before = occupied.get().group().cloned();
                let result = work(occupied.get_mut());
                self.regroup(id, before.as_ref(), occupied.get().group());
                if occupied.get().is_empty() {
                    occupied.remove();
                }
                result
            }
            MapEntry::Vacant(vacant) => {
                let mut registration = Registration::default();
                let result = work(&mut registration);
                self.regroup(id, None, registration.group());
                if !registration.is_empty() {
                    vacant.insert(registration);
                }
                result
            }
        }
    }

    fn regroup(
        &self,
        id: &RegistrationId,
        before: Option<&EnrollmentGroupId>,
        after: Option<&EnrollmentGroupId>,
    ) {
        if before == after {
            return;
        }
        let mut groups = self.groups();
        if let Some(group) = before
            && let Some(ids) = groups.get_mut(group)
        {
            ids.remove(id);
            if ids.is_empty() {
                groups.remove(group);
            }
        }
        if let Some(group) = after {
            groups.entry(group.clone()).or_default().insert(id.clone());
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<EnrollmentGroupId, Order<RegistrationId>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn contains(&self, id: &RegistrationId) -> bool {
        self.map.contains_key(id)
    }

    /// Up to `count` records of a group that come after `after` in the order of ids. One that
    /// goes while the page is made is left out.
    pub(crate) fn of_group_after(
        &self,
        group: &EnrollmentGroupId,
        after: Option<&RegistrationId>,
        count: usize,
    ) -> Page<Arc<RegistrationRecord>> {
        let ids = self.ids_after(group, after, count);
        let record = |id| self.read(&id, |registration| registration.record.clone());
        ids.filter_map(|id| {
            record(id)
                .flatten()
                .filter(|record| record.group.as_ref() == Some(group))
        })
    }

    /// A list of its own, so that no registration is looked at under the lock of the groups.
    fn ids_after(
        &self,
        group: &EnrollmentGroupId,
        after: Option<&RegistrationId>,
        count: usize,
    ) -> Page<RegistrationId> {
        let mut groups = self.groups();
        let ids = groups.get_mut(group).into_iter();
        let rest = ids.flat_map(|ids| ids.after(after));
        Page::first(rest.map(|id| (id.key(), id.clone())), count)
    }
}

impl Registration {
    fn group(&self) -> Option<&EnrollmentGroupId> {
        self.record.as_ref()?.group.as_ref()
    }

    fn is_empty(&self) -> bool {
        self.record.is_none() && self.operation.is_none()
    }
}
