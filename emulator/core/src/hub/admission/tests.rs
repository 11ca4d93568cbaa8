use super::*;
use crate::sas;
use crate::secret::SymmetricKey;
use crate::test_pki::{Authority, NOW, chain, etag, self_signed, store};

fn identity(authentication: AuthenticationMechanism) -> Identity {
    let id = IdentityId::parse("Dev").unwrap();
    Identity::new(id, "g1".to_owned(), etag(), authentication)
}

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32]).unwrap()
}

fn said(outcome: &Result<Admitted, AdmissionError>) -> String {
    match outcome {
        Ok(admitted) => match admitted.by() {
            AdmittedBy::Certificate { slot, .. } | AdmittedBy::Sas { slot, .. } => {
                format!("admitted {slot:?}")
            }
            AdmittedBy::CertificateAuthority { .. } => "admitted by authority".to_owned(),
            AdmittedBy::Policy { .. } => "admitted by policy".to_owned(),
        },
        Err(error) => format!("{} {}", error.code(), error.rule()),
    }
}

/// Judges the device `Dev` at `hub.local`, which knows no CA certificate.
fn admit_dev(
    identity: Option<&Identity>,
    presented: PresentedCredential<'_>,
    now: UnixTime,
) -> Result<Admitted, AdmissionError> {
    let id = IdentityId::parse("Dev").unwrap();
    let found = identity.map(Found::device);
    admit_at("hub.local", &CaStore::new(), &id, found, presented, now)
}

fn admit_at(
    host: &str,
    ca_store: &CaStore,
    id: &IdentityId,
    found: Option<Found<'_>>,
    presented: PresentedCredential<'_>,
    now: UnixTime,
) -> Result<Admitted, AdmissionError> {
    let hub = HubFacts {
        host: &HubHostName::parse(host).unwrap(),
        ca_store,
        settings: &Settings::default(),
    };
    admit(id, found, presented, &hub, now)
}

/// R-G7, R-G10.
#[test]
fn a_leaf_is_admitted_by_either_thumbprint_within_its_period() {
    let span = (-10, 10);
    let (leaf, other) = (self_signed("anything", span), self_signed("Dev", span));
    let sha1 = Some(Thumbprint::Sha1(leaf.sha1()));
    let sha256 = Some(Thumbprint::Sha256(leaf.fingerprint()));
    let foreign = Some(Thumbprint::Sha256(other.fingerprint()));
    // primary, secondary, offset, outcome
    let table = [
        (sha256, None, 0, "admitted Primary"),
        (sha1, None, 0, "admitted Primary"),
        (foreign, sha256, 0, "admitted Secondary"),
        (foreign, sha1, 0, "admitted Secondary"),
        (sha256, sha256, 0, "admitted Primary"),
        (foreign, foreign, 0, "401003 R-G10"),
        (None, None, 0, "401003 R-G10"),
        (sha256, None, -11, "401003 R-G7"),
        (sha256, None, -10, "admitted Primary"),
        (sha256, None, 10, "admitted Primary"),
        (sha256, None, 11, "401003 R-G7"),
        (foreign, None, 11, "401003 R-G10"),
    ];
    let presented = chain(&leaf, &[]);
    for (primary, secondary, offset, expected) in table {
        let identity = identity(AuthenticationMechanism::SelfSigned { primary, secondary });
        let presented = PresentedCredential::Certificate(&presented);
        let outcome = admit_dev(Some(&identity), presented, NOW.plus(offset));
        assert_eq!(
            said(&outcome),
            expected,
            "{primary:?} {secondary:?} at {offset}"
        );
    }
}

/// R-G7: the chain is not asked.
#[test]
fn who_signed_a_leaf_does_not_matter_to_the_hub() {
    let (root, stranger) = (Authority::root("root"), Authority::root("stranger"));
    let leaf = root.issue("another name");
    let print = Some(Thumbprint::Sha256(leaf.fingerprint()));
    let authentication = AuthenticationMechanism::SelfSigned {
        primary: print,
        secondary: None,
    };
    let identity = identity(authentication);
    for above in [vec![], vec![&root], vec![&stranger]] {
        let chain = chain(&leaf, &above);
        let presented = PresentedCredential::Certificate(&chain);
        let admitted = admit_dev(Some(&identity), presented, NOW).unwrap();
        assert_eq!(admitted.id().as_str(), "Dev");
        let not_after = leaf.validity().not_after;
        assert_eq!(
            admitted.by(),
            AdmittedBy::Certificate {
                slot: Slot::Primary,
                not_after
            }
        );
    }
}

/// R-F11.
#[test]
fn a_mismatch_is_told_with_all_thumbprints() {
    let (leaf, known) = (self_signed("a", (-1, 1)), self_signed("b", (-1, 1)));
    let primary = Thumbprint::Sha1(known.sha1());
    let identity = identity(AuthenticationMechanism::SelfSigned {
        primary: Some(primary),
        secondary: None,
    });
    let chain = chain(&leaf, &[]);
    let presented = PresentedCredential::Certificate(&chain);
    let error = admit_dev(Some(&identity), presented, NOW).unwrap_err();
    let (sha1, sha256) = (
        Thumbprint::Sha1(leaf.sha1()),
        Thumbprint::Sha256(leaf.fingerprint()),
    );
    assert_eq!(
        error.to_string(),
        format!(
            "Thumbprint does not match configuration: Thumbprint: SHA1Hash={sha1}, \
             SHA2Hash={sha256}; Configuration: PrimaryThumbprint={primary}, SecondaryThumbprint="
        )
    );
}

#[test]
fn a_token_must_cover_the_device_and_be_signed_with_either_key() {
    let sas = AuthenticationMechanism::Sas {
        primary: key(1),
        secondary: key(2),
    };
    let identity = identity(sas);
    // resource, key, seconds left, outcome
    let table = [
        ("hub.local%2Fdevices%2FDev", 1, 1, "admitted Primary"),
        ("HUB.local%2fdevices%2fDev", 2, 1, "admitted Secondary"),
        ("hub.local/devices/Dev/", 1, 1, "admitted Primary"),
        ("hub.local/devices", 1, 1, "admitted Primary"),
        ("hub.local", 1, 1, "admitted Primary"),
        ("hub.local%2Fdevices%2Fdev", 1, 1, "401003 R-G11"),
        ("hub.local%2Fdevices%2FDe", 1, 1, "401003 R-G11"),
        ("hub.local%2Fdevices%2FDev%2Fmore", 1, 1, "401003 R-G11"),
        ("hub2.local%2Fdevices%2FDev", 1, 1, "401003 R-G11"),
        ("hub.local%2Fdevices%2FDev", 3, 1, "401003 R-G11"),
    ];
    for (resource, signer, left, expected) in table {
        let text = sas::sign(resource, NOW.plus(left), &key(signer), None);
        let token = SharedAccessSignature::parse(&text).unwrap();
        let outcome = admit_dev(Some(&identity), PresentedCredential::Sas(&token), NOW);
        assert_eq!(said(&outcome), expected, "{resource} with key {signer}");
        if let Ok(admitted) = outcome {
            assert!(
                matches!(admitted.by(), AdmittedBy::Sas { expiry, .. } if expiry == NOW.plus(1))
            );
        }
    }
}

#[test]
fn existence_status_and_kind_come_before_the_credential() {
    let leaf = self_signed("Dev", (-1, 1));
    let presented = chain(&leaf, &[]);
    let text = sas::sign("hub.local/devices/Dev", NOW.plus(1), &key(1), None);
    let token = SharedAccessSignature::parse(&text).unwrap();
    let by_leaf = PresentedCredential::Certificate(&presented);
    let (by_token, nothing) = (PresentedCredential::Sas(&token), PresentedCredential::None);
    let print = Some(Thumbprint::Sha256(leaf.fingerprint()));
    let thumb = identity(AuthenticationMechanism::SelfSigned {
        primary: print,
        secondary: None,
    });
    let sas = identity(AuthenticationMechanism::Sas {
        primary: key(1),
        secondary: key(1),
    });
    let by_ca = identity(AuthenticationMechanism::CertificateAuthority);
    let none = identity(AuthenticationMechanism::None);
    let off = Identity {
        status: DeviceStatus::Disabled,
        ..thumb.clone()
    };
    let table = [
        (None, by_leaf, "404001 R-E7"),
        (Some(&off), by_leaf, "403012 R-G4"),
        (Some(&off), nothing, "403012 R-G4"),
        (Some(&thumb), by_leaf, "admitted Primary"),
        (Some(&thumb), by_token, "401003 R-G3"),
        (Some(&thumb), nothing, "401003 R-G3"),
        (Some(&sas), by_token, "admitted Primary"),
        (Some(&sas), by_leaf, "401003 R-G3"),
        (Some(&by_ca), by_leaf, "401003 R-G8"),
        (Some(&by_ca), by_token, "401003 R-G3"),
        (Some(&none), by_leaf, "401003 R-G3"),
        (Some(&none), nothing, "401003 R-G3"),
    ];
    for (identity, presented, expected) in table {
        let outcome = admit_dev(identity, presented, NOW);
        assert_eq!(said(&outcome), expected, "{identity:?} {presented:?}");
    }
}

/// R-G4: a module has credentials of its own, and the status of its device.
#[test]
fn a_module_comes_in_by_its_own_credentials_while_its_device_is_enabled() {
    let sas = |byte| AuthenticationMechanism::Sas {
        primary: key(byte),
        secondary: key(byte),
    };
    let module = Identity {
        id: IdentityId::parse("Dev/Mod").unwrap(),
        ..identity(sas(2))
    };
    let on = identity(sas(1));
    let off = Identity {
        status: DeviceStatus::Disabled,
        ..on.clone()
    };
    // the device, the token's resource, its key, outcome
    let table = [
        (
            &on,
            "hub.local/devices/Dev/modules/Mod",
            2,
            "admitted Primary",
        ),
        (
            &on,
            "hub.local%2Fdevices%2FDev%2Fmodules%2FMod",
            2,
            "admitted Primary",
        ),
        (&on, "hub.local/devices/Dev/modules/Mod", 1, "401003 R-G11"),
        (&on, "hub.local/devices/Dev/modules/mod", 2, "401003 R-G11"),
        (&on, "hub.local/devices/Dev2", 2, "401003 R-G11"),
        (&off, "hub.local/devices/Dev/modules/Mod", 2, "403012 R-G4"),
    ];
    for (device, signed, signer, expected) in table {
        let text = sas::sign(signed, NOW.plus(1), &key(signer), None);
        let token = SharedAccessSignature::parse(&text).unwrap();
        let found = Found {
            identity: &module,
            device: Some(device),
        };
        let (id, presented) = (&module.id, PresentedCredential::Sas(&token));
        let outcome = admit_at(
            "hub.local",
            &CaStore::new(),
            id,
            Some(found),
            presented,
            NOW,
        );
        assert_eq!(said(&outcome), expected, "{signed} with key {signer}");
    }
}

/// R-G11: five minutes excuse a wrong clock; the session ends with the token or with them.
#[test]
fn a_token_is_taken_a_little_past_its_end_and_no_longer() {
    let identity = identity(AuthenticationMechanism::Sas {
        primary: key(1),
        secondary: key(2),
    });
    let text = sas::sign("hub.local/devices/Dev", NOW, &key(1), None);
    let token = SharedAccessSignature::parse(&text).unwrap();
    // the moment, from the token's end; when its session must be closed, from the same
    let table = [
        (-3600, Some(0)),
        (-1, Some(0)),
        (0, Some(300)),
        (299, Some(300)),
        (300, None),
        (3600, None),
    ];
    for (offset, ends) in table {
        let presented = PresentedCredential::Sas(&token);
        let outcome = admit_dev(Some(&identity), presented, NOW.plus(offset));
        let expected = ends.map(|ends| AdmittedBy::Sas {
            slot: Slot::Primary,
            expiry: NOW.plus(ends),
        });
        if expected.is_none() {
            assert_eq!(said(&outcome), "401003 R-G11", "at {offset}");
        }
        let by = outcome.ok().map(|admitted| admitted.by());
        assert_eq!(by, expected, "at {offset}");
    }
}

/// R-F9: whoever holds a policy with the right speaks as any device that takes tokens.
#[test]
fn a_policy_with_the_right_speaks_for_devices_that_take_tokens() {
    let sas = identity(AuthenticationMechanism::Sas {
        primary: key(1),
        secondary: key(2),
    });
    let off = Identity {
        status: DeviceStatus::Disabled,
        ..sas.clone()
    };
    let by_ca = identity(AuthenticationMechanism::CertificateAuthority);
    let (primary, secondary) = (key(7), key(8));
    // identity, resource, key, whether the policy has the right, outcome
    let table = [
        (
            Some(&sas),
            "hub.local/devices/Dev",
            7,
            true,
            "admitted by policy",
        ),
        (Some(&sas), "hub.local", 8, true, "admitted by policy"),
        (Some(&sas), "hub.local", 8, false, "401003 R-F9"),
        (Some(&sas), "hub.local/devices/Dev", 1, true, "401003 R-G11"),
        (
            Some(&sas),
            "hub.local/devices/Other",
            7,
            true,
            "401003 R-G11",
        ),
        (Some(&off), "hub.local", 7, true, "403012 R-G4"),
        (Some(&by_ca), "hub.local", 7, true, "401003 R-G3"),
        (None, "hub.local", 7, true, "404001 R-E7"),
    ];
    for (identity, resource, signer, connects, expected) in table {
        let text = sas::sign(resource, NOW.plus(60), &key(signer), Some("device"));
        let token = SharedAccessSignature::parse(&text).unwrap();
        let presented = PresentedCredential::PolicySas {
            token: &token,
            keys: [&primary, &secondary],
            connects,
        };
        let outcome = admit_dev(identity, presented, NOW);
        assert_eq!(said(&outcome), expected, "{resource} with key {signer}");
    }
}

/// Id and store; who signed, the name in the leaf, what is presented above it; the moment and
/// the outcome.
type Row<'a> = (
    (&'a str, &'a CaStore),
    (&'a Authority, &'a str, &'a [&'a Authority]),
    (i64, &'a str),
);

/// R-G8, R-D10.
#[test]
fn a_certificate_under_a_verified_authority_of_the_hub_is_admitted_by_its_name() {
    let root = Authority::root("root");
    let below = root.issue_ca("below");
    let stranger = Authority::root("stranger");
    let (known, unproven) = (store(&[(&root, true)]), store(&[(&root, false)]));
    let empty = CaStore::new();
    let by_ca = |id: &str| Identity {
        id: IdentityId::parse(id).unwrap(),
        ..identity(AuthenticationMechanism::CertificateAuthority)
    };
    let through_below: &[&Authority] = &[&below];
    let table: [Row<'_>; 12] = [
        (
            ("Dev", &known),
            (&below, "Dev", &[&below, &root]),
            (0, "admitted by authority"),
        ),
        (
            ("Dev", &known),
            (&below, "Dev", through_below),
            (0, "admitted by authority"),
        ),
        (
            ("Dev", &known),
            (&root, "Dev", &[]),
            (0, "admitted by authority"),
        ),
        (
            ("Dev/Mod", &known),
            (&below, "Dev/Mod", through_below),
            (0, "admitted by authority"),
        ),
        (
            ("Dev", &known),
            (&below, "dev", through_below),
            (0, "401003 R-G8"),
        ),
        (
            ("Dev/Mod", &known),
            (&below, "Dev", through_below),
            (0, "401003 R-G8"),
        ),
        (("Dev", &known), (&below, "Dev", &[]), (0, "401003 R-G8")),
        (
            ("Dev", &unproven),
            (&below, "Dev", &[&below, &root]),
            (0, "401003 R-G8"),
        ),
        (
            ("Dev", &empty),
            (&below, "Dev", &[&below, &root]),
            (0, "401003 R-G8"),
        ),
        (
            ("Dev", &known),
            (&stranger, "Dev", &[&stranger]),
            (0, "401003 R-G8"),
        ),
        (
            ("Dev", &known),
            (&below, "Dev", through_below),
            (1 << 40, "401003 R-G8"),
        ),
        (
            ("Dev", &known),
            (&below, "Dev", through_below),
            (-(1 << 40), "401003 R-G8"),
        ),
    ];
    for ((id, store), (signer, name, above), (offset, expected)) in table {
        let identity = by_ca(id);
        let leaf = signer.issue(name);
        let chain = chain(&leaf, above);
        let presented = PresentedCredential::Certificate(&chain);
        let found = Some(Found::device(&identity));
        let now = NOW.plus(offset);
        let outcome = admit_at("hub.local", store, &identity.id, found, presented, now);
        assert_eq!(said(&outcome), expected, "{id} as {name} at {offset}");
        if let Ok(admitted) = outcome {
            let not_after = leaf.validity().not_after;
            let by = AdmittedBy::CertificateAuthority { not_after };
            assert_eq!(admitted.by(), by);
        }
    }
}

/// R-G7: the reading that lets DPS take expired certificates (I-14) is none of the hub's.
#[test]
fn an_expired_authority_admits_nobody_whatever_dps_takes() {
    let root = Authority::root("root");
    let known = store(&[(&root, true)]);
    let identity = Identity {
        id: IdentityId::parse("Dev").unwrap(),
        ..identity(AuthenticationMechanism::CertificateAuthority)
    };
    let chain = chain(&root.issue("Dev"), &[]);
    let hub = HubFacts {
        host: &HubHostName::parse("hub.local").unwrap(),
        ca_store: &known,
        settings: &Settings {
            check_validity: false,
            ..Settings::default()
        },
    };
    let admitted = |now| {
        let presented = PresentedCredential::Certificate(&chain);
        let found = Some(Found::device(&identity));
        said(&admit(&identity.id, found, presented, &hub, now))
    };
    assert_eq!(admitted(NOW), "admitted by authority");
    assert_eq!(admitted(NOW.plus(1 << 40)), "401003 R-G8");
}
