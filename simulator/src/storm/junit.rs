//! `junit.xml` of a storm, as build servers read it.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::outcome::Outcome;

/// What the suite is called.
const SUITE: &str = "storm";

impl Outcome {
    /// The outcome as one JUnit suite: a case that everybody was served, and one for each threshold.
    ///
    /// # Errors
    /// None that an outcome's own types can cause.
    pub fn junit(&self) -> io::Result<String> {
        let mut suite = TestSuite::new(SUITE);
        suite.set_time(Duration::from_millis(self.wall_ms.unsigned_abs()));
        suite.add_property(("seed", self.seed.to_string().as_str()));
        suite.add_property(("devices", self.devices.to_string().as_str()));
        suite.add_property(("replay", self.replay.as_str()));
        let left = (!self.all_served()).then(|| self.headline());
        suite.add_test_case(self.case("all-served", left));
        for judgement in &self.thresholds {
            let missed = format!("{} is {}", judgement.figure, judgement.measured_text());
            let missed = (!judgement.passed).then_some(missed);
            suite.add_test_case(self.case(&judgement.threshold, missed));
        }
        let mut file = quick_junit::Report::new("linarite");
        file.add_test_suite(suite);
        file.to_string().map_err(io::Error::other)
    }

    /// A case that fails with `missed`, if there is something to say.
    fn case(&self, name: &str, missed: Option<String>) -> TestCase {
        let status = match missed {
            None => TestCaseStatus::success(),
            Some(missed) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let description = format!("replay: {}", self.replay);
                status.set_message(missed).set_description(description);
                status
            }
        };
        let mut case = TestCase::new(name, status);
        case.set_classname(SUITE);
        case
    }
}
