//! Custom allocation: what a webhook is asked, and what becomes of its answer (R-B16, R-B17).

use serde_json::Value;

use super::{AllocationFailure, LinkedHubs, WebhookUrl};
use crate::dps::enrollment::InitialTwin;
use crate::dps::registration::{Decision, Draft, EnrollmentRef};
use crate::id::{DeviceId, HubHostName, RegistrationId};

/// The webhook of a custom policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomAllocationDefinition {
    /// Where to ask.
    pub webhook_url: WebhookUrl,
    /// Which version of the question to send.
    pub api_version: String,
}

/// A question only a webhook can answer. [`resume`] goes on from here.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationQuestion {
    webhook: CustomAllocationDefinition,
    linked_hubs: Vec<HubHostName>,
    draft: Draft,
}

/// What the webhook said.
#[derive(Clone, Debug, PartialEq)]
pub enum AllocationAnswer {
    /// It could not be asked, or its answer is unreadable.
    Failed {
        /// What happened, to go on a sentence that begins "Custom allocation failed". Without
        /// secrets.
        text: String,
    },
    /// A hub.
    Hub {
        /// The hub, which must be one of those it was told.
        hub: HubHostName,
        /// A twin to start with instead of the entry's.
        initial_twin: Option<InitialTwin>,
        /// Something for the device.
        payload: Option<Value>,
    },
}

impl AllocationQuestion {
    pub(in crate::dps) fn new(
        webhook: CustomAllocationDefinition,
        linked_hubs: Vec<HubHostName>,
        draft: Draft,
    ) -> Self {
        Self {
            webhook,
            linked_hubs,
            draft,
        }
    }

    /// Whom to ask.
    #[must_use]
    pub fn webhook(&self) -> &CustomAllocationDefinition {
        &self.webhook
    }

    /// The hubs to choose from: the present one alone if the hub may not change (R-B17).
    #[must_use]
    pub fn linked_hubs(&self) -> &[HubHostName] {
        &self.linked_hubs
    }

    /// The device.
    #[must_use]
    pub fn registration_id(&self) -> &RegistrationId {
        self.draft.registration_id()
    }

    /// The entry that speaks for it.
    #[must_use]
    pub fn enrollment(&self) -> &EnrollmentRef {
        self.draft.enrollment()
    }

    /// The hub it is assigned to now.
    #[must_use]
    pub fn current_hub(&self) -> Option<&HubHostName> {
        self.draft.past().map(|past| &past.hub)
    }

    /// The id it has there.
    #[must_use]
    pub fn current_device_id(&self) -> Option<&DeviceId> {
        self.draft.past().map(|past| &past.device_id)
    }
}

/// Goes on with a registration once the webhook has answered.
///
/// Takes:   the question as it stands now, the answer, and the hubs as they are linked now.
/// Gives:   an assignment, or a failure if the answer is none of the hubs offered or DPS may not
///          write there.
/// Source:  behaviour.md A.5, R-B16, R-B17.
#[must_use]
pub fn resume(
    question: AllocationQuestion,
    answer: AllocationAnswer,
    hubs: &LinkedHubs,
) -> Decision {
    let (hub, initial_twin, payload) = match answer {
        AllocationAnswer::Failed { text } => {
            return question.draft.fail(AllocationFailure::webhook(&text));
        }
        AllocationAnswer::Hub {
            hub,
            initial_twin,
            payload,
        } => (hub, initial_twin, payload),
    };
    let Some(hub) = question
        .linked_hubs
        .into_iter()
        .find(|offered| *offered == hub)
    else {
        let text = format!("because the webhook chose {hub}, which it was not offered");
        return question.draft.fail(AllocationFailure::webhook(&text));
    };
    question.draft.assign(hub, initial_twin, payload, hubs)
}
