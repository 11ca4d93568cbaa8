//! `linarite run` with `[matrix]` or `--matrix`: one scenario under every reading asked for.

use super::{Quiet, RunArgs, execute, tell};
use crate::interrupt::Interrupt;
use crate::matrix::{Comparison, Outcome, combinations, of_names, one_at_a_time};
use crate::readings::{Readings, shown};
use crate::report::{Report, Verdict};
use crate::scenario::Scenario;

/// The readings to compare; none where one run is all that is asked for.
///
/// # Errors
/// A sentence about `--matrix`.
pub(super) fn wanted(args: &RunArgs, scenario: &Scenario) -> Result<Vec<Readings>, String> {
    let base = &scenario.settings;
    match args.matrix.as_slice() {
        // One reading was asked for, so that is what runs.
        [] if !args.set.is_empty() || args.seeds.is_some() || scenario.matrix.is_empty() => {
            Ok(Vec::new())
        }
        [] => combinations(base, &scenario.matrix),
        // The product of all would be thousands of runs.
        [all] if all == "all" => Ok(one_at_a_time(base)),
        names => combinations(base, &of_names(names.iter().map(String::as_str))?),
    }
}

/// Runs `scenario` under each of `readings`, or under as many as there is time for until it is
/// interrupted. Gives the report of the first, with the comparison.
pub(super) fn compare(
    args: &RunArgs,
    scenario: &Scenario,
    readings: &[Readings],
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Report>> {
    let mut first = None;
    let mut outcomes = Vec::new();
    for (number, settings) in (1..).zip(readings) {
        let mut next = scenario.clone();
        let changed = settings
            .iter()
            .filter(|(name, value)| scenario.settings.get(*name) != Some(*value));
        next.overrides
            .extend(changed.map(|(name, value)| (name.clone(), value.clone())));
        next.settings = settings.clone();
        let report = execute(args, next, Quiet::Yes, interrupt)?;
        if report.is_interrupted() {
            first.get_or_insert(report);
            break;
        }
        let outcome = Outcome {
            settings: settings.clone(),
            passed: report.verdict == Verdict::Pass,
            met: report.expected.met,
            failed: report.failed().collect(),
            replay: report.replay.clone(),
        };
        let named: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name}={}", shown(value)))
            .collect();
        tell(&format!(
            "{}, reading {number} of {}: {}  {}",
            scenario.name,
            readings.len(),
            report.verdict.word(),
            named.join(" "),
        ));
        outcomes.push(outcome);
        first.get_or_insert(report);
    }
    Ok(first.map(|report| report.compared(Comparison::new(outcomes))))
}
