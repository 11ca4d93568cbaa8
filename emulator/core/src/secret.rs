//! Symmetric keys. Their bytes never reach a log.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::limits::{SYMMETRIC_KEY_BYTES_MAX, SYMMETRIC_KEY_BYTES_MIN};

/// A shared secret of 16 to 64 bytes (R-A31). Clones share the bytes.
#[derive(Clone)]
pub struct SymmetricKey(Arc<[u8]>);

/// Why a text or bytes are no symmetric key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too few or too many bytes.
    #[error("a symmetric key of {bytes} bytes is outside {min} to {max}")]
    Length {
        /// Bytes found.
        bytes: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// The text is not base64.
    #[error("a symmetric key is not base64")]
    NotBase64,
}

impl SymmetricKey {
    /// Reads a key from its base64 form.
    ///
    /// # Errors
    /// [`SecretError`] when the text is not base64 or the length is out of bounds.
    ///
    /// Source: behaviour.md R-A31.
    pub fn from_base64(text: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD
            .decode(text.trim())
            .map_err(|_| SecretError::NotBase64)?;
        Self::from_bytes(&bytes)
    }

    /// Takes the key's bytes.
    ///
    /// # Errors
    /// [`SecretError::Length`] when the length is out of bounds.
    ///
    /// Source: behaviour.md R-A31.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        let (min, max) = (SYMMETRIC_KEY_BYTES_MIN, SYMMETRIC_KEY_BYTES_MAX);
        if bytes.len() < min || bytes.len() > max {
            return Err(SecretError::Length {
                bytes: bytes.len(),
                min,
                max,
            });
        }
        Ok(Self(bytes.into()))
    }

    /// A key made of an HMAC tag, whose 32 bytes are within bounds.
    pub(crate) fn from_tag(tag: &[u8; 32]) -> Self {
        Self(Arc::from(tag.as_slice()))
    }

    /// The key in base64, as the service API shows it on request.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The key itself, for those who wrap it for somebody.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for SymmetricKey {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-A31.
    #[test]
    fn a_key_has_16_to_64_bytes() {
        for (length, fits) in [(0, false), (15, false), (16, true), (64, true), (65, false)] {
            let text = STANDARD.encode(vec![7; length]);
            let key = SymmetricKey::from_base64(&text);
            assert_eq!(key.is_ok(), fits, "{length} bytes");
            if let Ok(key) = key {
                assert_eq!(key.to_base64(), text);
            }
        }
        assert_eq!(SymmetricKey::from_base64("?"), Err(SecretError::NotBase64));
    }

    #[test]
    fn debug_output_hides_the_bytes() {
        let key = SymmetricKey::from_bytes(&[7; 16]).unwrap();
        assert_eq!(format!("{key:?}"), "SymmetricKey(…)");
    }
}
