//! A credential: a secret for the TPM that has an endorsement key and, in it, another key.

use super::marshal::sized;
use super::protection::protect;
use super::public::PublicArea;
use super::seed::{Purpose, share};
use super::{INNER_KEY_BYTES, WrapError};

/// What `TPM2_ActivateCredential` takes.
pub(super) struct Credential {
    /// `TPMS_ID_OBJECT`.
    pub(super) id_object: Vec<u8>,
    pub(super) encrypted_seed: Vec<u8>,
}

/// Makes a credential that gives `inner_key` to the TPM with both keys.
pub(super) fn make(
    endorsement_key: &PublicArea,
    storage_root_key: &PublicArea,
    inner_key: &[u8; INNER_KEY_BYTES],
) -> Result<Credential, WrapError> {
    let seed = share(endorsement_key, Purpose::Credential)?;
    let id_object = protect(&seed.seed, storage_root_key.name(), sized(inner_key))?;
    Ok(Credential {
        id_object,
        encrypted_seed: seed.encrypted,
    })
}
