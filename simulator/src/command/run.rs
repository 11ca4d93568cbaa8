//! `linarite run`: runs scenarios and says how they ended.

mod check;
mod explore;
mod matrix;
mod pool;
mod target;

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use linarite_env::{Clock, Env, UnixMillis};
use serde::Serialize;

use super::{Exit, answers, fails, interrupt, print, tell};
use crate::interrupt::Interrupt;
use crate::lab::{Lab, LabMode};
use crate::progress::Progress;
use crate::readings;
use crate::report::{Report, junit};
use crate::run::{self, Options, Stage, run_scenario};
use crate::scenario::pace::Pace;
use crate::scenario::suggest::{nearest, with_suggestion};
use crate::scenario::{DEVICES_MAX, Expectation, Scenario, ScenarioError};
use crate::target::Target;

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
    "leaf-roll-policy-matters",
    "leaf-roll-on-unauthorized",
    "power-loss-while-rolling",
    "clock-skew",
    "mixed-transports",
    "individual-there-and-back",
    "individual-hub-knows-both",
    "root-expiry",
    "root-cross-signed",
    "custom-allocation-with-failures",
    "two-hubs-migrate",
    "two-hubs-never",
    "two-hubs-old-firmware",
    "two-hubs-reset",
    "individual-breach-hub-deleted",
    "individual-breach-reregister",
    "intermediate-breach-hub-deleted",
    "intermediate-breach-reregister",
    "root-breach",
    "disallow-devices",
    "disallow-group",
    "disallow-intermediate",
    "disallow-root-above",
    "disallow-another-fleet",
    "roll-by-job-late-devices",
    "individual-shadows-group",
    "storm",
    "storm-on-a-small-hub",
    "slot-emptied-once-all-rolled",
    "intermediate-expiry-with-faults",
    "mistakes/intermediate-removed-early",
    "mistakes/leaf-outlives-issuer",
    "mistakes/individual-switched-early",
    "mistakes/individual-hub-knows-one",
    "mistakes/leaf-roll-changed-cn",
    "mistakes/leaf-roll-cn-not-the-id",
    "mistakes/leaf-roll-never-registers",
    "mistakes/leaf-roll-policy-never",
    "mistakes/leaf-roll-key-dropped-early",
    "mistakes/power-loss-key-in-memory",
    "mistakes/clock-skew-leaf-not-backdated",
    "mistakes/mixed-transports-bare-leaf",
    "mistakes/root-deleted-early",
    "mistakes/answers-after-the-roll",
    "mistakes/chain-without-intermediate",
    "mistakes/cross-certificate-forgotten",
    "mistakes/disallow-by-deleting",
    "mistakes/disallow-group-deleted",
    "mistakes/disallow-root-in-vain",
    "mistakes/disallow-hub-forgotten",
    "mistakes/individual-breach-hub-forgotten",
    "mistakes/intermediate-breach-hub-forgotten",
    "mistakes/intermediate-breach-wrong-order",
    "mistakes/faults-called-once",
    "mistakes/late-devices-forgotten",
    "mistakes/root-breach-hub-forgotten",
    "mistakes/root-breach-root-left",
    "mistakes/root-not-verified",
    "mistakes/shadowing-entry-forgotten",
    "mistakes/slot-emptied-early",
    "mistakes/two-hubs-policy-forgotten",
    "mistakes/storm-at-every-boot",
    "mistakes/storm-on-the-last-day",
    "mistakes/small-hub-on-the-last-day",
    "mistakes/late-devices-awaited-in-vain",
    "mistakes/individual-first-script-again",
    "mistakes/disallow-group-forgotten",
    "mistakes/two-hubs-turned-late",
    "mistakes/two-hubs-policy-default",
    "mistakes/two-hubs-firmware-updated",
    "mistakes/custom-allocation-hub-not-linked",
];

/// Arguments of `linarite run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Scenario files, directories of them, or names of built-in scenarios
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Check the files and run nothing
    #[arg(long, conflicts_with_all = ["seed", "devices", "real_time", "target", "report", "expect", "seeds", "minimise", "set", "matrix"])]
    check: bool,
    /// Seed in place of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of devices in place of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    devices: Option<u32>,
    /// Use real sockets and the wall clock instead of virtual time in memory
    #[arg(long)]
    real_time: bool,
    /// Run on an emulator that is up, by the file that its `linarite up --write-target FILE` wrote, in
    /// real time; what the run makes there is removed again
    #[arg(long, value_name = "FILE", conflicts_with_all = ["matrix", "seeds", "minimise"])]
    target: Option<PathBuf>,
    /// Read something that Azure does not document in another way
    #[arg(long, value_name = "SETTING=VALUE", value_parser = setting)]
    set: Vec<(String, toml::Value)>,
    /// Compare the readings of these settings, or of `all` one at a time
    #[arg(long, value_name = "SETTING,…", value_delimiter = ',', conflicts_with_all = ["seeds", "minimise"])]
    matrix: Vec<String>,
    /// Run with N seeds, from the first on, until one ends otherwise than expected
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    seeds: Option<u32>,
    /// Look for the fewest devices and faults with which a run that failed fails the same check
    #[arg(long)]
    minimise: bool,
    /// Runs at a time, each on a core of its own [default: one on each core]
    #[arg(long, value_name = "N", conflicts_with_all = ["real_time", "target"])]
    jobs: Option<NonZeroUsize>,
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

/// Reads what `--set` says.
fn setting(text: &str) -> Result<(String, toml::Value), String> {
    readings::parse(text).map_err(with_suggestion)
}

/// Runs what `args` name, several at a time where there are cores for them, and shows how they
/// ended in the order in which they are named.
///
/// When interrupted it shows what was seen by then, and begins nothing more.
///
/// Gives [`Exit::Unexpected`] if one did not end as expected, [`Exit::Usage`] for a scenario
/// that cannot be read, [`Exit::Machine`] where a run or its report could not be made.
#[must_use]
pub fn run(args: &RunArgs) -> Exit {
    if args.check {
        return check::check(args);
    }
    let scenarios = match scenarios(args) {
        Ok(scenarios) => scenarios,
        Err(error) => return fails(Exit::Usage, &error),
    };
    if let Err(error) = target::suitable(args, &scenarios) {
        return fails(Exit::Usage, &error);
    }
    let interrupt = match interrupt() {
        Ok(interrupt) => interrupt,
        Err(error) => return fails(Exit::Machine, &format!("cannot hear Ctrl-C: {error}")),
    };
    let reports = match all(args, &scenarios, &interrupt) {
        Ok(reports) => reports,
        Err(error) => return fails(Exit::Machine, &format!("{error:#}")),
    };
    if let Some(directory) = &args.report
        && let Err(error) = save(directory, &reports)
    {
        let message = format!(
            "cannot write the report to {}: {error}",
            directory.display()
        );
        return fails(Exit::Machine, &message);
    }
    let exit = conclude(args, &reports);
    match interrupt.is_asked() {
        false => exit,
        true => {
            let left = scenarios.len() - reports.len();
            if left > 0 {
                tell(&format!(
                    "linarite: {left} of {} scenarios were not begun",
                    scenarios.len()
                ));
            }
            Exit::Interrupted
        }
    }
}

/// Runs all of `scenarios`, and shows what there is to show.
fn all(
    args: &RunArgs,
    scenarios: &[Scenario],
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    let mut failed = Ok(());
    // Whoever runs many seeds of one scenario has the cores for these.
    let jobs = match args.seeds {
        Some(_) => NonZeroUsize::MIN,
        None => jobs(args),
    };
    let run = |number: usize| {
        let begins = !interrupt.is_asked();
        begins.then(|| one(args, &scenarios[number], interrupt))
    };
    pool::in_order(jobs, scenarios.len(), run, |ended| {
        let Some(ended) = ended else {
            return ControlFlow::Break(());
        };
        let shown = ended.and_then(|ended| {
            ended.show(args)?;
            Ok(ended.report)
        });
        match shown {
            Ok(report) => reports.push(report),
            Err(error) => {
                failed = Err(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    failed.map(|()| reports)
}

/// How many runs may be under way at a time. Against the wall clock they would disturb each
/// other.
fn jobs(args: &RunArgs) -> NonZeroUsize {
    match args.real_time || args.target.is_some() {
        true => NonZeroUsize::MIN,
        false => args.jobs.unwrap_or_else(pool::default_jobs),
    }
}

/// What came of one scenario.
struct Ended {
    report: Report,
    /// What is said of it, each as JSON and in words.
    said: Vec<(serde_json::Value, String)>,
}

impl Ended {
    fn say(&mut self, what: &impl Serialize, words: String) -> anyhow::Result<()> {
        self.said.push((serde_json::to_value(what)?, words));
        Ok(())
    }

    fn show(&self, args: &RunArgs) -> anyhow::Result<()> {
        for (json, words) in &self.said {
            let line = match args.json {
                true => serde_json::to_string(json)?,
                false => words.clone(),
            };
            print(&(line + "\n")).context("cannot print")?;
        }
        Ok(())
    }
}

/// Runs one scenario as `args` want it.
fn one(args: &RunArgs, scenario: &Scenario, interrupt: &Interrupt) -> anyhow::Result<Ended> {
    let readings = matrix::wanted(args, scenario).map_err(anyhow::Error::msg)?;
    if let Some(report) = matrix::compare(args, scenario, &readings, interrupt)? {
        return ended(report);
    }
    let mut run = match args.seeds {
        None => ended(execute(args, scenario.clone(), Quiet::No, interrupt)?)?,
        Some(seeds) => {
            let (found, report) = explore::explore(args, scenario, seeds, interrupt)?;
            let words = match report.expected.met {
                true => found.text(),
                false => format!("{}\n\n{}", found.text(), report.text()),
            };
            let said = vec![(serde_json::to_value(&found)?, words)];
            Ended { report, said }
        }
    };
    if args.minimise
        && let Some((minimum, shortest)) =
            explore::minimise(args, scenario, &run.report, interrupt)?
    {
        run.say(&minimum, minimum.text())?;
        run.report = shortest;
    }
    Ok(run)
}

/// A run of which nothing but its report is said.
fn ended(report: Report) -> anyhow::Result<Ended> {
    let said = vec![(serde_json::to_value(&report)?, report.text())];
    Ok(Ended { report, said })
}

/// All scenarios that `args` name, read and checked before any of them runs.
fn scenarios(args: &RunArgs) -> Result<Vec<Scenario>, String> {
    let mut scenarios = Vec::new();
    for name in named(args) {
        for (file, text) in sources(name)? {
            let scenario = Scenario::parse(&file, &text);
            scenarios.push(scenario.map_err(|error: ScenarioError| error.to_string())?);
        }
    }
    for scenario in &mut scenarios {
        scenario.seed = args.seed.unwrap_or(scenario.seed);
        scenario.fleet.devices = args.devices.unwrap_or(scenario.fleet.devices);
        for (name, value) in &args.set {
            scenario.settings.insert(name.clone(), value.clone());
            scenario.overrides.insert(name.clone(), value.clone());
        }
        matrix::wanted(args, scenario).map_err(with_suggestion)?;
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

/// What the arguments name, or what runs without any.
fn named(args: &RunArgs) -> Vec<&str> {
    match args.scenarios.as_slice() {
        [] => vec![DEFAULT],
        names => names.iter().map(String::as_str).collect(),
    }
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
    let meant = nearest(name, names.iter().copied());
    let meant = meant.map(|name| format!("; did you mean `{name}`?"));
    Err(format!(
        "{name}: neither a file, nor a directory, nor a built-in scenario; built in: {}{}",
        names.join(", "),
        meant.unwrap_or_default()
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

/// Whether a run shows how it goes. One of many does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quiet {
    Yes,
    No,
}

/// Runs one scenario on a runtime and an emulator of its own.
fn execute(
    args: &RunArgs,
    scenario: Scenario,
    quiet: Quiet,
    interrupt: &Interrupt,
) -> anyhow::Result<Report> {
    let (runtime, pace, mode) = if args.real_time || args.target.is_some() {
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
    let (devices, seed) = (scenario.fleet.devices, scenario.seed);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let days = scenario.duration.as_secs() as f64 / 86_400.0;
    let progress = Arc::new(match quiet {
        Quiet::Yes => Progress::silent(),
        Quiet::No => Progress::new(&scenario.name, devices, days, pace.clone()),
    });
    if let Some(path) = &args.target {
        let target = Target::read(path)?;
        let options = Options {
            devices,
            pace,
            target: Some(path.clone()),
        };
        return runtime.block_on(Box::pin(target.run(
            scenario,
            &options,
            progress,
            interrupt.clone(),
        )));
    }
    runtime.block_on(Box::pin(async {
        let epoch = if args.real_time {
            Clock::system().now_ms()
        } else {
            VIRTUAL_EPOCH
        };
        let options = Options {
            devices,
            pace,
            target: None,
        };
        let epoch = run::epoch(&scenario, &options, epoch);
        let env = Env::new(Clock::tokio(epoch), seed);
        let lab = Lab::of_scenario(env.clone(), mode, &scenario)
            .await
            .context("cannot start the emulator")?;
        let stage = Stage {
            services: lab.services.clone(),
            connector: Arc::clone(&lab.connector),
            env,
            interrupt: interrupt.clone(),
        };
        let report = run_scenario(Arc::new(scenario), &options, &stage, progress).await;
        if !interrupt.is_asked() {
            lab.stop().await;
        }
        report.context("cannot run the scenario")
    }))
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

fn conclude(args: &RunArgs, reports: &[Report]) -> Exit {
    let met = reports.iter().filter(|report| report.met()).count();
    let exit = match met == reports.len() {
        true => Exit::AsExpected,
        false => Exit::Unexpected,
    };
    if args.json || reports.len() < 2 {
        return exit;
    }
    let headlines = reports.iter().map(|report| report.headline() + "\n");
    let all = format!("{met} of {} scenarios ended as expected\n", reports.len());
    answers(exit, &headlines.chain([all]).collect::<String>())
}

#[cfg(test)]
mod tests;
