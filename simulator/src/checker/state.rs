//! The ledger's books: each observation and event finds its device and changes its record.

use std::collections::HashMap;
use std::sync::Arc;

use linarite_env::event::Fingerprint;
use linarite_env::{Event, Stamped, UnixMillis};

use super::breach::BreachedSessions;
use super::calls::Calls;
use super::device::Device;
use super::entries::{hear, observe, standing};
use super::retired::{Misuse, Retired};
use super::spelling::{event_line, observation_line};
use super::steps::Steps;
use super::story::Story;
use super::timeline::Timeline;
use super::trace::Trace;
use super::{AuditOutcome, Glance, Names, Registrations, Terms};
use crate::observation::{DeviceIndex, Generation, Observation};

/// What is known of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) device: u32,
    pub(super) generation: Generation,
    pub(super) not_after: i64,
}

/// Whether a device is meant to be refused at some time.
fn is_locked_out(terms: &Terms, device: u32) -> bool {
    let meant = terms.locked_out;
    meant.is_some_and(|(one_in, _)| device.is_multiple_of(one_in))
}

pub(super) struct State {
    pub(super) terms: Terms,
    pub(super) names: Vec<Arc<str>>,
    pub(super) devices: Vec<Device>,
    pub(super) retired: Retired,
    pub(super) breached: BreachedSessions,
    pub(super) calls: Calls,
    pub(super) steps: Steps,
    /// The hub that every device must end on.
    pub(super) ends_on: Option<Arc<str>>,
    pub(super) timeline: Timeline,
    pub(super) trace: Trace,
    pub(super) story: Story,
    pub(super) registrations: Registrations,
    pub(super) unmatched_messages: u64,
    pub(super) seen_in_roll: bool,
    by_name: HashMap<String, u32>,
    by_fingerprint: HashMap<Fingerprint, Known>,
    refused: u64,
    latest: i64,
}

impl State {
    pub(super) fn new(terms: Terms, names: &[Names]) -> Self {
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let mut by_name = HashMap::new();
        for (index, names) in (0..count).zip(names) {
            by_name.insert(names.registration_id.to_lowercase(), index);
            for other in &names.others {
                by_name.insert(other.to_lowercase(), index);
            }
        }
        Self {
            terms,
            names: names
                .iter()
                .map(|names| Arc::clone(&names.registration_id))
                .collect(),
            devices: (0..count)
                .map(|index| Device::new(terms.origin.0, is_locked_out(&terms, index)))
                .collect(),
            retired: Retired::default(),
            breached: BreachedSessions::default(),
            calls: Calls::default(),
            steps: Steps::default(),
            ends_on: None,
            timeline: Timeline::new(count),
            trace: Trace::new(names.len()),
            story: Story::new(names.len()),
            registrations: Registrations::default(),
            unmatched_messages: 0,
            seen_in_roll: false,
            by_name,
            by_fingerprint: HashMap::new(),
            refused: 0,
            latest: terms.origin.0,
        }
    }

    pub(super) fn glance(&self) -> Glance {
        let connected = &self.timeline.now.connected;
        let newest = self.terms.newest.0.saturating_sub(1) as usize;
        Glance {
            elapsed_ms: self.latest - self.terms.origin.0,
            connected: connected.iter().sum(),
            on_newest: connected.get(newest).copied().unwrap_or(0),
            refused: self.refused,
        }
    }

    /// Changes one device's record at `at`, and lets the time before count as it was.
    fn change(&mut self, device: u32, at: i64, apply: impl FnOnce(&mut Device)) {
        let Some(record) = self.devices.get_mut(device as usize) else {
            return;
        };
        record.advance(at, &self.terms);
        let before = standing(record);
        apply(record);
        record.settle(at, &self.terms);
        let after = standing(record);
        self.timeline.moves(at - self.terms.origin.0, before, after);
        self.latest = self.latest.max(at);
    }

    pub(super) fn observe(&mut self, device: DeviceIndex, at: UnixMillis, what: &Observation) {
        let since = at.since(self.terms.origin);
        self.trace
            .observed(device.0, since, &observation_line(what));
        let in_roll = at >= self.terms.roll_from;
        self.seen_in_roll |= in_roll;
        self.story.observed(device.0, since, what, in_roll);
        match what {
            Observation::RegistrationSucceeded { .. } => self.registrations.succeeded += 1,
            Observation::RegistrationFailed { status: 429, .. } => {
                self.registrations.throttled += 1;
            }
            Observation::RegistrationFailed { .. } => self.registrations.failed += 1,
            Observation::CredentialStored {
                generation,
                fingerprint,
                not_after,
                ..
            } => {
                let known = Known {
                    device: device.0,
                    generation: *generation,
                    not_after: *not_after,
                };
                self.by_fingerprint.insert(Fingerprint(*fingerprint), known);
            }
            _ => {}
        }
        let newest = self.terms.newest;
        self.change(device.0, at.0, |record| observe(record, at.0, what, newest));
    }

    pub(super) fn hear(&mut self, stamped: &Stamped) {
        let at = stamped.at;
        let subject = self.subject(&stamped.event);
        if let Some(line) = event_line(&stamped.event, |shown| self.generation(shown)) {
            self.trace
                .reported(subject, at.since(self.terms.origin), &line);
        }
        if let Event::SessionRefused { .. } | Event::RegistrationRefused { .. } = &stamped.event {
            self.refused += 1;
        }
        self.watch_retired(at, subject, &stamped.event);
        self.watch_breached(at, &stamped.event);
        self.watch_locked_out(at, subject, &stamped.event);
        let troubled = self.terms.is_troubled(at.0);
        self.calls.hear(at.0, subject, &stamped.event, troubled);
        let record = subject.and_then(|device| self.devices.get(device as usize));
        let since = at.since(self.terms.origin);
        self.story.heard(subject, record, since, &stamped.event);
        let Some(device) = subject else {
            self.unmatched_messages +=
                u64::from(matches!(stamped.event, Event::TelemetryAccepted { .. }));
            return;
        };
        let terms = self.terms;
        self.change(device, at.0, |record| {
            hear(record, at.0, &stamped.event, &terms)
        });
    }

    /// The device an event is about: by its certificate if one was shown, else by name.
    fn subject(&self, event: &Event) -> Option<u32> {
        let named = |name: &str| self.by_name.get(&name.to_lowercase()).copied();
        let shown = |presented: &Option<Fingerprint>, name: &str| {
            let known = presented.and_then(|shown| self.by_fingerprint.get(&shown));
            known.map(|known| known.device).or_else(|| named(name))
        };
        match event {
            Event::RegistrationAccepted {
                registration_id,
                presented,
            }
            | Event::RegistrationRefused {
                registration_id,
                presented,
                ..
            }
            | Event::RegistrationEnded {
                registration_id,
                presented,
                ..
            }
            | Event::DeviceAssigned {
                registration_id,
                presented,
                ..
            } => shown(presented, registration_id),
            Event::SessionOpened {
                device_id,
                presented,
                ..
            }
            | Event::SessionRefused {
                device_id,
                presented,
                ..
            } => shown(presented, device_id),
            Event::RegistrationDeleted { registration_id } => named(registration_id),
            Event::EnrollmentWritten {
                id, group: false, ..
            }
            | Event::EnrollmentDeleted { id, group: false } => named(id),
            Event::IdentityCreated { device_id, .. }
            | Event::IdentityUpdated { device_id, .. }
            | Event::IdentityDeleted { device_id, .. }
            | Event::SessionClosed { device_id, .. }
            | Event::MethodAnswered { device_id, .. }
            | Event::MethodFailed { device_id, .. }
            | Event::TwinChanged { device_id, .. } => named(device_id),
            Event::TelemetryAccepted {
                device_id,
                message_id,
                ..
            } => {
                let sender = message_id.as_deref().and_then(|id| id.rsplit_once('-'));
                named(device_id).or_else(|| sender.and_then(|(name, _)| named(name)))
            }
            _ => None,
        }
    }

    /// Holds certificates that ought to be worthless against what happened to them.
    fn watch_retired(&mut self, at: UnixMillis, device: Option<u32>, event: &Event) {
        match event {
            Event::SessionOpened {
                hub,
                device_id,
                presented: Some(shown),
                ..
            } => {
                if let Some((device, rule, since)) =
                    self.worthless_at_hub(at, device, (hub, device_id), *shown)
                    && at.0 > since + self.terms.grace_ms
                {
                    let what = format!("{} opened a session at {hub}", self.generation(*shown));
                    self.retired.accept(Misuse {
                        device,
                        at: at.0,
                        rule,
                        what,
                    });
                }
            }
            Event::SessionRefused {
                hub,
                device_id,
                presented: Some(shown),
                ..
            } => {
                let worthless = self.worthless_at_hub(at, device, (hub, device_id), *shown);
                self.retired.refused += u64::from(worthless.is_some());
            }
            Event::DeviceAssigned {
                presented: Some(shown),
                ..
            } => {
                let accepted = device
                    .and_then(|device| self.devices[device as usize].accepted_at)
                    .map_or(at, UnixMillis);
                if let Some((device, rule, since)) = self.worthless_at_dps(accepted, *shown)
                    && accepted.0 > since + self.terms.grace_ms
                {
                    let what = format!("{} was assigned a hub by DPS", self.generation(*shown));
                    self.retired.accept(Misuse {
                        device,
                        at: at.0,
                        rule,
                        what,
                    });
                }
            }
            Event::RegistrationRefused {
                presented: Some(shown),
                ..
            } => {
                self.retired.refused += u64::from(self.worthless_at_dps(at, *shown).is_some());
            }
            _ => {}
        }
    }

    /// Follows the sessions of certificates that a thief holds, and DPS's word on them.
    fn watch_breached(&mut self, at: UnixMillis, event: &Event) {
        let Some((breached, contained)) = self.terms.breach else {
            return;
        };
        let late = at.0 > contained.0 + self.terms.grace_ms;
        let is_breached = |shown: &Option<Fingerprint>| {
            let known = shown.and_then(|shown| self.by_fingerprint.get(&shown));
            known
                .filter(|known| known.generation == breached)
                .map(|known| known.device)
        };
        let (device, rule, what) = match event {
            Event::SessionOpened {
                hub,
                connection,
                presented,
                ..
            } => {
                let Some(device) = is_breached(presented) else {
                    return;
                };
                self.breached.opened(*connection, device);
                (
                    device,
                    "R-E4",
                    format!("{breached} opened a session at {hub}"),
                )
            }
            Event::SessionClosed { connection, .. } => {
                let Some(device) = self.breached.closed(*connection) else {
                    return;
                };
                if let Some(since) = self.retired.at_dps_since(device, breached) {
                    self.breached.outlived(at.since(since));
                }
                (
                    device,
                    "R-E8",
                    format!("a session of {breached} ended only now"),
                )
            }
            Event::DeviceAssigned { hub, presented, .. } => {
                let Some(device) = is_breached(presented) else {
                    return;
                };
                (
                    device,
                    "R-E1",
                    format!("{breached} was assigned {hub} by DPS"),
                )
            }
            _ => return,
        };
        if late {
            self.retired.accept(Misuse {
                device,
                at: at.0,
                rule,
                what,
            });
        }
    }

    fn watch_locked_out(&mut self, at: UnixMillis, device: Option<u32>, event: &Event) {
        let Some((_, from)) = self.terms.locked_out else {
            return;
        };
        let from = from.0 + self.terms.grace_ms;
        let record = device.and_then(|device| self.devices.get_mut(device as usize));
        if let (Some(record), true) = (record, at.0 > from) {
            let before = record.accepted_at.is_some_and(|accepted| accepted <= from);
            if let Some(locked_out) = &mut record.locked_out {
                locked_out.hear(at.0, event, before);
            }
        }
    }

    /// The rule by which a hub ought to refuse a certificate that it once took, and since when.
    fn worthless_at_hub(
        &self,
        at: UnixMillis,
        device: Option<u32>,
        (hub, device_id): (&str, &str),
        shown: Fingerprint,
    ) -> Option<(u32, &'static str, i64)> {
        let device = device?;
        let identity = self
            .devices
            .get(device as usize)?
            .identity(hub, device_id)?;
        if !identity.accepts(shown) {
            let once = identity.past.contains(&shown) || identity.thumbprints.contains(&shown);
            let rule = if identity.exists && identity.enabled {
                "R-B21"
            } else {
                "R-E7"
            };
            return once.then_some((device, rule, identity.changed_at));
        }
        self.expired(at, shown).map(|since| (device, "R-G7", since))
    }

    fn worthless_at_dps(
        &self,
        at: UnixMillis,
        shown: Fingerprint,
    ) -> Option<(u32, &'static str, i64)> {
        let known = self.by_fingerprint.get(&shown)?;
        if let Some(since) = self.retired.at_dps_since(known.device, known.generation) {
            return Some((known.device, "R-A15", since.0));
        }
        self.expired(at, shown)
            .map(|since| (known.device, "R-A20", since))
    }

    fn expired(&self, at: UnixMillis, shown: Fingerprint) -> Option<i64> {
        let known = self.by_fingerprint.get(&shown)?;
        (at.seconds().0 > known.not_after).then_some((known.not_after + 1) * 1000)
    }

    pub(super) fn audited(
        &mut self,
        device: DeviceIndex,
        generation: Generation,
        place: &'static str,
        at: UnixMillis,
        outcome: AuditOutcome,
    ) {
        let contained = self.terms.breach.is_some_and(|(breached, contained)| {
            breached == generation && at.0 > contained.0 + self.terms.grace_ms
        });
        let worthless = contained
            || outcome != AuditOutcome::Accepted
            || self.is_worthless(device, generation, place, at);
        let rule = match (place, contained) {
            ("DPS", true) => "R-E1",
            ("DPS", false) => "R-A15",
            (_, true) => "R-E4",
            (_, false) => "R-B21",
        };
        let what = format!("{generation} tried at {place}");
        let misuse = Misuse {
            device: device.0,
            at: at.0,
            rule,
            what,
        };
        self.retired.audit(misuse, outcome, worthless);
    }

    /// Whether a certificate ought to be refused: one that is still in force may be let in.
    fn is_worthless(
        &self,
        device: DeviceIndex,
        generation: Generation,
        place: &str,
        at: UnixMillis,
    ) -> bool {
        let is_it = |known: &&Known| known.device == device.0 && known.generation == generation;
        let mut prints = self.by_fingerprint.iter().filter(|(_, known)| is_it(known));
        let Some((shown, _)) = prints.next() else {
            return true;
        };
        if place == "DPS" {
            return self.worthless_at_dps(at, *shown).is_some();
        }
        let record = self.devices.get(device.0 as usize);
        let in_force =
            record.is_some_and(|record| record.identities.iter().any(|one| one.accepts(*shown)));
        !in_force || self.expired(at, *shown).is_some()
    }

    fn generation(&self, shown: Fingerprint) -> String {
        match self.by_fingerprint.get(&shown) {
            Some(known) => known.generation.to_string(),
            None => "an unknown certificate".to_owned(),
        }
    }
}
