//! Every scenario ends as its file says, in virtual time and with real TLS, and a seed settles
//! everything that happens in it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

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
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(async {
        let options = Options {
            devices,
            pace: Pace::Virtual,
        };
        let env = Env::new(Clock::tokio(epoch(&scenario, &options, EPOCH)), seed);
        let lab = Lab::with_readings(
            env.clone(),
            LabMode::InMemory,
            &scenario.hubs,
            &scenario.settings,
        )
        .await
        .unwrap();
        let stage = Stage {
            services: lab.services.clone(),
            connector: Arc::clone(&lab.connector),
            env,
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
