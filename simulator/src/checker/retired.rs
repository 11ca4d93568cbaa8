//! Certificates that ought to be worthless, and whether they were.

use std::collections::{BTreeMap, BTreeSet};

use linarite_env::UnixMillis;

use super::AuditOutcome;
use crate::observation::Generation;

/// Devices of which a misuse is kept with its circumstances; more are only counted.
const KEPT: usize = 64;

/// One use of a retired certificate that was accepted, or an audit without answer.
#[derive(Clone, Debug)]
pub(super) struct Misuse {
    pub(super) device: u32,
    pub(super) at: i64,
    pub(super) rule: &'static str,
    pub(super) what: String,
}

/// What became of retired certificates.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// Of each device.
    admitted: BTreeMap<u32, BTreeSet<Generation>>,
    at_dps: BTreeMap<(u32, Generation), UnixMillis>,
    pub(super) refused: u64,
    pub(super) accepted: u64,
    pub(super) audits: u64,
    pub(super) audits_refused: u64,
    /// Audits let in with a certificate that was in force still.
    pub(super) audits_in_force: u64,
    pub(super) unanswered: u64,
    /// The first of each device, as far as they are kept.
    pub(super) misuses: Vec<Misuse>,
    pub(super) devices: BTreeSet<u32>,
    /// The devices that fell to each rule.
    pub(super) rules: BTreeMap<&'static str, BTreeSet<u32>>,
}

impl Retired {
    pub(super) fn admits(
        &mut self,
        device: u32,
        at: UnixMillis,
        generations: BTreeSet<Generation>,
    ) {
        let before = self.admitted.entry(device).or_default();
        for gone in before.difference(&generations) {
            self.at_dps.entry((device, *gone)).or_insert(at);
        }
        for admitted in &generations {
            self.at_dps.remove(&(device, *admitted));
        }
        *before = generations;
    }

    /// Since when DPS ought to refuse a device's certificate of `generation`, if it once
    /// admitted it.
    pub(super) fn at_dps_since(&self, device: u32, generation: Generation) -> Option<UnixMillis> {
        self.at_dps.get(&(device, generation)).copied()
    }

    pub(super) fn accept(&mut self, misuse: Misuse) {
        self.accepted += 1;
        self.note(misuse);
    }

    /// Counts an attempt; one that was let in is held against the services if the certificate
    /// was worthless, and if they did not report that session or registration themselves.
    pub(super) fn audit(&mut self, misuse: Misuse, outcome: AuditOutcome, worthless: bool) {
        self.audits += 1;
        match outcome {
            AuditOutcome::Refused => self.audits_refused += 1,
            AuditOutcome::Accepted if worthless => {
                if !self.devices.contains(&misuse.device) {
                    self.accept(misuse);
                }
            }
            AuditOutcome::Accepted => self.audits_in_force += 1,
            AuditOutcome::Unanswered(reason) => {
                self.unanswered += 1;
                let what = format!("{}: no answer, {reason}", misuse.what);
                self.note(Misuse {
                    what,
                    rule: "",
                    ..misuse
                });
            }
        }
    }

    fn note(&mut self, misuse: Misuse) {
        if !misuse.rule.is_empty() {
            self.rules
                .entry(misuse.rule)
                .or_default()
                .insert(misuse.device);
        }
        if self.devices.insert(misuse.device) && self.misuses.len() < KEPT {
            self.misuses.push(misuse);
        }
    }
}
