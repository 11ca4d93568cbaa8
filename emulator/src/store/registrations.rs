//! What DPS remembers of registrations: the record, and the operation that is under way.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use linarite_core::dps::reprovision::RegistrationSubstatus;
use linarite_core::id::{DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId};
use linarite_env::UnixMillis;
use linarite_env::event::Fingerprint;

/// How a registration stands (R-B3). What only one state has lives in that state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistrationStatus {
    Assigned {
        hub: HubHostName,
        device_id: DeviceId,
        substatus: RegistrationSubstatus,
    },
    Disabled,
    Failed {
        code: u32,
        text: String,
    },
}

/// Which attestation the record came from, for the result object (R-B4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    X509,
    SymmetricKey,
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
}

/// An operation, kept until the next one of the same registration.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    /// What was shown; whoever asks about the operation must show the same.
    pub(crate) presented: Option<Fingerprint>,
    /// How it ended; `None` while it runs.
    pub(crate) ended: Option<RegistrationRecord>,
}

/// Everything about one registration id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registration {
    pub(crate) record: Option<RegistrationRecord>,
    pub(crate) operation: Option<Operation>,
}

/// Registrations by id; ids compare without case (R-A3).
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    map: DashMap<RegistrationId, Registration>,
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
                let result = work(occupied.get_mut());
                if occupied.get().record.is_none() && occupied.get().operation.is_none() {
                    occupied.remove();
                }
                result
            }
            MapEntry::Vacant(vacant) => {
                let mut registration = Registration::default();
                let result = work(&mut registration);
                if registration.record.is_some() || registration.operation.is_some() {
                    vacant.insert(registration);
                }
                result
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Records of one group, in the order of their ids.
    pub(crate) fn of_group(&self, group: &EnrollmentGroupId) -> Vec<RegistrationRecord> {
        let mut records: Vec<RegistrationRecord> = self
            .map
            .iter()
            .filter_map(|entry| entry.record.clone())
            .filter(|record| record.group.as_ref() == Some(group))
            .collect();
        records.sort_unstable_by(|a, b| a.registration_id.cmp(&b.registration_id));
        records
    }
}
