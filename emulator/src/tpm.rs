//! Keys wrapped so that one TPM 2.0, and nobody else, can use them (wire 3.4, R-A35).
//!
//! DPS hands a TPM an HMAC key in one blob. The device's SDK takes it apart and has the TPM do
//! three things: unwrap a symmetric key with its endorsement key (ActivateCredential), import the
//! HMAC key that this symmetric key and the storage root key protect (Import), and load it (Load).
//! So only the TPM that holds both keys ends up with a key that signs tokens.
//!
//! Pure functions over public keys and fresh secrets. The names of structures are those of the
//! TPM 2.0 Library, part 2; part 1 says how they are protected (chapters 23 and 24, annexes B, C).

mod credential;
mod identity;
mod kdf;
mod marshal;
mod protection;
mod public;
mod seed;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linarite_core::secret::SymmetricKey;
use linarite_env::entropy::secret;

use marshal::sized;
pub(crate) use public::PublicArea;

/// Bytes of the key inside: that of AES-128, the only one SDKs import with.
const INNER_KEY_BYTES: usize = 16;

/// Bytes of the HMAC keys handed to TPMs: as many as SHA-256 gives. A TPM takes up to 64.
const IDENTITY_KEY_BYTES: usize = 32;

/// A wrapped key as devices receive it. Only the TPM it is for can open it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ActivationBlob(Vec<u8>);

/// The keys of a TPM did not work, although they are well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key cannot be wrapped for this TPM")]
pub(crate) struct WrapError;

/// A key for a TPM to sign with.
///
/// # Panics
/// Never: the length is one the type allows.
pub(crate) fn fresh_identity_key() -> SymmetricKey {
    SymmetricKey::from_bytes(&secret::<IDENTITY_KEY_BYTES>())
        .expect("32 bytes are a valid key length")
}

/// Wraps `key` for the TPM with these two keys.
pub(crate) fn wrap(
    endorsement_key: &PublicArea,
    storage_root_key: &PublicArea,
    key: &SymmetricKey,
) -> Result<ActivationBlob, WrapError> {
    let inner_key = secret::<INNER_KEY_BYTES>();
    let credential = credential::make(endorsement_key, storage_root_key, &inner_key)?;
    let identity = identity::duplicate(storage_root_key, &inner_key, key)?;
    let blob = [
        sized(&credential.id_object),
        sized(&credential.encrypted_seed),
        sized(&identity.private),
        sized(&identity.encrypted_seed),
        sized(&identity.public),
        // SDKs read the length of some further data and then do nothing with it.
        sized(&[]),
    ];
    Ok(ActivationBlob(blob.concat()))
}

impl ActivationBlob {
    /// The blob in base64, as JSON carries it.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for ActivationBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationBlob(…)")
    }
}

#[cfg(test)]
mod tests;
