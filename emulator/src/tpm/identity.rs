//! The HMAC key a device signs with, as an object that its storage root key can import.

use aws_lc_rs::digest::{Context, SHA256};
use linarite_core::secret::SymmetricKey;
use linarite_env::entropy::secret;

use super::marshal::sized;
use super::protection::{encrypt, protect};
use super::public::{ALG_HMAC, ALG_KEYEDHASH, ALG_SHA256, NAME_BYTES, PublicArea, name_of};
use super::seed::{Purpose, share};
use super::{INNER_KEY_BYTES, WrapError};

/// It signs, with the empty password, and guessing does not lock the TPM. It came from outside, so
/// none of the attributes that say otherwise.
const ATTRIBUTES: u32 = SIGN | USER_WITH_AUTH | NO_DA;
const USER_WITH_AUTH: u32 = 1 << 6;
const NO_DA: u32 = 1 << 10;
const SIGN: u32 = 1 << 18;

/// Bytes that hide the key in what is published of it.
const OBFUSCATION_BYTES: usize = 32;

/// What `TPM2_Import` takes beside the inner key.
pub(super) struct Identity {
    /// `TPMT_PUBLIC`.
    pub(super) public: Vec<u8>,
    /// The content of the duplicate's `TPM2B_PRIVATE`.
    pub(super) private: Vec<u8>,
    pub(super) encrypted_seed: Vec<u8>,
}

/// Makes an object of `key`, wrapped with `inner_key` and for the TPM that has the storage root key.
pub(super) fn duplicate(
    storage_root_key: &PublicArea,
    inner_key: &[u8; INNER_KEY_BYTES],
    key: &SymmetricKey,
) -> Result<Identity, WrapError> {
    let obfuscation = secret::<OBFUSCATION_BYTES>();
    let public = public_area(&obfuscation, key);
    let name = name_of(&public);
    let mut wrapped = checked(&sensitive_area(&obfuscation, key), &name);
    encrypt(inner_key, &mut wrapped)?;
    let seed = share(storage_root_key, Purpose::Duplicate)?;
    Ok(Identity {
        public,
        private: protect(&seed.seed, &name, wrapped)?,
        encrypted_seed: seed.encrypted,
    })
}

/// `TPMT_PUBLIC` of an HMAC key; what is unique about it depends on the key.
fn public_area(obfuscation: &[u8], key: &SymmetricKey) -> Vec<u8> {
    let mut unique = Context::new(&SHA256);
    unique.update(obfuscation);
    unique.update(key.bytes());
    let no_policy = sized(&[]);
    [
        &ALG_KEYEDHASH.to_be_bytes()[..],
        &ALG_SHA256.to_be_bytes(),
        &ATTRIBUTES.to_be_bytes(),
        &no_policy,
        &ALG_HMAC.to_be_bytes(),
        &ALG_SHA256.to_be_bytes(),
        &sized(unique.finish().as_ref()),
    ]
    .concat()
}

/// `TPM2B_SENSITIVE` of the same.
fn sensitive_area(obfuscation: &[u8], key: &SymmetricKey) -> Vec<u8> {
    let no_password = sized(&[]);
    let area = [
        &ALG_KEYEDHASH.to_be_bytes()[..],
        &no_password,
        &sized(obfuscation),
        &sized(key.bytes()),
    ];
    sized(&area.concat())
}

/// The area behind the digest by which the TPM knows that the inner key was the right one.
fn checked(sensitive: &[u8], name: &[u8; NAME_BYTES]) -> Vec<u8> {
    let mut integrity = Context::new(&SHA256);
    integrity.update(sensitive);
    integrity.update(name);
    [&sized(integrity.finish().as_ref()), sensitive].concat()
}
