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

/// Steps of an axis of time that people read, in milliseconds.
const STEPS_MS: [u64; 30] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    1_200_000,
    1_800_000,
    3_600_000,
    7_200_000,
    18_000_000,
    36_000_000,
    86_400_000,
    172_800_000,
    432_000_000,
    864_000_000,
    1_728_000_000,
];
/// Steps of an axis at the most.
const STEPS_MAX: u64 = 6;

/// Times to name on an axis that ends at `end_ms`, the start among them.
pub(super) fn round_times(end_ms: u64) -> Vec<u64> {
    let few = |step: &u64| end_ms / step <= STEPS_MAX;
    let step = STEPS_MS.into_iter().find(few).unwrap_or(end_ms.max(1));
    (0..=end_ms / step).map(|number| number * step).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "SVG units; a storm's milliseconds fit 53 bits"
)]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_of_time_names_round_moments() {
        let minutes = |times: &[u64]| times.iter().map(|ms| ms * 60_000).collect::<Vec<_>>();
        assert_eq!(round_times(1_143_000), minutes(&[0, 5, 10, 15]));
        assert_eq!(round_times(6 * 60_000), minutes(&[0, 1, 2, 3, 4, 5, 6]));
        assert_eq!(
            round_times(3_000),
            [0, 500, 1_000, 1_500, 2_000, 2_500, 3_000]
        );
        assert_eq!(round_times(1), [0, 1]);
        for end in [
            0,
            7,
            59_999,
            86_400_000,
            40 * 86_400_000,
            u64::from(u32::MAX) * 9,
        ] {
            let times = round_times(end);
            assert!((1..=7).contains(&times.len()), "{end}: {times:?}");
        }
    }
}
