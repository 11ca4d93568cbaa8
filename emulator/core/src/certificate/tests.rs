use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::IsCa;

use super::*;
use crate::limits::CHAIN_LENGTH_MAX;
use crate::test_pki::{Authority, LONG, NOW, armoured, chain, element, self_signed};

/// An authority, a version 1 leaf of it, and the leaf as PEM.
struct Bench {
    root: Authority,
    leaf: Certificate,
    pem: String,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let root = Authority::root("openssl root");
    let leaf = root.issue_version_1("dev-v1");
    let pem = armoured("CERTIFICATE", leaf.der());
    Bench { root, leaf, pem }
});

#[test]
fn a_version_1_leaf_is_read_in_full() {
    let (root, leaf) = (&BENCH.root.certificate, &BENCH.leaf);
    assert_eq!((leaf.version(), root.version()), (1, 3));
    assert_eq!(
        (leaf.common_name(), root.common_name()),
        (Some("dev-v1"), Some("openssl root"))
    );
    let of = |algorithm| digest::digest(algorithm, leaf.der());
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02X}")).collect() };
    assert_eq!(
        Thumbprint::Sha1(leaf.sha1()).to_string(),
        hex(of(&digest::SHA1_FOR_LEGACY_USE_ONLY).as_ref())
    );
    assert_eq!(
        Thumbprint::Sha256(leaf.fingerprint()).to_string(),
        hex(of(&digest::SHA256).as_ref())
    );
    assert_eq!(leaf.validity().not_before, NOW.plus(LONG.0));
    assert_eq!(leaf.validity().not_after, NOW.plus(LONG.1));
    assert!(leaf.verify_signed_by(root) && leaf.is_issued_under_name_of(root));
    assert!(root.is_ca() && root.is_self_signed());
    assert!(!leaf.is_ca() && !leaf.is_self_issued());
}

#[test]
fn a_version_1_certificate_is_an_authority_only_if_self_signed() {
    let root = BENCH.root.in_version_1();
    assert_eq!(root.version(), 1);
    assert!(root.is_self_signed() && root.is_ca());
    assert!(!BENCH.leaf.is_ca());
}

/// I-14.
#[test]
fn the_ca_flag_decides_from_version_3_on() {
    let root = Authority::root("root");
    let table = [
        (root.issue_ca("ca").certificate, true),
        (
            root.issue_ca_with("no", LONG, IsCa::ExplicitNoCa)
                .certificate,
            false,
        ),
        (root.issue("leaf"), false),
        (self_signed("self", LONG), false),
    ];
    for (certificate, is_ca) in table {
        assert_eq!(certificate.is_ca(), is_ca, "{certificate:?}");
    }
}

/// R-A7.
#[test]
fn accepted_keys_sign_and_are_told_apart() {
    let table = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, PublicKeyAlgorithm::P256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, PublicKeyAlgorithm::P384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, PublicKeyAlgorithm::P521),
        (&rcgen::PKCS_RSA_SHA256, PublicKeyAlgorithm::Rsa),
    ];
    let stranger = Authority::root("stranger");
    for (kind, algorithm) in table {
        let root = Authority::root_with("root", LONG, kind);
        let leaf = root.issue("leaf");
        assert_eq!(root.certificate.public_key_algorithm(), algorithm);
        assert!(root.certificate.is_self_signed(), "{algorithm}");
        assert!(leaf.verify_signed_by(&root.certificate), "{algorithm}");
        assert!(!leaf.verify_signed_by(&stranger.certificate), "{algorithm}");
        assert!(!leaf.is_self_signed(), "{algorithm}");
    }
}

/// R-A7.
#[test]
fn other_keys_are_refused() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let made = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let error = Certificate::from_der(made.der()).unwrap_err();
    assert_eq!(
        error,
        CertificateError::UnsupportedKey {
            algorithm: "1.3.101.112".to_owned()
        }
    );
}

#[test]
fn a_flipped_bit_voids_a_signature() {
    let root = Authority::root("root");
    let leaf = root.issue("leaf");
    let mut der = leaf.der().to_vec();
    let at = der.windows(4).position(|window| window == b"leaf").unwrap();
    der[at] ^= 1;
    let forged = Certificate::from_der(&der).unwrap();
    assert_eq!(forged.common_name(), Some("meaf"));
    assert!(
        leaf.verify_signed_by(&root.certificate) && !forged.verify_signed_by(&root.certificate)
    );
}

/// R-A10.
#[test]
fn uploads_are_pem_or_base64_of_pem_or_der_and_hold_one_certificate() {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let (leaf, text) = (&BENCH.leaf, &BENCH.pem);
    let dense = base64(leaf.der());
    let accepted = [
        text.clone(),
        text.replace('\n', "\r\n"),
        format!("subject=CN = dev-v1\n{text}"),
        base64(text.as_bytes()),
        dense.clone(),
        dense.trim_end_matches('=').to_owned(),
    ];
    for text in accepted {
        assert_eq!(
            Certificate::from_pem_or_base64(&text),
            Ok(leaf.clone()),
            "{text}"
        );
    }
    let two = format!("{text}{text}");
    let twice: Vec<u8> = [leaf.der(), leaf.der()].concat();
    let key = armoured("PRIVATE KEY", &[0; 3]);
    let refused = [
        (two.clone(), CertificateError::MoreThanOne { count: 2 }),
        (
            base64(two.as_bytes()),
            CertificateError::MoreThanOne { count: 2 },
        ),
        (
            base64(&twice),
            CertificateError::TrailingBytes {
                bytes: leaf.der().len(),
            },
        ),
        (
            key,
            CertificateError::ForeignPemBlock {
                label: "PRIVATE KEY".to_owned(),
            },
        ),
        ("not base64 at all!".to_owned(), CertificateError::NotText),
        (
            format!("-----BEGIN {}-----\nAAAA", "CERTIFICATE"),
            CertificateError::NotText,
        ),
    ];
    for (text, error) in refused {
        assert_eq!(Certificate::from_pem_or_base64(&text), Err(error), "{text}");
    }
    assert!(matches!(
        Certificate::from_pem_or_base64(""),
        Err(CertificateError::Malformed { .. })
    ));
}

/// R-F11.
#[test]
fn thumbprints_are_40_or_64_hex_digits_in_either_case() {
    let leaf = &BENCH.leaf;
    let (sha1, sha256) = (
        Thumbprint::Sha1(leaf.sha1()),
        Thumbprint::Sha256(leaf.fingerprint()),
    );
    for thumbprint in [sha1, sha256] {
        let text = thumbprint.to_string();
        for text in [text.clone(), text.to_ascii_lowercase()] {
            assert_eq!(Thumbprint::parse(&text), Ok(thumbprint));
        }
        assert!(thumbprint.matches(leaf));
        assert!(!thumbprint.matches(&BENCH.root.certificate));
    }
    assert_eq!(
        Thumbprint::parse("AB"),
        Err(ThumbprintError::Length { length: 2 })
    );
    let spaced = "A ".repeat(20);
    assert_eq!(
        Thumbprint::parse(&spaced),
        Err(ThumbprintError::NotHex { character: ' ' })
    );
}

/// R-A18.
#[test]
fn a_chain_has_one_to_ten_certificates() {
    let leaf = &BENCH.leaf;
    for (length, fits) in [(0, false), (1, true), (10, true), (11, false)] {
        let ders = std::iter::repeat_n(leaf.der(), length);
        assert_eq!(
            Chain::from_der(ders, CHAIN_LENGTH_MAX).is_ok(),
            fits,
            "{length}"
        );
    }
    let eleven = std::iter::repeat_n(leaf.der(), 11);
    let too_long = ChainError::TooLong {
        length: 11,
        limit: 10,
    };
    assert_eq!(Chain::from_der(eleven, CHAIN_LENGTH_MAX), Err(too_long));
    let broken: [&[u8]; 2] = [leaf.der(), b"?"];
    assert!(matches!(
        Chain::from_der(broken, CHAIN_LENGTH_MAX),
        Err(ChainError::Certificate { position: 1, .. })
    ));
}

#[test]
fn a_chain_knows_its_leaf() {
    let root = Authority::root("root");
    let leaf = root.issue("leaf");
    let chain = chain(&leaf, &[&root]);
    assert_eq!(
        (chain.leaf(), chain.above_leaf()),
        (&leaf, [root.certificate].as_slice())
    );
    assert!(leaf.validity().holds_at(NOW));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(certificate) = Certificate::from_der(&bytes) {
            prop_assert_eq!(certificate.der(), bytes);
        }
    }

    #[test]
    fn no_damage_makes_the_parser_panic_and_none_to_the_signed_part_stays_signed(
        at in 0_usize..313, byte in any::<u8>(), cut in 0_usize..313,
    ) {
        let (root, leaf) = (&BENCH.root.certificate, &BENCH.leaf);
        let mut der = leaf.der().to_vec();
        prop_assert!(Certificate::from_der(&der[..cut.min(der.len() - 1)]).is_err());
        let at = at % der.len();
        prop_assume!(der[at] != byte);
        der[at] = byte;
        if let Ok(damaged) = Certificate::from_der(&der) {
            prop_assert_ne!(damaged.fingerprint(), leaf.fingerprint());
            // The signed part follows a header of 4 bytes.
            let (outer, _) = element(leaf.der());
            let signed_bytes = outer.len() - element(outer).1.len();
            if (4..4 + signed_bytes).contains(&at) {
                prop_assert!(!damaged.verify_signed_by(root), "byte {} is signed", at);
            }
        }
    }

    #[test]
    fn no_text_makes_the_upload_reader_panic(text in any::<String>()) {
        prop_assert!(Certificate::from_pem_or_base64(&text).is_err());
        let armoured = format!("-----BEGIN {text}");
        prop_assert!(Certificate::from_pem_or_base64(&armoured).is_err());
    }
}
