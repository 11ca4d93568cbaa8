//! Certificates and keys that lie in files, made by openssl or whatever a company has.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use linarite_core::certificate::{Certificate, CertificateError};
use rcgen::KeyPair;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest file that is read, in bytes. A chain of certificates has a few thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is longer than any file of certificates.
    #[error("{}: longer than {FILE_BYTES_MAX} bytes, which no file of certificates is", .0.display())]
    TooLong(PathBuf),
    /// PEM that breaks off or is not base64.
    #[error("{}: broken PEM: {error}", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        error: pem::Error,
    },
    /// One of its certificates is none.
    #[error("{}: certificate {number}: {error}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// No certificate in it.
    #[error("{}: expected PEM with at least one BEGIN CERTIFICATE block", .0.display())]
    NoCertificate(PathBuf),
    /// A key behind a passphrase.
    #[error(
        "{}: the key is encrypted; expected an unencrypted PEM key, such as \
         `openssl pkey -in {} -out plain.key` writes",
        .0.display(), .0.display()
    )]
    EncryptedKey(PathBuf),
    /// No key in it.
    #[error(
        "{}: expected an unencrypted PEM key: PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A key that cannot sign certificates here.
    #[error(
        "{}: expected an RSA key of 2048 to 8192 bits or one on P-256, P-384 or P-521",
        .0.display()
    )]
    KeyKind(PathBuf),
}

/// All certificates in a PEM file, in its order; at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, FileError> {
    let bytes = read(path)?;
    let mut certificates = Vec::new();
    for section in CertificateDer::pem_slice_iter(&bytes) {
        let der = section.map_err(|error| FileError::BrokenPem {
            path: path.to_owned(),
            error,
        })?;
        let number = certificates.len() + 1;
        let parsed = Certificate::from_der(&der).map_err(|error| FileError::Certificate {
            path: path.to_owned(),
            number,
            error,
        })?;
        certificates.push(parsed);
    }
    if certificates.is_empty() {
        return Err(FileError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

/// The first key in a PEM file: PKCS #8, SEC1 or PKCS #1, not encrypted.
pub(crate) fn read_key(path: &Path) -> Result<KeyPair, FileError> {
    let bytes = read(path)?;
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        // PKCS #8 says so in its label, the older forms in a header.
        let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"4,ENCRYPTED"];
        let says = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
        match encrypted.into_iter().any(says) {
            true => FileError::EncryptedKey(path.to_owned()),
            false => FileError::NoKey(path.to_owned()),
        }
    })?;
    KeyPair::try_from(&der).map_err(|_| FileError::KeyKind(path.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let whole = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    if whole as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}
