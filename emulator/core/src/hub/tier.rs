//! The edition and size of a hub: what it allows of jobs (behaviour.md H.2).

use std::fmt;

use crate::limits::{HUB_UNITS_MAX, HUB_UNITS_MIN};

/// An edition in which jobs exist; the basic ones have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// The free one, of one unit.
    F1,
    /// Standard, small.
    S1,
    /// Standard, medium.
    S2,
    /// Standard, large.
    S3,
}

/// A hub's edition and how many units of it there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    edition: Edition,
    units: u32,
}

/// What is no tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// Not the name of an edition.
    #[error("{0:?} is no edition with jobs; expected F1, S1, S2, S3 or none")]
    Edition(String),
    /// The free edition comes as one unit.
    #[error("F1 has one unit, not {0}")]
    FreeUnits(u32),
    /// Out of bounds.
    #[error("{units} units are outside {HUB_UNITS_MIN} to {HUB_UNITS_MAX}")]
    Units {
        /// Asked for.
        units: u32,
    },
}

impl Edition {
    /// Reads its name, in any case.
    ///
    /// # Errors
    /// [`TierError::Edition`].
    pub fn parse(text: &str) -> Result<Self, TierError> {
        let all = [Self::F1, Self::S1, Self::S2, Self::S3];
        let named = |edition: &Self| edition.name().eq_ignore_ascii_case(text);
        let found = all.into_iter().find(named);
        found.ok_or_else(|| TierError::Edition(text.to_owned()))
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F1 => "F1",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
        }
    }
}

impl Tier {
    /// `units` units of an edition.
    ///
    /// # Errors
    /// [`TierError`] if the edition does not come in that number.
    pub fn new(edition: Edition, units: u32) -> Result<Self, TierError> {
        if !(HUB_UNITS_MIN..=HUB_UNITS_MAX).contains(&units) {
            return Err(TierError::Units { units });
        }
        if edition == Edition::F1 && units > 1 {
            return Err(TierError::FreeUnits(units));
        }
        Ok(Self { edition, units })
    }

    /// How many jobs may be queued, scheduled or running at once.
    ///
    /// Source: behaviour.md R-G35, H.2 — documented.
    #[must_use]
    pub fn active_jobs(self) -> usize {
        match self.edition {
            Edition::F1 | Edition::S1 => 1,
            Edition::S2 => 5,
            Edition::S3 => 10,
        }
    }

    /// How many devices all jobs together may begin with in one second.
    ///
    /// Source: behaviour.md R-G35, H.2 — documented.
    #[must_use]
    pub fn job_devices_per_second(self) -> u32 {
        match self.edition {
            Edition::F1 | Edition::S1 => 10,
            Edition::S2 => self.units.max(10),
            Edition::S3 => 50 * self.units,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} units", self.edition.name(), self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G35.
    #[test]
    fn jobs_are_limited_by_edition_and_units() {
        // edition, units, active jobs, devices in a second
        let table = [
            ("F1", 1, Some((1, 10))),
            ("S1", 1, Some((1, 10))),
            ("s1", 200, Some((1, 10))),
            ("S2", 1, Some((5, 10))),
            ("S2", 11, Some((5, 11))),
            ("S3", 1, Some((10, 50))),
            ("S3", 10, Some((10, 500))),
            ("S1", 0, None),
            ("S1", 201, None),
            ("F1", 2, None),
            ("B1", 1, None),
            ("", 1, None),
        ];
        for (edition, units, limits) in table {
            let tier = Edition::parse(edition).and_then(|edition| Tier::new(edition, units));
            let found = tier.map(|tier| (tier.active_jobs(), tier.job_devices_per_second()));
            assert_eq!(found.ok(), limits, "{edition} {units}");
        }
    }
}
