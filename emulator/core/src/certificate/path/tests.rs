use rcgen::{BasicConstraints, IsCa};

use super::*;
use crate::test_pki::{Authority, LONG, NOW, chain, self_signed, store};

fn names(path: &VerifiedPath) -> Vec<&str> {
    path.above_leaf()
        .iter()
        .filter_map(Certificate::common_name)
        .collect()
}

/// `above` and `anchor` of a path by common name, or the kind of error.
fn outcome(chain: &Chain, store: &CaStore, settings: &Settings, now: UnixTime) -> String {
    match build(chain, store, settings, now) {
        Ok(path) => format!(
            "{} @{}",
            names(&path).join(" "),
            path.anchor().common_name().unwrap()
        ),
        Err(PathError::BadSignature { .. }) => "bad signature".to_owned(),
        Err(PathError::Expired { .. }) => "expired".to_owned(),
        Err(PathError::NoVerifiedAnchor { .. }) => "no anchor".to_owned(),
        Err(PathError::NotACertificateAuthority { .. }) => "no authority".to_owned(),
        Err(PathError::NotYetValid { .. }) => "too young".to_owned(),
    }
}

/// R-A16.
#[test]
fn a_path_reaches_a_verified_certificate_and_as_far_as_presented() {
    let root = Authority::root("root");
    let ca1 = root.issue_ca("ca1");
    let ca2 = ca1.issue_ca("ca2");
    let other = Authority::root("other");
    let leaf = ca2.issue("dev");
    let lax = Settings::default();
    let strict = Settings {
        require_anchor_in_chain: true,
        ..lax
    };
    let all: &[&Authority] = &[&ca2, &ca1, &root];
    let up_to_ca1: &[&Authority] = &[&ca2, &ca1];
    let root_known = store(&[(&root, true)]);
    let both_known = store(&[(&root, true), (&ca2, true)]);
    let ca1_known = store(&[(&ca1, true), (&root, false)]);
    let unverified = store(&[(&root, false)]);
    // presented above the leaf, store, root may be left out, root must be presented
    let table: [(&[&Authority], &CaStore, &str, &str); 13] = [
        (all, &root_known, "ca2 ca1 root @root", "ca2 ca1 root @root"),
        (up_to_ca1, &root_known, "ca2 ca1 root @root", "no anchor"),
        (&[&ca2], &root_known, "no anchor", "no anchor"),
        (&[], &root_known, "no anchor", "no anchor"),
        (&[&ca1], &root_known, "no anchor", "no anchor"),
        (&[&ca1, &ca2, &root], &root_known, "no anchor", "no anchor"),
        (all, &both_known, "ca2 ca1 root @ca2", "ca2 ca1 root @ca2"),
        (&[&ca2], &both_known, "ca2 @ca2", "ca2 @ca2"),
        (up_to_ca1, &both_known, "ca2 ca1 root @ca2", "ca2 ca1 @ca2"),
        (all, &ca1_known, "ca2 ca1 root @ca1", "ca2 ca1 root @ca1"),
        (&[&ca2], &ca1_known, "no anchor", "no anchor"),
        (
            &[&ca2, &ca1, &root, &other, &ca1],
            &root_known,
            "ca2 ca1 root @root",
            "ca2 ca1 root @root",
        ),
        (all, &unverified, "no anchor", "no anchor"),
    ];
    for (above, store, laxly, strictly) in table {
        let chain = chain(&leaf, above);
        let shown: Vec<_> = above
            .iter()
            .filter_map(|ca| ca.certificate.common_name())
            .collect();
        assert_eq!(outcome(&chain, store, &lax, NOW), laxly, "{shown:?}");
        assert_eq!(
            outcome(&chain, store, &strict, NOW),
            strictly,
            "strictly {shown:?}"
        );
    }
}

/// R-A17, I-3.
#[test]
fn only_a_self_signed_root_may_be_left_out() {
    let root = Authority::root("root");
    let ca = root.issue_ca("ca");
    let leaf = ca.issue("dev");
    let settings = Settings::default();
    let known = store(&[(&ca, true), (&root, true)]);
    assert_eq!(
        outcome(&chain(&leaf, &[]), &known, &settings, NOW),
        "no anchor"
    );
    let below_root = root.issue("dev");
    assert_eq!(
        outcome(&chain(&below_root, &[]), &known, &settings, NOW),
        "root @root"
    );
}

#[test]
fn of_two_roots_with_one_name_the_one_that_signed_is_meant() {
    let (old, new) = (Authority::root("root"), Authority::root("root"));
    let leaf = new.issue("dev");
    let mut known = store(&[(&old, true)]);
    let settings = Settings::default();
    assert_eq!(
        outcome(&chain(&leaf, &[]), &known, &settings, NOW),
        "no anchor"
    );
    assert_eq!(
        outcome(&chain(&leaf, &[&old]), &known, &settings, NOW),
        "bad signature"
    );
    let name = CertificateName::parse("new").unwrap();
    known.insert(
        name,
        CaCertificate {
            certificate: new.certificate.clone(),
            verified: true,
        },
    );
    for above in [vec![], vec![&old], vec![&new]] {
        let path = build(&chain(&leaf, &above), &known, &settings, NOW).unwrap();
        assert_eq!(path.anchor(), &new.certificate);
    }
}

/// R-A16, R-A17, I-3: a cross certificate leads to the root that signed it, and does not hide the
/// root whose key and name it carries.
#[test]
fn a_cross_certificate_leads_to_either_root() {
    let (old, new) = (Authority::root("old"), Authority::root("new"));
    let issuer = new.issue_ca("issuer");
    let leaf = issuer.issue("dev");
    let lax = Settings::default();
    let strict = Settings {
        require_anchor_in_chain: true,
        ..lax
    };
    let both = store(&[(&old, true), (&new, true)]);
    let only_old = store(&[(&old, true)]);
    let only_new = store(&[(&new, true)]);
    let unverified = store(&[(&new, false)]);
    let show = |cross: Certificate, settings: &Settings, store: &CaStore| {
        let chain = Chain::new(leaf.clone(), [issuer.certificate.clone(), cross]);
        outcome(&chain, store, settings, NOW)
    };
    let cross = || old.cross_sign(&new, LONG);
    assert_eq!(show(cross(), &lax, &only_old), "issuer new old @old");
    assert_eq!(show(cross(), &lax, &only_new), "issuer new new @new");
    assert_eq!(show(cross(), &lax, &both), "issuer new new old @new");
    assert_eq!(show(cross(), &lax, &unverified), "no anchor");
    assert_eq!(show(cross(), &strict, &only_old), "no anchor");
    // Once the cross certificate has expired with the old root, the new root is there alone.
    let expired = || old.cross_sign(&new, (-20, -10));
    assert_eq!(show(expired(), &lax, &both), "issuer new @new");
    assert_eq!(show(expired(), &lax, &only_old), "expired");
    // Without it nothing leads to the old root.
    let without = chain(&leaf, &[&issuer]);
    assert_eq!(outcome(&without, &only_old, &lax, NOW), "no anchor");
}

/// R-A20, I-14.
#[test]
fn every_certificate_of_a_path_must_hold_both_end_seconds_included() {
    let span = (-10, 10);
    let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = Authority::root("root");
    let short_root = Authority::root_with("short-root", span, &rcgen::PKCS_ECDSA_P256_SHA256);
    let short_ca = root.issue_ca_with("short-ca", span, is_ca);
    let chains = [
        chain(&root.issue_with("dev", span), &[&root]),
        chain(&short_ca.issue("dev"), &[&short_ca, &root]),
        chain(&short_root.issue("dev"), &[&short_root]),
        chain(&short_root.issue("dev"), &[]),
    ];
    let known = store(&[(&root, true), (&short_root, true)]);
    let table = [
        (-11, "too young"),
        (-10, "path"),
        (0, "path"),
        (10, "path"),
        (11, "expired"),
    ];
    for chain in &chains {
        for (offset, expected) in table {
            let now = NOW.plus(offset);
            let found = outcome(chain, &known, &Settings::default(), now);
            let found = if found.contains('@') { "path" } else { &found };
            assert_eq!(found, expected, "{chain:?} at {offset}");
            let unjudged = Settings {
                check_validity: false,
                ..Settings::default()
            };
            assert!(
                build(chain, &known, &unjudged, now).is_ok(),
                "{chain:?} at {offset}"
            );
        }
    }
}

#[test]
fn errors_hold_both_sides() {
    let root = Authority::root("root");
    let leaf = root.issue_with("dev", (-10, 10));
    let known = store(&[(&root, true)]);
    let error = build(
        &chain(&leaf, &[]),
        &known,
        &Settings::default(),
        NOW.plus(11),
    );
    let (now, not_after) = (NOW.plus(11), NOW.plus(10));
    assert_eq!(
        error,
        Err(PathError::Expired {
            subject: "CN=dev".to_owned(),
            now,
            not_after
        })
    );
    let error = build(
        &chain(&leaf, &[]),
        &CaStore::new(),
        &Settings::default(),
        NOW,
    );
    assert_eq!(
        error,
        Err(PathError::NoVerifiedAnchor {
            last_issuer: "CN=root".to_owned()
        })
    );
}

#[test]
fn what_lies_above_a_verified_certificate_cannot_spoil_it() {
    let expired = Authority::root_with("expired", (-20, -10), &rcgen::PKCS_ECDSA_P256_SHA256);
    let ca = expired.issue_ca("ca");
    let leaf = ca.issue("dev");
    let known = store(&[(&ca, true), (&expired, true)]);
    for above in [vec![&ca], vec![&ca, &expired]] {
        let found = outcome(&chain(&leaf, &above), &known, &Settings::default(), NOW);
        assert_eq!(found, "ca @ca");
    }
}

/// I-14.
#[test]
fn an_issuer_must_be_an_authority() {
    let root = Authority::root("root");
    let impostor = root.issue_ca_with("impostor", LONG, IsCa::ExplicitNoCa);
    let leaf = impostor.issue("dev");
    let found = outcome(
        &chain(&leaf, &[&impostor, &root]),
        &store(&[(&root, true)]),
        &Settings::default(),
        NOW,
    );
    assert_eq!(found, "no authority");
}

#[test]
fn a_self_signed_leaf_leads_nowhere() {
    let leaf = self_signed("dev", LONG);
    let known = store(&[(&Authority::root("root"), true)]);
    let chain = Chain::new(leaf.clone(), [leaf]);
    assert_eq!(
        outcome(&chain, &known, &Settings::default(), NOW),
        "no anchor"
    );
}

#[test]
fn a_store_forgets_what_is_removed() {
    let root = Authority::root("root");
    let mut known = store(&[(&root, true)]);
    let leaf = chain(&root.issue("dev"), &[&root]);
    let before = known.clone();
    let name = CertificateName::parse("root").unwrap();
    assert!(known.get(&name).is_some_and(|ca| ca.verified));
    assert!(known.remove(&name).is_some() && known.get(&name).is_none());
    assert_eq!(
        outcome(&leaf, &known, &Settings::default(), NOW),
        "no anchor"
    );
    assert_eq!(
        outcome(&leaf, &before, &Settings::default(), NOW),
        "root @root"
    );
}

/// R-D7.
#[test]
fn a_store_holds_what_was_put_in_and_not_taken_out() {
    let (a, b) = (Authority::root("a"), Authority::root("b"));
    let mut both = store(&[(&a, true), (&b, false)]);
    for name in ["a", "b"].map(|name| CertificateName::parse(name).unwrap()) {
        assert!(both.get(&name).is_some());
        assert!(both.remove(&name).is_some());
        assert!(both.get(&name).is_none() && both.remove(&name).is_none());
    }
}
