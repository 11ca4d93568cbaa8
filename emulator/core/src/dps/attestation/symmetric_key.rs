//! Tokens as evidence: keys of an individual entry, and keys derived from a group's.

use super::{AttestationError, AttestationMechanism, Evidence};
use crate::dps::enrollment::Slot;
use crate::id::RegistrationId;
use crate::sas::{self, SasError, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::time::UnixTime;

/// The two keys a device may sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// First key.
    pub primary: SymmetricKey,
    /// Second key, as good as the first.
    pub secondary: SymmetricKey,
}

impl DeviceKeys {
    /// The keys a group grants to one device. The group's own keys sign nothing (R-A33).
    pub(in crate::dps) fn derived(
        group: &AttestationMechanism,
        registration_id: &RegistrationId,
    ) -> Option<Self> {
        let AttestationMechanism::SymmetricKey { primary, secondary } = group else {
            return None;
        };
        Some(Self {
            primary: sas::derive_device_key(primary, registration_id.as_str()),
            secondary: sas::derive_device_key(secondary, registration_id.as_str()),
        })
    }

    /// Which of the keys made the token's signature.
    pub(in crate::dps) fn signing_slot(&self, token: &SharedAccessSignature) -> Option<Slot> {
        if token.is_signed_by(&self.primary) {
            Some(Slot::Primary)
        } else if token.is_signed_by(&self.secondary) {
            Some(Slot::Secondary)
        } else {
            None
        }
    }
}

/// R-A32.
pub(super) fn attest_individual<'a>(
    registration_id: &RegistrationId,
    primary: &SymmetricKey,
    secondary: &SymmetricKey,
    token: &SharedAccessSignature,
    now: UnixTime,
) -> Result<(Slot, Evidence<'a>), AttestationError> {
    check_resource(registration_id, token)?;
    let keys = DeviceKeys {
        primary: primary.clone(),
        secondary: secondary.clone(),
    };
    let slot = keys
        .signing_slot(token)
        .ok_or_else(|| SasError::SignatureMismatch {
            resource: token.sr().to_owned(),
            keys: 2,
        })?;
    token.check_expiry(now)?;
    Ok((
        slot,
        Evidence::Keys {
            primary: keys.primary,
            secondary: keys.secondary,
        },
    ))
}

/// R-A31: the resource is `{scope}/registrations/{id}`, case aside. The scope is the door's matter.
pub(super) fn check_resource(
    registration_id: &RegistrationId,
    token: &SharedAccessSignature,
) -> Result<(), AttestationError> {
    let resource = token.resource();
    let segments: Vec<&str> = resource.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        [_, collection, id]
            if collection.eq_ignore_ascii_case("registrations")
                && id.eq_ignore_ascii_case(registration_id.as_str()) =>
        {
            Ok(())
        }
        _ => {
            let registration_id = registration_id.clone();
            Err(AttestationError::ResourceMismatch {
                resource,
                registration_id,
            })
        }
    }
}
