//! The rules of the repository that no compiler checks.

use std::fs;

use crate::support::repository::{Source, root, sources};

/// Longest source file, in lines.
const LINES_MAX: usize = 600;

fn rust() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| source.path.ends_with(".rs"));
    sources
}

/// Fails with every line of `found`, if there is one.
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Lines of `source` that hold `word`, as `path:line`.
fn lines_with(source: &Source, word: &str) -> Vec<String> {
    let numbered = (1..).zip(source.text.lines());
    let matching = numbered.filter(|(_, line)| line.contains(word));
    matching
        .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
        .collect()
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["dbg", "!("].concat(),
        ["#[", "ignore"].concat(),
        ["XX", "X"].concat(),
    ];
    let mut found = Vec::new();
    for source in rust() {
        for word in &words {
            found.extend(lines_with(&source, word));
        }
    }
    none("left undone", &found);
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let count = |source: &Source| source.text.lines().count();
    let sources = rust();
    let long = sources.iter().filter(|source| count(source) > LINES_MAX);
    let long: Vec<_> = long
        .map(|source| format!("{}: {} lines", source.path, count(source)))
        .collect();
    none("too long", &long);
}

#[test]
fn each_crate_is_imported_where_it_belongs_and_nowhere_else() {
    let table: [(&str, &[&str], &[&str]); 10] = [
        (
            "linarite_emulator",
            &["simulator/"],
            &[
                "simulator/src/lab.rs",
                "simulator/src/lab/",
                "simulator/src/command/up.rs",
            ],
        ),
        (
            "x509_parser",
            &["emulator/", "simulator/"],
            &["emulator/core/src/certificate/der.rs"],
        ),
        // Certificates that nobody signed: made for desks alone, where nothing comes from a network.
        (
            "vouched",
            &["emulator/", "simulator/"],
            &["simulator/src/lab/bare.rs"],
        ),
        (
            "dashmap",
            &["emulator/", "simulator/"],
            &["emulator/src/store/"],
        ),
        (
            "rmqtt_codec",
            &["emulator/", "simulator/"],
            &["emulator/src/mqtt/"],
        ),
        (
            "rumqttd",
            &["emulator/", "simulator/"],
            &["emulator/src/mqtt/mirror/broker.rs"],
        ),
        (
            "rustls_native_certs",
            &["emulator/", "simulator/"],
            &["emulator/src/tls/outgoing.rs"],
        ),
        (
            "tokio_tungstenite",
            &["emulator/", "simulator/"],
            &["emulator/src/ws.rs"],
        ),
        (
            "winnow",
            &["emulator/", "simulator/"],
            &["emulator/core/src/hub/query/"],
        ),
        (
            "rumqttc",
            &["emulator/", "simulator/"],
            &[
                "simulator/src/wire.rs",
                "simulator/src/wire/",
                "simulator/src/driver.rs",
                "simulator/src/driver/",
                "simulator/src/device/tests/",
            ],
        ),
    ];
    let sources = rust();
    let starts = |path: &str, with: &[&str]| with.iter().any(|start| path.starts_with(start));
    let mut found = Vec::new();
    for (name, within, allowed) in table {
        let imports = format!("{name}::");
        let mut importers = 0;
        for source in sources.iter().filter(|source| starts(&source.path, within)) {
            let lines = lines_with(source, &imports);
            if starts(&source.path, allowed) {
                importers += lines.len();
            } else {
                let comment = |line: &String| line.contains("//");
                found.extend(lines.into_iter().filter(|line| !comment(line)));
            }
        }
        assert!(
            importers > 0,
            "nobody imports {name}; is this rule out of date?"
        );
    }
    none("imported elsewhere", &found);
}

#[test]
fn the_rules_know_neither_runtime_nor_tls() {
    let manifest = fs::read_to_string(root().join("emulator/core/Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    for name in [
        "tokio",
        "rustls",
        "linarite-env",
        "linarite-emulator",
        "hyper",
        "axum",
    ] {
        assert!(!dependencies.contains(name), "core depends on {name}");
    }
    let mut found = Vec::new();
    for source in rust() {
        if source.path.starts_with("emulator/core/src") {
            for word in [
                "tokio::",
                "SystemTime",
                "Instant::now",
                "fastrand",
                "std::net::Tcp",
            ] {
                found.extend(lines_with(&source, word));
            }
        }
    }
    none("core does more than decide", &found);
}

#[test]
fn no_file_holds_a_certificate_or_a_private_key() {
    let body = |text: &str| {
        let text = text.trim();
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        text.len() >= 60 && text.bytes().all(base64)
    };
    let mut found = Vec::new();
    for source in sources() {
        let mut lines = (1..).zip(source.text.lines()).peekable();
        while let Some((number, line)) = lines.next() {
            // A body follows the armour: that is what tells a key from code that writes one.
            let armour = line.contains("-----BEGIN ");
            if armour && lines.peek().is_some_and(|(_, next)| body(next)) {
                found.push(format!("{}:{number}", source.path));
            }
        }
    }
    none(
        "keys and certificates are made where they are needed",
        &found,
    );
}

#[test]
fn every_scenario_is_listed_and_every_mistake_says_what_to_expect() {
    let list = fs::read_to_string(root().join("scenarios/README.md")).unwrap();
    let mut found = Vec::new();
    let mut count = 0;
    for source in sources() {
        let Some(name) = source.path.strip_prefix("scenarios/") else {
            continue;
        };
        if !name.ends_with(".toml") {
            continue;
        }
        count += 1;
        if !list.contains(&format!("({name})")) {
            found.push(format!("{name} is not in scenarios/README.md"));
        }
        let expects = source.text.contains("\n[expect]\n");
        if expects != name.starts_with("mistakes/") {
            found.push(format!(
                "{name}: [expect] belongs to mistakes, and to all of them"
            ));
        }
    }
    assert!(count >= 7, "only {count} scenarios found");
    none("scenarios", &found);
}
