//! Device twins: what the device and the back end read and write (behaviour G.4).

use bytes::Bytes;
use linarite_core::hub::twin::{DeviceTwin, TwinError};
use linarite_core::id::{ETag, IdentityId, PreconditionFailed};
use linarite_env::Event;
use serde_json::Value;

use super::hub::Hub;
use super::mailbox::Command;
use super::registry::IdentityView;
use crate::error::ServiceError;
use crate::mqtt::topic::HubFilter;
use crate::names::rfc3339;

/// What a back end writes to a twin; an absent section stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct TwinDraft {
    pub(crate) tags: Option<Value>,
    pub(crate) desired: Option<Value>,
}

/// A twin as the back end reads it.
#[derive(Clone, Debug)]
pub(crate) struct TwinView {
    pub(crate) identity: IdentityView,
    pub(crate) twin: DeviceTwin,
    pub(crate) etag: ETag,
}

impl Hub {
    /// The device's view of its twin, as JSON.
    pub(crate) fn twin_for_device(&self, id: &IdentityId) -> Result<Bytes, ServiceError> {
        let view = self.devices.read(id, |held| held.twin.device_view());
        let view = view.ok_or_else(|| ServiceError::identity_not_found(id))?;
        Ok(Bytes::from(view.to_string()))
    }

    /// Merges a device's patch into its reported properties; gives their new version.
    pub(crate) fn patch_reported(
        &self,
        id: &IdentityId,
        patch: &Value,
    ) -> Result<u64, ServiceError> {
        let now = rfc3339(self.env.clock.now_ms());
        let version = self
            .devices
            .change(id, |held| {
                let version = held.twin.patch_reported(patch, &now)?;
                self.tell_reported(held, patch);
                Ok(version)
            })
            .ok_or_else(|| ServiceError::identity_not_found(id))?
            .map_err(|error: TwinError| refused(&error))?;
        self.env.events.emit(Event::TwinChanged {
            hub: self.name(),
            device_id: id.text(),
            reported: true,
            version,
        });
        Ok(version)
    }

    /// The twin of a device or module, for the back end.
    pub(crate) fn twin(&self, id: &IdentityId) -> Result<TwinView, ServiceError> {
        let view = self.devices.read(id, |held| TwinView {
            identity: IdentityView::of(held),
            twin: held.twin.clone(),
            etag: held.twin_etag.clone(),
        });
        view.ok_or_else(|| ServiceError::identity_not_found(id))
    }

    /// Writes tags and desired properties, if `allow` says so of the twin's version: merged (PATCH)
    /// or whole (PUT), as R-G21 says; and tells a connected device that asked for it.
    pub(crate) fn write_twin(
        &self,
        id: &IdentityId,
        allow: impl FnOnce(Option<&ETag>) -> Result<(), PreconditionFailed>,
        draft: &TwinDraft,
        merge: bool,
    ) -> Result<TwinView, ServiceError> {
        let now = rfc3339(self.env.clock.now_ms());
        let etag = self.names.etag();
        let written = self.devices.change(id, |held| {
            allow(Some(&held.twin_etag)).map_err(|_| stale())?;
            // On a copy, so that a section refused leaves the other one unwritten too.
            let mut twin = held.twin.clone();
            let changed = write_sections(&mut twin, draft, merge, &now)?;
            held.twin = twin;
            held.twin_etag = etag;
            self.tell_twin_written(held, draft, merge);
            let listener = held
                .live
                .as_ref()
                .filter(|live| live.subscriptions.has(HubFilter::DesiredChanges))
                .map(|live| std::sync::Arc::clone(&live.mailbox));
            Ok::<_, ServiceError>((changed, listener))
        });
        let (changed, listener) = written.ok_or_else(|| ServiceError::identity_not_found(id))??;
        if let (Some((version, patch)), Some(mailbox)) = (&changed, listener) {
            let patch = Bytes::from(patch.to_string());
            let _ = mailbox.put(Command::DesiredChanged {
                version: *version,
                patch,
            });
        }
        if let Some((version, _)) = changed {
            self.env.events.emit(Event::TwinChanged {
                hub: self.name(),
                device_id: id.text(),
                reported: false,
                version,
            });
        }
        self.twin(id)
    }
}

/// Gives the new version of the desired properties and what to tell the device, if they changed.
fn write_sections(
    twin: &mut DeviceTwin,
    draft: &TwinDraft,
    merge: bool,
    now: &str,
) -> Result<Option<(u64, Value)>, ServiceError> {
    if let Some(tags) = &draft.tags {
        let written = if merge {
            twin.patch_tags(tags, now)
        } else {
            twin.replace_tags(tags, now)
        };
        written.map_err(|error| refused(&error))?;
    }
    let Some(desired) = &draft.desired else {
        return Ok(None);
    };
    let written = if merge {
        twin.patch_desired(desired, now)
    } else {
        twin.replace_desired(desired, now)
    };
    let version = written.map_err(|error| refused(&error))?;
    let mut told = if merge {
        desired.clone()
    } else {
        Value::Object(twin.desired().clone())
    };
    if let Value::Object(members) = &mut told {
        members.retain(|key, _| !key.starts_with('$'));
        members.insert("$version".to_owned(), version.into());
    }
    Ok(Some((version, told)))
}

fn stale() -> ServiceError {
    let text = "Precondition failed: the etag in If-Match is not that of the twin.";
    ServiceError::new(412_001, "PreconditionFailed", "R-G22", text)
}

pub(super) fn refused(error: &TwinError) -> ServiceError {
    ServiceError::new(400_004, "ArgumentInvalid", "R-G20", error.to_string())
}
