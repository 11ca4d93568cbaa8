use proptest::prelude::*;

use super::*;

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32]).unwrap()
}

/// The same signature, written as another client would.
fn rewritten(token: &str, rewrite: impl Fn(&str) -> String) -> SharedAccessSignature {
    let fields = token.strip_prefix(PREFIX).unwrap();
    let sig = fields
        .split('&')
        .find_map(|field| field.strip_prefix("sig="))
        .unwrap();
    let (head, tail) = token.split_once(sig).unwrap();
    SharedAccessSignature::parse(&format!("{head}{}{tail}", rewrite(sig))).unwrap()
}

#[test]
fn a_token_holds_before_its_expiry_second_under_either_key() {
    let text = sign("s%2fregistrations%2fd", UnixTime(100), &key(1), None);
    let token = SharedAccessSignature::parse(&text).unwrap();
    let expired = |now| {
        Err(SasError::Expired {
            expiry: UnixTime(100),
            now,
        })
    };
    let mismatch = |keys| {
        Err(SasError::SignatureMismatch {
            resource: "s%2fregistrations%2fd".to_owned(),
            keys,
        })
    };
    let table = [
        (vec![key(1)], 99, Ok(())),
        (vec![key(2), key(1)], 99, Ok(())),
        (vec![key(1)], 100, expired(UnixTime(100))),
        (vec![key(1)], 101, expired(UnixTime(101))),
        (vec![key(2)], 99, mismatch(1)),
        (vec![key(2), key(3)], 101, mismatch(2)),
        (vec![], 99, mismatch(0)),
    ];
    for (keys, now, outcome) in table {
        let keys: Vec<&SymmetricKey> = keys.iter().collect();
        assert_eq!(
            token.verify(&keys, UnixTime(now)),
            outcome,
            "at {now} with {}",
            keys.len()
        );
    }
    assert_eq!(token.resource(), "s/registrations/d");
}

/// W2.
#[test]
fn the_resource_is_signed_as_written() {
    for resource in [
        "s/registrations/d",
        "s%2Fregistrations%2Fd",
        "s%2fregistrations%2fd",
    ] {
        let text = sign(resource, UnixTime(100), &key(1), Some("registration"));
        let token = SharedAccessSignature::parse(&text).unwrap();
        assert_eq!(token.verify(&[&key(1)], UnixTime(0)), Ok(()), "{resource}");
        assert_eq!(
            (token.sr(), token.resource().as_str()),
            (resource, "s/registrations/d")
        );
        assert_eq!(token.skn(), Some("registration"));
        let other = if resource.contains("%2F") {
            "s/registrations/d"
        } else {
            "s%2Fregistrations%2Fd"
        };
        let moved = SharedAccessSignature::parse(&text.replace(resource, other)).unwrap();
        assert!(!moved.is_signed_by(&key(1)), "{resource} is not {other}");
    }
}

/// W4.
#[test]
fn the_signature_is_read_as_clients_write_it() {
    // Among these some signature holds a slash and some a plus.
    for expiry in 0..40 {
        let text = sign("h", UnixTime(expiry), &key(9), None);
        let raw = |sig: &str| {
            sig.replace("%2F", "/")
                .replace("%2B", "+")
                .replace("%3D", "=")
        };
        for token in [
            rewritten(&text, str::to_owned),
            rewritten(&text, |sig| sig.replace("%2F", "%2f").replace("%2B", "%2b")),
            rewritten(&text, |sig| sig.replace("%2F", "/")),
            rewritten(&text, raw),
        ] {
            assert!(token.is_signed_by(&key(9)), "{text}");
        }
    }
}

/// W2.
#[test]
fn fields_stand_in_any_order_and_must_stand_once() {
    let malformed = |field| Err(SasError::MalformedField { field });
    let table = [
        ("SharedAccessSignature sig=AA%3D%3D&se=5&skn=&sr=h", Ok(())),
        ("SharedAccessSignature sr=h&sig=AA==&se=5&later=1", Ok(())),
        (
            "SharedAccessSignature sr=h&sr=h&sig=AA==&se=5",
            Err(SasError::DuplicateField { field: "sr" }),
        ),
        ("SharedAccessSignature sr=h&sig=AA==", malformed("se")),
        (
            "SharedAccessSignature sr=h&sig=AA==&se=soon",
            malformed("se"),
        ),
        ("SharedAccessSignature sr=h&se=5", malformed("sig")),
        ("SharedAccessSignature sr=h&se=5&sig=%", malformed("sig")),
        ("SharedAccessSignature sig=AA==&se=5&sr=", malformed("sr")),
        ("Bearer sr=h&sig=AA==&se=5", Err(SasError::NotAToken)),
        ("", Err(SasError::NotAToken)),
    ];
    for (text, outcome) in table {
        let parsed = SharedAccessSignature::parse(text);
        assert_eq!(
            parsed.as_ref().map(|_| ()).map_err(Clone::clone),
            outcome,
            "{text}"
        );
        assert_eq!(
            parsed.ok().and_then(|token| token.skn().map(str::to_owned)),
            None
        );
    }
}

/// R-A33.
#[test]
fn a_device_key_is_the_hmac_of_the_id_as_spelled() {
    // RFC 4231, test case 1, whose key of 20 bytes is within our bounds.
    let group = SymmetricKey::from_bytes(&[0x0b; 20]).unwrap();
    let device = derive_device_key(&group, "Hi There");
    let hex: String = device
        .bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    assert_ne!(
        derive_device_key(&group, "dev"),
        derive_device_key(&group, "Dev")
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), fields in any::<String>()) {
        let bare = format!("{PREFIX}{fields}");
        let within = format!("{PREFIX}sr={fields}&se=1&sig=AA==");
        for text in [text, bare, within] {
            if let Ok(token) = SharedAccessSignature::parse(&text) {
                prop_assert!(!token.sr().is_empty());
                prop_assert!(!token.is_signed_by(&key(1)));
            }
        }
    }

    #[test]
    fn what_is_signed_is_accepted_and_nothing_else(
        resource in "[a-zA-Z0-9%./-]{1,40}",
        expiry in 1_i64..4_000_000_000,
        byte in any::<u8>(),
    ) {
        let text = sign(&resource, UnixTime(expiry), &key(byte), None);
        let token = SharedAccessSignature::parse(&text).unwrap();
        prop_assert_eq!(token.verify(&[&key(byte)], UnixTime(expiry - 1)), Ok(()));
        prop_assert!(!token.is_signed_by(&key(byte.wrapping_add(1))));
        prop_assert_eq!(token.sr(), resource);
    }
}
