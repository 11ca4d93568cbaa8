//! The newcomer's path: the commands of docs/your-own-scenario.md as they stand there, with keys
//! of every kind that openssl makes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use linarite::command::new::{Cause, Enrolled, Procedure, Roll, What};
use linarite::report::Verdict;
use linarite::scenario::{Scenario, ScenarioError};

use crate::scenarios::run_with;
use crate::support::repository::root;

const PAGE: &str = "docs/your-own-scenario.md";
const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// A folder with `certs` and what was made into it.
struct Walk(PathBuf);

impl Drop for Walk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Walk {
    /// Goes through the page's commands, with keys made with `options`; `None` with a line on
    /// standard error where there is no openssl.
    fn go(options: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: there is no openssl command here");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("linarite-own-pki-{}-{number}", std::process::id());
        let walk = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&walk.0).unwrap();
        let page = fs::read_to_string(root().join(PAGE)).unwrap();
        let commands = page.lines().filter_map(|line| line.strip_prefix("$ "));
        let commands: Vec<&str> = commands
            .filter(|command| !command.starts_with("linarite "))
            .collect();
        assert!(commands.len() > 10, "{commands:?}");
        for command in commands {
            walk.shell(&command.replace(P256, options));
        }
        Some(walk)
    }

    fn shell(&self, command: &str) {
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", command]).current_dir(&self.0).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{said}");
    }

    /// What `linarite new` writes for the page's procedure.
    fn new_scenario() -> String {
        let procedure = Procedure {
            enrollment: Enrolled::Group,
            cause: Cause::Expiry,
            what: What::Intermediate,
            trigger: Roll::Method,
            devices: 5,
        };
        procedure.text(Some("mine"), Some("certs")).unwrap()
    }

    fn parse(&self, text: &str) -> Result<Scenario, ScenarioError> {
        let file = self.0.join("mine.toml");
        Scenario::parse(&file.display().to_string(), text)
    }
}

#[test]
fn the_path_of_the_page_leads_to_a_verdict() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    assert!(page.contains(
        "linarite new mine.toml --enrollment group --what intermediate --cause expiry \
         --trigger method --certificates certs"
    ));
    let kinds = [
        P256,
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
    ];
    for kind in kinds {
        let Some(walk) = Walk::go(kind) else { return };
        let scenario = walk.parse(&Walk::new_scenario()).unwrap();
        let report = run_with(scenario.clone(), 1, 5);
        assert_eq!(report.verdict, Verdict::Pass, "{kind}: {}", report.text());
        assert_eq!(report.devices_on_new_certificate, 5);
        let again = run_with(scenario, 1, 5);
        assert_eq!(report.trace_hash, again.trace_hash);
    }
}

#[test]
fn a_mistake_with_ones_own_certificates_is_found() {
    let Some(walk) = Walk::go(P256) else { return };
    let text = Walk::new_scenario();
    // The new intermediate takes the place of the old one instead of joining it.
    let joined = "primary = \"issuer-1\"\nsecondary = \"issuer-2\"";
    let hasty = text.replacen(joined, "primary = \"issuer-2\"", 1);
    let hasty = hasty.replacen("on_boot = \"connect\"", "on_boot = \"register\"", 1);
    assert_ne!(hasty, text);
    let report = run_with(walk.parse(&hasty).unwrap(), 1, 5);
    assert_eq!(report.verdict, Verdict::Fail, "{}", report.text());
}

/// Keys as older commands write them, and one that nobody can use.
#[test]
fn keys_are_read_in_every_form_without_a_passphrase() {
    let Some(walk) = Walk::go(P256) else { return };
    let text = Walk::new_scenario();
    walk.shell(
        "openssl ec -in certs/root-a.key -out certs/sec1.key && mv certs/sec1.key certs/root-a.key",
    );
    walk.parse(&text).unwrap();
    for encrypt in [
        "openssl pkcs8 -topk8 -in certs/root-a.key -passout pass:secret -out certs/x.key",
        "openssl ec -in certs/root-a.key -aes256 -passout pass:secret -out certs/x.key",
    ] {
        walk.shell(encrypt);
        let error = walk.parse(&text.replacen("root-a.key", "x.key", 1));
        let error = error.unwrap_err();
        assert_eq!(error.field, "authority[1].key", "{error}");
        assert!(error.message.contains("is encrypted"), "{error}");
    }
}

/// A name with two parts of a kind is not one that rcgen can sign under; it must not sign under
/// half of it.
#[test]
fn a_subject_that_cannot_be_repeated_byte_for_byte_does_not_sign() {
    let Some(walk) = Walk::go(P256) else { return };
    walk.shell(
        "openssl req -new -key certs/root-a.key -subj /DC=com/DC=example/CN=Root -out x.csr && \
         openssl x509 -req -in x.csr -signkey certs/root-a.key -days 3650 \
         -extfile certs/ca.ext -out certs/root-a.pem",
    );
    let error = walk.parse(&Walk::new_scenario()).unwrap_err();
    assert_eq!(error.field, "authority[1].key", "{error}");
    assert!(
        error.message.contains("names an attribute twice"),
        "{error}"
    );
}
