//! What does it cost to lead a chain to a verified CA certificate, over the signatures in it?
//!
//! Unit: CPU time for each `certificate::path::build`, for chains of 2, 3 and 6 certificates with
//! the root presented and verified. Yardstick: the signature checks that nobody can save, one
//! for each certificate below the root, over the same bytes with the same keys by aws-lc-rs.
//!
//! Estimate: a check of an ECDSA P-256 signature takes about 50 µs; names are compared and
//! certificates shared for well under 1 µs each. So 1.02 × or less.

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use criterion::{BatchSize, Criterion};
use linarite_core::certificate::path::{CaCertificate, CaStore, build};
use linarite_core::certificate::{Certificate, Chain};
use linarite_core::id::CertificateName;
use linarite_core::limits::CHAIN_LENGTH_MAX;
use linarite_core::settings::Settings;
use linarite_core::time::UnixTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::common::ratio::{self, Effort, Subject, cpu, interleave};
use crate::common::stage::{self, ISSUER, ROOT};

/// Any moment within the life of the certificates.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);

/// The name of the leaf.
pub(crate) const DEVICE: &str = "dev-000001";

/// A leaf, what is above it, and the store that has its root verified.
pub(crate) struct Presented {
    ders: Vec<Vec<u8>>,
    /// The store.
    pub(crate) store: CaStore,
}

impl Presented {
    /// A chain of `length` certificates, root included.
    pub(crate) fn new(length: usize) -> anyhow::Result<Self> {
        let pki = stage::tower(length.saturating_sub(2))?;
        let issuer = if length > 2 { ISSUER } else { ROOT };
        let credential = stage::credential(&pki, issuer, DEVICE, 1)?;
        let root = Certificate::from_der(pki.certificate_der(ROOT)?)?;
        // As it was when the certificate was uploaded and looked at.
        anyhow::ensure!(root.is_self_signed());
        let mut store = CaStore::new();
        let verified = CaCertificate {
            certificate: root,
            verified: true,
        };
        store.insert(CertificateName::parse(ROOT)?, verified);
        let ders = credential.chain().iter().map(|der| der.to_vec()).collect();
        Ok(Self { ders, store })
    }

    /// The chain as a new connection brings it: parsed anew, so nothing about it is known.
    pub(crate) fn chain(&self) -> anyhow::Result<Chain> {
        let ders = self.ders.iter().map(Vec::as_slice);
        Ok(Chain::from_der(ders, CHAIN_LENGTH_MAX)?)
    }

    /// The signatures below the root.
    pub(crate) fn signatures(&self) -> anyhow::Result<Vec<Signature>> {
        self.ders
            .windows(2)
            .map(|pair| Signature::read(&pair[0], &pair[1]))
            .collect()
    }
}

/// A signature with what it is over and the key that made it.
pub(crate) struct Signature {
    signed: Vec<u8>,
    signature: Vec<u8>,
    key: Vec<u8>,
}

impl Signature {
    fn read(certificate: &[u8], issuer: &[u8]) -> anyhow::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate)?;
        let (_, issuer) = X509Certificate::from_der(issuer)?;
        Ok(Self {
            signed: certificate.tbs_certificate.as_ref().to_vec(),
            signature: certificate.signature_value.data.to_vec(),
            key: issuer.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Checks it.
    pub(crate) fn verify(&self) -> anyhow::Result<()> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.key)
            .verify(&self.signed, &self.signature)
            .ok()
            .context("the signature does not hold")
    }
}

/// CPU time of checking `signatures` so many times.
pub(crate) fn verify_all(
    signatures: &[Signature],
    times: u32,
) -> anyhow::Result<std::time::Duration> {
    let before = cpu();
    for _ in 0..times {
        signatures.iter().try_for_each(Signature::verify)?;
    }
    Ok(cpu() - before)
}

/// `path::build` by itself.
pub(crate) fn single(criterion: &mut Criterion) -> anyhow::Result<()> {
    for length in [2, 3, 6] {
        let presented = Presented::new(length)?;
        let chain = presented.chain()?;
        criterion.bench_function(&format!("path, {length} certificates"), |bencher| {
            bencher.iter_batched(
                || presented.chain().unwrap_or_else(|_| chain.clone()),
                |chain| build(&chain, &presented.store, &Settings::default(), NOW),
                BatchSize::SmallInput,
            );
        });
    }
    Ok(())
}

/// `path::build` over the raw signature checks.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let figures = [
        (2, "path of 2 certificates", "1 signature check"),
        (3, "path of 3 certificates", "2 signature checks"),
        (6, "path of 6 certificates", "5 signature checks"),
    ];
    let mut lines = Vec::new();
    for (length, figure, yardstick) in figures {
        let presented = Presented::new(length)?;
        let signatures = presented.signatures()?;
        let settings = Settings::default();
        let mut subjects: [Subject<'_>; 2] = [
            Box::new(|times| {
                let chains: Vec<Chain> = (0..times)
                    .map(|_| presented.chain())
                    .collect::<Result<_, _>>()?;
                let before = cpu();
                for chain in &chains {
                    build(chain, &presented.store, &settings, NOW)?;
                }
                Ok(cpu() - before)
            }),
            Box::new(|times| verify_all(&signatures, times)),
        ];
        let samples = interleave(Effort::new(thorough, 60, 50), &mut subjects)?;
        lines.push(samples.line(figure, 0, (yardstick, 1), None));
    }
    Ok(lines)
}
