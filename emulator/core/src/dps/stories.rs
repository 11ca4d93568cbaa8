//! The scenarios of the roll guide (behaviour document J), told as sequences of decisions.

use crate::certificate::path::CaCertificate;
use crate::dps::registration::{DataAction, Decision};
use crate::test_pki::{
    Authority, LONG, NOW, ca_name, chain, group, group_by_name, individual, registration_id,
    self_signed, store,
};
use crate::test_world::{World, disabled, disabled_individual};

use super::attestation::PresentedAttestation;

/// J1 and J2: an individual entry, its second slot filled, then its first one emptied.
#[test]
fn an_expiring_leaf_is_rolled_through_the_second_slot() {
    let root = Authority::root("root");
    let (leaf1, leaf2) = (root.issue("d1"), root.issue("d1"));
    let (old, new) = (chain(&leaf1, &[&root]), chain(&leaf2, &[&root]));
    let mut world =
        World::new(store(&[(&root, true)])).with_individual(individual("d1", Some(&leaf1), None));
    assert_eq!(world.register(&old), "assigned d1 Primary");
    assert_eq!(world.connect(&old), "connected");
    assert_eq!(world.register(&new), "401002 R-A21b");

    world.set_individual(individual("d1", Some(&leaf1), Some(&leaf2)));
    assert_eq!(world.register(&old), "assigned d1 Primary");
    assert_eq!(world.connect(&new), "401003 R-G10");
    assert_eq!(world.register(&new), "assigned d1 Secondary");
    assert_eq!(world.connect(&new), "connected");
    assert_eq!(world.connect(&old), "401003 R-G10");
    assert_eq!((world.records.len(), world.identities.len()), (1, 1));
    let again = world.decide(&registration_id("d1"), PresentedAttestation::X509(&new));
    let Ok(Decision::Assign(assignment)) = again else {
        panic!("{again:?}")
    };
    assert_eq!(assignment.data, DataAction::KeepOnSameHub);

    world.set_individual(individual("d1", None, Some(&leaf2)));
    assert_eq!(world.register(&old), "401002 R-A21b");
    assert_eq!(world.connect(&new), "connected");
    assert_eq!(world.register(&new), "assigned d1 Secondary");
}

/// J3, J4, R-E4: replacing the leaf in the entry leaves the hub as it is until the device registers.
#[test]
fn a_breached_leaf_connects_until_its_device_registers_anew() {
    let (leaf1, leaf2) = (self_signed("d1", LONG), self_signed("d1", LONG));
    let (old, new) = (chain(&leaf1, &[]), chain(&leaf2, &[]));
    let mut world = World::new(store(&[])).with_individual(individual("d1", Some(&leaf1), None));
    assert_eq!(world.register(&old), "assigned d1 Primary");
    world.set_individual(individual("d1", Some(&leaf2), None));
    assert_eq!(world.connect(&old), "connected");
    assert_eq!(world.register(&old), "401002 R-A21b");

    let mut deleted = world.clone();
    deleted.identities.clear();
    assert_eq!(deleted.connect(&old), "404001 R-E7");
    assert_eq!(deleted.register(&old), "401002 R-A21b");
    assert_eq!(deleted.register(&new), "assigned d1 Primary");
    assert_eq!(deleted.connect(&new), "connected");

    assert_eq!(world.register(&new), "assigned d1 Primary");
    assert_eq!((world.connect(&old), world.connect(&new)).0, "401003 R-G10");
    assert_eq!(world.connect(&new), "connected");
}

/// J5, J12: the group knows the new leaf at once, the hub only after registering.
#[test]
fn a_leaf_of_the_same_issuer_needs_no_edit_but_a_registration() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let (old, new) = (
        chain(&ca.issue("d1"), &[&ca]),
        chain(&ca.issue("d1"), &[&ca]),
    );
    let mut world = World::new(store(&[(&root, true)])).with_group(group("fleet", Some(&ca), None));
    assert_eq!(world.register(&old), "assigned fleet Primary");
    assert_eq!(world.connect(&new), "401003 R-G10");
    assert_eq!(world.register(&new), "assigned fleet Primary");
    assert_eq!(world.connect(&new), "connected");
    assert_eq!(world.connect(&old), "401003 R-G10");
}

/// J6: the compromised intermediate leaves the group.
#[test]
fn a_compromised_intermediate_is_shut_out_of_dps_but_not_of_the_hub() {
    let root = Authority::root("root");
    let (ca1, ca2) = (root.issue_ca("ca1"), root.issue_ca("ca2"));
    let (old, new) = (
        chain(&ca1.issue("d1"), &[&ca1]),
        chain(&ca2.issue("d2"), &[&ca2]),
    );
    let mut world =
        World::new(store(&[(&root, true)])).with_group(group("fleet", Some(&ca1), None));
    assert_eq!(world.register(&old), "assigned fleet Primary");
    world.set_group(group("fleet", Some(&ca2), None));
    assert_eq!(world.register(&old), "401002 R-A15");
    assert_eq!(world.connect(&old), "connected");
    assert_eq!(world.register(&new), "assigned fleet Primary");
}

/// J7: both generations of an intermediate are served while both slots are filled.
#[test]
fn an_expiring_intermediate_is_rolled_without_a_gap() {
    let root = Authority::root("root");
    let (ca1, ca2) = (root.issue_ca("ca1"), root.issue_ca("ca2"));
    let (old, new) = (
        chain(&ca1.issue("d1"), &[&ca1]),
        chain(&ca2.issue("d1"), &[&ca2]),
    );
    let steps = [
        (Some(&ca1), None, "assigned fleet Primary", "401002 R-A15"),
        (
            Some(&ca1),
            Some(&ca2),
            "assigned fleet Primary",
            "assigned fleet Secondary",
        ),
        (None, Some(&ca2), "401002 R-A15", "assigned fleet Secondary"),
        (Some(&ca2), None, "401002 R-A15", "assigned fleet Primary"),
    ];
    let mut world = World::new(store(&[(&root, true)]));
    for (primary, secondary, with_old, with_new) in steps {
        world.set_group(group("fleet", primary, secondary));
        assert_eq!(world.register(&old), with_old);
        assert_eq!(world.register(&new), with_new);
    }
    assert_eq!((world.records.len(), world.identities.len()), (1, 1));
}

/// J8, R-D7: deleting the compromised root stops the whole group until it names the new one.
#[test]
fn a_compromised_root_stops_registrations_as_soon_as_it_is_deleted() {
    let (root1, root2) = (Authority::root("root1"), Authority::root("root2"));
    let (old, new) = (
        chain(&root1.issue("d1"), &[&root1]),
        chain(&root2.issue("d2"), &[&root2]),
    );
    let mut world = World::new(store(&[(&root1, true)])).with_group(group_by_name(
        "fleet",
        Some("root1"),
        None,
    ));
    assert_eq!(world.register(&old), "assigned fleet Primary");
    world.ca_store.remove(&ca_name("root1"));
    let verified = CaCertificate {
        certificate: root2.certificate,
        verified: true,
    };
    world.ca_store.insert(ca_name("root2"), verified);
    assert_eq!(world.register(&old), "401002 R-A16");
    assert_eq!(world.register(&new), "401002 R-A15");
    world.set_group(group_by_name("fleet", Some("root2"), None));
    assert_eq!(world.register(&old), "401002 R-A16");
    assert_eq!(world.register(&new), "assigned fleet Primary");
    assert_eq!(world.connect(&old), "connected");
}

/// J9, R-D8, I-18: the expiring root stays in its slot even after it is gone from the store.
/// R-D9: back under its name it counts again.
#[test]
fn an_expiring_root_is_rolled_without_a_gap_and_may_dangle() {
    let (root1, root2) = (Authority::root("root1"), Authority::root("root2"));
    let (old, new) = (
        chain(&root1.issue("d1"), &[&root1]),
        chain(&root2.issue("d1"), &[&root2]),
    );
    let mut world = World::new(store(&[(&root1, true)])).with_group(group_by_name(
        "fleet",
        Some("root1"),
        None,
    ));
    assert_eq!(world.register(&old), "assigned fleet Primary");
    let verified = CaCertificate {
        certificate: root2.certificate,
        verified: true,
    };
    world.ca_store.insert(ca_name("root2"), verified);
    assert_eq!(world.register(&old), "assigned fleet Primary");
    world.set_group(group_by_name("fleet", Some("root1"), Some("root2")));
    assert_eq!(world.register(&old), "assigned fleet Primary");
    assert_eq!(world.register(&new), "assigned fleet Secondary");
    let removed = world.ca_store.remove(&ca_name("root1")).unwrap();
    assert_eq!(world.register(&new), "assigned fleet Secondary");
    assert_eq!(world.register(&old), "401002 R-A16");
    world.ca_store.insert(ca_name("root1"), removed);
    assert_eq!(world.register(&old), "assigned fleet Primary");
}

/// R-D8: a primary that expired, rather than was deleted, spoils nothing either.
#[test]
fn an_expired_primary_leaves_the_secondary_alone() {
    let span = (-20, -10);
    let kind = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (root1, root2) = (
        Authority::root_with("root1", span, kind),
        Authority::root("root2"),
    );
    let (old, new) = (
        chain(&root1.issue("d1"), &[&root1]),
        chain(&root2.issue("d1"), &[&root2]),
    );
    let known = store(&[(&root1, true), (&root2, true)]);
    let entries = [
        group_by_name("fleet", Some("root1"), Some("root2")),
        group("fleet", Some(&root1), Some(&root2)),
    ];
    for entry in entries {
        let mut world = World::new(known.clone()).with_group(entry);
        assert_eq!(world.register(&new), "assigned fleet Secondary");
        assert_eq!(world.register(&old), "401002 R-A20");
        world.now = NOW.plus(-15);
        assert_eq!(world.register(&old), "assigned fleet Primary");
    }
    let (expired, leaf) = (self_signed("d1", span), self_signed("d1", LONG));
    let mut world =
        World::new(known).with_individual(individual("d1", Some(&expired), Some(&leaf)));
    assert_eq!(world.register(&chain(&leaf, &[])), "assigned d1 Secondary");
    assert_eq!(world.register(&chain(&expired, &[])), "401002 R-A20");
}

/// J10, J11, and the documented example (R-A25).
#[test]
fn disabled_entries_block_what_lies_below_them_and_deleted_ones_do_not() {
    let root = Authority::root("root");
    let (ca_a, ca_b) = (root.issue_ca("ca-a"), root.issue_ca("ca-b"));
    let device = |name: &str, ca: &Authority| chain(&ca.issue(name), &[ca, &root]);
    let fleet = [
        device("d1", &ca_a),
        device("d2", &ca_a),
        device("d3", &ca_a),
        device("d4", &ca_b),
        device("d5", &ca_b),
    ];
    let mut world = World::new(store(&[(&root, true)])).with_group(group("all", Some(&root), None));
    let outcomes = |world: &mut World| fleet.each_ref().map(|chain| world.register(chain));
    let pass = "assigned all Primary";
    assert_eq!(outcomes(&mut world), [pass; 5]);

    world.set_group(disabled(group("b", Some(&ca_b), None)));
    let blocked = "disabled b";
    assert_eq!(outcomes(&mut world), [pass, pass, pass, blocked, blocked]);

    let entry = individual("d3", Some(fleet[2].leaf()), None);
    world.set_individual(disabled_individual(entry));
    assert_eq!(
        outcomes(&mut world),
        [pass, pass, "disabled d3", blocked, blocked]
    );
    assert_eq!(world.connect(&fleet[2]), "connected");

    world.individuals.clear();
    world
        .groups
        .retain(|group| group.enrollment_group_id.as_str() != "b");
    assert_eq!(outcomes(&mut world), [pass; 5]);
}

/// J14, R-C9: another common name is another device.
#[test]
fn a_changed_common_name_makes_a_second_record() {
    let root = Authority::root("root");
    let mut world =
        World::new(store(&[(&root, true)])).with_group(group("fleet", Some(&root), None));
    for name in ["d1", "D1", "d2"] {
        assert_eq!(
            world.register(&chain(&root.issue(name), &[])),
            "assigned fleet Primary"
        );
    }
    assert_eq!((world.records.len(), world.identities.len()), (2, 2));
}
