//! The CA certificates an instance knows, and the way from a leaf to one that is verified.

use std::collections::BTreeMap;

use super::{Certificate, Chain};
use crate::id::CertificateName;
use crate::settings::Settings;
use crate::time::UnixTime;

/// A certificate in the instance's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Whether possession of its key was proven, or vouched for at upload (R-D2, R-D3).
    pub verified: bool,
}

/// The instance's named CA certificates (R-D1). At most a few dozen, so a clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaStore(BTreeMap<CertificateName, CaCertificate>);

/// Proof that a leaf leads to a verified CA certificate. Only [`build`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPath {
    leaf: Certificate,
    above: Vec<Certificate>,
    anchor: usize,
}

/// Why a presented chain leads to no verified CA certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The named issuer did not sign.
    #[error("{subject} names {issuer} as issuer, whose key did not sign it")]
    BadSignature {
        /// The certificate signed.
        subject: String,
        /// The certificate that should have signed.
        issuer: String,
    },
    /// A certificate is too old.
    #[error("{subject} held until {not_after}; it is {now}")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// The moment of judging.
        now: UnixTime,
        /// Its last second.
        not_after: UnixTime,
    },
    /// The chain ends below every verified certificate (R-A16).
    #[error(
        "the chain ends at a certificate issued by {last_issuer}, and none of it is verified here"
    )]
    NoVerifiedAnchor {
        /// The issuer that would have to come next.
        last_issuer: String,
    },
    /// An issuer without the CA flag (I-14).
    #[error("{subject} issued a certificate of the chain but is no certificate authority")]
    NotACertificateAuthority {
        /// Whose certificate.
        subject: String,
    },
    /// A certificate is too young.
    #[error("{subject} holds from {not_before}; it is {now}")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// The moment of judging.
        now: UnixTime,
        /// Its first second.
        not_before: UnixTime,
    },
}

// === impl CaStore ===

impl CaStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The certificate under a name.
    #[must_use]
    pub fn get(&self, name: &CertificateName) -> Option<&CaCertificate> {
        self.0.get(name)
    }

    /// Puts a certificate under a name and returns the one it replaced.
    pub fn insert(&mut self, name: CertificateName, ca: CaCertificate) -> Option<CaCertificate> {
        self.0.insert(name, ca)
    }

    /// Takes a certificate out. References by name dangle from then on (R-D7).
    pub fn remove(&mut self, name: &CertificateName) -> Option<CaCertificate> {
        self.0.remove(name)
    }

    fn verified(&self) -> impl Iterator<Item = &Certificate> {
        self.0
            .values()
            .filter(|ca| ca.verified)
            .map(|ca| &ca.certificate)
    }

    fn is_verified(&self, certificate: &Certificate) -> bool {
        self.verified().any(|verified| verified == certificate)
    }
}

// === impl VerifiedPath ===

impl VerifiedPath {
    /// The device's own certificate.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The CA certificates above the leaf, nearest first. Reaches as high as the presented
    /// certificates do, and includes verified roots the device left out: one at the end, and
    /// one beside the cross certificate of the same key.
    #[must_use]
    pub fn above_leaf(&self) -> &[Certificate] {
        &self.above
    }

    /// The verified certificate nearest the leaf.
    #[must_use]
    pub fn anchor(&self) -> &Certificate {
        &self.above[self.anchor]
    }
}

/// Walks from the leaf upwards to a verified CA certificate and as far beyond as was presented.
///
/// The presented certificates must be in issuing order; the walk ends at the first that does not
/// continue it, and what comes later is passed over.
/// What ends the walk is an error only if no verified certificate was reached before it.
/// Nothing is completed from the store but verified self-signed roots (I-3), each behind the
/// certificate that it signed: where a root is cross-signed, its cross certificate leads on to
/// another root, and what it issued leads to the root itself.
///
/// Takes:   a leaf-first chain; `now` in Unix seconds.
/// Gives:   [`VerifiedPath`].
/// Errors:  the leaf's validity first, then what stopped the walk, then
///          [`PathError::NoVerifiedAnchor`].
/// Cost:    one signature check per presented certificate and per stored root of a fitting name.
/// Source:  behaviour.md R-A12, R-A16, R-A17, R-A20, I-3, I-14.
pub fn build(
    chain: &Chain,
    store: &CaStore,
    settings: &Settings,
    now: UnixTime,
) -> Result<VerifiedPath, PathError> {
    check_validity(chain.leaf(), settings, now)?;
    let (walked, stopped) = walk(chain, settings, now);
    let last_issuer = walked.last().unwrap_or(chain.leaf()).issuer().to_owned();
    let (above, stopped) = if settings.require_anchor_in_chain {
        (walked, stopped)
    } else {
        with_omitted_roots(chain.leaf(), walked, stopped, store, settings, now)
    };
    if let Some(anchor) = above
        .iter()
        .position(|certificate| store.is_verified(certificate))
    {
        return Ok(VerifiedPath {
            leaf: chain.leaf().clone(),
            above,
            anchor,
        });
    }
    Err(stopped.unwrap_or(PathError::NoVerifiedAnchor { last_issuer }))
}

/// The presented certificates that continue the leaf, and what was wrong with the next one.
fn walk(
    chain: &Chain,
    settings: &Settings,
    now: UnixTime,
) -> (Vec<Certificate>, Option<PathError>) {
    let mut above: Vec<Certificate> = Vec::new();
    for next in chain.above_leaf() {
        let below = above.last().unwrap_or(chain.leaf());
        if below.is_self_issued() && below == next || !below.is_issued_under_name_of(next) {
            break;
        }
        if let Err(error) = check_issuer(below, next, settings, now) {
            return (above, Some(error));
        }
        above.push(next.clone());
    }
    (above, None)
}

/// What was walked, from the leaf on, with the verified roots that were left out, each behind the
/// certificate that it signed (R-A16, R-A17, I-3); and what stopped the walk, or else was wrong
/// with such a root.
fn with_omitted_roots(
    leaf: &Certificate,
    walked: Vec<Certificate>,
    mut stopped: Option<PathError>,
    store: &CaStore,
    settings: &Settings,
    now: UnixTime,
) -> (Vec<Certificate>, Option<PathError>) {
    let mut above: Vec<Certificate> = Vec::new();
    let mut below = leaf.clone();
    let mut rest = walked.into_iter().peekable();
    loop {
        // A verified issuer that was presented needs no stand-in.
        let shown = rest.peek().is_some_and(|next| store.is_verified(next));
        let root = (!shown).then(|| omitted_root(&below, store, settings, now));
        match root.flatten() {
            Some(Ok(root)) if !above.contains(&root) => above.push(root),
            Some(Err(error)) => stopped = stopped.or(Some(error)),
            Some(Ok(_)) | None => {}
        }
        let Some(next) = rest.next() else {
            return (above, stopped);
        };
        above.push(next.clone());
        below = next;
    }
}

/// The verified self-signed root that issued `top`, if it is not `top` itself (R-A17, I-3).
/// Several roots may share a name after a roll; the one whose key signed is meant.
fn omitted_root(
    top: &Certificate,
    store: &CaStore,
    settings: &Settings,
    now: UnixTime,
) -> Option<Result<Certificate, PathError>> {
    // The store's copy remembers what was found out about it; a presented one never does.
    let known = store.verified().find(|known| *known == top);
    if known.unwrap_or(top).is_self_signed() {
        return None;
    }
    let root = store.verified().find(|root| {
        top.is_issued_under_name_of(root) && root.is_self_signed() && top.verify_signed_by(root)
    })?;
    Some(check_issuer(top, root, settings, now).map(|()| root.clone()))
}

fn check_issuer(
    below: &Certificate,
    issuer: &Certificate,
    settings: &Settings,
    now: UnixTime,
) -> Result<(), PathError> {
    if !below.verify_signed_by(issuer) {
        let (subject, issuer) = (below.subject().to_owned(), issuer.subject().to_owned());
        return Err(PathError::BadSignature { subject, issuer });
    }
    if !issuer.is_ca() {
        let subject = issuer.subject().to_owned();
        return Err(PathError::NotACertificateAuthority { subject });
    }
    check_validity(issuer, settings, now)
}

/// Judges a certificate's period, both end seconds included.
///
/// # Errors
/// [`PathError::NotYetValid`] and [`PathError::Expired`]; none if the setting is off.
///
/// Source: behaviour.md R-A20, I-14.
pub fn check_validity(
    certificate: &Certificate,
    settings: &Settings,
    now: UnixTime,
) -> Result<(), PathError> {
    let validity = certificate.validity();
    if !settings.check_validity || validity.holds_at(now) {
        return Ok(());
    }
    let subject = certificate.subject().to_owned();
    Err(if now < validity.not_before {
        PathError::NotYetValid {
            subject,
            now,
            not_before: validity.not_before,
        }
    } else {
        PathError::Expired {
            subject,
            now,
            not_after: validity.not_after,
        }
    })
}

#[cfg(test)]
mod tests;
