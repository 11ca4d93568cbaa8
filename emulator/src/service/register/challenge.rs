//! The dialogue with a TPM: a key that only it can unwrap, now to prove itself and in the end to
//! speak to the hub with (R-A35).

use std::sync::Arc;

use linarite_core::dps::attestation::tpm::{TpmChallenge, TpmKeys};
use linarite_core::dps::registration::Assignment;
use linarite_core::hub::identity::AuthenticationMechanism;
use linarite_core::id::{DeviceId, IdentityId, RegistrationId};
use linarite_core::secret::SymmetricKey;
use linarite_env::Event;

use super::Register;
use crate::error::ServiceError;
use crate::service::hub::Hub;
use crate::store::challenges::Full;
use crate::tpm::{self, ActivationBlob, PublicArea, WrapError};

/// What a device gets instead of an operation until its TPM has proven itself.
#[derive(Clone, Debug)]
pub(crate) struct Challenged {
    /// The 401 that goes with it.
    pub(crate) error: ServiceError,
    pub(crate) authentication_key: ActivationBlob,
}

/// A registration whose TPM is named and has yet to prove itself.
pub(super) struct Unproven {
    pub(super) id: RegistrationId,
    pub(super) keys: TpmKeys,
    /// What it is told meanwhile.
    pub(super) error: ServiceError,
}

impl Register {
    /// Challenges a TPM, in place of any challenge before.
    pub(super) fn challenge(&self, unproven: Unproven) -> Result<Challenged, ServiceError> {
        let Unproven { id, keys, error } = unproven;
        let inner = &*self.0;
        let now = inner.env.clock.now();
        let (proof_key, hub_key) = (tpm::fresh_identity_key(), tpm::fresh_identity_key());
        let challenge = TpmChallenge::new(keys, proof_key, hub_key, now);
        let authentication_key = wrap_for(&challenge, challenge.proof_key())
            .map_err(|error| ServiceError::invalid(format!("tpm: {error}")))?;
        let registration_id = id.as_str().into();
        inner.challenges.put(id, challenge, now).map_err(|Full| {
            let limit = "TPM challenges";
            inner.env.events.emit(Event::LimitReached { limit });
            ServiceError::limit("The instance has given out too many challenges to TPMs.")
        })?;
        inner
            .env
            .events
            .emit(Event::RegistrationChallenged { registration_id });
        Ok(Challenged {
            error,
            authentication_key,
        })
    }

    /// What the hub accepts from the assigned device, wrapped for its TPM.
    pub(super) fn hub_key(
        &self,
        assignment: &Assignment,
        challenge: &Arc<TpmChallenge>,
    ) -> Option<ActivationBlob> {
        let hub = self.0.hubs.iter().find(|hub| hub.host == assignment.hub)?;
        let key = hub.device_key(&assignment.device_id)?;
        wrap_for(challenge, &key)
            .inspect_err(|error| tracing::error!(%error, "a TPM gets no key for its hub"))
            .ok()
    }
}

impl Hub {
    /// The first key of a device that speaks with tokens.
    fn device_key(&self, id: &DeviceId) -> Option<SymmetricKey> {
        let authentication = self.devices.read(&IdentityId::from(id), |device| {
            device.identity.authentication.clone()
        })?;
        match authentication {
            AuthenticationMechanism::Sas { primary, .. } => Some(primary),
            AuthenticationMechanism::CertificateAuthority
            | AuthenticationMechanism::None
            | AuthenticationMechanism::SelfSigned { .. } => None,
        }
    }
}

/// Wraps a key for the TPM that was challenged; its keys were read once before, at the door.
fn wrap_for(challenge: &TpmChallenge, key: &SymmetricKey) -> Result<ActivationBlob, WrapError> {
    let read = |key: &[u8]| PublicArea::parse(key).map_err(|_| WrapError);
    let keys = challenge.keys();
    let endorsement_key = read(keys.endorsement_key.bytes())?;
    let storage_root_key = read(keys.storage_root_key.bytes())?;
    tpm::wrap(&endorsement_key, &storage_root_key, key)
}
