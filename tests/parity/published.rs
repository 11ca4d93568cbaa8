//! Holds the table to the documents beside the checkout: every rule and every operation of
//! theirs is in it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use linarite::parity::RuleId;
use serde_json::Value;

use super::table;
use crate::support::shared;

const GRADES: [&str; 7] = ["D", "T", "S", "I+", "I-", "K", "X"];
const METHODS: [&str; 6] = ["delete", "get", "head", "patch", "post", "put"];

/// The rules of a document, with the text of each.
fn rules(document: &str) -> BTreeMap<RuleId, String> {
    let mut rules: BTreeMap<RuleId, String> = BTreeMap::new();
    let mut current = None;
    let mut properties = false;
    for line in document.lines() {
        if line.starts_with('#') || line.starts_with("---") {
            properties = line.starts_with("## K.");
            current = None;
        }
        let head = line.trim_start_matches(['*', '|', ' ']);
        let begins = line.starts_with("**") || line.starts_with('|');
        let id = RuleId::read(head).map(|(id, _)| id).filter(|_| begins);
        let numbered = line.split_once(". ").filter(|_| properties);
        let property = numbered.and_then(|(number, _)| RuleId::parse(&format!("K.{number}")));
        current = id.or(property).or(current);
        if let Some(id) = current {
            *rules.entry(id).or_default() += &format!("{line}\n");
        }
    }
    rules
}

/// The grades that stand in square brackets.
fn grades(text: &str) -> BTreeSet<&str> {
    let brackets = text
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split(']').next());
    let reasons = brackets.flat_map(|inside| inside.split(';'));
    let words = reasons.filter_map(|reason| reason.trim().split([':', ',', ' ']).next());
    let letters = words.flat_map(|word| word.split('/'));
    letters.filter(|letter| GRADES.contains(letter)).collect()
}

#[test]
fn the_table_has_every_rule_and_its_grade() {
    let Some(folder) = shared(".") else { return };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let mut published = rules(&read("behaviour.md"));
    published.extend(rules(&read("wire.md")));
    assert!(published.len() > 200, "only {} rules read", published.len());
    let table = table();
    let mut wrong = Vec::new();
    for (id, text) in &published {
        let Some(rule) = table.rule(*id) else {
            wrong.push(format!("{id} is missing"));
            continue;
        };
        let (found, held) = (grades(text), rule.grade.split(' ').collect::<BTreeSet<_>>());
        let graded = id.family().starts_with("R-") && !found.is_empty();
        if graded && found != held {
            wrong.push(format!("{id} is graded {found:?}, not {held:?}"));
        }
    }
    let known = |id: RuleId| published.contains_key(&id.whole());
    let unknown = table.rules.iter().filter(|rule| !known(rule.id));
    wrong.extend(unknown.map(|rule| format!("{} is in no document", rule.id)));
    assert!(
        wrong.is_empty(),
        "simulator/src/parity/rules:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_table_has_every_operation() {
    let Some(folder) = shared("api/openapi") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut apis = 0;
    for api in &table().apis {
        let Some(file) = &api.definition else {
            continue;
        };
        apis += 1;
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let definition: Value = serde_json::from_str(&text).unwrap();
        let mut published = BTreeSet::new();
        for (path, item) in definition["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if METHODS.contains(&method.as_str()) {
                    let id = operation["operationId"].as_str().unwrap();
                    published.insert(format!("{} {path} {id}", method.to_uppercase()));
                }
            }
        }
        let row =
            |one: &linarite::parity::Operation| format!("{} {} {}", one.method, one.path, one.id);
        let held: BTreeSet<String> = api.operations.iter().map(row).collect();
        assert_eq!(
            held.len(),
            api.operations.len(),
            "{}: one is there twice",
            api.name
        );
        let missing = published
            .difference(&held)
            .map(|one| format!("missing: {one}"));
        wrong.extend(
            missing.chain(
                held.difference(&published)
                    .map(|one| format!("not in {file}: {one}")),
            ),
        );
    }
    assert!(apis >= 5, "only {apis} definitions compared");
    assert!(
        wrong.is_empty(),
        "simulator/src/parity/operations.toml:\n{}",
        wrong.join("\n")
    );
}
