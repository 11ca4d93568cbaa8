//! How long does `linarite up` take from its start to its ready line?
//!
//! Unit: wall time of a fresh process on free ports, 15 times, with a machine's noise in it.
//! Yardstick: `linarite --version`, which starts the same program and does nothing, in turns.
//! The line is held to 300 ms in print alone: whether it is met is for a quiet machine to say.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// How often it is started where figures are wanted.
const STARTS: usize = 15;

/// What a developer may be asked to wait.
const TARGET: Duration = Duration::from_millis(300);

/// Any free ports, so that nothing that runs already is in the way.
const CONFIGURATION: &str = "[listen]\nmqtt = 0\nhttps = 0\nadmin = 0\nmirror = 0\n";

fn main() -> anyhow::Result<()> {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if given("--list") {
        return Ok(());
    }
    let thorough = given("--bench") && !given("--test");
    let starts = if thorough { STARTS } else { 1 };
    let folder = Folder::new()?;
    let (mut ready, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        ready.push(start(&folder.0)?);
        floor.push(version()?);
    }
    print(&mut ready, &mut floor);
    Ok(())
}

/// From the start of `linarite up` until its ready line was read.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall clock")]
fn start(folder: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut child = linarite()
        .args(["up", "--json", "--config"])
        .arg(folder.join("up.toml"))
        .arg("--ca")
        .arg(folder.join("ca.pem"))
        .stdout(Stdio::piped())
        .spawn()?;
    let answers = child.stdout.take().context("no pipe from the command")?;
    let mut line = String::new();
    let read = BufReader::new(answers).read_line(&mut line);
    let took = began.elapsed();
    child.kill()?;
    child.wait()?;
    read?;
    let line: serde_json::Value = serde_json::from_str(&line).context("the ready line")?;
    ensure!(line["mqtt"].is_string(), "it is not ready: {line}");
    Ok(took)
}

/// The same program, asked for nothing.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall clock")]
fn version() -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut child = linarite().arg("--version").stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let answers = child.stdout.as_mut().context("no pipe from the command")?;
    answers.read_to_string(&mut said)?;
    let took = began.elapsed();
    ensure!(child.wait()?.success(), "it does not say its version");
    Ok(took)
}

fn linarite() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linarite"));
    command.stdin(Stdio::null());
    command
}

#[expect(clippy::print_stdout, reason = "the bench's answer")]
fn print(ready: &mut [Duration], floor: &mut [Duration]) {
    ready.sort_unstable();
    floor.sort_unstable();
    let of = |times: &[Duration]| {
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let ends = (times.first(), times.last());
        let ends = (
            ends.0.copied().unwrap_or_default(),
            ends.1.copied().unwrap_or_default(),
        );
        (median, ends)
    };
    let ((median, (least, most)), (alone, _)) = (of(ready), of(floor));
    println!();
    println!(
        "linarite up to its ready line: {median:.1?}, the median of {} ({least:.1?} – {most:.1?})",
        ready.len()
    );
    let met = if median <= TARGET { "met" } else { "MISSED" };
    println!(
        "linarite --version: {alone:.1?}, ratio {:.1}; target ≤ {TARGET:.0?}, {met}",
        median.as_secs_f64() / alone.as_secs_f64()
    );
}

/// A folder of this run alone; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("linarite-bench-startup-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0)?;
        std::fs::write(folder.0.join("up.toml"), CONFIGURATION)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
