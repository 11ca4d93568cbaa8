//! The edition and size of a hub: what it allows of jobs, and how often it may be asked for what
//! (behaviour.md H.2).

use std::fmt;
use std::num::NonZeroU32;

use crate::limits::{HUB_UNITS_MAX, HUB_UNITS_MIN};
use crate::throttle::RateLimit;

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

/// What a hub counts, each kind by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metered {
    /// Creating, reading, changing and deleting identities.
    RegistryOperations,
    /// Connections that devices open.
    Connections,
    /// Queries for twins.
    Queries,
    /// Messages that devices send.
    DeviceToCloud,
    /// Messages sent to devices.
    CloudToDevice,
    /// Calls of direct methods, each counted as one of 4 KB.
    MethodCalls,
    /// Reading twins, by devices and back ends.
    TwinReads,
    /// Changing twins, by devices and back ends.
    TwinUpdates,
    /// Creating, reading, listing and cancelling jobs.
    JobOperations,
}

impl Metered {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RegistryOperations,
        Self::Connections,
        Self::Queries,
        Self::DeviceToCloud,
        Self::CloudToDevice,
        Self::MethodCalls,
        Self::TwinReads,
        Self::TwinUpdates,
        Self::JobOperations,
    ];

    /// What they are called where somebody is told of too many.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegistryOperations => "registry operations",
            Self::Connections => "new connections",
            Self::Queries => "queries",
            Self::DeviceToCloud => "messages of devices",
            Self::CloudToDevice => "messages to devices",
            Self::MethodCalls => "method calls",
            Self::TwinReads => "twin reads",
            Self::TwinUpdates => "twin updates",
            Self::JobOperations => "job operations",
        }
    }

    /// So many of them in the time that Azure's table gives its figure for.
    ///
    /// Source: behaviour.md H.2 — documented.
    #[must_use]
    pub fn at_most(self, count: NonZeroU32) -> RateLimit {
        match self {
            Self::RegistryOperations
            | Self::Queries
            | Self::CloudToDevice
            | Self::JobOperations => RateLimit::per_minute(count),
            Self::Connections
            | Self::DeviceToCloud
            | Self::MethodCalls
            | Self::TwinReads
            | Self::TwinUpdates => RateLimit::per_second(count),
        }
    }
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

    /// The edition.
    #[must_use]
    pub const fn edition(self) -> Edition {
        self.edition
    }

    /// How many units there are.
    #[must_use]
    pub const fn units(self) -> u32 {
        self.units
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

impl Tier {
    /// How often a hub of this tier may be asked for that.
    ///
    /// Source: behaviour.md H.2 — documented; a method call is taken for one meter of 4 KB.
    #[must_use]
    pub fn limit(self, metered: Metered) -> RateLimit {
        let units = self.units;
        // By edition: F1 and S1, S2, S3.
        let by_edition = |small, medium, large| match self.edition {
            Edition::F1 | Edition::S1 => small,
            Edition::S2 => medium,
            Edition::S3 => large,
        };
        let count = match metered {
            Metered::RegistryOperations | Metered::CloudToDevice | Metered::JobOperations => {
                by_edition(100 * units, 100 * units, 5_000 * units)
            }
            Metered::Connections | Metered::DeviceToCloud => {
                by_edition((12 * units).max(100), 120 * units, 6_000 * units)
            }
            Metered::Queries => by_edition(20 * units, 20 * units, 1_000 * units),
            // 160 KB, 480 KB and 24 MB a second and unit, by meters of 4 KB.
            Metered::MethodCalls => by_edition(40 * units, 120 * units, 6_144 * units),
            Metered::TwinReads => by_edition(100, (10 * units).max(100), 500 * units),
            Metered::TwinUpdates => by_edition(50, (5 * units).max(50), 250 * units),
        };
        metered.at_most(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
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

    /// H.2.
    #[test]
    fn throttles_are_those_of_azures_table() {
        let count = |edition, units, metered| {
            let limit = Tier::new(edition, units).unwrap().limit(metered);
            (limit.count.get(), limit.window_ms.get() / 1000)
        };
        // edition, units, what, how many, within how many seconds
        let table = [
            (Edition::S1, 1, Metered::RegistryOperations, 100, 60),
            (Edition::S2, 3, Metered::RegistryOperations, 300, 60),
            (Edition::S3, 2, Metered::RegistryOperations, 10_000, 60),
            (Edition::F1, 1, Metered::Connections, 100, 1),
            (Edition::S1, 8, Metered::Connections, 100, 1),
            (Edition::S1, 9, Metered::Connections, 108, 1),
            (Edition::S2, 1, Metered::Connections, 120, 1),
            (Edition::S3, 1, Metered::Connections, 6_000, 1),
            (Edition::S1, 10, Metered::DeviceToCloud, 120, 1),
            (Edition::S3, 1, Metered::DeviceToCloud, 6_000, 1),
            (Edition::S1, 2, Metered::Queries, 40, 60),
            (Edition::S3, 1, Metered::Queries, 1_000, 60),
            (Edition::S1, 1, Metered::CloudToDevice, 100, 60),
            (Edition::S1, 1, Metered::MethodCalls, 40, 1),
            (Edition::S2, 1, Metered::MethodCalls, 120, 1),
            (Edition::S3, 1, Metered::MethodCalls, 6_144, 1),
            (Edition::S1, 200, Metered::TwinReads, 100, 1),
            (Edition::S2, 11, Metered::TwinReads, 110, 1),
            (Edition::S3, 1, Metered::TwinUpdates, 250, 1),
            (Edition::S2, 1, Metered::TwinUpdates, 50, 1),
            (Edition::S3, 1, Metered::JobOperations, 5_000, 60),
        ];
        for (edition, units, metered, number, seconds) in table {
            let found = count(edition, units, metered);
            assert_eq!(found, (number, seconds), "{edition:?} {units} {metered:?}");
        }
    }
}
