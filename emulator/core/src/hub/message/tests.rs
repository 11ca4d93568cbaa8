use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn bag<'a>(pairs: &[(&'a str, &'a str)]) -> Properties {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (BagText::from(*name), BagText::from(*value)))
        .collect();
    Properties::from_bag(&pairs)
}

fn device() -> Arc<Origin> {
    let id = IdentityId::parse("dev-1").unwrap();
    Arc::new(Origin::authenticated(id, "638", AuthenticatedBy::X509))
}

fn list<'n, 'v>(pairs: impl Iterator<Item = (&'n str, &'v str)>) -> Vec<(&'n str, &'v str)> {
    pairs.collect()
}

/// R-G37, wire 4.3.
#[test]
fn system_properties_are_told_from_the_senders_own() {
    let table = [
        ("$.mid", "message-id"),
        ("$.cid", "correlation-id"),
        ("$.uid", "user-id"),
        ("$.to", "to"),
        ("$.ct", "content-type"),
        ("$.ce", "content-encoding"),
        ("$.exp", "absolute-expiry-time"),
        ("$.ctime", "iothub-creation-time-utc"),
        ("$.on", "iothub-outputname"),
        ("$.ifid", "iothub-interface-id"),
        ("$.sub", "dt-subject"),
        ("$.diagid", "Diagnostic-Id"),
        ("$.diagctx", "Correlation-Context"),
    ];
    for (short, name) in table {
        let properties = bag(&[("a", "1"), (short, "x"), ("b", "")]);
        assert_eq!(list(properties.system()), [(name, "x")], "{short}");
        assert_eq!(properties.system_value(name), Some("x"));
        assert_eq!(list(properties.application()), [("a", "1"), ("b", "")]);
    }
}

/// R-G37: nobody but the hub says who sent a message.
#[test]
fn a_sender_cannot_say_who_it_is() {
    let properties = bag(&[
        ("$.cdid", "other"),
        ("$.cmid", "m"),
        ("$.mid", "1"),
        ("$.new", "kept"),
    ]);
    assert_eq!(list(properties.system()), [("message-id", "1")]);
    assert_eq!(list(properties.application()), [("$.new", "kept")]);
    let message = Message::telemetry(device(), properties, b"").unwrap();
    assert_eq!(
        list(message.stamps())[0],
        ("iothub-connection-device-id", "dev-1")
    );
}

/// Wire 4.3.
#[test]
fn the_last_value_of_a_name_counts() {
    let properties = bag(&[("a", "1"), ("$.mid", "x"), ("a", "2"), ("$.mid", "y")]);
    assert_eq!(list(properties.system()), [("message-id", "y")]);
    assert_eq!(list(properties.application()), [("a", "2")]);
}

/// R-G37.
#[test]
fn the_hub_vouches_for_the_sender() {
    let auth = |scope: &str, kind: &str| {
        format!(
            r#"{{"scope":"{scope}","type":"{kind}","issuer":"iothub","acceptingIpFilterRule":null}}"#
        )
    };
    let table = [
        (None, AuthenticatedBy::X509, auth("device", "x509")),
        (None, AuthenticatedBy::Sas, auth("device", "sas")),
        (Some("m"), AuthenticatedBy::Sas, auth("module", "sas")),
    ];
    for (module, by, method) in table {
        let id = module.map_or_else(|| "d".to_owned(), |module| format!("d/{module}"));
        let origin = Origin::authenticated(IdentityId::parse(&id).unwrap(), "7", by);
        let message = Message::telemetry(Arc::new(origin), Properties::default(), b"x").unwrap();
        let mut expected = vec![("iothub-connection-device-id", "d")];
        expected.extend(module.map(|module| ("iothub-connection-module-id", module)));
        expected.extend([
            ("iothub-connection-auth-generation-id", "7"),
            ("iothub-connection-auth-method", method.as_str()),
            ("iothub-message-source", "Telemetry"),
        ]);
        assert_eq!(list(message.stamps()), expected);
    }
}

/// R-G38: a body, the values of system properties, and both sides of the others.
#[test]
fn a_message_is_measured_with_its_properties() {
    let take = |body: usize, pairs: &[(&str, &str)]| {
        Message::telemetry(device(), bag(pairs), &vec![0; body]).map(|_| ())
    };
    let full = MESSAGE_BYTES_MAX;
    let over = |bytes| {
        Err(MessageError::TooLarge {
            bytes,
            bytes_max: full,
        })
    };
    assert_eq!(take(full, &[]), Ok(()));
    assert_eq!(take(full + 1, &[]), over(full + 1));
    assert_eq!(take(full - 4, &[("$.mid", "1234")]), Ok(()));
    assert_eq!(take(full - 4, &[("$.mid", "12345")]), over(full + 1));
    assert_eq!(take(full - 4, &[("ab", "cd")]), Ok(()));
    assert_eq!(take(full - 4, &[("abc", "cd")]), over(full + 1));
    assert_eq!(take(full + 1, &[]).unwrap_err().code(), 413_001);
}

#[test]
fn sources_are_known_by_the_names_readers_see() {
    for source in MessageSource::ALL {
        assert_eq!(MessageSource::parse(source.name()), Some(source));
    }
    assert_eq!(
        MessageSource::parse("telemetry"),
        Some(MessageSource::Telemetry)
    );
    assert_eq!(MessageSource::parse("digitalTwinChangeEvents"), None);
}

proptest! {
    /// Wire 4.3: whatever was in the bag is in the properties, once, in order.
    #[test]
    fn properties_say_what_the_bag_said(
        pairs in prop::collection::vec(("(\\$\\.)?[a-c]{0,3}|\\$\\.(mid|ct)|.{0,3}", ".{0,6}"), 0..24),
    ) {
        let pairs: Vec<(BagText<'_>, BagText<'_>)> = pairs
            .iter()
            .map(|(name, value)| (BagText::from(name.as_str()), BagText::from(value.as_str())))
            .collect();
        let properties = Properties::from_bag(&pairs);
        let said: BTreeMap<&str, &str> = pairs.iter().map(|(n, v)| (&**n, &**v)).collect();
        let short = |name: &str| match name {
            "message-id" => Some("$.mid"),
            "content-type" => Some("$.ct"),
            _ => None,
        };
        let mut heard = BTreeMap::new();
        for (name, value) in properties.system() {
            prop_assert_eq!(heard.insert(short(name).unwrap(), value), None);
        }
        for (name, value) in properties.application() {
            prop_assert_eq!(heard.insert(name, value), None);
        }
        prop_assert_eq!(heard, said);
        let counted: usize = properties.system().map(|(_, value)| value.len()).sum::<usize>()
            + properties.application().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        let message = Message::telemetry(device(), properties, b"12").unwrap();
        prop_assert!(message.kept_bytes() >= counted + 2);
    }
}
