use super::*;
use crate::dps::attestation::{AttestationMechanism, PresentedAttestation};
use crate::dps::enrollment::{IndividualEnrollment, ProvisioningStatus};
use crate::dps::registration::{Decision, Refusal, Transport};
use crate::hub::identity::AuthenticationMechanism;
use crate::sas;
use crate::test_pki::{Authority, NOW, chain, entry, registration_id, store};
use crate::test_world::{World, told};

fn tpm_key(text: &str) -> TpmKey {
    TpmKey::from_base64(&STANDARD.encode(text)).unwrap()
}

fn keys(endorsement: &str, storage: &str) -> TpmKeys {
    TpmKeys {
        endorsement_key: tpm_key(endorsement),
        storage_root_key: tpm_key(storage),
    }
}

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32]).unwrap()
}

/// Challenged with key 1, and with key 2 for the hub.
fn challenge(endorsement: &str, storage: &str) -> TpmChallenge {
    TpmChallenge::new(keys(endorsement, storage), key(1), key(2), NOW)
}

fn token(resource: &str, signed_by: u8, lasts: i64) -> SharedAccessSignature {
    let text = sas::sign(
        resource,
        NOW.plus(lasts),
        &key(signed_by),
        Some("registration"),
    );
    SharedAccessSignature::parse(&text).unwrap()
}

fn enrolled(endorsement: &str) -> IndividualEnrollment {
    let attestation = AttestationMechanism::Tpm {
        endorsement_key: tpm_key(endorsement),
        storage_root_key: Some(tpm_key("what the operator wrote down is not compared")),
    };
    entry("d1", attestation)
}

fn world(challenge: Option<TpmChallenge>) -> World {
    let mut world = World::new(store(&[])).with_individual(enrolled("ek"));
    world.tpm_challenge = challenge;
    world
}

fn decide(
    world: &World,
    keys: Option<&TpmKeys>,
    token: Option<&SharedAccessSignature>,
) -> Result<Decision, Refusal> {
    let presented = match (keys, token) {
        (Some(keys), token) => PresentedAttestation::Tpm { keys, token },
        (None, Some(token)) => PresentedAttestation::SymmetricKey(token),
        (None, None) => PresentedAttestation::None,
    };
    world.decide(&registration_id("d1"), presented)
}

const RESOURCE: &str = "scope%2fregistrations%2fD1";

/// R-A35, I-12: every way to offer a TPM, and to answer its challenge.
#[test]
fn the_enrolled_tpm_is_challenged_and_answers_with_a_token() {
    use TpmError::{
        ChallengeExpired, EndorsementKeyMismatch, NoChallenge, ProofOutstanding,
        StorageRootKeyMismatch,
    };
    let (own, stranger, moved) = (keys("ek", "srk"), keys("other", "srk"), keys("ek", "srk2"));
    let given = || Some(challenge("ek", "srk"));
    let good = || Some(token(RESOURCE, 1, 60));
    let expired = |expiry, now| ChallengeExpired { expiry, now };
    let table = [
        ("offered", Some(&own), None, None, 0, Err(ProofOutstanding)),
        (
            "offered again",
            Some(&own),
            None,
            given(),
            0,
            Err(ProofOutstanding),
        ),
        (
            "a stranger",
            Some(&stranger),
            None,
            None,
            0,
            Err(EndorsementKeyMismatch),
        ),
        (
            "a stranger with proof",
            Some(&stranger),
            good(),
            given(),
            0,
            Err(EndorsementKeyMismatch),
        ),
        (
            "never challenged",
            Some(&own),
            good(),
            None,
            0,
            Err(NoChallenge),
        ),
        (
            "another was challenged",
            None,
            good(),
            Some(challenge("old", "srk")),
            0,
            Err(NoChallenge),
        ),
        (
            "another storage key",
            Some(&moved),
            good(),
            given(),
            0,
            Err(StorageRootKeyMismatch),
        ),
        ("proven", Some(&own), good(), given(), 0, Ok(())),
        ("proven, as polls do", None, good(), given(), 0, Ok(())),
        (
            "in the last second",
            None,
            Some(token(RESOURCE, 1, 9999)),
            given(),
            3599,
            Ok(()),
        ),
        (
            "a second too late",
            None,
            Some(token(RESOURCE, 1, 9999)),
            given(),
            3600,
            Err(expired(NOW.plus(3600), NOW.plus(3600))),
        ),
    ];
    for (name, keys, token, challenge, later, expected) in table {
        let mut world = world(challenge);
        world.now = NOW.plus(later);
        let expected = expected.map_err(|error: TpmError| Refusal::Attestation(error.into()));
        let found = decide(&world, keys, token.as_ref()).map(|_| ());
        assert_eq!(found, expected, "{name}");
    }
}

/// R-A31, R-A35.
#[test]
fn a_token_that_the_challenged_key_did_not_sign_for_this_device_is_refused() {
    let own = keys("ek", "srk");
    let world = world(Some(challenge("ek", "srk")));
    let table = [
        ("the hub's key", token(RESOURCE, 2, 60), "401000 R-A35"),
        ("over", token(RESOURCE, 1, 0), "401000 R-A35"),
        (
            "another device",
            token("scope%2fregistrations%2fd2", 1, 60),
            "401000 R-A31",
        ),
    ];
    for (name, token, expected) in table {
        for keys in [None, Some(&own)] {
            assert_eq!(
                told(&decide(&world, keys, Some(&token))),
                expected,
                "{name}"
            );
        }
    }
}

/// R-B22.
#[test]
fn the_hub_gets_the_key_of_the_challenge_in_both_places() {
    let world = world(Some(challenge("ek", "srk")));
    let decision = decide(&world, None, Some(&token(RESOURCE, 1, 60)));
    let Ok(Decision::Assign(assignment)) = decision else {
        panic!("{decision:?}");
    };
    let (primary, secondary) = (key(2), key(2));
    let expected = AuthenticationMechanism::Sas { primary, secondary };
    assert_eq!(assignment.authentication, expected);
}

/// R-A19, R-A27, I-12: that an entry is disabled shows only to the TPM it is for.
#[test]
fn a_disabled_entry_shows_after_the_proof() {
    let mut own = enrolled("ek");
    own.provisioning_status = ProvisioningStatus::Disabled;
    let mut world = world(Some(challenge("ek", "srk")));
    world.set_individual(own);
    let good = token(RESOURCE, 1, 60);
    let (keys, stranger) = (keys("ek", "srk"), keys("other", "srk"));
    assert_eq!(told(&decide(&world, Some(&keys), None)), "401002 R-A35");
    assert_eq!(told(&decide(&world, Some(&stranger), None)), "401000 R-A35");
    assert_eq!(
        told(&decide(&world, Some(&keys), Some(&good))),
        "disabled d1"
    );
}

/// R-A21a, R-A23, R-A35: TPMs have no groups, and other entries do not want them.
#[test]
fn a_tpm_without_an_entry_of_its_own_is_not_enrolled() {
    let keys = keys("ek", "srk");
    let leaf = Authority::root("root").issue("d1");
    let empty = World::new(store(&[]));
    assert_eq!(told(&decide(&empty, Some(&keys), None)), "404201 R-A23");
    let symmetric = AttestationMechanism::SymmetricKey {
        primary: key(1),
        secondary: key(2),
    };
    let other = World::new(store(&[])).with_individual(entry("d1", symmetric));
    assert_eq!(told(&decide(&other, Some(&keys), None)), "401000 R-A21a");
    let own = world(None);
    assert_eq!(told(&decide(&own, None, None)), "401000 R-A21a");
    let presented = chain(&leaf, &[]);
    let by_leaf = own.decide(
        &registration_id("d1"),
        PresentedAttestation::X509(&presented),
    );
    assert_eq!(told(&by_leaf), "401000 R-A21a");
}

/// R-A35.
#[test]
fn nothing_opens_the_entry_of_a_tpm_over_mqtt() {
    let mut world = world(Some(challenge("ek", "srk")));
    world.transport = Transport::Mqtt;
    let (keys, good) = (keys("ek", "srk"), token(RESOURCE, 1, 60));
    for (keys, token) in [
        (None, None),
        (Some(&keys), None),
        (Some(&keys), Some(&good)),
        (None, Some(&good)),
    ] {
        let refusal = decide(&world, keys, token).unwrap_err();
        assert_eq!(refusal, Refusal::Attestation(TpmError::NotOverMqtt.into()));
        assert_eq!((refusal.code(), refusal.rule()), (401_000, "R-A35"));
        assert!(refusal.message().contains("not supported over MQTT"));
    }
}

#[test]
fn a_key_is_base64_and_has_a_bound() {
    let long = STANDARD.encode([1; TPM_KEY_BYTES_MAX + 1]);
    let length = |bytes| {
        Err(TpmKeyError::Length {
            bytes,
            max: TPM_KEY_BYTES_MAX,
        })
    };
    assert_eq!(TpmKey::from_base64("*"), Err(TpmKeyError::NotBase64));
    assert_eq!(TpmKey::from_base64(" "), length(0));
    assert_eq!(TpmKey::from_base64(&long), length(TPM_KEY_BYTES_MAX + 1));
    let key = TpmKey::from_base64(" AAEC\n").unwrap();
    assert_eq!(
        (key.bytes(), key.to_base64()),
        (&[0, 1, 2][..], "AAEC".to_owned())
    );
}

#[test]
fn debug_output_hides_the_keys_of_a_challenge() {
    let shown = format!("{:?}", challenge("ek", "srk"));
    assert!(
        shown.contains("TpmKey(2 bytes)") && shown.contains("SymmetricKey(…)"),
        "{shown}"
    );
    for secret in [[1; 32], [2; 32]] {
        assert!(!shown.contains(&format!("{secret:?}")), "{shown}");
    }
}
