//! `report.html`: one file that says everything and asks nothing of the network.

use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use super::chart::{HEIGHT, LEFT, TOP, WIDTH, activity, bars, layers, marks};
use super::rules::meaning;
use super::{Report, Verdict};
use crate::checker::Refusals;
use crate::matrix::{Comparison, Outcome};
use crate::scenario::Span;

const TEMPLATE: &str = include_str!("report.html");
/// Height of the distribution of waits.
const BARS_HEIGHT: f64 = 160.0;

/// A run under another reading.
#[derive(Serialize)]
struct Row {
    passed: bool,
    named: String,
    failed: String,
    replay: String,
}

/// Refusals of one rule.
#[derive(Serialize)]
struct Refused {
    place: &'static str,
    rule: &'static str,
    devices: u64,
    others: u64,
    meaning: &'static str,
}

impl Report {
    /// The report as a self-contained HTML page.
    ///
    /// # Errors
    /// None that a report's own types can cause.
    pub fn html(&self) -> io::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let axis = self.axis.clone();
        environment.add_filter("day", move |ms: Option<i64>| match ms {
            Some(ms) => axis.day(ms),
            None => "–".to_owned(),
        });
        let axis = self.axis.clone();
        environment.add_filter("moment", move |ms: i64| axis.second(ms));
        environment.add_filter("span", |ms: i64| Span(ms).rounded());
        let end = self
            .axis
            .parts
            .last()
            .map_or(0.0, |part| part.x + part.width);
        let elapsed_ms = self.elapsed_ms();
        let (pieces, most) = activity(&self.activity, &self.axis, BARS_HEIGHT);
        environment
            .render_str(
                TEMPLATE,
                context! {
                    report => Serde(self),
                    verdict => self.verdict.word(),
                    as_expected => self.expected.met,
                    twin => self.expected.verdict == Verdict::Fail,
                    suffered => self.checks.iter().any(|check| check.offenders > 0),
                    parts => Serde(&self.axis.parts),
                    axis_end => end,
                    layers => Serde(layers(&self.timeline, &self.axis, self.devices, elapsed_ms)),
                    marks => Serde(marks(&self.steps, &self.axis)),
                    roll_x => self.axis.x(self.roll_starts_ms),
                    bars => Serde(bars(&self.downtime_histogram, BARS_HEIGHT)),
                    pieces => Serde(pieces),
                    most_pieces => most,
                    life => Serde(self.life()),
                    refusals => Serde(self.refusals_explained()),
                    left => LEFT,
                    width => WIDTH,
                    top => TOP,
                    height => HEIGHT,
                    bars_height => BARS_HEIGHT,
                    rules => Serde(self.rules_named()),
                    sentences => Serde(self.comparison.as_ref().map(Comparison::sentences)),
                    outcomes => Serde(self.outcomes()),
                },
            )
            .map_err(io::Error::other)
    }

    /// The runs under other readings, as a table shows them.
    fn outcomes(&self) -> Vec<Row> {
        let row = |(all, outcome): (&Comparison, &Outcome)| Row {
            passed: outcome.passed,
            named: all.named(outcome),
            failed: outcome.failed.join(", "),
            replay: outcome.replay.clone(),
        };
        let all = self.comparison.iter();
        all.flat_map(|all| all.outcomes.iter().map(move |outcome| (all, outcome)))
            .map(row)
            .collect()
    }

    /// Refusals with what their rules mean.
    fn refusals_explained(&self) -> Vec<Refused> {
        let row = |row: &Refusals| Refused {
            place: row.place,
            rule: row.rule,
            devices: row.devices,
            others: row.others,
            meaning: meaning(row.rule).unwrap_or_default(),
        };
        self.refusals.iter().map(row).collect()
    }

    fn elapsed_ms(&self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "was whole milliseconds before"
        )]
        let ms = (self.virtual_seconds * 1000.0).round() as i64;
        ms
    }
}
