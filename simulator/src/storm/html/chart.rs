//! A chart of lines in one frame, in SVG units.

use std::fmt::Write as _;

use serde::Serialize;

/// Left edge, width, top edge and height of a chart's area.
const LEFT: f64 = 72.0;
const WIDTH: f64 = 872.0;
const TOP: f64 = 16.0;
const HEIGHT: f64 = 300.0;

/// A number on an axis.
#[derive(Serialize)]
struct Tick {
    at: f64,
    label: String,
}

/// A line, and the class that colours it.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    path: String,
}

#[derive(Serialize)]
pub(super) struct Chart {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    below: Vec<Tick>,
    beside: Vec<Tick>,
    lines: Vec<Line>,
}

impl Default for Chart {
    fn default() -> Self {
        Self {
            left: LEFT,
            right: LEFT + WIDTH,
            top: TOP,
            bottom: TOP + HEIGHT,
            below: Vec::new(),
            beside: Vec::new(),
            lines: Vec::new(),
        }
    }
}

impl Chart {
    /// Writes `label` below `part` of `whole`.
    pub(super) fn tick_x(&mut self, part: u64, whole: u64, label: String) {
        self.tick_x_at(share(part, whole), label);
    }

    /// Writes `label` below a place between 0 and 1.
    pub(super) fn tick_x_at(&mut self, place: f64, label: String) {
        let at = LEFT + WIDTH * place;
        self.below.push(Tick { at, label });
    }

    /// Writes `label` beside `part` of `whole`.
    pub(super) fn tick_y(&mut self, part: u64, whole: u64, label: String) {
        let at = TOP + HEIGHT * (1.0 - share(part, whole));
        self.beside.push(Tick { at, label });
    }

    /// The point at `x` of `x_whole` and `y` of `y_whole`.
    pub(super) fn at(&self, x: u64, x_whole: u64, y: u64, y_whole: u64) -> (f64, f64) {
        self.at_place(share(x, x_whole), y, y_whole)
    }

    /// The point at a place between 0 and 1 and `y` of `y_whole`.
    pub(super) fn at_place(&self, place: f64, y: u64, y_whole: u64) -> (f64, f64) {
        let x = self.left + (self.right - self.left) * place;
        let y = self.bottom - (self.bottom - self.top) * share(y, y_whole);
        (x, y)
    }

    /// Draws a line through `points`.
    pub(super) fn draw(&mut self, name: &'static str, points: Vec<(f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let word = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{word}{x:.1} {y:.1}");
        }
        self.lines.push(Line { name, path });
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "SVG units; a storm's milliseconds fit 53 bits"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
