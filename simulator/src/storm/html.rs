//! `storm.html`: the curves of a storm on one page that asks nothing of the network.

use std::fmt::Write as _;
use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use super::outcome::{Outcome, Point};
use super::text::{span, thousands};

const TEMPLATE: &str = include_str!("storm.html");

/// Left edge, width, top edge and height of the chart's area, in SVG units.
const LEFT: f64 = 72.0;
const WIDTH: f64 = 872.0;
const TOP: f64 = 16.0;
const HEIGHT: f64 = 300.0;

/// A number on an axis.
#[derive(Serialize)]
struct Tick {
    x: f64,
    y: f64,
    label: String,
}

impl Outcome {
    /// The outcome as a self-contained HTML page.
    ///
    /// # Errors
    /// None that an outcome's own types can cause.
    pub fn html(&self) -> io::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("span", |ms: u64| span(ms));
        environment.add_filter("thousands", |number: u64| thousands(number));
        let end = self.curve.last().map_or(1, |point| point.at_ms).max(1);
        let x = |at: u64| LEFT + WIDTH * share(at, end);
        let devices = u64::from(self.devices).max(1);
        let y = |count: usize| {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            TOP + HEIGHT * (1.0 - share(count, devices))
        };
        let line = |value: fn(&Point) -> usize| {
            let mut path = String::new();
            for point in &self.curve {
                let word = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{word}{:.1} {:.1}", x(point.at_ms), y(value(point)));
            }
            path
        };
        let times = (0..=4).map(|quarter| end * quarter / 4);
        let times = times.map(|at| Tick {
            x: x(at),
            y: TOP + HEIGHT,
            label: span(at),
        });
        let counts = (0..=4).map(|quarter| devices * quarter / 4);
        let counts = counts.map(|count| Tick {
            x: LEFT,
            y: TOP + HEIGHT * (1.0 - share(count, devices)),
            label: thousands(count),
        });
        environment
            .render_str(
                TEMPLATE,
                context! {
                    outcome => Serde(self),
                    passed => self.passed,
                    measured => self.measured(),
                    headline => self.headline(),
                    forecast => self.forecast_line(),
                    arrived => line(|point| point.arrived),
                    registered => line(|point| point.registered),
                    connected => line(|point| point.connected),
                    bound => line(|point| point.forecast),
                    times => Serde(times.collect::<Vec<_>>()),
                    counts => Serde(counts.collect::<Vec<_>>()),
                    left => LEFT,
                    right => LEFT + WIDTH,
                    top => TOP,
                    bottom => TOP + HEIGHT,
                },
            )
            .map_err(io::Error::other)
    }

    /// What the figure of each threshold came to, for people.
    fn measured(&self) -> Vec<String> {
        let thresholds = self.thresholds.iter();
        thresholds.map(|it| it.measured_text()).collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "SVG units; a storm's milliseconds fit 53 bits"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
