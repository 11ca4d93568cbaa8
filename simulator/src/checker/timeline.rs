//! How many devices were in which state over time, in a bounded number of points.

/// Points kept; once there are more, neighbours are joined.
const POINTS_MAX: usize = 400;
/// Finest distance between two points, in milliseconds.
const FINEST_MS: i64 = 250;

/// How many devices are in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Asleep, or not switched on yet.
    pub asleep: u32,
    /// Awake without a session.
    pub disconnected: u32,
    /// Connected, by generation of the certificate shown, generation 1 first.
    pub connected: Vec<u32>,
}

/// The fleet from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TimelinePoint {
    /// Milliseconds since the start of the run.
    pub at_ms: i64,
    /// The fleet's state.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A device's place in the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Asleep,
    Disconnected,
    Connected(u32),
}

#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) now: Counts,
    points: Vec<TimelinePoint>,
    resolution_ms: i64,
}

impl Timeline {
    pub(super) fn new(devices: u32) -> Self {
        let now = Counts {
            asleep: devices,
            ..Counts::default()
        };
        let points = vec![TimelinePoint {
            at_ms: 0,
            counts: now.clone(),
        }];
        Self {
            now,
            points,
            resolution_ms: FINEST_MS,
        }
    }

    pub(super) fn moves(&mut self, at_ms: i64, from: Standing, to: Standing) {
        if from == to {
            return;
        }
        let leaving = self.cell(from);
        *leaving = leaving.saturating_sub(1);
        *self.cell(to) += 1;
        let counts = self.now.clone();
        match self.points.last_mut() {
            // Within the resolution the last state stands for the whole of it.
            Some(last) if at_ms - last.at_ms < self.resolution_ms => last.counts = counts,
            _ => self.points.push(TimelinePoint { at_ms, counts }),
        }
        if self.points.len() > POINTS_MAX {
            self.coarsen();
        }
    }

    fn cell(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Asleep => &mut self.now.asleep,
            Standing::Disconnected => &mut self.now.disconnected,
            Standing::Connected(generation) => {
                let index = generation.saturating_sub(1) as usize;
                if self.now.connected.len() <= index {
                    self.now.connected.resize(index + 1, 0);
                }
                &mut self.now.connected[index]
            }
        }
    }

    fn coarsen(&mut self) {
        self.resolution_ms *= 2;
        let mut kept: Vec<TimelinePoint> = Vec::with_capacity(POINTS_MAX);
        for point in self.points.drain(..) {
            match kept.last_mut() {
                Some(last) if point.at_ms - last.at_ms < self.resolution_ms => {
                    last.counts = point.counts;
                }
                _ => kept.push(point),
            }
        }
        self.points = kept;
    }

    pub(super) fn points(&self) -> Vec<TimelinePoint> {
        self.points.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_stays_small_and_ends_with_the_last_state() {
        let mut timeline = Timeline::new(5_000);
        for step in 0..5_000 {
            timeline.moves(step * 1_000, Standing::Asleep, Standing::Connected(1));
        }
        let points = timeline.points();
        assert!(
            (100..=POINTS_MAX).contains(&points.len()),
            "{}",
            points.len()
        );
        let last = points.last().unwrap();
        assert_eq!(
            (last.counts.asleep, last.counts.connected.as_slice()),
            (0, &[5_000][..])
        );
    }
}
