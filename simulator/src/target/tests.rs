//! What a target file may hold, and which scenarios an emulator serves for.

use std::path::PathBuf;

use super::*;
use crate::command::up::Served;
use crate::scenario::pace::Pace;

const CALM: &str = include_str!("../../../scenarios/intermediate-expiry.toml");

/// An emulator on loopback ports, and the folder with the file that tells of it.
struct Up {
    served: Served,
    folder: PathBuf,
}

impl Up {
    async fn start(name: &str) -> Self {
        let folder = format!("linarite-target-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let served = Served::start(&folder).await;
        Self { served, folder }
    }

    fn target(&self) -> Target {
        Target::read(&self.folder.join("target.json")).unwrap()
    }

    async fn stop(self) {
        self.served.stop().await;
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// The scenario `text` with times awake that are long enough for twenty devices.
fn short(text: &str) -> Scenario {
    let text = text
        .replacen("day = \"500ms\"", "day = \"20ms\"\nspread = \"500ms\"", 1)
        .replacen("awake = \"20s\"", "awake = \"10s\"", 1);
    Scenario::parse("short.toml", &text).unwrap()
}

async fn run(target: &Target, scenario: &Scenario) -> anyhow::Result<Report> {
    let options = Options {
        devices: 20,
        pace: Pace::real_time(scenario),
    };
    let silent = Arc::new(Progress::silent());
    Box::pin(target.run(scenario.clone(), &options, silent, Interrupt::new())).await
}

async fn things(target: &Target, scenario: &Scenario) -> Tidy {
    let mut scenario = scenario.clone();
    ID_PREFIX.clone_into(&mut scenario.id_prefix);
    let options = Options {
        devices: 20,
        pace: Pace::Virtual,
    };
    Tidy::new(target, &scenario, &options, Clock::system()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_passes_on_an_emulator_that_is_up_and_leaves_it_as_it_was() {
    let up = Up::start("pass").await;
    let (target, scenario) = (up.target(), short(CALM));
    let report = run(&target, &scenario).await.unwrap();
    assert!(report.met(), "{}", report.text());
    assert_eq!(report.devices_on_new_certificate, 20, "{}", report.text());
    let left = things(&target, &scenario).await;
    left.require_free().await.unwrap();
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_fails_on_an_emulator_that_is_up() {
    let up = Up::start("fail").await;
    let text = include_str!("../../../scenarios/mistakes/leaf-roll-never-registers.toml");
    let (target, scenario) = (up.target(), short(text));
    let report = run(&target, &scenario).await.unwrap();
    assert!(report.met(), "{}", report.text());
    assert_eq!(report.verdict, crate::report::Verdict::Fail);
    things(&target, &scenario)
        .await
        .require_free()
        .await
        .unwrap();
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_stops_a_run_before_it_changes_anything() {
    let up = Up::start("taken").await;
    let (target, scenario) = (up.target(), short(CALM));
    let tidy = things(&target, &scenario).await;
    tidy.put_for_test("/enrollments/linarite-dev-00003").await;
    let refused = run(&target, &scenario).await.unwrap_err().to_string();
    assert!(
        refused.contains("enrollment linarite-dev-00003"),
        "{refused}"
    );
    assert!(refused.contains("nothing was changed"), "{refused}");
    let left = tidy.require_free().await.unwrap_err().to_string();
    assert!(
        left.contains("has enrollment linarite-dev-00003 already"),
        "{left}"
    );
    up.stop().await;
}

#[tokio::test]
async fn what_an_emulator_that_is_up_does_not_serve_for_is_said() {
    let up = Up::start("suits").await;
    let target = up.target();
    assert_eq!(target.suits(&short(CALM)), Ok(()));
    let table = [
        (
            "[budget]",
            "[limits]\nregistrations_per_minute = 5\n[budget]",
            "has [limits]",
        ),
        (
            "[budget]",
            "[recovery]\nwithin = \"30m\"\n[[fault]]\nkind = \"hub-restart\"\n\
             from = \"60d10m\"\nfor = \"30s\"\n[budget]",
            "has a [[fault]]",
        ),
        (
            "[budget]",
            "[settings]\ncheck_validity = false\n[budget]",
            "check_validity = false below [settings]",
        ),
        (
            "[budget]",
            "[settings]\ncheck_validity = true\n[budget]",
            "",
        ),
        (
            "duration",
            "hubs = [\"hub-1\", \"west\"]\nduration",
            "[[hubs]] in FILE whose host begins with west",
        ),
        (
            "do = \"call-method\"",
            "do = \"schedule-job\"",
            "call-method",
        ),
    ];
    for (old, new, words) in table {
        let text = CALM.replacen(old, new, 1);
        assert_ne!(text, CALM, "{old}");
        let said = target.suits(&short(&text)).err().unwrap_or_default();
        assert!(
            said.contains(words) && said.is_empty() == words.is_empty(),
            "{said}"
        );
    }
    up.stop().await;
}

#[test]
fn a_file_that_is_none_is_refused_without_its_keys() {
    let folder = std::env::temp_dir().join(format!("linarite-no-target-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("t.json");
    fs::write(&file, "{\"mqtt\": \"SharedAccessKey=secret\"}").unwrap();
    let said = format!("{:#}", Target::read(&file).err().unwrap());
    assert!(
        said.contains("--write-target") && !said.contains("secret"),
        "{said}"
    );
    let said = format!("{:#}", Target::read(&folder.join("no")).err().unwrap());
    assert!(said.contains("is it up?"), "{said}");
    fs::remove_dir_all(&folder).unwrap();
}
