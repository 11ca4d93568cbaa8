//! Shows how a run goes: a live line on a terminal, a plain line now and then elsewhere.
//!
//! Driven by what devices observe and held back by the wall clock. A timer of the runtime would
//! do worse: on a paused clock it would fire without end and take part in the run's time.

use std::io::{IsTerminal, Write as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use linarite_env::{Clock, UnixMillis};

use crate::checker::Glance;
use crate::scenario::pace::Pace;

/// Observations between two looks at the wall clock.
const LOOK_EVERY: u32 = 64;
/// Wall time between two drawings of the live line, in milliseconds.
const REDRAW_MS: i64 = 200;
/// Wall time between two plain lines, in milliseconds.
const LINE_MS: i64 = 5_000;

/// The live lines of all runs under way, one below the other.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A block that is drawn anew whenever it has a new message, where standard error is a terminal that
/// can do that. It has no colours.
pub(crate) fn block() -> Option<ProgressBar> {
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    if dumb || !std::io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{msg}").ok()?;
    Some(LINES.add(ProgressBar::no_length().with_style(style)))
}

/// Takes such a block away.
pub(crate) fn clear(block: &ProgressBar) {
    block.finish_and_clear();
    LINES.remove(block);
}

/// Prints above the live lines, where there are any.
pub fn above(print: impl FnOnce()) {
    LINES.suspend(print);
}

enum Form {
    Silent,
    Live(ProgressBar),
    Lines,
}

/// Shows how one run goes on standard error.
pub struct Progress {
    form: Form,
    title: String,
    devices: u32,
    days: f64,
    pace: Pace,
    clock: Clock,
    shown: AtomicI64,
    calls: AtomicU32,
}

impl Progress {
    /// Shows the run `title` of `devices` devices over `days` scenario days.
    #[must_use]
    pub fn new(title: &str, devices: u32, days: f64, pace: Pace) -> Self {
        let form = if std::io::stderr().is_terminal() {
            // The whole bar is its message; it is redrawn when there is a new one.
            let bar = LINES.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            Form::Live(bar)
        } else {
            Form::Lines
        };
        Self::in_form(form, title, devices, days, pace)
    }

    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self::in_form(Form::Silent, "", 0, 0.0, Pace::Virtual)
    }

    fn in_form(form: Form, title: &str, devices: u32, days: f64, pace: Pace) -> Self {
        let clock = Clock::system();
        let shown = AtomicI64::new(clock.now_ms().0);
        let (title, calls) = (title.to_owned(), AtomicU32::new(0));
        Self {
            form,
            title,
            devices,
            days,
            pace,
            clock,
            shown,
            calls,
        }
    }

    /// Takes an opportunity to show something; asks for a glance only where it is shown.
    pub fn tick(&self, glance: impl FnOnce() -> Glance) {
        let every = match self.form {
            Form::Silent => return,
            Form::Live(_) => REDRAW_MS,
            Form::Lines => LINE_MS,
        };
        if !self
            .calls
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(LOOK_EVERY)
        {
            return;
        }
        let (now, shown) = (self.clock.now_ms(), self.shown.load(Ordering::Relaxed));
        let due = now.since(UnixMillis(shown)) >= every;
        // Whoever writes the time shows the line.
        let mine = due
            && self
                .shown
                .compare_exchange(shown, now.0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.show(&self.line(&glance()));
        }
    }

    /// Clears the live line.
    pub fn finish(&self) {
        if let Form::Live(bar) = &self.form {
            bar.finish_and_clear();
            LINES.remove(bar);
        }
    }

    fn line(&self, glance: &Glance) -> String {
        format!(
            "{}: day {:.1} of {:.0}, {} of {} connected, {} on the new certificate, {} refused",
            self.title,
            self.pace.days(glance.elapsed_ms),
            self.days,
            glance.connected,
            self.devices,
            glance.on_newest,
            glance.refused,
        )
    }

    fn show(&self, line: &str) {
        match &self.form {
            Form::Silent => {}
            Form::Live(bar) => {
                bar.set_message(line.to_owned());
                bar.tick();
            }
            Form::Lines => {
                // Progress that cannot be shown is no reason to end a run.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}
