//! What a scenario means to happen to some of its certificates and devices: a thief's are to
//! become worthless, and some devices are to be refused.

use std::time::Duration;

use super::check::{Checked, at};
use super::duration::Span;
use super::place::Source;
use super::raw::{RawBreach, RawLockout};
use super::{LeafKind, Step, steps};
use crate::observation::{DeviceIndex, Generation};

/// Certificates in the hands of a thief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// All of this generation.
    pub generation: Generation,
    /// From when on nothing may accept them, whoever shows them.
    pub contained: Duration,
}

/// Devices that are meant to be refused from a time on: one in so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Every device whose number it divides.
    pub one_in: u32,
    /// From when on.
    pub from: Duration,
}

impl Lockout {
    /// Whether `device` is one of them.
    #[must_use]
    pub fn is_meant_for(&self, device: DeviceIndex) -> bool {
        device.0.is_multiple_of(self.one_in)
    }
}

pub(super) fn breach(
    source: Source<'_>,
    raw: Option<&RawBreach>,
    leaves: &[LeafKind],
    steps: &[Step],
    duration: Duration,
) -> Checked<Option<Breach>> {
    let Some(raw) = raw else { return Ok(None) };
    let generation = Generation(*raw.generation.get_ref());
    if !leaves.iter().any(|leaf| leaf.generation == generation) {
        let message = format!("no [[leaf]] has generation {}", generation.0);
        return Err(at(source, &raw.generation, message));
    }
    let contained = within(source, &raw.contained, duration)?;
    let tried = |step: &Step| match step.action {
        super::Action::Audit {
            generation: tried, ..
        } => tried == generation && step.at >= contained,
        _ => false,
    };
    if !steps.iter().any(tried) {
        let message = "nobody tries the thief's certificates from then on; add an `audit` step, or \
                       nothing shows that they are refused";
        return Err(at(source, &raw.contained, message));
    }
    Ok(Some(Breach {
        generation,
        contained,
    }))
}

pub(super) fn lockout(
    source: Source<'_>,
    raw: Option<&RawLockout>,
    duration: Duration,
) -> Checked<Option<Lockout>> {
    let Some(raw) = raw else { return Ok(None) };
    Ok(Some(Lockout {
        one_in: steps::one_in(source, &raw.share)?,
        from: within(source, &raw.from, duration)?,
    }))
}

fn within(
    source: Source<'_>,
    value: &toml::Spanned<Span>,
    duration: Duration,
) -> Checked<Duration> {
    let span = *value.get_ref();
    if span < Span(0) || span.duration() >= duration {
        return Err(at(source, value, format!("{span} lies outside the run")));
    }
    Ok(span.duration())
}
