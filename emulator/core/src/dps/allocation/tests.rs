use proptest::prelude::*;

use super::*;
use crate::dps::attestation::{AttestationMechanism, PresentedAttestation};
use crate::dps::enrollment::IndividualEnrollment;
use crate::dps::registration::Decision;
use crate::dps::reprovision::{DeviceApi, ReprovisionPolicy};
use crate::id::DeviceId;
use crate::sas::{self, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::test_pki::{NOW, entry, hub, registration_id, store};
use crate::test_world::{World, linked, told};

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes(&[1; 32]).unwrap()
}

fn device(policy: Option<AllocationPolicy>, listed: &[&str]) -> IndividualEnrollment {
    let keys = AttestationMechanism::SymmetricKey {
        primary: key(),
        secondary: key(),
    };
    let mut entry = entry("d1", keys);
    entry.allocation = policy;
    entry.iot_hubs = listed.iter().map(|name| hub(name)).collect();
    entry
}

/// The hub chosen, or the outcome in words.
fn chosen(entry: IndividualEnrollment, hubs: &LinkedHubs, past: Option<&str>) -> String {
    chosen_by(DeviceApi::Native, entry, hubs, past)
}

fn chosen_by(
    api: DeviceApi,
    entry: IndividualEnrollment,
    hubs: &LinkedHubs,
    past: Option<&str>,
) -> String {
    let mut world = World::new(store(&[])).with_individual(entry);
    world.hubs = hubs.clone();
    world.api = api;
    let id = registration_id("d1");
    if let Some(past) = past {
        let past = crate::dps::registration::PastAssignment {
            hub: hub(past),
            device_id: DeviceId::from(&id),
        };
        world.records.insert(id.clone(), past);
    }
    let text = sas::sign("s%2fregistrations%2fd1", NOW.plus(1), &key(), None);
    let token = SharedAccessSignature::parse(&text).unwrap();
    match world.decide(&id, PresentedAttestation::SymmetricKey(&token)) {
        Ok(Decision::Assign(assignment)) => assignment.hub.to_string(),
        other => told(&other),
    }
}

/// `name` or `name!` (policies may not choose it), with a latency.
fn hubs(table: &[(&str, Option<u32>)]) -> LinkedHubs {
    let hubs = table.iter().map(|(name, latency_ms)| LinkedHub {
        apply_allocation_policy: !name.ends_with('!'),
        latency_ms: *latency_ms,
        ..LinkedHub::new(hub(name.trim_end_matches('!')))
    });
    LinkedHubs {
        hubs: hubs.collect(),
        ..LinkedHubs::default()
    }
}

/// R-B12, R-B13, R-B14.
#[test]
fn policies_choose_among_listed_linked_and_eligible_hubs() {
    use AllocationPolicy::{GeoLatency, Hashed, Static};
    let linked = hubs(&[("a", Some(9)), ("b", Some(3)), ("c!", Some(1)), ("d", None)]);
    let only_d = hubs(&[("d", None)]);
    let all_off = hubs(&[("a!", None)]);
    let table: [(&LinkedHubs, Option<AllocationPolicy>, &[&str], &str); 14] = [
        (&linked, Some(GeoLatency), &[], "b"),
        (&linked, Some(GeoLatency), &["a", "d"], "a"),
        (&linked, Some(GeoLatency), &["c", "d"], "d"),
        (&linked, Some(Static), &["A"], "a"),
        (&linked, Some(Static), &["a", "b"], "failed 400208"),
        (&linked, Some(Static), &["a", "c"], "failed 400208"),
        (&linked, Some(Static), &[], "failed 400208"),
        (&only_d, Some(Static), &[], "d"),
        (&linked, Some(Static), &["c"], "failed 400208"),
        (&linked, Some(Static), &["x"], "failed 400208"),
        (&linked, Some(Hashed), &["x", "b"], "b"),
        (&linked, Some(Hashed), &["x"], "failed 400208"),
        (&all_off, None, &[], "failed 400208"),
        (&only_d, None, &[], "d"),
    ];
    for (hubs, policy, listed, expected) in table {
        assert_eq!(
            chosen(device(policy.clone(), listed), hubs, None),
            expected,
            "{policy:?} {listed:?}"
        );
    }
}

/// R-B11.
#[test]
fn an_entry_without_a_policy_follows_the_instance() {
    let mut linked = hubs(&[("a", Some(9)), ("b", Some(3))]);
    for (default_policy, expected) in [
        (InstanceAllocationPolicy::GeoLatency, "b"),
        (InstanceAllocationPolicy::Static, "failed 400208"),
    ] {
        linked.default_policy = default_policy;
        assert_eq!(chosen(device(None, &[]), &linked, None), expected);
    }
}

/// R-C6, R-B14.
#[test]
fn a_device_that_may_not_move_stays_while_its_hub_is_linked() {
    let linked = hubs(&[("a", Some(9)), ("b", Some(3)), ("c!", None)]);
    // update, past, hub
    let table = [
        (true, "a", "b"),
        (false, "a", "a"),
        (false, "c", "c"),
        (false, "x", "failed 400208"),
    ];
    for (update, past, expected) in table {
        let mut entry = device(Some(AllocationPolicy::GeoLatency), &["b"]);
        entry.reprovision_policy = Some(ReprovisionPolicy {
            update_hub_assignment: update,
            migrate_device_data: true,
        });
        assert_eq!(chosen(entry, &linked, Some(past)), expected, "{past}");
    }
}

/// A.5, 400209: the registry of the hub chosen must open, and that of the hub left behind.
#[test]
fn a_hub_whose_registry_is_shut_fails_the_registration() {
    let mut linked = hubs(&[("a", Some(1)), ("b", Some(3))]);
    linked.hubs[0].access = HubAccess::Refused;
    // listed, past, outcome
    let table: [(&[&str], Option<&str>, &str); 5] = [
        (&[], None, "failed 400209"),
        (&["b"], None, "b"),
        (&["b"], Some("b"), "b"),
        (&["b"], Some("a"), "failed 400209"),
        (&["b"], Some("x"), "b"),
    ];
    for (listed, past, expected) in table {
        let entry = device(Some(AllocationPolicy::GeoLatency), listed);
        assert_eq!(
            chosen(entry, &linked, past),
            expected,
            "{listed:?} {past:?}"
        );
    }
}

/// R-C7.
#[test]
fn an_old_device_stays_where_it_is_unless_the_entry_says_otherwise() {
    let linked = hubs(&[("a", Some(9)), ("b", Some(3))]);
    let policy = |update| {
        Some(ReprovisionPolicy {
            update_hub_assignment: update,
            migrate_device_data: true,
        })
    };
    let table = [
        (DeviceApi::Sticky, None, "a"),
        (DeviceApi::Sticky, policy(true), "b"),
        (DeviceApi::Native, None, "b"),
        (DeviceApi::Native, policy(false), "a"),
    ];
    for (api, reprovision_policy, expected) in table {
        let mut entry = device(Some(AllocationPolicy::GeoLatency), &[]);
        entry.reprovision_policy = reprovision_policy;
        assert_eq!(chosen_by(api, entry, &linked, Some("a")), expected);
    }
}

/// R-B13.
#[test]
fn a_weight_is_within_1_to_1000() {
    for (weight, fits) in [(0, false), (1, true), (1000, true), (1001, false)] {
        assert_eq!(
            HubWeight::new(weight).map(HubWeight::get).is_ok(),
            fits,
            "{weight}"
        );
    }
}

fn pick(hubs: &LinkedHubs, id: &str) -> HubHostName {
    let candidates: Vec<&LinkedHub> = hubs.hubs.iter().collect();
    rendezvous::pick(&candidates, &registration_id(id))
        .unwrap()
        .name
        .clone()
}

/// R-B13.
#[test]
fn a_hubs_share_of_devices_is_its_share_of_the_weights() {
    let mut hubs = linked(&["a", "b", "c"]);
    for (hub, weight) in hubs.hubs.iter_mut().zip([1, 2, 5]) {
        hub.weight = HubWeight::new(weight).unwrap();
    }
    let mut counts = [0_u32; 3];
    for device in 0..8000 {
        let name = pick(&hubs, &format!("dev-{device}"));
        counts[hubs.hubs.iter().position(|hub| hub.name == name).unwrap()] += 1;
    }
    for (count, share) in counts.into_iter().zip([1000, 2000, 5000_u32]) {
        assert!(count.abs_diff(share) < 150, "{counts:?}");
    }
}

/// R-B13.
#[test]
fn the_hash_is_the_same_on_every_machine() {
    let hubs = linked(&["hub-1", "hub-2", "hub-3"]);
    let names: Vec<String> = (0..6)
        .map(|device| pick(&hubs, &format!("dev-{device}")).to_string())
        .collect();
    assert_eq!(names, PINNED);
}

/// Changing these moves devices between hubs for everyone who upgrades.
const PINNED: [&str; 6] = ["hub-3", "hub-2", "hub-1", "hub-1", "hub-2", "hub-2"];

proptest! {
    #[test]
    fn removing_a_hub_moves_only_its_own_devices(
        id in "[a-z0-9]{1,12}",
        weights in proptest::collection::vec(1_u16..=1000, 2..8),
        removed in any::<proptest::sample::Index>(),
    ) {
        let names: Vec<String> = (0..weights.len()).map(|hub| format!("h{hub}")).collect();
        let mut hubs = linked(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (hub, weight) in hubs.hubs.iter_mut().zip(&weights) {
            hub.weight = HubWeight::new(*weight).unwrap();
        }
        let before = pick(&hubs, &id);
        prop_assert_eq!(&pick(&hubs, &id.to_ascii_uppercase()), &before);
        let mut reversed = hubs.clone();
        reversed.hubs.reverse();
        prop_assert_eq!(&pick(&reversed, &id), &before);
        let removed = hubs.hubs.remove(removed.index(weights.len())).name;
        if removed != before {
            prop_assert_eq!(pick(&hubs, &id), before);
        }
    }
}
