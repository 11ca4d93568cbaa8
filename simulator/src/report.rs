//! What a run showed, for machines and for people.
//!
//! `report.json` is the report as it is; `report.html`, `junit.xml` and the words on the
//! terminal are made of it and of nothing else. It names devices and certificates; it holds no
//! key and no token.

mod chart;
mod html;
pub(crate) mod junit;
mod rolled;
mod rules;
mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checker::{
    ActivityBin, CHECKS, Check, Downtime, Findings, MessageTotals, Refusals, Registrations,
    TimelinePoint, Worst,
};
use crate::matrix::Comparison;
use crate::operator::StepOutcome;
use crate::readings::{self, Reading, Readings, shown};
use crate::scenario::pace::Pace;
use crate::scenario::{Expectation, Scenario};

pub use junit::junit;
pub use rolled::{Certificate, Rolled};

/// A run's outer circumstances.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Number of devices.
    pub devices: u32,
    /// Virtual time or the wall clock.
    pub pace: Pace,
    /// The file that names the emulator it ran on, where that was in another process.
    pub target: Option<PathBuf>,
    /// Length on the run's clock, in milliseconds.
    pub elapsed_ms: i64,
    /// Length on the wall clock with preparations, in milliseconds.
    pub wall_ms: i64,
    /// What the operator did.
    pub steps: Vec<StepOutcome>,
    /// Whether it ended before its time.
    pub interrupted: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every check holds.
    Pass,
    /// At least one does not.
    Fail,
    /// It was interrupted, so nobody knows.
    Interrupted,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How the run was meant to end, and whether it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The verdict the scenario asks for.
    pub verdict: Verdict,
    /// The check that must be among the failed ones.
    pub check: Option<String>,
    /// The rule a device must have fallen to.
    pub rule: Option<String>,
    /// Whether the run ended so.
    pub met: bool,
    /// If not, what was different.
    pub difference: Option<String>,
}

/// A reading that is not the usual one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// The setting's name.
    pub name: String,
    /// What it decides.
    pub what: String,
    /// Its value in this run.
    pub value: toml::Value,
    /// The usual one.
    pub default: toml::Value,
    /// The rules that it stands for, the open question first.
    pub rules: Vec<String>,
}

/// Those of `settings` that differ from the defaults.
fn chosen(settings: &Readings) -> Vec<Chosen> {
    let chosen = |reading: &Reading| {
        let value = settings.get(&reading.name)?;
        (*value != reading.default).then(|| Chosen {
            name: reading.name.clone(),
            what: reading.what.clone(),
            value: value.clone(),
            default: reading.default.clone(),
            rules: reading.rules.iter().map(ToString::to_string).collect(),
        })
    };
    readings::known().iter().filter_map(chosen).collect()
}

/// Everything about a run that is worth keeping.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed that replays it.
    pub seed: u64,
    /// Number of devices.
    pub devices: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// How it was meant to end.
    pub expected: Expected,
    /// The checks.
    pub checks: Vec<Check>,
    /// Longest wait for a session per device, over the fleet.
    pub downtime_ms: Downtime,
    /// Messages.
    pub messages: MessageTotals,
    /// Registrations.
    pub registrations: Registrations,
    /// Devices connected with the newest certificate at the end.
    pub devices_on_new_certificate: usize,
    /// Devices that are meant to be refused.
    pub devices_locked_out: usize,
    /// Uses of retired certificates that were accepted.
    pub stale_credentials_accepted: u64,
    /// Length on the run's clock.
    pub virtual_seconds: f64,
    /// Length on the wall clock.
    pub wall_seconds: f64,
    /// Equal for equal seeds in virtual time.
    pub trace_hash: String,
    /// What a pass proves.
    pub claim: String,
    /// The section of the roll guide.
    pub guide: Option<String>,
    /// Rules and oracles exercised.
    pub proves: Vec<String>,
    /// `virtual` or `real-time`.
    pub time: &'static str,
    /// The newest generation.
    pub newest_generation: u32,
    /// Longest wait allowed, in milliseconds.
    pub gap_budget_ms: i64,
    /// When the roll began, in milliseconds on the run's clock.
    pub roll_starts_ms: i64,
    /// What the operator did.
    pub steps: Vec<StepOutcome>,
    /// The fleet over time.
    pub timeline: Vec<TimelinePoint>,
    /// Devices by their longest wait.
    pub downtime_histogram: Vec<chart::Bin>,
    /// Which certificates were rolled.
    pub rolled: Rolled,
    /// Refusals by place and rule, the most frequent first.
    pub refusals: Vec<Refusals>,
    /// Registrations and refusals of devices over time.
    pub activity: Vec<ActivityBin>,
    /// The device that fared worst, with its moments.
    pub worst_device: Option<Worst>,
    /// Readings of what Azure does not document that are not the usual ones.
    pub settings: Vec<Chosen>,
    /// The same scenario under other readings, where that was asked for.
    pub comparison: Option<Comparison>,
    /// The command that runs it again.
    pub replay: String,
    #[serde(skip)]
    axis: chart::Axis,
}

impl Report {
    /// The report of one run of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario, run: Run, mut findings: Findings) -> Self {
        let budget = i64::try_from(scenario.gap_budget.as_millis()).unwrap_or(i64::MAX);
        let roll = i64::try_from(run.pace.procedure(scenario.roll_starts).as_millis());
        if run.interrupted {
            findings.leave_open();
        }
        let verdict = match (run.interrupted, findings.passed()) {
            (true, _) => Verdict::Interrupted,
            (false, true) => Verdict::Pass,
            (false, false) => Verdict::Fail,
        };
        Self {
            scenario: scenario.name.clone(),
            seed: run.seed,
            devices: run.devices,
            verdict,
            expected: expected(&scenario.expect, verdict, &findings.checks),
            downtime_ms: findings.downtime,
            messages: findings.messages,
            registrations: findings.registrations,
            devices_on_new_certificate: findings.on_newest,
            devices_locked_out: findings.locked_out,
            stale_credentials_accepted: findings.stale_accepted,
            virtual_seconds: seconds(run.elapsed_ms),
            wall_seconds: seconds(run.wall_ms),
            trace_hash: findings.trace_hash,
            claim: scenario.claim.clone(),
            guide: scenario.guide.clone(),
            proves: scenario.proves.clone(),
            time: if run.pace == Pace::Virtual {
                "virtual"
            } else {
                "real-time"
            },
            newest_generation: scenario.newest_generation().0,
            gap_budget_ms: budget,
            roll_starts_ms: roll.unwrap_or(i64::MAX),
            downtime_histogram: chart::bins(&findings.longest_gaps_ms, budget),
            axis: chart::Axis::new(scenario, &run.pace, run.elapsed_ms),
            timeline: findings.timeline,
            checks: findings.checks,
            rolled: Rolled::new(scenario, &run.pace),
            refusals: findings.refusals,
            activity: findings.activity,
            worst_device: findings.worst,
            settings: chosen(&scenario.settings),
            comparison: None,
            replay: replay(scenario, &run),
            steps: run.steps,
        }
    }

    /// The same with how the scenario ended under other readings.
    #[must_use]
    pub fn compared(mut self, comparison: Comparison) -> Self {
        self.comparison = Some(comparison);
        self
    }

    /// The checks that do not hold.
    pub fn failed(&self) -> impl Iterator<Item = &'static str> {
        let failed = self.checks.iter().filter(|check| !check.passed);
        failed.map(|check| check.name)
    }

    /// Whether the run, and each that it was compared with, ended as expected.
    #[must_use]
    pub fn met(&self) -> bool {
        self.expected.met && self.comparison.as_ref().is_none_or(Comparison::met)
    }

    /// Whether the run was interrupted.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.verdict == Verdict::Interrupted
    }

    /// Writes `report.json`, `report.html` and `junit.xml` into `directory`, which is made if
    /// it is not there.
    ///
    /// # Errors
    /// What the file system says, or that a report could not be put into form.
    pub fn save(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("report.json"), self.json()?)?;
        fs::write(directory.join("report.html"), self.html()?)?;
        fs::write(directory.join("junit.xml"), junit([self])?)
    }

    /// The report as JSON, with a line break at the end.
    ///
    /// # Errors
    /// None that a report's own types can cause.
    pub fn json(&self) -> io::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

fn seconds(ms: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a run's milliseconds fit 53 bits"
    )]
    let seconds = ms as f64 / 1000.0;
    seconds
}

fn replay(scenario: &Scenario, run: &Run) -> String {
    let pace = match (&run.target, &run.pace) {
        (Some(file), _) => format!(" --target {}", file.display()),
        (None, Pace::Virtual) => String::new(),
        (None, Pace::RealTime(_)) => " --real-time".to_owned(),
    };
    let set = scenario.overrides.iter();
    let set: String = set
        .map(|(name, value)| format!(" --set {name}={}", shown(value)))
        .collect();
    format!(
        "linarite run {} --seed {} --devices {}{pace}{set}",
        scenario.file, run.seed, run.devices
    )
}

fn expected(expectation: &Expectation, verdict: Verdict, checks: &[Check]) -> Expected {
    let (wanted, check, rule) = match expectation {
        Expectation::Pass => (Verdict::Pass, None, None),
        Expectation::Fail { check, rule } => (Verdict::Fail, check.clone(), rule.clone()),
    };
    let difference = if verdict == Verdict::Interrupted {
        Some("interrupted before its end".to_owned())
    } else if verdict != wanted {
        Some(format!(
            "expected {}, got {}",
            wanted.word(),
            verdict.word()
        ))
    } else {
        reason_missing(check.as_deref(), rule.as_deref(), checks)
    };
    Expected {
        verdict: wanted,
        check,
        rule,
        met: difference.is_none(),
        difference,
    }
}

/// What of the stated reason is not among the failed checks.
fn reason_missing(check: Option<&str>, rule: Option<&str>, checks: &[Check]) -> Option<String> {
    let failed: Vec<&Check> = checks
        .iter()
        .filter(|one| !one.passed && check.is_none_or(|name| one.name == name))
        .collect();
    if let Some(name) = check
        && failed.is_empty()
    {
        debug_assert!(CHECKS.iter().any(|(known, _)| *known == name));
        return Some(format!("expected {name} to fail, but it holds"));
    }
    let rule = rule?;
    let met: Vec<&str> = failed
        .iter()
        .flat_map(|one| one.rules.keys().map(String::as_str))
        .collect();
    let listed = if met.is_empty() {
        "none".to_owned()
    } else {
        met.join(", ")
    };
    (!met.contains(&rule)).then(|| format!("expected a device to fall to {rule}, got {listed}"))
}

#[cfg(test)]
mod tests;
