//! What do the rules of a registration cost, over the signatures they must check?
//!
//! Unit: CPU time for each `dps::registration::decide`, chain parsed, device known from before.
//! Cases: a group by its intermediate under a verified root, an individual entry with a leaf
//! signed by a CA, and the group looked for among a hundred. Yardstick: two raw signature checks
//! (leaf and intermediate) by aws-lc-rs over the same bytes.
//!
//! Estimate: two checks take about 100 µs. The rest is comparing hashes, 200 of them for a hundred
//! groups, and a dozen small copies into the decision: 1 to 2 µs. So 1.02 × or less.

use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use linarite_core::certificate::{Certificate, Chain};
use linarite_core::dps::allocation::{LinkedHub, LinkedHubs};
use linarite_core::dps::attestation::{
    AttestationMechanism, PresentedAttestation, X509Attestation,
};
use linarite_core::dps::enrollment::{EnrollmentGroup, IndividualEnrollment, PrimarySecondary};
use linarite_core::dps::registration::{
    Attempt, Book, Decision, PastAssignment, Transport, decide,
};
use linarite_core::dps::reprovision::DeviceApi;
use linarite_core::id::{DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId};
use linarite_core::settings::Settings;

use crate::common::ratio::{self, Effort, Subject, cpu, interleave};
use crate::common::stage::{self, ISSUER};
use crate::path::{DEVICE, NOW, Presented, verify_all};

/// Which entry lets the device in.
#[derive(Clone, Copy)]
enum Case {
    Group,
    Individual,
    HundredGroups,
}

/// An instance that knows the device, and what the device shows.
struct World {
    presented: Presented,
    individual: Option<IndividualEnrollment>,
    groups: Vec<Arc<EnrollmentGroup>>,
    hubs: LinkedHubs,
    past: PastAssignment,
    id: RegistrationId,
}

impl World {
    fn new(case: Case) -> anyhow::Result<Self> {
        let presented = Presented::new(3)?;
        let chain = presented.chain()?;
        let hub = HubHostName::parse("hub-1")?;
        let id = RegistrationId::parse(DEVICE)?;
        let mut groups = Vec::new();
        let mut individual = None;
        match case {
            Case::Individual => {
                let slots = PrimarySecondary {
                    primary: Some(chain.leaf().clone()),
                    secondary: None,
                };
                let attestation =
                    AttestationMechanism::X509(X509Attestation::client_certificates(slots)?);
                let etag = ETag::parse("1")?;
                individual = Some(IndividualEnrollment::new(id.clone(), attestation, etag, 0)?);
            }
            Case::Group => groups.push(group("fleet", &chain.above_leaf()[0])?),
            Case::HundredGroups => {
                for number in 1..100 {
                    let other = stage::authorities()?;
                    let other = Certificate::from_der(other.certificate_der(ISSUER)?)?;
                    groups.push(group(&format!("fleet-{number}"), &other)?);
                }
                groups.push(group("fleet", &chain.above_leaf()[0])?);
            }
        }
        let hubs = LinkedHubs {
            hubs: vec![LinkedHub::new(hub.clone())],
            ..LinkedHubs::default()
        };
        let past = PastAssignment {
            hub,
            device_id: DeviceId::parse(DEVICE)?,
        };
        Ok(Self {
            presented,
            individual,
            groups,
            hubs,
            past,
            id,
        })
    }

    fn assigned(&self, chain: &Chain) -> bool {
        let book = Book {
            individual: self.individual.as_ref(),
            groups: &self.groups,
            ca_store: &self.presented.store,
            tpm_challenge: None,
        };
        let presented = PresentedAttestation::X509(chain);
        let attempt = Attempt {
            registration_id: &self.id,
            presented,
            transport: Transport::Mqtt,
            api: DeviceApi::default(),
        };
        let settings = Settings::default();
        let decision = decide(
            &attempt,
            &book,
            Some(&self.past),
            &self.hubs,
            &settings,
            NOW,
        );
        matches!(decision, Ok(Decision::Assign(_)))
    }
}

fn group(id: &str, issuer: &Certificate) -> anyhow::Result<Arc<EnrollmentGroup>> {
    let slots = PrimarySecondary {
        primary: Some(issuer.clone()),
        secondary: None,
    };
    let attestation = AttestationMechanism::X509(X509Attestation::signing_certificates(slots)?);
    let id = EnrollmentGroupId::parse(id)?;
    Ok(Arc::new(EnrollmentGroup::new(
        id,
        attestation,
        ETag::parse("1")?,
        0,
    )?))
}

const CASES: [(Case, &str); 3] = [
    (Case::Group, "decide, group by intermediate"),
    (Case::Individual, "decide, individual with CA-signed leaf"),
    (Case::HundredGroups, "decide, one of 100 groups"),
];

/// `decide` by itself.
pub(crate) fn single(criterion: &mut Criterion) -> anyhow::Result<()> {
    for (case, name) in CASES {
        let world = World::new(case)?;
        let chain = world.presented.chain()?;
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(
                || world.presented.chain().unwrap_or_else(|_| chain.clone()),
                |chain| world.assigned(&chain),
                BatchSize::SmallInput,
            );
        });
    }
    Ok(())
}

/// `decide` over the raw signature checks.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let mut lines = Vec::new();
    for (case, figure) in CASES {
        let world = World::new(case)?;
        let signatures = world.presented.signatures()?;
        let mut subjects: [Subject<'_>; 2] = [
            Box::new(|times| {
                let chains: Vec<Chain> = (0..times)
                    .map(|_| world.presented.chain())
                    .collect::<Result<_, _>>()?;
                let before = cpu();
                let all = chains.iter().all(|chain| world.assigned(chain));
                let spent = cpu() - before;
                anyhow::ensure!(all, "a device was not assigned");
                Ok(spent)
            }),
            Box::new(|times| verify_all(&signatures, times)),
        ];
        let samples = interleave(Effort::new(thorough, 60, 50), &mut subjects)?;
        lines.push(samples.line(figure, 0, ("2 signature checks", 1), None));
    }
    Ok(lines)
}
