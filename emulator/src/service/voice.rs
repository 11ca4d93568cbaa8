//! What a hub says itself at its event endpoint: of identities, twins and connections (R-G39,
//! R-G40).
//!
//! Nothing is said of a source that no route asks for, and nothing is spent on it.

use std::sync::Arc;

use linarite_core::hub::message::MessageSource;
use linarite_core::hub::notification::{Notification, Operation, message};
use linarite_core::id::IdentityId;
use linarite_env::Clock;
use serde_json::Value;

use super::hub::Hub;
use super::twin::TwinDraft;
use crate::config::HubConfig;
use crate::names::{Names, rfc3339};
use crate::store::devices::Registered;
use crate::store::events::EventLog;
use crate::wire::notification as body;

/// The hub's own voice.
pub(crate) struct Voice {
    routes: Vec<MessageSource>,
    hub: Box<str>,
    log: Arc<EventLog>,
    names: Arc<Names>,
    clock: Clock,
}

impl Voice {
    pub(crate) fn new(
        config: &HubConfig,
        log: &Arc<EventLog>,
        names: &Arc<Names>,
        clock: &Clock,
    ) -> Self {
        let host = config.host.as_str();
        Self {
            routes: config.events.routes.clone(),
            hub: host.split('.').next().unwrap_or(host).into(),
            log: Arc::clone(log),
            names: Arc::clone(names),
            clock: clock.clone(),
        }
    }

    /// Whether a route asks for it.
    pub(crate) fn speaks_of(&self, source: MessageSource) -> bool {
        self.routes.contains(&source)
    }

    /// Tells of an identity, if a route asks for it; only then is `body` made.
    pub(crate) fn tell(&self, operation: Operation, id: &IdentityId, body: impl FnOnce() -> Value) {
        if !self.speaks_of(operation.source()) {
            return;
        }
        let body = body().to_string();
        let notification = Notification {
            operation,
            id,
            hub: &self.hub,
            at_text: &rfc3339(self.clock.now_ms()),
            correlation_id: &self.names.correlation_id(),
            body: body.as_bytes(),
        };
        self.log.append(message(&notification));
    }
}

impl Hub {
    /// Tells that an identity came or went, or that its twin was replaced, with the whole twin.
    pub(super) fn tell_whole(&self, operation: Operation, held: &Registered) {
        let id = &held.identity.id;
        self.voice.tell(operation, id, || {
            body::twin(id, &held.twin_etag, &held.twin)
        });
    }

    /// Tells that the back end wrote a twin. Called under the lock of its device, so that events
    /// are in the order of the versions.
    pub(super) fn tell_twin_written(&self, held: &Registered, draft: &TwinDraft, merge: bool) {
        let (id, twin) = (&held.identity.id, &held.twin);
        if merge {
            let (tags, desired) = (draft.tags.as_ref(), draft.desired.as_ref());
            if tags.is_some() || desired.is_some() {
                let update = || body::update(twin, tags, desired, None);
                self.voice.tell(Operation::UpdateTwin, id, update);
            }
        } else {
            self.tell_whole(Operation::ReplaceTwin, held);
        }
    }

    /// Tells that a device or module reported something. Called under the lock of its device.
    pub(super) fn tell_reported(&self, held: &Registered, patch: &Value) {
        let id = &held.identity.id;
        self.voice.tell(Operation::UpdateTwin, id, || {
            body::update(&held.twin, None, None, Some(patch))
        });
    }
}
