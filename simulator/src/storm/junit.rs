//! `junit.xml` of a storm, as build servers read it.

use std::io;
use std::time::Duration;

use super::outcome::Outcome;
use crate::report::junit::{Ended, Suite, file};

/// What the suite is called.
const SUITE: &str = "storm";

impl Outcome {
    /// The outcome as one JUnit suite: a case that everybody was served, and one for each threshold.
    ///
    /// # Errors
    /// None that an outcome's own types can cause.
    pub fn junit(&self) -> io::Result<String> {
        let wall = Duration::from_millis(self.wall_ms.unsigned_abs());
        let mut suite = Suite::new(SUITE, (self.seed, self.devices), wall, &self.replay);
        suite.add("all-served", self.ended(self.all_served(), self.headline()));
        for judgement in &self.thresholds {
            let measured = format!("{} is {}", judgement.figure, judgement.measured_text());
            let ended = self.ended(judgement.passed, measured);
            suite.add(&judgement.threshold, ended);
        }
        file([suite])
    }

    /// How a case ended of which `seen` is what there is to say. Of a storm that was interrupted
    /// nobody knows.
    fn ended(&self, passed: bool, seen: String) -> Ended {
        match (self.interrupted, passed) {
            (true, _) => Ended::Open(seen),
            (false, true) => Ended::Well,
            (false, false) => Ended::Badly(seen),
        }
    }
}
