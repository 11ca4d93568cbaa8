//! What became of the operator's steps: one that went otherwise than the scenario announces
//! shows nothing of what it was to show.

use std::collections::BTreeMap;

use super::judge::{Check, Offence};
use super::{CHECKS, StepFailure};

/// Steps that failed and are listed; more are only counted.
const LISTED: usize = 10;

/// The operator's steps so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    taken: usize,
    failed: usize,
    /// The number of a step, when it began in milliseconds of the run's clock, and what failed.
    kept: Vec<(usize, i64, StepFailure)>,
}

impl Steps {
    /// Takes note of the next step; `failure` is what was not to fail in it.
    pub(super) fn took(&mut self, began: i64, failure: Option<StepFailure>) {
        self.taken += 1;
        let Some(failure) = failure else { return };
        self.failed += 1;
        if self.kept.len() < LISTED {
            self.kept.push((self.taken, began, failure));
        }
    }

    /// The check number `number`; reported times count from `origin`.
    pub(super) fn check(&self, number: usize, origin: i64) -> Check {
        let (name, letter) = CHECKS[number];
        let Self { taken, failed, .. } = self;
        let detail = match failed {
            0 => format!("all {taken} steps went as the scenario says"),
            _ => format!("{failed} of {taken} steps did not go as the scenario says"),
        };
        let offence = |(number, began, failure): &(usize, i64, StepFailure)| Offence {
            device: format!("step {number}"),
            from_ms: Some(began - origin),
            until_ms: Some(began - origin),
            rule: None,
            what: failure.0.clone(),
        };
        Check {
            name,
            letter,
            passed: *failed == 0,
            open: false,
            detail,
            offenders: *failed,
            rules: BTreeMap::new(),
            offences: self.kept.iter().map(offence).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_is_counted_and_named_by_its_number() {
        let mut steps = Steps::default();
        steps.took(1000, None);
        assert!(steps.check(8, 1000).passed);
        for began in 0..20 {
            let failure = StepFailure("1 of 2 failed".to_owned());
            steps.took(2000 + began, Some(failure));
        }
        let check = steps.check(8, 1000);
        assert_eq!((check.name, check.passed), ("operator-steps", false));
        assert_eq!((check.offenders, check.offences.len()), (20, LISTED));
        assert_eq!(check.offences[0].device, "step 2");
        assert_eq!(check.offences[0].from_ms, Some(1000));
        assert!(
            check.detail.starts_with("20 of 21 steps"),
            "{}",
            check.detail
        );
    }
}
