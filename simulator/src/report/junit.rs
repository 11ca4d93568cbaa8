//! `junit.xml`, as build servers read it.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Report, Verdict};
use crate::checker::{Check, Offence};

/// The reports as one JUnit file: a suite for each scenario, a case for each check.
///
/// Where a scenario is meant to fail there is one case, which holds if it failed as meant.
///
/// # Errors
/// None that a report's own types can cause.
pub fn junit<'a>(reports: impl IntoIterator<Item = &'a Report>) -> io::Result<String> {
    file(reports.into_iter().map(suite))
}

fn suite(report: &Report) -> Suite<'_> {
    let wall = Duration::try_from_secs_f64(report.wall_seconds).unwrap_or_default();
    let size = (report.seed, report.devices);
    let mut suite = Suite::new(&report.scenario, size, wall, &report.replay);
    match report.expected.verdict {
        Verdict::Pass | Verdict::Interrupted => {
            for check in &report.checks {
                suite.add(check.name, ended(report, check));
            }
        }
        Verdict::Fail => {
            let ended = match &report.expected.difference {
                None => Ended::Well,
                Some(difference) if report.is_interrupted() => Ended::Open(difference.clone()),
                Some(difference) => Ended::Badly(difference.clone()),
            };
            suite.add("fails-as-expected", ended);
        }
    }
    let readings = report.comparison.iter();
    for (all, outcome) in readings.flat_map(|all| all.outcomes.iter().map(move |one| (all, one))) {
        let ended = match outcome.met {
            true => Ended::Well,
            false => Ended::Badly(format!("failed: {}", outcome.failed.join(", "))),
        };
        suite.add(&format!("reading: {}", all.named(outcome)), ended);
    }
    suite
}

/// Why a check fails, with the first devices that it does not hold for.
fn explained(check: &Check) -> String {
    let device = |offence: &Offence| {
        let rule = offence.rule.as_deref().unwrap_or("no rule");
        format!("{} {} ({rule})", offence.device, offence.what)
    };
    let devices: Vec<String> = check.offences.iter().take(3).map(device).collect();
    if devices.is_empty() {
        return check.detail.clone();
    }
    format!("{}: {}", check.detail, devices.join("; "))
}

/// How a case ended, with the reason.
pub(crate) enum Ended {
    Well,
    Badly(String),
    /// The run was interrupted before.
    Open(String),
}

fn ended(report: &Report, check: &Check) -> Ended {
    match (check.passed, check.open) {
        (false, true) => Ended::Open(explained(check)),
        (false, false) => Ended::Badly(explained(check)),
        // What held until then says nothing of the rest.
        (true, _) if report.is_interrupted() => Ended::Open(check.detail.clone()),
        (true, _) => Ended::Well,
    }
}

/// Suites as one file.
pub(crate) fn file<'a>(suites: impl IntoIterator<Item = Suite<'a>>) -> io::Result<String> {
    let mut file = quick_junit::Report::new("linarite");
    file.add_test_suites(suites.into_iter().map(|suite| suite.suite));
    file.to_string().map_err(io::Error::other)
}

/// What one command shows, case by case.
pub(crate) struct Suite<'a> {
    suite: TestSuite,
    name: &'a str,
    /// The command.
    replay: &'a str,
}

impl<'a> Suite<'a> {
    /// Without a case yet; of that seed and number of devices.
    pub(crate) fn new(
        name: &'a str,
        (seed, devices): (u64, u32),
        wall: Duration,
        replay: &'a str,
    ) -> Self {
        let mut suite = TestSuite::new(name);
        suite.set_time(wall);
        suite.add_property(("seed", seed.to_string().as_str()));
        suite.add_property(("devices", devices.to_string().as_str()));
        suite.add_property(("replay", replay));
        Self {
            suite,
            name,
            replay,
        }
    }

    pub(crate) fn add(&mut self, name: &str, ended: Ended) {
        let status = match ended {
            Ended::Well => TestCaseStatus::success(),
            Ended::Open(reason) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(format!("interrupted; so far: {reason}"));
                status
            }
            Ended::Badly(reason) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_message(reason)
                    .set_description(format!("replay: {}", self.replay));
                status
            }
        };
        let mut case = TestCase::new(name, status);
        case.set_classname(self.name);
        self.suite.add_test_case(case);
    }
}
