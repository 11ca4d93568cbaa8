//! Tells on standard error how a storm goes: a block that is drawn anew on a terminal, a plain line
//! now and then elsewhere.
//!
//! Driven by what happens and held back by the wall clock, as the progress of a run is.

use std::fmt::Write as _;
use std::io::{self, Write};

use indicatif::ProgressBar;
use linarite_env::{Clock, UnixMillis};

use super::tally::Tally;
use super::text::{span, thousands};
use super::waits::Percentiles;
use crate::progress;

/// Steps between two looks at the wall clock.
const LOOK_EVERY: u32 = 64;
/// Wall time between two plain lines, and before the first, in milliseconds.
const LINE_MS: i64 = 2_000;
/// Wall time between two drawings of the block, in milliseconds.
const REDRAW_MS: i64 = 200;

enum Form {
    Silent,
    Block(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

pub(super) struct Progress {
    wall: Clock,
    shown: UnixMillis,
    steps: u32,
    /// The least that arithmetic says, in milliseconds; none of a fleet that is only provisioned.
    bound_ms: Option<u64>,
    form: Form,
}

impl Progress {
    /// Of a storm that lasts at least `bound_ms`, or of the provisioning that comes before it;
    /// silent unless `on`.
    pub(super) fn new(wall: Clock, bound_ms: Option<u64>, on: bool) -> Self {
        let form = match (on, progress::block()) {
            (false, _) => Form::Silent,
            (true, Some(block)) => Form::Block(block),
            (true, None) => Form::Lines(Box::new(io::stderr())),
        };
        Self {
            shown: wall.now_ms(),
            wall,
            steps: 0,
            bound_ms,
            form,
        }
    }

    /// Takes an opportunity to show how far `tally` is at `at_ms`.
    pub(super) fn tick(&mut self, at_ms: u64, tally: &Tally) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(LOOK_EVERY) {
            self.look(at_ms, tally);
        }
    }

    /// Shows how far `tally` is at `at_ms`, if it is time.
    pub(super) fn look(&mut self, at_ms: u64, tally: &Tally) {
        let every = match self.form {
            Form::Silent => return,
            Form::Block(_) => REDRAW_MS,
            Form::Lines(_) => LINE_MS,
        };
        let now = self.wall.now_ms();
        if now.since(self.shown) < every {
            return;
        }
        self.shown = now;
        match &mut self.form {
            Form::Silent => {}
            Form::Block(block) => {
                block.set_message(lines(self.bound_ms, at_ms, tally));
                block.tick();
            }
            Form::Lines(out) => {
                // Progress that cannot be shown is no reason to end a storm.
                let _ = writeln!(out, "{}", line(self.bound_ms, at_ms, tally));
            }
        }
    }
}

impl Drop for Progress {
    /// Clears the block.
    fn drop(&mut self) {
        if let Form::Block(block) = &self.form {
            progress::clear(block);
        }
    }
}

/// How far `tally` is, in one plain line.
fn line(bound_ms: Option<u64>, at_ms: u64, tally: &Tally) -> String {
    let (served, devices) = (tally.served_count(), tally.served.len());
    let Some(bound_ms) = bound_ms else {
        return format!("before the storm: {served} of {devices} devices provisioned");
    };
    let put_off = tally.throttled + tally.polls_throttled + tally.connects_refused;
    let refused = tally.connects_unauthorized + tally.connects_failed + tally.failed;
    format!(
        "storm: {served} of {devices} devices served after {}; forecast {} at the least; {put_off} \
         requests put off, {refused} refused",
        span(at_ms),
        span(bound_ms),
    )
}

/// The same in a block of lines.
fn lines(bound_ms: Option<u64>, at_ms: u64, tally: &Tally) -> String {
    let Some(bound_ms) = bound_ms else {
        return line(bound_ms, at_ms, tally);
    };
    let mut text = format!("storm  {} of at least {}", span(at_ms), span(bound_ms));
    let count = |count: usize| thousands(count as u64);
    let mut row = |title: &str, what: &str| {
        let _ = write!(text, "\n  {title:<14}{what}");
    };
    let devices = count(tally.served.len());
    let connected = thousands(u64::from(tally.served_count()));
    let registered = thousands(tally.until_registered.count());
    row(
        "connected",
        &format!("{connected} of {devices}, {registered} registered"),
    );
    row(
        "put off",
        &format!(
            "{} registrations (429), {} polls (429), {} connections (CONNACK 3)",
            thousands(tally.throttled),
            thousands(tally.polls_throttled),
            thousands(tally.connects_refused),
        ),
    );
    row(
        "refused",
        &format!(
            "{} connections as unauthorized, {} otherwise, {} registrations",
            thousands(tally.connects_unauthorized),
            thousands(tally.connects_failed),
            thousands(tally.failed),
        ),
    );
    let waits = tally.until_served.percentiles();
    let waits = waits.as_ref().map(Percentiles::text);
    row(
        "until served",
        &waits.unwrap_or_else(|| "nobody yet".to_owned()),
    );
    if tally.rolls {
        let with = |place: usize| tally.served_with.get(place).copied().unwrap_or(0);
        let (first, second) = (u64::from(with(0)), u64::from(with(1)));
        let shown = format!("{} new, {} old", thousands(second), thousands(first));
        row("certificates", &shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::observation::{Generation, Observation};

    /// Where lines go in these tests.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tally() -> Tally {
        let mut tally = Tally::new(vec![0; 3], None);
        let hub = || "hub".to_owned();
        let registered = Observation::RegistrationSucceeded {
            generation: Generation(2),
            hub: hub(),
            device_id: hub(),
        };
        let opened = Observation::SessionOpened {
            generation: Generation(2),
        };
        let put_off = Observation::RegistrationFailed {
            generation: Generation(2),
            status: 429,
            code: 429_001,
            text: String::new(),
        };
        let refused = |connack| Observation::ConnectRefused {
            generation: Generation(1),
            connack,
            text: String::new(),
        };
        tally.note(0, 100, &refused(5));
        tally.note(0, 1_500, &registered);
        tally.note(0, 2_000, &opened);
        tally.note(1, 2_000, &put_off);
        tally.note(2, 2_000, &refused(3));
        tally
    }

    #[test]
    fn away_from_a_terminal_there_is_a_plain_line_every_two_seconds() {
        let (wall, written) = (Clock::system(), Written::default());
        let mut progress = Progress::new(wall.clone(), Some(540_000), false);
        progress.form = Form::Lines(Box::new(written.clone()));
        let tally = tally();
        for _ in 0..LOOK_EVERY * 3 {
            progress.tick(2_000, &tally);
        }
        assert!(written.0.lock().unwrap().is_empty(), "too early");
        for _ in 0..2 {
            wall.advance(std::time::Duration::from_secs(2));
            for _ in 0..LOOK_EVERY * 3 {
                progress.tick(2_000, &tally);
            }
        }
        let said = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let expected = "storm: 1 of 3 devices served after 2s; forecast 9m at the least; 2 requests \
                        put off, 1 refused\n";
        assert_eq!(said, expected.repeat(2));
    }

    #[test]
    fn the_block_tells_who_was_put_off_and_who_refused() {
        let mut tally = tally();
        let expected = "storm  2s of at least 9m
  connected     1 of 3, 1 registered
  put off       1 registrations (429), 0 polls (429), 1 connections (CONNACK 3)
  refused       1 connections as unauthorized, 0 otherwise, 0 registrations
  until served  p50 2s, p90 2s, p99 2s, p99.9 2s, longest 2s";
        assert_eq!(lines(Some(540_000), 2_000, &tally), expected);
        tally.rolls = true;
        let with = format!("{expected}\n  certificates  1 new, 0 old");
        assert_eq!(lines(Some(540_000), 2_000, &tally), with);
        let before = "before the storm: 1 of 3 devices provisioned";
        assert_eq!(lines(None, 2_000, &tally), before);
    }
}
