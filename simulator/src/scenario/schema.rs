//! The published schema of scenario files, for editors and other programs.
//!
//! Fields come from the reader, steps from the table of their kinds, checks from the checker; only
//! the words and bounds stand in a table of their own, `schema/fields.toml`.

mod shape;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::steps::KINDS;
use crate::readings::{self, Reading};
use shape::{Kind, Shape, below};

const FIELDS: &str = include_str!("schema/fields.toml");
/// Spans of time as [`super::duration::Span`] reads them.
const TIME: &str = "^-?([0-9]+(ms|w|d|h|m|s))+$";
/// The list of steps; what belongs to one depends on its kind.
const STEP: &str = "step[]";
/// Fields that belong to every step.
const EVERY_STEP: [&str; 4] = ["at", "do", "when", "may_fail"];

/// What the table says of a field.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    what: String,
    minimum: Option<u64>,
    maximum: Option<u64>,
    pattern: Option<String>,
    choices: Option<Vec<String>>,
}

/// The schema of scenario files, as JSON Schema draft 7, which editors of TOML understand.
///
/// # Panics
/// Never: a test makes the same schema.
#[must_use]
pub fn scenario() -> Value {
    let author = Author {
        shape: shape::shape(),
        words: words(),
    };
    let mut schema = author.node("");
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        schema.insert("title".to_owned(), json!("A scenario of Linarite"));
    }
    schema
}

#[expect(
    clippy::expect_used,
    reason = "the table is part of the source, and tested"
)]
fn words() -> BTreeMap<String, Words> {
    toml::from_str(FIELDS).expect("the table of fields is TOML")
}

/// Writes the schema.
struct Author {
    shape: Shape,
    words: BTreeMap<String, Words>,
}

impl Author {
    /// The schema of what stands at `path`.
    fn node(&self, path: &str) -> Value {
        let mut node = match self.shape.get(path) {
            _ if path == STEP => self.steps(),
            _ if path == "settings" => settings(|value| value),
            _ if path == "matrix" => {
                settings(|value| json!({"type": "array", "items": value, "minItems": 2}))
            }
            Some(Kind::Table(fields)) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                let required = fields.iter().filter(|field| field.required);
                let required: Vec<&str> = required.map(|field| field.name).collect();
                self.table(path, &names, &required)
            }
            Some(Kind::List(length)) => {
                let items = self.node(&format!("{path}[]"));
                match length {
                    Some(n) => {
                        json!({"type": "array", "items": items, "minItems": n, "maxItems": n})
                    }
                    None => json!({"type": "array", "items": items}),
                }
            }
            Some(Kind::Time) => json!({"type": "string", "pattern": TIME}),
            Some(Kind::Choice(words)) => json!({"type": "string", "enum": words}),
            Some(Kind::Number) => json!({"type": "integer", "minimum": 0}),
            Some(Kind::Switch) => json!({"type": "boolean"}),
            Some(Kind::NumberOrText) => json!({"type": ["integer", "string"]}),
            Some(Kind::Map) => json!({"type": "object"}),
            Some(Kind::Text) | None => json!({"type": "string"}),
        };
        if let Some(node) = node.as_object_mut() {
            self.say(path, node);
        }
        node
    }

    /// Adds what the tables say of `path`.
    fn say(&self, path: &str, node: &mut Map<String, Value>) {
        if path == "expect.check" {
            let checks: Vec<&str> = crate::checker::CHECKS
                .iter()
                .map(|(name, _)| *name)
                .collect();
            node.insert("enum".to_owned(), json!(checks));
        }
        let Some(words) = self.words.get(path) else {
            return;
        };
        node.insert("description".to_owned(), json!(words.what));
        let bounds = [
            ("minimum", words.minimum.map(|bound| json!(bound))),
            ("maximum", words.maximum.map(|bound| json!(bound))),
            (
                "pattern",
                words.pattern.as_ref().map(|pattern| json!(pattern)),
            ),
            ("enum", words.choices.as_ref().map(|choices| json!(choices))),
        ];
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                node.insert(name.to_owned(), bound);
            }
        }
    }

    fn table(&self, path: &str, fields: &[&str], required: &[&str]) -> Value {
        let properties = fields.iter().map(|field| {
            let node = self.node(&below(path, field));
            ((*field).to_owned(), node)
        });
        let properties: Map<String, Value> = properties.collect();
        let mut table = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            table["required"] = json!(required);
        }
        table
    }

    /// One schema for each kind of step, of which exactly one fits.
    fn steps(&self) -> Value {
        let kind = |(name, fields): &(&str, &[&str])| {
            let fields: Vec<&str> = EVERY_STEP.iter().chain(*fields).copied().collect();
            let mut step = self.table(STEP, &fields, &["do"]);
            step["properties"]["do"] = json!({"const": name});
            step["title"] = json!(name);
            step
        };
        json!({"type": "object", "oneOf": KINDS.iter().map(kind).collect::<Vec<Value>>()})
    }
}

/// A table with a field for each reading, whose values `shape` may wrap.
fn settings(shape: impl Fn(Value) -> Value) -> Value {
    let property = |reading: &Reading| {
        let mut value = match reading.range() {
            Some((least, most)) => json!({"type": "integer", "minimum": least, "maximum": most}),
            None => json!({"enum": reading.choices}),
        };
        let rules: Vec<String> = reading.rules.iter().map(ToString::to_string).collect();
        value["description"] = json!(format!("{} ({})", reading.what, rules.join(", ")));
        value["default"] = json!(reading.default);
        (reading.name.clone(), shape(value))
    };
    let properties: Map<String, Value> = readings::known().iter().map(property).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_words_knows_no_field_that_the_reader_does_not() {
        let shape = shape::shape();
        let unknown: Vec<String> = words()
            .into_keys()
            .filter(|path| !shape.contains_key(path))
            .collect();
        assert!(unknown.is_empty(), "no longer in a scenario: {unknown:?}");
        let devices = &words()["fleet.devices"];
        assert_eq!(devices.maximum, Some(u64::from(super::super::DEVICES_MAX)));
    }

    #[test]
    fn the_reader_tells_types_and_what_may_be_left_out() {
        let shape = shape::shape();
        let table = [
            ("duration", Kind::Time),
            ("claim", Kind::Text),
            ("seed", Kind::Number),
            ("authority[].valid", Kind::List(Some(2))),
            ("authority[].valid[]", Kind::Time),
            ("fleet.enrollment.individual", Kind::Switch),
            ("step[].primary", Kind::NumberOrText),
            (
                "fleet.firmware[].on_boot",
                Kind::Choice(&["connect", "register"]),
            ),
        ];
        for (path, kind) in table {
            assert_eq!(shape[path], kind, "{path}");
        }
        let Kind::Table(fields) = &shape["leaf[]"] else {
            panic!("{:?}", shape["leaf[]"])
        };
        let required: Vec<&str> = fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        assert_eq!(required, ["generation", "issuer", "valid"]);
    }

    #[test]
    fn every_field_of_a_step_belongs_to_a_kind_of_step() {
        let shape = shape::shape();
        let Kind::Table(fields) = &shape[STEP] else {
            panic!("{:?}", shape[STEP])
        };
        let known: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        let kinds = KINDS.iter().flat_map(|(_, fields)| fields.iter().copied());
        let listed: BTreeSet<&str> = EVERY_STEP.into_iter().chain(kinds).collect();
        assert_eq!(known, listed);
    }
}
