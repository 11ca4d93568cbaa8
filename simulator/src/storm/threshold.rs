//! What a storm is held to beside that everybody be served: `finish<=15m`, `throttled<20000`.
//!
//! A threshold is a figure of the outcome, a comparison and a value, without any arithmetic.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::outcome::Outcome;
use super::text::{span, thousands};
use super::waits::Percentiles;
use crate::scenario::duration::Span;
use crate::scenario::suggest::with_suggestion;

/// A figure of an outcome.
#[derive(Clone, Copy, Debug)]
enum Figure {
    /// From the start until the last device was connected.
    Finish,
    /// A percentile of the time from a device's arrival until it was connected, by its name.
    Wait(&'static str, fn(&Percentiles) -> u64),
    /// The finish, divided by its bound.
    Ratio,
    /// How often something happened, by its name.
    Count(&'static str, fn(&Outcome) -> u64),
}

/// All figures, in the order in which they are told.
const FIGURES: [Figure; 14] = [
    Figure::Finish,
    Figure::Wait("p50", |waits| waits.p50),
    Figure::Wait("p90", |waits| waits.p90),
    Figure::Wait("p95", |waits| waits.p95),
    Figure::Wait("p99", |waits| waits.p99),
    Figure::Wait("p999", |waits| waits.p999),
    Figure::Wait("max", |waits| waits.max),
    Figure::Wait("mean", |waits| waits.mean),
    Figure::Ratio,
    Figure::Count("throttled", |it| it.registrations.throttled),
    Figure::Count("polls-throttled", |it| it.polls_throttled),
    Figure::Count("refused", |it| it.connects.refused),
    Figure::Count("unauthorized", |it| it.connects.unauthorized),
    Figure::Count("failed", |it| it.registrations.failed + it.connects.failed),
];

/// What a figure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// How often.
    Count,
    /// One figure divided by another.
    Ratio,
}

/// Each has a name of its own.
impl PartialEq for Figure {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Figure {
    const fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Wait(name, _) | Self::Count(name, _) => name,
            Self::Ratio => "ratio",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Finish | Self::Wait(..) => Unit::Ms,
            Self::Ratio => Unit::Ratio,
            Self::Count(..) => Unit::Count,
        }
    }

    /// What it came to; none where the storm has no such figure.
    fn measured(self, outcome: &Outcome) -> Option<f64> {
        let waits = outcome.time_to_service_ms.as_ref();
        match self {
            Self::Finish => outcome.finish_ms.map(float),
            Self::Wait(_, of) => waits.map(|waits| float(of(waits))),
            Self::Ratio => outcome.ratio,
            Self::Count(_, of) => Some(float(of(outcome))),
        }
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = FIGURES.into_iter().find(|figure| figure.name() == text);
        found.ok_or_else(|| {
            let known = FIGURES.map(Figure::name).join(", ");
            with_suggestion(format!("no figure is called `{text}`; known: {known}"))
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a storm's figures fit 53 bits")]
fn float(figure: u64) -> f64 {
    figure as f64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtMost,
    AtLeast,
    Equal,
    Unequal,
    Below,
    Above,
}

impl Comparison {
    /// Those of two signs first, so that `<=` is not read as `<`.
    const ALL: [Self; 6] = [
        Self::AtMost,
        Self::AtLeast,
        Self::Equal,
        Self::Unequal,
        Self::Below,
        Self::Above,
    ];

    const fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Below => "<",
            Self::Above => ">",
        }
    }

    #[expect(
        clippy::float_cmp,
        reason = "whole numbers, or one that an author wrote to compare with"
    )]
    fn holds(self, measured: f64, value: f64) -> bool {
        match self {
            Self::AtMost => measured <= value,
            Self::AtLeast => measured >= value,
            Self::Equal => measured == value,
            Self::Unequal => measured != value,
            Self::Below => measured < value,
            Self::Above => measured > value,
        }
    }
}

/// A figure, a comparison and a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    figure: Figure,
    comparison: Comparison,
    /// In the figure's unit.
    value: f64,
}

/// Whether a threshold held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The threshold as it is written.
    pub threshold: String,
    /// The figure it is about.
    pub figure: &'static str,
    /// What the figure counts in.
    pub unit: Unit,
    /// What the figure is compared with.
    pub limit: f64,
    /// What the figure came to; none where the storm has no such figure, as one that was given up
    /// has no finish.
    pub measured: Option<f64>,
    /// Whether it held. It does not where there is no figure.
    pub passed: bool,
}

impl Threshold {
    /// Names of all figures that there may be thresholds for.
    pub fn figures() -> impl Iterator<Item = &'static str> {
        FIGURES.into_iter().map(Figure::name)
    }

    /// Holds `outcome` to it.
    #[must_use]
    pub fn judge(&self, outcome: &Outcome) -> Judgement {
        let measured = self.figure.measured(outcome);
        let holds = |measured| self.comparison.holds(measured, self.value);
        Judgement {
            threshold: self.to_string(),
            figure: self.figure.name(),
            unit: self.figure.unit(),
            limit: self.value,
            measured,
            passed: measured.is_some_and(holds),
        }
    }
}

impl Judgement {
    /// What the figure came to, for people.
    #[must_use]
    pub fn measured_text(&self) -> String {
        let Some(measured) = self.measured else {
            return "nothing to measure".to_owned();
        };
        match self.unit {
            Unit::Ms => span(whole(measured)),
            Unit::Count => thousands(whole(measured)),
            Unit::Ratio => format!("{measured:.3}"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was made from a whole number"
)]
fn whole(figure: f64) -> u64 {
    figure as u64
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text
            .find(['<', '>', '=', '!'])
            .ok_or_else(|| unlike(text))?;
        let (figure, rest) = text.split_at(place);
        let signed = |comparison: &Comparison| rest.starts_with(comparison.sign());
        let comparison = Comparison::ALL.into_iter().find(signed);
        let comparison = comparison.ok_or_else(|| unlike(text))?;
        let figure: Figure = figure.trim().parse()?;
        let value = rest[comparison.sign().len()..].trim();
        Ok(Self {
            figure,
            comparison,
            value: value_of(figure, value)?,
        })
    }
}

/// What is wrong with `text`, which has no comparison.
fn unlike(text: &str) -> String {
    let meant = match text.split_once('=') {
        Some((figure, value)) => format!("; did you mean `{figure}=={value}`?"),
        None => String::new(),
    };
    format!(
        "`{text}` is no threshold; write a figure, one of <=, <, >=, >, == and !=, and a value, like \
         finish<=15m{meant}"
    )
}

fn value_of(figure: Figure, text: &str) -> Result<f64, String> {
    let name = figure.name();
    match figure.unit() {
        Unit::Ms => {
            let read = Span::parse(text).map_err(|error| format!("{name}: {error}"))?;
            let ms = u64::try_from(read.0);
            ms.map(float)
                .map_err(|_| format!("{name}: `{text}` is less than no time"))
        }
        Unit::Count => text
            .parse()
            .map(float)
            .map_err(|_| format!("{name}: `{text}` is no whole number; write it like 20000")),
        Unit::Ratio => {
            let read = text.parse().ok();
            let read = read.filter(|ratio: &f64| ratio.is_finite() && *ratio >= 0.0);
            read.ok_or_else(|| format!("{name}: `{text}` is no ratio; write it like 1.05"))
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, sign) = (self.figure.name(), self.comparison.sign());
        match self.figure.unit() {
            Unit::Ms => {
                let ms = i64::try_from(whole(self.value)).unwrap_or(i64::MAX);
                write!(f, "{name}{sign}{}", Span(ms))
            }
            Unit::Count | Unit::Ratio => write!(f, "{name}{sign}{}", self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_read_as_it_is_written() {
        for text in [
            "finish<=15m",
            "p50<30s",
            "p999<=1h30m",
            "max!=0s",
            "ratio<=1.05",
            "throttled<=20000",
            "polls-throttled==0",
            "refused>=1",
            "failed==0",
            "mean>500ms",
        ] {
            let threshold: Threshold = text.parse().unwrap();
            assert_eq!(threshold.to_string(), text);
        }
        let spaced: Threshold = " p99 <= 10m ".parse().unwrap();
        assert_eq!(spaced.to_string(), "p99<=10m");
    }

    #[test]
    fn what_is_no_threshold_is_answered_with_what_would_be() {
        let table = [
            ("", "like finish<=15m"),
            ("finish", "like finish<=15m"),
            ("finish=15m", "did you mean `finish==15m`?"),
            ("finish!15m", "one of <=, <, >=, >, == and !="),
            ("finsh<=15m", "did you mean `finish`?"),
            ("troughput<1", "known: finish, p50, p90"),
            (
                "finish<=15",
                "finish: `15` is not a duration; write it like",
            ),
            ("finish<=-1m", "finish: `-1m` is less than no time"),
            ("finish<=", "finish: `` is not a duration"),
            ("failed==none", "failed: `none` is no whole number"),
            ("failed==-1", "failed: `-1` is no whole number"),
            ("ratio<=NaN", "ratio: `NaN` is no ratio; write it like 1.05"),
            ("ratio<=-1", "ratio: `-1` is no ratio"),
        ];
        for (text, expected) in table {
            let message = text.parse::<Threshold>().unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn every_comparison_does_what_its_sign_says() {
        let table = [
            (Comparison::AtMost, [true, true, false]),
            (Comparison::AtLeast, [false, true, true]),
            (Comparison::Equal, [false, true, false]),
            (Comparison::Unequal, [true, false, true]),
            (Comparison::Below, [true, false, false]),
            (Comparison::Above, [false, false, true]),
        ];
        for (comparison, expected) in table {
            let held = [1.0, 2.0, 3.0].map(|measured| comparison.holds(measured, 2.0));
            assert_eq!(held, expected, "{}", comparison.sign());
        }
    }

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        for figure in FIGURES {
            let read: Figure = figure.name().parse().unwrap();
            assert_eq!(read.name(), figure.name());
            assert_eq!(read.unit(), figure.unit());
        }
    }
}
