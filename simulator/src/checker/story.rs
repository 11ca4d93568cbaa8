//! What happened to whom and how often, for people who read a report: refusals by their rule,
//! registrations and refusals over time, and the last moments of each device.
//!
//! Decides nothing. Everything is bounded, whatever the fleet does.

use std::collections::{BTreeMap, VecDeque};

use linarite_env::Event;
use serde::Serialize;

use super::device::Device;
use crate::observation::Observation;

/// Moments kept of the whole fleet.
const MOMENTS_ALL: usize = 400_000;
/// Most and fewest moments kept of one device.
const MOMENTS_EACH: (usize, usize) = (8, 40);
/// Bins kept of the whole run; once there are more, neighbours are joined.
const BINS_MAX: usize = 400;
/// Finest width of a bin, in milliseconds.
const FINEST_MS: i64 = 1_000;

/// How often a rule refused somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// `DPS` or `hub`.
    pub place: &'static str,
    /// The rule, as the service named it.
    pub rule: &'static str,
    /// Refusals of certificates that their device holds.
    pub devices: u64,
    /// Refusals of certificates that no device holds: an auditor's.
    pub others: u64,
}

/// What happened within a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Where it begins, in milliseconds since the start of the run.
    pub at_ms: i64,
    /// Registrations that ended with a hub.
    pub registered: u32,
    /// Refusals of devices by DPS.
    pub refused_by_dps: u32,
    /// Refusals of devices by hubs.
    pub refused_by_hub: u32,
}

/// A moment of a device's life, or several of a kind in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When, in milliseconds since the start of the run.
    pub at_ms: i64,
    /// When the last of them was.
    pub until_ms: i64,
    /// How many there were.
    pub times: u32,
    /// What happened.
    pub what: String,
    /// The rule by which the device was refused.
    pub rule: Option<&'static str>,
}

/// The device that fared worst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worst {
    /// Its registration id.
    pub device: String,
    /// Its longest wait for a session, in milliseconds.
    pub longest_wait_ms: i64,
    /// Its longest time without a certificate that its hub would take, in milliseconds.
    pub stranded_ms: i64,
    /// Its moments from the start of the roll on; the latest ones, if there were very many.
    pub moments: Vec<Moment>,
    /// How many earlier ones are left out.
    pub left_out: u32,
}

/// What a device did, without its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Woke,
    FellAsleep,
    LostPower,
    Got(u32),
    Erased(u32),
    Registered(u32),
    RegistrationFailed(u32, u16),
    Connected(u32),
    Refused(u32),
    Lost,
    Called,
}

impl Deed {
    fn of(what: &Observation) -> Option<Self> {
        Some(match what {
            Observation::Awoke => Self::Woke,
            Observation::PowerLost => Self::LostPower,
            Observation::FellAsleep => Self::FellAsleep,
            Observation::CredentialStored { generation, .. } => Self::Got(generation.0),
            Observation::CredentialDropped { generation } => Self::Erased(generation.0),
            Observation::RegistrationSucceeded { generation, .. } => Self::Registered(generation.0),
            Observation::RegistrationFailed {
                generation, status, ..
            } => Self::RegistrationFailed(generation.0, *status),
            Observation::SessionOpened { generation } => Self::Connected(generation.0),
            Observation::ConnectRefused { generation, .. } => Self::Refused(generation.0),
            Observation::SessionClosed { planned: false } => Self::Lost,
            Observation::MethodAnswered { .. } => Self::Called,
            Observation::SessionClosed { planned: true }
            | Observation::RegistrationStarted { .. }
            | Observation::MessageOffered { .. }
            | Observation::MessageAcknowledged { .. } => return None,
        })
    }

    fn words(self) -> String {
        match self {
            Self::Woke => "woke".to_owned(),
            Self::FellAsleep => "fell asleep".to_owned(),
            Self::LostPower => "lost its power".to_owned(),
            Self::Got(generation) => format!("was given certificate #{generation}"),
            Self::Erased(generation) => format!("erased certificate #{generation}"),
            Self::Registered(generation) => format!("registered with certificate #{generation}"),
            Self::RegistrationFailed(generation, 0) => {
                format!("could not reach DPS to register with certificate #{generation}")
            }
            Self::RegistrationFailed(generation, status) => {
                format!("was refused by DPS with certificate #{generation} (status {status})")
            }
            Self::Connected(generation) => format!("connected with certificate #{generation}"),
            Self::Refused(generation) => {
                format!("was refused by its hub with certificate #{generation}")
            }
            Self::Lost => "lost its session".to_owned(),
            Self::Called => "answered the direct method".to_owned(),
        }
    }

    fn is_refusal(self) -> bool {
        matches!(self, Self::RegistrationFailed(..) | Self::Refused(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    at: i64,
    until: i64,
    times: u32,
    deed: Deed,
    rule: Option<&'static str>,
}

/// The moments of one device.
#[derive(Debug, Default)]
struct Life {
    kept: VecDeque<Kept>,
    left_out: u32,
    /// The rule by which a service refused it, until the device has noticed.
    refused_by: Option<&'static str>,
}

/// The story of a run.
#[derive(Debug)]
pub(super) struct Story {
    lives: Vec<Life>,
    moments_each: usize,
    refusals: BTreeMap<(&'static str, &'static str), (u64, u64)>,
    bins: Vec<Bin>,
    width_ms: i64,
}

impl Story {
    pub(super) fn new(devices: usize) -> Self {
        let (fewest, most) = MOMENTS_EACH;
        Self {
            lives: (0..devices).map(|_| Life::default()).collect(),
            moments_each: (MOMENTS_ALL / devices.max(1)).clamp(fewest, most),
            refusals: BTreeMap::new(),
            bins: Vec::new(),
            width_ms: FINEST_MS,
        }
    }

    /// Takes note of what `device` observed, `at` milliseconds after the start of the run.
    pub(super) fn observed(&mut self, device: u32, at: i64, what: &Observation, in_roll: bool) {
        if let Observation::RegistrationSucceeded { .. } = what {
            self.bin(at).registered += 1;
        }
        let Some(life) = self.lives.get_mut(device as usize) else {
            return;
        };
        let Some(deed) = Deed::of(what) else { return };
        let rule = if deed.is_refusal() {
            life.refused_by.take()
        } else {
            None
        };
        if !in_roll {
            return;
        }
        match life.kept.back_mut() {
            Some(last) if last.deed == deed && last.rule == rule => {
                (last.until, last.times) = (at, last.times + 1);
            }
            _ => life.kept.push_back(Kept {
                at,
                until: at,
                times: 1,
                deed,
                rule,
            }),
        }
        if life.kept.len() > self.moments_each {
            life.kept.pop_front();
            life.left_out += 1;
        }
    }

    /// Takes note of a refusal by the emulator, of `record` where it is known whose it was.
    pub(super) fn heard(
        &mut self,
        device: Option<u32>,
        record: Option<&Device>,
        at: i64,
        event: &Event,
    ) {
        let (place, presented, rule) = match event {
            Event::RegistrationRefused {
                presented, reason, ..
            }
            | Event::RegistrationEnded {
                presented, reason, ..
            } => ("DPS", presented, reason.rule),
            Event::SessionRefused {
                presented, reason, ..
            } => ("hub", presented, reason.rule),
            _ => return,
        };
        let holds = |record: &Device| {
            presented.is_none_or(|shown| record.held.iter().any(|held| held.fingerprint == shown))
        };
        let own = record.is_some_and(holds);
        let counts = self.refusals.entry((place, rule)).or_default();
        if !own {
            counts.1 += 1;
            return;
        }
        counts.0 += 1;
        let bin = self.bin(at);
        if place == "DPS" {
            bin.refused_by_dps += 1;
        } else {
            bin.refused_by_hub += 1;
        }
        if let Some(life) = device.and_then(|device| self.lives.get_mut(device as usize)) {
            life.refused_by = Some(rule);
        }
    }

    /// The bin of `at`, which is never much earlier than the last one.
    fn bin(&mut self, at: i64) -> &mut Bin {
        let fits = |bin: &Bin, width| at < bin.at_ms + width;
        if !self
            .bins
            .last()
            .is_some_and(|last| fits(last, self.width_ms))
        {
            if self.bins.len() >= BINS_MAX {
                self.coarsen();
            }
            if !self
                .bins
                .last()
                .is_some_and(|last| fits(last, self.width_ms))
            {
                let at_ms = at.div_euclid(self.width_ms) * self.width_ms;
                self.bins.push(Bin {
                    at_ms,
                    ..Bin::default()
                });
            }
        }
        let last = self.bins.len() - 1;
        &mut self.bins[last]
    }

    fn coarsen(&mut self) {
        while self.bins.len() >= BINS_MAX {
            self.width_ms *= 2;
            let mut joined: Vec<Bin> = Vec::with_capacity(BINS_MAX);
            for bin in self.bins.drain(..) {
                let at_ms = bin.at_ms.div_euclid(self.width_ms) * self.width_ms;
                match joined.last_mut() {
                    Some(last) if last.at_ms == at_ms => {
                        last.registered += bin.registered;
                        last.refused_by_dps += bin.refused_by_dps;
                        last.refused_by_hub += bin.refused_by_hub;
                    }
                    _ => joined.push(Bin { at_ms, ..bin }),
                }
            }
            self.bins = joined;
        }
    }

    /// Refusals by place and rule, the most frequent first.
    pub(super) fn refusals(&self) -> Vec<Refusals> {
        let row = |(&(place, rule), &(devices, others)): (&(_, _), &(u64, u64))| Refusals {
            place,
            rule,
            devices,
            others,
        };
        let mut refusals: Vec<Refusals> = self.refusals.iter().map(row).collect();
        refusals.sort_by_key(|row| std::cmp::Reverse((row.devices, row.others)));
        refusals
    }

    /// Registrations and refusals of devices over time.
    pub(super) fn bins(&self) -> Vec<Bin> {
        self.bins.clone()
    }

    /// The device that fared worst: longest without a usable certificate, then longest waiting.
    pub(super) fn worst(&self, devices: &[Device], names: &[std::sync::Arc<str>]) -> Option<Worst> {
        let stranded = |device: &Device| {
            let lengths = device
                .strandings
                .kept
                .iter()
                .map(|one| one.until - one.from);
            lengths.max().unwrap_or(0)
        };
        let rank = |device: &Device| (stranded(device), device.longest_gap);
        // Of equals the first, so that the report names the device that its checks name.
        let all = devices.iter().zip(names).zip(&self.lives);
        let worst = all.reduce(|worst, next| {
            if rank(next.0.0) > rank(worst.0.0) {
                next
            } else {
                worst
            }
        });
        let ((device, name), life) = worst?;
        let moment = |kept: &Kept| Moment {
            at_ms: kept.at,
            until_ms: kept.until,
            times: kept.times,
            what: kept.deed.words(),
            rule: kept.rule,
        };
        Some(Worst {
            device: name.to_string(),
            longest_wait_ms: device.longest_gap,
            stranded_ms: stranded(device),
            moments: life.kept.iter().map(moment).collect(),
            left_out: life.left_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Generation;

    #[test]
    fn a_life_keeps_its_latest_moments_and_joins_those_of_a_kind() {
        let mut story = Story::new(MOMENTS_ALL);
        let refused = Observation::ConnectRefused {
            generation: Generation(1),
            connack: 5,
            text: String::new(),
        };
        for at in 0..100 {
            story.observed(0, at, &refused, true);
        }
        assert_eq!(story.lives[0].kept.len(), 1);
        assert_eq!(
            (story.lives[0].kept[0].times, story.lives[0].kept[0].until),
            (100, 99)
        );
        for at in 100..120 {
            story.observed(0, at, &Observation::Awoke, true);
            story.observed(0, at, &Observation::FellAsleep, true);
        }
        assert_eq!(
            (story.lives[0].kept.len(), story.lives[0].left_out),
            (8, 33)
        );
        story.observed(0, 0, &Observation::Awoke, false);
        assert_eq!(
            story.lives[0].left_out, 33,
            "nothing is told of the time before the roll"
        );
    }

    #[test]
    fn bins_stay_few_and_lose_nothing() {
        let mut story = Story::new(1);
        for second in 0..10_000 {
            story.bin(second * 1_000).registered += 1;
        }
        let bins = story.bins();
        assert!((100..=BINS_MAX).contains(&bins.len()), "{}", bins.len());
        assert_eq!(bins.iter().map(|bin| bin.registered).sum::<u32>(), 10_000);
        assert!(bins.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
    }
}
