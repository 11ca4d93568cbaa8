//! Geometry of the report's charts: where times and numbers lie, in SVG units.

use serde::Serialize;

use crate::checker::{ActivityBin, Counts, TimelinePoint};
use crate::operator::StepOutcome;
use crate::scenario::Scenario;
use crate::scenario::duration::{DAY_MS, Span};
use crate::scenario::pace::Pace;

/// Left edge, width, top edge and height of a chart's area.
pub(super) const LEFT: f64 = 64.0;
pub(super) const WIDTH: f64 = 880.0;
pub(super) const TOP: f64 = 34.0;
pub(super) const HEIGHT: f64 = 240.0;

/// Width that a time asleep takes, however long it is.
const ASLEEP_WIDTH: f64 = 54.0;
/// Width of a column of registrations and refusals.
const COLUMN_WIDTH: f64 = 4.0;
/// Step marks nearer than this share a label.
const MARK_DISTANCE: f64 = 18.0;

/// The time axis. Sleeps take a fixed width: nothing happens in them, and to scale they would
/// leave no room for the hours in which everything happens.
#[derive(Clone, Debug, Default)]
pub(super) struct Axis {
    pub(super) parts: Vec<Part>,
    pace: Option<Pace>,
}

/// A stretch of the time axis with one scale.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    from_ms: i64,
    until_ms: i64,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) asleep: bool,
    /// What stands below its left end.
    pub(super) label: String,
    /// How long it is.
    pub(super) length: String,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "SVG units; a run's milliseconds fit 53 bits"
)]
fn float(number: i64) -> f64 {
    number as f64
}

impl Axis {
    pub(super) fn new(scenario: &Scenario, pace: &Pace, elapsed_ms: i64) -> Self {
        let mut stretches: Vec<(i64, i64, bool)> = Vec::new();
        let mut at = 0;
        for window in &scenario.fleet.awake {
            let clock = |time| i64::try_from(pace.procedure(time).as_millis()).unwrap_or(0);
            let (from, until) = (clock(window.from), clock(window.until));
            if from > at {
                stretches.push((at, from, true));
            }
            stretches.push((from, until.min(elapsed_ms), false));
            at = until;
        }
        stretches.retain(|(from, until, _)| from < until);
        Self {
            parts: lay_out(&stretches, pace),
            pace: Some(pace.clone()),
        }
    }

    pub(super) fn x(&self, at_ms: i64) -> f64 {
        let part = self
            .parts
            .iter()
            .find(|part| at_ms < part.until_ms)
            .or(self.parts.last());
        let Some(part) = part else { return LEFT };
        let span = float((part.until_ms - part.from_ms).max(1));
        let share = float(at_ms - part.from_ms) / span;
        part.x + part.width * share.clamp(0.0, 1.0)
    }

    /// The scenario day of a moment, to the second.
    pub(super) fn second(&self, at_ms: i64) -> String {
        let days = self.pace.as_ref().map_or(0.0, |pace| pace.days(at_ms));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a run's seconds are far from the limits"
        )]
        let seconds = (days * 86_400.0).round() as i64;
        let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        format!("day {day} {hour:02}:{minute:02}:{second:02}")
    }

    /// The scenario day of a moment, for people.
    pub(super) fn day(&self, at_ms: i64) -> String {
        let days = self.pace.as_ref().map_or(0.0, |pace| pace.days(at_ms));
        day_label(days)
    }
}

fn lay_out(stretches: &[(i64, i64, bool)], pace: &Pace) -> Vec<Part> {
    let asleep = stretches.iter().filter(|(_, _, asleep)| *asleep).count();
    let total: i64 = stretches
        .iter()
        .filter(|part| !part.2)
        .map(|(from, to, _)| to - from)
        .sum();
    let sleeping = (ASLEEP_WIDTH * float(i64::try_from(asleep).unwrap_or(0))).min(WIDTH / 3.0);
    let mut x = LEFT;
    let mut parts = Vec::new();
    for &(from_ms, until_ms, is_asleep) in stretches {
        let width = if is_asleep {
            sleeping / float(i64::try_from(asleep).unwrap_or(1))
        } else {
            (WIDTH - sleeping) * float(until_ms - from_ms) / float(total.max(1))
        };
        let label = if is_asleep {
            String::new()
        } else {
            day_label(pace.days(from_ms))
        };
        #[expect(clippy::cast_possible_truncation, reason = "rounded at once")]
        let length = ((pace.days(until_ms) - pace.days(from_ms)) * float(DAY_MS)) as i64;
        let length = coarse(length);
        parts.push(Part {
            from_ms,
            until_ms,
            x,
            width,
            asleep: is_asleep,
            label,
            length,
        });
        x += width;
    }
    parts
}

fn day_label(days: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a run's minutes are far from the limits"
    )]
    let minutes = (days * 1440.0).round() as i64;
    let (day, hour, minute) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    if (hour, minute) == (0, 0) {
        format!("day {day}")
    } else {
        format!("day {day} {hour:02}:{minute:02}")
    }
}

/// A span rounded to whole minutes, hours or days.
fn coarse(ms: i64) -> String {
    let unit = match ms {
        ..21_600_000 => 60_000,
        21_600_000..172_800_000 => 3_600_000,
        _ => 86_400_000,
    };
    Span((ms + unit / 2) / unit * unit).to_string()
}

/// One coloured layer of the timeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Layer {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) path: String,
}

/// The timeline's layers from the bottom up.
pub(super) fn layers(points: &[TimelinePoint], axis: &Axis, devices: u32, end: i64) -> Vec<Layer> {
    let generations = points
        .iter()
        .map(|point| point.counts.connected.len())
        .max()
        .unwrap_or(0);
    let count = generations + 2;
    let name = |layer: usize| match layer {
        0 => (
            "disconnected".to_owned(),
            "awake without a session".to_owned(),
        ),
        layer if layer == count - 1 => ("asleep".to_owned(), "asleep or not yet on".to_owned()),
        layer => (
            format!("g{}", (layer - 1) % 4 + 1),
            format!("connected with certificate #{layer}"),
        ),
    };
    let value = |counts: &Counts, layer: usize| match layer {
        0 => counts.disconnected,
        layer if layer == count - 1 => counts.asleep,
        layer => counts.connected.get(layer - 1).copied().unwrap_or(0),
    };
    let height = |number: u32| TOP + HEIGHT * (1.0 - f64::from(number) / f64::from(devices.max(1)));
    let layer = |layer: usize| {
        let below =
            |point: &TimelinePoint| (0..layer).map(|l| value(&point.counts, l)).sum::<u32>();
        let mut upper = String::new();
        let mut lower = Vec::new();
        for (index, point) in points.iter().enumerate() {
            let until = points.get(index + 1).map_or(end, |next| next.at_ms);
            let (left, right) = (axis.x(point.at_ms), axis.x(until));
            let base = below(point);
            let top = height(base + value(&point.counts, layer));
            upper += &format!("L{left:.1} {top:.1}L{right:.1} {top:.1}");
            let bottom = height(base);
            lower.push(format!("L{right:.1} {bottom:.1}L{left:.1} {bottom:.1}"));
        }
        lower.reverse();
        let path = format!("M{}{}Z", upper.trim_start_matches('L'), lower.concat());
        let (class, name) = name(layer);
        Layer { class, name, path }
    };
    (0..count).map(layer).collect()
}

/// A piece of a column of registrations and refusals.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Piece {
    pub(super) class: &'static str,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
}

/// Columns of what happened, stacked, and how many the highest stands for.
pub(super) fn activity(bins: &[ActivityBin], axis: &Axis, height: f64) -> (Vec<Piece>, u32) {
    // A column is wide enough to be seen, so it may stand for several bins.
    let mut columns: Vec<(f64, [u32; 3])> = Vec::new();
    for bin in bins {
        let x = (axis.x(bin.at_ms) / COLUMN_WIDTH).floor() * COLUMN_WIDTH;
        let counts = [bin.registered, bin.refused_by_dps, bin.refused_by_hub];
        match columns.last_mut() {
            Some((last, sums)) if *last >= x => {
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
            _ => columns.push((x, counts)),
        }
    }
    let most = columns
        .iter()
        .map(|(_, sums)| sums.iter().sum::<u32>())
        .max()
        .unwrap_or(0);
    let kinds = [
        ("g3", "registrations"),
        ("disconnected", "refusals by DPS"),
        ("g4", "refusals by the hub"),
    ];
    let mut pieces = Vec::new();
    for (x, sums) in columns {
        let mut base = TOP + height;
        for ((class, name), count) in kinds.into_iter().zip(sums) {
            if count > 0 {
                // A single one among thousands must still be seen.
                let tall = (height * f64::from(count) / f64::from(most)).max(2.0);
                base -= tall;
                let title = format!("{count} {name}");
                pieces.push(Piece {
                    class,
                    x,
                    y: base,
                    width: COLUMN_WIDTH,
                    height: tall,
                    title,
                });
            }
        }
    }
    (pieces, most)
}

/// A mark for one or several steps of the operator.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) label: String,
    pub(super) title: String,
    last_x: f64,
    first: usize,
}

pub(super) fn marks(steps: &[StepOutcome], axis: &Axis) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let (number, x) = (index + 1, axis.x(step.began_ms.max(0)));
        match marks.last_mut() {
            Some(mark) if x - mark.last_x < MARK_DISTANCE => {
                mark.last_x = x;
                mark.label = format!("{}–{number}", mark.first);
                mark.title += &format!("; {number} {}", step.title);
            }
            _ => marks.push(Mark {
                x,
                label: number.to_string(),
                title: format!("{number} {}", step.title),
                last_x: x,
                first: number,
            }),
        }
    }
    marks
}

/// Devices whose longest wait lies in a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Waits up to and with this many milliseconds; `None` for everything longer.
    pub up_to_ms: Option<i64>,
    /// The same in words.
    pub label: String,
    /// How many devices.
    pub devices: usize,
    /// Whether these waits are longer than the budget.
    pub over_budget: bool,
}

/// Sorts devices into ranges of their longest wait; one range ends at the budget.
pub(super) fn bins(ascending_ms: &[i64], budget_ms: i64) -> Vec<Bin> {
    let mut edges = vec![
        0, 100, 1_000, 3_000, 10_000, 30_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000,
    ];
    edges.push(budget_ms);
    edges.sort_unstable();
    edges.dedup();
    let mut bins = Vec::new();
    let mut counted = 0;
    for edge in edges {
        let up_to = ascending_ms.partition_point(|wait| *wait <= edge);
        let label = match edge {
            0 => "none".to_owned(),
            edge => format!("≤ {}", Span(edge)),
        };
        let (devices, over_budget) = (up_to - counted, edge > budget_ms);
        bins.push(Bin {
            up_to_ms: Some(edge),
            label,
            devices,
            over_budget,
        });
        counted = up_to;
    }
    let devices = ascending_ms.len() - counted;
    bins.push(Bin {
        up_to_ms: None,
        label: "longer".to_owned(),
        devices,
        over_budget: true,
    });
    bins
}

/// A bar of the distribution of waits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) middle: f64,
    pub(super) devices: usize,
    pub(super) label: String,
    pub(super) over_budget: bool,
}

pub(super) fn bars(bins: &[Bin], height: f64) -> Vec<Bar> {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let most = bins.iter().map(|bin| bin.devices).max().unwrap_or(0).max(1);
    let slot = WIDTH / count(bins.len().max(1));
    let bar = |(index, bin): (usize, &Bin)| {
        let x = LEFT + slot * count(index) + slot * 0.12;
        let full = height * count(bin.devices) / count(most);
        // A single device among thousands must still be seen.
        let tall = if bin.devices == 0 { 0.0 } else { full.max(2.0) };
        Bar {
            x,
            y: TOP + height - tall,
            width: slot * 0.76,
            height: tall,
            middle: x + slot * 0.38,
            devices: bin.devices,
            label: bin.label.clone(),
            over_budget: bin.over_budget,
        }
    };
    bins.iter().enumerate().map(bar).collect()
}
