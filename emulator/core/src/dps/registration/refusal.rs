//! Why an attempt is refused outright, with the numbers and words Azure puts on the wire.

use crate::certificate::path::PathError;
use crate::dps::attestation::AttestationError;
use crate::dps::attestation::tpm::TpmError;
use crate::dps::precedence::PrecedenceError;
use crate::id::IdError;

/// Why a registration attempt ends before it became an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The evidence does not satisfy the entry.
    #[error("refused under {}: {_0}", self.rule())]
    Attestation(#[from] AttestationError),
    /// The id is outside the grammar.
    #[error("refused under {}: {_0}", self.rule())]
    InvalidRegistrationId(#[from] IdError),
    /// No entry speaks for the device.
    #[error("refused under {}: {_0}", self.rule())]
    NotEnrolled(#[from] PrecedenceError),
}

/// One row of the table of observed bodies (behaviour document A.5).
struct Row {
    rule: &'static str,
    code: u32,
    message: &'static str,
}

const fn row(rule: &'static str, code: u32, message: &'static str) -> Row {
    Row {
        rule,
        code,
        message,
    }
}

const INVALID_CERTIFICATE: &str = "Invalid certificate";
const UNAUTHORIZED: &str = "Unauthorized";

impl Refusal {
    /// The rule that refuses.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.row().rule
    }

    /// The `errorCode` on the wire; its first three digits are the HTTP status.
    ///
    /// Source: behaviour.md A.5.
    #[must_use]
    pub fn code(&self) -> u32 {
        self.row().code
    }

    /// The `message` on the wire. What an operator should read is the `Display` form.
    ///
    /// Source: behaviour.md A.5.
    #[must_use]
    pub fn message(&self) -> &'static str {
        self.row().message
    }

    fn row(&self) -> Row {
        match self {
            Self::Attestation(error) => attestation_row(error),
            Self::InvalidRegistrationId(_) => row("R-A2", 400_004, "Invalid RegistrationId"),
            Self::NotEnrolled(error) => precedence_row(error),
        }
    }
}

fn attestation_row(error: &AttestationError) -> Row {
    match error {
        AttestationError::CommonNameMismatch { .. } => row("R-A4", 401_002, INVALID_CERTIFICATE),
        AttestationError::MechanismMismatch { .. } => row("R-A21a", 401_000, UNAUTHORIZED),
        AttestationError::NoMatchingSlot { .. } => row("R-A21b", 401_002, INVALID_CERTIFICATE),
        AttestationError::Path(error) => path_row(error),
        AttestationError::ResourceMismatch { .. } => row("R-A31", 401_000, UNAUTHORIZED),
        AttestationError::Sas(_) => row("R-A32", 401_000, UNAUTHORIZED),
        AttestationError::Tpm(error) => tpm_row(error),
    }
}

/// R-A35 names no numbers. A challenge has the number that HTTPS gives to who shows nothing; the
/// others are those of a token that does not hold. Assumed.
fn tpm_row(error: &TpmError) -> Row {
    match error {
        TpmError::NotOverMqtt => {
            let message = "TPM attestation is not supported over MQTT; register over HTTPS";
            row("R-A35", 401_000, message)
        }
        TpmError::ProofOutstanding => row("R-A35", 401_002, UNAUTHORIZED),
        TpmError::ChallengeExpired { .. }
        | TpmError::EndorsementKeyMismatch
        | TpmError::NoChallenge
        | TpmError::Sas(_)
        | TpmError::StorageRootKeyMismatch => row("R-A35", 401_000, UNAUTHORIZED),
    }
}

fn precedence_row(error: &PrecedenceError) -> Row {
    match error {
        PrecedenceError::NoGroupInChain { .. } => row(
            "R-A15",
            401_002,
            "Signing certificate info did not match chain elements",
        ),
        PrecedenceError::NotEnrolled { .. } => row("R-A23", 404_201, "Enrollment not found."),
        PrecedenceError::Path(error) => path_row(error),
    }
}

fn path_row(error: &PathError) -> Row {
    match error {
        PathError::BadSignature { .. } => row("R-A16", 401_002, INVALID_CERTIFICATE),
        PathError::Expired { .. } | PathError::NotYetValid { .. } => {
            row("R-A20", 401_002, INVALID_CERTIFICATE)
        }
        PathError::NoVerifiedAnchor { .. } => row("R-A16", 401_002, "CA certificate not found."),
        PathError::NotACertificateAuthority { .. } => row("I-14", 401_002, INVALID_CERTIFICATE),
    }
}
