//! From what clients upload to DER: PEM text, base64 of PEM text, or base64 of DER.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::CertificateError;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Padding may be missing: some clients strip it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The DER of the one certificate in `text` (R-A10).
pub(super) fn decode(text: &str) -> Result<Vec<u8>, CertificateError> {
    if text.contains(BEGIN) {
        return block(text);
    }
    let bytes = base64(text)?;
    match std::str::from_utf8(&bytes) {
        Ok(inner) if inner.contains(BEGIN) => block(inner),
        _ => Ok(bytes),
    }
}

fn block(text: &str) -> Result<Vec<u8>, CertificateError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, after) = after.split_once(DASHES).ok_or(CertificateError::NotText)?;
        if label != "CERTIFICATE" && label != "X509 CERTIFICATE" {
            return Err(CertificateError::ForeignPemBlock {
                label: label.to_owned(),
            });
        }
        let (body, after) = after.split_once(END).ok_or(CertificateError::NotText)?;
        found.push(body);
        rest = after;
    }
    match found.as_slice() {
        [body] => base64(body),
        several => Err(CertificateError::MoreThanOne {
            count: several.len(),
        }),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, CertificateError> {
    let dense: String = text.split_ascii_whitespace().collect();
    BASE64.decode(dense).map_err(|_| CertificateError::NotText)
}
