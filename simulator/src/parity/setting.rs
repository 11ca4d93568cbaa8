//! The settings that rules depend on.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{ParityError, RuleId};

const TABLE: &str = include_str!("settings.toml");

/// The configuration file with every default; a test of the emulator holds it to them.
const DEFAULTS: &str = include_str!("../../../docs/linarite.toml");

/// A setting of `linarite up --config`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its section and name.
    pub name: String,
    /// What it decides.
    pub what: String,
    /// What holds where nobody says otherwise.
    pub default: Value,
    /// What it may be; empty for numbers.
    pub choices: Vec<Value>,
    /// The numbers it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The rules that depend on it.
    pub rules: Vec<RuleId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    setting: Vec<RawSetting>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSetting {
    name: String,
    what: String,
    choices: Option<Vec<String>>,
    range: Option<String>,
}

/// All settings, in the order of the table, without their rules.
pub(super) fn read() -> Result<Vec<Setting>, ParityError> {
    let wrong = |error: &dyn std::fmt::Display| ParityError::new("settings", error);
    let table: RawTable = toml::from_str(TABLE).map_err(|error| wrong(&error))?;
    let defaults: Table = toml::from_str(DEFAULTS).map_err(|error| wrong(&error))?;
    let read = |raw: RawSetting| {
        let default = find(&defaults, &raw.name)
            .ok_or_else(|| wrong(&format!("{}: not in docs/linarite.toml", raw.name)))?;
        let choices = match (raw.choices, &raw.range) {
            (Some(choices), _) => choices.into_iter().map(Value::String).collect(),
            (None, None) => vec![Value::Boolean(false), Value::Boolean(true)],
            (None, Some(_)) => Vec::new(),
        };
        if raw.range.is_none() && !choices.contains(default) {
            let problem = format!("{}: the default {default} is none of the choices", raw.name);
            return Err(wrong(&problem));
        }
        Ok(Setting {
            name: raw.name,
            what: raw.what,
            default: default.clone(),
            choices,
            range: raw.range,
            rules: Vec::new(),
        })
    };
    table.setting.into_iter().map(read).collect()
}

/// What stands at `section.name`; of a list of sections the first one counts.
fn find<'a>(table: &'a Table, name: &str) -> Option<&'a Value> {
    let (section, name) = name.split_once('.')?;
    match table.get(section)? {
        Value::Array(sections) => sections.first()?.get(name),
        section => section.get(name),
    }
}

impl Setting {
    /// What it may be, in words.
    #[must_use]
    pub fn domain(&self) -> String {
        let choices = self.choices.iter().map(|choice| match choice {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let choices: Vec<String> = choices.collect();
        self.range.clone().unwrap_or_else(|| choices.join(" or "))
    }
}
