//! The operator's side of DPS: enrollments and groups (behaviour F.1).

use std::sync::Arc;

use linarite_core::dps::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use linarite_core::dps::ownership::EntryName;
use linarite_core::id::{ETag, EnrollmentGroupId, Precondition, RegistrationId, Write};
use linarite_core::settings::Settings;
use linarite_env::Event;

use crate::error::ServiceError;
use crate::limits::{ENROLLMENT_GROUPS_MAX, REGISTRATIONS_MAX};
use crate::store::book::Book;
use crate::wire::enrollment::attestation::owned_elsewhere;

/// What a written entry gets stamped with.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) etag: ETag,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    /// How what is written is judged.
    pub(crate) settings: Settings,
}

impl Book {
    /// Creates or replaces an individual enrollment; `read` makes it from the request and what
    /// was there, so that a slot sent back without its certificate keeps it (R-F3).
    pub(crate) fn put_individual(
        &self,
        id: &RegistrationId,
        precondition: &Precondition,
        read: impl FnOnce(
            Option<&IndividualEnrollment>,
            Stamp,
        ) -> Result<IndividualEnrollment, ServiceError>,
    ) -> Result<Arc<IndividualEnrollment>, ServiceError> {
        let written = self.change_individual(id, |all, current| {
            let etag = current.map(|entry| &entry.etag);
            let write = precondition
                .check(etag)
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            if write == Write::Create && all.len() >= REGISTRATIONS_MAX {
                let text = "The instance holds no more enrollments.";
                return Err(ServiceError::limit(text));
            }
            let stamp = self.stamp(write, current.map(|entry| entry.created_ms));
            let entry = read(current.map(|entry| &**entry), stamp)?;
            let before = current.map(|entry| &entry.attestation);
            let name = EntryName::Individual(id.clone());
            self.own(&name, before, Some(&entry.attestation))
                .map_err(|error| owned_elsewhere(&error))?;
            let entry = Arc::new(entry);
            Ok::<_, ServiceError>((Some(Arc::clone(&entry)), entry))
        })?;
        self.tell_written(id.as_str(), false, written.provisioning_status);
        Ok(written)
    }

    /// Removes an individual enrollment; its record and identity stay (R-E1).
    pub(crate) fn delete_individual(
        &self,
        id: &RegistrationId,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        self.change_individual(id, |_, current| {
            let current =
                current.ok_or_else(|| ServiceError::dps_not_found(404_201, "Enrollment"))?;
            precondition
                .check_delete(Some(&current.etag))
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            let name = EntryName::Individual(id.clone());
            self.own(&name, Some(&current.attestation), None)
                .map_err(|error| owned_elsewhere(&error))?;
            Ok::<_, ServiceError>((None, ()))
        })?;
        self.env.events.emit(Event::EnrollmentDeleted {
            id: id.as_str().into(),
            group: false,
        });
        Ok(())
    }

    /// Creates or replaces a group, as [`Book::put_individual`] does.
    pub(crate) fn put_group(
        &self,
        id: &EnrollmentGroupId,
        precondition: &Precondition,
        read: impl FnOnce(Option<&EnrollmentGroup>, Stamp) -> Result<EnrollmentGroup, ServiceError>,
    ) -> Result<Arc<EnrollmentGroup>, ServiceError> {
        let written = self.change_groups(|groups| {
            let current = groups.get(id.key()).cloned();
            let write = precondition
                .check(current.as_ref().map(|group| &group.etag))
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            if write == Write::Create && groups.len() >= ENROLLMENT_GROUPS_MAX {
                return Err(ServiceError::limit("The instance holds no more groups."));
            }
            let stamp = self.stamp(write, current.as_ref().map(|group| group.created_ms));
            let group = read(current.as_deref(), stamp)?;
            let before = current.as_ref().map(|group| &group.attestation);
            let name = EntryName::Group(id.clone());
            self.own(&name, before, Some(&group.attestation))
                .map_err(|error| owned_elsewhere(&error))?;
            let group = Arc::new(group);
            groups.insert(id.key().to_owned(), Arc::clone(&group));
            Ok(group)
        })?;
        self.tell_written(id.as_str(), true, written.provisioning_status);
        Ok(written)
    }

    /// Removes a group; records and identities of its devices stay (R-E5).
    pub(crate) fn delete_group(
        &self,
        id: &EnrollmentGroupId,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        self.change_groups(|groups| {
            let current = groups
                .get(id.key())
                .cloned()
                .ok_or_else(|| ServiceError::dps_not_found(404_202, "Enrollment group"))?;
            precondition
                .check_delete(Some(&current.etag))
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            let name = EntryName::Group(id.clone());
            self.own(&name, Some(&current.attestation), None)
                .map_err(|error| owned_elsewhere(&error))?;
            groups.remove(id.key());
            Ok::<_, ServiceError>(())
        })?;
        self.env.events.emit(Event::EnrollmentDeleted {
            id: id.as_str().into(),
            group: true,
        });
        Ok(())
    }

    fn stamp(&self, write: Write, created_ms: Option<i64>) -> Stamp {
        let now = self.env.clock.now_ms().0;
        let created_ms = match write {
            Write::Create => now,
            Write::Replace => created_ms.unwrap_or(now),
        };
        Stamp {
            etag: self.names.etag(),
            created_ms,
            updated_ms: now,
            settings: self.settings,
        }
    }

    fn tell_written(&self, id: &str, group: bool, status: ProvisioningStatus) {
        let enabled = status == ProvisioningStatus::Enabled;
        self.env.events.emit(Event::EnrollmentWritten {
            id: id.into(),
            group,
            enabled,
        });
    }
}
