//! `linarite run`: runs scenarios and says how they ended.

mod check;
mod explore;
mod matrix;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use linarite_env::{Clock, Env, UnixMillis};
use serde::Serialize;

use super::{Exit, fails};
use crate::lab::{Lab, LabMode};
use crate::progress::Progress;
use crate::readings;
use crate::report::{Report, junit};
use crate::run::{Options, Stage, run_scenario};
use crate::scenario::pace::Pace;
use crate::scenario::suggest::{nearest, with_suggestion};
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
    "power-loss-while-rolling",
    "clock-skew",
    "mixed-transports",
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
    "intermediate-expiry-with-faults",
    "mistakes/intermediate-removed-early",
    "mistakes/individual-switched-early",
    "mistakes/leaf-roll-changed-cn",
    "mistakes/leaf-roll-never-registers",
    "mistakes/leaf-roll-key-dropped-early",
    "mistakes/power-loss-key-in-memory",
    "mistakes/clock-skew-leaf-not-backdated",
    "mistakes/root-deleted-early",
    "mistakes/answers-after-the-roll",
    "mistakes/chain-without-intermediate",
    "mistakes/disallow-by-deleting",
    "mistakes/disallow-group-deleted",
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
];

/// Arguments of `linarite run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Scenario files, directories of them, or names of built-in scenarios
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Check the files and run nothing
    #[arg(long, conflicts_with_all = ["seed", "devices", "real_time", "report", "expect", "seeds", "minimise", "set", "matrix"])]
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

/// Runs what `args` name, one after the other.
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
    let mut reports = Vec::new();
    for scenario in scenarios {
        match one(args, &scenario) {
            Ok(report) => reports.push(report),
            Err(error) => return fails(Exit::Machine, &format!("{error:#}")),
        }
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

/// Runs one scenario as `args` want it, and shows what there is to show.
fn one(args: &RunArgs, scenario: &Scenario) -> anyhow::Result<Report> {
    let readings = matrix::wanted(args, scenario).map_err(anyhow::Error::msg)?;
    if let Some(report) = matrix::compare(args, scenario, &readings)? {
        say(args, &report, || report.text())?;
        return Ok(report);
    }
    let report = match args.seeds {
        None => {
            let report = execute(args, scenario.clone(), Quiet::No)?;
            say(args, &report, || report.text())?;
            report
        }
        Some(seeds) => {
            let (found, report) = explore::explore(args, scenario, seeds)?;
            say(args, &found, || found.text())?;
            if !report.expected.met && !args.json {
                say(args, &report, || format!("\n{}", report.text()))?;
            }
            report
        }
    };
    if args.minimise
        && let Some((minimum, shortest)) = explore::minimise(args, scenario, &report)?
    {
        say(args, &minimum, || minimum.text())?;
        return Ok(shortest);
    }
    Ok(report)
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
fn execute(args: &RunArgs, scenario: Scenario, quiet: Quiet) -> anyhow::Result<Report> {
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
    let (devices, seed) = (scenario.fleet.devices, scenario.seed);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let days = scenario.duration.as_secs() as f64 / 86_400.0;
    let progress = Arc::new(match quiet {
        Quiet::Yes => Progress::silent(),
        Quiet::No => Progress::new(&scenario.name, devices, days, pace.clone()),
    });
    runtime.block_on(Box::pin(async {
        let epoch = if args.real_time {
            Clock::system().now_ms()
        } else {
            VIRTUAL_EPOCH
        };
        let env = Env::new(Clock::tokio(epoch), seed);
        let lab = Lab::with_readings(env.clone(), mode, &scenario.hubs, &scenario.settings)
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

/// Prints `what` as a line of JSON, or in words.
#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(args: &RunArgs, what: &impl Serialize, words: impl Fn() -> String) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(what)?);
    } else {
        println!("{}", words());
    }
    Ok(())
}

/// Tells on standard error how things go between runs.
#[expect(clippy::print_stderr, reason = "progress")]
fn tell(line: &str) {
    eprintln!("{line}");
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
    let met = reports.iter().filter(|report| report.met()).count();
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
    use clap::Parser;

    use super::*;
    use crate::report::Verdict;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: RunArgs,
    }

    /// The arguments `words` and the one scenario that they name.
    fn asked(words: &str) -> (RunArgs, Scenario) {
        let words = std::iter::once("run").chain(words.split(' '));
        let args = Cli::parse_from(words).args;
        let scenario = scenarios(&args).unwrap().remove(0);
        (args, scenario)
    }

    /// I-14.
    #[test]
    fn a_verdict_that_hangs_on_a_guess_says_on_which() {
        let words = "leaf-roll-same-issuer --devices 3 --matrix check_validity,strict_ids";
        let (args, scenario) = asked(words);
        let readings = matrix::wanted(&args, &scenario).unwrap();
        assert_eq!(readings.len(), 4);
        let report = matrix::compare(&args, &scenario, &readings)
            .unwrap()
            .unwrap();
        assert!(report.expected.met && !report.met());
        let headline = report.headline();
        assert!(
            headline.starts_with("PASS, but not under every reading"),
            "{headline}"
        );
        let comparison = report.comparison.as_ref().unwrap();
        let on: Vec<&str> = comparison
            .depends_on
            .iter()
            .map(|one| one.setting.as_str())
            .collect();
        assert_eq!(on, ["check_validity"]);
        let text = report.text();
        let sentence = "depends on check_validity (I-14";
        assert!(
            text.contains(sentence) && text.contains("FAIL  check_validity=false"),
            "{text}"
        );
        assert!(report.html().unwrap().contains(sentence));
        assert!(
            junit([&report])
                .unwrap()
                .contains("reading: check_validity=false")
        );
        let replayed = &comparison.outcomes[3].replay;
        assert!(
            replayed.contains("--set check_validity=false"),
            "{replayed}"
        );
    }

    #[test]
    fn a_setting_that_is_misspelt_is_answered_with_the_one_that_was_meant() {
        let message = setting("chek_validity=false").unwrap_err();
        assert!(
            message.ends_with("did you mean `check_validity`?"),
            "{message}"
        );
        let args = Cli::parse_from(["run", "--matrix", "strict_id"]).args;
        let message = scenarios(&args).unwrap_err();
        assert!(message.ends_with("did you mean `strict_ids`?"), "{message}");
    }

    #[test]
    fn one_reading_is_chosen_by_name_and_shown() {
        let (args, scenario) =
            asked("leaf-roll-same-issuer --devices 2 --set check_validity=false");
        assert!(matrix::wanted(&args, &scenario).unwrap().is_empty());
        let report = execute(&args, scenario, Quiet::Yes).unwrap();
        assert_eq!(report.verdict, Verdict::Fail, "expired leaves are accepted");
        assert_eq!(report.settings[0].name, "check_validity");
        assert!(
            report.replay.ends_with("--set check_validity=false"),
            "{}",
            report.replay
        );
        assert!(
            report
                .text()
                .contains("check_validity is false and not true (I-14")
        );
    }

    #[test]
    fn seeds_are_tried_until_one_ends_otherwise_than_expected() {
        let (args, scenario) = asked("individual-switched-early --devices 4 --seed 7 --seeds 3");
        let (found, report) = explore::explore(&args, &scenario, 2).unwrap();
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            (&json["tried"], &json["as_expected"]),
            (&2.into(), &2.into())
        );
        assert!(json["stopped"].is_null() && report.seed == 8, "{json}");
        assert!(
            found.text().contains("seeds 7 to 8, all 2"),
            "{}",
            found.text()
        );

        let (args, mut scenario) = asked("individual-switched-early --devices 4 --seed 7");
        scenario.expect = Expectation::Pass;
        let (found, report) = explore::explore(&args, &scenario, 3).unwrap();
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            (&json["tried"], &json["as_expected"]),
            (&1.into(), &0.into())
        );
        assert_eq!(json["stopped"]["replay"], report.replay.as_str());
        assert!(
            found.text().contains("--seed 7 --devices 4"),
            "{}",
            found.text()
        );
    }

    #[test]
    fn a_failing_run_is_shortened_and_a_passing_one_is_not() {
        let (args, scenario) = asked("individual-switched-early --devices 6 --minimise");
        let report = execute(&args, scenario.clone(), Quiet::Yes).unwrap();
        let (minimum, shortest) = explore::minimise(&args, &scenario, &report)
            .unwrap()
            .unwrap();
        let json = serde_json::to_value(&minimum).unwrap();
        assert_eq!(
            (&json["check"], &json["devices"]),
            (&"never-stranded".into(), &1.into())
        );
        assert!(minimum.text().contains("--devices 1"), "{}", minimum.text());
        assert_eq!((shortest.devices, shortest.verdict), (1, Verdict::Fail));

        let (args, scenario) = asked("individual-expiry --devices 2 --minimise");
        let report = execute(&args, scenario.clone(), Quiet::Yes).unwrap();
        assert!(
            explore::minimise(&args, &scenario, &report)
                .unwrap()
                .is_none()
        );
    }

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
