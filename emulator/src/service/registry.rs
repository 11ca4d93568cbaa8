//! The identity registry of a hub: what operators and DPS write there (behaviour B.3, F.2, G.1).

use linarite_core::certificate::Thumbprint;
use linarite_core::dps::registration::{Assignment, DataAction};
use linarite_core::hub::identity::{AuthenticationMechanism, DeviceStatus, Identity};
use linarite_core::hub::session;
use linarite_core::hub::twin::DeviceTwin;
use linarite_core::id::{DeviceId, HubHostName, IdentityId, Precondition};
use linarite_env::event::{Fingerprint, Reason};
use linarite_env::{Event, UnixMillis};

use super::hub::Hub;
use super::mailbox::Command;
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
}

impl IdentityView {
    pub(crate) fn of(held: &Registered) -> Self {
        Self {
            identity: held.identity.clone(),
            connected: held.live.is_some(),
            connection_changed: held.connection_changed,
            last_activity: held.last_activity,
        }
    }
}

/// A session that ends, with the rule and the reason.
type Ended = (LiveSession, &'static str, &'static str);

/// What an operator may set of an identity.
#[derive(Clone, Debug)]
pub(crate) struct IdentityDraft {
    pub(crate) status: DeviceStatus,
    pub(crate) status_reason: Option<String>,
    pub(crate) authentication: AuthenticationMechanism,
    pub(crate) iot_edge: bool,
    pub(crate) managed_by: Option<Box<str>>,
}

impl Hub {
    /// The device or module of that id.
    pub(crate) fn identity(&self, id: &IdentityId) -> Result<IdentityView, ServiceError> {
        let view = self.devices.read(id, IdentityView::of);
        view.ok_or_else(|| ServiceError::identity_not_found(id))
    }

    /// The first `top` devices by id.
    pub(crate) fn first_devices(&self, top: usize) -> Vec<IdentityView> {
        self.views(&self.devices.ids(top))
    }

    /// The modules of a device by id.
    pub(crate) fn modules(&self, device: &DeviceId) -> Result<Vec<IdentityView>, ServiceError> {
        let ids = self.devices.module_ids(device);
        let ids = ids.ok_or_else(|| ServiceError::identity_not_found(&device.into()))?;
        Ok(self.views(&ids))
    }

    fn views(&self, ids: &[IdentityId]) -> Vec<IdentityView> {
        let view = |id| self.devices.read(id, IdentityView::of);
        ids.iter().filter_map(view).collect()
    }

    /// Creates or replaces an identity, as `precondition` allows.
    pub(crate) fn put_identity(
        &self,
        id: &IdentityId,
        precondition: &Precondition,
        draft: IdentityDraft,
    ) -> Result<IdentityView, ServiceError> {
        let now = self.env.clock.now_ms();
        let mut ended = None;
        let written = self.devices.place(id, |spot| {
            let current = spot.registered.as_ref().map(|held| &held.identity.etag);
            if let Err(failed) = precondition.check(current) {
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
                        let twin = DeviceTwin::new(&rfc3339(now));
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
        self.end_sessions(ended);
        self.end_modules_of_disabled(&view.identity);
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

    /// Deletes an identity with its twin and ends its session, for a device those of its modules
    /// as well (R-E6, R-G5).
    pub(crate) fn delete_identity(
        &self,
        id: &IdentityId,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        let removed = self.devices.remove(id, |held| {
            let current = held.map(|held| &held.identity.etag);
            precondition
                .check_delete(current)
                .map_err(|failed| ServiceError::hub_precondition(&failed, id))
        })?;
        for held in removed {
            self.tell_deleted(&held.identity.id);
            let ended = held
                .live
                .map(|live| (live, "R-E6", "the identity was deleted"));
            self.end_sessions(ended);
        }
        Ok(())
    }

    /// Writes what DPS decided: identity first, then twin, then the old hub's identity away.
    pub(crate) fn provision<'a>(
        &self,
        assignment: &Assignment,
        presented: Option<Fingerprint>,
        find: impl Fn(&HubHostName) -> Option<&'a std::sync::Arc<Hub>>,
    ) {
        let moved_from = match &assignment.data {
            DataAction::MigrateFrom(old) | DataAction::ResetFrom(old) => find(old),
            DataAction::Create | DataAction::KeepOnSameHub | DataAction::ResetOnSameHub => None,
        };
        let twin = self.twin_for(assignment, moved_from.map(|hub| &**hub));
        self.write_provisioned(assignment, twin, presented);
        if let Some(old) = moved_from {
            // R-C8: the move costs the old hub's session, queue and identity.
            let _ = old.delete_identity(&(&assignment.device_id).into(), &Precondition::None);
        }
    }

    /// The twin a provisioned device starts with, unless it keeps the one it has.
    fn twin_for(&self, assignment: &Assignment, old: Option<&Hub>) -> DeviceTwin {
        let now = rfc3339(self.env.clock.now_ms());
        if let (DataAction::MigrateFrom(_), Some(old)) = (&assignment.data, old)
            && let Some(twin) = old
                .devices
                .read(&(&assignment.device_id).into(), |held| held.twin.clone())
        {
            return twin;
        }
        let initial = assignment.initial_twin.as_ref();
        initial
            .and_then(|initial| DeviceTwin::from_initial(initial, &now).ok())
            .unwrap_or_else(|| DeviceTwin::new(&now))
    }

    fn write_provisioned(
        &self,
        assignment: &Assignment,
        twin: DeviceTwin,
        presented: Option<Fingerprint>,
    ) {
        let id = &IdentityId::from(&assignment.device_id);
        let now = self.env.clock.now_ms();
        let draft = IdentityDraft {
            status: DeviceStatus::Enabled,
            status_reason: None,
            authentication: assignment.authentication.clone(),
            iot_edge: assignment.iot_edge,
            managed_by: None,
        };
        let mut ended = None;
        let written = self.devices.place(id, |spot| match spot.registered {
            // R-C4, R-B25: an identity that is there keeps its twin and generation; only its
            // credentials change, unless the policy resets it (R-C5).
            Some(held) => {
                let before = held.identity.clone();
                if assignment.updates_credentials {
                    held.identity.authentication = draft.authentication;
                }
                held.identity.etag = self.names.etag();
                if assignment.data == DataAction::ResetOnSameHub {
                    held.twin = twin;
                    held.twin_etag = self.names.etag();
                }
                ended = self.ended_session(&before, held);
                (Place::Keep, (held.identity.clone(), false))
            }
            None => {
                let mut held = self.new_identity(id, draft, twin);
                held.identity.status_updated_ms = Some(now.0);
                let identity = held.identity.clone();
                (Place::Put(Box::new(held)), (identity, true))
            }
        });
        // Only a module's place can be missing.
        let Ok((identity, created)) = written else {
            return;
        };
        tracing::debug!(device_id = id.as_str(), ?presented, created, "provisioned");
        self.tell_written(&identity, created);
        self.end_sessions(ended);
    }

    fn new_identity(&self, id: &IdentityId, draft: IdentityDraft, twin: DeviceTwin) -> Registered {
        let identity = Identity {
            id: id.clone(),
            generation_id: self.names.generation_id(),
            etag: self.names.etag(),
            status: draft.status,
            status_reason: draft.status_reason,
            status_updated_ms: None,
            authentication: draft.authentication,
            iot_edge: draft.iot_edge,
            managed_by: draft.managed_by,
        };
        Registered::new(identity, twin)
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
        identity.etag = self.names.etag();
    }

    /// Takes the session away that does not survive the change, with the rule and the reason.
    fn ended_session(&self, before: &Identity, held: &mut Registered) -> Option<Ended> {
        let cut = session::cut(before, &held.identity, &self.settings)?;
        let live = held.live.take()?;
        Some((live, cut.rule(), cut.reason()))
    }

    /// The modules of a disabled device are cut off with it (R-E6, R-G4). None of them comes back
    /// meanwhile: admission looks at the device as well.
    fn end_modules_of_disabled(&self, identity: &Identity) {
        if identity.status == DeviceStatus::Disabled && !identity.id.is_module() {
            let cut = session::Cut::Disabled;
            let sessions = self.devices.take_module_sessions(&identity.id);
            self.end_sessions(
                sessions
                    .into_iter()
                    .map(|live| (live, cut.rule(), cut.reason())),
            );
        }
    }

    fn end_sessions(&self, ended: impl IntoIterator<Item = Ended>) {
        for (session, rule, why) in ended {
            let reason = Reason {
                rule,
                code: 404_104,
                text: why.to_owned(),
            };
            // A close always fits into a mailbox.
            let _ = session.mailbox.put(Command::Close(reason));
        }
    }

    fn tell_written(&self, identity: &Identity, created: bool) {
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
