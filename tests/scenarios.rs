//! Every scenario ends as its file says, in virtual time and with real TLS, and a seed settles
//! everything that happens in it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use linarite::interrupt::Interrupt;
use linarite::lab::{Lab, LabMode};
use linarite::progress::Progress;
use linarite::report::{Report, Verdict};
use linarite::run::{Options, Stage, epoch, run_scenario};
use linarite::scenario::pace::Pace;
use linarite::scenario::{Expectation, Scenario};
use linarite_env::{Clock, Env};

use crate::support::EPOCH;

/// Enough for every share and window of a scenario, few enough for every test run.
const DEVICES: u32 = 30;

/// The scenario files in `folder`, in alphabetical order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    files.sort();
    files
}

fn scenario(path: &PathBuf) -> Scenario {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    Scenario::parse(name, &text).unwrap_or_else(|error| panic!("{error}"))
}

/// One run on an emulator and a paused clock of its own.
fn run(scenario: Scenario, seed: u64) -> Report {
    run_with(scenario, seed, DEVICES)
}

/// The same with a number of devices.
pub(crate) fn run_with(scenario: Scenario, seed: u64, devices: u32) -> Report {
    run_until(scenario, seed, devices, Interrupt::new())
}

/// The same until it is interrupted.
pub(crate) fn run_until(
    scenario: Scenario,
    seed: u64,
    devices: u32,
    interrupt: Interrupt,
) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(async {
        let options = Options {
            devices,
            pace: Pace::Virtual,
            target: None,
        };
        let env = Env::new(Clock::tokio(epoch(&scenario, &options, EPOCH)), seed);
        let lab = Lab::of_scenario(env.clone(), LabMode::InMemory, &scenario)
            .await
            .unwrap();
        let stage = Stage {
            services: lab.services.clone(),
            connector: Arc::clone(&lab.connector),
            env,
            interrupt,
        };
        let progress = Arc::new(Progress::silent());
        let report = run_scenario(Arc::new(scenario), &options, &stage, progress)
            .await
            .unwrap();
        assert!(
            lab.stop().await,
            "a task of the emulator outlived its grace"
        );
        report
    }))
}

fn assert_met(report: &Report) {
    let expected = &report.expected;
    assert!(
        expected.met,
        "{} ended {:?}: {:?}\n{}",
        report.scenario,
        report.verdict,
        expected.difference,
        report.text()
    );
}

#[test]
fn every_procedure_passes() {
    let files = files("scenarios");
    assert!(files.len() >= 16, "only {} files found", files.len());
    for file in files {
        let scenario = scenario(&file);
        assert_eq!(scenario.expect, Expectation::Pass, "{}", file.display());
        let seed = scenario.seed;
        let report = run(scenario, seed);
        assert_met(&report);
        assert_eq!(report.verdict, Verdict::Pass);
        assert_eq!(report.devices, DEVICES);
        let served = report.devices_on_new_certificate + report.devices_locked_out;
        assert_eq!(served, DEVICES as usize);
        assert_eq!(report.stale_credentials_accepted, 0);
        assert_eq!((report.messages.lost, report.messages.duplicated), (0, 0));
    }
}

#[test]
fn every_mistake_fails_as_its_file_expects() {
    let files = files("scenarios/mistakes");
    assert!(files.len() >= 20, "only {} files found", files.len());
    for file in files {
        let scenario = scenario(&file);
        let Expectation::Fail { check, .. } = scenario.expect.clone() else {
            panic!("{} does not expect to fail", file.display());
        };
        let seed = scenario.seed;
        let report = run(scenario, seed);
        assert_met(&report);
        assert_eq!(report.verdict, Verdict::Fail);
        let check = check.unwrap_or_else(|| panic!("{} names no check", file.display()));
        let failed = report
            .checks
            .iter()
            .find(|done| done.name == check)
            .unwrap();
        assert!(!failed.passed, "{}: {check}", file.display());
        assert!(
            !failed.detail.is_empty(),
            "{}: {check} says nothing",
            file.display()
        );
    }
}

/// J15, R-C12, R-H1 to R-H3: a storm meets the limit, takes as long as arithmetic says, and costs
/// nobody the service.
#[test]
fn a_storm_is_throttled_and_everybody_served() {
    const FLEET: u32 = 60;
    const LIMIT: u32 = 20;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/storm.toml");
    let scenario = scenario(&path);
    assert_eq!(scenario.limits.registrations_per_minute, Some(LIMIT));
    let report = run_with(scenario, 1, FLEET);
    assert_met(&report);
    let registrations = &report.registrations;
    assert_eq!(registrations.succeeded, u64::from(2 * FLEET));
    assert!(registrations.throttled >= u64::from(2 * (FLEET - LIMIT)));
    let by_rule = report.refusals.iter().find(|one| one.rule == "R-H1");
    assert_eq!(
        by_rule.map(|one| one.devices),
        Some(registrations.throttled)
    );
    let text = report.text();
    assert!(text.contains("were throttled (429, R-H1)"), "{text}");
    let called = report
        .steps
        .iter()
        .find(|step| step.title.contains("a job"));
    let called = called.unwrap().began_ms;
    let rolled = report.activity.iter().filter(|bin| bin.at_ms > called);
    let last = rolled
        .filter(|bin| bin.registered > 0)
        .map(|bin| bin.at_ms)
        .max();
    let least = i64::from(FLEET - LIMIT) * 60_000 / i64::from(LIMIT);
    let took = last.unwrap() - called;
    assert!(
        took >= least - 1000,
        "{took} ms is faster than the limit allows"
    );
}

/// R-G34: a job's calls to devices that are away fail; the scenario has to announce it.
#[test]
fn a_step_that_fails_unannounced_fails_the_verdict() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/roll-by-job-late-devices.toml");
    let whole = fs::read_to_string(path).unwrap();
    let table = [
        ("may_fail = \"60%\"", true),
        ("may_fail = \"1%\"", false),
        ("", false),
    ];
    for (announced, passes) in table {
        let text = whole.replacen("may_fail = \"60%\"", announced, 1);
        let report = run(Scenario::parse("late.toml", &text).unwrap(), 1);
        let failed: Vec<&str> = report.failed().collect();
        let expected: &[&str] = if passes { &[] } else { &["operator-steps"] };
        assert_eq!(failed, expected, "{announced}");
        let job = report.steps.iter().find(|step| step.failed > 0).unwrap();
        assert_eq!(job.as_announced, passes, "{job:?}");
        assert_eq!(job.succeeded + job.failed, DEVICES as usize);
        let check = report
            .checks
            .iter()
            .find(|check| check.name == "operator-steps");
        assert_eq!(check.unwrap().offences.len(), usize::from(!passes));
        assert_eq!(report.text().contains("step 5  call method"), !passes);
    }
}

/// A step waits until the hubs say that enough devices are so far, over more than one page of
/// what they know, and no longer than it says.
#[test]
fn a_step_waits_for_the_fleet() {
    const FLEET: u32 = 110;
    const DAY: i64 = 86_400_000;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/slot-emptied-once-all-rolled.toml");
    let whole = fs::read_to_string(path).unwrap();
    let when = "share = \"100%\", registered = 2, within = \"25d\"";
    let table = [
        (when, Some(80..81)),
        (
            "share = \"100%\", connected = 2, within = \"25d\"",
            Some(80..81),
        ),
        (
            "share = \"50%\", registered = 2, within = \"25d\"",
            Some(61..62),
        ),
        ("share = \"50%\", connected = 2, within = \"10d\"", None),
        ("share = \"100%\", registered = 2, within = \"10d\"", None),
    ];
    for (condition, days) in table {
        let text = whole.replacen(when, condition, 1);
        let scenario = Scenario::parse("waits.toml", &text).unwrap();
        let report = run_with(scenario, 1, FLEET);
        let step = report
            .steps
            .iter()
            .find(|step| step.title.contains(", once "));
        let step = step.unwrap();
        let failures = step.failures.first().map_or("", String::as_str);
        match days {
            Some(days) => {
                assert!(
                    days.contains(&(step.began_ms / DAY)),
                    "{condition}: {step:?}"
                );
                assert_eq!((step.succeeded, step.failed), (1, 0), "{condition}");
            }
            None => {
                assert_eq!(step.began_ms / DAY, 71, "{condition}: {step:?}");
                assert!(failures.starts_with("not carried out: it waits until "));
                assert!(report.failed().any(|check| check == "operator-steps"));
            }
        }
    }
}

#[test]
fn a_seed_settles_the_whole_trace() {
    let path = &files("scenarios")[0];
    let [first, again, other] = [7, 7, 8].map(|seed| run(scenario(path), seed));
    assert_eq!(first.trace_hash, again.trace_hash);
    assert_ne!(first.trace_hash, other.trace_hash);
    assert_eq!(first.downtime_ms, again.downtime_ms);
    assert!(first.replay.contains("--seed 7"), "{}", first.replay);
}

#[test]
fn a_broken_scenario_is_answered_with_file_line_and_field() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios/intermediate-expiry.toml");
    let whole = fs::read_to_string(&path).unwrap();
    let table = [
        ("devices = ", "devices = 0 #", "devices"),
        ("seed = ", "sede = ", "sede"),
        ("duration = ", "duration = \"soon\" #", "duration"),
        ("primary = \"", "primary = \"nobody\" #", "primary"),
        ("at = \"60d", "at = \"-60d", "at"),
    ];
    let mut broken = 0;
    for (from, to, field) in table {
        let Some(offset) = whole.find(from) else {
            panic!("{} has no {from:?}", path.display());
        };
        let line = whole[..offset].lines().count() + usize::from(whole[..offset].ends_with('\n'));
        let text = whole.replacen(from, to, 1);
        let error = Scenario::parse("broken.toml", &text).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.starts_with(&format!("broken.toml:{line}: ")),
            "{shown} (line {line})"
        );
        assert!(shown.contains(field), "{shown} does not name {field}");
        broken += 1;
    }
    assert_eq!(broken, table.len());
}
