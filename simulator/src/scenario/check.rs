//! Checks a raw scenario wholly and resolves it.

use std::borrow::Cow;
use std::time::Duration;

use toml::Spanned;

use super::duration::{DAY_MS, Span};
use super::place::{ScenarioError, Source};
use super::raw::{RawExpect, RawFirmware, RawFleet, RawLeaf, RawRealTime, RawScenario, RawWindow};
use super::{
    Authority, DEVICES_MAX, Enrollment, Expectation, FleetShape, LeafKind, RealTime, Scenario,
    authority, backoff, fault, intent, limits, power, readings, steps,
};
use crate::firmware::Firmware;
use crate::observation::Generation;
use crate::plan::Window;
use crate::readings::Readings;
use crate::wire::dps::API_VERSION;

const LONGEST_RUN: Span = Span(3660 * DAY_MS);
const MESSAGES_MAX: u64 = 1_000_000;

/// Where to point in messages; passed to every check.
pub(super) type Checked<T> = Result<T, ScenarioError>;

pub(super) fn resolve(source: Source<'_>, raw: RawScenario) -> Checked<Scenario> {
    let name = name_of(source, &raw.name)?;
    let duration = bounded(source, &raw.duration, Span(60_000), LONGEST_RUN)?;
    let roll_starts = bounded(source, &raw.roll_starts, Span(0), raw_of(&raw.duration))?;
    let gap_budget = bounded(source, &raw.budget.gap, Span(1), Span(30 * DAY_MS))?;
    let stranded_budget = match &raw.budget.stranded {
        Some(span) => bounded(source, span, Span(0), Span(30 * DAY_MS))?,
        None => Duration::ZERO,
    };
    let hubs = hubs(source, raw.hubs.as_ref())?;
    let ends_on = raw.ends_on.as_ref();
    let ends_on = ends_on.map(|name| hub(source, name, &hubs)).transpose()?;
    let real_time = real_time(source, &raw.real_time)?;
    let settings = readings::settings(source, &raw.settings)?;
    let limits = limits::limits(source, &raw.limits)?;
    let matrix = readings::matrix(source, &raw.matrix, &settings)?;
    let (authorities, starts) = authority::resolve(source, &raw.authority, raw.starts.as_ref())?;
    let leaves = leaves(source, &raw.leaf, &authorities)?;
    let signing = (&*raw.authority, &*raw.leaf, &*raw.step);
    authority::can_sign(source, &authorities, signing)?;
    let fleet = fleet(source, raw.fleet, duration)?;
    let steps = steps::resolve(
        source,
        &raw.step,
        &steps::Known {
            authorities: &authorities,
            leaves: &leaves,
            fleet: &fleet,
            hubs: &hubs,
            duration,
            locks_out: raw.locked_out.is_some(),
        },
    )?;
    let breach = intent::breach(source, raw.breach.as_ref(), &leaves, &steps, duration)?;
    let locked_out = intent::lockout(source, raw.locked_out.as_ref(), duration)?;
    let known = fault::Known {
        hubs: &hubs,
        function: steps.iter().any(steps::deploys),
        duration,
    };
    let (faults, recovery) = fault::resolve(source, &raw.fault, raw.recovery.as_ref(), &known)?;
    Ok(Scenario {
        name,
        file: source.file.to_owned(),
        claim: raw.claim,
        guide: raw.guide,
        proves: raw.proves,
        seed: raw.seed,
        starts,
        duration,
        roll_starts,
        gap_budget,
        stranded_budget,
        breach,
        locked_out,
        hubs,
        ends_on,
        real_time,
        settings,
        limits,
        overrides: Readings::new(),
        matrix,
        id_prefix: "dev-".to_owned(),
        fleet,
        authorities,
        leaves,
        faults,
        recovery,
        steps,
        expect: expectation(source, raw.expect.as_ref())?,
    })
}

/// An error pointing at `value`.
pub(super) fn at<T>(
    source: Source<'_>,
    value: &Spanned<T>,
    message: impl Into<String>,
) -> ScenarioError {
    source.error_at(value.span().start, message)
}

/// The names that would have done, for the end of a message.
pub(super) fn known<'a>(what: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        format!("no {what} is declared")
    } else {
        format!("known: {}", names.join(", "))
    }
}

fn raw_of(span: &Spanned<Span>) -> Span {
    *span.get_ref()
}

pub(super) fn bounded(
    source: Source<'_>,
    value: &Spanned<Span>,
    least: Span,
    most: Span,
) -> Checked<Duration> {
    let span = raw_of(value);
    if span < least || span > most {
        return Err(at(
            source,
            value,
            format!("{span} is not between {least} and {most}"),
        ));
    }
    Ok(span.duration())
}

pub(super) fn name_of(source: Source<'_>, name: &Spanned<String>) -> Checked<String> {
    let text = name.get_ref();
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    // The name becomes a folder of reports.
    if text.is_empty() || text.len() > 64 || !plain || text.starts_with('.') {
        let message = format!("`{text}` is not 1 to 64 letters, digits, `-`, `_` or `.`");
        return Err(at(source, name, message));
    }
    Ok(text.clone())
}

/// The name of a hub that there is.
pub(super) fn hub(source: Source<'_>, name: &Spanned<String>, hubs: &[String]) -> Checked<String> {
    if hubs.contains(name.get_ref()) {
        return Ok(name.get_ref().clone());
    }
    let names = known("hub", hubs.iter().map(String::as_str));
    let message = format!("no hub is called `{}`; {names}", name.get_ref());
    Err(at(source, name, message))
}

/// The name of a hub that there is somewhere else.
pub(super) fn other_hub(
    source: Source<'_>,
    name: &Spanned<String>,
    hubs: &[String],
) -> Checked<String> {
    let text = name.get_ref();
    if hubs.contains(text) {
        let message = format!("`{text}` is one of `hubs`, all of which are linked");
        return Err(at(source, name, message));
    }
    if !is_hub_name(text) {
        let message = format!("`{text}` is not {HUB_NAME}");
        return Err(at(source, name, message));
    }
    Ok(text.clone())
}

/// What names of hubs are made of.
const HUB_NAME: &str = "3 to 50 small letters, digits or `-`";

fn is_hub_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (3..=50).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('-')
}

fn hubs(source: Source<'_>, raw: Option<&Spanned<Vec<String>>>) -> Checked<Vec<String>> {
    let Some(raw) = raw else {
        return Ok(vec!["hub-1".to_owned()]);
    };
    let hubs = raw.get_ref();
    let twice = (1..hubs.len()).any(|index| hubs[..index].contains(&hubs[index]));
    if !(1..=10).contains(&hubs.len()) || twice || !hubs.iter().all(|name| is_hub_name(name)) {
        let message = format!("name 1 to 10 hubs, each once, by {HUB_NAME}");
        return Err(at(source, raw, message));
    }
    Ok(hubs.clone())
}

fn real_time(source: Source<'_>, raw: &RawRealTime) -> Checked<RealTime> {
    let pick = |value: &Option<Spanned<Span>>, default: i64, least: i64, most: i64| match value {
        Some(value) => bounded(source, value, Span(least), Span(most)),
        None => Ok(Span(default).duration()),
    };
    let real_time = RealTime {
        day: pick(&raw.day, 500, 10, DAY_MS)?,
        telemetry: pick(&raw.telemetry, 1000, 10, DAY_MS)?,
        spread: pick(&raw.spread, 2000, 0, 3_600_000)?,
        awake: pick(&raw.awake, 20_000, 1000, DAY_MS)?,
    };
    match &raw.spread {
        Some(spread) if real_time.spread >= real_time.awake => Err(at(
            source,
            spread,
            "devices would wake when it is time to sleep",
        )),
        _ => Ok(real_time),
    }
}

pub(super) fn life(source: Source<'_>, valid: &Spanned<[Span; 2]>) -> Checked<[Span; 2]> {
    let [from, until] = *valid.get_ref();
    if from >= until {
        let message = format!("valid from {from} until {until}: the end is not after the start");
        return Err(at(source, valid, message));
    }
    Ok([from, until])
}

fn leaves(
    source: Source<'_>,
    raw: &[RawLeaf],
    authorities: &[Authority],
) -> Checked<Vec<LeafKind>> {
    let mut leaves: Vec<LeafKind> = Vec::new();
    for entry in raw {
        let expected = Generation(u32::try_from(leaves.len()).unwrap_or(u32::MAX) + 1);
        let generation = Generation(*entry.generation.get_ref());
        if generation != expected || expected.0 > 20 {
            let message = format!(
                "generation {} where {} was expected: generations count from 1 to at most 20, \
                 in order",
                generation.0, expected.0
            );
            return Err(at(source, &entry.generation, message));
        }
        authority::issuer_exists(source, &entry.issuer, authorities)?;
        let common_name = match &entry.common_name {
            None => "{id}".to_owned(),
            Some(pattern) if pattern.get_ref().contains("{id}") => pattern.get_ref().clone(),
            Some(pattern) => {
                let message = "every device would get the same name; write `{id}` where the \
                               registration id belongs, such as `{id}-v2`";
                return Err(at(source, pattern, message));
            }
        };
        let [from, until] = life(source, &entry.valid)?;
        let chain = authority::chain(source, entry, authorities)?;
        let issuer = entry.issuer.get_ref().clone();
        leaves.push(LeafKind {
            generation,
            issuer,
            chain,
            common_name,
            from,
            until,
        });
    }
    Ok(leaves)
}

fn fleet(source: Source<'_>, raw: RawFleet, duration: Duration) -> Checked<FleetShape> {
    let devices = *raw.devices.get_ref();
    if !(1..=DEVICES_MAX).contains(&devices) {
        let message = format!("{devices} is not between 1 and {DEVICES_MAX} devices");
        return Err(at(source, &raw.devices, message));
    }
    let entry = raw.enrollment.get_ref();
    let enrollment = match (&entry.group, entry.individual) {
        (Some(group), false) => Enrollment::Group(group.clone()),
        (None, true) => Enrollment::Individual,
        _ => {
            let message = "write either { group = \"NAME\" } or { individual = true }";
            return Err(at(source, &raw.enrollment, message));
        }
    };
    let telemetry = bounded(source, &raw.telemetry, Span(100), Span(30 * DAY_MS))?;
    let spread = bounded(source, &raw.spread, Span(0), Span(DAY_MS))?;
    let awake = windows(source, &raw.awake, duration, spread)?;
    let total: Duration = awake.iter().map(|window| window.until - window.from).sum();
    if total.as_millis() / telemetry.as_millis() > u128::from(MESSAGES_MAX) {
        let message = format!(
            "a device would send more than {MESSAGES_MAX} messages; send less often or be awake \
             for less"
        );
        return Err(at(source, &raw.telemetry, message));
    }
    let firmware = firmware(source, &raw.firmware, duration, spread)?;
    if firmware.is_empty() {
        let message = "a fleet needs at least one [[fleet.firmware]]";
        return Err(at(source, &raw.devices, message));
    }
    Ok(FleetShape {
        devices,
        enrollment,
        telemetry,
        spread,
        awake,
        firmware,
    })
}

fn windows(
    source: Source<'_>,
    awake: &Spanned<Vec<Spanned<RawWindow>>>,
    duration: Duration,
    spread: Duration,
) -> Checked<Vec<Window>> {
    let mut windows: Vec<Window> = Vec::new();
    for entry in awake.get_ref() {
        let window = *entry.get_ref();
        let (from, until) = (
            window.from.duration(),
            window.from.duration() + window.r#for.duration(),
        );
        if window.from < Span(0) || window.r#for.duration() <= spread {
            let message = format!(
                "a window starts at 0s or later and lasts longer than fleet.spread, {}",
                Span(i64::try_from(spread.as_millis()).unwrap_or(i64::MAX))
            );
            return Err(at(source, entry, message));
        }
        if windows.last().is_some_and(|before| from <= before.until) {
            let message = "this window does not begin after the one before it has ended; list \
                           windows in order, or join the two";
            return Err(at(source, entry, message));
        }
        windows.push(Window { from, until });
    }
    match windows.last() {
        None => Err(at(
            source,
            awake,
            "devices are never awake; list at least one window",
        )),
        Some(last) if last.until < duration || last.from >= duration => {
            let message = "the last window must begin before and reach the end of the run, or \
                           nobody could say how the devices ended";
            Err(at(source, awake, message))
        }
        Some(_) if windows.len() > 1000 => {
            Err(at(source, awake, "a fleet may have at most 1000 windows"))
        }
        Some(_) => Ok(windows),
    }
}

fn firmware(
    source: Source<'_>,
    raw: &[RawFirmware],
    duration: Duration,
    spread: Duration,
) -> Checked<Vec<(u32, Firmware)>> {
    let mut models = Vec::new();
    for entry in raw {
        let share = *entry.share.get_ref();
        if !(1..=1000).contains(&share) {
            let message = format!("{share} is not a share between 1 and 1000");
            return Err(at(source, &entry.share, message));
        }
        let name = name_of(source, &entry.name)?;
        let default = backoff::resolve(source, &entry.backoff, Firmware::default())?;
        let default = power::resolve(source, entry, default)?;
        let model = Firmware {
            name,
            trigger: entry.trigger.unwrap_or(default.trigger),
            roll: entry.roll.unwrap_or(default.roll),
            on_unauthorized: entry.on_unauthorized.unwrap_or(default.on_unauthorized),
            on_boot: entry.on_boot.unwrap_or(default.on_boot),
            keeps: entry.keeps.unwrap_or(default.keeps),
            answers: entry.answers.unwrap_or(default.answers),
            transport: entry.transport.unwrap_or(default.transport),
            registers_as: entry.registers_as.unwrap_or(default.registers_as),
            dps_api_version: match &entry.dps_api_version {
                Some(version) => Cow::Owned(api_version(source, version)?),
                None => default.dps_api_version,
            },
            clock_skew_ms: entry
                .clock_skew
                .map_or(default.clock_skew_ms, |skew| skew.0),
            awake: match &entry.awake {
                Some(awake) => windows(source, awake, duration, spread)?,
                None => Vec::new(),
            },
            ..default
        };
        models.push((share, model));
    }
    Ok(models)
}

/// A version of DPS's device API: a date, and perhaps that it is a preview.
fn api_version(source: Source<'_>, raw: &Spanned<String>) -> Checked<String> {
    let text = raw.get_ref();
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let format = time::macros::format_description!("[year]-[month]-[day]");
    if time::Date::parse(date, format).is_ok() {
        return Ok(text.clone());
    }
    let message = format!("`{text}` is no version of an API; one looks like `{API_VERSION}`");
    Err(at(source, raw, message))
}

fn expectation(source: Source<'_>, raw: Option<&RawExpect>) -> Checked<Expectation> {
    let Some(raw) = raw else {
        return Ok(Expectation::Pass);
    };
    if let Some(check) = &raw.check
        && !crate::checker::CHECKS
            .iter()
            .any(|(name, _)| name == check.get_ref())
    {
        let names = known(
            "check",
            crate::checker::CHECKS.iter().map(|(name, _)| *name),
        );
        let message = format!("no check is called `{}`; {names}", check.get_ref());
        return Err(at(source, check, message));
    }
    match raw.verdict.get_ref().as_str() {
        "fail" => Ok(Expectation::Fail {
            check: raw.check.as_ref().map(|check| check.get_ref().clone()),
            rule: raw.rule.as_ref().map(|rule| rule.get_ref().clone()),
        }),
        "pass" => match raw.check.as_ref().or(raw.rule.as_ref()) {
            Some(extra) => Err(at(
                source,
                extra,
                "only an expected failure has a check and a rule",
            )),
            None => Ok(Expectation::Pass),
        },
        other => Err(at(
            source,
            &raw.verdict,
            format!("`{other}` is neither `pass` nor `fail`"),
        )),
    }
}
