//! Readings of what Azure does not document: the emulator's settings, by name.
//!
//! Known from the fidelity table, which a test holds to the emulator, so nothing here names one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use toml::Value;

use crate::parity::{Parity, ParityError, RuleId, Setting};

/// The section of the configuration that holds readings.
const SECTION: &str = "settings.";

/// Settings with their values.
pub type Readings = BTreeMap<String, Value>;

/// A setting that stands for an open question.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its name, without a section.
    pub name: String,
    /// What it decides.
    pub what: String,
    /// What holds where nobody says otherwise.
    pub default: Value,
    /// What it may be; empty for numbers.
    pub choices: Vec<Value>,
    /// The rules that depend on it, the open question first.
    pub rules: Vec<RuleId>,
    /// The numbers it may be.
    range: Option<(i64, i64)>,
}

/// Every reading there is.
#[must_use]
pub fn known() -> &'static [Reading] {
    static KNOWN: OnceLock<Vec<Reading>> = OnceLock::new();
    KNOWN.get_or_init(|| read().unwrap_or_default())
}

fn read() -> Result<Vec<Reading>, ParityError> {
    let settings = Parity::built_in()?.settings.into_iter();
    Ok(settings.filter_map(Reading::of).collect())
}

impl Reading {
    fn of(setting: Setting) -> Option<Self> {
        let name = setting.name.strip_prefix(SECTION)?.to_owned();
        let mut rules = setting.rules;
        rules.sort_by_key(|rule| !rule.to_string().starts_with('I'));
        Some(Self {
            name,
            what: setting.what,
            default: setting.default,
            choices: setting.choices,
            rules,
            range: setting.range.as_deref().and_then(bounds),
        })
    }

    /// What it may be, in words.
    #[must_use]
    pub fn domain(&self) -> String {
        let choices: Vec<String> = self.choices.iter().map(shown).collect();
        match self.range {
            Some((least, most)) => format!("a number from {least} to {most}"),
            None => choices.join(" or "),
        }
    }

    /// The first and the last of the numbers it may be.
    #[must_use]
    pub fn range(&self) -> Option<(i64, i64)> {
        self.range
    }

    fn admits(&self, value: &Value) -> bool {
        match (self.range, value) {
            (Some((least, most)), Value::Integer(number)) => (least..=most).contains(number),
            _ => self.choices.contains(value),
        }
    }
}

/// The first and the last number of a range such as `0 to 300 seconds`.
fn bounds(range: &str) -> Option<(i64, i64)> {
    let mut words = range.split(' ');
    let least = words.next()?.parse().ok()?;
    let most = words.nth(1)?.parse().ok()?;
    Some((least, most))
}

/// The reading called `name`.
///
/// # Errors
/// A sentence with the names that there are.
pub fn find(name: &str) -> Result<&'static Reading, String> {
    let found = known().iter().find(|reading| reading.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = known()
            .iter()
            .map(|reading| reading.name.as_str())
            .collect();
        format!("no setting is called `{name}`; known: {}", names.join(", "))
    })
}

/// Holds `value` to what the setting `name` may be.
///
/// # Errors
/// A sentence with what would do.
pub fn check(name: &str, value: &Value) -> Result<(), String> {
    let reading = find(name)?;
    if reading.admits(value) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no value of {name}; it is {}",
        shown(value),
        reading.domain()
    ))
}

/// A setting and its value from `name=value`, the value as TOML or as a bare word.
///
/// # Errors
/// A sentence with what would do.
pub fn parse(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not a setting like check_validity=false"))?;
    let (name, value) = (name.trim(), value.trim());
    let value = match (value, value.parse::<i64>()) {
        ("true", _) => Value::Boolean(true),
        ("false", _) => Value::Boolean(false),
        (_, Ok(number)) => Value::Integer(number),
        (word, Err(_)) => Value::String(word.trim_matches('"').to_owned()),
    };
    check(name, &value)?;
    Ok((name.to_owned(), value))
}

/// A value without quotes.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_has_values_and_most_have_an_open_question() {
        assert!(known().len() >= 10, "{} readings", known().len());
        for reading in known() {
            let numbers = reading.range.is_some();
            assert!(numbers || reading.choices.len() > 1, "{}", reading.name);
            assert!(reading.admits(&reading.default), "{}", reading.name);
        }
        let named = find("drop_on_expiry").unwrap();
        assert_eq!(named.rules[0].to_string(), "I-4");
    }

    #[test]
    fn a_setting_is_read_by_name_and_held_to_its_values() {
        assert_eq!(
            parse("hub_thumbprints=presented_then_other"),
            Ok((
                "hub_thumbprints".to_owned(),
                Value::String("presented_then_other".to_owned())
            ))
        );
        assert_eq!(
            parse("forced_close_delay_seconds = 300"),
            Ok(("forced_close_delay_seconds".to_owned(), Value::Integer(300)))
        );
        let refused = [
            ("forced_close_delay_seconds=301", "from 0 to 300"),
            ("check_validity=maybe", "false or true"),
            (
                "chek_validity=true",
                "no setting is called `chek_validity`; known: ",
            ),
            ("check_validity", "like check_validity=false"),
        ];
        for (text, words) in refused {
            let message = parse(text).unwrap_err();
            assert!(message.contains(words), "{text}: {message}");
        }
    }
}
