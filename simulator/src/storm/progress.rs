//! Tells on standard error how a storm goes, once it takes longer than a moment.

use std::io::Write as _;

use linarite_env::{Clock, UnixMillis};

use crate::scenario::duration::Span;

/// Steps between two looks at the wall clock.
const LOOK_EVERY: u32 = 2048;
/// Wall time between two lines, and before the first, in milliseconds.
const LINE_MS: i64 = 2_000;

pub(super) struct Progress {
    wall: Clock,
    shown: UnixMillis,
    steps: u32,
    devices: u32,
    bound: Span,
    on: bool,
}

impl Progress {
    /// Of a storm of `devices` devices that lasts at least `bound_ms`; silent unless `on`.
    pub(super) fn new(wall: Clock, devices: u32, bound_ms: u64, on: bool) -> Self {
        Self {
            shown: wall.now_ms(),
            wall,
            steps: 0,
            devices,
            bound: Span(i64::try_from(bound_ms).unwrap_or(i64::MAX)),
            on,
        }
    }

    /// Takes an opportunity to say that `served` devices are served at `at_ms`.
    pub(super) fn tick(&mut self, at_ms: u64, served: u32) {
        self.steps = self.steps.wrapping_add(1);
        if !self.on || !self.steps.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let now = self.wall.now_ms();
        if now.since(self.shown) < LINE_MS {
            return;
        }
        self.shown = now;
        let at = Span(i64::try_from(at_ms).unwrap_or(i64::MAX)).rounded();
        let (devices, bound) = (self.devices, self.bound.rounded());
        // Progress that cannot be shown is no reason to end a storm.
        let _ = writeln!(
            std::io::stderr(),
            "storm: {served} of {devices} devices served after {at}; forecast {bound} at the least",
        );
    }
}
