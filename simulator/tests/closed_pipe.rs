//! Commands whose reader has seen enough, as `head` has: they end quietly, and say by their exit
//! code what they would have said anyhow.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs `linarite` with both its outputs into pipes that nobody reads any more.
fn unread(words: &[&str]) -> io::Result<Option<i32>> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let mut command = linarite(words);
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(command.status()?.code())
}

/// The same with its errors heard.
fn half_read(words: &[&str]) -> io::Result<Output> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let mut command = linarite(words);
    command.stdout(writer).stderr(Stdio::piped()).output()
}

fn linarite(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linarite"));
    command.args(words).stdin(Stdio::null());
    command
}

/// A path of this test alone.
fn fresh(name: &str) -> PathBuf {
    let name = format!("linarite-closed-pipe-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

#[test]
fn every_command_ends_as_it_would_with_a_reader() {
    let file = fresh("new.toml");
    let folder = fresh("pki");
    let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
    let twin = "leaf-roll-never-registers";
    let few = ["run", "leaf-roll-same-issuer", twin, "--devices", "2"];
    let expected: [(&[&str], i32); 11] = [
        (&["run", "leaf-roll-same-issuer", "--devices", "2"], 0),
        (&few, 0),
        (&["run", twin, "--devices", "2", "--expect", "pass"], 1),
        (&["run", "--check"], 0),
        (&["run", "no-such-scenario"], 2),
        (&["new", file], 0),
        (&["new", file], 2),
        (&["schema", "scenario"], 0),
        (&["parity"], 0),
        (&["storm", "--devices", "10"], 0),
        (&["pki", "root", "a", "--out", folder], 0),
    ];
    for (words, code) in expected {
        let output = half_read(words).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains("Broken pipe"),
            "{words:?}: {said}"
        );
    }
    std::fs::remove_file(file).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_complaint_that_nobody_hears_changes_no_exit_code() {
    assert_eq!(unread(&["run", "no-such-scenario"]).unwrap(), Some(2));
    assert_eq!(unread(&["parity", "R-Z1"]).unwrap(), Some(2));
}
