//! The fidelity table: which rules of Azure are followed, chosen, assumed or missing.
//!
//! What enters: the tables in the folder beside this file, the settings' defaults from
//! `docs/linarite.toml`, and the list of tests that cite each rule, which a test of the
//! repository gathers. What leaves: [`Parity`], for the terminal and as JSON.
//! Nothing here knows what a rule does; claims are held to the code by the tests that cite them.

mod operation;
mod rule;
mod rule_id;
mod setting;
mod text;

pub use operation::{Api, Operation};
pub use rule::{Area, Rule, State};
pub use rule_id::RuleId;
pub use setting::Setting;

use serde::Serialize;

/// Longest claim about a rule, in characters: one line beside its number.
pub const CLAIM_LENGTH_MAX: usize = 100;

/// Which tests cite which rule: one pair a line, in order.
const TESTED: &str = include_str!("parity/tested.txt");

/// The whole table.
#[derive(Clone, Debug)]
pub struct Parity {
    /// Rules in order of their numbers, area by area.
    pub rules: Vec<Rule>,
    /// HTTP APIs with their operations, in order of the table.
    pub apis: Vec<Api>,
    /// Settings that a rule depends on.
    pub settings: Vec<Setting>,
}

/// What is wrong with a table. The built-in ones are tested, so nobody sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {problem}")]
pub struct ParityError {
    /// The table.
    pub table: &'static str,
    /// The entry and what was expected of it.
    pub problem: String,
}

impl ParityError {
    fn new(table: &'static str, problem: impl std::fmt::Display) -> Self {
        let problem = problem.to_string();
        Self { table, problem }
    }
}

/// The table as JSON has it.
#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    rules: &'a [Rule],
    operations: Vec<OperationRow<'a>>,
    settings: &'a [Setting],
}

#[derive(Serialize)]
struct OperationRow<'a> {
    api: &'a str,
    version: &'a str,
    area: Area,
    #[serde(flatten)]
    operation: &'a Operation,
}

impl Parity {
    /// The table of this build.
    ///
    /// # Errors
    /// Never in practice: a test reads the same tables.
    pub fn built_in() -> Result<Self, ParityError> {
        let mut rules = rule::read()?;
        for (id, test) in tested(TESTED) {
            if let Some(rule) = rules.iter_mut().find(|rule| rule.id == id) {
                rule.tested_by.push(test.to_owned());
            }
        }
        let mut settings = setting::read()?;
        for setting in &mut settings {
            let named = |rule: &&Rule| rule.settings.contains(&setting.name);
            setting.rules = rules.iter().filter(named).map(|rule| rule.id).collect();
        }
        for rule in &rules {
            for name in &rule.settings {
                if !settings.iter().any(|setting| setting.name == *name) {
                    let problem = format!("{}: no setting is named {name}", rule.id);
                    return Err(ParityError::new("rules", problem));
                }
            }
        }
        let apis = operation::read()?;
        Ok(Self {
            rules,
            apis,
            settings,
        })
    }

    /// The rule of that number.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// What is left of the table if only rules and operations that pass are kept, with the
    /// settings that a kept rule names.
    #[must_use]
    pub fn only(
        mut self,
        rule: impl Fn(&Rule) -> bool,
        operation: impl Fn(&Api, &Operation) -> bool,
    ) -> Self {
        self.rules.retain(rule);
        for api in &mut self.apis {
            let mut operations = std::mem::take(&mut api.operations);
            operations.retain(|one| operation(api, one));
            api.operations = operations;
        }
        self.apis.retain(|api| !api.operations.is_empty());
        let rules = &self.rules;
        self.settings.retain(|setting| {
            rules
                .iter()
                .any(|rule| rule.settings.contains(&setting.name))
        });
        self
    }

    /// The table as one JSON object.
    ///
    /// # Errors
    /// Never in practice: nothing in it is without a JSON form.
    pub fn json(&self) -> serde_json::Result<String> {
        let row = |api| move |operation| OperationRow::new(api, operation);
        let rows = self
            .apis
            .iter()
            .flat_map(|api| api.operations.iter().map(row(api)));
        serde_json::to_string(&Document {
            version: env!("CARGO_PKG_VERSION"),
            rules: &self.rules,
            operations: rows.collect(),
            settings: &self.settings,
        })
    }
}

impl<'a> OperationRow<'a> {
    fn new(api: &'a Api, operation: &'a Operation) -> Self {
        Self {
            api: &api.name,
            version: &api.version,
            area: api.area,
            operation,
        }
    }
}

/// The pairs of a list of citations: a rule, a blank, a test.
fn tested(text: &str) -> impl Iterator<Item = (RuleId, &str)> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(id, test)| Some((RuleId::parse(id)?, test)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_are_whole() {
        let parity = Parity::built_in().unwrap();
        assert!(parity.rules.len() > 200, "{}", parity.rules.len());
        assert!(parity.apis.iter().all(|api| !api.operations.is_empty()));
        let unused = parity
            .settings
            .iter()
            .find(|setting| setting.rules.is_empty());
        assert_eq!(unused, None, "no rule names this setting");
        let tested = |rule: &&Rule| !rule.tested_by.is_empty();
        assert!(parity.rules.iter().filter(tested).count() > 100);
    }

    #[test]
    fn what_is_left_out_takes_its_settings_along() {
        let id = RuleId::parse("I-1").unwrap();
        let left = Parity::built_in()
            .unwrap()
            .only(|rule| rule.id == id, |_, _| false);
        assert_eq!((left.rules.len(), left.apis.len()), (1, 0));
        let names: Vec<_> = left.settings.iter().map(|setting| &setting.name).collect();
        assert_eq!(names, ["settings.disabled_precedence"]);
    }

    #[test]
    fn json_has_rules_operations_and_settings_with_their_choices() {
        let json = Parity::built_in().unwrap().json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let find = |list: &str, member: &str, value: &str| {
            let list = json[list].as_array().unwrap();
            list.iter()
                .find(|item| item[member] == value)
                .unwrap()
                .clone()
        };
        let rule = find("rules", "id", "R-A24");
        assert_eq!(rule["area"], "dps");
        assert_eq!(rule["state"], "setting");
        assert_eq!(rule["settings"][0], "settings.disabled_precedence");
        assert!(!rule["tested_by"].as_array().unwrap().is_empty());
        let operation = find("operations", "id", "IndividualEnrollment_Get");
        assert_eq!(operation["method"], "GET");
        assert_eq!(operation["path"], "/enrollments/{id}");
        assert_eq!(operation["api"], "DPS service API");
        let setting = find("settings", "name", "settings.disabled_precedence");
        assert_eq!(setting["default"], "first_match");
        assert_eq!(setting["choices"][1], "any_in_chain");
        assert_eq!(setting["rules"][1], "I-1");
    }
}
