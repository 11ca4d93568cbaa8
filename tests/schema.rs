//! The published schemas are those that the command prints, and what they describe is valid.

use std::fs;
use std::path::PathBuf;

use jsonschema::Validator;
use linarite::command::schema::{Subject, text};
use serde_json::Value;

use crate::support::repository::root;

/// Makes the published files anew.
const COMMAND: &str = "UPDATE_SCHEMA=1 cargo test --workspace --test suite schema";
const SCENARIO: &str = "docs/scenario.schema.json";

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

/// What `validator` says against `instance`, one line each.
fn complaints(validator: &Validator, instance: &Value) -> Vec<String> {
    let errors = validator.iter_errors(instance);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The scenario at `path` as JSON sees it.
fn scenario(path: &PathBuf) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    serde_json::to_value(table).unwrap()
}

/// Every scenario file of the repository.
fn scenarios() -> Vec<PathBuf> {
    let folders = ["scenarios", "scenarios/mistakes"].map(|folder| root().join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_published_schema_is_the_one_that_the_command_prints() {
    let made = text(Subject::Scenario).unwrap();
    let path = root().join(SCENARIO);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == published,
        "{SCENARIO} is out of date; make it anew with {COMMAND}"
    );
}

#[test]
fn every_scenario_of_the_repository_is_valid() {
    let validator = validator(&text(Subject::Scenario).unwrap());
    let files = scenarios();
    assert!(files.len() >= 7, "only {} files found", files.len());
    for file in files {
        let wrong = complaints(&validator, &scenario(&file));
        assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let validator = validator(&text(Subject::Scenario).unwrap());
    let whole = scenario(&root().join("scenarios/intermediate-expiry.toml"));
    let table: [(&str, Value); 8] = [
        ("/sede", Value::from(1)),
        ("/duration", Value::from("soon")),
        ("/fleet/devices", Value::from(0)),
        ("/fleet/firmware/0/on_boot", Value::from("sleep")),
        ("/authority/0/valid", serde_json::json!(["1d"])),
        ("/step/0/do", Value::from("add-certificate")),
        ("/step/0/group", Value::from("fleet")),
        ("/budget", Value::Null),
    ];
    for (pointer, value) in table {
        let mut broken = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = broken.pointer_mut(parent).unwrap();
        parent[key] = value;
        assert!(!validator.is_valid(&broken), "{pointer}");
    }
}
