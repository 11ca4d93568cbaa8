//! What a loss of power takes from a device, and when its firmware model brings one about.

use std::time::Duration;

use linarite_env::UnixMillis;

use super::{Device, Errand, Output, Phase};
use crate::firmware::PowerLoss;
use crate::observation::Observation;

/// How long power that fails in the middle of a roll stays away.
const OUTAGE: Duration = Duration::from_secs(10);

impl Device {
    /// Takes the power away, awake or asleep: every connection is gone without a word, and with
    /// it all that only memory held, such as a key that the firmware has not persisted. The secure
    /// store, where the device belongs, that it is rolling to a key it still has, and messages
    /// that are not acknowledged survive. [`Self::wake`] boots it again.
    pub fn lose_power(&mut self, now: UnixMillis) {
        self.abandon_registration();
        self.registration = super::Registration::default();
        self.abandon_attempt();
        if let Some(open) = self.hub.open.take() {
            self.close(open.link);
            self.report(Observation::SessionClosed { planned: false });
        }
        self.hub.reset(now, true);
        self.unanswered = None;
        for generation in self.store.forget_unsaved() {
            self.report(Observation::CredentialDropped { generation });
        }
        if !self.is_rolling() || !self.holds_what_it_rolls_to() {
            self.errand = Errand::Stay;
        }
        if self.phase != Phase::Asleep {
            self.phase = Phase::Asleep;
            self.report(Observation::PowerLost);
        }
    }

    /// Loses power if its firmware model says so at this `step` of a roll, once in its life; tells
    /// whether it did.
    pub(super) fn power_fails(&mut self, step: PowerLoss, now: UnixMillis) -> bool {
        let due = self.firmware.power_loss == Some(step) && !self.power_failed;
        if !due || !self.is_rolling() {
            return false;
        }
        self.power_failed = true;
        self.outputs.push_back(Output::PowerOff { lasts: OUTAGE });
        self.lose_power(now);
        true
    }

    fn holds_what_it_rolls_to(&self) -> bool {
        match self.errand {
            Errand::Stay => false,
            Errand::Register { generation, .. } | Errand::TakeOver { generation } => {
                self.store.get(generation).is_some()
            }
        }
    }
}
