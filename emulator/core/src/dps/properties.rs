//! The invariants of the behaviour document's section K, over random books of entries.
//!
//! Certificates come from one fixed pool; what varies is who is enrolled, how, and who is known.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::attestation::{AttestationMechanism, PresentedAttestation, X509Attestation};
use super::enrollment::{PrimarySecondary, ProvisioningStatus, Slot};
use super::precedence;
use super::registration::{Attempt, Book, Decision, PastAssignment};
use crate::certificate::{Certificate, Chain};
use crate::hub::admission::PresentedCredential;
use crate::hub::identity::Identity;
use crate::id::{DeviceId, IdentityId};
use crate::secret::SymmetricKey;
use crate::settings::{DisabledPrecedence, Settings};
use crate::test_pki::{
    Authority, LONG, NOW, chain, entry, etag, group, group_by_name, hub, individual,
    registration_id, self_signed, store,
};
use crate::test_world::{World, admit_at_h1, linked, told};

struct Pool {
    /// Two roots, an intermediate under each of two levels, and an expired one.
    authorities: Vec<Authority>,
    leaves: Vec<Certificate>,
    chains: Vec<Chain>,
}

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let ca1 = root.issue_ca("ca1");
    let ca2 = ca1.issue_ca("ca2");
    let expired = root.issue_ca_with(
        "expired",
        (-20, -10),
        rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
    );
    let leaves = vec![
        ca2.issue("d1"),
        ca1.issue("d1"),
        root.issue("d1"),
        other.issue("d1"),
        expired.issue("d1"),
        self_signed("d1", LONG),
        ca2.issue_with("d1", (-20, -10)),
        ca2.issue("d2"),
    ];
    let chains = vec![
        chain(&leaves[0], &[&ca2, &ca1, &root]),
        chain(&leaves[0], &[&ca2, &ca1]),
        chain(&leaves[0], &[&ca2]),
        chain(&leaves[0], &[&ca1, &root]),
        chain(&leaves[1], &[&ca1, &root]),
        chain(&leaves[1], &[&ca1]),
        chain(&leaves[2], &[]),
        chain(&leaves[3], &[&other]),
        chain(&leaves[4], &[&expired, &root]),
        chain(&leaves[5], &[]),
        chain(&leaves[6], &[&ca2, &ca1, &root]),
        chain(&leaves[7], &[&ca2, &ca1, &root]),
    ];
    Pool {
        authorities: vec![root, other, ca1, ca2, expired],
        leaves,
        chains,
    }
});

const AUTHORITIES: usize = 5;
const LEAVES: usize = 8;
const CHAINS: usize = 12;

/// What becomes a [`World`]: small numbers that proptest can shrink.
#[derive(Clone, Debug)]
struct Plan {
    /// Per authority: not in the store, there, verified.
    known: [u8; AUTHORITIES],
    /// Per authority: no group, group as primary, as secondary; times by upload or by name.
    groups: [(u8, bool, bool); AUTHORITIES],
    /// Leaf in primary, in secondary, enabled; or a symmetric key.
    individual: Option<(Option<usize>, Option<usize>, bool)>,
    settings: (bool, bool, bool),
    chain: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let known = proptest::array::uniform5(prop_oneof![1 => Just(0_u8), 1 => Just(1), 2 => Just(2)]);
    let groups = proptest::array::uniform5((0_u8..3, any::<bool>(), any::<bool>()));
    let slot = || proptest::option::of(0_usize..LEAVES - 1);
    let individual = proptest::option::weighted(0.4, (slot(), slot(), any::<bool>()));
    let settings = (any::<bool>(), any::<bool>(), any::<bool>());
    (known, groups, individual, settings, 0_usize..CHAINS).prop_map(
        |(known, groups, individual, settings, chain)| Plan {
            known,
            groups,
            individual,
            settings,
            chain,
        },
    )
}

impl Plan {
    fn chain(&self) -> &'static Chain {
        &POOL.chains[self.chain]
    }

    fn world(&self) -> World {
        let stored = POOL
            .authorities
            .iter()
            .zip(self.known)
            .filter(|(_, state)| *state > 0);
        let stored: Vec<_> = stored
            .map(|(authority, state)| (authority, state == 2))
            .collect();
        let mut world = World::new(store(&stored));
        for (authority, (state, by_name, enabled)) in POOL.authorities.iter().zip(self.groups) {
            let name = authority.certificate.common_name().unwrap();
            let (primary, secondary) = (state == 1, state == 2);
            if state == 0 {
                continue;
            }
            let mut made = if by_name {
                group_by_name(name, primary.then_some(name), secondary.then_some(name))
            } else {
                group(
                    name,
                    primary.then_some(authority),
                    secondary.then_some(authority),
                )
            };
            made.provisioning_status = status(enabled);
            world.set_group(made);
        }
        if let Some((primary, secondary, enabled)) = self.individual {
            let leaf = |at: Option<usize>| at.map(|at| &POOL.leaves[at]);
            let mut own = match (primary, secondary) {
                (None, None) => entry("d1", keys()),
                _ => individual("d1", leaf(primary), leaf(secondary)),
            };
            own.provisioning_status = status(enabled);
            world.set_individual(own);
        }
        let (any_in_chain, require_anchor_in_chain, check_validity) = self.settings;
        world.settings = Settings {
            require_anchor_in_chain,
            check_validity,
            ..world.settings
        };
        if any_in_chain {
            world.settings.disabled_precedence = DisabledPrecedence::AnyInChain;
        }
        world
    }
}

fn keys() -> AttestationMechanism {
    let key = SymmetricKey::from_bytes(&[1; 32]).unwrap();
    AttestationMechanism::SymmetricKey {
        primary: key.clone(),
        secondary: key,
    }
}

fn status(enabled: bool) -> ProvisioningStatus {
    if enabled {
        ProvisioningStatus::Enabled
    } else {
        ProvisioningStatus::Disabled
    }
}

fn outcome(world: &World, chain: &Chain) -> String {
    told(&world.decide(&registration_id("d1"), PresentedAttestation::X509(chain)))
}

fn provisions(world: &World, chain: &Chain) -> bool {
    outcome(world, chain).starts_with("assigned")
}

fn swapped<T: Clone>(slots: &PrimarySecondary<T>) -> PrimarySecondary<T> {
    PrimarySecondary {
        primary: slots.secondary.clone(),
        secondary: slots.primary.clone(),
    }
}

fn with_slots_swapped(attestation: &AttestationMechanism) -> AttestationMechanism {
    let AttestationMechanism::X509(x509) = attestation else {
        return attestation.clone();
    };
    AttestationMechanism::X509(match x509 {
        X509Attestation::CaReferences(slots) => X509Attestation::CaReferences(swapped(slots)),
        X509Attestation::ClientCertificates(slots) => {
            X509Attestation::ClientCertificates(swapped(slots))
        }
        X509Attestation::SigningCertificates(slots) => {
            X509Attestation::SigningCertificates(swapped(slots))
        }
    })
}

fn without_slot(outcome: &str) -> &str {
    outcome
        .trim_end_matches(" Primary")
        .trim_end_matches(" Secondary")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// K.1.
    #[test]
    fn attestation_does_not_depend_on_records_or_hubs(plan in plan(), recorded in any::<bool>()) {
        let world = plan.world();
        let before = outcome(&world, plan.chain());
        let mut changed = world;
        changed.hubs = linked(&["h7", "h8", "h9"]);
        if recorded {
            let device_id = DeviceId::parse("elsewhere").unwrap();
            let past = PastAssignment { hub: hub("h8"), device_id };
            changed.records.insert(registration_id("d1"), past);
        }
        prop_assert_eq!(&outcome(&changed, plan.chain()), &before);
        changed.hubs = linked(&[]);
        let without_hubs = outcome(&changed, plan.chain());
        let expected = if before.starts_with("assigned") { "failed 400208" } else { &before };
        prop_assert_eq!(without_hubs, expected);
    }

    /// K.2, first half: whatever the order of the book, the same entry speaks.
    #[test]
    fn the_entry_that_speaks_is_unique(plan in plan(), turn in any::<prop::sample::Index>()) {
        let mut world = plan.world();
        let before = outcome(&world, plan.chain());
        let turns = if world.groups.is_empty() { 0 } else { turn.index(world.groups.len()) };
        world.groups.rotate_left(turns);
        prop_assert_eq!(outcome(&world, plan.chain()), before);
    }

    /// K.2, second half: what lies above the entry that speaks does not matter.
    #[test]
    fn entries_above_the_one_that_speaks_change_nothing(plan in plan()) {
        let mut world = plan.world();
        world.settings.disabled_precedence = DisabledPrecedence::FirstMatch;
        let id = registration_id("d1");
        let presented = PresentedAttestation::X509(plan.chain());
        let before = outcome(&world, plan.chain());
        let (transport, api) = (world.transport, world.api);
        let attempt = Attempt { registration_id: &id, presented, transport, api };
        let groups = world.groups.clone();
        let individual = world.individuals.first();
        let (ca_store, tpm_challenge) = (&world.ca_store, None);
        let book = Book { individual, groups: &groups, ca_store, tpm_challenge };
        let speaking = precedence::governing(&attempt, &book, &world.settings, NOW);
        if let Ok(speaking) = speaking {
            let spoken = super::registration::EnrollmentRef::from(speaking.enrollment());
            world.groups.retain(|group| {
                spoken.group && group.enrollment_group_id.as_str() == spoken.id
            });
            prop_assert_eq!(outcome(&world, plan.chain()), before);
        }
    }

    /// K.3, first half.
    #[test]
    fn disabling_never_lets_a_device_in(plan in plan(), which in 0_usize..=AUTHORITIES) {
        let world = plan.world();
        let mut stricter = plan.clone();
        match stricter.groups.get_mut(which) {
            Some(group) => group.2 = false,
            None => {
                if let Some(own) = &mut stricter.individual {
                    own.2 = false;
                }
            }
        }
        let after = provisions(&stricter.world(), plan.chain());
        prop_assert!(provisions(&world, plan.chain()) || !after);
    }

    /// K.3, second half: a refusal by a disabled entry ends when the entry is deleted and an
    /// enabled one higher up takes over (R-A26).
    #[test]
    fn deleting_a_blocking_group_gives_way_to_the_one_above(plan in plan()) {
        let mut plan = plan;
        plan.individual = None;
        plan.chain = 0;
        plan.known[0] = 2;
        plan.groups[0] = (1, false, true);
        plan.groups[2] = (0, false, true);
        plan.groups[3] = (1, false, false);
        let chain = plan.chain();
        prop_assert_eq!(outcome(&plan.world(), chain), "disabled ca2");
        plan.groups[3].0 = 0;
        prop_assert_eq!(outcome(&plan.world(), chain), "assigned root Primary");
    }

    /// K.5.
    #[test]
    fn the_hub_accepts_the_assigned_leaf_and_no_other(plan in plan()) {
        let decision =
            plan.world().decide(&registration_id("d1"), PresentedAttestation::X509(plan.chain()));
        if let Ok(Decision::Assign(assignment)) = decision {
            let id = IdentityId::from(assignment.device_id);
            let authentication = assignment.authentication;
            let identity = Identity::new(id.clone(), "g".to_owned(), etag(), authentication);
            for chain in &POOL.chains {
                let shown = PresentedCredential::Certificate(chain);
                // A moment at which every leaf of the pool holds.
                let admitted = admit_at_h1(&id, Some(&identity), shown, NOW.plus(-15));
                prop_assert_eq!(admitted.is_ok(), chain.leaf() == plan.chain().leaf());
            }
        }
    }

    /// K.9.
    #[test]
    fn the_slots_are_symmetric(plan in plan()) {
        let world = plan.world();
        let mut mirrored = world.clone();
        for own in &mut mirrored.individuals {
            own.attestation = with_slots_swapped(&own.attestation);
        }
        for group in &mut mirrored.groups {
            let group = std::sync::Arc::make_mut(group);
            group.attestation = with_slots_swapped(&group.attestation);
        }
        let (one, other) = (outcome(&world, plan.chain()), outcome(&mirrored, plan.chain()));
        prop_assert_eq!(without_slot(&one), without_slot(&other));
        let filled_twice = plan.individual.is_some_and(|(one, other, _)| one == other);
        if one != without_slot(&one) && !filled_twice {
            prop_assert_ne!(one, other, "the slot told is the slot used");
        }
    }
}

/// The properties say little if no plan ever provisions, is blocked, or is refused.
#[test]
fn random_plans_reach_every_kind_of_outcome() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        let told = outcome(&plan.world(), plan.chain());
        seen.insert(match told.split(' ').next() {
            Some("assigned") => format!("assigned {}", plan.individual.is_some()),
            Some("disabled") => "disabled".to_owned(),
            _ => told,
        });
    }
    let expected = [
        "401000 R-A21a",
        "401002 R-A15",
        "401002 R-A16",
        "401002 R-A20",
        "401002 R-A21b",
        "401002 R-A4",
        "assigned false",
        "assigned true",
        "disabled",
    ];
    assert_eq!(
        seen.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(Slot::Primary.other(), Slot::Secondary);
}
