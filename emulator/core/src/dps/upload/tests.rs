use rcgen::{BasicConstraints, IsCa};

use super::*;
use crate::test_pki::{Authority, LONG, NOW, ca_name, registration_id, self_signed, slots};

/// Ended ten seconds ago.
const PAST: (i64, i64) = (-20, -10);

fn uploaded(certificate: &Certificate) -> Option<SlotWrite> {
    Some(SlotWrite::Certificate(certificate.clone()))
}

fn kept(thumbprint: Thumbprint) -> Option<SlotWrite> {
    Some(SlotWrite::Held(thumbprint))
}

fn client(primary: Option<SlotWrite>, secondary: Option<SlotWrite>) -> Vec<StyleWrite> {
    vec![StyleWrite::ClientCertificates(slots(primary, secondary))]
}

fn signing(primary: Option<SlotWrite>, secondary: Option<SlotWrite>) -> Vec<StyleWrite> {
    vec![StyleWrite::SigningCertificates(slots(primary, secondary))]
}

fn individual(
    write: Vec<StyleWrite>,
    held: Option<&X509Attestation>,
) -> Result<X509Attestation, UploadError> {
    let id = registration_id("dev-1");
    judge(
        write,
        Holder::Individual(&id),
        held,
        &Settings::default(),
        NOW,
    )
}

fn group(
    write: Vec<StyleWrite>,
    held: Option<&X509Attestation>,
) -> Result<X509Attestation, UploadError> {
    judge(write, Holder::Group, held, &Settings::default(), NOW)
}

fn problem(result: Result<X509Attestation, UploadError>) -> (Style, Slot, SlotProblem) {
    match result {
        Err(UploadError::Slot {
            style,
            slot,
            problem,
        }) => (style, slot, problem),
        other => panic!("expected a slot to be refused, got {other:?}"),
    }
}

/// R-A8, R-A13: one style, and that of its kind of entry.
#[test]
fn an_entry_has_one_style_and_its_own() {
    let (leaf, root) = (self_signed("dev-1", LONG), Authority::root("root"));
    let by_name = vec![StyleWrite::CaReferences(slots(Some(ca_name("root")), None))];
    let by_upload = signing(uploaded(&root.certificate), None);
    let both = [by_name.clone(), by_upload.clone()].concat();
    let found = |result| match result {
        Err(UploadError::OneStyle { found, .. }) => found,
        other => panic!("expected the styles to be refused, got {other:?}"),
    };
    assert_eq!(found(group(Vec::new(), None)), 0);
    assert_eq!(found(group(both.clone(), None)), 2);
    assert_eq!(found(individual(both, None)), 2);
    for (write, style) in [
        (by_name, Style::CaReferences),
        (by_upload, Style::SigningCertificates),
    ] {
        assert!(group(write.clone(), None).is_ok());
        let belongs_to = "an enrollment group";
        let foreign = UploadError::Foreign { style, belongs_to };
        assert_eq!(individual(write, None), Err(foreign));
    }
    assert!(individual(client(uploaded(&leaf), None), None).is_ok());
    assert!(matches!(
        group(client(uploaded(&leaf), None), None),
        Err(UploadError::Foreign { .. })
    ));
    let style = Style::SigningCertificates;
    let empty = group(signing(None, None), None);
    assert_eq!(empty, Err(UploadError::Empty { style }));
}

/// R-A9, R-A20, I-14: what may not stand in a slot is refused by the slot.
#[test]
fn each_slot_is_judged_by_itself() {
    let root = Authority::root("root");
    let good = self_signed("DEV-1", LONG);
    let bad_leaves = [
        (self_signed("dev-2", LONG), false),
        (self_signed("dev-1", PAST), true),
    ];
    for (bad, expired) in bad_leaves {
        for secondary in [false, true] {
            let pair = if secondary {
                (&good, &bad)
            } else {
                (&bad, &good)
            };
            let write = client(uploaded(pair.0), uploaded(pair.1));
            let (style, slot, problem) = problem(individual(write, None));
            assert_eq!(style, Style::ClientCertificates);
            assert_eq!(slot == Slot::Secondary, secondary);
            assert_eq!(matches!(problem, SlotProblem::Expired { .. }), expired);
            assert_eq!(matches!(problem, SlotProblem::CommonName { .. }), !expired);
        }
    }
    let no_ca = root.issue_ca_with("no-ca", LONG, IsCa::NoCa);
    let write = signing(uploaded(&root.certificate), uploaded(&no_ca.certificate));
    let expected = (
        Style::SigningCertificates,
        Slot::Secondary,
        SlotProblem::NotACertificateAuthority,
    );
    assert_eq!(problem(group(write, None)), expected);
    // What begins later may be prepared now, and the last second still counts.
    for span in [(10, 20), (-20, 0)] {
        let leaf = self_signed("dev-1", span);
        assert!(individual(client(uploaded(&leaf), None), None).is_ok());
    }
}

/// R-F3, R-D8: what the entry holds is kept by its thumbprint, in either slot, expired or not.
#[test]
fn a_held_certificate_is_kept_even_if_it_has_expired() {
    let (old, new) = (self_signed("dev-1", PAST), self_signed("dev-1", LONG));
    let held = X509Attestation::ClientCertificates(slots(Some(old.clone()), None));
    let expected = X509Attestation::ClientCertificates(slots(Some(new.clone()), Some(old.clone())));
    for again in [
        kept(Thumbprint::Sha256(old.fingerprint())),
        kept(Thumbprint::Sha1(old.sha1())),
        uploaded(&old),
    ] {
        let write = client(uploaded(&new), again);
        assert_eq!(individual(write, Some(&held)), Ok(expected.clone()));
    }
    let strange = client(kept(Thumbprint::Sha256(new.fingerprint())), None);
    for held in [Some(&held), None] {
        let (_, slot, problem) = problem(individual(strange.clone(), held));
        assert_eq!((slot, problem), (Slot::Primary, SlotProblem::NotHeld));
    }
}

/// I-14: without validity nothing is too old, but a CA flag is still asked for.
#[test]
fn the_setting_switches_validity_off_and_nothing_else() {
    let settings = Settings {
        check_validity: false,
        ..Settings::default()
    };
    let root = Authority::root("root");
    let any = IsCa::Ca(BasicConstraints::Unconstrained);
    let old = root.issue_ca_with("old", PAST, any);
    let no_ca = root.issue_ca_with("no-ca", LONG, IsCa::NoCa);
    let judged = |authority: &Authority| {
        let write = signing(uploaded(&authority.certificate), None);
        judge(write, Holder::Group, None, &settings, NOW)
    };
    assert!(judged(&old).is_ok());
    assert!(judged(&no_ca).is_err());
}
