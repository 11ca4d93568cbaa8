//! The report for the terminal: the verdict first, then why, then what to do.

use std::fmt::Write as _;

use super::{Certificate, Report, Verdict};
use crate::checker::{Check, Moment, Offence};
use crate::matrix::Comparison;
use crate::readings::shown;
use crate::scenario::Span;

/// Offending devices that the terminal names; the other reports name more.
const DEVICES_NAMED: usize = 3;
/// Moments of the worst device that the terminal shows.
const MOMENTS_NAMED: usize = 20;

impl Report {
    /// The one line that says how the run ended.
    #[must_use]
    pub fn headline(&self) -> String {
        let words = match (self.verdict, self.expected.verdict, self.expected.met) {
            (Verdict::Interrupted, ..) => "INTERRUPTED",
            (Verdict::Pass, Verdict::Pass, _) => "PASS",
            (Verdict::Fail, Verdict::Fail, true) => "FAIL, as expected",
            (Verdict::Fail, Verdict::Fail, false) => "FAIL, but not as expected",
            (Verdict::Fail, ..) => "FAIL",
            (Verdict::Pass, ..) => "PASS, though it was expected to fail",
        };
        let words = match &self.comparison {
            Some(comparison) if self.expected.met && !comparison.met() => {
                format!("{words}, but not under every reading")
            }
            _ => words.to_owned(),
        };
        format!(
            "{words}  {}  ({} devices, {} in {:.1} s)",
            self.scenario,
            self.devices,
            if self.time == "virtual" {
                format!("{:.0} days", self.virtual_seconds / 86_400.0)
            } else {
                format!("{:.0} s of real time", self.virtual_seconds)
            },
            self.wall_seconds,
        )
    }

    /// The summary for the terminal, several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n  {}\n", self.headline(), self.claim);
        let _ = writeln!(text, "  {}\n", self.rolled_line());
        for check in &self.checks {
            let mark = match (check.passed, check.open) {
                (true, _) => "ok  ",
                (false, true) => "open",
                (false, false) => "FAIL",
            };
            let _ = writeln!(text, "  {mark}  {:<28} {}", check.name, check.detail);
            for offence in check.offences.iter().take(DEVICES_NAMED) {
                let _ = writeln!(text, "        {}", self.offence(offence));
            }
            let more = check.offenders.saturating_sub(DEVICES_NAMED);
            if more > 0 {
                let what = if check.name == "operator-steps" {
                    "steps"
                } else {
                    "devices"
                };
                let _ = writeln!(text, "        and {more} more {what}{}", rules(check));
            }
        }
        if self.registrations.throttled > 0 {
            let registrations = &self.registrations;
            let _ = writeln!(
                text,
                "\n  {} registrations ended with a hub; {} more were throttled (429, R-H1) and {} \
                 refused or without answer",
                registrations.succeeded, registrations.throttled, registrations.failed
            );
        }
        let meanings = self.rules_named();
        if !meanings.is_empty() {
            text.push('\n');
        }
        for (rule, meaning) in meanings {
            let _ = writeln!(text, "  {rule:<7} {meaning}");
        }
        for (number, step) in (1..).zip(&self.steps).filter(|(_, step)| step.failed > 0) {
            let _ = writeln!(
                text,
                "\n  step {number}, {}: {} went well, {} did not; {}",
                step.title,
                step.succeeded,
                step.failed,
                step.failures.first().map_or("", String::as_str),
            );
        }
        if self.verdict == Verdict::Fail {
            text.push_str(&self.worst_life());
        }
        for chosen in &self.settings {
            let _ = writeln!(
                text,
                "\n  {} is {} and not {} ({}): {}",
                chosen.name,
                shown(&chosen.value),
                shown(&chosen.default),
                chosen.rules.join(", "),
                chosen.what,
            );
        }
        if let Some(comparison) = &self.comparison {
            text.push_str(&compared(comparison));
        }
        if let Some(difference) = &self.expected.difference
            && self.expected.verdict == Verdict::Fail
        {
            let _ = writeln!(text, "\n  {difference}");
        }
        let _ = writeln!(text, "\n  trace   {}", self.trace_hash);
        let _ = writeln!(text, "  replay  {}", self.replay);
        text
    }

    fn offence(&self, offence: &Offence) -> String {
        let time = match (offence.from_ms, offence.until_ms) {
            (Some(from), Some(until)) if from != until => {
                format!(", from {} to {}", self.moment(from), self.moment(until))
            }
            (Some(at), _) => format!(", at {}", self.moment(at)),
            _ => String::new(),
        };
        let rule = offence
            .rule
            .as_deref()
            .map(|rule| format!("  {rule}"))
            .unwrap_or_default();
        format!("{}  {}{time}{rule}", offence.device, offence.what)
    }

    /// Which certificates were rolled, in a line.
    fn rolled_line(&self) -> String {
        let certificate = |one: &Certificate| {
            let issuer = one.issuers.first().map_or("nobody", String::as_str);
            let until = Span(one.until_ms).rounded();
            format!("#{} of {issuer} (until {until})", one.generation)
        };
        let chain: Vec<String> = self.rolled.certificates.iter().map(certificate).collect();
        format!(
            "{}, certificate {}",
            self.rolled.enrollment,
            chain.join(" -> ")
        )
    }

    /// What happened to the device that fared worst, beside what the operator did.
    fn worst_life(&self) -> String {
        let Some(worst) = &self.worst_device else {
            return String::new();
        };
        let mut text = format!("\n  {}, which fared worst:\n", worst.device);
        let rows = self.life();
        for row in rows.iter().take(MOMENTS_NAMED) {
            let rule = row.rule.map(|rule| format!("  {rule}")).unwrap_or_default();
            let times = match row.times {
                1 => String::new(),
                times => format!(", {times} times until {}", self.moment(row.until_ms)),
            };
            let _ = writeln!(
                text,
                "    {:<14} {}{times}{rule}",
                self.moment(row.at_ms).to_string(),
                row.what
            );
        }
        let more = rows.len().saturating_sub(MOMENTS_NAMED);
        if more > 0 {
            let _ = writeln!(text, "    and {more} more moments in report.html");
        }
        text
    }

    /// The moments of the worst device and the operator's steps in the roll, in order of time.
    pub(super) fn life(&self) -> Vec<Moment> {
        let worst = self.worst_device.iter();
        let mut rows: Vec<Moment> = worst.flat_map(|worst| worst.moments.clone()).collect();
        let steps = (1..).zip(&self.steps);
        let in_roll = steps.filter(|(_, step)| step.began_ms >= self.roll_starts_ms);
        rows.extend(in_roll.map(|(number, step)| Moment {
            at_ms: step.began_ms,
            until_ms: step.began_ms,
            times: 1,
            what: format!("operator, step {number}: {}", step.title),
            rule: None,
        }));
        // What the operator begins comes before what devices make of it.
        rows.sort_by_key(|row| (row.at_ms, !row.what.starts_with("operator")));
        rows
    }

    /// A moment of the run, to the second.
    fn moment(&self, ms: i64) -> Span {
        Span(ms / 1000 * 1000)
    }
}

/// How the scenario ended under other readings, a line each, and what follows.
fn compared(comparison: &Comparison) -> String {
    let mut text = "\n  Under other readings of what Azure does not document:\n".to_owned();
    for outcome in &comparison.outcomes {
        let word = if outcome.passed { "pass" } else { "FAIL" };
        let named = comparison.named(outcome);
        let failed = outcome.failed.join(", ");
        let _ = writeln!(
            text,
            "  {}",
            format!("{word}  {named:<44} {failed}").trim_end()
        );
    }
    for sentence in comparison.sentences() {
        let _ = writeln!(text, "\n  {sentence}");
    }
    text
}

fn rules(check: &Check) -> String {
    let counted: Vec<String> = check
        .rules
        .iter()
        .map(|(rule, devices)| format!("{rule} {devices}×"))
        .collect();
    if counted.is_empty() {
        String::new()
    } else {
        format!(" ({} in all)", counted.join(", "))
    }
}
