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
    let mut file = quick_junit::Report::new("linarite");
    for report in reports {
        let mut suite = TestSuite::new(report.scenario.as_str());
        let time = Duration::try_from_secs_f64(report.wall_seconds).unwrap_or_default();
        suite.set_time(time);
        suite.add_property(("seed", report.seed.to_string().as_str()));
        suite.add_property(("devices", report.devices.to_string().as_str()));
        suite.add_property(("replay", report.replay.as_str()));
        match report.expected.verdict {
            Verdict::Pass | Verdict::Interrupted => {
                let case_of = |check: &Check| case(report, check.name, ended(report, check));
                suite.add_test_cases(report.checks.iter().map(case_of));
            }
            Verdict::Fail => {
                let outcome = match &report.expected.difference {
                    None => Ended::Well,
                    Some(difference) if report.is_interrupted() => Ended::Open(difference.clone()),
                    Some(difference) => Ended::Badly(difference.clone()),
                };
                suite.add_test_case(case(report, "fails-as-expected", outcome));
            }
        }
        for outcome in report.comparison.iter().flat_map(|all| &all.outcomes) {
            let named = report.comparison.as_ref().map(|all| all.named(outcome));
            let name = format!("reading: {}", named.unwrap_or_default());
            let how = match outcome.met {
                true => Ended::Well,
                false => Ended::Badly(format!("failed: {}", outcome.failed.join(", "))),
            };
            suite.add_test_case(case(report, &name, how));
        }
        file.add_test_suite(suite);
    }
    file.to_string().map_err(io::Error::other)
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
enum Ended {
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

fn case(report: &Report, name: &str, ended: Ended) -> TestCase {
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
                .set_description(format!("replay: {}", report.replay));
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(report.scenario.as_str());
    case
}
