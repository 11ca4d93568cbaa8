//! Runs and storms that the user interrupts: they end with what was seen by then.

#![cfg(unix)]

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Sends `name` to a command once a line of its progress has `word` in it, and gives how it ended.
fn interrupted_at(word: &str, name: &str, words: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linarite"));
    command.args(words).stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut heard = BufReader::new(stderr);
    let mut said = String::new();
    while !said.lines().last().is_some_and(|line| line.contains(word)) {
        if heard.read_line(&mut said)? == 0 {
            let ended = format!("ended before it said {word:?}: {said}");
            return Err(io::Error::other(ended));
        }
    }
    let pid = child.id().to_string();
    Command::new("kill").args([name, &pid]).status()?;
    heard.read_to_string(&mut said)?;
    let output = child.wait_with_output()?;
    Ok(Output {
        stderr: said.into_bytes(),
        ..output
    })
}

/// A folder of this test alone, which is not there yet.
fn fresh(name: &str) -> PathBuf {
    let name = format!("linarite-interrupted-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

/// The first line of what a command printed.
fn json(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(text.split(|byte| *byte == b'\n').next().unwrap_or_default())
}

#[test]
fn an_interrupted_run_reports_what_it_saw_and_leaves_the_rest_undecided() {
    let folder = fresh("run");
    let path = folder.to_str().unwrap();
    let first = "intermediate-expiry";
    let words = [
        "run",
        first,
        "root-expiry",
        "--devices",
        "10000",
        "--jobs",
        "1",
        "--json",
        "--report",
        path,
    ];
    let output = interrupted_at(" connected, ", "-INT", &words).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("1 of 2 scenarios were not begun"), "{said}");

    let report = json(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "interrupted");
    assert_eq!(report["expected"]["met"], false);
    let seconds = report["virtual_seconds"].as_f64().unwrap();
    assert!(seconds < 94.0 * 86_400.0, "{seconds}");
    let checks = report["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(named("never-stranded")["passed"], true);
    let end = named("ends-on-new-certificate");
    assert_eq!(
        (&end["passed"], &end["open"]),
        (&false.into(), &true.into())
    );

    let saved = fs::read_to_string(folder.join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap(), report);
    let junit = fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert!(
        junit.contains("<skipped") && !junit.contains("<failure"),
        "{junit}"
    );
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("This run was interrupted"));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_interrupted_walk_through_seeds_says_how_far_it_came() {
    let words = [
        "run",
        "leaf-roll-same-issuer",
        "--devices",
        "50",
        "--seeds",
        "100000",
        "--json",
    ];
    let output = interrupted_at("seed 3 ", "-TERM", &words).unwrap();
    assert_eq!(output.status.code(), Some(130));
    let found = json(&output.stdout).unwrap();
    assert_eq!(found["interrupted"], true);
    assert!(found["tried"].as_u64().unwrap() >= 3, "{found}");
    assert_eq!(found["tried"], found["as_expected"]);
    assert_eq!(found["stopped"], Value::Null);
}

#[test]
fn an_interrupted_storm_tells_how_many_were_served_by_then() {
    for over in ["none", "tls"] {
        let folder = fresh(over);
        let path = folder.to_str().unwrap();
        let words = [
            "storm",
            "--devices",
            "100000",
            "--over",
            over,
            "--json",
            "--report",
            path,
        ];
        let output = interrupted_at("devices served", "-INT", &words).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "--over {over}: {said}");
        let outcome = json(&output.stdout).unwrap();
        assert_eq!(outcome["interrupted"], true);
        let served = outcome["served"].as_u64().unwrap();
        assert!(served < 100_000, "{served}");
        assert_eq!(outcome["finish_ms"], Value::Null);
        let page = fs::read_to_string(folder.join("storm.html")).unwrap();
        assert!(page.contains("INTERRUPTED"), "{page}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
