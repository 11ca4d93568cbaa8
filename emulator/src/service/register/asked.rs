//! What a device asks with.

use linarite_core::certificate::Chain;
use linarite_core::dps::attestation::PresentedAttestation;
use linarite_core::dps::attestation::tpm::TpmKeys;
use linarite_core::dps::registration::Transport;
use linarite_core::dps::reprovision::DeviceApi;
use linarite_core::sas::SharedAccessSignature;
use linarite_env::event::Fingerprint;
use serde_json::Value;

/// What a device shows to be judged.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Certificate(Chain),
    Token(SharedAccessSignature),
    Nothing,
}

/// What a device asks with, beside its id.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) shown: Shown,
    /// The TPM it names. Who names one wants to be judged by it, whatever certificate TLS saw.
    pub(crate) tpm: Option<TpmKeys>,
    pub(crate) transport: Transport,
    pub(crate) api: DeviceApi,
    /// For a webhook to read (R-B16).
    pub(crate) payload: Option<Value>,
}

impl Shown {
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Certificate(chain) => Some(Fingerprint(chain.leaf().fingerprint())),
            Self::Token(_) | Self::Nothing => None,
        }
    }

    pub(super) fn token(&self) -> Option<&SharedAccessSignature> {
        match self {
            Self::Token(token) => Some(token),
            Self::Certificate(_) | Self::Nothing => None,
        }
    }
}

impl Asked {
    /// The certificate that counts.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        match self.tpm {
            None => self.shown.fingerprint(),
            Some(_) => None,
        }
    }

    pub(super) fn presented(&self) -> PresentedAttestation<'_> {
        match (&self.tpm, &self.shown) {
            (Some(keys), shown) => PresentedAttestation::Tpm {
                keys,
                token: shown.token(),
            },
            (None, Shown::Certificate(chain)) => PresentedAttestation::X509(chain),
            (None, Shown::Token(token)) => PresentedAttestation::SymmetricKey(token),
            (None, Shown::Nothing) => PresentedAttestation::None,
        }
    }
}
