//! A secret that only the holder of a key learns: what all protection grows from.

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, agree};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey};
use linarite_env::entropy::secret;

use super::WrapError;
use super::kdf::kdf_e;
use super::marshal::sized;
use super::public::{AsymmetricKey, COORDINATE_BYTES, PublicArea};

/// Bytes of a seed: those of the digest that names are made with.
pub(super) const SEED_BYTES: usize = 32;

/// What the seed is for. Labels end with a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Credential,
    Duplicate,
}

/// A seed, and the way to it for whoever holds the key (`TPM2B_ENCRYPTED_SECRET`).
pub(super) struct Seed {
    pub(super) seed: [u8; SEED_BYTES],
    pub(super) encrypted: Vec<u8>,
}

/// Makes a seed for the holder of `recipient`.
pub(super) fn share(recipient: &PublicArea, purpose: Purpose) -> Result<Seed, WrapError> {
    let label: &[u8] = match purpose {
        Purpose::Credential => b"IDENTITY\0",
        Purpose::Duplicate => b"DUPLICATE\0",
    };
    match recipient.key() {
        AsymmetricKey::Rsa(key) => encrypt(key, label),
        AsymmetricKey::P256 { point, x } => agree_on(point, x, label),
    }
}

fn encrypt(key: &OaepPublicEncryptingKey, label: &[u8]) -> Result<Seed, WrapError> {
    let seed = secret::<SEED_BYTES>();
    let mut encrypted = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, &seed, &mut encrypted, Some(label))
        .map_err(|_| WrapError)?;
    Ok(Seed { seed, encrypted })
}

fn agree_on(
    point: &ParsedPublicKey,
    x: &[u8; COORDINATE_BYTES],
    label: &[u8],
) -> Result<Seed, WrapError> {
    let own = PrivateKey::generate(&ECDH_P256).map_err(|_| WrapError)?;
    let public = own.compute_public_key().map_err(|_| WrapError)?;
    // A point is a byte that says so, then both coordinates.
    let coordinates = public.as_ref().get(1..).ok_or(WrapError)?;
    let (own_x, own_y) = coordinates
        .split_at_checked(COORDINATE_BYTES)
        .ok_or(WrapError)?;
    let seed = agree(&own, point.clone(), WrapError, |shared| {
        Ok(kdf_e(shared, label, own_x, x))
    })?;
    Ok(Seed {
        seed,
        encrypted: [sized(own_x), sized(own_y)].concat(),
    })
}
