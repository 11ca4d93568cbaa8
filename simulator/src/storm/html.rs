//! `storm.html`: the curves of a storm on one page that asks nothing of the network.

mod chart;

use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use super::echo::Echo;
use super::forecast::Gate;
use super::outcome::{Outcome, Point};
use super::text::{span, thousands};
use chart::{Chart, round_times};

const TEMPLATE: &str = include_str!("storm.html");

/// A count of a curve's point.
type Counted = fn(&Point) -> usize;

impl Outcome {
    /// The outcome as a self-contained HTML page.
    ///
    /// # Errors
    /// None that an outcome's own types can cause.
    pub fn html(&self) -> io::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("span", |ms: u64| span(ms));
        let paces: Vec<String> = self.forecast.gates.iter().map(Gate::pace).collect();
        environment.add_filter("thousands", |number: u64| thousands(number));
        environment
            .render_str(
                TEMPLATE,
                context! {
                    outcome => Serde(self),
                    passed => self.passed,
                    headline => self.headline(),
                    forecast => self.forecast_line(),
                    fleet_line => self.fleet_line(),
                    limits_line => self.limits_line(),
                    measured => self.measured(),
                    paces,
                    echo => self.echo.as_ref().map(Echo::line),
                    fleet => Serde(self.fleet()),
                    waits => Serde(self.waits()),
                },
            )
            .map_err(io::Error::other)
    }

    /// How many had come how far by when.
    fn fleet(&self) -> Chart {
        let end = self.curve.last().map_or(1, |point| point.at_ms).max(1);
        let devices = u64::from(self.devices).max(1);
        let mut chart = Chart::default();
        for at in round_times(end) {
            chart.tick_x(at, end, span(at));
        }
        for quarter in 0..=4 {
            let count = devices * quarter / 4;
            chart.tick_y(count, devices, thousands(count));
        }
        let curves: [(&'static str, Counted); 4] = [
            ("arrived", |point| point.arrived),
            ("registered", |point| point.registered),
            ("connected", |point| point.connected),
            // Dashed, so that what lies below it is seen where the fleet keeps up.
            ("bound", |point| point.forecast),
        ];
        // Nobody goes through DPS for some causes.
        let drawn = |name: &str| name != "registered" || self.registration_ms.is_some();
        for (name, value) in curves.into_iter().filter(|(name, _)| drawn(name)) {
            let count = |point: &Point| u64::try_from(value(point)).unwrap_or(u64::MAX);
            let points = self.curve.iter();
            let points = points.map(|it| chart.at(it.at_ms, end, count(it), devices));
            let points = points.collect();
            chart.draw(name, points);
        }
        chart
    }

    /// How long who waited, the few who waited longest drawn as wide as the many who did not. None
    /// if nobody was served.
    fn waits(&self) -> Option<Chart> {
        let longest = self.time_to_service_ms?.max.max(1);
        let mut chart = Chart::default();
        for ms in round_times(longest) {
            chart.tick_y(ms, longest, span(ms));
        }
        let decades = decades_of(u64::from(self.served));
        for (percentile, label) in [
            (0.0, "0 %"),
            (50.0, "50 %"),
            (90.0, "90 %"),
            (99.0, "99 %"),
            (99.9, "99.9 %"),
            (99.99, "99.99 %"),
            (99.999, "99.999 %"),
            (99.9999, "99.9999 %"),
        ] {
            let place = place_of(percentile, decades);
            if place <= 1.0 {
                chart.tick_x_at(place, label.to_owned());
            }
        }
        let ranks = self.time_to_service_by_percentile.iter();
        let ranks = ranks.map(|rank| {
            let place = place_of(rank.percentile, decades).min(1.0);
            chart.at_place(place, rank.ms, longest)
        });
        let ranks = ranks.collect();
        chart.draw("connected", ranks);
        Some(chart)
    }

    /// What the figure of each threshold came to, for people.
    fn measured(&self) -> Vec<String> {
        let thresholds = self.thresholds.iter();
        thresholds.map(|it| it.measured_text()).collect()
    }
}

/// Powers of ten from all who were served down to the one who waited longest.
#[expect(clippy::cast_precision_loss, reason = "a million at the most")]
fn decades_of(served: u64) -> f64 {
    (served as f64).log10().max(1.0)
}

/// Where a percentile lies between 0 and the last of so many decades, which is 1.
fn place_of(percentile: f64, decades: f64) -> f64 {
    let longer = (1.0 - percentile / 100.0).max(f64::MIN_POSITIVE);
    -longer.log10() / decades
}
