//! Reads where in its roll a firmware model loses power, and when it persists its new key.

use super::check::{Checked, at};
use super::place::Source;
use super::raw::RawFirmware;
use crate::firmware::{Firmware, RollOrder};

/// `firmware` with what `raw` says of power and of persisting.
pub(super) fn resolve(
    source: Source<'_>,
    raw: &RawFirmware,
    firmware: Firmware,
) -> Checked<Firmware> {
    if raw.roll == Some(RollOrder::Switch) {
        if let Some(place) = &raw.power_loss {
            let message = "with roll = \"switch\" the roll is over at once, and no step is left at \
                           which power could fail; write `register-first` or `connect-first`";
            return Err(at(source, place, message));
        }
        if let Some(place) = &raw.persists {
            let message = "with roll = \"switch\" the old key is erased at once, and the new one \
                           is persisted with that; leave `persists` out";
            return Err(at(source, place, message));
        }
    }
    Ok(Firmware {
        persists: raw
            .persists
            .as_ref()
            .map_or(firmware.persists, |persists| *persists.get_ref()),
        power_loss: raw.power_loss.as_ref().map(|step| *step.get_ref()),
        ..firmware
    })
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;
    use crate::firmware::{Persists, PowerLoss};

    fn read(lines: &str) -> Result<Firmware, String> {
        let good = super::super::tests::GOOD;
        let text = good.replacen("share = 3", &format!("share = 3\n{lines}"), 1);
        let scenario = Scenario::parse("p.toml", &text).map_err(|error| error.to_string())?;
        Ok(scenario.fleet.firmware[0].1.clone())
    }

    #[test]
    fn nothing_said_means_a_sane_firmware_with_power() {
        let read = read("").unwrap();
        assert_eq!(read.persists, Persists::WhenDelivered);
        assert_eq!(read.power_loss, None);
    }

    #[test]
    fn what_is_said_is_read() {
        let read =
            read("persists = \"when-assigned\"\npower_loss = \"after-registering\"").unwrap();
        assert_eq!(read.persists, Persists::WhenAssigned);
        assert_eq!(read.power_loss, Some(PowerLoss::AfterRegistering));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let table = [
            (
                "power_loss = \"after-registring\"",
                "did you mean `after-registering`?",
            ),
            (
                "persists = \"when-asigned\"",
                "did you mean `when-assigned`?",
            ),
            (
                "power_loss = \"after-registering\"\nroll = \"switch\"",
                "no step is left at which power could fail",
            ),
            (
                "persists = \"when-connected\"\nroll = \"switch\"",
                "leave `persists` out",
            ),
        ];
        for (lines, words) in table {
            let message = read(lines).unwrap_err();
            assert!(message.contains(words), "{lines}: {message}");
            assert!(message.starts_with("p.toml:20: "), "{message}");
        }
    }
}
