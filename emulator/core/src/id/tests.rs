use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// R-A1, I-11.
#[test]
fn registration_ids_keep_to_their_grammar() {
    let long = "a".repeat(128);
    let too_long = "a".repeat(129);
    // text, accepted, accepted under strict ids
    let table = [
        ("dev-1", true, true),
        ("a.b_c:d-E9", true, true),
        ("a-", true, false),
        (".a", true, false),
        (long.as_str(), true, true),
        (too_long.as_str(), false, false),
        ("", false, false),
        ("a.", false, false),
        ("a_", false, false),
        ("a:", false, false),
        ("a@b", false, false),
        ("a b", false, false),
        ("é", false, false),
    ];
    for (text, accepted, strictly) in table {
        let id = RegistrationId::parse(text);
        assert_eq!(id.is_ok(), accepted, "{text:?}");
        assert_eq!(EnrollmentGroupId::parse(text).is_ok(), accepted, "{text:?}");
        assert_eq!(
            id.is_ok_and(|id| id.check_strict().is_ok()),
            strictly,
            "strictly {text:?}"
        );
    }
}

/// R-A3.
#[test]
fn registration_ids_compare_without_case_and_device_ids_with_it() {
    let (one, other) = (
        RegistrationId::parse("Dev-1").unwrap(),
        RegistrationId::parse("dev-1").unwrap(),
    );
    assert_eq!(one, other);
    assert_eq!(
        (one.as_str(), one.key(), other.as_str()),
        ("Dev-1", "dev-1", "dev-1")
    );
    assert_eq!(BTreeSet::from([one.clone(), other.clone()]).len(), 1);
    assert_ne!(DeviceId::from(&one), DeviceId::from(&other));
}

#[test]
fn device_ids_keep_to_their_grammar() {
    for text in ["d", "-.+%_#*?!(),=@$'", "a:b", &"x".repeat(128)] {
        assert!(DeviceId::parse(text).is_ok(), "{text:?}");
    }
    for text in ["", "a/b", "a b", "a\"b", "ü", &"x".repeat(129)] {
        assert!(DeviceId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn hosts_are_names_or_addresses_without_a_port() {
    for text in [
        "localhost",
        "h1.azure-devices.net",
        "127.0.0.1",
        "::1",
        "H_1.local",
        "a-b",
    ] {
        assert!(HubHostName::parse(text).is_ok(), "{text:?}");
    }
    let label = "a".repeat(64);
    for text in [
        "",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a:8883",
        "a/b",
        label.as_str(),
    ] {
        assert!(HubHostName::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(
        HubHostName::parse("H1.Local").unwrap(),
        HubHostName::parse("h1.local").unwrap()
    );
}

/// R-D1: what a certificate may be named.
#[test]
fn certificate_names_and_scopes_keep_to_their_grammar() {
    for (text, accepted) in [
        ("root-1.a_b", true),
        ("", false),
        ("a b", false),
        ("a:b", false),
    ] {
        assert_eq!(CertificateName::parse(text).is_ok(), accepted, "{text:?}");
    }
    for (text, accepted) in [("0ne00ABCDEF", true), ("", false), ("0ne/", false)] {
        assert_eq!(IdScope::parse(text).is_ok(), accepted, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_an_id_panic(text in any::<String>()) {
        let spelled = [
            RegistrationId::parse(&text).map(|id| id.to_string()),
            EnrollmentGroupId::parse(&text).map(|id| id.to_string()),
            DeviceId::parse(&text).map(|id| id.to_string()),
            HubHostName::parse(&text).map(|id| id.to_string()),
            IdScope::parse(&text).map(|id| id.to_string()),
            CertificateName::parse(&text).map(|id| id.to_string()),
        ];
        for spelled in spelled.into_iter().flatten() {
            prop_assert_eq!(&spelled, &text);
        }
        if let Ok(tag) = ETag::parse(&text) {
            prop_assert_eq!(ETag::parse(&tag.quoted()), Ok(tag));
        }
        let absent = Precondition::parse(Some(&text)) == Ok(Precondition::None);
        prop_assert!(!absent, "a header that is there is a condition");
    }

    #[test]
    fn every_registration_id_is_a_device_id(text in "[A-Za-z0-9._:-]{0,40}[A-Za-z0-9-]") {
        let id = RegistrationId::parse(&text).unwrap();
        prop_assert_eq!(DeviceId::parse(&text), Ok(DeviceId::from(&id)));
        prop_assert_eq!(RegistrationId::parse(&text.to_ascii_uppercase()), Ok(id));
    }
}
