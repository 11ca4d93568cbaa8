//! `linarite run --target`: whether an emulator that is up serves for what is to run.

use super::RunArgs;
use crate::scenario::Scenario;
use crate::target::Target;

/// Looks whether the emulator that is up, if one is meant, serves for all of `scenarios`.
pub(super) fn suitable(args: &RunArgs, scenarios: &[Scenario]) -> Result<(), String> {
    let Some(path) = &args.target else {
        return Ok(());
    };
    let target = Target::read(path).map_err(|error| format!("{error:#}"))?;
    for scenario in scenarios {
        if !scenario.matrix.is_empty() {
            return Err(format!(
                "{}: compares readings, each of which needs an emulator of its own; run it \
                 without --target",
                scenario.file
            ));
        }
        target.suits(scenario)?;
    }
    Ok(())
}
