//! What a target file may hold, and which scenarios an emulator serves for.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use linarite_env::{Event, Events};

use super::*;
use crate::command::up::Served;
use crate::fault::service::Trouble as _;
use crate::observation::Generation;
use crate::pki::Pki;
use crate::probe::{ProbeOutcome, probe_hub};
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
        target: Some("target.json".into()),
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
        target: None,
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
            "",
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

/// A bad minute of DPS while everybody is called, and a hub that restarts soon after.
fn troubled() -> Scenario {
    let faults = "[recovery]\nwithin = \"20m\"\n\
        [[fault]]\nkind = \"dps-errors\"\nfrom = \"60d30m\"\nuntil = \"60d50m\"\n\
        share = \"1/2\"\nstatus = 429\nretry_after = \"1s\"\n\
        [[fault]]\nkind = \"dps-errors\"\nfrom = \"60d30m\"\nuntil = \"60d50m\"\n\
        share = \"1/8\"\nstatus = 503\n\
        [[fault]]\nkind = \"hub-restart\"\nfrom = \"60d65m\"\nfor = \"2m\"\n[budget]";
    let hasty = "backoff = { first = \"500ms\", max = \"1s\" }\non_unauthorized";
    let text = CALM.replacen("[budget]", faults, 1);
    short(&text.replace("on_unauthorized", hasty))
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_an_emulator_that_is_up_fail_as_a_scenario_says() {
    let up = Up::start("trouble").await;
    let (target, events) = (up.target(), Events::new(Clock::system()));
    let restarted = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&restarted);
    events.listen(move |stamped| {
        if let Event::SessionClosed { reason, .. } = &stamped.event {
            let own = u32::from(reason.rule == "R-C11");
            counted.fetch_add(own, Ordering::Relaxed);
        }
    });
    let journal = Journal::follow(target.admin, &events).await.unwrap();
    let report = run(&target, &troubled()).await.unwrap();
    journal.end().await.unwrap();
    assert!(report.met(), "{}", report.text());
    assert!(restarted.load(Ordering::Relaxed) > 0, "{}", report.text());
    let met = |rule| report.refusals.iter().any(|refusals| refusals.rule == rule);
    assert!(met("R-H1"), "{:?}", report.refusals);
    let replay = "linarite run short.toml --seed 1 --devices 20 --target target.json";
    assert_eq!(report.replay, replay);
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_taken_away_when_a_run_cannot_go_on_and_nobody_elses_with_it() {
    let up = Up::start("untroubled").await;
    let target = up.target();
    let admin = &target.trouble;
    let elses = "/faults/dps?status=500&share=1/100&for=600";
    // Room for one more.
    for _ in 0..99 {
        admin.ask(Method::POST, elses).await.unwrap();
    }
    let refused = run(&target, &troubled()).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("fault[2] dps-errors: the emulator refuses it: 100 faults"),
        "{refused}"
    );
    let status = async |path: String| admin.ask(Method::DELETE, &path).await.unwrap().0;
    assert_eq!(
        status("/faults/dps/99".to_owned()).await,
        404,
        "its own is gone"
    );
    for number in 0..99 {
        assert_eq!(
            status(format!("/faults/dps/{number}")).await,
            204,
            "{number}"
        );
    }
    up.stop().await;
}

#[tokio::test]
async fn a_restart_that_was_asked_for_is_ended_before_its_time() {
    let up = Up::start("restart").await;
    let target = up.target();
    let admin = &target.trouble;
    let minute = Duration::from_secs(60);
    let unknown = admin.restart_hub("nobody", minute).await.unwrap_err();
    assert!(unknown.contains("no hub is called that"), "{unknown}");
    let (mut pki, clock) = (Pki::new(), Clock::system());
    let life = (clock.now().0 - 60, clock.now().0 + 3600);
    pki.add_root("root", life.0, life.1).unwrap();
    let stranger = pki
        .leaf("root", "dev-1", Generation(1), life.0, life.1)
        .unwrap();
    let told = async || {
        let connector = Arc::clone(&target.connector);
        match probe_hub(
            &target.services,
            connector,
            &clock,
            "hub-1",
            "dev-1",
            &stranger,
        )
        .await
        {
            ProbeOutcome::Refused { connack, .. } => connack,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told().await, 5, "not authorized");
    admin.restart_hub("hub-1", minute).await.unwrap();
    assert_eq!(told().await, 3, "not available");
    admin.calm().await.unwrap();
    assert_eq!(told().await, 5, "not authorized");
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
