//! What a step waits for, and how much of it may fail.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checked, at};
use super::duration::Span;
use super::place::Source;
use crate::observation::Generation;

/// What has to be true of the fleet before a step is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is asked of a device.
    pub state: Reached,
    /// The generation of its leaf.
    pub generation: Generation,
    /// Of how many devices.
    pub share: Percent,
    /// How long after its time the step waits for it.
    pub within: Duration,
}

/// What a device has done with its leaf, as its hub tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// DPS has put its thumbprint into the hub's identity.
    Registered,
    /// The same, and the device is connected.
    Connected,
}

impl fmt::Display for Condition {
    /// As a step's title ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            Reached::Registered => "registered",
            Reached::Connected => "connected",
        };
        write!(
            f,
            "{} of devices {word} with {}",
            self.share, self.generation
        )
    }
}

/// A share of devices, 0 to 100 in a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// Reads `95%`.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('%')?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| *number <= 100);
        number.filter(|_| plain).map(Self)
    }

    /// Whether `part` is at least this share of `all`.
    #[must_use]
    pub fn reached(self, part: usize, all: usize) -> bool {
        part.saturating_mul(100) >= all.saturating_mul(usize::from(self.0))
    }

    /// Whether `part` is at most this share of `all`.
    #[must_use]
    pub fn bounds(self, part: usize, all: usize) -> bool {
        part.saturating_mul(100) <= all.saturating_mul(usize::from(self.0))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A condition as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    share: Spanned<String>,
    #[serde(default)]
    registered: Option<Spanned<u32>>,
    #[serde(default)]
    connected: Option<Spanned<u32>>,
    within: Spanned<Span>,
}

/// Reads the condition of a step at `moment`; `known` looks a generation up.
pub(super) fn condition(
    source: Source<'_>,
    raw: Option<&Spanned<RawCondition>>,
    (moment, duration): (Duration, Duration),
    known: impl Fn(&Spanned<u32>, u32) -> Checked<Generation>,
) -> Checked<Option<Condition>> {
    let Some(place) = raw else { return Ok(None) };
    let raw = place.get_ref();
    let (state, number) = match (&raw.registered, &raw.connected) {
        (Some(number), None) => (Reached::Registered, number),
        (None, Some(number)) => (Reached::Connected, number),
        _ => {
            let message = "say what devices are to have done: `registered = 2` or `connected = 2`, \
                           with the generation of their leaf";
            return Err(at(source, place, message));
        }
    };
    let generation = known(number, *number.get_ref())?;
    let share = percent(source, &raw.share)?;
    if share == Percent(0) {
        let message = "0% waits for nothing; write a share like \"95%\"";
        return Err(at(source, &raw.share, message));
    }
    if moment == Duration::ZERO {
        let message = "no device is switched on at 0d, so this never comes true; give the step a \
                       later `at`";
        return Err(at(source, place, message));
    }
    let within = raw.within.get_ref().duration();
    if within.is_zero() || moment + within > duration {
        let message = format!(
            "{} after the step's time is not within the run; wait for less",
            raw.within.get_ref()
        );
        return Err(at(source, &raw.within, message));
    }
    Ok(Some(Condition {
        state,
        generation,
        share,
        within,
    }))
}

/// Reads the share of a step that may fail.
pub(super) fn may_fail(source: Source<'_>, raw: Option<&Spanned<String>>) -> Checked<Percent> {
    raw.map_or(Ok(Percent(0)), |share| percent(source, share))
}

fn percent(source: Source<'_>, share: &Spanned<String>) -> Checked<Percent> {
    Percent::parse(share.get_ref()).ok_or_else(|| {
        let message = format!(
            "`{}` is not a share from \"0%\" to \"100%\"",
            share.get_ref()
        );
        at(source, share, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_whole_number_of_percent() {
        for text in ["", "%", "5", "+5%", "-1%", "101%", "5.5%", "5 %"] {
            assert_eq!(Percent::parse(text), None, "{text}");
        }
        let share = Percent::parse("95%").unwrap();
        assert_eq!(share.to_string(), "95%");
        assert!(share.reached(19, 20) && !share.reached(18, 20));
        assert!(share.reached(0, 0), "of nobody, all have");
        let few = Percent::parse("5%").unwrap();
        assert!(few.bounds(1, 20) && !few.bounds(2, 20));
        assert!(Percent(0).bounds(0, 0) && !Percent(0).bounds(1, 1000));
    }

    fn read(text: &str) -> Result<Option<Condition>, String> {
        #[derive(Deserialize)]
        struct Line {
            when: Spanned<RawCondition>,
        }
        let source = Source { file: "f", text };
        let line: Line = toml::from_str(text).unwrap();
        let known = |number: &Spanned<u32>, it| match it {
            1 | 2 => Ok(Generation(it)),
            _ => Err(at(source, number, "no such generation")),
        };
        let times = (Duration::from_secs(60), Duration::from_secs(600));
        let condition = condition(source, Some(&line.when), times, known);
        condition.map_err(|error| error.to_string())
    }

    #[test]
    fn a_condition_says_what_how_many_and_how_long() {
        let condition = read("when = { share = \"95%\", registered = 2, within = \"5m\" }");
        let condition = condition.unwrap().unwrap();
        assert_eq!(condition.to_string(), "95% of devices registered with #2");
        assert_eq!(condition.within, Duration::from_secs(300));
        let refused = [
            ("share = \"95%\", within = \"1m\"", "say what devices"),
            (
                "share = \"1%\", registered = 1, connected = 2, within = \"1m\"",
                "say what devices",
            ),
            (
                "share = \"0%\", connected = 2, within = \"1m\"",
                "waits for nothing",
            ),
            (
                "share = \"1/2\", connected = 2, within = \"1m\"",
                "not a share from",
            ),
            (
                "share = \"9%\", connected = 3, within = \"1m\"",
                "no such generation",
            ),
            (
                "share = \"9%\", connected = 2, within = \"1h\"",
                "not within the run",
            ),
        ];
        for (fields, words) in refused {
            let message = read(&format!("\nwhen = {{ {fields} }}")).unwrap_err();
            assert!(message.starts_with("f:2: "), "{message}");
            assert!(message.contains(words), "{fields}: {message}");
        }
    }
}
