//! A Trusted Platform Module as evidence: it alone can unwrap the key that signs the token.
//!
//! A device offers its TPM's public keys, is challenged, and proves that it met the challenge. What
//! the keys hold, and how a key is wrapped for them, is the shell's matter; here they are equal or
//! not.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{AttestationError, Evidence, symmetric_key};
use crate::dps::enrollment::Slot;
use crate::id::RegistrationId;
use crate::limits::{TPM_CHALLENGE_SECONDS, TPM_KEY_BYTES_MAX};
use crate::sas::{SasError, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::time::UnixTime;

/// The public part of a TPM's key as the TPM marshals it. Clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct TpmKey(Arc<[u8]>);

/// Why a text is no key of a TPM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TpmKeyError {
    /// Too few or too many bytes.
    #[error("a TPM's public key of {bytes} bytes is outside 1 to {max}")]
    Length {
        /// Bytes found.
        bytes: usize,
        /// Most allowed.
        max: usize,
    },
    /// The text is not base64.
    #[error("a TPM's public key is not base64")]
    NotBase64,
}

/// What a device tells of its TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmKeys {
    /// The key that makes the TPM the one it is (EK).
    pub endorsement_key: TpmKey,
    /// The key under which it keeps what it is given (SRK).
    pub storage_root_key: TpmKey,
}

/// What a device was challenged with, and what meets the challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmChallenge {
    keys: TpmKeys,
    proof_key: SymmetricKey,
    hub_key: SymmetricKey,
    expiry: UnixTime,
}

/// Why a TPM does not satisfy its entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// The challenge was met too late.
    #[error("the challenge to the TPM expired at {expiry}; it is {now}")]
    ChallengeExpired {
        /// First second at which it no longer counts.
        expiry: UnixTime,
        /// The moment of judging.
        now: UnixTime,
    },
    /// The TPM is not the one that was enrolled.
    #[error("the endorsement key is not the enrolled one")]
    EndorsementKeyMismatch,
    /// A token came, but the enrolled TPM was never challenged.
    #[error("there is no challenge that the token could answer")]
    NoChallenge,
    /// TPMs are not spoken to over MQTT.
    #[error("TPM attestation is not supported over MQTT; register over HTTPS")]
    NotOverMqtt,
    /// The right TPM was named; that it is there is yet to be shown.
    #[error("the TPM has to activate a key and sign with it")]
    ProofOutstanding,
    /// The token does not hold.
    #[error(transparent)]
    Sas(#[from] SasError),
    /// The challenge was wrapped for another storage root key.
    #[error("the storage root key is not the one that was challenged")]
    StorageRootKeyMismatch,
}

// === impl TpmKey ===

impl TpmKey {
    /// Reads a key from its base64 form.
    ///
    /// # Errors
    /// [`TpmKeyError`] when the text is not base64 or the length is out of bounds.
    ///
    /// Source: wire.md 3.4.
    pub fn from_base64(text: &str) -> Result<Self, TpmKeyError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| TpmKeyError::NotBase64)?;
        let max = TPM_KEY_BYTES_MAX;
        if bytes.is_empty() || bytes.len() > max {
            let bytes = bytes.len();
            return Err(TpmKeyError::Length { bytes, max });
        }
        Ok(Self(bytes.into()))
    }

    /// The key in base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The key as the TPM marshalled it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TpmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmKey({} bytes)", self.0.len())
    }
}

// === impl TpmChallenge ===

impl TpmChallenge {
    /// A challenge to the TPM of `keys`: it is met with tokens signed by `proof_key`, and who meets
    /// it gets `hub_key` to speak to the hub with.
    #[must_use]
    pub fn new(
        keys: TpmKeys,
        proof_key: SymmetricKey,
        hub_key: SymmetricKey,
        now: UnixTime,
    ) -> Self {
        Self {
            keys,
            proof_key,
            hub_key,
            expiry: now.plus(TPM_CHALLENGE_SECONDS),
        }
    }

    /// The TPM that is challenged.
    #[must_use]
    pub fn keys(&self) -> &TpmKeys {
        &self.keys
    }

    /// What the TPM is to unwrap.
    #[must_use]
    pub fn proof_key(&self) -> &SymmetricKey {
        &self.proof_key
    }

    /// Whether it no longer counts.
    ///
    /// Source: ours; as long as the tokens last that SDKs sign to meet it (wire.md 3.4).
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        now >= self.expiry
    }
}

/// R-A35: the offered key is the enrolled one, then the token meets the challenge. The hub will
/// know the device by a key of its own (R-B22).
pub(super) fn attest_individual<'a>(
    registration_id: &RegistrationId,
    enrolled: &TpmKey,
    offered: Option<&TpmKeys>,
    token: Option<&SharedAccessSignature>,
    challenge: Option<&TpmChallenge>,
    now: UnixTime,
) -> Result<(Slot, Evidence<'a>), AttestationError> {
    if offered.is_some_and(|keys| keys.endorsement_key != *enrolled) {
        return Err(TpmError::EndorsementKeyMismatch.into());
    }
    let token = token.ok_or(TpmError::ProofOutstanding)?;
    // An operator may have enrolled another TPM since the challenge was given.
    let challenge = challenge
        .filter(|challenge| challenge.keys.endorsement_key == *enrolled)
        .ok_or(TpmError::NoChallenge)?;
    if offered.is_some_and(|keys| keys.storage_root_key != challenge.keys.storage_root_key) {
        return Err(TpmError::StorageRootKeyMismatch.into());
    }
    symmetric_key::check_resource(registration_id, token)?;
    token
        .verify(&[&challenge.proof_key], now)
        .map_err(TpmError::Sas)?;
    if challenge.is_over(now) {
        let expiry = challenge.expiry;
        return Err(TpmError::ChallengeExpired { expiry, now }.into());
    }
    // There is one key, so it stands in both of the hub's places. Assumed.
    let evidence = Evidence::Keys {
        primary: challenge.hub_key.clone(),
        secondary: challenge.hub_key.clone(),
    };
    Ok((Slot::Primary, evidence))
}

#[cfg(test)]
mod tests;
