//! Enrollment entries: the promise that a device, or any device of a group, may register.

use serde_json::Value;

use super::allocation::AllocationPolicy;
use super::attestation::{AttestationMechanism, X509Attestation};
use super::reprovision::ReprovisionPolicy;
use crate::certificate::Certificate;
use crate::id::{DeviceId, ETag, EnrollmentGroupId, HubHostName, RegistrationId};

pub use crate::hub::twin::{InitialTwin, InitialTwinError};

/// Which of two interchangeable places something sits in. Neither is preferred (R-A11, R-A15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The first place.
    Primary,
    /// The second place.
    Secondary,
}

/// The two places that make a roll-over possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrimarySecondary<T> {
    /// First place.
    pub primary: Option<T>,
    /// Second place.
    pub secondary: Option<T>,
}

impl<T> PrimarySecondary<T> {
    /// What is there, primary first.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        let primary = self.primary.iter().map(|content| (Slot::Primary, content));
        primary.chain(
            self.secondary
                .iter()
                .map(|content| (Slot::Secondary, content)),
        )
    }

    /// The content of one place.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        match slot {
            Slot::Primary => self.primary.as_ref(),
            Slot::Secondary => self.secondary.as_ref(),
        }
    }

    /// Whether both places are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.primary.is_none() && self.secondary.is_none()
    }
}

impl Slot {
    /// The opposite place.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

/// Whether an entry provisions or blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvisioningStatus {
    /// Devices of this entry are blocked.
    Disabled,
    /// Devices of this entry may register.
    #[default]
    Enabled,
}

/// The entry of one device (R-F4).
#[derive(Clone, Debug, PartialEq)]
pub struct IndividualEnrollment {
    /// The device's registration id.
    pub registration_id: RegistrationId,
    /// The hub's name for the device, if it is another (R-A5).
    pub device_id: Option<DeviceId>,
    /// Free text of the operator, echoed and never read.
    pub optional_device_information: Option<Value>,
    /// What the device must show.
    pub attestation: AttestationMechanism,
    /// Whether the identity becomes an IoT Edge device.
    pub iot_edge: bool,
    /// What the twin starts with.
    pub initial_twin: Option<InitialTwin>,
    /// Enabled or disabled.
    pub provisioning_status: ProvisioningStatus,
    /// What registering again does; one that is absent may yield to old clients (R-C7).
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// How the hub is chosen; the instance's default if absent (R-B11).
    pub allocation: Option<AllocationPolicy>,
    /// The hubs to choose from; all linked ones if empty (R-B12).
    pub iot_hubs: Vec<HubHostName>,
    /// Version of this entry.
    pub etag: ETag,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was last written, in Unix milliseconds.
    pub updated_ms: i64,
}

/// The entry of all devices whose evidence derives from one root of trust (R-F4).
#[derive(Clone, Debug, PartialEq)]
pub struct EnrollmentGroup {
    /// The group's name.
    pub enrollment_group_id: EnrollmentGroupId,
    /// What its devices must show.
    pub attestation: AttestationMechanism,
    /// Whether identities become IoT Edge devices.
    pub iot_edge: bool,
    /// What twins start with.
    pub initial_twin: Option<InitialTwin>,
    /// Enabled or disabled.
    pub provisioning_status: ProvisioningStatus,
    /// What registering again does; one that is absent may yield to old clients (R-C7).
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// How the hub is chosen; the instance's default if absent (R-B11).
    pub allocation: Option<AllocationPolicy>,
    /// The hubs to choose from; all linked ones if empty (R-B12).
    pub iot_hubs: Vec<HubHostName>,
    /// Version of this entry.
    pub etag: ETag,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was last written, in Unix milliseconds.
    pub updated_ms: i64,
}

/// Why an attestation mechanism does not belong into an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollmentError {
    /// An uploaded leaf has another name than the entry (R-A9).
    #[error("the {slot:?} certificate's common name {common_name:?} is not {registration_id}")]
    CommonNameMismatch {
        /// The entry's id.
        registration_id: RegistrationId,
        /// The certificate's common name.
        common_name: Option<String>,
        /// Where the certificate sits.
        slot: Slot,
    },
    /// A mechanism that this kind of entry does not have.
    #[error("{mechanism} belongs to {belongs_to}")]
    ForeignMechanism {
        /// What was given.
        mechanism: &'static str,
        /// The kind of entry it is for.
        belongs_to: &'static str,
    },
    /// Both slots are empty.
    #[error("neither the primary nor the secondary slot holds anything")]
    NoSlot,
}

impl IndividualEnrollment {
    /// An enabled entry with default policies. Set further fields afterwards.
    ///
    /// # Errors
    /// [`EnrollmentError`] when the mechanism is a group's or a certificate has another name.
    ///
    /// Source: behaviour.md R-A8, R-A9, R-F4.
    pub fn new(
        registration_id: RegistrationId,
        attestation: AttestationMechanism,
        etag: ETag,
        now_ms: i64,
    ) -> Result<Self, EnrollmentError> {
        check_individual(&registration_id, &attestation)?;
        Ok(Self {
            registration_id,
            device_id: None,
            optional_device_information: None,
            attestation,
            iot_edge: false,
            initial_twin: None,
            provisioning_status: ProvisioningStatus::default(),
            reprovision_policy: None,
            allocation: None,
            iot_hubs: Vec::new(),
            etag,
            created_ms: now_ms,
            updated_ms: now_ms,
        })
    }
}

impl EnrollmentGroup {
    /// An enabled group with default policies. Set further fields afterwards.
    /// Whether its certificates are verified is not asked here (R-A14).
    ///
    /// # Errors
    /// [`EnrollmentError`] when the mechanism is an individual's.
    ///
    /// Source: behaviour.md R-A13, R-A14, R-F4.
    pub fn new(
        enrollment_group_id: EnrollmentGroupId,
        attestation: AttestationMechanism,
        etag: ETag,
        now_ms: i64,
    ) -> Result<Self, EnrollmentError> {
        check_group(&attestation)?;
        Ok(Self {
            enrollment_group_id,
            attestation,
            iot_edge: false,
            initial_twin: None,
            provisioning_status: ProvisioningStatus::default(),
            reprovision_policy: None,
            allocation: None,
            iot_hubs: Vec::new(),
            etag,
            created_ms: now_ms,
            updated_ms: now_ms,
        })
    }
}

/// Whether an individual entry may hold this mechanism: client certificates of its own name, a
/// symmetric key or a TPM.
///
/// # Errors
/// [`EnrollmentError::ForeignMechanism`], then [`EnrollmentError::NoSlot`], then
/// [`EnrollmentError::CommonNameMismatch`].
///
/// Source: behaviour.md R-A8, R-A9, R-A13.
pub fn check_individual(
    registration_id: &RegistrationId,
    attestation: &AttestationMechanism,
) -> Result<(), EnrollmentError> {
    let AttestationMechanism::X509(x509) = attestation else {
        return Ok(());
    };
    let X509Attestation::ClientCertificates(certificates) = x509 else {
        let (mechanism, belongs_to) = (attestation.name(), "an enrollment group");
        return Err(EnrollmentError::ForeignMechanism {
            mechanism,
            belongs_to,
        });
    };
    if certificates.is_empty() {
        return Err(EnrollmentError::NoSlot);
    }
    for (slot, certificate) in certificates.iter() {
        if !is_named(certificate, registration_id) {
            return Err(EnrollmentError::CommonNameMismatch {
                registration_id: registration_id.clone(),
                common_name: certificate.common_name().map(str::to_owned),
                slot,
            });
        }
    }
    Ok(())
}

/// Whether a group may hold this mechanism: signing certificates, names of CA certificates, or a
/// symmetric key.
///
/// # Errors
/// [`EnrollmentError::ForeignMechanism`] and [`EnrollmentError::NoSlot`].
///
/// Source: behaviour.md R-A13, R-A35.
pub fn check_group(attestation: &AttestationMechanism) -> Result<(), EnrollmentError> {
    let empty = match attestation {
        AttestationMechanism::SymmetricKey { .. } => false,
        AttestationMechanism::X509(X509Attestation::SigningCertificates(slots)) => slots.is_empty(),
        AttestationMechanism::X509(X509Attestation::CaReferences(slots)) => slots.is_empty(),
        AttestationMechanism::Tpm { .. }
        | AttestationMechanism::X509(X509Attestation::ClientCertificates(_)) => {
            let (mechanism, belongs_to) = (attestation.name(), "an individual enrollment");
            return Err(EnrollmentError::ForeignMechanism {
                mechanism,
                belongs_to,
            });
        }
    };
    if empty {
        Err(EnrollmentError::NoSlot)
    } else {
        Ok(())
    }
}

/// Whether a leaf's common name is this registration id, case aside (R-A3, R-A4).
pub(super) fn is_named(leaf: &Certificate, registration_id: &RegistrationId) -> bool {
    leaf.common_name()
        .is_some_and(|name| name.eq_ignore_ascii_case(registration_id.as_str()))
}

// === the view of either kind ===

/// Either kind of entry, seen alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Enrollment<'a> {
    /// A group's entry.
    Group(&'a EnrollmentGroup),
    /// A device's own entry.
    Individual(&'a IndividualEnrollment),
}

macro_rules! shared_field {
    ($(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(&self) -> &'a $type {
            match self {
                Self::Group(entry) => &entry.$field,
                Self::Individual(entry) => &entry.$field,
            }
        }
    };
}

impl<'a> Enrollment<'a> {
    shared_field! {
        /// How the hub is chosen, if the entry says.
        allocation: Option<AllocationPolicy>
    }

    shared_field! {
        /// What must be shown.
        attestation: AttestationMechanism
    }

    shared_field! {
        /// What the twin starts with.
        initial_twin: Option<InitialTwin>
    }

    shared_field! {
        /// The hubs to choose from, all linked ones if empty.
        iot_hubs: Vec<HubHostName>
    }

    shared_field! {
        /// Enabled or disabled.
        provisioning_status: ProvisioningStatus
    }

    shared_field! {
        /// What registering again does, if the entry says.
        reprovision_policy: Option<ReprovisionPolicy>
    }

    /// Whether the identity becomes an IoT Edge device.
    #[must_use]
    pub fn iot_edge(&self) -> bool {
        match self {
            Self::Group(entry) => entry.iot_edge,
            Self::Individual(entry) => entry.iot_edge,
        }
    }

    /// The device id this entry gives to a registration (R-A5).
    #[must_use]
    pub fn device_id(&self, registration_id: &RegistrationId) -> DeviceId {
        match self {
            Self::Individual(IndividualEnrollment {
                device_id: Some(id),
                ..
            }) => id.clone(),
            Self::Individual(_) | Self::Group(_) => DeviceId::from(registration_id),
        }
    }
}
