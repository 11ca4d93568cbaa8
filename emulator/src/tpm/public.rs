//! The public area of a key that protects others: `TPM2B_PUBLIC`.
//!
//! Taken are the keys that the templates of the TCG and of the device SDKs make: RSA of 2048 bits
//! and ECC on NIST P-256, both with SHA-256 and AES-128-CFB. Any other is refused by name.

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};

use super::marshal::Unread;

pub(super) const ALG_KEYEDHASH: u16 = 0x0008;
pub(super) const ALG_HMAC: u16 = 0x0005;
pub(super) const ALG_SHA256: u16 = 0x000B;
const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
const ALG_NULL: u16 = 0x0010;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const CURVE_NIST_P256: u16 = 0x0003;

/// Attributes of a key that protects others: restricted, decrypts, and does not sign.
const PROTECTS: u32 = RESTRICTED | DECRYPT;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

const RSA_BITS: u16 = 2048;
const RSA_BYTES: usize = 256;
const RSA_EXPONENT: u32 = 65_537;
/// How a TPM writes the usual exponent.
const RSA_EXPONENT_DEFAULT: u32 = 0;

/// Bytes of a coordinate on P-256.
pub(super) const COORDINATE_BYTES: usize = 32;

/// Bytes of a name: the algorithm and the digest.
pub(super) const NAME_BYTES: usize = 2 + 32;

/// A key of a TPM that can protect others.
#[derive(Debug)]
pub(crate) struct PublicArea {
    name: [u8; NAME_BYTES],
    key: AsymmetricKey,
}

/// What a secret is sent to.
#[derive(Debug)]
pub(super) enum AsymmetricKey {
    Rsa(OaepPublicEncryptingKey),
    P256 {
        point: ParsedPublicKey,
        x: [u8; COORDINATE_BYTES],
    },
}

/// Why bytes are not the public area of a key that can protect others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublicAreaError {
    /// The numbers are no key.
    #[error("{0}")]
    NoKey(&'static str),
    /// The key is for something else.
    #[error(
        "expected a storage key: restricted, for decryption and not for signing \
         (attributes {attributes:#010x})"
    )]
    NotForStorage { attributes: u32 },
    /// There is more than the structure holds.
    #[error("{bytes} bytes too many for a TPM2B_PUBLIC")]
    Trailing { bytes: usize },
    /// The structure ends too early.
    #[error("a TPM2B_PUBLIC ends too early")]
    Truncated,
    /// A choice that is not taken here.
    #[error("{what} {found:#06x} is not supported; expected {expected}")]
    Unsupported {
        what: &'static str,
        found: u32,
        expected: &'static str,
    },
}

impl PublicArea {
    /// Reads a `TPM2B_PUBLIC` as the TPM marshals it.
    ///
    /// # Errors
    /// [`PublicAreaError`] says what is wrong with it, or what is not supported.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PublicAreaError> {
        let mut outer = Unread(bytes);
        let area = outer.sized()?;
        outer.end()?;
        let mut unread = Unread(area);
        let kind = unread.u16()?;
        expect("the name algorithm", unread.u16()?, ALG_SHA256, "SHA-256")?;
        check_attributes(unread.u32()?)?;
        let _policy = unread.sized()?;
        let key = match kind {
            ALG_RSA => rsa(&mut unread)?,
            ALG_ECC => ecc(&mut unread)?,
            other => {
                return Err(PublicAreaError::Unsupported {
                    what: "the key type",
                    found: other.into(),
                    expected: "RSA or ECC",
                });
            }
        };
        unread.end()?;
        Ok(Self {
            name: name_of(area),
            key,
        })
    }

    /// What other structures call it.
    pub(super) fn name(&self) -> &[u8; NAME_BYTES] {
        &self.name
    }

    pub(super) fn key(&self) -> &AsymmetricKey {
        &self.key
    }
}

/// The name of an object with this public area (`TPMT_PUBLIC`, without its length).
pub(super) fn name_of(area: &[u8]) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    name[..2].copy_from_slice(&ALG_SHA256.to_be_bytes());
    name[2..].copy_from_slice(digest(&SHA256, area).as_ref());
    name
}

fn expect(
    what: &'static str,
    found: u16,
    wanted: u16,
    expected: &'static str,
) -> Result<(), PublicAreaError> {
    if found == wanted {
        return Ok(());
    }
    let found = found.into();
    Err(PublicAreaError::Unsupported {
        what,
        found,
        expected,
    })
}

fn check_attributes(attributes: u32) -> Result<(), PublicAreaError> {
    if attributes & (PROTECTS | SIGN) == PROTECTS {
        Ok(())
    } else {
        Err(PublicAreaError::NotForStorage { attributes })
    }
}

/// What both kinds begin with: the symmetric cipher for what they protect, and no scheme.
fn check_protection(unread: &mut Unread<'_>) -> Result<(), PublicAreaError> {
    expect("the symmetric algorithm", unread.u16()?, ALG_AES, "AES")?;
    expect("the symmetric key length", unread.u16()?, 128, "128 bits")?;
    expect("the symmetric mode", unread.u16()?, ALG_CFB, "CFB")?;
    expect("the scheme", unread.u16()?, ALG_NULL, "none")
}

fn rsa(unread: &mut Unread<'_>) -> Result<AsymmetricKey, PublicAreaError> {
    check_protection(unread)?;
    expect("the RSA key length", unread.u16()?, RSA_BITS, "2048 bits")?;
    let exponent = unread.u32()?;
    if ![RSA_EXPONENT_DEFAULT, RSA_EXPONENT].contains(&exponent) {
        return Err(PublicAreaError::Unsupported {
            what: "the RSA exponent",
            found: exponent,
            expected: "0, which stands for 65537",
        });
    }
    let modulus = unread.sized()?;
    let full = matches!(modulus, [first, .., last] if first & 0x80 != 0 && last & 1 == 1);
    if modulus.len() != RSA_BYTES || !full {
        return Err(PublicAreaError::NoKey(
            "the RSA modulus is not an odd number of 2048 bits",
        ));
    }
    let components = PublicKeyComponents {
        n: modulus,
        e: &RSA_EXPONENT.to_be_bytes()[1..],
    };
    let key: Result<PublicEncryptingKey, _> = components.try_into();
    key.and_then(OaepPublicEncryptingKey::new)
        .map(AsymmetricKey::Rsa)
        .map_err(|_| PublicAreaError::NoKey("the RSA modulus is none a key can have"))
}

fn ecc(unread: &mut Unread<'_>) -> Result<AsymmetricKey, PublicAreaError> {
    check_protection(unread)?;
    expect("the curve", unread.u16()?, CURVE_NIST_P256, "NIST P-256")?;
    expect("the key derivation", unread.u16()?, ALG_NULL, "none")?;
    let (x, y) = (coordinate(unread)?, coordinate(unread)?);
    let point = [&[4], &x[..], &y[..]].concat();
    ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, point))
        .map(|point| AsymmetricKey::P256 { point, x })
        .map_err(|_| PublicAreaError::NoKey("the point is not on NIST P-256"))
}

/// A coordinate; some TPMs leave leading zeros out.
fn coordinate(unread: &mut Unread<'_>) -> Result<[u8; COORDINATE_BYTES], PublicAreaError> {
    let written = unread.sized()?;
    let mut coordinate = [0; COORDINATE_BYTES];
    let zeros = COORDINATE_BYTES
        .checked_sub(written.len())
        .ok_or(PublicAreaError::NoKey("a coordinate has over 32 bytes"))?;
    coordinate[zeros..].copy_from_slice(written);
    Ok(coordinate)
}
