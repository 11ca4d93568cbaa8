//! The command on real directories, with files of ours and of openssl.

use std::fs;
use std::path::Path;

use clap::Parser;

use super::*;

const NOW: i64 = 1_800_000_000;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A directory of its own for each test, removed at its end.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Self {
        let name = format!("linarite-pki-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, line: &str) -> anyhow::Result<String> {
        let out = self.0.to_str().unwrap();
        let words = ["pki"]
            .into_iter()
            .chain(line.split(' '))
            .chain(["--out", out]);
        let mut told = Vec::new();
        run(Line::try_parse_from(words)?.args, NOW, &mut told)?;
        Ok(String::from_utf8(told)?)
    }

    fn refuse(&self, line: &str) -> String {
        format!("{:#}", self.run(line).unwrap_err())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn certificates(&self, name: &str) -> Vec<Certificate> {
        crate::pki::files::read_certificates(&self.path(name)).unwrap()
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_leaf_comes_with_its_chain_up_to_the_root() {
    let bench = Bench::new("chain");
    bench.run("root r1").unwrap();
    bench.run("intermediate i1 --issuer r1").unwrap();
    let told = bench.run("leaf dev-1 --issuer i1 --days 7").unwrap();
    let names = ["dev-1.cert.pem", "dev-1.key.pem", "dev-1.chain.pem"];
    let expected: Vec<String> = names
        .iter()
        .map(|name| bench.path(name).display().to_string())
        .collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    let chain = bench.certificates("dev-1.chain.pem");
    let subjects: Vec<&str> = chain.iter().filter_map(Certificate::common_name).collect();
    assert_eq!(subjects, ["dev-1", "i1", "r1"]);
    assert!(chain[0].verify_signed_by(&chain[1]) && chain[1].verify_signed_by(&chain[2]));
    let flags: Vec<bool> = chain.iter().map(Certificate::is_ca).collect();
    assert_eq!(flags, [false, true, true]);
    assert_eq!(chain[0].validity().not_after.0, NOW + 7 * DAY);
}

#[cfg(unix)]
#[test]
fn a_key_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new("mode");
    let mode = || {
        fs::metadata(bench.path("r1.key.pem"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    bench.run("root r1").unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(bench.path("r1.key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    bench.run("root r1 --force").unwrap();
    assert_eq!(mode(), 0o600);
}

#[test]
fn nothing_is_overwritten_unasked() {
    let bench = Bench::new("force");
    bench.run("root r1").unwrap();
    let before = fs::read(bench.path("r1.cert.pem")).unwrap();
    let refused = bench.refuse("root r1");
    assert!(
        refused.ends_with("r1.cert.pem exists already; --force replaces it"),
        "{refused}"
    );
    assert_eq!(fs::read(bench.path("r1.cert.pem")).unwrap(), before);
    bench.run("root r1 --force").unwrap();
    assert_ne!(fs::read(bench.path("r1.cert.pem")).unwrap(), before);
}

#[test]
fn a_proof_names_the_code_and_is_signed_by_the_authority() {
    let bench = Bench::new("proof");
    bench.run("root r1").unwrap();
    bench.run("proof 0123ABCD --issuer r1").unwrap();
    let proof = bench.certificates("r1.proof.pem").remove(0);
    assert_eq!(proof.common_name(), Some("0123ABCD"));
    assert!(proof.verify_signed_by(&bench.certificates("r1.cert.pem")[0]));
}

/// A self-signed authority, as PEM.
fn authority(name: &str, key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(key).unwrap().pem()
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// What `openssl ecparam -genkey` writes: the curve, then the key in SEC1 form.
fn openssl_ec() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let pkcs8 = key.serialize_der();
    // The SEC1 structure lies in PKCS #8 whole: version 1, then 32 bytes of key.
    let inner = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = pkcs8
        .windows(inner.len())
        .position(|window| window == inner)
        .unwrap();
    let length = usize::from(pkcs8[at - 1]);
    let curve = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    let text = pem("EC PARAMETERS", &curve) + &pem("EC PRIVATE KEY", &pkcs8[at - 2..at + length]);
    (authority("openssl-ec", &key), text)
}

/// What `openssl genrsa` writes: PKCS #8.
fn openssl_rsa() -> (String, String) {
    let (algorithm, size) = (&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let key = KeyPair::generate_rsa_for(algorithm, size).unwrap();
    (authority("openssl-rsa", &key), key.serialize_pem())
}

#[test]
fn authorities_made_by_openssl_issue() {
    let bench = Bench::new("openssl");
    // A SEC1 key behind its curve's parameters, and an RSA key in PKCS #8.
    let (certificate, key) = openssl_ec();
    bench.put("ec.pem", &certificate);
    bench.put("ec.key", &key);
    let (certificate, key) = openssl_rsa();
    bench.put("rsa.cert.pem", &certificate);
    bench.put("rsa.key.pem", &key);
    for issuer in ["ec", "rsa"] {
        bench
            .run(&format!("leaf dev-{issuer} --issuer {issuer}"))
            .unwrap();
        let chain = bench.certificates(&format!("dev-{issuer}.chain.pem"));
        assert_eq!(chain.len(), 2);
        assert!(chain[0].verify_signed_by(&chain[1]), "{issuer}");
        assert!(chain[0].is_issued_under_name_of(&chain[1]), "{issuer}");
    }
}

#[test]
fn errors_name_the_file_and_what_was_expected() {
    let bench = Bench::new("errors");
    bench.run("root r1").unwrap();
    bench.run("root r2").unwrap();
    bench.run("leaf dev-1 --issuer r1").unwrap();
    let copy = |from: &str, to: &str| fs::copy(bench.path(from), bench.path(to)).unwrap();
    copy("r1.cert.pem", "mixed.cert.pem");
    copy("r2.key.pem", "mixed.key.pem");
    copy("r1.cert.pem", "swapped.cert.pem");
    copy("r1.cert.pem", "swapped.key.pem");
    let table = [
        (
            "leaf d --issuer r3",
            "expected the certificate of the issuer \"r3\" in one of",
        ),
        (
            "leaf d --issuer dev-1",
            "dev-1.cert.pem: expected the certificate of an authority",
        ),
        ("leaf d --issuer mixed", "mixed.key.pem is not the key of"),
        (
            "leaf d --issuer swapped",
            "swapped.key.pem: expected an unencrypted PEM key",
        ),
        ("root ../r", "\"../r\" cannot name a file"),
    ];
    for (line, expected) in table {
        let refused = bench.refuse(line);
        assert!(refused.contains(expected), "{line}: {refused}");
    }
    assert!(!bench.path("d.key.pem").exists());
}

#[test]
fn a_chain_with_a_missing_link_is_refused() {
    let bench = Bench::new("link");
    bench.run("root r1").unwrap();
    bench.run("intermediate i1 --issuer r1").unwrap();
    fs::remove_file(bench.path("r1.cert.pem")).unwrap();
    let refused = bench.refuse("leaf dev-1 --issuer i1");
    assert!(
        refused.contains("expected the certificate of CN=r1, which issued CN=i1"),
        "{refused}"
    );
}

#[test]
fn show_tells_what_openssl_wrote() {
    let bench = Bench::new("show");
    bench.put("ca.pem", &openssl_ec().0);
    let file = bench.path("ca.pem");
    let told = bench.run(&format!("show {}", file.display())).unwrap();
    for expected in [
        "openssl-ec",
        "(self-signed)",
        "authority   yes",
        "(1 of 1)",
        "Z\n",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let hex = |label: &str| {
        let line = told
            .lines()
            .find(|line| line.trim_start().starts_with(label))
            .unwrap();
        line.split_whitespace().last().unwrap().len()
    };
    assert_eq!((hex("SHA-1 "), hex("SHA-256")), (40, 64));
    bench.put("empty.pem", "");
    let refused = bench.refuse(&format!("show {}", bench.path("empty.pem").display()));
    assert!(refused.contains("empty.pem: expected PEM"), "{refused}");
    assert!(
        bench
            .refuse("show /nowhere.pem")
            .contains("cannot read /nowhere.pem")
    );
    assert!(!Path::new("/nowhere.pem").exists());
}
