//! Turns the books into checks that can be read.

mod recovers;

use std::collections::BTreeMap;

use linarite_env::UnixMillis;

use super::device::{Device, Outages};
use super::retired::Misuse;
use super::state::State;
use super::story::{Bin, Refusals, Worst};
use super::{CHECKS, TimelinePoint};
use recovers::recovers;

/// Offending devices that a check lists; more are only counted.
const LISTED: usize = 10;

/// Checks that do not hold while a run is under way, and may in the end.
const DECIDED_AT_THE_END: [&str; 4] = [
    "ends-on-new-certificate",
    "fleet-took-part",
    "locked-out-refused",
    "recovers",
];

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// Its letter in the definition of zero downtime; empty where it has none.
    pub letter: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// Whether the run was interrupted before this check could be decided.
    pub open: bool,
    /// What was found, with numbers.
    pub detail: String,
    /// How many devices it does not hold for.
    pub offenders: usize,
    /// How many of them fell to which rule.
    pub rules: BTreeMap<String, usize>,
    /// The first offending devices.
    pub offences: Vec<Offence>,
}

/// What happened to one device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Offence {
    /// Registration id of the device.
    pub device: String,
    /// When it began, in milliseconds since the start of the run.
    pub from_ms: Option<i64>,
    /// When it ended, in milliseconds since the start of the run.
    pub until_ms: Option<i64>,
    /// The rule it fell to, as the services named it.
    pub rule: Option<String>,
    /// What happened, in a few words.
    pub what: String,
}

/// The longest wait for a session of each device, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Downtime {
    /// The worst device's.
    pub max: i64,
    /// Exceeded by one device in a hundred.
    pub p99: i64,
    /// The median device's.
    pub p50: i64,
}

/// Messages of the whole fleet and run, each counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MessageTotals {
    /// Handed to the transport.
    pub sent: u64,
    /// Acknowledged by a hub.
    pub acknowledged: u64,
    /// Stored at a hub's event endpoint.
    pub received: u64,
    /// Acknowledged and never stored.
    pub lost: u64,
    /// Stored more than once.
    pub duplicated: u64,
}

/// Registrations as devices saw them end.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Registrations {
    /// Ended with a hub.
    pub succeeded: u64,
    /// Refused, failed, or without answer.
    pub failed: u64,
    /// Refused for the rate (429).
    pub throttled: u64,
}

/// Everything a run showed.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The checks, in the order of [`CHECKS`].
    pub checks: Vec<Check>,
    /// Longest waits over the fleet.
    pub downtime: Downtime,
    /// Each device's longest wait, ascending, in milliseconds.
    pub longest_gaps_ms: Vec<i64>,
    /// Messages.
    pub messages: MessageTotals,
    /// Registrations.
    pub registrations: Registrations,
    /// Devices connected with the newest certificate at the end.
    pub on_newest: usize,
    /// Devices that are meant to be refused.
    pub locked_out: usize,
    /// Uses of retired certificates that were accepted.
    pub stale_accepted: u64,
    /// The fleet over time.
    pub timeline: Vec<TimelinePoint>,
    /// Refusals by place and rule.
    pub refusals: Vec<Refusals>,
    /// Registrations and refusals over time.
    pub activity: Vec<Bin>,
    /// The device that fared worst.
    pub worst: Option<Worst>,
    /// Equal for equal seeds in virtual time.
    pub trace_hash: String,
}

impl Findings {
    /// Whether every check holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// Takes back what only the end of a run decides: this one ended before.
    pub fn leave_open(&mut self) {
        let stale = self.stale_accepted;
        let hangs = |check: &&mut Check| match check.name {
            "retired-credentials-refused" => stale == 0,
            name => DECIDED_AT_THE_END.contains(&name),
        };
        for check in self
            .checks
            .iter_mut()
            .filter(hangs)
            .filter(|check| !check.passed)
        {
            check.open = true;
            check.offenders = 0;
            check.offences.clear();
            check.rules.clear();
        }
    }
}

pub(super) fn judge(state: &mut State, end: UnixMillis) -> Findings {
    let terms = state.terms;
    for device in &mut state.devices {
        device.finish(end.0.min(terms.end.0), &terms);
    }
    report_breached_sessions(state, end);
    let messages = totals(state);
    let checks = vec![
        outages(state, 0, |device| &device.strandings),
        outages(state, 1, |device| &device.gaps),
        messages_arrive_once(state, &messages, end),
        retired_refused(state),
        ends_on_new(state, end),
        took_part(state),
        locked_out_refused(state),
        calls_answered(state),
        state.steps.check(8, terms.origin.0),
        recovers(state),
    ];
    let mut gaps: Vec<i64> = state
        .devices
        .iter()
        .map(|device| device.longest_gap)
        .collect();
    gaps.sort_unstable();
    Findings {
        checks,
        downtime: Downtime {
            max: gaps.last().copied().unwrap_or(0),
            p99: percentile(&gaps, 99),
            p50: percentile(&gaps, 50),
        },
        longest_gaps_ms: gaps,
        messages,
        registrations: state.registrations.clone(),
        on_newest: state
            .devices
            .iter()
            .filter(|device| on_newest(state, device))
            .count(),
        locked_out: state.devices.len() - in_service(state).count(),
        stale_accepted: state.retired.accepted,
        timeline: state.timeline.points(),
        refusals: state.story.refusals(),
        activity: state.story.bins(),
        worst: state.story.worst(&state.devices, &state.names),
        trace_hash: state.trace.hash(),
    }
}

/// Holds against the services what a thief may have open at the end.
fn report_breached_sessions(state: &mut State, end: UnixMillis) {
    let Some((breached, _)) = state.terms.breach else {
        return;
    };
    for device in state.breached.still_open().collect::<Vec<_>>() {
        state.retired.accept(Misuse {
            device,
            at: end.0,
            rule: "R-E8",
            what: format!("a session of {breached} is open still"),
        });
    }
}

/// The smallest value that `percent` of all values do not exceed (nearest rank).
fn percentile(ascending: &[i64], percent: usize) -> i64 {
    let rank = (ascending.len() * percent).div_ceil(100);
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Collects the offences of one check.
struct Tally<'a> {
    state: &'a State,
    offences: Vec<Offence>,
    rules: BTreeMap<String, usize>,
    offenders: usize,
}

impl<'a> Tally<'a> {
    fn new(state: &'a State) -> Self {
        Self {
            state,
            offences: Vec::new(),
            rules: BTreeMap::new(),
            offenders: 0,
        }
    }

    fn add(
        &mut self,
        device: usize,
        time: Option<(i64, i64)>,
        rule: Option<&str>,
        what: impl FnOnce() -> String,
    ) {
        self.offenders += 1;
        if let Some(rule) = rule {
            *self.rules.entry(rule.to_owned()).or_default() += 1;
        }
        if self.offences.len() < LISTED {
            let origin = self.state.terms.origin.0;
            let device = self.state.names.get(device).map(ToString::to_string);
            self.offences.push(Offence {
                device: device.unwrap_or_default(),
                from_ms: time.map(|(from, _)| from - origin),
                until_ms: time.map(|(_, until)| until - origin),
                rule: rule.map(str::to_owned),
                what: what(),
            });
        }
    }

    fn check(self, number: usize, passed: bool, detail: String) -> Check {
        let (name, letter) = CHECKS[number];
        let Self {
            offences,
            rules,
            offenders,
            ..
        } = self;
        Check {
            name,
            letter,
            passed,
            open: false,
            detail,
            offenders,
            rules,
            offences,
        }
    }
}

fn outages(state: &State, number: usize, of: impl Fn(&Device) -> &Outages) -> Check {
    let mut tally = Tally::new(state);
    let mut longest = 0;
    for (index, device) in state.devices.iter().enumerate() {
        let outages = of(device);
        let Some(worst) = outages.kept.iter().max_by_key(|one| one.until - one.from) else {
            continue;
        };
        longest = longest.max(worst.until - worst.from);
        tally.add(
            index,
            Some((worst.from, worst.until)),
            worst.rule,
            || match outages.count {
                1 => format!("for {}", seconds(worst.until - worst.from)),
                times => format!(
                    "for {}, the worst of {times}",
                    seconds(worst.until - worst.from)
                ),
            },
        );
    }
    let (devices, offenders) = (state.devices.len(), tally.offenders);
    let budget = seconds(state.terms.gap_budget_ms);
    let detail = match (number, offenders) {
        (0, 0) if state.terms.stranded_budget_ms > 0 => format!(
            "no device was without a certificate its hub would take for longer than {}",
            seconds(state.terms.stranded_budget_ms)
        ),
        (0, 0) => format!("all {devices} devices held a certificate their hub would take"),
        (0, _) => format!(
            "{offenders} of {devices} devices had no session and no certificate their hub would \
             take, for up to {}",
            seconds(longest)
        ),
        (_, 0) => {
            let worst = state
                .devices
                .iter()
                .map(|device| device.longest_gap)
                .max()
                .unwrap_or(0);
            format!(
                "longest wait for a session {}, budget {budget}",
                seconds(worst)
            )
        }
        _ => format!(
            "{offenders} of {devices} devices waited longer than {budget} for a session, up to {}",
            seconds(longest)
        ),
    };
    tally.check(number, offenders == 0, detail)
}

/// A span for people.
fn seconds(ms: i64) -> String {
    crate::scenario::Span(ms).rounded()
}

fn totals(state: &State) -> MessageTotals {
    let mut totals = MessageTotals::default();
    for device in &state.devices {
        let (sent, acknowledged, received) = device.messages.totals();
        totals.sent += sent;
        totals.acknowledged += acknowledged;
        totals.received += received;
        totals.lost += device.messages.lost().len() as u64;
        totals.duplicated += device.messages.duplicated();
    }
    totals
}

fn messages_arrive_once(state: &State, totals: &MessageTotals, end: UnixMillis) -> Check {
    let settled = end.0.saturating_sub(state.terms.settle_ms);
    let mut tally = Tally::new(state);
    let mut unacknowledged = 0;
    for (index, device) in state.devices.iter().enumerate() {
        let messages = &device.messages;
        let lost = messages.lost();
        let pending = match device.locked_out {
            // Nobody will ever acknowledge what a device offers that is refused.
            Some(_) => Vec::new(),
            None => messages.unacknowledged(settled),
        };
        unacknowledged += pending.len();
        let (what, number) = match (lost.first(), messages.first_duplicate(), pending.first()) {
            (Some(number), _, _) => ("was acknowledged and never arrived", *number),
            (None, Some(number), _) => ("arrived more than once", number),
            (None, None, Some(number)) => ("was never acknowledged", *number),
            (None, None, None) if messages.beyond > 0 => ("is too many to tell apart", u32::MAX),
            (None, None, None) => continue,
        };
        let rule = device.last_rule();
        tally.add(index, None, rule, || format!("message {number} {what}"));
    }
    let passed = tally.offenders == 0 && state.unmatched_messages == 0;
    let mut detail = format!(
        "{} offered, {} acknowledged, {} arrived, {} lost, {} twice, {unacknowledged} never \
         acknowledged",
        totals.sent, totals.acknowledged, totals.received, totals.lost, totals.duplicated
    );
    let resent: u64 = state
        .devices
        .iter()
        .map(|device| device.messages.resent)
        .sum();
    if resent > 0 {
        detail += &format!(", {resent} again because their acknowledgement was lost");
    }
    if state.unmatched_messages > 0 {
        detail += &format!(", {} of an unknown sender", state.unmatched_messages);
    }
    tally.check(2, passed, detail)
}

fn retired_refused(state: &State) -> Check {
    let retired = &state.retired;
    let mut tally = Tally::new(state);
    for misuse in &retired.misuses {
        let rule = (!misuse.rule.is_empty()).then_some(misuse.rule);
        let time = Some((misuse.at, misuse.at));
        tally.add(misuse.device as usize, time, rule, || misuse.what.clone());
    }
    tally.offenders = retired.devices.len();
    let fell = { retired.rules.iter() }.map(|(rule, devices)| ((*rule).to_owned(), devices.len()));
    tally.rules = fell.collect();
    let tried = state.terms.breach.is_none() || retired.audits > 0;
    let passed = retired.accepted == 0 && retired.unanswered == 0 && tried;
    let attempts = retired.refused + retired.accepted;
    let mut detail = if attempts == 0 && retired.audits == 0 {
        "nobody tried a retired certificate".to_owned()
    } else {
        format!(
            "{} attempts with a retired certificate refused, {} accepted; of these {} audits \
             refused",
            retired.refused, retired.accepted, retired.audits_refused
        )
    };
    if retired.audits_in_force > 0 {
        detail += &format!(
            "; {} audits met a certificate in force",
            retired.audits_in_force
        );
    }
    if state.breached.outlived_ms > 0 {
        detail += &format!(
            "; open sessions of breached certificates outlived them at DPS by up to {}",
            seconds(state.breached.outlived_ms)
        );
    }
    if retired.unanswered > 0 {
        detail += &format!(
            "; {} audits without an answer prove nothing",
            retired.unanswered
        );
    }
    tally.check(3, passed, detail)
}

fn on_newest(state: &State, device: &Device) -> bool {
    device.session == Some(state.terms.newest)
}

fn ends_on_new(state: &State, end: UnixMillis) -> Check {
    let mut tally = Tally::new(state);
    let mut connected = 0;
    for (index, device) in in_service(state) {
        let records = device.registration_ids.len();
        let existing = || device.identities.iter().filter(|identity| identity.exists);
        let identities = existing().count();
        let elsewhere = state
            .ends_on
            .as_ref()
            .and_then(|hub| existing().find(|identity| identity.hub != *hub));
        let there = on_newest(state, device);
        connected += usize::from(there);
        if there && records == 1 && identities == 1 && elsewhere.is_none() {
            continue;
        }
        let doubled = records > 1 || identities > 1;
        let rule = if doubled {
            Some("R-C9")
        } else if there && elsewhere.is_some() {
            Some("R-C1")
        } else {
            device.last_rule()
        };
        tally.add(index, Some((end.0, end.0)), rule, || {
            let session = match device.session {
                Some(generation) => format!("connected with {generation}"),
                None => "not connected".to_owned(),
            };
            let place = elsewhere.map(|identity| format!(", at {}", identity.hub));
            format!(
                "{session}{}, {records} registration records, {identities} hub identities",
                place.unwrap_or_default()
            )
        });
    }
    let devices = in_service(state).count();
    let doubled = |device: &&Device| device.registration_ids.len() > 1;
    let detail = format!(
        "{connected} of {devices} devices connected with {}, {} with more than one registration \
         record",
        state.terms.newest,
        state.devices.iter().filter(doubled).count()
    );
    let passed = tally.offenders == 0;
    tally.check(4, passed, detail)
}

fn took_part(state: &State) -> Check {
    let mut tally = Tally::new(state);
    let (mut registered, mut delivered) = (0, 0);
    for (index, device) in in_service(state) {
        registered += usize::from(device.registered);
        delivered += usize::from(device.stored_newest);
        if !device.registered {
            tally.add(index, None, device.last_rule(), || {
                "never registered".to_owned()
            });
        } else if !device.stored_newest {
            tally.add(index, None, None, || {
                "never got its new certificate".to_owned()
            });
        }
    }
    let devices = in_service(state).count();
    let begun = if state.seen_in_roll {
        "the roll began"
    } else {
        "the roll never began"
    };
    let detail = format!(
        "{registered} of {devices} devices registered, {delivered} got a certificate of \
         generation {}, {begun}",
        state.terms.newest.0
    );
    let passed = tally.offenders == 0 && state.seen_in_roll && !state.devices.is_empty();
    tally.check(5, passed, detail)
}

/// Devices that nobody means to refuse.
fn in_service(state: &State) -> impl Iterator<Item = (usize, &Device)> {
    let devices = state.devices.iter().enumerate();
    devices.filter(|(_, device)| device.locked_out.is_none())
}

fn locked_out_refused(state: &State) -> Check {
    let mut tally = Tally::new(state);
    let (mut devices, mut refusals) = (0, 0);
    for (index, device) in state.devices.iter().enumerate() {
        let Some(locked_out) = &device.locked_out else {
            continue;
        };
        devices += 1;
        refusals += u64::from(locked_out.refused);
        match (&locked_out.let_in, device.session) {
            (Some((at, rule, what)), _) => {
                tally.add(index, Some((*at, *at)), Some(rule), || what.clone());
            }
            (None, Some(generation)) => {
                tally.add(index, None, Some("R-A28"), || {
                    format!("is still connected with {generation}")
                });
            }
            (None, None) if locked_out.refused == 0 => tally.add(index, None, None, || {
                "never tried, so nothing shows that it would be refused".to_owned()
            }),
            (None, None) => {}
        }
    }
    let offenders = tally.offenders;
    let detail = match (devices, offenders) {
        (0, _) => "nobody is meant to be refused".to_owned(),
        (_, 0) => format!(
            "all {devices} devices that are meant to be refused were, {refusals} times in all"
        ),
        _ => format!("{offenders} of {devices} devices that are meant to be refused were not"),
    };
    tally.check(6, offenders == 0, detail)
}

fn calls_answered(state: &State) -> Check {
    let calls = &state.calls;
    let mut tally = Tally::new(state);
    for (device, (at, rule, what)) in &calls.unanswered {
        tally.add(*device as usize, Some((*at, *at)), Some(rule), || {
            what.clone()
        });
    }
    let unanswered = tally.offenders;
    let mut detail = format!(
        "{} calls answered, {} found their device offline, {unanswered} devices left one unanswered",
        calls.answered, calls.not_online
    );
    if calls.lost > 0 {
        detail += &format!("; {} got lost in faults", calls.lost);
    }
    tally.check(7, unanswered == 0, detail)
}
