//! `linarite run`: runs scenarios and says how they ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use linarite_env::{Clock, Env, UnixMillis};

use super::{Exit, fails};
use crate::lab::{Lab, LabMode};
use crate::progress::Progress;
use crate::report::{Report, junit};
use crate::run::{Options, Stage, run_scenario};
use crate::scenario::pace::Pace;
use crate::scenario::{DEVICES_MAX, Expectation, Scenario, ScenarioError};

/// 2026-01-01T00:00:00Z: when virtual runs begin.
const VIRTUAL_EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
/// What runs where no scenario is named.
const DEFAULT: &str = "intermediate-expiry";

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../scenarios/", $path, ".toml")))),+]
    };
}

/// The scenarios of this repository, by the path that names them.
const EMBEDDED: &[(&str, &str)] = embedded![
    "intermediate-expiry",
    "individual-expiry",
    "leaf-roll-same-issuer",
    "leaf-roll-on-unauthorized",
    "individual-there-and-back",
    "root-expiry",
    "two-hubs-migrate",
    "two-hubs-never",
    "two-hubs-reset",
    "individual-breach-hub-deleted",
    "individual-breach-reregister",
    "intermediate-breach-hub-deleted",
    "intermediate-breach-reregister",
    "root-breach",
    "disallow-devices",
    "disallow-group",
    "disallow-intermediate",
    "roll-by-job-late-devices",
    "individual-shadows-group",
    "mistakes/intermediate-removed-early",
    "mistakes/individual-switched-early",
    "mistakes/leaf-roll-changed-cn",
    "mistakes/leaf-roll-never-registers",
    "mistakes/leaf-roll-key-dropped-early",
    "mistakes/root-deleted-early",
    "mistakes/answers-after-the-roll",
    "mistakes/chain-without-intermediate",
    "mistakes/disallow-by-deleting",
    "mistakes/disallow-group-deleted",
    "mistakes/disallow-hub-forgotten",
    "mistakes/individual-breach-hub-forgotten",
    "mistakes/intermediate-breach-hub-forgotten",
    "mistakes/intermediate-breach-wrong-order",
    "mistakes/late-devices-forgotten",
    "mistakes/root-breach-hub-forgotten",
    "mistakes/root-breach-root-left",
    "mistakes/root-not-verified",
    "mistakes/shadowing-entry-forgotten",
    "mistakes/slot-emptied-early",
    "mistakes/two-hubs-policy-forgotten",
];

/// Arguments of `linarite run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Scenario files, directories of them, or names of built-in scenarios
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Seed in place of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of devices in place of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    devices: Option<u32>,
    /// Use real sockets and the wall clock instead of virtual time in memory
    #[arg(long)]
    real_time: bool,
    /// Write report.json, report.html and junit.xml into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print the reports as JSON, one line each, instead of a summary
    #[arg(long)]
    json: bool,
    /// The verdict to expect in place of the scenario's expectation
    #[arg(long, value_name = "VERDICT")]
    expect: Option<Expect>,
}

/// A verdict to expect.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Expect {
    /// Every check holds.
    Pass,
    /// At least one check does not.
    Fail,
}

/// Runs what `args` name, one after the other.
///
/// Gives [`Exit::Unexpected`] if one did not end as expected, [`Exit::Usage`] for a scenario
/// that cannot be read, [`Exit::Machine`] where a run or its report could not be made.
#[must_use]
pub fn run(args: &RunArgs) -> Exit {
    let scenarios = match scenarios(args) {
        Ok(scenarios) => scenarios,
        Err(error) => return fails(Exit::Usage, &error),
    };
    let mut reports = Vec::new();
    for scenario in scenarios {
        let report = match execute(args, scenario) {
            Ok(report) => report,
            Err(error) => return fails(Exit::Machine, &format!("{error:#}")),
        };
        if let Err(error) = show(args, &report) {
            return fails(Exit::Machine, &error);
        }
        reports.push(report);
    }
    if let Some(directory) = &args.report
        && let Err(error) = save(directory, &reports)
    {
        let message = format!(
            "cannot write the report to {}: {error}",
            directory.display()
        );
        return fails(Exit::Machine, &message);
    }
    conclude(args, &reports)
}

/// All scenarios that `args` name, read and checked before any of them runs.
fn scenarios(args: &RunArgs) -> Result<Vec<Scenario>, String> {
    let named = if args.scenarios.is_empty() {
        &[DEFAULT.to_owned()][..]
    } else {
        &args.scenarios
    };
    let mut scenarios = Vec::new();
    for name in named {
        for (file, text) in sources(name)? {
            let scenario = Scenario::parse(&file, &text);
            scenarios.push(scenario.map_err(|error: ScenarioError| error.to_string())?);
        }
    }
    for scenario in &mut scenarios {
        match args.expect {
            Some(Expect::Pass) => scenario.expect = Expectation::Pass,
            // What the file says of the reason still counts.
            Some(Expect::Fail) if scenario.expect == Expectation::Pass => {
                scenario.expect = Expectation::Fail {
                    check: None,
                    rule: None,
                };
            }
            Some(Expect::Fail) | None => {}
        }
    }
    Ok(scenarios)
}

/// The files that one argument stands for, with their content.
fn sources(name: &str) -> Result<Vec<(String, String)>, String> {
    let path = Path::new(name);
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, &mut files).map_err(|error| format!("{name}: {error}"))?;
        files.sort();
        if files.is_empty() {
            return Err(format!(
                "{name}: no .toml file in this directory or below it"
            ));
        }
        return files.iter().map(|file| read(file)).collect();
    }
    if path.is_file() {
        return Ok(vec![read(path)?]);
    }
    let built_in = EMBEDDED.iter().find(|(known, _)| {
        *known == name || known.rsplit('/').next().is_some_and(|last| last == name)
    });
    if let Some((known, text)) = built_in {
        let last = known.rsplit('/').next().unwrap_or(known);
        return Ok(vec![(last.to_owned(), (*text).to_owned())]);
    }
    let names: Vec<&str> = EMBEDDED
        .iter()
        .filter_map(|(known, _)| known.rsplit('/').next())
        .collect();
    Err(format!(
        "{name}: neither a file, nor a directory, nor a built-in scenario; built in: {}",
        names.join(", ")
    ))
}

fn read(path: &Path) -> Result<(String, String), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Runs one scenario on a runtime and an emulator of its own.
fn execute(args: &RunArgs, scenario: Scenario) -> anyhow::Result<Report> {
    let (runtime, pace, mode) = if args.real_time {
        // A device needs two sockets, one at each end; what is not granted shows as a refusal.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        (runtime, Pace::real_time(&scenario), LabMode::Loopback)
    } else {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        (runtime, Pace::Virtual, LabMode::InMemory)
    };
    let runtime = runtime.context("cannot start the runtime")?;
    let devices = args.devices.unwrap_or(scenario.fleet.devices);
    let seed = args.seed.unwrap_or(scenario.seed);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let days = scenario.duration.as_secs() as f64 / 86_400.0;
    let progress = Arc::new(Progress::new(&scenario.name, devices, days, pace.clone()));
    runtime.block_on(Box::pin(async {
        let epoch = if args.real_time {
            Clock::system().now_ms()
        } else {
            VIRTUAL_EPOCH
        };
        let env = Env::new(Clock::tokio(epoch), seed);
        let lab = Lab::start(env.clone(), mode, &scenario.hubs)
            .await
            .context("cannot start the emulator")?;
        let stage = Stage {
            services: lab.services.clone(),
            connector: Arc::clone(&lab.connector),
            env,
        };
        let options = Options { devices, pace };
        let report = run_scenario(Arc::new(scenario), &options, &stage, progress).await;
        lab.stop().await;
        report.context("cannot run the scenario")
    }))
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn show(args: &RunArgs, report: &Report) -> Result<(), String> {
    if args.json {
        println!(
            "{}",
            serde_json::to_string(report).map_err(|error| error.to_string())?
        );
    } else {
        println!("{}", report.text());
    }
    Ok(())
}

/// One scenario's reports go into `directory`, those of several each into a folder below it.
fn save(directory: &Path, reports: &[Report]) -> io::Result<()> {
    if let [report] = reports {
        return report.save(directory);
    }
    for report in reports {
        report.save(&directory.join(&report.scenario))?;
    }
    fs::write(directory.join("junit.xml"), junit(reports)?)
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn conclude(args: &RunArgs, reports: &[Report]) -> Exit {
    let met = reports.iter().filter(|report| report.expected.met).count();
    if !args.json && reports.len() > 1 {
        for report in reports {
            println!("{}", report.headline());
        }
        println!("{met} of {} scenarios ended as expected", reports.len());
    }
    if met == reports.len() {
        Exit::AsExpected
    } else {
        Exit::Unexpected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_whole() {
        for (name, text) in EMBEDDED {
            let scenario = Scenario::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
            assert!(
                name.ends_with(&scenario.name),
                "{name} calls itself {}",
                scenario.name
            );
            let twin = name.starts_with("mistakes/");
            assert_eq!(scenario.expect != Expectation::Pass, twin, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_nothing_is_answered_with_the_built_in_ones() {
        let message = sources("intermediate-expire").unwrap_err();
        assert!(message.contains("intermediate-expiry"), "{message}");
    }
}
