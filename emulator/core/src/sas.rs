//! Shared access signatures: parsing, judging, signing, and the derivation of device keys.
//!
//! The signed text is the resource exactly as it was received (wire.md W2), so no part of it is
//! decoded before the signature has been judged.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::SymmetricKey;
use crate::time::UnixTime;

const PREFIX: &str = "SharedAccessSignature ";

/// A parsed token, not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAccessSignature {
    sr: String,
    sig: Vec<u8>,
    se: UnixTime,
    se_as_written: String,
    skn: Option<String>,
}

/// Why a token is unreadable or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SasError {
    /// A field stands twice.
    #[error("the token names {field} more than once")]
    DuplicateField {
        /// Its name.
        field: &'static str,
    },
    /// The token's time is over.
    #[error("the token expired at {expiry}; it is {now}")]
    Expired {
        /// The token's `se`.
        expiry: UnixTime,
        /// The moment of judging.
        now: UnixTime,
    },
    /// A field is missing or unreadable.
    #[error("the token's {field} is missing or unreadable")]
    MalformedField {
        /// Its name.
        field: &'static str,
    },
    /// The text does not begin like a token.
    #[error("the text does not begin with \"SharedAccessSignature \"")]
    NotAToken,
    /// None of the keys made this signature.
    #[error("none of {keys} keys made the signature over {resource}")]
    SignatureMismatch {
        /// The resource as written.
        resource: String,
        /// Keys tried.
        keys: usize,
    },
}

impl SharedAccessSignature {
    /// Reads a token: fields by name, in any order; unknown fields are passed over.
    ///
    /// # Errors
    /// [`SasError`] names the field that is missing, doubled or unreadable.
    ///
    /// Source: wire.md W2, W4.
    pub fn parse(text: &str) -> Result<Self, SasError> {
        let fields = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(SasError::NotAToken)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for pair in fields.trim().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "se" => set(&mut se, "se", value)?,
                "sig" => set(&mut sig, "sig", value)?,
                "skn" => set(&mut skn, "skn", value)?,
                "sr" => set(&mut sr, "sr", value)?,
                _ => {}
            }
        }
        let sr = sr
            .filter(|sr| !sr.is_empty())
            .ok_or(SasError::MalformedField { field: "sr" })?;
        let sig = sig.and_then(|sig| STANDARD.decode(percent_decode(sig)).ok());
        let se_as_written = se.ok_or(SasError::MalformedField { field: "se" })?;
        let se = se_as_written
            .parse()
            .map_err(|_| SasError::MalformedField { field: "se" })?;
        Ok(Self {
            sr: sr.to_owned(),
            sig: sig.ok_or(SasError::MalformedField { field: "sig" })?,
            se: UnixTime(se),
            se_as_written: se_as_written.to_owned(),
            skn: skn.filter(|skn| !skn.is_empty()).map(text_of),
        })
    }

    /// The resource exactly as received: what the signature covers.
    #[must_use]
    pub fn sr(&self) -> &str {
        &self.sr
    }

    /// The resource, percent-decoded.
    #[must_use]
    pub fn resource(&self) -> String {
        text_of(&self.sr)
    }

    /// First second at which the token no longer holds.
    #[must_use]
    pub fn expiry(&self) -> UnixTime {
        self.se
    }

    /// The policy or key name; an empty one counts as none.
    #[must_use]
    pub fn skn(&self) -> Option<&str> {
        self.skn.as_deref()
    }

    /// Judges the signature, then the expiry. The token holds before its expiry second.
    ///
    /// # Errors
    /// [`SasError::SignatureMismatch`] when no key made it, [`SasError::Expired`] afterwards.
    ///
    /// Source: wire.md W2; behaviour.md R-A31, R-G11.
    pub fn verify(&self, keys: &[&SymmetricKey], now: UnixTime) -> Result<(), SasError> {
        self.check_signature(keys)?;
        self.check_expiry(now)
    }

    /// Judges the signature alone.
    ///
    /// # Errors
    /// [`SasError::SignatureMismatch`] when no key made it.
    ///
    /// Source: wire.md W2.
    pub fn check_signature(&self, keys: &[&SymmetricKey]) -> Result<(), SasError> {
        if keys.iter().any(|key| self.is_signed_by(key)) {
            return Ok(());
        }
        Err(SasError::SignatureMismatch {
            resource: self.sr.clone(),
            keys: keys.len(),
        })
    }

    /// Whether this key made the signature over the resource as received. Expiry is not judged.
    ///
    /// Source: wire.md W2.
    #[must_use]
    pub fn is_signed_by(&self, key: &SymmetricKey) -> bool {
        let signed = format!("{}\n{}", self.sr, self.se_as_written);
        hmac::verify(&hmac_key(key), signed.as_bytes(), &self.sig).is_ok()
    }

    /// Whether the token's time is not over.
    ///
    /// # Errors
    /// [`SasError::Expired`] from the expiry second on.
    ///
    /// Source: behaviour.md R-G11.
    pub fn check_expiry(&self, now: UnixTime) -> Result<(), SasError> {
        if now < self.se {
            Ok(())
        } else {
            Err(SasError::Expired {
                expiry: self.se,
                now,
            })
        }
    }
}

/// The key of one device of a symmetric-key group.
///
/// Source: behaviour.md R-A33 (the spelling of `id` matters).
#[must_use]
pub fn derive_device_key(group: &SymmetricKey, id: &str) -> SymmetricKey {
    SymmetricKey::from_tag(&tag(group, id))
}

/// Makes a token over `resource_as_written`, which goes in as it is.
///
/// Source: behaviour.md R-A31; wire.md W2.
#[must_use]
pub fn sign(
    resource_as_written: &str,
    expiry: UnixTime,
    key: &SymmetricKey,
    skn: Option<&str>,
) -> String {
    let signature = STANDARD.encode(tag(key, &format!("{resource_as_written}\n{expiry}")));
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let mut token = format!("{PREFIX}sr={resource_as_written}&sig={signature}&se={expiry}");
    if let Some(skn) = skn {
        token.push_str("&skn=");
        token.push_str(skn);
    }
    token
}

fn set<'a>(
    place: &mut Option<&'a str>,
    field: &'static str,
    value: &'a str,
) -> Result<(), SasError> {
    if place.replace(value).is_some() {
        return Err(SasError::DuplicateField { field });
    }
    Ok(())
}

fn hmac_key(key: &SymmetricKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.bytes())
}

fn tag(key: &SymmetricKey, text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // An HMAC-SHA256 tag has 32 bytes, so the lengths agree.
    bytes.copy_from_slice(hmac::sign(&hmac_key(key), text.as_bytes()).as_ref());
    bytes
}

/// Decodes `%xx` in either hex case; anything else, a stray `%` too, stays as it is (W4).
fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

fn text_of(escaped: &str) -> String {
    String::from_utf8_lossy(&percent_decode(escaped)).into_owned()
}

/// The value of a digit already known to be hexadecimal.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests;
