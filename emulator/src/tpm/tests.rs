//! What is let in and what is not. That a TPM can use what is wrapped for it is shown by the
//! software TPM of the integration tests, and by a real one in `tests/clients`.

use std::sync::LazyLock;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use proptest::prelude::*;

use super::marshal::Unread;
use super::*;

/// What the storage root keys of SDKs are: their template, then a modulus.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der = key.public_key().as_der().unwrap();
    let der = der.as_ref();
    // The modulus stands before the exponent, which takes five bytes.
    let modulus = &der[der.len() - 5 - 256..der.len() - 5];
    let detail = [&[0x08, 0, 0, 0, 0, 0][..], &sized(modulus)];
    area(0x0001, 0x0003_0472, &detail.concat())
});

static P256: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateKey::generate(&ECDH_P256).unwrap();
    let point = key.compute_public_key().unwrap();
    area(
        0x0023,
        0x0003_0472,
        &ecc_detail(&point.as_ref()[1..33], &point.as_ref()[33..]),
    )
});

/// Offsets in a public area, its length of two bytes included, when there is no policy.
const KIND: usize = 2;
const NAME_ALGORITHM: usize = 4;
const ATTRIBUTES: usize = 6;
const SYMMETRIC: usize = 12;
const SCHEME: usize = 18;
const DETAIL: usize = 20;

fn ecc_detail(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[0, 3, 0, 0x10][..], &sized(x), &sized(y)].concat()
}

/// A `TPM2B_PUBLIC` without a policy, with AES-128-CFB and no scheme.
fn area(kind: u16, attributes: u32, detail: &[u8]) -> Vec<u8> {
    let parts = [
        &kind.to_be_bytes()[..],
        &[0, 0x0B],
        &attributes.to_be_bytes(),
        &[0, 0],
        &[0, 6, 0, 128, 0, 0x43, 0, 0x10],
        detail,
    ];
    sized(&parts.concat())
}

/// `area` with other bytes at `at`.
fn changed(area: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut area = area.to_vec();
    area[at..at + bytes.len()].copy_from_slice(bytes);
    area
}

fn refused(bytes: &[u8]) -> String {
    PublicArea::parse(bytes).unwrap_err().to_string()
}

/// R-A35, wire 3.4.
#[test]
fn the_keys_that_sdks_make_are_taken_under_their_name() {
    for area in [&*RSA, &*P256] {
        let public = PublicArea::parse(area).unwrap();
        assert_eq!(public.name()[..2], [0, 0x0B]);
        assert_eq!(public.name(), &public::name_of(&area[2..]));
    }
    let with_policy = {
        let rest = &RSA[SYMMETRIC..];
        sized(&[&RSA[2..10], &sized(&[7; 32]), rest].concat())
    };
    assert!(PublicArea::parse(&with_policy).is_ok());
    // Some TPMs write the usual exponent out, and some leave leading zeros of coordinates out.
    let exponent = changed(&RSA, DETAIL + 2, &[0, 1, 0, 1]);
    assert!(PublicArea::parse(&exponent).is_ok());
}

#[test]
fn leading_zeros_of_a_coordinate_may_be_left_out() {
    let short = std::iter::repeat_with(|| PrivateKey::generate(&ECDH_P256).unwrap())
        .map(|key| key.compute_public_key().unwrap())
        .find(|point| point.as_ref()[1] == 0)
        .unwrap();
    let (x, y) = (&short.as_ref()[1..33], &short.as_ref()[33..]);
    for x in [x, &x[1..]] {
        assert!(PublicArea::parse(&area(0x0023, 0x0003_0472, &ecc_detail(x, y))).is_ok());
    }
}

/// R-A35: what is no storage key is refused by name.
#[test]
fn other_keys_are_refused_by_name() {
    let table: &[(Vec<u8>, &str)] = &[
        (vec![], "ends too early"),
        (vec![0], "ends too early"),
        (RSA[..RSA.len() - 1].to_vec(), "ends too early"),
        ([&RSA[..], &[0]].concat(), "1 bytes too many"),
        (sized(&[&RSA[2..], &[0, 0]].concat()), "2 bytes too many"),
        (sized(&RSA[2..RSA.len() - 1]), "ends too early"),
        (changed(&RSA, KIND, &[0, 8]), "the key type 0x0008"),
        (
            changed(&RSA, NAME_ALGORITHM, &[0, 4]),
            "the name algorithm 0x0004",
        ),
        (
            changed(&RSA, ATTRIBUTES, &[0, 4, 4, 0x72]),
            "attributes 0x00040472",
        ),
        (
            changed(&RSA, ATTRIBUTES, &[0, 2, 4, 0x72]),
            "attributes 0x00020472",
        ),
        (
            changed(&RSA, ATTRIBUTES, &[0, 7, 4, 0x72]),
            "attributes 0x00070472",
        ),
        (
            changed(&RSA, SYMMETRIC, &[0, 0x10]),
            "the symmetric algorithm 0x0010",
        ),
        (
            changed(&RSA, SYMMETRIC + 2, &[1, 0]),
            "the symmetric key length 0x0100",
        ),
        (
            changed(&RSA, SYMMETRIC + 4, &[0, 0x42]),
            "the symmetric mode 0x0042",
        ),
        (changed(&RSA, SCHEME, &[0, 0x17]), "the scheme 0x0017"),
        (changed(&RSA, DETAIL, &[12, 0]), "the RSA key length 0x0c00"),
        (
            changed(&RSA, DETAIL + 2, &[0, 0, 0, 3]),
            "the RSA exponent 0x0003",
        ),
        (
            changed(&RSA, DETAIL + 6, &[0, 0xFF]),
            "not an odd number of 2048 bits",
        ),
        (
            changed(&RSA, DETAIL + 8, &[0x7F]),
            "not an odd number of 2048 bits",
        ),
        (
            changed(&RSA, RSA.len() - 1, &[2]),
            "not an odd number of 2048 bits",
        ),
        (changed(&P256, DETAIL, &[0, 4]), "the curve 0x0004"),
        (
            changed(&P256, DETAIL + 2, &[0, 0x20]),
            "the key derivation 0x0020",
        ),
        (
            changed(&P256, DETAIL + 6, &[0xFF; 32]),
            "the point is not on NIST P-256",
        ),
        (
            area(0x0023, 0x0003_0472, &ecc_detail(&[1; 33], &[1; 32])),
            "over 32 bytes",
        ),
        (
            area(0x0023, 0x0003_0472, &ecc_detail(&[], &[])),
            "the point is not on NIST P-256",
        ),
    ];
    for (bytes, expected) in table {
        let found = refused(bytes);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

/// R-A35, wire 3.4: the parts, in the order in which SDKs take them out.
#[test]
fn a_blob_holds_what_sdks_take_apart_and_is_new_every_time() {
    let key = fresh_identity_key();
    let wrap = |endorsement: &[u8], storage: &[u8]| {
        let read = |bytes| PublicArea::parse(bytes).unwrap();
        wrap(&read(endorsement), &read(storage), &key).unwrap()
    };
    let lengths = |ActivationBlob(bytes): &ActivationBlob| {
        let mut unread = Unread(bytes);
        let lengths: Vec<usize> = (0..6).map(|_| unread.sized().unwrap().len()).collect();
        unread.end().unwrap();
        lengths
    };
    // 34 bytes of seal before each protected part; a point is two coordinates with lengths.
    let (id_object, private, public) = (34 + 18, 34 + 34 + 74, 48);
    let (rsa, point) = (256, 68);
    for (endorsement, by, storage, under) in [
        (&*RSA, rsa, &*RSA, rsa),
        (&*RSA, rsa, &*P256, point),
        (&*P256, point, &*RSA, rsa),
        (&*P256, point, &*P256, point),
    ] {
        let blob = wrap(endorsement, storage);
        assert_eq!(lengths(&blob), [id_object, by, private, under, public, 0]);
        assert_ne!(blob, wrap(endorsement, storage));
        assert!(!blob.0.windows(32).any(|bytes| bytes == key.bytes()));
    }
    let blob = wrap(&RSA, &RSA);
    assert_eq!(format!("{blob:?}"), "ActivationBlob(…)");
}

proptest! {
    /// Whatever a device sends as its key, it gets an answer.
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(PublicArea::parse(&bytes).is_err());
    }

    /// A key that is taken although it was tampered with is one that can be wrapped for.
    #[test]
    fn a_mutated_key_is_refused_or_works(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
        ecc in any::<bool>(),
    ) {
        let original = if ecc { &*P256 } else { &*RSA };
        let mut bytes = original.clone();
        bytes[at.index(original.len())] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(original.len()));
            prop_assert!(PublicArea::parse(&bytes).is_err());
        } else if let Ok(public) = PublicArea::parse(&bytes) {
            prop_assert!(wrap(&public, &public, &fresh_identity_key()).is_ok());
        }
    }
}
