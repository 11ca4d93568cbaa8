//! From one credential to the next, in the order the firmware prescribes.

use linarite_env::UnixMillis;

use super::{Device, Errand};
use crate::firmware::{RollOrder, Trigger};
use crate::observation::{Generation, Observation};

impl Device {
    /// Whether a roll to another credential has begun and not ended.
    pub(super) fn is_rolling(&self) -> bool {
        match self.errand {
            Errand::Stay => false,
            Errand::Register { generation, .. } | Errand::TakeOver { generation } => {
                Some(generation) != self.current
            }
        }
    }

    /// Starts to roll to the credential `to`, newer than the current one.
    pub(super) fn roll(&mut self, to: Generation, now: UnixMillis) {
        self.abandon_registration();
        self.registration.reset(now);
        match (self.firmware.roll, &self.assignment) {
            (RollOrder::Switch, _) => self.switch(to, now),
            (RollOrder::ConnectFirst, Some(_)) => {
                self.abandon_attempt();
                self.hub.retry_at = now;
                self.errand = Errand::TakeOver { generation: to };
            }
            (RollOrder::RegisterFirst, _) | (RollOrder::ConnectFirst, None) => {
                self.errand = Errand::Register {
                    generation: to,
                    commanded: true,
                };
            }
        }
    }

    /// Gives the old credential up before the new one has proven itself.
    fn switch(&mut self, to: Generation, now: UnixMillis) {
        self.adopt(to);
        self.abandon_attempt();
        self.close_session(now, false);
        self.hub.reset(now, true);
        self.errand = match self.assignment {
            Some(_) => Errand::Stay,
            None => Errand::Register {
                generation: to,
                commanded: false,
            },
        };
    }

    /// Makes `generation` the credential in force and erases the older ones; it is saved by then,
    /// whatever the firmware persists when, as no firmware erases its only key.
    pub(super) fn adopt(&mut self, generation: Generation) {
        self.store.save(generation);
        self.current = Some(generation);
        for erased in self.store.erase_older(generation) {
            self.report(Observation::CredentialDropped { generation: erased });
        }
    }

    /// What the direct method `reprovision` asks for: roll to the newest credential, or register
    /// anew with the current one where there is no newer.
    pub(super) fn reprovision(&mut self, now: UnixMillis) {
        let (Some(current), Some(newest)) = (self.current, self.newest(now)) else {
            return;
        };
        let underway = match self.errand {
            Errand::Stay => None,
            Errand::Register { generation, .. } | Errand::TakeOver { generation } => {
                Some(generation)
            }
        };
        if underway == Some(newest) {
            return;
        }
        if newest > current {
            self.roll(newest, now);
        } else {
            self.registration.reset(now);
            self.errand = Errand::Register {
                generation: current,
                commanded: true,
            };
        }
    }

    /// Rolls to the newest credential where its delivery is enough to do so.
    pub(super) fn roll_to_delivered(&mut self, now: UnixMillis) {
        let (Some(current), Some(newest)) = (self.current, self.newest(now)) else {
            return;
        };
        if self.firmware.trigger == Trigger::Delivery && newest > current {
            self.roll(newest, now);
        }
    }
}
