//! The identity registry of a hub: what operators write there (behaviour F.2, G.1).

use linarite_core::certificate::Thumbprint;
use linarite_core::hub::identity::{AuthenticationMechanism, DeviceStatus, Identity, Scopes};
use linarite_core::hub::notification::Operation;
use linarite_core::hub::session::{self, Cut};
use linarite_core::hub::twin::DeviceTwin;
use linarite_core::id::{DeviceId, ETag, IdentityId, PreconditionFailed};
use linarite_env::event::Fingerprint;
use linarite_env::{Event, UnixMillis};

use super::hub::Hub;
use crate::error::ServiceError;
use crate::limits::{IDENTITIES_MAX, MODULES_PER_DEVICE_MAX};
use crate::names::rfc3339;
use crate::store::devices::{LiveSession, Place, Registered, Spot};

/// A device or module as the registry shows it.
#[derive(Clone, Debug)]
pub(crate) struct IdentityView {
    pub(crate) identity: Identity,
    pub(crate) connected: bool,
    pub(crate) connection_changed: Option<UnixMillis>,
    pub(crate) last_activity: Option<UnixMillis>,
    /// Messages that it has not settled.
    pub(crate) messages: usize,
}

impl IdentityView {
    pub(crate) fn of(held: &Registered) -> Self {
        Self {
            identity: held.identity.clone(),
            connected: held.live.is_some(),
            connection_changed: held.connection_changed,
            last_activity: held.last_activity,
            messages: held.inbox.as_ref().map_or(0, |inbox| inbox.queue.len()),
        }
    }
}

/// What an operator may set of an identity.
#[derive(Clone, Debug)]
pub(crate) struct IdentityDraft {
    pub(crate) status: DeviceStatus,
    pub(crate) status_reason: Option<String>,
    pub(crate) authentication: AuthenticationMechanism,
    pub(crate) iot_edge: bool,
    pub(crate) managed_by: Option<Box<str>>,
    pub(crate) scopes: Option<Box<Scopes>>,
}

/// How many devices there are, and of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) total: usize,
    pub(crate) enabled: usize,
    pub(crate) connected: usize,
}

impl Hub {
    /// The device or module of that id.
    pub(crate) fn identity(&self, id: &IdentityId) -> Result<IdentityView, ServiceError> {
        let view = self.devices.read(id, IdentityView::of);
        view.ok_or_else(|| ServiceError::identity_not_found(id))
    }

    /// The first `top` devices by id.
    pub(crate) fn first_devices(&self, top: usize) -> Vec<IdentityView> {
        let ids = self.devices.after(None, top);
        let ids: Vec<_> = ids.into_iter().map(IdentityId::from).collect();
        self.views(&ids)
    }

    /// The modules of a device by id.
    pub(crate) fn modules(&self, device: &DeviceId) -> Result<Vec<IdentityView>, ServiceError> {
        let ids = self.devices.module_ids(device);
        let ids = ids.ok_or_else(|| ServiceError::identity_not_found(&device.into()))?;
        Ok(self.views(&ids))
    }

    /// Counts the devices.
    pub(crate) fn statistics(&self) -> Statistics {
        let mut counted = Statistics::default();
        self.devices.each(|held| {
            counted.total += 1;
            counted.enabled += usize::from(held.identity.status == DeviceStatus::Enabled);
            counted.connected += usize::from(held.live.is_some());
        });
        counted
    }

    fn views(&self, ids: &[IdentityId]) -> Vec<IdentityView> {
        let view = |id| self.devices.read(id, IdentityView::of);
        ids.iter().filter_map(view).collect()
    }

    /// Creates or replaces an identity as `allow` says of the version that is there; a new one
    /// starts with `twin`.
    pub(crate) fn put_identity(
        &self,
        id: &IdentityId,
        allow: impl FnOnce(Option<&ETag>) -> Result<(), PreconditionFailed>,
        draft: IdentityDraft,
        twin: Option<DeviceTwin>,
    ) -> Result<IdentityView, ServiceError> {
        let now = self.env.clock.now_ms();
        let mut ended = None;
        let written = self.devices.place(id, |spot| {
            let current = spot.registered.as_ref().map(|held| &held.identity.etag);
            if let Err(failed) = allow(current) {
                let refused = ServiceError::hub_precondition(&failed, id);
                return (Place::Keep, Err(refused));
            }
            match self.room(id, &spot) {
                Err(full) => (Place::Keep, Err(full)),
                Ok(()) => match spot.registered {
                    Some(held) => {
                        let before = held.identity.clone();
                        self.overwrite(held, draft, now);
                        ended = self.ended_session(&before, held);
                        (Place::Keep, Ok((IdentityView::of(held), false)))
                    }
                    None => {
                        let twin = twin.unwrap_or_else(|| DeviceTwin::new(&rfc3339(now)));
                        let held = self.new_identity(id, draft, twin);
                        let view = IdentityView::of(&held);
                        (Place::Put(Box::new(held)), Ok((view, true)))
                    }
                },
            }
        });
        // A module whose device is not there has no place.
        let written = written.map_err(|_| ServiceError::identity_not_found(&id.device().into()));
        let (view, created) = written??;
        self.tell_written(&view.identity, created);
        if let Some((live, cut)) = ended {
            self.cut_off(&live, cut);
        }
        self.cut_off_modules_of_disabled(&view.identity);
        Ok(view)
    }

    /// Whether there is room for one more identity, if one is to be made (behaviour H.2).
    fn room(&self, id: &IdentityId, spot: &Spot<'_>) -> Result<(), ServiceError> {
        if spot.registered.is_some() {
            return Ok(());
        }
        if id.is_module() && spot.modules >= MODULES_PER_DEVICE_MAX {
            let text = format!("A device has at most {MODULES_PER_DEVICE_MAX} modules.");
            return Err(ServiceError::new(
                413_003,
                "TooManyModulesOnDevice",
                "R-G1",
                text,
            ));
        }
        // One off under contention is of no consequence; the bound protects memory.
        if self.devices.len() >= IDENTITIES_MAX {
            return Err(ServiceError::limit("The hub holds no more devices."));
        }
        Ok(())
    }

    /// Deletes an identity with its twin, if `allow` lets that version go, and ends its session;
    /// for a device those of its modules as well (R-E6, R-G5).
    pub(crate) fn delete_identity(
        &self,
        id: &IdentityId,
        allow: impl FnOnce(Option<&ETag>) -> Result<(), PreconditionFailed>,
    ) -> Result<(), ServiceError> {
        let removed = self.devices.remove(id, |held| {
            let current = held.map(|held| &held.identity.etag);
            allow(current).map_err(|failed| ServiceError::hub_precondition(&failed, id))
        })?;
        for held in removed {
            self.tell_deleted(&held.identity.id);
            self.tell_whole(Operation::DeleteDeviceIdentity, &held);
            self.presence.forget(&held.identity.id);
            self.forget_messages(&held);
            if let Some(live) = held.live {
                self.cut_off(&live, Cut::Deleted);
            }
        }
        Ok(())
    }

    /// An identity that is about to be put in its place, under the lock of its device.
    pub(super) fn new_identity(
        &self,
        id: &IdentityId,
        draft: IdentityDraft,
        twin: DeviceTwin,
    ) -> Registered {
        let generation_id = self.names.generation_id();
        let etag = self.names.etag();
        let identity = Identity {
            status: draft.status,
            status_reason: draft.status_reason,
            iot_edge: draft.iot_edge,
            managed_by: draft.managed_by,
            scopes: draft.scopes,
            ..Identity::new(id.clone(), generation_id, etag, draft.authentication)
        };
        let held = Registered::new(identity, twin);
        self.tell_whole(Operation::CreateDeviceIdentity, &held);
        held
    }

    fn overwrite(&self, held: &mut Registered, draft: IdentityDraft, now: UnixMillis) {
        let identity = &mut held.identity;
        if identity.status != draft.status {
            identity.status_updated_ms = Some(now.0);
        }
        identity.status = draft.status;
        identity.status_reason = draft.status_reason;
        identity.authentication = draft.authentication;
        identity.iot_edge = draft.iot_edge;
        identity.managed_by = draft.managed_by;
        identity.scopes = draft.scopes;
        identity.etag = self.names.etag();
    }

    /// Takes the session away that does not survive the change, and says why.
    pub(super) fn ended_session(
        &self,
        before: &Identity,
        held: &mut Registered,
    ) -> Option<(LiveSession, Cut)> {
        let cut = session::cut(before, &held.identity, &self.settings)?;
        Some((held.live.take()?, cut))
    }

    /// The modules of a disabled device are cut off with it (R-E6, R-G4). None of them comes back
    /// meanwhile: admission looks at the device as well.
    fn cut_off_modules_of_disabled(&self, identity: &Identity) {
        if identity.status == DeviceStatus::Disabled && !identity.id.is_module() {
            for live in self.devices.take_module_sessions(&identity.id) {
                self.cut_off(&live, Cut::Disabled);
            }
        }
    }

    pub(super) fn tell_written(&self, identity: &Identity, created: bool) {
        let (hub, device_id) = (self.name(), identity.id.text());
        let thumbprints = thumbprints(&identity.authentication);
        let enabled = identity.status == DeviceStatus::Enabled;
        self.env.events.emit(if created {
            Event::IdentityCreated {
                hub,
                device_id,
                thumbprints,
            }
        } else {
            Event::IdentityUpdated {
                hub,
                device_id,
                enabled,
                thumbprints,
            }
        });
    }

    fn tell_deleted(&self, id: &IdentityId) {
        let event = Event::IdentityDeleted {
            hub: self.name(),
            device_id: id.text(),
        };
        self.env.events.emit(event);
    }
}

/// The SHA-256 thumbprints in force. SHA-1 ones name no fingerprint and are left out.
fn thumbprints(authentication: &AuthenticationMechanism) -> Vec<Fingerprint> {
    let AuthenticationMechanism::SelfSigned { primary, secondary } = authentication else {
        return Vec::new();
    };
    let mut fingerprints: Vec<Fingerprint> = [primary, secondary]
        .into_iter()
        .filter_map(|thumbprint| match thumbprint {
            Some(Thumbprint::Sha256(digest)) => Some(Fingerprint(*digest)),
            Some(Thumbprint::Sha1(_)) | None => None,
        })
        .collect();
    fingerprints.dedup();
    fingerprints
}
