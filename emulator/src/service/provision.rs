//! What DPS writes at a hub: the identity, its twin, and what becomes of both on the hub that the
//! device leaves (behaviour B.3, C.1).

use std::sync::Arc;

use bytes::Bytes;
use linarite_core::dps::registration::{Assignment, DataAction};
use linarite_core::hub::identity::DeviceStatus;
use linarite_core::hub::notification::Operation;
use linarite_core::hub::twin::{DeviceTwin, InitialTwin};
use linarite_core::id::{HubHostName, IdentityId, Precondition};
use linarite_env::Event;
use linarite_env::event::Fingerprint;
use serde_json::Value;

use super::hub::Hub;
use super::mailbox::Command;
use super::registry::IdentityDraft;
use crate::mqtt::topic::HubFilter;
use crate::names::rfc3339;
use crate::store::devices::{Place, Registered};

/// What an identity starts with, or takes over from another hub.
struct Start {
    twin: DeviceTwin,
    iot_edge: bool,
}

impl Hub {
    /// Writes what DPS decided: identity first, then twin, then the old hub's identity away.
    pub(crate) fn provision<'a>(
        &self,
        assignment: &Assignment,
        presented: Option<Fingerprint>,
        find: impl Fn(&HubHostName) -> Option<&'a Arc<Hub>>,
    ) {
        let moved_from = match &assignment.data {
            DataAction::MigrateFrom(old) | DataAction::ResetFrom(old) => find(old),
            DataAction::Create | DataAction::KeepOnSameHub | DataAction::ResetOnSameHub => None,
        };
        let start = self.start(assignment, moved_from.map(|hub| &**hub));
        self.write_provisioned(assignment, start, presented);
        if let Some(old) = moved_from {
            // R-C8: the move costs the old hub's session, queue and identity.
            let id = IdentityId::from(&assignment.device_id);
            let _ = old.delete_identity(&id, |current| Precondition::None.check_delete(current));
        }
    }

    /// What a device that moves brings along (R-C2), else what its entry says (R-B23, R-C3).
    fn start(&self, assignment: &Assignment, old: Option<&Hub>) -> Start {
        let brought = old
            .filter(|_| matches!(assignment.data, DataAction::MigrateFrom(_)))
            .and_then(|old| {
                let id = IdentityId::from(&assignment.device_id);
                old.devices.read(&id, |held| Start {
                    twin: held.twin.clone(),
                    iot_edge: held.identity.iot_edge,
                })
            });
        brought.unwrap_or_else(|| {
            let now = rfc3339(self.env.clock.now_ms());
            let initial = assignment.initial_twin.as_ref();
            Start {
                twin: initial.map_or_else(
                    || DeviceTwin::new(&now),
                    |initial| DeviceTwin::from_initial(initial, &now),
                ),
                iot_edge: assignment.iot_edge,
            }
        })
    }

    fn write_provisioned(
        &self,
        assignment: &Assignment,
        start: Start,
        presented: Option<Fingerprint>,
    ) {
        let id = &IdentityId::from(&assignment.device_id);
        let now = self.env.clock.now_ms();
        let draft = IdentityDraft {
            status: DeviceStatus::Enabled,
            status_reason: None,
            authentication: assignment.authentication.clone(),
            iot_edge: start.iot_edge,
            managed_by: None,
            scopes: None,
        };
        let mut ended = None;
        let written = self.devices.place(id, |spot| match spot.registered {
            // R-C4, R-B25: an identity that is there keeps its generation; what else it keeps
            // depends on what brought the device here.
            Some(held) => {
                let before = held.identity.clone();
                if assignment.updates_credentials {
                    held.identity.authentication = draft.authentication;
                }
                held.identity.etag = self.names.etag();
                self.keep_or_start_over(assignment, start, held);
                ended = self.ended_session(&before, held);
                (Place::Keep, (held.identity.clone(), false))
            }
            None => {
                let mut held = self.new_identity(id, draft, start.twin);
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
        if let Some((live, cut)) = ended {
            self.cut_off(&live, cut);
        }
        if !created && assignment.data == DataAction::ResetOnSameHub {
            self.announce_desired(id);
        }
    }

    /// The twin and capabilities of an identity that was there before the device came.
    fn keep_or_start_over(&self, assignment: &Assignment, start: Start, held: &mut Registered) {
        match assignment.data {
            DataAction::Create | DataAction::KeepOnSameHub => return,
            DataAction::MigrateFrom(_) | DataAction::ResetFrom(_) => {
                held.twin = start.twin;
                held.identity.iot_edge = start.iot_edge;
            }
            DataAction::ResetOnSameHub => {
                let now = rfc3339(self.env.clock.now_ms());
                let empty = InitialTwin::default();
                let initial = assignment.initial_twin.as_ref().unwrap_or(&empty);
                held.twin.reset(initial, &now);
            }
        }
        held.twin_etag = self.names.etag();
        self.tell_whole(Operation::ReplaceTwin, held);
    }

    /// Tells a connected device that asked for it what is desired of it now (R-G23).
    fn announce_desired(&self, id: &IdentityId) {
        let told = self.devices.read(id, |device| {
            let version = device.twin.desired_version();
            let mut desired = device.twin.desired().clone();
            desired.insert("$version".to_owned(), version.into());
            let live = device.live.as_ref();
            let listener = live.filter(|live| live.subscriptions.has(HubFilter::DesiredChanges));
            let mailbox = listener.map(|live| Arc::clone(&live.mailbox));
            (version, Value::Object(desired), mailbox)
        });
        let Some((version, desired, mailbox)) = told else {
            return;
        };
        if let Some(mailbox) = mailbox {
            let patch = Bytes::from(desired.to_string());
            let _ = mailbox.put(Command::DesiredChanged { version, patch });
        }
        self.env.events.emit(Event::TwinChanged {
            hub: self.name(),
            device_id: id.text(),
            reported: false,
            version,
        });
    }
}
