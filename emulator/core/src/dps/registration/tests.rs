use serde_json::json;

use super::*;
use crate::dps::allocation::{
    AllocationAnswer, AllocationPolicy, CustomAllocationDefinition, WebhookUrl, resume,
};
use crate::dps::attestation::AttestationMechanism;
use crate::dps::attestation::tpm::TpmKey;
use crate::sas::{self, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::settings::DisabledPrecedence;
use crate::test_pki::{
    Authority, LONG, NOW, chain, entry, group, group_of, hub, individual, registration_id,
    self_signed, store,
};
use crate::test_world::{World, disabled, disabled_individual, linked, told};

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32]).unwrap()
}

fn keys(primary: u8, secondary: u8) -> AttestationMechanism {
    AttestationMechanism::SymmetricKey {
        primary: key(primary),
        secondary: key(secondary),
    }
}

fn token(id: &str, expiry: UnixTime, key: &SymmetricKey) -> SharedAccessSignature {
    let text = sas::sign(&format!("scope%2fregistrations%2f{id}"), expiry, key, None);
    SharedAccessSignature::parse(&text).unwrap()
}

fn assigned(decision: Result<Decision, Refusal>) -> Assignment {
    match decision {
        Ok(Decision::Assign(assignment)) => assignment,
        other => panic!("{other:?}"),
    }
}

/// R-A24, row by row, in both modes; so R-A19, R-A21 to R-A23, R-A26, I-1, I-12 and I-13 hold.
#[test]
fn disabled_entries_refuse_by_their_place_in_the_chain() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let (leaf, other) = (ca.issue("d1"), ca.issue("d1"));
    let on_ca = || group("ca", Some(&ca), None);
    let on_root = || group("root", Some(&root), None);
    let own = |certificate| individual("d1", Some(certificate), None);
    let by_key = || entry("d1", keys(1, 2));
    let (via_ca, via_root) = ("assigned ca Primary", "assigned root Primary");
    // row, individual, group on intermediate, group on root, first match, any in chain
    let table = [
        (1, None, None, Some(on_root()), via_root, via_root),
        (
            2,
            None,
            Some(disabled(on_ca())),
            Some(on_root()),
            "disabled ca",
            "disabled ca",
        ),
        (
            3,
            Some(disabled_individual(own(&leaf))),
            None,
            Some(on_root()),
            "disabled d1",
            "disabled d1",
        ),
        (
            3,
            Some(disabled_individual(own(&leaf))),
            Some(on_ca()),
            Some(on_root()),
            "disabled d1",
            "disabled d1",
        ),
        (
            3,
            Some(disabled_individual(own(&other))),
            Some(on_ca()),
            Some(on_root()),
            "401002 R-A21b",
            "401002 R-A21b",
        ),
        (4, None, None, Some(on_root()), via_root, via_root),
        (
            5,
            None,
            Some(on_ca()),
            Some(disabled(on_root())),
            via_ca,
            "disabled root",
        ),
        (
            6,
            Some(own(&leaf)),
            Some(disabled(on_ca())),
            Some(disabled(on_root())),
            "assigned d1 Primary",
            "disabled ca",
        ),
        (
            7,
            Some(own(&other)),
            Some(on_ca()),
            Some(on_root()),
            "401002 R-A21b",
            "401002 R-A21b",
        ),
        (
            8,
            Some(by_key()),
            Some(on_ca()),
            None,
            "401000 R-A21a",
            "401000 R-A21a",
        ),
        (
            8,
            Some(disabled_individual(by_key())),
            Some(on_ca()),
            None,
            "401000 R-A21a",
            "401000 R-A21a",
        ),
        (9, None, None, None, "401002 R-A15", "401002 R-A15"),
    ];
    for (row, own, on_ca, on_root, first_match, any_in_chain) in table {
        let mut world = World::new(store(&[(&root, true)]));
        world.individuals.extend(own);
        world.groups.extend(on_ca.map(Arc::new));
        world.groups.extend(on_root.map(Arc::new));
        for order in ["as listed", "reversed"] {
            for (disabled_precedence, expected) in [
                (DisabledPrecedence::FirstMatch, first_match),
                (DisabledPrecedence::AnyInChain, any_in_chain),
            ] {
                world.settings.disabled_precedence = disabled_precedence;
                let outcome = world.clone().register(&chain(&leaf, &[&ca, &root]));
                assert_eq!(
                    outcome, expected,
                    "row {row}, {disabled_precedence:?}, {order}"
                );
            }
            world.groups.reverse();
        }
    }
}

/// R-A12, R-D4: roots and intermediates vouch alike.
#[test]
fn a_leaf_signed_by_a_ca_needs_a_verified_one_even_with_an_entry_of_its_own() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let leaf = ca.issue("d1");
    let alone = self_signed("d1", LONG);
    let known = store(&[(&root, true)]);
    let unverified = store(&[(&root, false), (&ca, false)]);
    let ca_known = store(&[(&ca, true)]);
    let empty = store(&[]);
    let passes = "assigned d1 Primary";
    let table = [
        (&alone, vec![], &empty, passes),
        (&leaf, vec![&ca, &root], &known, passes),
        (&leaf, vec![&ca], &known, passes),
        (&leaf, vec![&ca], &ca_known, passes),
        (&leaf, vec![], &known, "401002 R-A16"),
        (&leaf, vec![], &ca_known, "401002 R-A16"),
        (&leaf, vec![&ca, &root], &unverified, "401002 R-A16"),
        (&leaf, vec![&ca, &root], &empty, "401002 R-A16"),
    ];
    for (leaf, above, known, expected) in table {
        let mut world = World::new(known.clone());
        world.set_individual(individual("d1", Some(leaf), None));
        assert_eq!(
            world.register(&chain(leaf, &above)),
            expected,
            "{leaf:?} {}",
            above.len()
        );
    }
}

/// R-A16, R-A17, I-3 with the root left out or not.
#[test]
fn what_must_be_presented_depends_on_the_setting_for_roots_only() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let leaf = ca.issue("d1");
    let passes = "assigned fleet Primary";
    let table = [
        (vec![&ca, &root], passes, passes),
        (vec![&ca], passes, "401002 R-A16"),
        (vec![], "401002 R-A16", "401002 R-A16"),
        (vec![&root], "401002 R-A16", "401002 R-A16"),
    ];
    for (above, laxly, strictly) in table {
        let mut world =
            World::new(store(&[(&root, true)])).with_group(group("fleet", Some(&ca), None));
        assert_eq!(world.register(&chain(&leaf, &above)), laxly);
        world.settings.require_anchor_in_chain = true;
        assert_eq!(world.register(&chain(&leaf, &above)), strictly);
    }
}

/// R-A4, R-A3.
#[test]
fn the_leaf_must_carry_the_registration_id_case_aside() {
    let root = Authority::root("root");
    let world = World::new(store(&[(&root, true)])).with_group(group("fleet", Some(&root), None));
    let presented = chain(&root.issue("Dev-1"), &[]);
    for (id, expected) in [
        ("Dev-1", "assigned fleet Primary"),
        ("dev-1", "assigned fleet Primary"),
        ("dev-2", "401002 R-A4"),
    ] {
        let decision = world.decide(&registration_id(id), PresentedAttestation::X509(&presented));
        assert_eq!(told(&decision), expected, "{id}");
    }
}

/// R-A1, I-11.
#[test]
fn strict_ids_begin_and_end_with_a_letter_or_digit() {
    let mut world = World::new(store(&[])).with_individual(entry("d-", keys(1, 2)));
    let token = token("d-", NOW.plus(1), &key(1));
    for (strict_ids, expected) in [(false, "assigned d- Primary"), (true, "400004 R-A2")] {
        world.settings.strict_ids = strict_ids;
        let presented = PresentedAttestation::SymmetricKey(&token);
        assert_eq!(
            told(&world.decide(&registration_id("d-"), presented)),
            expected
        );
    }
}

/// R-A31 to R-A34.
#[test]
fn tokens_are_signed_with_own_or_derived_keys_and_never_with_a_groups() {
    let derived = |byte, id| sas::derive_device_key(&key(byte), id);
    let own = World::new(store(&[])).with_individual(entry("d1", keys(1, 2)));
    let fleets = World::new(store(&[]))
        .with_group(group_of("f1", keys(3, 4)))
        .with_group(group_of("f2", keys(5, 6)));
    let table = [
        (&own, "d1", key(1), 1, "assigned d1 Primary"),
        (&own, "d1", key(2), 1, "assigned d1 Secondary"),
        (&own, "D1", key(2), 1, "assigned d1 Secondary"),
        (&own, "d1", key(2), 0, "401000 R-A32"),
        (&own, "d1", key(3), 1, "401000 R-A32"),
        (&own, "d1", derived(3, "d1"), 1, "401000 R-A32"),
        (&fleets, "d1", derived(3, "d1"), 1, "assigned f1 Primary"),
        (&fleets, "d1", derived(4, "d1"), 1, "assigned f1 Secondary"),
        (&fleets, "d1", derived(6, "d1"), 1, "assigned f2 Secondary"),
        (&fleets, "d1", derived(6, "d1"), 0, "401000 R-A32"),
        (&fleets, "d1", key(3), 1, "404201 R-A23"),
        (&fleets, "D1", derived(3, "d1"), 1, "404201 R-A23"),
        (&fleets, "d2", derived(3, "d1"), 1, "404201 R-A23"),
    ];
    for (world, id, signer, lifetime, expected) in table {
        let token = token(id, NOW.plus(lifetime), &signer);
        let presented = PresentedAttestation::SymmetricKey(&token);
        assert_eq!(
            told(&world.decide(&registration_id(id), presented)),
            expected,
            "{id}"
        );
    }
    for (world, signer) in [(&own, key(1)), (&fleets, derived(3, "d1"))] {
        let foreign = token("d2", NOW.plus(1), &signer);
        let presented = PresentedAttestation::SymmetricKey(&foreign);
        let decision = world.decide(&registration_id("d1"), presented);
        assert_eq!(told(&decision), "401000 R-A31");
    }
}

/// R-B22.
#[test]
fn a_token_gives_the_hub_the_devices_own_keys() {
    let world = World::new(store(&[])).with_group(group_of("fleet", keys(3, 4)));
    let derived = |byte| sas::derive_device_key(&key(byte), "d1");
    let token = token("d1", NOW.plus(1), &derived(4));
    let presented = PresentedAttestation::SymmetricKey(&token);
    let assignment = assigned(world.decide(&registration_id("d1"), presented));
    let expected = AuthenticationMechanism::Sas {
        primary: derived(3),
        secondary: derived(4),
    };
    assert_eq!(assignment.authentication, expected);
}

#[test]
fn nothing_presented_and_the_wrong_kind_are_told_apart() {
    let root = Authority::root("root");
    let leaf = root.issue("d1");
    let tpm = AttestationMechanism::Tpm {
        endorsement_key: TpmKey::from_base64("ZWs=").unwrap(),
        storage_root_key: None,
    };
    let own = individual("d1", Some(&leaf), None);
    let presented = chain(&leaf, &[]);
    let token = token("d1", NOW.plus(1), &key(1));
    let nothing = PresentedAttestation::None;
    let by_token = PresentedAttestation::SymmetricKey(&token);
    let by_leaf = PresentedAttestation::X509(&presented);
    let known = store(&[(&root, true)]);
    let table = [
        (None, nothing, "404201 R-A23"),
        (None, by_token, "404201 R-A23"),
        (None, by_leaf, "401002 R-A15"),
        (Some(own.clone()), nothing, "401000 R-A21a"),
        (Some(own.clone()), by_token, "401000 R-A21a"),
        (Some(own), by_leaf, "assigned d1 Primary"),
        (Some(entry("d1", tpm.clone())), by_leaf, "401000 R-A21a"),
        (Some(entry("d1", tpm)), nothing, "401000 R-A21a"),
    ];
    for (own, presented, expected) in table {
        let mut world = World::new(known.clone());
        world.individuals.extend(own);
        assert_eq!(
            told(&world.decide(&registration_id("d1"), presented)),
            expected
        );
    }
}

/// R-A2, R-A15, R-A16, R-A21b: the words of A.5, and a sentence with both sides for operators.
#[test]
fn refusals_speak_azures_words_on_the_wire_and_plainly_to_operators() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let (leaf, other) = (ca.issue("d1"), self_signed("d1", LONG));
    let known = store(&[(&root, true)]);
    let empty_world = World::new(known.clone());
    let own_world = World::new(known).with_individual(individual("d1", Some(&leaf), None));
    let chain_of = |above: &[&Authority]| chain(&leaf, above);
    let table = [
        (
            &empty_world,
            chain_of(&[]),
            401_002,
            "CA certificate not found.",
            "the chain ends at a certificate issued by CN=ca",
        ),
        (
            &empty_world,
            chain_of(&[&ca]),
            401_002,
            "Signing certificate info did not match chain elements",
            "no enrollment group names a certificate above CN=d1; nearest is CN=ca",
        ),
        (
            &own_world,
            chain(&other, &[]),
            401_002,
            "Invalid certificate",
            "is in neither slot",
        ),
    ];
    for (world, presented, code, message, sentence) in table {
        let presented = PresentedAttestation::X509(&presented);
        let refusal = world.decide(&registration_id("d1"), presented).unwrap_err();
        assert_eq!((refusal.code(), refusal.message()), (code, message));
        assert!(refusal.to_string().contains(sentence), "{refusal}");
        assert!(
            refusal
                .to_string()
                .starts_with(&format!("refused under {}", refusal.rule()))
        );
    }
    let refusal = empty_world
        .decide(&registration_id("d1"), PresentedAttestation::None)
        .unwrap_err();
    assert_eq!(refusal.code(), 404_201);
    let refusal = Refusal::from(RegistrationId::parse("a@b").unwrap_err());
    assert_eq!(
        (refusal.code(), refusal.message()),
        (400_004, "Invalid RegistrationId")
    );
}

/// R-B19, R-B20, I-2.
#[test]
fn the_hub_gets_the_presented_leaf_and_only_by_setting_the_other_one() {
    let (leaf1, leaf2) = (self_signed("d1", LONG), self_signed("d1", LONG));
    let print = |leaf: &Certificate| Some(Thumbprint::Sha256(leaf.fingerprint()));
    let both = individual("d1", Some(&leaf1), Some(&leaf2));
    let one = individual("d1", Some(&leaf1), None);
    use HubThumbprints::{PresentedBoth, PresentedThenOther};
    let table = [
        (&both, &leaf1, PresentedBoth, print(&leaf1)),
        (&both, &leaf2, PresentedBoth, print(&leaf2)),
        (&both, &leaf1, PresentedThenOther, print(&leaf2)),
        (&both, &leaf2, PresentedThenOther, print(&leaf1)),
        (&one, &leaf1, PresentedThenOther, print(&leaf1)),
    ];
    for (own, shown, hub_thumbprints, secondary) in table {
        let mut world = World::new(store(&[])).with_individual(own.clone());
        world.settings.hub_thumbprints = hub_thumbprints;
        let presented = chain(shown, &[]);
        let presented = PresentedAttestation::X509(&presented);
        let assignment = assigned(world.decide(&registration_id("d1"), presented));
        let expected = AuthenticationMechanism::SelfSigned {
            primary: print(shown),
            secondary,
        };
        assert_eq!(assignment.authentication, expected, "{hub_thumbprints:?}");
    }
}

/// R-A5, R-A3, R-B24, I-16.
#[test]
fn the_device_id_is_the_recorded_one_then_the_entrys_then_the_registration_id() {
    let named = |id: &str| {
        let mut entry = entry("d1", keys(1, 2));
        entry.device_id = Some(DeviceId::parse(id).unwrap());
        entry
    };
    let table = [
        (entry("d1", keys(1, 2)), None, "D1"),
        (named("pump"), None, "pump"),
        (named("pump"), Some("d1"), "d1"),
        (entry("d1", keys(1, 2)), Some("d1"), "d1"),
    ];
    for (own, recorded, expected) in table {
        let mut world = World::new(store(&[])).with_individual(own);
        let id = registration_id("D1");
        if let Some(recorded) = recorded {
            let device_id = DeviceId::parse(recorded).unwrap();
            world.records.insert(
                id.clone(),
                PastAssignment {
                    hub: hub("h1"),
                    device_id,
                },
            );
        }
        let token = token("d1", NOW.plus(1), &key(1));
        let presented = PresentedAttestation::SymmetricKey(&token);
        assert_eq!(
            assigned(world.decide(&id, presented)).device_id.as_str(),
            expected
        );
    }
}

/// R-B17, R-B23, R-C3 to R-C6, I-6: where the twin comes from and whether credentials are written.
#[test]
fn an_assignment_says_what_to_do_with_twin_and_credentials() {
    let entry_twin = InitialTwin::new(&json!({"a": 1}), &json!({})).unwrap();
    let token = token("d1", NOW.plus(1), &key(1));
    let (first, moved, kept) = (None, Some("h2"), Some("h1"));
    // update, migrate, recorded hub, never updates credentials, credentials written
    let table = [
        (true, true, first, false, true),
        (true, true, moved, false, true),
        (true, true, kept, false, true),
        (true, false, moved, false, true),
        (true, false, kept, false, true),
        (false, false, kept, true, true),
        (false, false, kept, false, false),
        (false, false, first, false, true),
    ];
    for (update, migrate, recorded, never_updates_credentials, credentials) in table {
        let mut own = entry("d1", keys(1, 2));
        own.initial_twin = Some(entry_twin.clone());
        own.reprovision_policy = Some(ReprovisionPolicy {
            update_hub_assignment: update,
            migrate_device_data: migrate,
        });
        own.iot_hubs = vec![hub("h1")];
        let mut world = World::new(store(&[])).with_individual(own);
        world.hubs = linked(&["h1", "h2"]);
        world.settings.never_updates_credentials = never_updates_credentials;
        let id = registration_id("d1");
        if let Some(recorded) = recorded {
            let device_id = DeviceId::from(&id);
            world.records.insert(
                id.clone(),
                PastAssignment {
                    hub: hub(recorded),
                    device_id,
                },
            );
        }
        let presented = PresentedAttestation::SymmetricKey(&token);
        let assignment = assigned(world.decide(&id, presented));
        assert_eq!(assignment.hub, hub("h1"));
        // Always there, for an identity that an operator deleted starts anew (J3).
        assert_eq!(assignment.initial_twin.as_ref(), Some(&entry_twin));
        assert_eq!(
            assignment.updates_credentials, credentials,
            "{recorded:?} {update}"
        );
    }
}

/// R-B16, R-B17.
#[test]
fn a_webhook_chooses_among_the_hubs_it_was_offered() {
    let definition = CustomAllocationDefinition {
        webhook_url: WebhookUrl::parse("https://hook").unwrap(),
        api_version: "2021-10-01".to_owned(),
    };
    let twin = |told| InitialTwin::new(&json!({ "told": told }), &Value::Null).unwrap();
    let (told_twin, own_twin) = (twin(true), twin(false));
    let answer = |name: &str| AllocationAnswer::Hub {
        hub: hub(name),
        initial_twin: Some(told_twin.clone()),
        payload: Some(json!("hello")),
    };
    // update, migrate, recorded hub, hubs offered, hub told, twin used
    let (one, both) = (vec!["h1"], vec!["h1", "h2"]);
    let table = [
        (true, true, None, both.clone(), "h2", &told_twin),
        (true, true, Some("h1"), both.clone(), "h2", &own_twin),
        (true, false, Some("h1"), both.clone(), "h2", &told_twin),
        (true, false, Some("h1"), both, "h1", &own_twin),
        (false, false, Some("h1"), one, "h1", &own_twin),
    ];
    for (update, migrate, recorded, offered, told_hub, twin) in table {
        let mut own = entry("d1", keys(1, 2));
        own.initial_twin = Some(own_twin.clone());
        own.allocation = Some(AllocationPolicy::Custom(definition.clone()));
        own.reprovision_policy = Some(ReprovisionPolicy {
            update_hub_assignment: update,
            migrate_device_data: migrate,
        });
        let mut world = World::new(store(&[])).with_individual(own);
        world.hubs = linked(&["h1", "h2"]);
        let id = registration_id("d1");
        if let Some(recorded) = recorded {
            let device_id = DeviceId::from(&id);
            world.records.insert(
                id.clone(),
                PastAssignment {
                    hub: hub(recorded),
                    device_id,
                },
            );
        }
        let token = token("d1", NOW.plus(1), &key(1));
        let decision = world.decide(&id, PresentedAttestation::SymmetricKey(&token));
        let Ok(Decision::Ask(question)) = decision else {
            panic!("{decision:?}")
        };
        let names: Vec<_> = question
            .linked_hubs()
            .iter()
            .map(HubHostName::as_str)
            .collect();
        assert_eq!((names, question.webhook()), (offered, &definition));
        assert_eq!(question.current_hub(), recorded.map(hub).as_ref());

        let resumed = resume(question.clone(), answer(told_hub), &world.hubs);
        let assignment = assigned(Ok(resumed));
        assert_eq!(
            (assignment.hub, assignment.payload),
            (hub(told_hub), Some(json!("hello")))
        );
        assert_eq!(
            assignment.initial_twin.as_ref(),
            Some(twin),
            "{recorded:?} {told_hub}"
        );
        let stranger = resume(question.clone(), answer("h3"), &world.hubs);
        assert_eq!(told(&Ok(stranger)), "failed 400207");
        let failed = AllocationAnswer::Failed {
            text: "with status code: 500".to_owned(),
        };
        let failed = resume(question.clone(), failed, &world.hubs);
        assert_eq!(told(&Ok(failed.clone())), "failed 400207");
        let Decision::Failed { failure, .. } = failed else {
            panic!("{failed:?}")
        };
        assert_eq!(
            failure.text,
            "Custom allocation failed with status code: 500"
        );

        // A.5: a hub may be linked and its registry shut.
        for link in &mut world.hubs.hubs {
            link.access = HubAccess::Refused;
        }
        let shut = resume(question, answer(told_hub), &world.hubs);
        assert_eq!(told(&Ok(shut)), "failed 400209");
    }
}
