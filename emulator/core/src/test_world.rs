//! A DPS instance, its record of one device per id, and its hub, for tests that tell a story.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::certificate::Chain;
use crate::certificate::path::CaStore;
use crate::dps::allocation::{LinkedHub, LinkedHubs};
use crate::dps::attestation::PresentedAttestation;
use crate::dps::attestation::tpm::TpmChallenge;
use crate::dps::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use crate::dps::registration::{
    Assignment, Attempt, Book, Decision, PastAssignment, Refusal, Transport, decide,
};
use crate::dps::reprovision::DeviceApi;
use crate::hub::admission::{
    AdmissionError, Admitted, Found, HubFacts, PresentedCredential, admit,
};
use crate::hub::identity::Identity;
use crate::id::{IdentityId, RegistrationId};
use crate::settings::Settings;
use crate::test_pki::{NOW, etag, hub, registration_id};
use crate::time::UnixTime;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) individuals: Vec<IndividualEnrollment>,
    pub(crate) groups: Vec<Arc<EnrollmentGroup>>,
    pub(crate) ca_store: CaStore,
    pub(crate) hubs: LinkedHubs,
    pub(crate) tpm_challenge: Option<TpmChallenge>,
    pub(crate) transport: Transport,
    pub(crate) settings: Settings,
    pub(crate) api: DeviceApi,
    pub(crate) now: UnixTime,
    pub(crate) records: BTreeMap<RegistrationId, PastAssignment>,
    pub(crate) identities: BTreeMap<String, Identity>,
}

impl World {
    pub(crate) fn new(ca_store: CaStore) -> Self {
        Self {
            individuals: Vec::new(),
            groups: Vec::new(),
            ca_store,
            hubs: linked(&["h1"]),
            tpm_challenge: None,
            transport: Transport::Https,
            settings: Settings::default(),
            api: DeviceApi::default(),
            now: NOW,
            records: BTreeMap::new(),
            identities: BTreeMap::new(),
        }
    }

    pub(crate) fn with_group(mut self, group: EnrollmentGroup) -> Self {
        self.set_group(group);
        self
    }

    pub(crate) fn with_individual(mut self, entry: IndividualEnrollment) -> Self {
        self.set_individual(entry);
        self
    }

    pub(crate) fn set_group(&mut self, group: EnrollmentGroup) {
        self.groups
            .retain(|known| known.enrollment_group_id != group.enrollment_group_id);
        self.groups.push(Arc::new(group));
    }

    pub(crate) fn set_individual(&mut self, entry: IndividualEnrollment) {
        self.individuals
            .retain(|known| known.registration_id != entry.registration_id);
        self.individuals.push(entry);
    }

    pub(crate) fn decide(
        &self,
        id: &RegistrationId,
        presented: PresentedAttestation<'_>,
    ) -> Result<Decision, Refusal> {
        let individual = self
            .individuals
            .iter()
            .find(|entry| entry.registration_id == *id);
        let book = Book {
            individual,
            groups: &self.groups,
            ca_store: &self.ca_store,
            tpm_challenge: self.tpm_challenge.as_ref(),
        };
        let attempt = Attempt {
            registration_id: id,
            presented,
            transport: self.transport,
            api: self.api,
        };
        let past = self.records.get(id);
        decide(&attempt, &book, past, &self.hubs, &self.settings, self.now)
    }

    /// Registers under the leaf's name and carries the decision out.
    pub(crate) fn register(&mut self, chain: &Chain) -> String {
        let id = registration_id(chain.leaf().common_name().unwrap());
        let decision = self.decide(&id, PresentedAttestation::X509(chain));
        if let Ok(Decision::Assign(assignment)) = &decision {
            self.carry_out(assignment);
        }
        told(&decision)
    }

    fn carry_out(&mut self, assignment: &Assignment) {
        let Assignment {
            registration_id,
            device_id,
            hub,
            ..
        } = assignment;
        let past = PastAssignment {
            hub: hub.clone(),
            device_id: device_id.clone(),
        };
        self.records.insert(registration_id.clone(), past);
        let generation = self.identities.len().to_string();
        let identity = self.identities.entry(device_id.to_string());
        let identity = identity.or_insert_with(|| {
            let authentication = assignment.authentication.clone();
            Identity::new(device_id.into(), generation, etag(), authentication)
        });
        if assignment.updates_credentials {
            identity.authentication = assignment.authentication.clone();
        }
    }

    /// Connects to the hub under the leaf's name.
    pub(crate) fn connect(&self, chain: &Chain) -> String {
        let device_id = chain.leaf().common_name().unwrap();
        let credential = PresentedCredential::Certificate(chain);
        let id = IdentityId::parse(device_id).unwrap();
        match admit_at_h1(&id, self.identities.get(device_id), credential, self.now) {
            Ok(_) => "connected".to_owned(),
            Err(error) => refused(&error),
        }
    }
}

/// Judges a device at the hub `h1`, which knows no CA certificate.
pub(crate) fn admit_at_h1(
    id: &IdentityId,
    identity: Option<&Identity>,
    presented: PresentedCredential<'_>,
    now: UnixTime,
) -> Result<Admitted, AdmissionError> {
    let facts = HubFacts {
        host: &hub("h1"),
        ca_store: &CaStore::new(),
        settings: &Settings::default(),
    };
    admit(id, identity.map(Found::device), presented, &facts, now)
}

pub(crate) fn linked(names: &[&str]) -> LinkedHubs {
    let hubs = names.iter().map(|name| LinkedHub::new(hub(name))).collect();
    LinkedHubs {
        hubs,
        ..LinkedHubs::default()
    }
}

fn refused(error: &AdmissionError) -> String {
    format!("{} {}", error.code(), error.rule())
}

/// A decision in a few words: `assigned <entry> <slot>`, `disabled <entry>`, `<code> <rule>`.
pub(crate) fn told(decision: &Result<Decision, Refusal>) -> String {
    match decision {
        Ok(Decision::Ask(question)) => format!("ask {}", question.webhook().webhook_url),
        Ok(Decision::Assign(assignment)) => {
            format!(
                "assigned {} {:?}",
                assignment.enrollment.id, assignment.slot
            )
        }
        Ok(Decision::Disabled { enrollment }) => format!("disabled {}", enrollment.id),
        Ok(Decision::Failed { failure, .. }) => format!("failed {}", failure.code),
        Err(refusal) => format!("{} {}", refusal.code(), refusal.rule()),
    }
}

pub(crate) fn disabled(mut group: EnrollmentGroup) -> EnrollmentGroup {
    group.provisioning_status = ProvisioningStatus::Disabled;
    group
}

pub(crate) fn disabled_individual(mut entry: IndividualEnrollment) -> IndividualEnrollment {
    entry.provisioning_status = ProvisioningStatus::Disabled;
    entry
}
