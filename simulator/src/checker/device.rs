//! One device's record: sessions, credentials, identities, and the times it was without.

use std::sync::Arc;

use linarite_env::event::Fingerprint;

use super::Terms;
use super::lockout::LockedOut;
use super::messages::Messages;
use super::recovery::Recovering;
use crate::observation::Generation;

/// Outages kept with their times; more are only counted.
const OUTAGES_KEPT: usize = 4;
/// Names, identities and past thumbprints kept of one device.
const NAMES_KEPT: usize = 8;

/// A certificate in the secure store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) generation: Generation,
    pub(super) fingerprint: Fingerprint,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// An identity at a hub, as its events tell it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) hub: Arc<str>,
    pub(super) device_id: Arc<str>,
    pub(super) exists: bool,
    pub(super) enabled: bool,
    pub(super) thumbprints: Vec<Fingerprint>,
    /// Thumbprints that were in force once.
    pub(super) past: Vec<Fingerprint>,
    /// When it last changed.
    pub(super) changed_at: i64,
}

impl Identity {
    pub(super) fn accepts(&self, fingerprint: Fingerprint) -> bool {
        self.exists && self.enabled && self.thumbprints.contains(&fingerprint)
    }
}

/// A time without service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) rule: Option<&'static str>,
}

/// The first outages and how many there were.
#[derive(Clone, Debug, Default)]
pub(super) struct Outages {
    pub(super) kept: Vec<Outage>,
    pub(super) count: u32,
}

impl Outages {
    fn add(&mut self, outage: Outage) {
        self.count += 1;
        if self.kept.len() < OUTAGES_KEPT {
            self.kept.push(outage);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    at: i64,
    rule: &'static str,
}

/// Everything known of one device. Times are Unix milliseconds.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) awake: bool,
    pub(super) session: Option<Generation>,
    pub(super) held: Vec<Held>,
    pub(super) stored_newest: bool,
    pub(super) identities: Vec<Identity>,
    pub(super) registration_ids: Vec<Arc<str>>,
    pub(super) registered: bool,
    pub(super) accepted_at: Option<i64>,
    pub(super) messages: Messages,
    /// Set for a device that is meant to be refused.
    pub(super) locked_out: Option<LockedOut>,
    pub(super) strandings: Outages,
    pub(super) gaps: Outages,
    pub(super) longest_gap: i64,
    pub(super) recovering: Recovering,
    stranded_since: Option<i64>,
    gap_since: Option<i64>,
    seen_until: i64,
    /// The last refusals: by DPS and by the hub, of the newest certificate and of another.
    refusals: [Option<Refusal>; 4],
}

impl Device {
    pub(super) fn new(origin: i64, locked_out: bool) -> Self {
        Self {
            awake: false,
            session: None,
            held: Vec::new(),
            stored_newest: false,
            identities: Vec::new(),
            registration_ids: Vec::new(),
            registered: false,
            accepted_at: None,
            messages: Messages::default(),
            locked_out: locked_out.then(LockedOut::default),
            strandings: Outages::default(),
            gaps: Outages::default(),
            longest_gap: 0,
            recovering: Recovering::default(),
            stranded_since: None,
            gap_since: None,
            seen_until: origin,
            refusals: [None; 4],
        }
    }

    /// Lets time pass up to `now` with everything as it is; call before each change.
    pub(super) fn advance(&mut self, now: i64, terms: &Terms) {
        let mut at = self.seen_until;
        while at < now {
            let (stranded, until) = self.outlook(at, now);
            if stranded {
                self.stranded_since.get_or_insert(at);
            } else if let Some(from) = self.stranded_since.take() {
                self.note_stranding(from, at, terms);
            }
            at = until;
        }
        self.seen_until = self.seen_until.max(now);
    }

    /// Whether the device is stranded at `at`, and until when (at most `limit`) that stays so.
    fn outlook(&self, at: i64, limit: i64) -> (bool, i64) {
        if self.session.is_some() {
            return (false, limit);
        }
        let mut next_start = limit;
        for held in &self.held {
            if !self
                .identities
                .iter()
                .any(|identity| identity.accepts(held.fingerprint))
            {
                continue;
            }
            // Both end seconds belong to a certificate's life.
            let (start, end) = (held.not_before * 1000, (held.not_after + 1) * 1000);
            if start <= at && at < end {
                return (false, end.min(limit));
            }
            if at < start {
                next_start = next_start.min(start);
            }
        }
        (true, next_start)
    }

    /// Call after each change: a gap begins or ends where waiting does.
    pub(super) fn settle(&mut self, now: i64, terms: &Terms) {
        let waiting = self.awake && self.session.is_none();
        match self.gap_since {
            None if waiting => self.gap_since = Some(now),
            Some(from) if !waiting => {
                self.gap_since = None;
                self.note_gap(from, now, terms);
            }
            _ => {}
        }
        if let Some(troubled) = &terms.troubled {
            let newest = self.held.iter().map(|held| held.generation).max();
            let served = self.session.is_some() && self.session == newest;
            self.recovering.settle(now, (self.awake, served), troubled);
        }
    }

    /// Ends whatever is still open at the end of the run.
    pub(super) fn finish(&mut self, end: i64, terms: &Terms) {
        self.advance(end, terms);
        if let Some(from) = self.stranded_since.take() {
            self.note_stranding(from, end, terms);
        }
        if let Some(from) = self.gap_since.take() {
            self.note_gap(from, end, terms);
        }
        if let Some(troubled) = &terms.troubled {
            self.recovering.finish(end, troubled);
        }
    }

    fn note_stranding(&mut self, from: i64, until: i64, terms: &Terms) {
        if let Some((from, until)) = self.counted(from, until, terms)
            && until - from > terms.stranded_budget_ms
        {
            let rule = self.rule_of(from, until);
            self.strandings.add(Outage { from, until, rule });
        }
    }

    fn note_gap(&mut self, from: i64, until: i64, terms: &Terms) {
        // While things are made to go wrong nobody counts; `recovers` looks at what comes after.
        let parts = match &terms.troubled {
            Some(troubled) => troubled.outside(from, until),
            None => [(from, until), (until, until)],
        };
        for (from, until) in parts {
            self.note_wait(from, until, terms);
        }
    }

    fn note_wait(&mut self, from: i64, until: i64, terms: &Terms) {
        let Some((from, until)) = self.counted(from, until, terms) else {
            return;
        };
        self.longest_gap = self.longest_gap.max(until - from);
        if until - from > terms.gap_budget_ms {
            let rule = self.rule_of(from, until);
            self.gaps.add(Outage { from, until, rule });
        }
    }

    /// The part of a time that counts: it lies in the roll, and before the device is meant to be
    /// refused.
    fn counted(&self, from: i64, until: i64, terms: &Terms) -> Option<(i64, i64)> {
        let end = match (&self.locked_out, terms.locked_out) {
            (Some(_), Some((_, refused_from))) => terms.end.min(refused_from),
            _ => terms.end,
        };
        let (from, until) = (from.max(terms.roll_from.0), until.min(end.0));
        (from < until).then_some((from, until))
    }

    /// The rule an outage fell to: DPS's last word during it, for that is what kept the device
    /// from coming back, and above all its word on the certificate the device is to end on;
    /// else the hub's; else the last refusal before it.
    pub(super) fn rule_of(&self, from: i64, until: i64) -> Option<&'static str> {
        let known = || self.refusals.iter().flatten();
        let nearest = known()
            .find(|refusal| from <= refusal.at && refusal.at <= until)
            .or_else(|| known().max_by_key(|refusal| refusal.at));
        nearest.map(|refusal| refusal.rule)
    }

    /// The rule of the last refusal of either side.
    pub(super) fn last_rule(&self) -> Option<&'static str> {
        self.rule_of(i64::MAX, i64::MIN)
    }

    /// Takes note of a refusal, unless somebody else showed the certificate.
    pub(super) fn refused(
        &mut self,
        at: i64,
        by_dps: bool,
        presented: Option<Fingerprint>,
        rule: &'static str,
        newest: Generation,
    ) {
        let shown = presented.map(|shown| self.held.iter().find(|held| held.fingerprint == shown));
        let is_newest = match shown {
            Some(None) => return,
            Some(Some(held)) => held.generation == newest,
            None => false,
        };
        let place = 2 * usize::from(!by_dps) + usize::from(!is_newest);
        self.refusals[place] = Some(Refusal { at, rule });
    }

    pub(super) fn note_registration_id(&mut self, id: &Arc<str>) {
        let known = self
            .registration_ids
            .iter()
            .any(|known| known.eq_ignore_ascii_case(id));
        if !known && self.registration_ids.len() < NAMES_KEPT {
            self.registration_ids.push(Arc::clone(id));
        }
    }

    pub(super) fn identity(&self, hub: &str, device_id: &str) -> Option<&Identity> {
        let is_it = |known: &&Identity| &*known.hub == hub && &*known.device_id == device_id;
        self.identities.iter().find(is_it)
    }

    /// Puts an identity into a new state.
    pub(super) fn identity_is(
        &mut self,
        at: i64,
        (hub, device_id): (&Arc<str>, &Arc<str>),
        (exists, enabled): (bool, bool),
        thumbprints: &[Fingerprint],
    ) {
        let is_it = |known: &&mut Identity| known.hub == *hub && known.device_id == *device_id;
        if let Some(identity) = self.identities.iter_mut().find(is_it) {
            for gone in &identity.thumbprints {
                if identity.past.len() < NAMES_KEPT && !identity.past.contains(gone) {
                    identity.past.push(*gone);
                }
            }
            identity.exists = exists;
            identity.enabled = enabled;
            identity.thumbprints = thumbprints.to_vec();
            identity.changed_at = at;
        } else if self.identities.len() < NAMES_KEPT {
            self.identities.push(Identity {
                hub: Arc::clone(hub),
                device_id: Arc::clone(device_id),
                exists,
                enabled,
                thumbprints: thumbprints.to_vec(),
                past: Vec::new(),
                changed_at: at,
            });
        }
    }
}
