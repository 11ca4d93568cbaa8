//! Who is at the other end, as the handshake showed it.

use linarite_core::certificate::{Certificate, Chain, ChainError};
use linarite_core::limits::CHAIN_LENGTH_MAX;
use linarite_env::event::Fingerprint;
use rustls::pki_types::CertificateDer;

use crate::store::issuers::Issuers;

/// What a peer showed in its handshake.
#[derive(Clone, Debug)]
pub enum PeerIdentity {
    /// A chain, leaf first, whose leaf's key the peer holds.
    Certificate(Chain),
    /// No certificate.
    NoCertificate,
}

impl PeerIdentity {
    /// Reads the certificates of a finished handshake, of which `issuers` may know some.
    ///
    /// # Errors
    /// If one of them is no X.509 certificate of a kind we read.
    pub(crate) fn read(
        certificates: Option<&[CertificateDer<'_>]>,
        issuers: &Issuers,
    ) -> Result<Self, ChainError> {
        match certificates {
            None | Some([]) => Ok(Self::NoCertificate),
            Some(certificates) => {
                let ders = certificates.iter().map(AsRef::as_ref);
                let chain = Chain::read(ders, CHAIN_LENGTH_MAX, |der| issuers.read(der))?;
                Ok(Self::Certificate(chain))
            }
        }
    }

    /// The chain, if there is one.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        match self {
            Self::Certificate(chain) => Some(chain),
            Self::NoCertificate => None,
        }
    }

    /// The leaf, if there is one.
    #[must_use]
    pub fn leaf(&self) -> Option<&Certificate> {
        self.chain().map(Chain::leaf)
    }

    /// The leaf's SHA-256, if there is a leaf.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.leaf().map(|leaf| Fingerprint(leaf.fingerprint()))
    }
}
