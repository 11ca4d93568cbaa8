//! Writes `docs/parity.md` and the list of tests that the command shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use linarite::parity::{Api, Area, Parity, Rule, RuleId, State};

use super::{COMMAND, Citations};

/// Tests that the page names for one rule; the others are counted.
const TESTS_NAMED: usize = 3;

/// What most paths of the management APIs begin with.
const RESOURCE_GROUP: &str = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}\
                              /providers/Microsoft.Devices";

/// Every pair of a rule and a test that cites it.
pub(super) fn list(citations: &Citations) -> String {
    let mut text = String::new();
    for (rule, tests) in citations {
        for test in tests {
            let _ = writeln!(text, "{rule} {test}");
        }
    }
    text
}

/// The page.
pub(super) fn page(table: &Parity, citations: &Citations) -> String {
    let mut text = format!(
        "<!-- Made from simulator/src/parity and the tests; change those, then run\n     \
         {COMMAND} -->\n\n{INTRODUCTION}"
    );
    summary(&mut text, table);
    settings(&mut text, table);
    for area in Area::ALL {
        let _ = writeln!(text, "\n## {}\n", area.title());
        text.push_str("| rule | what holds | grade | state | tested by |\n|---|---|---|---|---|\n");
        for rule in table.rules.iter().filter(|rule| rule.area == area) {
            let tests = tested_by(citations, rule.id);
            let (grade, state) = (grade(rule), state(rule));
            let _ = writeln!(
                text,
                "| {} | {} | {grade} | {state} | {tests} |",
                rule.id,
                cell(&rule.claim)
            );
        }
    }
    text.push_str(OPERATIONS);
    for api in &table.apis {
        operations(&mut text, api);
    }
    text
}

const INTRODUCTION: &str = "\
# What is emulated

Every rule of DPS and IoT Hub that Linarite knows has a number.
The code that follows it, the refusals it causes and the tests that check it name that number.
`linarite parity` prints this table, `linarite parity R-A22` all about one rule, and `linarite parity --json` everything for programs.

What is not emulated answers with HTTP 501 and error 501000, or refuses the connection, and says so.

| state | means |
|---|---|
| emulated | done as Azure does it |
| setting | a setting chooses between the readings; the default is the one with the best evidence |
| assumed | done in one fixed way, without evidence that Azure does it so |
| partly | done, but for what is named |
| not emulated | not done; the reason says what to do instead |

| grade | the evidence |
|---|---|
| D | Microsoft's documentation says so |
| T | a test that Microsoft runs against the live service asserts it |
| S | it follows from the source of Microsoft's SDKs, or from a published definition |
| I+, I- | an issue says so: by Microsoft or with a raw answer, or by a user alone |
| K | known of the service, not verified anew |
| X | assumed |

A rule with several grades has parts; where one of them is assumed, the state names it.
";

const OPERATIONS: &str = "
## HTTP operations

A test sends each one and compares.
";

fn summary(text: &mut String, table: &Parity) {
    let names = State::ALL.map(State::name).join(" | ");
    let _ = writeln!(text, "\n| | {names} |\n|---|---|---|---|---|---|");
    let mut row = |title: &str, states: &[State]| {
        let counts = State::ALL.map(|state| {
            let count = states.iter().filter(|one| **one == state).count();
            count.to_string()
        });
        let _ = writeln!(text, "| {title} | {} |", counts.join(" | "));
    };
    for area in Area::ALL {
        let rules = table.rules.iter().filter(|rule| rule.area == area);
        row(
            area.title(),
            &rules.map(|rule| rule.state).collect::<Vec<_>>(),
        );
    }
    let operations = table.apis.iter().flat_map(|api| &api.operations);
    row(
        "HTTP operations",
        &operations.map(|one| one.state).collect::<Vec<_>>(),
    );
}

fn settings(text: &mut String, table: &Parity) {
    text.push_str(
        "\n## Settings\n\nThey go into the file of `linarite up --config`; \
         [linarite.toml](linarite.toml) has them all.\n\n\
         | setting | decides | default | may be | rules |\n|---|---|---|---|---|\n",
    );
    for setting in &table.settings {
        let rules: Vec<String> = setting.rules.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {} |",
            setting.name,
            cell(&setting.what),
            setting.default,
            setting.domain(),
            rules.join(", ")
        );
    }
}

fn grade(rule: &Rule) -> &str {
    if rule.grade.is_empty() {
        "–"
    } else {
        &rule.grade
    }
}

fn state(rule: &Rule) -> String {
    let mut state = rule.state.name().to_owned();
    let gap = rule.missing.iter().chain(&rule.reason).next();
    match (rule.state, gap) {
        (State::Partly, Some(gap)) => state += &format!("; missing: {gap}"),
        (_, Some(gap)) => state += &format!(": {gap}"),
        (_, None) => {}
    }
    if !rule.settings.is_empty() {
        state += &format!(" (`{}`)", rule.settings.join("`, `"));
    }
    if let Some(assumed) = &rule.assumed {
        state += &format!("; assumed: {assumed}");
    }
    if let Some(note) = &rule.note {
        state += &format!("; {note}");
    }
    cell(&state)
}

fn tested_by(citations: &Citations, rule: RuleId) -> String {
    let none = BTreeSet::new();
    let tests = citations.get(&rule).unwrap_or(&none);
    let named: Vec<String> = tests
        .iter()
        .take(TESTS_NAMED)
        .map(|test| format!("`{test}`"))
        .collect();
    match (named.len(), tests.len() - named.len()) {
        (0, _) => "–".to_owned(),
        (_, 0) => named.join("<br>"),
        (_, more) => format!("{}<br>and {more} more", named.join("<br>")),
    }
}

fn operations(text: &mut String, api: &Api) {
    let _ = writeln!(text, "\n### {}, {}\n", api.name, api.version);
    let short = |path: &str| match path.strip_prefix(RESOURCE_GROUP) {
        Some(rest) => format!("…{rest}"),
        None => path.to_owned(),
    };
    if api
        .operations
        .iter()
        .any(|one| short(&one.path) != one.path)
    {
        let _ = writeln!(text, "… stands for `{RESOURCE_GROUP}`.\n");
    }
    text.push_str("| call | operation | state |\n|---|---|---|\n");
    for one in &api.operations {
        let gap = one.missing.iter().chain(&one.reason).next();
        let gap = gap
            .map(|gap| format!(": {}", cell(gap)))
            .unwrap_or_default();
        let (path, state) = (short(&one.path), one.state.name());
        let _ = writeln!(
            text,
            "| `{} {path}` | {} | {state}{gap} |",
            one.method, one.id
        );
    }
}

/// Words as a cell of a table has them.
fn cell(words: &str) -> String {
    words
        .replace('|', "\\|")
        .replace('*', "\\*")
        .replace('<', "&lt;")
}
