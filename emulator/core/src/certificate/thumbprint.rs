//! Digests by which a hub knows a certificate.

use std::fmt;

use super::Certificate;

/// The digest of a certificate as a hub stores it: SHA-1 or SHA-256 (R-F11).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// 40 hex digits.
    Sha1([u8; 20]),
    /// 64 hex digits.
    Sha256([u8; 32]),
}

/// Why a text is no thumbprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThumbprintError {
    /// Not the length of a known digest.
    #[error("a thumbprint has 40 or 64 hex digits, not {length}")]
    Length {
        /// Characters found.
        length: usize,
    },
    /// A character that is no hex digit.
    #[error("a thumbprint holds {character:?}, which is no hex digit")]
    NotHex {
        /// The offender.
        character: char,
    },
}

impl Thumbprint {
    /// Reads 40 or 64 hex digits in either case.
    ///
    /// # Errors
    /// [`ThumbprintError`] for another length or another character.
    ///
    /// Source: behaviour.md R-F11.
    pub fn parse(text: &str) -> Result<Self, ThumbprintError> {
        if let Some(character) = text
            .chars()
            .find(|character| !character.is_ascii_hexdigit())
        {
            return Err(ThumbprintError::NotHex { character });
        }
        match text.len() {
            40 => Ok(Self::Sha1(bytes_of(text))),
            64 => Ok(Self::Sha256(bytes_of(text))),
            length => Err(ThumbprintError::Length { length }),
        }
    }

    /// Whether it is the digest of `certificate`.
    #[must_use]
    pub fn matches(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Sha1(bytes) => *bytes == certificate.sha1(),
            Self::Sha256(bytes) => *bytes == certificate.fingerprint(),
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match self {
            Self::Sha1(bytes) => bytes.as_slice(),
            Self::Sha256(bytes) => bytes.as_slice(),
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// `text` holds exactly `2 * N` hex digits: checked by the caller.
fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    bytes
}
