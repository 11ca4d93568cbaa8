//! Authorities in files, made by rcgen in a folder that goes away with its test.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{Issuer, KeyPair};
use time::OffsetDateTime;

use super::super::{Scenario, ScenarioError};
use super::*;
use crate::pki::{template_of_authority, template_of_leaf};

/// 2026-03-01T10:20:30Z.
const MADE: i64 = 1_772_360_430;
const DAY: i64 = 86_400;

/// A folder with `root`, `issuer` (both 90 days) and others that do not fit.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("linarite-authority-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("certs")).unwrap();
        let root = folder.root("root", MADE, 90);
        folder.root("stranger", MADE, 90);
        folder.root("old", MADE - 100 * DAY, 50);
        let params = template_of_authority("issuer", MADE, MADE + 90 * DAY).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &root).unwrap();
        folder.put("issuer.pem", &signed.pem());
        folder.put("issuer.key", &key.serialize_pem());
        let leaf = template_of_leaf("leaf", MADE, MADE + DAY).unwrap();
        let key = KeyPair::generate().unwrap();
        folder.put("leaf.pem", &leaf.signed_by(&key, &root).unwrap().pem());
        folder.put("nothing.pem", "nothing\n");
        let secret =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        folder.put("secret.key", secret);
        folder
    }

    fn root(&self, name: &str, from: i64, days: i64) -> Issuer<'static, KeyPair> {
        let params = template_of_authority(name, from, from + days * DAY).unwrap();
        let key = KeyPair::generate().unwrap();
        self.put(
            &format!("{name}.pem"),
            &params.self_signed(&key).unwrap().pem(),
        );
        self.put(&format!("{name}.key"), &key.serialize_pem());
        Issuer::new(params, key)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join("certs").join(name), text).unwrap();
    }

    fn parse(&self, text: &str) -> Result<Scenario, ScenarioError> {
        let file = self.0.join("mine.toml");
        Scenario::parse(&file.display().to_string(), text)
    }

    /// Replaces `old` by `new` in the good file, and expects an error at `field` with `words`.
    fn refuses(&self, (old, new, field, words): (&str, &str, &str, &str)) {
        let text = GOOD.replacen(old, new, 1);
        assert_ne!(text, GOOD, "`{old}` is not in the scenario");
        let error = self.parse(&text).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(error.line.is_some(), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

const GOOD: &str = r#"
name = "mine"
claim = "c"
duration = "10d"
roll_starts = "5d"
[budget]
gap = "10s"
[fleet]
devices = 10
enrollment = { group = "fleet" }
telemetry = "10m"
spread = "2m"
awake = [{ from = "1h", for = "10d" }]
[[fleet.firmware]]
name = "model"
share = 1
[[authority]]
name = "root"
certificate = "certs/root.pem"
key = "certs/root.key"
[[authority]]
name = "issuer"
issuer = "root"
certificate = "certs/issuer.pem"
key = "certs/issuer.key"
[[leaf]]
generation = 1
issuer = "issuer"
valid = ["0d", "9d"]
[[leaf]]
generation = 2
issuer = "issuer"
valid = ["0d", "19d"]
[[step]]
at = "0d"
do = "add-ca-certificate"
certificate = "root"
[[step]]
do = "put-group"
group = "fleet"
primary = "root"
[[step]]
at = "6d"
do = "deliver-leaf"
generation = 2
"#;

#[test]
fn a_run_begins_at_the_midnight_after_its_certificates() {
    let scenario = Folder::new().parse(GOOD).unwrap();
    let midnight = OffsetDateTime::from_unix_timestamp(MADE)
        .unwrap()
        .date()
        .next_day();
    let midnight = midnight.unwrap().midnight().assume_utc();
    let starts = UnixMillis(midnight.unix_timestamp() * 1000);
    assert_eq!(scenario.starts, Some(starts));
    let root = &scenario.authorities[0];
    assert_eq!(root.from, Span(MADE * 1000 - starts.0));
    assert_eq!(root.until, Span((MADE + 90 * DAY) * 1000 - starts.0));
    assert_eq!(scenario.authorities[1].issuer.as_deref(), Some("root"));
    let shown = format!("{scenario:?}");
    assert!(
        !shown.contains("PRIVATE") && !shown.contains("Pkcs8"),
        "{shown}"
    );
}

#[test]
fn a_run_begins_when_it_says() {
    let text = GOOD.replacen(
        "duration",
        "starts = \"2026-03-05T12:00:00+01:00\"\nduration",
        1,
    );
    let scenario = Folder::new().parse(&text).unwrap();
    assert_eq!(scenario.starts, Some(UnixMillis(1_772_708_400_000)));
}

#[test]
fn an_authority_of_the_run_may_stand_below_one_from_files() {
    let made = "issuer = \"root\"\nvalid = [\"0d\", \"90d\"]\n";
    let files =
        "issuer = \"root\"\ncertificate = \"certs/issuer.pem\"\nkey = \"certs/issuer.key\"\n";
    let folder = Folder::new();
    assert!(folder.parse(&GOOD.replacen(files, made, 1)).is_ok());
    let keyless = GOOD
        .replacen(files, made, 1)
        .replacen("key = \"certs/root.key\"\n", "", 1);
    let error = folder.parse(&keyless).unwrap_err();
    assert_eq!(error.field, "authority[2].issuer", "{error}");
    // Neither of its own signatures is needed, nor a proof.
    let forgotten = "certificate = \"root\"\nverified = false\n";
    let quiet = GOOD.replacen("key = \"certs/root.key\"\n", "", 1).replacen(
        "certificate = \"root\"\n",
        forgotten,
        1,
    );
    assert!(folder.parse(&quiet).is_ok());
}

#[test]
fn what_is_wrong_with_files_is_said_at_their_place() {
    let folder = Folder::new();
    let table = [
        (
            "certs/root.pem",
            "certs/rot.pem",
            "authority[1].certificate",
            "cannot read",
        ),
        (
            "certs/root.pem",
            "certs/nothing.pem",
            "authority[1].certificate",
            "BEGIN CERTIFICATE",
        ),
        (
            "certs/root.pem",
            "certs/leaf.pem",
            "authority[1].certificate",
            "CA:TRUE",
        ),
        (
            "certs/root.pem",
            "certs/old.pem\"\n#",
            "authority[1].key",
            "is not the key of CN=old",
        ),
        (
            "certs/root.key",
            "certs/none.key",
            "authority[1].key",
            "cannot read",
        ),
        (
            "certs/root.key",
            "certs/root.pem",
            "authority[1].key",
            "unencrypted PEM key",
        ),
        (
            "certs/root.key",
            "certs/secret.key",
            "authority[1].key",
            "is encrypted",
        ),
        (
            "certs/root.key",
            "certs/issuer.key",
            "authority[1].key",
            "is not the key of CN=root",
        ),
        (
            "certificate = \"certs/root.pem\"\n",
            "valid = [\"0d\", \"9d\"]\n",
            "authority[1].key",
            "belongs to a certificate",
        ),
        (
            "certificate = \"certs/root.pem\"\n",
            "certificate = \"certs/root.pem\"\nvalid = [\"0d\", \"9d\"]\n",
            "authority[1].valid",
            "leave `valid` out",
        ),
        (
            "certificate = \"certs/root.pem\"\nkey = \"certs/root.key\"\n",
            "",
            "authority[1].name",
            "give its file as `certificate`",
        ),
        (
            "issuer = \"root\"\n",
            "",
            "authority[2].certificate",
            "write `issuer = \"root\"`",
        ),
        (
            "name = \"root\"\n",
            "name = \"stranger\"\ncertificate = \"certs/stranger.pem\"\n[[authority]]\nname = \"root\"\nissuer = \"stranger\"\n",
            "authority[2].issuer",
            "self-signed",
        ),
        (
            "certificate = \"certs/root.pem\"\nkey = \"certs/root.key\"\n",
            "certificate = \"certs/stranger.pem\"\n",
            "authority[2].issuer",
            "names CN=root as its issuer",
        ),
        (
            "certificate = \"certs/root.pem\"\nkey = \"certs/root.key\"\n",
            "valid = [\"0d\", \"90d\"]\n",
            "authority[2].issuer",
            "made by the run",
        ),
        (
            "key = \"certs/issuer.key\"\n",
            "",
            "leaf[1].issuer",
            "no key to sign leaves",
        ),
        (
            "key = \"certs/root.key\"\n",
            "",
            "step[1].certificate",
            "or upload it with `verified = false`",
        ),
        (
            "duration",
            "starts = \"2027-03-05T12:00:00Z\"\nduration",
            "authority[1].certificate",
            "expired on 2026-05-30T10:20:30Z, before the run begins on 2027-03-05T12:00:00Z",
        ),
        (
            "duration",
            "starts = \"tomorrow\"\nduration",
            "starts",
            "write it like 2026",
        ),
        (
            "duration",
            "starts = \"9999-01-01T00:00:00Z\"\nduration",
            "starts",
            "write it like 2026",
        ),
    ];
    for case in table {
        folder.refuses(case);
    }
}

/// A new root that the old one vouches for, and a leaf whose chain says so.
fn crossed() -> String {
    let cross = "[[authority]]\nname = \"new\"\nvalid = [\"0d\", \"90d\"]\n\
                 [[authority]]\nname = \"new-by-root\"\nsame_key_as = \"new\"\nissuer = \"root\"\n\
                 valid = [\"0d\", \"80d\"]\n\
                 [[authority]]\nname = \"below\"\nissuer = \"new\"\nvalid = [\"0d\", \"70d\"]\n\
                 [[leaf]]\ngeneration = 1";
    let leaf = "generation = 2\nissuer = \"below\"\nchain = [\"below\", \"new-by-root\"]\n";
    GOOD.replacen("[[leaf]]\ngeneration = 1", cross, 1)
        .replacen("generation = 2\nissuer = \"issuer\"\n", leaf, 1)
}

#[test]
fn a_leaf_shows_the_cross_certificate_it_names() {
    let scenario = Folder::new().parse(&crossed()).unwrap();
    let shown = scenario.shown_with(&scenario.leaves[1]);
    let names: Vec<&str> = shown.iter().map(|known| known.name.as_str()).collect();
    assert_eq!(names, ["below", "new-by-root"]);
    let usual = scenario.shown_with(&scenario.leaves[0]);
    assert_eq!(usual.len(), 2);
}

#[test]
fn what_is_wrong_with_cross_certificates_is_said_at_their_place() {
    let folder = Folder::new();
    let (twin, chain) = ("authority[4].same_key_as", "leaf[2].chain");
    let table = [
        (
            "same_key_as = \"new\"",
            "same_key_as = \"nwe\"",
            twin,
            "no authority `nwe`",
        ),
        (
            "same_key_as = \"new\"",
            "same_key_as = \"root\"",
            twin,
            "own file as `certificate`",
        ),
        (
            "issuer = \"root\"\nvalid",
            "valid",
            twin,
            "name its `issuer`",
        ),
        (
            "issuer = \"root\"\nvalid",
            "issuer = \"new\"\nvalid",
            twin,
            "would be itself",
        ),
        (
            "[\"below\", \"new-by-root\"]",
            "[\"new-by-root\"]",
            chain,
            "did not sign the leaf",
        ),
        (
            "\"new-by-root\"]",
            "\"issuer\"]",
            chain,
            "did not sign `below`; `new` did",
        ),
        (
            "\"new-by-root\"]",
            "\"new\", \"root\"]",
            chain,
            "nobody is above `new`",
        ),
        (
            "\"new-by-root\"]",
            "\"nobody\"]",
            chain,
            "no authority `nobody`",
        ),
    ];
    for (old, new, field, words) in table {
        let text = crossed().replacen(old, new, 1);
        assert_ne!(text, crossed(), "`{old}` is not in the scenario");
        let error = folder.parse(&text).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
