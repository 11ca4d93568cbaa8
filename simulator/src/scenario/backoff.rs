//! Reads how a firmware model waits before it tries again, `backoff`.

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checked, at, bounded};
use super::duration::{DAY_MS, Span};
use super::place::Source;
use crate::firmware::{Firmware, Jitter};

/// The shortest wait, so that no device spins, in milliseconds.
const SHORTEST: Span = Span(100);

/// A back-off as it is written; what is left out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBackoff {
    #[serde(default)]
    first: Option<Spanned<Span>>,
    #[serde(default)]
    max: Option<Spanned<Span>>,
    #[serde(default)]
    jitter: Option<Jitter>,
}

/// `firmware` with the back-off of `raw`.
pub(super) fn resolve(
    source: Source<'_>,
    raw: &RawBackoff,
    firmware: Firmware,
) -> Checked<Firmware> {
    let read = |span: &Option<Spanned<Span>>, usual| match span {
        Some(span) => bounded(source, span, SHORTEST, Span(DAY_MS)),
        None => Ok(usual),
    };
    let first = read(&raw.first, firmware.backoff_first)?;
    let max = read(&raw.max, firmware.backoff_max)?;
    if let (true, Some(place)) = (first > max, raw.max.as_ref().or(raw.first.as_ref())) {
        let message = "the longest wait, `max`, is shorter than the first one";
        return Err(at(source, place, message));
    }
    Ok(Firmware {
        backoff_first: first,
        backoff_max: max,
        jitter: raw.jitter.unwrap_or(firmware.jitter),
        ..firmware
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Scenario;
    use super::*;

    fn read(backoff: &str) -> Result<Firmware, String> {
        let good = super::super::tests::GOOD;
        let text = good.replacen("share = 3", &format!("share = 3\nbackoff = {backoff}"), 1);
        let scenario = Scenario::parse("b.toml", &text).map_err(|error| error.to_string())?;
        Ok(scenario.fleet.firmware[0].1.clone())
    }

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        let usual = Firmware::default();
        let read = read("{ first = \"1s\", jitter = \"none\" }").unwrap();
        assert_eq!(read.backoff_first, Duration::from_secs(1));
        assert_eq!(read.backoff_max, usual.backoff_max);
        assert_eq!(read.jitter, Jitter::None);
    }

    #[test]
    fn a_back_off_that_spins_or_shrinks_is_refused() {
        let table = [
            ("{ first = \"0s\" }", "0s is not between 100ms and 1d"),
            ("{ max = \"1s\" }", "shorter than the first one"),
            ("{ first = \"1h\" }", "shorter than the first one"),
            ("{ jitter = \"ful\" }", "did you mean `full`?"),
            ("{ frist = \"1s\" }", "did you mean `first`?"),
        ];
        for (backoff, words) in table {
            let message = read(backoff).unwrap_err();
            assert!(message.contains(words), "{backoff}: {message}");
            assert!(message.starts_with("b.toml:20: "), "{message}");
        }
    }
}
