//! Holds the fidelity table to the tests, to the published definitions, and to what is served.
//!
//! Tests cite rules by number: Rust tests in their doc comment, comments and texts, Python and
//! Node tests and scenarios anywhere in theirs. From these citations come `docs/parity.md` and
//! the list that the command shows.

mod citation;
mod clients;
mod gather;
mod page;
mod published;
mod rust;
mod served;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use linarite::parity::{Parity, RuleId, State};

use crate::support::repository::root;

/// Makes the generated files anew.
const COMMAND: &str = "UPDATE_PARITY=1 cargo test --workspace --test suite parity";
const UPDATE: &str = "UPDATE_PARITY";
const PAGE: &str = "docs/parity.md";
const TESTED: &str = "simulator/src/parity/tested.txt";
const UNCITED: &str = "tests/parity/uncited.txt";

/// The tests that cite each rule.
type Citations = BTreeMap<RuleId, BTreeSet<String>>;

fn citations() -> Citations {
    let mut citations = Citations::new();
    for test in gather::tests() {
        for rule in test.cited {
            let tests = citations.entry(rule).or_default();
            tests.insert(test.name.clone());
        }
    }
    citations
}

fn table() -> Parity {
    Parity::built_in().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Fails if `path` does not hold `expected`, or writes it if that is wanted.
fn generated(path: &str, expected: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(root().join(path), expected).unwrap();
        return;
    }
    let found = read(path);
    if found == expected {
        return;
    }
    let mut lines = (1..).zip(found.lines().zip(expected.lines()));
    let difference = lines.find(|(_, (found, expected))| found != expected);
    let difference = match difference {
        Some((line, (found, expected))) => {
            format!("line {line}\n  is        {found}\n  should be {expected}")
        }
        None => "one ends before the other".to_owned(),
    };
    panic!("{path} is out of date: {difference}\nMake it anew with\n\n    {COMMAND}\n");
}

#[test]
fn the_page_and_the_list_of_the_command_say_what_the_sources_say() {
    let citations = citations();
    generated(TESTED, &page::list(&citations));
    generated(PAGE, &page::page(&table(), &citations));
}

/// A test may meet the refusal of what is not emulated; it cannot claim to check it.
#[test]
fn tests_cite_rules_that_exist_and_claim_to_check_those_that_are_followed() {
    let table = table();
    let mut wrong = Vec::new();
    for test in gather::tests() {
        let state = |id: &&RuleId| table.rule(**id).map(|rule| rule.state);
        for id in test.cited.iter().filter(|id| state(id).is_none()) {
            wrong.push(format!("{} cites {id}, which does not exist", test.name));
        }
        let missing = |id: &&RuleId| state(id) == Some(State::NotEmulated);
        for id in test.claimed.iter().filter(missing) {
            wrong.push(format!(
                "{} cites {id}, which simulator/src/parity/rules calls not emulated; which is true?",
                test.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The list of rules that nobody cites yet may only shrink.
#[test]
fn every_rule_that_is_followed_is_cited_by_a_test() {
    let citations = citations();
    let text = read(UNCITED);
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let excused: BTreeSet<&str> = lines.collect();
    let mut wrong = Vec::new();
    let table = table();
    for rule in &table.rules {
        let listed = excused.contains(&*rule.id.to_string());
        let followed = rule.state != State::NotEmulated;
        match (followed, citations.contains_key(&rule.id), listed) {
            (true, false, false) => wrong.push(format!(
                "{}: no test cites it: {}. Name it in the doc comment of a test that would fail \
                 without it",
                rule.id, rule.claim
            )),
            (true, true, true) => wrong.push(format!("{}: cited, so strike it out", rule.id)),
            (false, _, true) => wrong.push(format!("{}: not emulated, strike it out", rule.id)),
            _ => {}
        }
    }
    for listed in excused {
        if RuleId::parse(listed).is_none_or(|id| table.rule(id).is_none()) {
            wrong.push(format!("{listed}: does not exist, strike it out"));
        }
    }
    assert!(wrong.is_empty(), "{UNCITED}:\n{}", wrong.join("\n"));
}
