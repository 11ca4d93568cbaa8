//! Certificates as people make them: by `openssl` on the command line.
//!
//! Made anew for every test in a folder that goes away with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use linarite_emulator::Door;
use linarite_env::{Clock, UnixMillis};
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::support::mqtt::{Connect, Mqtt, telemetry};
use crate::support::{HUB, Lab};

/// A folder for one test.
struct Workshop(PathBuf);

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Workshop {
    /// A folder in which `openssl` works, or `None` with a line on standard error.
    fn open() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: there is no openssl command here");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("linarite-openssl-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Some(Self(folder))
    }

    /// Runs `openssl` with the words of `line`.
    fn openssl(&self, line: &str) {
        let words = line.split_whitespace();
        let output = Command::new("openssl")
            .args(words)
            .current_dir(&self.0)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {line}\n{said}");
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn pem(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// A key of its kind in `name.key` and a request for `name` in `name.csr`.
    fn request(&self, name: &str, key: Key) {
        self.openssl(&format!("genpkey {} -out {name}.key", key.options()));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        ));
    }

    /// A root and an intermediate with P-256 keys and the extensions a CA has.
    fn authorities(&self) {
        self.write(
            "ca.ext",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
        );
        self.request("root", Key::P256);
        self.openssl(
            "x509 -req -in root.csr -signkey root.key -days 400 -extfile ca.ext -out root.pem",
        );
        self.request("middle", Key::P256);
        self.openssl(
            "x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -days 300 \
             -extfile ca.ext -out middle.pem",
        );
    }

    /// A leaf of the intermediate, with the extensions in `extensions` or none at all, which
    /// makes it a certificate of version 1.
    fn leaf(&self, name: &str, key: Key, extensions: Option<&str>) {
        self.request(name, key);
        let extensions = extensions.map_or(String::new(), |text| {
            self.write("leaf.ext", text);
            "-extfile leaf.ext".to_owned()
        });
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 90 \
             {extensions} -out {name}.pem"
        ));
    }

    /// What a client shows that was given these files.
    fn identity(&self, key: &str, chain: &[&str]) -> Arc<dyn ResolvesClientCert> {
        let certificate = |name: &&str| {
            let path = self.0.join(format!("{name}.pem"));
            CertificateDer::from_pem_file(path).unwrap()
        };
        let chain = chain.iter().map(certificate).collect();
        let key = PrivateKeyDer::from_pem_file(self.0.join(format!("{key}.key"))).unwrap();
        // Not by way of rustls's own check of the pair, which refuses version 1.
        Arc::new(Shown(Arc::new(CertifiedKey::new(
            chain,
            any_supported_type(&key).unwrap(),
        ))))
    }
}

#[derive(Clone, Copy)]
enum Key {
    P256,
    P384,
    Rsa2048,
}

impl Key {
    fn options(self) -> &'static str {
        match self {
            Self::P256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Self::P384 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            Self::Rsa2048 => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        }
    }
}

/// Shows one certificate to everybody.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A laboratory in the year of the certificates, a minute after they were made.
fn lab() -> Lab {
    let now = Clock::system().now_ms();
    Lab::at(UnixMillis(now.0 + 60_000), |_| {})
}

/// Registers, connects and sends as `device`, with TLS 1.2 and with 1.3.
async fn is_served(lab: &Lab, device: &str, identity: &Arc<dyn ResolvesClientCert>) {
    for version in [&TLS12, &TLS13] {
        let client = lab.client(Arc::clone(identity), &[version], Resumption::disabled());
        let stream = lab.try_tls(Door::Mqtt, &client).await.unwrap();
        let mut dps = Mqtt { stream };
        assert_eq!(dps.connect(&Connect::dps(device)).await, (0, 0));
        dps.subscribe("$dps/registrations/res/#").await;
        dps.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "")
            .await;
        let accepted = dps.expect().await.json();
        assert_eq!(accepted["status"], "assigning", "{device}: {accepted}");
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let operation = accepted["operationId"].as_str().unwrap();
        let poll = format!(
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}"
        );
        dps.publish(&poll, "").await;
        let assigned = dps.expect().await.json();
        assert_eq!(
            assigned["registrationState"]["assignedHub"], HUB,
            "{device}: {assigned}"
        );
        let stream = lab.try_tls(Door::Mqtt, &client).await.unwrap();
        let mut hub = Mqtt { stream };
        assert_eq!(hub.connect(&Connect::hub(device)).await, (0, 0));
        hub.publish(&telemetry(device), "made by openssl").await;
    }
}

/// Uploads the workshop's root and opens a group for leaves of its intermediate.
async fn open_group(lab: &Lab, workshop: &Workshop) {
    let properties = json!({ "certificate": workshop.pem("root.pem"), "isVerified": true });
    let upload = lab.ca_request("PUT", "openssl-root", "");
    let answer = lab
        .ask(&upload.json(json!({ "properties": properties })), None)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let slot = json!({ "certificate": workshop.pem("middle.pem") });
    let body = json!({
        "enrollmentGroupId": "fleet",
        "attestation": { "type": "x509", "x509": { "signingCertificates": { "primary": slot } } },
    });
    let answer = lab
        .dps("PUT", "/enrollmentGroups/fleet", None, Some(body))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// R-A7, W1: with TLS 1.2 and with 1.3.
#[tokio::test(start_paused = true)]
async fn leaves_of_every_kind_are_served_through_a_group() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    let client_auth = Some("extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n");
    let table = [
        ("ec-v1", Key::P256, None, "Version: 1"),
        ("ec-v3", Key::P256, client_auth, "Version: 3"),
        ("ec-384", Key::P384, client_auth, "Version: 3"),
        ("rsa-v1", Key::Rsa2048, None, "Version: 1"),
        ("rsa-v3", Key::Rsa2048, client_auth, "Version: 3"),
    ];
    let lab = lab();
    open_group(&lab, &workshop).await;
    for (name, key, extensions, version) in table {
        workshop.leaf(name, key, extensions);
        workshop.openssl(&format!("x509 -in {name}.pem -noout -text -out {name}.txt"));
        assert!(
            workshop.pem(&format!("{name}.txt")).contains(version),
            "{name}"
        );
        // With the root and without it (I-3).
        for chain in [&[name, "middle", "root"][..], &[name, "middle"]] {
            is_served(&lab, name, &workshop.identity(name, chain)).await;
        }
    }
}

/// R-A12, W22.
#[tokio::test(start_paused = true)]
async fn self_signed_leaves_are_served_through_entries_of_their_own() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let lab = lab();
    for (name, key) in [("alone-ec", Key::P256), ("alone-rsa", Key::Rsa2048)] {
        workshop.request(name, key);
        workshop.openssl(&format!(
            "x509 -req -in {name}.csr -signkey {name}.key -days 90 -out {name}.pem"
        ));
        let slot = json!({ "certificate": workshop.pem(&format!("{name}.pem")) });
        let body = json!({
            "registrationId": name,
            "attestation": { "type": "x509", "x509": { "clientCertificates": { "primary": slot } } },
        });
        let answer = lab
            .dps("PUT", &format!("/enrollments/{name}"), None, Some(body))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        is_served(&lab, name, &workshop.identity(name, &[name])).await;
    }
}

/// R-E10: nobody asks the lists that a certificate names; none of these can be reached.
#[tokio::test(start_paused = true)]
async fn a_leaf_is_served_whatever_lists_of_revocations_it_names() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    let lists = "crlDistributionPoints=URI:http://127.0.0.1:9/list.crl\n\
                 authorityInfoAccess=OCSP;URI:http://127.0.0.1:9/ocsp\n";
    workshop.leaf("listed", Key::P256, Some(lists));
    let lab = lab();
    open_group(&lab, &workshop).await;
    let identity = workshop.identity("listed", &["listed", "middle"]);
    is_served(&lab, "listed", &identity).await;
}

/// R-D3.
#[tokio::test(start_paused = true)]
async fn a_proof_of_possession_made_by_openssl_verifies_its_authority() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    let lab = lab();
    let properties = json!({ "certificate": workshop.pem("root.pem") });
    let upload = lab
        .ca_request("PUT", "mine", "")
        .json(json!({ "properties": properties }));
    let uploaded = lab.ask(&upload, None).await;
    assert_eq!(uploaded.body["properties"]["isVerified"], false);
    let ask = lab.ca_request("POST", "mine", "/generateVerificationCode");
    let ask = ask.header("If-Match", uploaded.text("etag"));
    let coded = lab.ask(&ask, None).await;
    let code = coded.body["properties"]["verificationCode"]
        .as_str()
        .unwrap()
        .to_owned();
    workshop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out proof.key");
    workshop.openssl(&format!(
        "req -new -key proof.key -subj /CN={code} -out proof.csr"
    ));
    workshop.openssl(
        "x509 -req -in proof.csr -CA root.pem -CAkey root.key -CAcreateserial -days 1 \
         -out proof.pem",
    );
    let verify = lab.ca_request("POST", "mine", "/verify");
    let verify = verify.header("If-Match", coded.text("etag"));
    let verify = verify.json(json!({ "certificate": workshop.pem("proof.pem") }));
    let verified = lab.ask(&verify, None).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["properties"]["isVerified"], true);
}

#[tokio::test(start_paused = true)]
async fn a_leaf_shown_with_another_leafs_key_is_refused_in_the_handshake() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    workshop.leaf("victim", Key::P256, None);
    workshop.leaf("thief", Key::P256, None);
    let lab = lab();
    open_group(&lab, &workshop).await;
    let stolen = workshop.identity("thief", &["victim", "middle", "root"]);
    for version in [&TLS12, &TLS13] {
        let mark = lab.events.mark();
        let client = lab.client(Arc::clone(&stolen), &[version], Resumption::disabled());
        if let Ok(mut stream) = lab.try_tls(Door::Mqtt, &client).await {
            assert_eq!(crate::support::drain(&mut stream).await, b"");
        }
        let reason = lab.events.failed_handshake(mark);
        assert!(reason.contains("BadSignature"), "{reason}");
    }
    is_served(
        &lab,
        "victim",
        &workshop.identity("victim", &["victim", "middle"]),
    )
    .await;
}
