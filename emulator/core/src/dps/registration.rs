//! One registration attempt, from the evidence to a decision that leaves nothing to decide.

use std::sync::Arc;

use serde_json::Value;

use super::allocation::{
    self, Allocated, AllocationFailure, AllocationQuestion, HubAccess, LinkedHubs,
};
use super::attestation::tpm::TpmChallenge;
use super::attestation::{self, Attested, Evidence, PresentedAttestation};
use super::enrollment::{Enrollment, EnrollmentGroup, IndividualEnrollment, InitialTwin, Slot};
use super::precedence;
use super::reprovision::{self, DeviceApi, RegistrationSubstatus, ReprovisionPolicy};
use crate::certificate::path::CaStore;
use crate::certificate::{Certificate, Thumbprint};
use crate::hub::identity::AuthenticationMechanism;
use crate::id::{DeviceId, HubHostName, RegistrationId};
use crate::settings::{HubThumbprints, Settings};
use crate::time::UnixTime;

mod refusal;

pub use refusal::Refusal;

/// What a device asks and shows.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The id it asks for.
    pub registration_id: &'a RegistrationId,
    /// What it shows.
    pub presented: PresentedAttestation<'a>,
    /// How it came.
    pub transport: Transport,
    /// The API it speaks.
    pub api: DeviceApi,
}

/// What carries a registration. A WebSocket adds nothing to what is inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Requests and answers.
    Https,
    /// A session.
    Mqtt,
}

/// What an instance knows that bears on one device.
#[derive(Clone, Copy, Debug)]
pub struct Book<'a> {
    /// The entry under the device's registration id, whatever its mechanism or status.
    pub individual: Option<&'a IndividualEnrollment>,
    /// All groups, in any order.
    pub groups: &'a [Arc<EnrollmentGroup>],
    /// The instance's CA certificates.
    pub ca_store: &'a CaStore,
    /// What the device's TPM was last challenged with (R-A35).
    pub tpm_challenge: Option<&'a TpmChallenge>,
}

/// Where the registration record says the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAssignment {
    /// Its hub.
    pub hub: HubHostName,
    /// Its id there, as first spelled.
    pub device_id: DeviceId,
}

/// How an accepted registration ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A webhook must be asked; `allocation::resume` goes on.
    Ask(AllocationQuestion),
    /// With an assignment, to be carried out as it stands.
    Assign(Assignment),
    /// With status `disabled` (R-A27).
    Disabled {
        /// The entry that blocks.
        enrollment: EnrollmentRef,
    },
    /// With status `failed` (R-B14).
    Failed {
        /// The entry that let the device in.
        enrollment: EnrollmentRef,
        /// What came to nothing.
        failure: AllocationFailure,
    },
}

/// An entry by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentRef {
    /// Registration id or group id, as spelled.
    pub id: String,
    /// Whether it is a group.
    pub group: bool,
}

/// Everything there is to carry out.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The device, as it spelled itself this time.
    pub registration_id: RegistrationId,
    /// Its id at the hub.
    pub device_id: DeviceId,
    /// The hub.
    pub hub: HubHostName,
    /// What the hub will accept from it.
    pub authentication: AuthenticationMechanism,
    /// Whether `authentication` replaces what the hub has. Always, but for one setting (I-6).
    pub updates_credentials: bool,
    /// What happens to identity and twin.
    pub data: DataAction,
    /// How it came about.
    pub substatus: RegistrationSubstatus,
    /// What the twin starts with, where one is started: by `data`, or because there is none to
    /// keep or to move.
    pub initial_twin: Option<InitialTwin>,
    /// Whether the identity is an IoT Edge device.
    pub iot_edge: bool,
    /// The entry that allowed it.
    pub enrollment: EnrollmentRef,
    /// The slot that satisfied it.
    pub slot: Slot,
    /// The webhook's word to the device (R-B17).
    pub payload: Option<Value>,
}

/// What happens to identity and twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataAction {
    /// Made on the hub; one that is there already is taken over with its twin (R-B25).
    Create,
    /// Left alone, credentials aside (R-C4, R-C6).
    KeepOnSameHub,
    /// Moved from another hub, whose identity is deleted (R-C2).
    MigrateFrom(HubHostName),
    /// Made afresh, and the identity on another hub deleted (R-C3).
    ResetFrom(HubHostName),
    /// Twin made afresh, identity kept (R-C5).
    ResetOnSameHub,
}

impl From<Enrollment<'_>> for EnrollmentRef {
    fn from(enrollment: Enrollment<'_>) -> Self {
        match enrollment {
            Enrollment::Group(entry) => Self {
                id: entry.enrollment_group_id.as_str().to_owned(),
                group: true,
            },
            Enrollment::Individual(entry) => Self {
                id: entry.registration_id.as_str().to_owned(),
                group: false,
            },
        }
    }
}

/// Judges one registration attempt.
///
/// Four rooms, one corridor: which entry speaks, whether the evidence satisfies it, whether it is
/// enabled, and where the device goes. Evidence comes before status (I-12).
///
/// Takes:   the attempt, the entries, the past assignment, the hubs; `now` in Unix seconds.
/// Gives:   a [`Decision`] without choices left.
/// Errors:  [`Refusal`], in the order of the rooms.
/// Source:  behaviour.md R-A19, R-A27, R-C1, I-12.
pub fn decide(
    attempt: &Attempt<'_>,
    book: &Book<'_>,
    past: Option<&PastAssignment>,
    hubs: &LinkedHubs,
    settings: &Settings,
    now: UnixTime,
) -> Result<Decision, Refusal> {
    if settings.strict_ids {
        attempt.registration_id.check_strict()?;
    }
    let governing = precedence::governing(attempt, book, settings, now)?;
    let attested = attestation::attest(governing, attempt, book, settings, now)?;
    if let Some(entry) = precedence::blocking(&attested, book, settings) {
        return Ok(Decision::Disabled {
            enrollment: entry.into(),
        });
    }
    let policy = *attested.enrollment().reprovision_policy();
    let policy = reprovision::in_force(policy, attempt.api);
    let movement = reprovision::judge(policy, past);
    let draft = Draft::new(attempt.registration_id, &attested, policy, past, settings);
    Ok(
        match allocation::allocate(&attested, attempt.registration_id, movement, hubs) {
            Allocated::Ask {
                webhook,
                linked_hubs,
            } => Decision::Ask(AllocationQuestion::new(webhook, linked_hubs, draft)),
            Allocated::Hub(hub) => draft.assign(hub, None, None, hubs),
            Allocated::Nowhere(failure) => draft.fail(failure),
        },
    )
}

// === from attested to assigned ===

/// An assignment that lacks only its hub.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    registration_id: RegistrationId,
    device_id: DeviceId,
    authentication: AuthenticationMechanism,
    policy: ReprovisionPolicy,
    past: Option<PastAssignment>,
    initial_twin: Option<InitialTwin>,
    iot_edge: bool,
    enrollment: EnrollmentRef,
    slot: Slot,
    settings: Settings,
}

impl Draft {
    fn new(
        registration_id: &RegistrationId,
        attested: &Attested<'_>,
        policy: ReprovisionPolicy,
        past: Option<&PastAssignment>,
        settings: &Settings,
    ) -> Self {
        let entry = attested.enrollment();
        // A recorded id outlives an edit of the entry (R-B24) and another spelling (R-A3).
        let device_id = match past {
            Some(past) => past.device_id.clone(),
            None => entry.device_id(registration_id),
        };
        Self {
            registration_id: registration_id.clone(),
            device_id,
            authentication: authentication(attested, settings),
            policy,
            past: past.cloned(),
            initial_twin: entry.initial_twin().clone(),
            iot_edge: entry.iot_edge(),
            enrollment: entry.into(),
            slot: attested.slot(),
            settings: *settings,
        }
    }

    pub(super) fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    pub(super) fn enrollment(&self) -> &EnrollmentRef {
        &self.enrollment
    }

    pub(super) fn past(&self) -> Option<&PastAssignment> {
        self.past.as_ref()
    }

    /// R-B17: the webhook's twin replaces the entry's, but not where the hub stays the same.
    pub(super) fn assign(
        self,
        hub: HubHostName,
        told_twin: Option<InitialTwin>,
        payload: Option<Value>,
        hubs: &LinkedHubs,
    ) -> Decision {
        if let Some(shut) = self.shut_out(&hub, hubs) {
            let failure = AllocationFailure::hub_unauthorized(shut);
            return self.fail(failure);
        }
        let (policy, past) = (self.policy, self.past.as_ref());
        let linked = |name: &HubHostName| hubs.find(name).is_some();
        let (data, substatus) = reprovision::settle(policy, past, &hub, linked, &self.settings);
        let initial_twin = match &data {
            DataAction::Create | DataAction::ResetFrom(_) => told_twin.or(self.initial_twin),
            DataAction::KeepOnSameHub | DataAction::MigrateFrom(_) | DataAction::ResetOnSameHub => {
                self.initial_twin
            }
        };
        let frozen = self.past.is_some() && !policy.update_hub_assignment;
        Decision::Assign(Assignment {
            registration_id: self.registration_id,
            device_id: self.device_id,
            hub,
            authentication: self.authentication,
            updates_credentials: !frozen || self.settings.never_updates_credentials,
            data,
            substatus,
            initial_twin,
            iot_edge: self.iot_edge,
            enrollment: self.enrollment,
            slot: self.slot,
            payload,
        })
    }

    /// R-B14: what failed is remembered with the entry that let the device in.
    pub(super) fn fail(self, failure: AllocationFailure) -> Decision {
        Decision::Failed {
            enrollment: self.enrollment,
            failure,
        }
    }

    /// The hub whose registry DPS would have to write and may not: the chosen one, or the one
    /// the device would leave (A.5, 400209).
    fn shut_out<'h>(&self, chosen: &HubHostName, hubs: &'h LinkedHubs) -> Option<&'h HubHostName> {
        let left = self.past.as_ref().map(|past| &past.hub);
        let needed = std::iter::once(chosen).chain(left);
        needed
            .filter_map(|name| hubs.find(name))
            .find(|link| link.access == HubAccess::Refused)
            .map(|link| &link.name)
    }
}

/// What the hub will accept: the keys, or the leaf itself and never its issuer (R-B18, R-B22).
fn authentication(attested: &Attested<'_>, settings: &Settings) -> AuthenticationMechanism {
    match attested.evidence() {
        Evidence::Keys { primary, secondary } => AuthenticationMechanism::Sas {
            primary: primary.clone(),
            secondary: secondary.clone(),
        },
        Evidence::Leaf { leaf, .. } => {
            let presented = Thumbprint::Sha256(leaf.fingerprint());
            // R-B19, R-B20, I-2.
            let secondary = match settings.hub_thumbprints {
                HubThumbprints::PresentedBoth => presented,
                HubThumbprints::PresentedThenOther => other_leaf(attested)
                    .map_or(presented, |other| Thumbprint::Sha256(other.fingerprint())),
            };
            AuthenticationMechanism::SelfSigned {
                primary: Some(presented),
                secondary: Some(secondary),
            }
        }
    }
}

/// The certificate in the slot that was not used, if the entry is one of leaf certificates.
fn other_leaf<'a>(attested: &Attested<'a>) -> Option<&'a Certificate> {
    use super::attestation::{AttestationMechanism, X509Attestation};
    match attested.enrollment().attestation() {
        AttestationMechanism::X509(X509Attestation::ClientCertificates(slots)) => {
            slots.get(attested.slot().other())
        }
        AttestationMechanism::SymmetricKey { .. }
        | AttestationMechanism::Tpm { .. }
        | AttestationMechanism::X509(_) => None,
    }
}

#[cfg(test)]
mod tests;
