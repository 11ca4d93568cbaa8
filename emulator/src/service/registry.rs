//! The identity registry of a hub: what operators and DPS write there (behaviour B.3, F.2, G.1).

use linarite_core::certificate::Thumbprint;
use linarite_core::dps::registration::{Assignment, DataAction};
use linarite_core::hub::identity::{AuthenticationMechanism, DeviceIdentity, DeviceStatus};
use linarite_core::hub::session;
use linarite_core::hub::twin::DeviceTwin;
use linarite_core::id::{DeviceId, HubHostName, Precondition};
use linarite_env::event::{Fingerprint, Reason};
use linarite_env::{Event, UnixMillis};

use super::hub::Hub;
use super::mailbox::Command;
use crate::error::ServiceError;
use crate::limits::DEVICES_MAX;
use crate::names::rfc3339;
use crate::store::devices::{Device, LiveSession, Place};

/// A device as the registry shows it.
#[derive(Clone, Debug)]
pub(crate) struct DeviceView {
    pub(crate) identity: DeviceIdentity,
    pub(crate) connected: bool,
    pub(crate) connection_changed: Option<UnixMillis>,
    pub(crate) last_activity: Option<UnixMillis>,
}

impl DeviceView {
    fn of(device: &Device) -> Self {
        Self {
            identity: device.identity.clone(),
            connected: device.live.is_some(),
            connection_changed: device.connection_changed,
            last_activity: device.last_activity,
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
}

impl Hub {
    /// The device of that id.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<DeviceView> {
        self.devices.read(id, DeviceView::of)
    }

    /// The first `top` devices by id.
    pub(crate) fn first_devices(&self, top: usize) -> Vec<DeviceView> {
        self.devices
            .ids(top)
            .iter()
            .filter_map(|id| self.device(id))
            .collect()
    }

    /// Creates or replaces an identity, as `precondition` allows.
    pub(crate) fn put_device(
        &self,
        id: &DeviceId,
        precondition: &Precondition,
        draft: IdentityDraft,
    ) -> Result<DeviceView, ServiceError> {
        let now = self.env.clock.now_ms();
        let mut ended = None;
        // Before the device's place is locked: counting takes every lock of the map.
        let full = self.devices_full();
        let view = self.devices.place(id, |place| {
            let current = place.as_ref().map(|device| device.identity.etag.clone());
            if let Err(failed) = precondition.check(current.as_ref()) {
                return (
                    Place::Keep,
                    Err(ServiceError::hub_precondition(&failed, id.as_str())),
                );
            }
            match place {
                Some(device) => {
                    let before = device.identity.clone();
                    self.overwrite(device, draft, now);
                    ended = self.ended_session(&before, device);
                    (Place::Keep, Ok((DeviceView::of(device), false)))
                }
                None if full => (
                    Place::Keep,
                    Err(ServiceError::limit("The hub holds no more devices.")),
                ),
                None => {
                    let device = self.new_device(id, draft, DeviceTwin::new(&rfc3339(now)));
                    let view = DeviceView::of(&device);
                    (Place::Put(Box::new(device)), Ok((view, true)))
                }
            }
        });
        let (view, created) = view?;
        self.tell_written(&view.identity, created);
        self.end_session(ended);
        Ok(view)
    }

    /// Deletes an identity with its twin and ends its session (R-E6, R-G5).
    pub(crate) fn delete_device(
        &self,
        id: &DeviceId,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        let live = self.devices.place(id, |place| {
            let current = place.as_ref().map(|device| device.identity.etag.clone());
            match precondition.check_delete(current.as_ref()) {
                Err(failed) => (
                    Place::Keep,
                    Err(ServiceError::hub_precondition(&failed, id.as_str())),
                ),
                Ok(()) => (
                    Place::Clear,
                    Ok(place.and_then(|device| device.live.take())),
                ),
            }
        })?;
        self.tell_deleted(id);
        self.end_session(live.map(|session| (session, "R-E6", "the identity was deleted")));
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
            let _ = old.delete_device(&assignment.device_id, &Precondition::None);
        }
    }

    /// The twin a provisioned device starts with, unless it keeps the one it has.
    fn twin_for(&self, assignment: &Assignment, old: Option<&Hub>) -> DeviceTwin {
        let now = rfc3339(self.env.clock.now_ms());
        if let (DataAction::MigrateFrom(_), Some(old)) = (&assignment.data, old)
            && let Some(twin) = old
                .devices
                .read(&assignment.device_id, |device| device.twin.clone())
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
        let id = &assignment.device_id;
        let now = self.env.clock.now_ms();
        let draft = IdentityDraft {
            status: DeviceStatus::Enabled,
            status_reason: None,
            authentication: assignment.authentication.clone(),
            iot_edge: assignment.iot_edge,
        };
        let mut ended = None;
        let (identity, created) = self.devices.place(id, |place| match place {
            // R-C4, R-B25: an identity that is there keeps its twin and generation; only its
            // credentials change, unless the policy resets it (R-C5).
            Some(device) => {
                let before = device.identity.clone();
                if assignment.updates_credentials {
                    device.identity.authentication = draft.authentication;
                }
                device.identity.etag = self.names.etag();
                if assignment.data == DataAction::ResetOnSameHub {
                    device.twin = twin;
                }
                ended = self.ended_session(&before, device);
                (Place::Keep, (device.identity.clone(), false))
            }
            None => {
                let mut device = self.new_device(id, draft, twin);
                device.identity.status_updated_ms = Some(now.0);
                let identity = device.identity.clone();
                (Place::Put(Box::new(device)), (identity, true))
            }
        });
        tracing::debug!(device_id = id.as_str(), ?presented, created, "provisioned");
        self.tell_written(&identity, created);
        self.end_session(ended);
    }

    fn new_device(&self, id: &DeviceId, draft: IdentityDraft, twin: DeviceTwin) -> Device {
        let identity = DeviceIdentity {
            device_id: id.clone(),
            generation_id: self.names.generation_id(),
            etag: self.names.etag(),
            status: draft.status,
            status_reason: draft.status_reason,
            status_updated_ms: None,
            authentication: draft.authentication,
            iot_edge: draft.iot_edge,
        };
        Device::new(identity, twin)
    }

    fn overwrite(&self, device: &mut Device, draft: IdentityDraft, now: UnixMillis) {
        let identity = &mut device.identity;
        if identity.status != draft.status {
            identity.status_updated_ms = Some(now.0);
        }
        identity.status = draft.status;
        identity.status_reason = draft.status_reason;
        identity.authentication = draft.authentication;
        identity.iot_edge = draft.iot_edge;
        identity.etag = self.names.etag();
    }

    /// Takes the session away that does not survive the change, with the rule and the reason.
    fn ended_session(&self, before: &DeviceIdentity, device: &mut Device) -> Option<Ended> {
        let cut = session::cut(before, &device.identity, &self.settings)?;
        let live = device.live.take()?;
        Some((live, cut.rule(), cut.reason()))
    }

    fn end_session(&self, ended: Option<Ended>) {
        if let Some((session, rule, why)) = ended {
            let reason = Reason {
                rule,
                code: 404_104,
                text: why.to_owned(),
            };
            // A close always fits into a mailbox.
            let _ = session.mailbox.put(Command::Close(reason));
        }
    }

    fn devices_full(&self) -> bool {
        // One off under contention is of no consequence; the bound protects memory.
        self.device_count() >= DEVICES_MAX
    }

    fn tell_written(&self, identity: &DeviceIdentity, created: bool) {
        let (hub, device_id) = (self.name(), identity.device_id.as_str().into());
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

    fn tell_deleted(&self, id: &DeviceId) {
        let event = Event::IdentityDeleted {
            hub: self.name(),
            device_id: id.as_str().into(),
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
