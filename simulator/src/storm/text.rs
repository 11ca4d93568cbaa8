//! A storm's outcome for the terminal: how long it took, why, and what devices saw of it.

use std::fmt::Write as _;

use super::forecast::Gate;
use super::outcome::Outcome;
use super::waits::Percentiles;
use crate::scenario::duration::Span;

impl Outcome {
    /// The one line that says how the storm ended.
    #[must_use]
    pub fn headline(&self) -> String {
        let wall = format!("({} of wall time)", span(self.wall_ms.unsigned_abs()));
        let missed = self.thresholds.iter().filter(|it| !it.passed).count();
        match self.finish_ms {
            Some(finish) if missed > 0 => format!(
                "FAILED  {missed} of {} thresholds; all {} devices were served after {}  {wall}",
                self.thresholds.len(),
                thousands(u64::from(self.devices)),
                span(finish),
            ),
            Some(finish) => format!(
                "SERVED  all {} devices after {}  {wall}",
                thousands(u64::from(self.devices)),
                span(finish),
            ),
            None if self.interrupted => format!(
                "INTERRUPTED  {} of {} devices served by then  {wall}",
                thousands(u64::from(self.served)),
                thousands(u64::from(self.devices)),
            ),
            None => format!(
                "NOT SERVED  {} of {} devices when the storm was given up{}  {wall}",
                thousands(u64::from(self.devices - self.served)),
                thousands(u64::from(self.devices)),
                match self.stalled {
                    true => ", as nobody got further any more",
                    false => "",
                },
            ),
        }
    }

    /// What the arithmetic says, in a sentence.
    #[must_use]
    pub fn forecast_line(&self) -> String {
        let bound = span(self.forecast.bound_ms);
        let gate =
            { self.forecast.gates.iter() }.find(|gate| Some(gate.name) == self.forecast.set_by);
        let down_for = self.down_for_ms.filter(|ms| *ms > 0);
        let mut line = match gate {
            Some(gate) => format!("at least {bound}, set by {} ({})", gate.name, gate.pace()),
            None if down_for == Some(self.forecast.bound_ms) => {
                format!("at least {bound}, when the hub is back")
            }
            None => format!("at least {bound}, when the last device arrives"),
        };
        if let (Some(_), Some(down_for)) = (gate, down_for) {
            let _ = write!(line, " once the hub is back after {}", span(down_for));
        }
        if let Some(ratio) = self.ratio {
            let _ = write!(line, "; the fleet took {ratio:.3} times as long");
        }
        line
    }

    /// The summary for the terminal, several lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        let mut line = |title: &str, what: &str| {
            let _ = writeln!(text, "  {title:<14}{what}");
        };
        line("cause", &format!("{}: {}", self.cause, self.told));
        line("arrival", &self.fleet_line());
        line("limits", &self.limits_line());
        line("forecast", &self.forecast_line());
        if let Some(echo) = &self.echo {
            line("echo", &echo.line());
        }
        line("registrations", &self.registrations_line());
        line("connections", &self.connects_line());
        for (title, waits) in [
            ("until served", self.time_to_service_ms),
            ("  registered", self.registration_ms),
            ("  connected", self.connect_ms),
        ] {
            if let Some(waits) = waits {
                line(title, &waits.text());
            }
        }
        for judgement in &self.thresholds {
            let held = if judgement.passed { "ok    " } else { "FAIL  " };
            let what = &judgement.threshold;
            line(
                "threshold",
                &format!("{held}{what:<20}  {}", judgement.measured_text()),
            );
        }
        if let Some(wire) = &self.wire {
            line("wire", &wire.line());
        }
        line("replay", &self.replay);
        text
    }

    /// How the fleet came back.
    pub(super) fn fleet_line(&self) -> String {
        format!(
            "{}, {} firmware, seed {}",
            self.arrival, self.firmware, self.seed
        )
    }

    /// What held.
    pub(super) fn limits_line(&self) -> String {
        let hub = match (&self.tier, self.units) {
            (Some(tier), Some(units)) => format!("hub {tier} x{units}"),
            _ => "hub without limits".to_owned(),
        };
        let dps = match self.registrations_per_minute {
            0 => "DPS without limits".to_owned(),
            count => format!("DPS {} registrations a minute", thousands(u64::from(count))),
        };
        let refusals = match self.refused_requests_count {
            true => ", refusals count",
            false => "",
        };
        format!("{dps}, {hub}{refusals}")
    }

    fn registrations_line(&self) -> String {
        let mut line = format!(
            "{} accepted, {} throttled",
            thousands(self.registrations.accepted),
            thousands(self.registrations.throttled),
        );
        for (count, what) in [
            (self.registrations.failed, "failed"),
            (self.polls_throttled, "polls throttled"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {} {what}", thousands(count));
            }
        }
        line
    }

    fn connects_line(&self) -> String {
        let mut line = format!(
            "{} of {} devices connected, {} attempts refused with CONNACK 3",
            thousands(u64::from(self.served)),
            thousands(u64::from(self.devices)),
            thousands(self.connects.refused),
        );
        for (count, what) in [
            (self.connects.unauthorized, "refused as unauthorized"),
            (self.connects.failed, "failed"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {} {what}", thousands(count));
            }
        }
        if let [first, second] = self.served_with_generation[..] {
            let (first, second) = (thousands(u64::from(first)), thousands(u64::from(second)));
            let _ = write!(
                line,
                "; {second} with the new certificate, {first} with the old"
            );
        }
        line
    }
}

impl Gate {
    /// How often it lets a device through, for people.
    pub(super) fn pace(&self) -> String {
        let count = thousands(u64::from(self.count));
        let pace = format!("{count} in {}", span(u64::from(self.window_ms)));
        match self.times {
            1 => pace,
            times => format!("{pace}, {times} for each device"),
        }
    }
}

impl Percentiles {
    /// In one line, for people.
    pub(super) fn text(&self) -> String {
        format!(
            "p50 {}, p90 {}, p99 {}, p99.9 {}, longest {}",
            span(self.p50),
            span(self.p90),
            span(self.p99),
            span(self.p999),
            span(self.max),
        )
    }
}

/// A span of milliseconds for people.
pub(super) fn span(ms: u64) -> String {
    Span(i64::try_from(ms).unwrap_or(i64::MAX)).rounded()
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
