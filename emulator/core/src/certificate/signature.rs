//! Which signature over which key is judged by which algorithm.

use std::fmt;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// The kinds of public key DPS accepts (R-A7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyAlgorithm {
    /// EC on P-256.
    P256,
    /// EC on P-384.
    P384,
    /// EC on P-521.
    P521,
    /// RSA of any size; signatures are judged from 2048 bits on.
    Rsa,
}

impl fmt::Display for PublicKeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "EC P-256",
            Self::P384 => "EC P-384",
            Self::P521 => "EC P-521",
            Self::Rsa => "RSA",
        })
    }
}

/// How a certificate was signed, as far as that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Ecdsa(Digest),
    RsaPkcs1(Digest),
    RsaPss(Digest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// A public key, ready to judge signatures.
#[derive(Clone, Copy)]
pub(super) struct PublicKey<'a> {
    pub(super) algorithm: PublicKeyAlgorithm,
    pub(super) bytes: &'a [u8],
}

impl PublicKey<'_> {
    pub(super) fn made(&self, scheme: Scheme, signature: &[u8], signed: &[u8]) -> bool {
        match verifier(self.algorithm, scheme) {
            Some(algorithm) => UnparsedPublicKey::new(algorithm, self.bytes)
                .verify(signed, signature)
                .is_ok(),
            None => false,
        }
    }
}

/// A pair of key and scheme that do not fit each other has no verifier.
fn verifier(key: PublicKeyAlgorithm, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    use Digest::{Sha256, Sha384, Sha512};
    use PublicKeyAlgorithm::{P256, P384, P521, Rsa};
    use Scheme::{Ecdsa, RsaPkcs1, RsaPss};
    Some(match (key, scheme) {
        (P256, Ecdsa(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (P256, Ecdsa(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
        (P256, Ecdsa(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
        (P384, Ecdsa(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
        (P384, Ecdsa(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (P384, Ecdsa(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
        (P521, Ecdsa(Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
        (P521, Ecdsa(Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
        (P521, Ecdsa(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (Rsa, RsaPkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Rsa, RsaPkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Rsa, RsaPkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (Rsa, RsaPss(Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
        (Rsa, RsaPss(Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
        (Rsa, RsaPss(Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
        (P256 | P384 | P521, RsaPkcs1(_) | RsaPss(_)) | (Rsa, Ecdsa(_)) => return None,
    })
}
