//! `junit.xml`, as build servers read it.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Report, Verdict};

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
            Verdict::Pass => {
                suite.add_test_cases(report.checks.iter().map(|check| {
                    let outcome = if check.passed {
                        Ok(())
                    } else {
                        Err(check.detail.clone())
                    };
                    case(report, check.name, outcome)
                }));
            }
            Verdict::Fail => {
                let outcome = match &report.expected.difference {
                    None => Ok(()),
                    Some(difference) => Err(difference.clone()),
                };
                suite.add_test_case(case(report, "fails-as-expected", outcome));
            }
        }
        for outcome in report.comparison.iter().flat_map(|all| &all.outcomes) {
            let named = report.comparison.as_ref().map(|all| all.named(outcome));
            let name = format!("reading: {}", named.unwrap_or_default());
            let ended = match outcome.met {
                true => Ok(()),
                false => Err(format!("failed: {}", outcome.failed.join(", "))),
            };
            suite.add_test_case(case(report, &name, ended));
        }
        file.add_test_suite(suite);
    }
    file.to_string().map_err(io::Error::other)
}

fn case(report: &Report, name: &str, outcome: Result<(), String>) -> TestCase {
    let status = match outcome {
        Ok(()) => TestCaseStatus::success(),
        Err(reason) => {
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
