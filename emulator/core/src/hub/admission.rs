//! Who may connect to a hub. Every connection asks anew (R-G9).

use std::fmt;

use super::identity::{AuthenticationMechanism, DeviceStatus, Identity};
use crate::certificate::path::{self, CaStore, PathError};
use crate::certificate::{Certificate, Chain, Thumbprint};
use crate::dps::enrollment::Slot;
use crate::id::{DeviceId, HubHostName, IdentityId};
use crate::sas::{SasError, SharedAccessSignature};
use crate::secret::SymmetricKey;
use crate::settings::Settings;
use crate::time::UnixTime;

/// What a hub knows that bears on everybody at its door.
#[derive(Clone, Copy, Debug)]
pub struct HubFacts<'a> {
    /// Its name, which tokens must be for.
    pub host: &'a HubHostName,
    /// Its own CA certificates (R-D10).
    pub ca_store: &'a CaStore,
    /// How the open questions are read.
    pub settings: &'a Settings,
}

/// Who is at the door, as the registry knows it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Whose credentials count.
    pub identity: &'a Identity,
    /// The device of a module.
    pub device: Option<&'a Identity>,
}

/// What a device showed to the hub.
#[derive(Clone, Copy, Debug)]
pub enum PresentedCredential<'a> {
    /// A chain, whose leaf's key it proved in TLS.
    Certificate(&'a Chain),
    /// Nothing.
    None,
    /// A token in the name of one of the hub's shared access policies (R-F9).
    PolicySas {
        /// The token.
        token: &'a SharedAccessSignature,
        /// The policy's keys.
        keys: [&'a SymmetricKey; 2],
        /// Whether the policy has the right to speak as a device.
        connects: bool,
    },
    /// A token.
    Sas(&'a SharedAccessSignature),
}

/// Proof that a device may connect. Only [`admit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    id: IdentityId,
    by: AdmittedBy,
}

/// Which credential let a device in, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmittedBy {
    /// A certificate known by its thumbprint.
    Certificate {
        /// The slot with its thumbprint.
        slot: Slot,
        /// Its last second. Only a setting ends the session there (I-4).
        not_after: UnixTime,
    },
    /// A certificate under a verified CA certificate of the hub.
    CertificateAuthority {
        /// Its last second. Only a setting ends the session there (I-4).
        not_after: UnixTime,
    },
    /// A token in the name of a policy.
    Policy {
        /// First second at which the session must be closed (R-G11).
        expiry: UnixTime,
    },
    /// A token.
    Sas {
        /// The slot with the key that signed it.
        slot: Slot,
        /// First second at which the session must be closed (R-G11).
        expiry: UnixTime,
    },
}

/// A slot of an identity in a message: its thumbprint or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configured(pub Option<Thumbprint>);

impl fmt::Display for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_ref()
            .map_or(Ok(()), |thumbprint| thumbprint.fmt(f))
    }
}

/// A leaf and the thumbprints it should have had. R-F11 has the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Thumbprint does not match configuration: Thumbprint: SHA1Hash={sha1}, SHA2Hash={sha256}; \
     Configuration: PrimaryThumbprint={primary}, SecondaryThumbprint={secondary}"
)]
pub struct ThumbprintMismatch {
    /// SHA-1 of the leaf shown.
    pub sha1: Thumbprint,
    /// SHA-256 of the leaf shown.
    pub sha256: Thumbprint,
    /// The first one registered.
    pub primary: Configured,
    /// The second one registered.
    pub secondary: Configured,
}

/// Why a device may not connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The leaf names somebody else, or nobody.
    #[error("the certificate is for {common_name:?}, not for {id}")]
    CommonNameMismatch {
        /// The device or module.
        id: IdentityId,
        /// The name in the leaf.
        common_name: Option<String>,
    },
    /// The identity is disabled.
    #[error("device {device_id} is disabled")]
    DeviceDisabled {
        /// The device.
        device_id: DeviceId,
    },
    /// There is no such identity.
    #[error("nothing is registered for {resource}")]
    DeviceNotFound {
        /// What was asked for.
        resource: String,
    },
    /// The leaf is too old.
    #[error("the certificate of {id} held until {not_after}; it is {now}")]
    Expired {
        /// The device or module.
        id: IdentityId,
        /// The moment of judging.
        now: UnixTime,
        /// The leaf's last second.
        not_after: UnixTime,
    },
    /// Another kind of credential is registered.
    #[error("{presented} was presented but {id} is registered for {registered}")]
    MechanismMismatch {
        /// The device or module.
        id: IdentityId,
        /// What was shown.
        presented: &'static str,
        /// What the identity demands.
        registered: &'static str,
    },
    /// The leaf is too young.
    #[error("the certificate of {id} holds from {not_before}; it is {now}")]
    NotYetValid {
        /// The device or module.
        id: IdentityId,
        /// The moment of judging.
        now: UnixTime,
        /// The leaf's first second.
        not_before: UnixTime,
    },
    /// The certificate leads to no verified CA certificate of the hub.
    #[error("the certificate of {id} is refused: {error}")]
    Path {
        /// The device or module.
        id: IdentityId,
        /// Why.
        error: PathError,
    },
    /// The policy a token names lacks the right.
    #[error("policy {policy} may not connect as a device; it lacks the right DeviceConnect")]
    PolicyMayNotConnect {
        /// Its name.
        policy: String,
    },
    /// The token is for something else.
    #[error("the token is for {presented:?}, which does not cover {demanded:?}")]
    ResourceMismatch {
        /// The token's resource, decoded.
        presented: String,
        /// What it should cover.
        demanded: String,
    },
    /// The token does not hold.
    #[error(transparent)]
    Sas(#[from] SasError),
    /// The leaf is not the one registered.
    #[error(transparent)]
    ThumbprintMismatch(Box<ThumbprintMismatch>),
}

impl AdmissionError {
    /// The rule that refuses.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::CommonNameMismatch { .. } | Self::Path { .. } => "R-G8",
            Self::DeviceDisabled { .. } => "R-G4",
            Self::DeviceNotFound { .. } => "R-E7",
            Self::Expired { .. } | Self::NotYetValid { .. } => "R-G7",
            Self::MechanismMismatch { .. } => "R-G3",
            Self::PolicyMayNotConnect { .. } => "R-F9",
            Self::ResourceMismatch { .. } | Self::Sas(_) => "R-G11",
            Self::ThumbprintMismatch(_) => "R-G10",
        }
    }

    /// The hub's error number; its first three digits are the HTTP status.
    ///
    /// Source: behaviour.md R-E7, R-F10, R-F11.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::DeviceDisabled { .. } => 403_012,
            Self::DeviceNotFound { .. } => 404_001,
            Self::CommonNameMismatch { .. }
            | Self::Expired { .. }
            | Self::MechanismMismatch { .. }
            | Self::NotYetValid { .. }
            | Self::Path { .. }
            | Self::PolicyMayNotConnect { .. }
            | Self::ResourceMismatch { .. }
            | Self::Sas(_)
            | Self::ThumbprintMismatch(_) => 401_003,
        }
    }
}

impl Admitted {
    /// The device or module.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        &self.id
    }

    /// What let it in.
    #[must_use]
    pub fn by(&self) -> AdmittedBy {
        self.by
    }
}

impl<'a> Found<'a> {
    /// A device.
    #[must_use]
    pub fn device(identity: &'a Identity) -> Self {
        let device = None;
        Self { identity, device }
    }

    /// The status that counts: that of the device, for a module too (R-G4).
    #[must_use]
    pub fn status(self) -> DeviceStatus {
        self.device.unwrap_or(self.identity).status
    }
}

impl PresentedCredential<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "a certificate",
            Self::None => "nothing",
            Self::PolicySas { .. } | Self::Sas(_) => "a shared access signature",
        }
    }
}

/// Judges whether a device or module may connect.
///
/// A `selfSigned` certificate is judged by thumbprint and period alone: not by chain, issuer or
/// name, and not by any enrollment (R-G7, R-G10). A `certificateAuthority` one must lead to a
/// verified CA certificate of the hub and carry the identity's name (R-G8).
/// A module is admitted by credentials of its own, and only while its device is enabled.
///
/// Takes:   the name asked for, what was found under it, what was shown; `now` in Unix seconds.
/// Gives:   [`Admitted`].
/// Errors:  [`AdmissionError`]: existence, status, kind of credential, then the credential.
/// Source:  behaviour.md R-D10, R-E7, R-F9, R-F11, R-G4, R-G7 to R-G11.
pub fn admit(
    id: &IdentityId,
    found: Option<Found<'_>>,
    presented: PresentedCredential<'_>,
    hub: &HubFacts<'_>,
    now: UnixTime,
) -> Result<Admitted, AdmissionError> {
    let resource = format!("{}/{}", hub.host, id.path());
    let Some(found) = found else {
        return Err(AdmissionError::DeviceNotFound { resource });
    };
    let identity = found.identity;
    if found.status() == DeviceStatus::Disabled {
        let device_id = id.device();
        return Err(AdmissionError::DeviceDisabled { device_id });
    }
    let by = match (&identity.authentication, presented) {
        (
            AuthenticationMechanism::CertificateAuthority,
            PresentedCredential::Certificate(chain),
        ) => admit_by_authority(id, chain, hub, now)?,
        (
            AuthenticationMechanism::SelfSigned { primary, secondary },
            PresentedCredential::Certificate(chain),
        ) => admit_leaf(id, *primary, *secondary, chain.leaf(), now)?,
        (AuthenticationMechanism::Sas { primary, secondary }, PresentedCredential::Sas(token)) => {
            let expiry = check_token(token, [primary, secondary], &resource, hub.settings, now)?;
            let slot = if token.is_signed_by(primary) {
                Slot::Primary
            } else {
                Slot::Secondary
            };
            AdmittedBy::Sas { slot, expiry }
        }
        (
            AuthenticationMechanism::Sas { .. },
            PresentedCredential::PolicySas {
                token,
                keys,
                connects,
            },
        ) => {
            let expiry = check_token(token, keys, &resource, hub.settings, now)?;
            if !connects {
                let policy = token.skn().unwrap_or_default().to_owned();
                return Err(AdmissionError::PolicyMayNotConnect { policy });
            }
            AdmittedBy::Policy { expiry }
        }
        (registered, presented) => {
            return Err(AdmissionError::MechanismMismatch {
                id: id.clone(),
                presented: presented.name(),
                registered: registered.name(),
            });
        }
    };
    Ok(Admitted { id: id.clone(), by })
}

/// R-G8. A hub always looks at validity; that DPS may not is another setting.
fn admit_by_authority(
    id: &IdentityId,
    chain: &Chain,
    hub: &HubFacts<'_>,
    now: UnixTime,
) -> Result<AdmittedBy, AdmissionError> {
    let (leaf, id) = (chain.leaf(), id.clone());
    let settings = Settings {
        check_validity: true,
        ..*hub.settings
    };
    if let Err(error) = path::build(chain, hub.ca_store, &settings, now) {
        return Err(AdmissionError::Path { id, error });
    }
    if leaf.common_name() != Some(id.as_str()) {
        let common_name = leaf.common_name().map(str::to_owned);
        return Err(AdmissionError::CommonNameMismatch { id, common_name });
    }
    let not_after = leaf.validity().not_after;
    Ok(AdmittedBy::CertificateAuthority { not_after })
}

/// R-G11. Gives the first second at which a session by this token must be closed: its expiry, or
/// for one that is taken past it, the end of what a wrong clock excuses.
fn check_token(
    token: &SharedAccessSignature,
    keys: [&SymmetricKey; 2],
    resource: &str,
    settings: &Settings,
    now: UnixTime,
) -> Result<UnixTime, AdmissionError> {
    check_resource(token, resource)?;
    token.check_signature(&keys)?;
    let skew = i64::from(settings.sas_clock_skew_seconds);
    let (expiry, excused) = (token.expiry(), token.expiry().plus(skew));
    match token.check_expiry(now) {
        Ok(()) => Ok(expiry),
        Err(_) if now < excused => Ok(excused),
        Err(expired) => Err(expired.into()),
    }
}

/// R-G7.
fn admit_leaf(
    id: &IdentityId,
    primary: Option<Thumbprint>,
    secondary: Option<Thumbprint>,
    leaf: &Certificate,
    now: UnixTime,
) -> Result<AdmittedBy, AdmissionError> {
    let is_leaf = |slot: Option<Thumbprint>| slot.is_some_and(|known| known.matches(leaf));
    let slot = if is_leaf(primary) {
        Slot::Primary
    } else if is_leaf(secondary) {
        Slot::Secondary
    } else {
        return Err(AdmissionError::ThumbprintMismatch(Box::new(
            ThumbprintMismatch {
                sha1: Thumbprint::Sha1(leaf.sha1()),
                sha256: Thumbprint::Sha256(leaf.fingerprint()),
                primary: Configured(primary),
                secondary: Configured(secondary),
            },
        )));
    };
    let (validity, id) = (leaf.validity(), id.clone());
    if now < validity.not_before {
        return Err(AdmissionError::NotYetValid {
            id,
            now,
            not_before: validity.not_before,
        });
    }
    if now > validity.not_after {
        return Err(AdmissionError::Expired {
            id,
            now,
            not_after: validity.not_after,
        });
    }
    Ok(AdmittedBy::Certificate {
        slot,
        not_after: validity.not_after,
    })
}

/// A token covers its own resource and everything below it. Only the host is without case (R-A3).
fn check_resource(token: &SharedAccessSignature, resource: &str) -> Result<(), AdmissionError> {
    let presented = token.resource();
    let mut demanded = resource.split('/');
    let covers = presented
        .trim_end_matches('/')
        .split('/')
        .enumerate()
        .all(|(level, segment)| {
            demanded.next().is_some_and(|demanded| match level {
                0 => segment.eq_ignore_ascii_case(demanded),
                _ => segment == demanded,
            })
        });
    if covers {
        return Ok(());
    }
    Err(AdmissionError::ResourceMismatch {
        presented,
        demanded: resource.to_owned(),
    })
}

#[cfg(test)]
mod tests;
