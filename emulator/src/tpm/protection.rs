//! What a TPM opens only whole: encrypted, and sealed together with the name of what it belongs to.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::WrapError;
use super::kdf::kdf_a;
use super::marshal::sized;
use super::public::NAME_BYTES;
use super::seed::SEED_BYTES;

const KEY_BYTES: usize = 16;
const SEAL_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// Protects `content`, which belongs to the object `name`, for whoever has the seed: the seal, then
/// the encrypted content.
pub(super) fn protect(
    seed: &[u8; SEED_BYTES],
    name: &[u8; NAME_BYTES],
    mut content: Vec<u8>,
) -> Result<Vec<u8>, WrapError> {
    let key = kdf_a::<KEY_BYTES>(seed, b"STORAGE\0", name);
    encrypt(&key, &mut content)?;
    let seal_key = kdf_a::<SEAL_BYTES>(seed, b"INTEGRITY\0", &[]);
    let seal_key = hmac::Key::new(hmac::HMAC_SHA256, &seal_key);
    let mut seal = hmac::Context::with_key(&seal_key);
    seal.update(&content);
    seal.update(name);
    Ok([sized(seal.sign().as_ref()), content].concat())
}

/// AES-128-CFB from an IV of zeros, which is sound only because no key is used twice.
pub(super) fn encrypt(key: &[u8; KEY_BYTES], content: &mut [u8]) -> Result<(), WrapError> {
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| WrapError)?;
    let key = EncryptingKey::cfb128(key).map_err(|_| WrapError)?;
    let start = EncryptionContext::Iv128(FixedLength::from([0; IV_BYTES]));
    key.less_safe_encrypt(content, start)
        .map(|_| ())
        .map_err(|_| WrapError)
}
