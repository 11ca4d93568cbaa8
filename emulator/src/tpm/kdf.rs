//! The two ways a TPM derives keys, both with SHA-256 (TPM 2.0 Library, part 1, 11.4.10).

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;

use super::public::COORDINATE_BYTES;

/// Bytes that one round gives, and no more are needed here.
const ROUND_BYTES: usize = 32;
/// Both functions count rounds from one.
const FIRST_ROUND: [u8; 4] = 1_u32.to_be_bytes();

/// `KDFa` for `N` bytes: SP 800-108 in counter mode, over HMAC. Labels end with a zero byte.
pub(super) fn kdf_a<const N: usize>(key: &[u8], label: &[u8], context: &[u8]) -> [u8; N] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut round = hmac::Context::with_key(&key);
    round.update(&FIRST_ROUND);
    round.update(label);
    round.update(context);
    round.update(&bits::<N>());
    first_bytes(round.sign().as_ref())
}

/// `KDFe` for 32 bytes: SP 800-56A, over the x coordinates of the shared point and of both keys.
pub(super) fn kdf_e(
    shared: &[u8],
    label: &[u8],
    ephemeral: &[u8],
    fixed: &[u8; COORDINATE_BYTES],
) -> [u8; ROUND_BYTES] {
    let mut round = digest::Context::new(&SHA256);
    round.update(&FIRST_ROUND);
    round.update(shared);
    round.update(label);
    round.update(ephemeral);
    round.update(fixed);
    first_bytes(round.finish().as_ref())
}

fn bits<const N: usize>() -> [u8; 4] {
    const { assert!(N <= ROUND_BYTES, "one round gives 32 bytes") }
    let bits = u32::try_from(N * 8).unwrap_or(u32::MAX);
    bits.to_be_bytes()
}

fn first_bytes<const N: usize>(given: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&given[..N]);
    first
}
