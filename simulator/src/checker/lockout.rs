//! Devices that are meant to be refused: what became of their attempts.

use linarite_env::Event;

/// One device's record; only of those that are meant to be refused.
#[derive(Clone, Debug, Default)]
pub(super) struct LockedOut {
    /// The first time it was let in all the same: when, the rule, and what happened.
    pub(super) let_in: Option<(i64, &'static str, String)>,
    /// How often it was refused.
    pub(super) refused: u32,
}

impl LockedOut {
    /// Enters what the emulator reported of the device at `at`, which lies after the moment from
    /// which it is meant to be refused; a registration that DPS took up before is no offence.
    pub(super) fn hear(&mut self, at: i64, event: &Event, registered_before: bool) {
        let (rule, what) = match event {
            // Three separate things: the hub does not ask DPS (R-A28).
            Event::SessionOpened { hub, .. } => ("R-A28", format!("was let in at {hub}")),
            // Without an entry of its own a device falls through to its group (R-A26).
            Event::DeviceAssigned {
                hub, enrollment, ..
            } if !registered_before => {
                ("R-A26", format!("was assigned {hub} through {enrollment}"))
            }
            Event::SessionRefused { .. }
            | Event::RegistrationRefused { .. }
            | Event::RegistrationEnded { .. } => {
                self.refused = self.refused.saturating_add(1);
                return;
            }
            _ => return,
        };
        self.let_in.get_or_insert((at, rule, what));
    }
}
