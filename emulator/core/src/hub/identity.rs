//! What a hub knows about a device or a module.

use crate::certificate::Thumbprint;
use crate::id::{ETag, IdentityId};
use crate::secret::SymmetricKey;

/// A device or module in a hub's registry (R-G1). What changes by the minute is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: IdentityId,
    /// Tells an identity from a later one of the same id.
    pub generation_id: String,
    /// Version of this identity.
    pub etag: ETag,
    /// Whether it may connect. A module has no status of its own: that of its device counts.
    pub status: DeviceStatus,
    /// Why not, in the operator's words.
    pub status_reason: Option<String>,
    /// When the status was last set, in Unix milliseconds; none before the first time.
    pub status_updated_ms: Option<i64>,
    /// What it must show.
    pub authentication: AuthenticationMechanism,
    /// Whether it is an IoT Edge device.
    pub iot_edge: bool,
    /// Who takes care of a module, such as IoT Edge's runtime.
    pub managed_by: Option<Box<str>>,
}

/// Whether a device may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceStatus {
    /// It may use no device endpoint (R-G4).
    Disabled,
    /// It may connect.
    #[default]
    Enabled,
}

/// What a device must show at the hub (R-G3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationMechanism {
    /// A certificate under one of the hub's own CA certificates.
    CertificateAuthority,
    /// Nothing suffices.
    None,
    /// A token signed with either key.
    Sas {
        /// First key.
        primary: SymmetricKey,
        /// Second key.
        secondary: SymmetricKey,
    },
    /// A certificate with either thumbprint, whoever signed it (R-G7).
    SelfSigned {
        /// First thumbprint.
        primary: Option<Thumbprint>,
        /// Second thumbprint.
        secondary: Option<Thumbprint>,
    },
}

impl AuthenticationMechanism {
    /// What it is called on the wire (R-G3).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
            Self::Sas { .. } => "sas",
            Self::SelfSigned { .. } => "selfSigned",
        }
    }
}
