//! `linarite pki`: makes certificate authorities, device certificates and proofs of possession
//! as files, and shows what is in such files.
//!
//! Authorities made elsewhere, by openssl for instance, serve as issuers like those made here:
//! they only have to lie in the same directory under the names `files` looks for.

mod files;
mod show;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use linarite_core::certificate::Certificate;
use linarite_env::Clock;
use rcgen::{CertificateParams, KeyPair};

use crate::pki::{template_of_authority, template_of_leaf};

use files::{Authority, Directory};

/// Seconds by which a certificate begins early, for peers whose clocks are late.
const BACKDATE: i64 = 300;

const DAY: i64 = 86_400;

/// Arguments of `linarite pki`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// Directory the files are written to and issuers are read from
    #[arg(long, global = true, value_name = "DIR", default_value = "pki")]
    out: PathBuf,
    /// Days the certificate is valid [default: root 3650, intermediate 1825, leaf 90, proof 1]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Replace files that exist
    #[arg(long, global = true)]
    force: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a self-signed certificate authority: NAME.cert.pem, NAME.key.pem
    Root {
        /// Name of the files, and common name of the subject
        name: String,
    },
    /// Make a certificate authority signed by another: NAME.cert.pem, NAME.key.pem
    Intermediate {
        /// Name of the files, and common name of the subject
        name: String,
        /// Name of the authority that signs
        #[arg(long, value_name = "NAME")]
        issuer: String,
    },
    /// Make a device certificate: CN.cert.pem, CN.key.pem, and CN.chain.pem up to the root
    Leaf {
        /// Common name: the registration id of the device
        #[arg(value_name = "CN")]
        common_name: String,
        /// Name of the authority that signs
        #[arg(long, value_name = "NAME")]
        issuer: String,
    },
    /// Prove to DPS that an authority's key is at hand: NAME.proof.pem
    Proof {
        /// The verification code DPS gave
        code: String,
        /// Name of the authority whose key is proven
        #[arg(long, value_name = "NAME")]
        issuer: String,
    },
    /// Show the certificates in PEM files
    Show {
        /// Files made here or elsewhere
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Runs `linarite pki`.
///
/// # Errors
/// When a file cannot be read or written, is not what it should be, or would be overwritten.
pub fn execute(args: Args) -> anyhow::Result<()> {
    let mut told = Vec::new();
    let done = run(args, Clock::system().now().0, &mut told);
    // Also what came before a failure.
    super::print(&String::from_utf8_lossy(&told)).context("cannot print")?;
    done
}

/// Does what `args` say, `now` being Unix seconds, and tells `out` about it.
fn run(args: Args, now: i64, out: &mut dyn Write) -> anyhow::Result<()> {
    let directory = Directory::new(args.out, args.force);
    let maker = Maker {
        directory,
        now,
        days: args.days,
    };
    let written = match &args.action {
        Action::Root { name } => maker.root(name)?,
        Action::Intermediate { name, issuer } => maker.intermediate(name, issuer)?,
        Action::Leaf {
            common_name,
            issuer,
        } => maker.leaf(common_name, issuer)?,
        Action::Proof { code, issuer } => maker.proof(code, issuer)?,
        Action::Show { files } => return files.iter().try_for_each(|file| show::show(file, out)),
    };
    for path in written {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

struct Maker {
    directory: Directory,
    now: i64,
    days: Option<u32>,
}

impl Maker {
    fn root(&self, name: &str) -> anyhow::Result<Vec<PathBuf>> {
        let names = [files::certificate(name)?, files::key(name)?];
        self.directory.require_free(&names)?;
        let (from, until) = self.validity(3_650);
        let key = KeyPair::generate()?;
        let certificate = template_of_authority(name, from, until)?.self_signed(&key)?;
        self.directory
            .write_all(&names, &[&certificate.pem(), &key.serialize_pem()])
    }

    fn intermediate(&self, name: &str, issuer: &str) -> anyhow::Result<Vec<PathBuf>> {
        let names = [files::certificate(name)?, files::key(name)?];
        self.directory.require_free(&names)?;
        let issuer = self.directory.authority(issuer)?;
        let (from, until) = self.validity(1_825);
        let key = KeyPair::generate()?;
        let certificate = sign(&template_of_authority(name, from, until)?, &key, &issuer)?;
        self.directory
            .write_all(&names, &[&certificate, &key.serialize_pem()])
    }

    fn leaf(&self, common_name: &str, issuer: &str) -> anyhow::Result<Vec<PathBuf>> {
        let names = [
            files::certificate(common_name)?,
            files::key(common_name)?,
            files::chain(common_name)?,
        ];
        self.directory.require_free(&names)?;
        let issuer = self.directory.authority(issuer)?;
        let above = self.directory.path_to_root(&issuer)?;
        let (from, until) = self.validity(90);
        let key = KeyPair::generate()?;
        let certificate = sign(&template_of_leaf(common_name, from, until)?, &key, &issuer)?;
        let chain = format!("{certificate}{above}");
        self.directory
            .write_all(&names, &[&certificate, &key.serialize_pem(), &chain])
    }

    fn proof(&self, code: &str, issuer: &str) -> anyhow::Result<Vec<PathBuf>> {
        let names = [files::proof(issuer)?];
        self.directory.require_free(&names)?;
        let issuer = self.directory.authority(issuer)?;
        let (from, until) = self.validity(1);
        let key = KeyPair::generate()?;
        let certificate = sign(&template_of_leaf(code, from, until)?, &key, &issuer)?;
        self.directory.write_all(&names, &[&certificate])
    }

    /// First and last second of a certificate made now, Unix seconds.
    fn validity(&self, usual_days: u32) -> (i64, i64) {
        let days = self.days.unwrap_or(usual_days);
        (self.now - BACKDATE, self.now + i64::from(days) * DAY)
    }
}

/// Signs, and makes sure that key and certificate of the issuer belong together.
fn sign(params: &CertificateParams, key: &KeyPair, issuer: &Authority) -> anyhow::Result<String> {
    let signed = params
        .signed_by(key, &issuer.issuer)
        .with_context(|| format!("cannot sign with {}", issuer.key_path.display()))?;
    let parsed = Certificate::from_der(signed.der())?;
    anyhow::ensure!(
        parsed.verify_signed_by(&issuer.certificate),
        "{} is not the key of {}",
        issuer.key_path.display(),
        issuer.certificate_path.display(),
    );
    Ok(signed.pem())
}
