//! Where certificates and keys lie, and how they are read and written.
//!
//! Written are `NAME.cert.pem`, `NAME.key.pem` (readable by its owner alone), `NAME.chain.pem`
//! and `NAME.proof.pem`. Read are also `NAME.pem`, `NAME.crt` and `NAME.key`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use linarite_core::certificate::Certificate;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::pki::certificate_to_pem;
use crate::pki::files::{read_certificates, read_key};

/// Longest path to a root; a longer one is a circle.
const PATH_MAX: usize = 16;

/// A certificate authority as it lies in files.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: Certificate,
    pub(super) certificate_path: PathBuf,
    pub(super) key_path: PathBuf,
}

/// A directory of certificates and keys.
pub(super) struct Directory {
    path: PathBuf,
    /// Whether files that exist are replaced.
    force: bool,
}

pub(super) fn certificate(name: &str) -> anyhow::Result<String> {
    file_name(name, "cert.pem")
}

pub(super) fn key(name: &str) -> anyhow::Result<String> {
    file_name(name, "key.pem")
}

pub(super) fn chain(name: &str) -> anyhow::Result<String> {
    file_name(name, "chain.pem")
}

pub(super) fn proof(name: &str) -> anyhow::Result<String> {
    file_name(name, "proof.pem")
}

fn file_name(name: &str, ending: &str) -> anyhow::Result<String> {
    let harmless = |character: char| !character.is_control() && !"/\\:".contains(character);
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.chars().all(harmless),
        "{name:?} cannot name a file: expected a name without path separators, \
         not beginning with a dot",
    );
    Ok(format!("{name}.{ending}"))
}

impl Directory {
    pub(super) fn new(path: PathBuf, force: bool) -> Self {
        Self { path, force }
    }

    /// The authority `name`, to sign with.
    pub(super) fn authority(&self, name: &str) -> anyhow::Result<Authority> {
        let certificate_path = self.find(name, &["cert.pem", "pem", "crt"], "certificate")?;
        let key_path = self.find(name, &["key.pem", "key"], "key")?;
        let certificate = read_certificates(&certificate_path)?.swap_remove(0);
        ensure!(
            certificate.is_ca(),
            "{}: expected the certificate of an authority (CA:TRUE); {} may not sign others",
            certificate_path.display(),
            certificate.subject(),
        );
        let key = read_key(&key_path)?;
        let der = CertificateDer::from(certificate.der());
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .with_context(|| format!("{}: cannot issue", certificate_path.display()))?;
        Ok(Authority {
            issuer,
            certificate,
            certificate_path,
            key_path,
        })
    }

    /// The certificates from `authority` up to and including its root, PEM.
    pub(super) fn path_to_root(&self, authority: &Authority) -> anyhow::Result<String> {
        let known = self.authorities()?;
        let mut pem = String::new();
        let mut current = authority.certificate.clone();
        for _ in 0..PATH_MAX {
            pem.push_str(&certificate_to_pem(&CertificateDer::from(current.der())));
            if current.is_self_signed() {
                return Ok(pem);
            }
            let above = known
                .iter()
                .find(|ca| current.is_issued_under_name_of(ca) && current.verify_signed_by(ca));
            current = above.cloned().with_context(|| {
                format!(
                    "{}: expected the certificate of {}, which issued {}, as a .pem or .crt file",
                    self.path.display(),
                    current.issuer(),
                    current.subject(),
                )
            })?;
        }
        bail!(
            "{}: the authorities issue each other in a circle",
            self.path.display()
        )
    }

    /// Whatever authorities there are, by the first certificate of each file, in order of names.
    fn authorities(&self) -> anyhow::Result<Vec<Certificate>> {
        let listing = fs::read_dir(&self.path)
            .with_context(|| format!("cannot list {}", self.path.display()))?;
        let mut paths = listing
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| {
            path.extension()
                .is_some_and(|it| it == "pem" || it == "crt")
        });
        paths.sort();
        // Keys, and what else lies there, are none of our business.
        let read = paths.iter().filter_map(|path| read_certificates(path).ok());
        Ok(read
            .map(|mut found| found.swap_remove(0))
            .filter(Certificate::is_ca)
            .collect())
    }

    fn find(&self, name: &str, endings: &[&str], what: &str) -> anyhow::Result<PathBuf> {
        let mut tried = Vec::new();
        for ending in endings {
            let name = file_name(name, ending)?;
            let path = self.path.join(&name);
            if path.is_file() {
                return Ok(path);
            }
            tried.push(name);
        }
        bail!(
            "{}: expected the {what} of the issuer {name:?} in one of: {}",
            self.path.display(),
            tried.join(", "),
        )
    }

    /// Fails if one of the files exists and must not be replaced.
    pub(super) fn require_free(&self, names: &[String]) -> anyhow::Result<()> {
        for path in names.iter().map(|name| self.path.join(name)) {
            if !self.force && path.exists() {
                bail!("{} exists already; --force replaces it", path.display());
            }
        }
        Ok(())
    }

    /// Writes the files; gives their paths.
    pub(super) fn write_all(
        &self,
        names: &[String],
        contents: &[&str],
    ) -> anyhow::Result<Vec<PathBuf>> {
        fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the directory {}", self.path.display()))?;
        let write = |(name, content): (&String, &&str)| {
            let path = self.path.join(name);
            self.write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        names.iter().zip(contents).map(write).collect()
    }

    fn write(&self, path: &Path, content: &str) -> std::io::Result<()> {
        if self.force {
            // A new file, so that an old one's permissions do not live on.
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if path.to_string_lossy().ends_with(".key.pem") {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        options.open(path)?.write_all(content.as_bytes())
    }
}
