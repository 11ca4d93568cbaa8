//! Gathers from every kind of test which rules it cites.

use std::collections::BTreeSet;

use linarite::parity::RuleId;

use super::{citation, clients, rust};
use crate::support::repository::{Source, sources};

/// Where Rust sources lie, and what their tests are called by.
const CRATES: [(&str, &str); 5] = [
    ("emulator/core/src/", "core"),
    ("emulator/env/src/", "env"),
    ("emulator/src/", "emulator"),
    ("simulator/src/", "linarite"),
    ("tests/", "suite"),
];

/// These tests are about numbers of rules, not about the rules.
const NO_EVIDENCE: &str = "tests/parity";

/// Here a number in a text is part of a made-up story or report; comments alone count.
const STORIES: &str = "simulator/";

/// A test, with the rules it cites.
pub(super) struct Test {
    /// Crate or kind, module and name.
    pub(super) name: String,
    /// Rules that its comments name: what it is there to check.
    pub(super) claimed: BTreeSet<RuleId>,
    /// Those, and the ones in texts that it compares with.
    pub(super) cited: BTreeSet<RuleId>,
}

impl Test {
    fn new(name: String, comments: &str, texts: &str) -> Self {
        let claimed = citation::rules(comments);
        let cited = claimed.union(&citation::rules(texts)).copied().collect();
        Self {
            name,
            claimed,
            cited,
        }
    }
}

/// All tests of the repository.
pub(super) fn tests() -> Vec<Test> {
    let tests: Vec<Test> = sources().iter().flat_map(tests_of).collect();
    assert!(tests.len() > 300, "only {} tests found", tests.len());
    tests
}

/// The tests of a file.
fn tests_of(source: &Source) -> Vec<Test> {
    let path = source.path.as_str();
    let file = path.rsplit('/').next().unwrap();
    if path.starts_with(NO_EVIDENCE) {
        return Vec::new();
    }
    if let Some(name) = path.strip_suffix(".rs") {
        let Some(module) = module(name) else {
            return Vec::new();
        };
        let found = rust::tests(&source.text).into_iter().map(|test| {
            let texts = if path.starts_with(STORIES) {
                ""
            } else {
                &test.texts
            };
            Test::new(format!("{module}::{}", test.name), &test.comments, texts)
        });
        return found.collect();
    }
    if path.starts_with("scenarios/") && path.ends_with(".toml") {
        let name = named(path, "scenarios/", ".toml", "scenario");
        return vec![Test::new(name, &source.text, "")];
    }
    let (tests, module) = if file.starts_with("test_") && file.ends_with(".py") {
        let module = named(path, "tests/clients/python/", ".py", "python");
        (clients::python(&source.text), module)
    } else if file.ends_with(".test.js") {
        let module = named(path, "tests/clients/node/", ".test.js", "node");
        (clients::javascript(&source.text), module)
    } else {
        return Vec::new();
    };
    let test = |(name, text): clients::Test| Test::new(format!("{module}::{name}"), &text, "");
    tests.into_iter().map(test).collect()
}

/// The module that the Rust file `path`, without its ending, makes.
fn module(path: &str) -> Option<String> {
    let (folder, name) = CRATES.iter().find(|(folder, _)| path.starts_with(folder))?;
    let module = path[folder.len()..].replace('/', "::");
    Some(match module.as_str() {
        "lib" | "main" => (*name).to_owned(),
        _ => format!("{name}::{module}"),
    })
}

fn named(path: &str, folder: &str, ending: &str, kind: &str) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    let path = path.strip_suffix(ending).unwrap_or(path);
    format!("{kind}::{}", path.replace('/', "::"))
}

#[test]
fn every_kind_of_test_counts_by_its_own_rules() {
    let told = |path: &str, text: &str| {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let join = |rules: &BTreeSet<RuleId>| {
            let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
            rules.join(" ")
        };
        let tests = tests_of(&source).into_iter().map(|test| {
            assert!(test.claimed.is_subset(&test.cited));
            let (claimed, cited) = (join(&test.claimed), join(&test.cited));
            format!("{}: {claimed} of {cited}", test.name)
        });
        tests.collect::<Vec<_>>().join("; ")
    };
    let test = "/// R-A1.\n#[test] fn t() { x(\"R-A2\"); }";
    let python = "def test_p():\n    'R-A1'";
    let node = "// R-A1\ntest('n', () => {});";
    let table = [
        (
            "emulator/core/src/dps/x.rs",
            test,
            "core::dps::x::t: R-A1 of R-A1 R-A2",
        ),
        (
            "emulator/src/lib.rs",
            test,
            "emulator::t: R-A1 of R-A1 R-A2",
        ),
        (
            "simulator/src/checker/tests.rs",
            test,
            "linarite::checker::tests::t: R-A1 of R-A1",
        ),
        ("tests/api.rs", test, "suite::api::t: R-A1 of R-A1 R-A2"),
        ("tests/parity/rust.rs", test, ""),
        ("benches/codec.rs", test, ""),
        (
            "scenarios/mistakes/m.toml",
            "# R-A1",
            "scenario::mistakes::m: R-A1 of R-A1",
        ),
        ("docs/linarite.toml", "# R-A1", ""),
        (
            "tests/clients/python/test_g.py",
            python,
            "python::test_g::test_p: R-A1 of R-A1",
        ),
        ("tests/clients/python/pki.py", python, ""),
        (
            "tests/clients/node/group.test.js",
            node,
            "node::group::n: R-A1 of R-A1",
        ),
    ];
    for (path, text, expected) in table {
        assert_eq!(told(path, text), expected, "{path}");
    }
}
