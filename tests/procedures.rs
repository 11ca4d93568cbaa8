//! Every procedure that `linarite new` offers runs to a pass.

use linarite::command::new::{Procedure, Roll};
use linarite::report::Verdict;
use linarite::scenario::Scenario;

use crate::scenarios::run_with;

/// Enough for a share of every audit; a procedure that is wrong is wrong for each device.
const DEVICES: u32 = 4;

fn every_procedure_passes(trigger: Roll) {
    let mut all = Procedure::all(DEVICES);
    all.retain(|procedure| procedure.trigger == trigger);
    assert_eq!(all.len(), 11);
    for procedure in all {
        let text = procedure.text(None, None).unwrap();
        let report = run_with(Scenario::parse("new.toml", &text).unwrap(), 1, DEVICES);
        assert_eq!(report.verdict, Verdict::Pass, "{}\n{text}", report.text());
        assert_eq!(report.devices_on_new_certificate, DEVICES as usize);
    }
}

#[test]
fn every_new_scenario_that_rolls_by_method_passes() {
    every_procedure_passes(Roll::Method);
}

#[test]
fn every_new_scenario_that_rolls_when_refused_passes() {
    every_procedure_passes(Roll::Unauthorized);
}

#[test]
fn every_new_scenario_that_rolls_at_boot_passes() {
    every_procedure_passes(Roll::Boot);
}
