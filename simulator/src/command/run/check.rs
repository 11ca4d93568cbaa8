//! `linarite run --check`: reads scenarios and says what is wrong with them, without a run.

use serde::Serialize;

use super::{RunArgs, named, sources};
use crate::command::{Exit, answers, fails};
use crate::scenario::duration::DAY_MS;
use crate::scenario::{Scenario, ScenarioError};

/// What there is to say of one file, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    /// The same for the terminal.
    #[serde(skip)]
    line_of_text: String,
}

/// Checks every file that `args` name, also behind one that is wrong.
pub(super) fn check(args: &RunArgs) -> Exit {
    let mut findings = Vec::new();
    for name in named(args) {
        match sources(name) {
            Ok(files) => findings.extend(files.iter().map(|(file, text)| examine(file, text))),
            Err(error) => return fails(Exit::Usage, &error),
        }
    }
    show(args, &findings)
}

fn examine(file: &str, text: &str) -> Finding {
    match Scenario::parse(file, text) {
        Ok(scenario) => whole(scenario),
        Err(error) => mistaken(error),
    }
}

fn whole(scenario: Scenario) -> Finding {
    let days = scenario.duration.as_millis() / u128::from(DAY_MS.unsigned_abs());
    let line_of_text = format!(
        "ok     {}  ({}: {} devices, {days} days, {} steps)",
        scenario.file,
        scenario.name,
        scenario.fleet.devices,
        scenario.steps.len()
    );
    Finding {
        file: scenario.file,
        ok: true,
        scenario: Some(scenario.name),
        line: None,
        field: None,
        message: None,
        suggestion: None,
        line_of_text,
    }
}

fn mistaken(error: ScenarioError) -> Finding {
    let line_of_text = format!("WRONG  {error}");
    Finding {
        file: error.file,
        ok: false,
        scenario: None,
        line: error.line,
        field: (!error.field.is_empty()).then_some(error.field),
        message: Some(error.message),
        suggestion: error.suggestion,
        line_of_text,
    }
}

fn show(args: &RunArgs, findings: &[Finding]) -> Exit {
    let whole = findings.iter().filter(|finding| finding.ok).count();
    let exit = match whole == findings.len() {
        true => Exit::AsExpected,
        false => Exit::Usage,
    };
    let line = |finding: &Finding| match args.json {
        true => serde_json::to_string(finding),
        false => Ok(finding.line_of_text.clone()),
    };
    let lines: Result<Vec<String>, _> = findings.iter().map(line).collect();
    let mut lines = match lines {
        Ok(lines) => lines,
        Err(error) => return fails(Exit::Machine, &error.to_string()),
    };
    if !args.json && findings.len() > 1 {
        lines.push(format!(
            "{whole} of {} scenarios are in order",
            findings.len()
        ));
    }
    answers(exit, &(lines.join("\n") + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = include_str!("../../../../scenarios/intermediate-expiry.toml");

    #[test]
    fn a_whole_scenario_is_in_order() {
        let finding = examine("a.toml", WHOLE);
        assert!(finding.ok);
        assert_eq!(
            finding.line_of_text,
            "ok     a.toml  (intermediate-expiry: 1000 devices, 95 days, 8 steps)"
        );
    }

    #[test]
    fn a_mistake_has_its_place_and_what_was_meant() {
        let text = WHOLE.replacen("do = \"put-group\"", "do = \"put-grop\"", 1);
        let finding = examine("a.toml", &text);
        let line = text.lines().position(|line| line.contains("put-grop"));
        assert_eq!(finding.line, line.map(|line| line + 1));
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["field"], "step[2].do");
        assert_eq!(json["suggestion"], "put-group");
        assert!(
            finding.line_of_text.ends_with("did you mean `put-group`?"),
            "{finding:?}"
        );
    }
}
