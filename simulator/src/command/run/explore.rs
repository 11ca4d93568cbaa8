//! `linarite run --seeds` and `--minimise`: looks for a seed with which a scenario ends otherwise
//! than it should, and for the fewest devices and faults with which it still fails.

use std::ops::ControlFlow;

use anyhow::Context as _;
use serde::Serialize;

use super::{Quiet, RunArgs, execute, jobs, pool, tell};
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::report::{Report, Verdict};
use crate::scenario::Scenario;

/// What a walk through seeds found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Exploration {
    scenario: String,
    first_seed: u64,
    seeds: u32,
    tried: u32,
    as_expected: u32,
    stopped: Option<Stop>,
    /// Whether it was interrupted before the last seed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
}

/// The seed at which the walk stopped.
#[derive(Clone, Debug, Serialize)]
struct Stop {
    seed: u64,
    verdict: Verdict,
    difference: Option<String>,
    replay: String,
}

impl Exploration {
    /// Takes note of one seed's end, and breaks off where it is not the expected one.
    fn note(&mut self, report: &Report) -> ControlFlow<()> {
        if report.is_interrupted() {
            self.interrupted = true;
            return ControlFlow::Break(());
        }
        self.tried += 1;
        let met = report.expected.met;
        tell(&format!(
            "seed {} ({} of {}): {}{}",
            report.seed,
            self.tried,
            self.seeds,
            report.verdict.word(),
            if met { ", as expected" } else { "" },
        ));
        if met {
            self.as_expected += 1;
            return ControlFlow::Continue(());
        }
        self.stopped = Some(Stop {
            seed: report.seed,
            verdict: report.verdict,
            difference: report.expected.difference.clone(),
            replay: report.replay.clone(),
        });
        ControlFlow::Break(())
    }

    /// For the terminal.
    pub(super) fn text(&self) -> String {
        match &self.stopped {
            None if self.interrupted => format!(
                "{}: interrupted after {} of {} seeds from {} on, all of which ended as expected",
                self.scenario, self.tried, self.seeds, self.first_seed
            ),
            None => format!(
                "{}: seeds {} to {}, all {} ended as expected",
                self.scenario,
                self.first_seed,
                self.first_seed.saturating_add(u64::from(self.seeds) - 1),
                self.tried
            ),
            Some(stop) => format!(
                "{}: seed {} ended otherwise than expected, after {} that did not: {}\n  replay  {}",
                self.scenario,
                stop.seed,
                self.as_expected,
                stop.difference.as_deref().unwrap_or("no reason given"),
                stop.replay
            ),
        }
    }
}

/// Runs `scenario` with seed after seed, several at a time, until one ends otherwise than
/// expected: the lowest one that does, however many work; or until it is interrupted. Gives the
/// report of the last seed too.
pub(super) fn explore(
    args: &RunArgs,
    scenario: &Scenario,
    seeds: u32,
    interrupt: &Interrupt,
) -> anyhow::Result<(Exploration, Report)> {
    let mut found = Exploration {
        scenario: scenario.name.clone(),
        first_seed: scenario.seed,
        seeds,
        tried: 0,
        as_expected: 0,
        stopped: None,
        interrupted: false,
    };
    let run = |number: usize| {
        let mut next = scenario.clone();
        next.seed = scenario.seed.wrapping_add(number as u64);
        execute(args, next, Quiet::Yes, interrupt)
    };
    let mut last = None;
    pool::in_order(jobs(args), seeds as usize, run, |ended| {
        let goes_on = match &ended {
            Ok(report) => found.note(report),
            Err(_) => ControlFlow::Break(()),
        };
        last = Some(ended);
        goes_on
    });
    let last = last.context("no seed was asked for")??;
    Ok((found, last))
}

/// The fewest devices with which a run was seen to fail, and the faults that it took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Minimum {
    scenario: String,
    check: &'static str,
    devices: u32,
    /// Devices of the run that was shortened.
    from: u32,
    runs: u32,
    /// Faults without which it did not fail, where there are any in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<String>>,
    replay: String,
    /// Whether it was interrupted, so that fewer might do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
}

impl Minimum {
    /// For the terminal.
    pub(super) fn text(&self) -> String {
        let faults = match self.faults.as_deref() {
            None => String::new(),
            Some([]) => "\n  faults  it fails without any of them".to_owned(),
            Some(faults) => format!("\n  faults  it takes {}", faults.join(", ")),
        };
        let left = match self.interrupted {
            true => "; interrupted, so that fewer might do",
            false => "",
        };
        format!(
            "{}: {} fails with {} of {} devices (found in {} runs{left}){faults}\n  replay  {}",
            self.scenario, self.check, self.devices, self.from, self.runs, self.replay
        )
    }
}

/// Shortens the run that `report` tells of and leaves faults out of it, as long as the same check
/// fails, or until it is interrupted. Gives `None` where it passed, or was interrupted itself.
pub(super) fn minimise(
    args: &RunArgs,
    scenario: &Scenario,
    report: &Report,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<(Minimum, Report)>> {
    let Some(check) = failed(report).filter(|_| !report.is_interrupted()) else {
        return Ok(None);
    };
    let mut runs = 0;
    let mut attempt = |next: &Scenario, what: &str| {
        let tried = attempt(args, next, check, what, interrupt)?;
        runs += u32::from(tried.is_some());
        Ok::<_, anyhow::Error>(tried)
    };
    let mut shortest = report.clone();
    let mut next = scenario.clone();
    next.seed = report.seed;
    shrink(report.devices, |devices| {
        next.fleet.devices = devices;
        let failed = attempt(&next, &format!("{devices} devices"))?.flatten();
        let fails = failed.is_some();
        shortest = failed.unwrap_or_else(|| shortest.clone());
        Ok::<bool, anyhow::Error>(fails)
    })?;
    next.fleet.devices = shortest.devices;
    let mut faults = None;
    if !next.faults.is_empty() {
        let all = std::mem::take(&mut next.faults);
        let needed = needed(all, |fault, left| {
            next.faults = left.to_vec();
            let failed = attempt(&next, &format!("without {fault}"))?.flatten();
            Ok::<bool, anyhow::Error>(failed.is_some())
        })?;
        faults = Some(needed.iter().map(Fault::to_string).collect());
    }
    let minimum = Minimum {
        scenario: scenario.name.clone(),
        check,
        devices: shortest.devices,
        from: report.devices,
        runs,
        faults,
        replay: shortest.replay.clone(),
        interrupted: interrupt.is_asked(),
    };
    Ok(Some((minimum, shortest)))
}

/// Runs `scenario`; gives its report if `check` fails in it, and nothing at all if it was
/// interrupted.
fn attempt(
    args: &RunArgs,
    scenario: &Scenario,
    check: &str,
    what: &str,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<Option<Report>>> {
    if interrupt.is_asked() {
        return Ok(None);
    }
    let tried = execute(args, scenario.clone(), Quiet::Yes, interrupt)?;
    if tried.is_interrupted() {
        return Ok(None);
    }
    let fails = { tried.checks.iter() }.any(|one| one.name == check && !one.passed);
    let ends = if fails { "fails as well" } else { "holds" };
    tell(&format!("{what}: {check} {ends}"));
    Ok(Some(fails.then_some(tried)))
}

/// Leaves one fault after the other out, for good if it still `fails` without it and those that
/// were left out before. Gives those that are needed.
fn needed<E>(
    mut faults: Vec<Fault>,
    mut fails: impl FnMut(&Fault, &[Fault]) -> Result<bool, E>,
) -> Result<Vec<Fault>, E> {
    let mut place = 0;
    while place < faults.len() {
        let fault = faults.remove(place);
        if !fails(&fault, &faults)? {
            faults.insert(place, fault);
            place += 1;
        }
    }
    Ok(faults)
}

/// The check that says most: the one that the scenario names, else the first that fails.
fn failed(report: &Report) -> Option<&'static str> {
    let named = |name: &str| report.expected.check.as_deref() == Some(name);
    let mut failed = report.checks.iter().filter(|check| !check.passed);
    let first = failed.clone().next()?;
    Some(failed.find(|check| named(check.name)).unwrap_or(first).name)
}

/// Halves `from` while `fails` holds, then looks between the last that failed and the first that
/// did not. Gives how often it asked.
fn shrink<E>(from: u32, mut fails: impl FnMut(u32) -> Result<bool, E>) -> Result<u32, E> {
    let (mut holds, mut failing, mut asked) = (0, from, 0);
    while failing - holds > 1 {
        let middle = holds + (failing - holds) / 2;
        asked += 1;
        if fails(middle)? {
            failing = middle;
        } else {
            holds = middle;
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;
    use crate::fault::{FaultKind, Share};

    #[test]
    fn faults_are_left_out_as_long_as_it_fails_without_them() {
        let fault = |number| Fault {
            number,
            kind: FaultKind::LoseReplies,
            from: Duration::ZERO,
            until: Duration::from_secs(1),
            share: Share::ALL,
        };
        let numbers = |faults: &[Fault]| faults.iter().map(|one| one.number).collect::<Vec<_>>();
        let table: [(&[u32], &[u32]); 4] =
            [(&[], &[]), (&[3], &[3]), (&[1, 4], &[1, 4]), (&[2], &[2])];
        for (it_takes, expected) in table {
            let mut runs = 0;
            let needed = needed((1..=4).map(fault).collect(), |_, left| {
                runs += 1;
                let left = numbers(left);
                Ok::<bool, Infallible>(it_takes.iter().all(|number| left.contains(number)))
            });
            assert_eq!((numbers(&needed.unwrap()).as_slice(), runs), (expected, 4));
        }
    }

    #[test]
    fn a_failing_run_shrinks_to_the_fewest_devices_that_fail() {
        for (from, least) in [(1000, 1), (1000, 7), (1000, 1000), (1, 1), (64, 33)] {
            let mut fewest = from;
            let asked = shrink(from, |devices| {
                if devices >= least {
                    fewest = devices;
                }
                Ok::<bool, Infallible>(devices >= least)
            });
            assert_eq!(fewest, least, "from {from}");
            assert!(asked.unwrap() <= 10, "from {from}");
        }
    }
}
