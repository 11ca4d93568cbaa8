//! What is in a file of certificates, for people.

use std::io::Write;
use std::path::Path;

use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_core::time::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::pki::files::read_certificates;

/// Writes what the certificates in `path` say.
pub(super) fn show(path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let certificates = read_certificates(path)?;
    let count = certificates.len();
    for (place, certificate) in certificates.iter().enumerate() {
        writeln!(out, "{} ({} of {count})", path.display(), place + 1)?;
        show_one(certificate, out)?;
    }
    Ok(())
}

fn show_one(certificate: &Certificate, out: &mut dyn Write) -> std::io::Result<()> {
    let validity = certificate.validity();
    let signed = if certificate.is_self_signed() {
        " (self-signed)"
    } else {
        ""
    };
    let authority = if certificate.is_ca() { "yes" } else { "no" };
    writeln!(out, "  subject     {}", certificate.subject())?;
    writeln!(out, "  issuer      {}{signed}", certificate.issuer())?;
    writeln!(out, "  not before  {}", shown(validity.not_before))?;
    writeln!(out, "  not after   {}", shown(validity.not_after))?;
    writeln!(out, "  authority   {authority}")?;
    writeln!(
        out,
        "  SHA-1       {}",
        Thumbprint::Sha1(certificate.sha1())
    )?;
    writeln!(
        out,
        "  SHA-256     {}",
        Thumbprint::Sha256(certificate.fingerprint())
    )
}

fn shown(moment: UnixTime) -> String {
    OffsetDateTime::from_unix_timestamp(moment.0)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{moment} s since 1970"))
}
