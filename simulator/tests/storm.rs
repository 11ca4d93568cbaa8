//! `linarite storm` as a build server uses it: by its exit code, its files and what it says.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn storm(words: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linarite"));
    command.arg("storm").args(words).stdin(Stdio::null());
    command.output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder of this test alone.
fn fresh(name: &str) -> PathBuf {
    let name = format!("linarite-storm-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

#[test]
fn thresholds_decide_how_the_command_ends() {
    let few = ["--devices", "50", "--tier", "none"];
    let table: [(&[&str], i32); 5] = [
        (&[], 0),
        (&["--threshold", "finish<=1m"], 0),
        (&["--threshold", "finish<=1m", "--threshold", "p50<1s"], 1),
        (&["--threshold", "accepted<=1"], 2),
        (&["--limit", "1s"], 1),
    ];
    for (words, code) in table {
        let output = storm(&[&few, words].concat()).unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    }
}

#[test]
fn usage_that_is_wrong_is_answered_with_the_flag_and_what_would_be_right() {
    let table: [(&[&str], &[&str]); 9] = [
        (
            &["--threshold", "finsh<=15m"],
            &["'--threshold <EXPRESSION>'", "did you mean `finish`?"],
        ),
        (
            &["--threshold", "finish=15m"],
            &["'--threshold <EXPRESSION>'", "did you mean `finish==15m`?"],
        ),
        (
            &["--arrival", "batches=1000"],
            &["'--arrival <PROFILE>'", "write them like 1000/2m"],
        ),
        (
            &["--cause", "root-expired"],
            &["'--cause <CAUSE>'", "did you mean `root-expiry`?"],
        ),
        (
            &["--forget-hub"],
            &[
                "--forget-hub: ",
                "expected --cause power-cut, not first-boot",
            ],
        ),
        (
            &["--cause", "hub-failover", "--certificate-life", "90d"],
            &[
                "--certificate-life: ",
                "expected first-boot, root-expiry or breach",
            ],
        ),
        (
            &["--cause", "power-cut", "--down-for", "10m"],
            &[
                "--down-for: ",
                "expected --cause hub-failover, not power-cut",
            ],
        ),
        (
            &[
                "--cause",
                "hub-failover",
                "--down-for",
                "2h",
                "--limit",
                "1h",
            ],
            &["--down-for: ", "expected at most --limit 1h, not 2h"],
        ),
        (
            &["--cause", "hub-failover", "--down-for=-10m"],
            &["'--down-for <SPAN>'", "write it like 10m"],
        ),
    ];
    for (words, expected) in table {
        let output = storm(words).unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{words:?}: {said}");
        }
    }
}

#[test]
fn a_report_is_three_files() {
    let folder = fresh("report");
    let output = storm(&[
        "--devices",
        "50",
        "--threshold",
        "throttled>0",
        "--report",
        folder.to_str().unwrap(),
    ])
    .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("junit.xml").contains(r#"tests="2""#));
    assert!(read("storm.json").contains(r#""threshold": "throttled>0""#));
    assert!(read("storm.html").contains("throttled&gt;0"));
    fs::remove_dir_all(folder).unwrap();
}

/// Whether there is a line depends on how fast the machine is; that there is nothing else does not.
#[test]
fn away_from_a_terminal_progress_is_plain_lines() {
    let output = storm(&["--devices", "3000", "--cause", "power-cut"]).unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in said.lines() {
        let plain = line.starts_with("storm: ") || line.starts_with("before the storm: ");
        assert!(plain && !line.contains('\u{1b}'), "{line:?}");
    }
}
