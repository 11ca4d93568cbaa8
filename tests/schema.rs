//! The published schemas are those that the command prints, and what they describe is valid.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use jsonschema::Validator;
use linarite::command::schema::{Subject, text};
use linarite::interrupt::Interrupt;
use linarite::matrix::{Comparison, Outcome};
use linarite::readings::{self, Readings};
use linarite::report::Report;
use linarite::scenario::Scenario;
use linarite::scenario::duration::{DAY_MS, Span};
use linarite::storm::cause::Cause;
use linarite::storm::{self, Limits, Over, Plan};
use linarite_core::hub::tier::{Edition, Tier};
use serde_json::Value;

use crate::scenarios::{run_until, run_with};
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

/// What `schema` says against `report`: a member it does not know, or knows and misses.
fn report_complaints(report: &Report) -> Vec<String> {
    let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    complaints(&validator(&text(Subject::Report).unwrap()), &json)
}

#[test]
fn real_reports_are_as_their_schema_says() {
    for file in [
        "scenarios/leaf-roll-same-issuer.toml",
        "scenarios/mistakes/individual-switched-early.toml",
    ] {
        let toml = fs::read_to_string(root().join(file)).unwrap();
        let mut scenario = Scenario::parse(file, &toml).unwrap();
        let other = readings::parse("drop_on_expiry=true").unwrap();
        scenario.settings.insert(other.0, other.1);
        let mut report = run_with(scenario.clone(), 1, 4);
        assert!(!report.settings.is_empty() && report.worst_device.is_some());
        let wrong = report_complaints(&report);
        assert!(wrong.is_empty(), "{file}: {wrong:#?}");

        let outcome = |passed, settings| Outcome {
            settings,
            passed,
            met: passed,
            failed: report.failed().collect(),
            replay: report.replay.clone(),
        };
        let both = vec![
            outcome(true, Readings::new()),
            outcome(false, scenario.settings.clone()),
        ];
        report = report.compared(Comparison::new(both));
        let wrong = report_complaints(&report);
        assert!(wrong.is_empty(), "{file}, compared: {wrong:#?}");

        let interrupt = Interrupt::new();
        interrupt.ask();
        let report = run_until(scenario, 1, 4, interrupt);
        assert!(report.is_interrupted());
        let wrong = report_complaints(&report);
        assert!(wrong.is_empty(), "{file}, interrupted: {wrong:#?}");
    }
}

/// A storm of forty devices that brings `plan` about.
fn storm(plan: Plan) -> Value {
    let outcome = storm::run(
        &Plan {
            devices: 40,
            ..plan
        },
        false,
        &Interrupt::new(),
    )
    .unwrap();
    serde_json::to_value(outcome).unwrap()
}

#[test]
fn real_storms_are_as_their_schema_says() {
    let validator = validator(&text(Subject::Storm).unwrap());
    let limits = Limits {
        registrations_per_minute: NonZeroU32::new(20),
        tier: Some(Tier::new(Edition::S1, 1).unwrap()),
        refused_requests_count: true,
    };
    let held = Plan {
        limits,
        cause: Cause::RootExpiry,
        certificate_life: Some(Span(90 * DAY_MS)),
        thresholds: ["finish<=1s", "ratio<=2", "failed==0"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        ..Plan::default()
    };
    let plans = [
        Plan::default(),
        Plan {
            give_up: Duration::from_secs(1),
            limits,
            ..Plan::default()
        },
        Plan {
            over: Over::Pipes,
            ..held.clone()
        },
        Plan {
            cause: Cause::PowerCut { forgetful: true },
            arrival: "batches=10/1m".parse().unwrap(),
            ..Plan::default()
        },
        Plan {
            cause: Cause::HubFailover {
                down_for: Span(60_000),
            },
            ..Plan::default()
        },
        held,
    ];
    for plan in plans {
        let replay = plan.replay();
        let outcome = storm(plan);
        let wrong = complaints(&validator, &outcome);
        assert!(wrong.is_empty(), "{replay}: {wrong:#?}");
        let mut more = outcome.clone();
        more["more"] = Value::from(1);
        assert!(!validator.is_valid(&more), "{replay}");
    }
}

#[test]
fn the_schemas_of_reports_and_storms_leave_nothing_open() {
    for (subject, least) in [(Subject::Report, 15), (Subject::Storm, 10)] {
        let schema: Value = serde_json::from_str(&text(subject).unwrap()).unwrap();
        let objects = closed_objects(&schema);
        assert!(objects >= least, "{subject:?}: {objects} objects");
    }
}

/// How many objects `schema` describes, all of whose members must be there and no others.
fn closed_objects(schema: &Value) -> usize {
    let mut objects = 0;
    let mut left = vec![schema];
    while let Some(node) = left.pop() {
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            objects += 1;
            let required = node["required"].as_array().unwrap();
            assert_eq!(required.len(), properties.len(), "{node:#}");
            assert_eq!(node["additionalProperties"], false, "{node:#}");
        }
        match node {
            Value::Object(members) => left.extend(members.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    objects
}
