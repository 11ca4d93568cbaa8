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
    /// Where it stands among IoT Edge devices, if that was ever said.
    pub scopes: Option<Box<Scopes>>,
}

/// Which IoT Edge devices stand above a device, in the names a hub gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// The scope a leaf device belongs to.
    pub device_scope: Option<String>,
    /// The scopes above an IoT Edge device.
    pub parent_scopes: Vec<String>,
}

impl Identity {
    /// An enabled identity of which nothing else is known yet.
    #[must_use]
    pub fn new(
        id: IdentityId,
        generation_id: String,
        etag: ETag,
        authentication: AuthenticationMechanism,
    ) -> Self {
        Self {
            id,
            generation_id,
            etag,
            status: DeviceStatus::Enabled,
            status_reason: None,
            status_updated_ms: None,
            authentication,
            iot_edge: false,
            managed_by: None,
            scopes: None,
        }
    }

    /// The scope devices below name to belong to this IoT Edge device, which the hub made and
    /// nobody can change; for another device the one that was written.
    ///
    /// Source:  behaviour.md R-G1; the API model's words on `deviceScope`.
    #[must_use]
    pub fn device_scope(&self) -> Option<String> {
        if self.iot_edge {
            let (device_id, generation) = (self.id.device_id(), &self.generation_id);
            return Some(format!("ms-azure-iot-edge://{device_id}-{generation}"));
        }
        self.scopes.as_ref()?.device_scope.clone()
    }

    /// The scopes above.
    #[must_use]
    pub fn parent_scopes(&self) -> &[String] {
        self.scopes
            .as_ref()
            .map_or(&[], |scopes| &scopes.parent_scopes)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G1.
    #[test]
    fn the_scope_of_an_edge_device_is_the_hubs_and_that_of_another_as_written() {
        let mut identity = Identity::new(
            IdentityId::parse("gate").unwrap(),
            "77".to_owned(),
            ETag::parse("1").unwrap(),
            AuthenticationMechanism::None,
        );
        assert_eq!(identity.device_scope(), None);
        let written = "ms-azure-iot-edge://above-1".to_owned();
        identity.scopes = Some(Box::new(Scopes {
            device_scope: Some(written.clone()),
            parent_scopes: vec![written.clone()],
        }));
        assert_eq!(identity.device_scope(), Some(written.clone()));
        identity.iot_edge = true;
        let made = "ms-azure-iot-edge://gate-77".to_owned();
        assert_eq!(identity.device_scope(), Some(made));
        assert_eq!(identity.parent_scopes(), [written]);
    }
}
