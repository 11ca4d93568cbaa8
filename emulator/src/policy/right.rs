//! Rights, as the management API spells them (R-F9, ENDPOINTS 5).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a policy may let its holder do. Azure's order, which is the order of the text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Hub: read identities.
    RegistryRead,
    /// Hub: write identities.
    RegistryWrite,
    /// Hub: twins and direct methods.
    ServiceConnect,
    /// DPS: change the configuration of the service.
    ServiceConfig,
    /// DPS: read enrollments and groups.
    EnrollmentRead,
    /// DPS: write enrollments and groups.
    EnrollmentWrite,
    /// Both: speak as a device.
    DeviceConnect,
    /// DPS: read registration records.
    RegistrationStatusRead,
    /// DPS: delete registration records.
    RegistrationStatusWrite,
}

impl Right {
    /// Those a provisioning service knows.
    pub const DPS: [Self; 6] = [
        Self::ServiceConfig,
        Self::EnrollmentRead,
        Self::EnrollmentWrite,
        Self::DeviceConnect,
        Self::RegistrationStatusRead,
        Self::RegistrationStatusWrite,
    ];

    /// Those a hub knows.
    pub const HUB: [Self; 4] = [
        Self::RegistryRead,
        Self::RegistryWrite,
        Self::ServiceConnect,
        Self::DeviceConnect,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::ServiceConfig => "ServiceConfig",
            Self::EnrollmentRead => "EnrollmentRead",
            Self::EnrollmentWrite => "EnrollmentWrite",
            Self::DeviceConnect => "DeviceConnect",
            Self::RegistrationStatusRead => "RegistrationStatusRead",
            Self::RegistrationStatusWrite => "RegistrationStatusWrite",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no list of rights of a provisioning service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no right; expected some of {all}, joined by commas", all = Rights::of(&Right::DPS))]
pub struct UnknownRight(pub String);

/// A set of rights. Its text form joins them with commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights(BTreeSet<Right>);

impl Rights {
    /// These rights.
    #[must_use]
    pub fn of(rights: &[Right]) -> Self {
        Self(rights.iter().copied().collect())
    }

    /// Whether `right` is among them. No right includes another.
    #[must_use]
    pub fn hold(&self, right: Right) -> bool {
        self.0.contains(&right)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|right| right.name()).collect();
        f.write_str(&names.join(", "))
    }
}

impl FromStr for Rights {
    type Err = UnknownRight;

    /// Reads the rights of a provisioning service; at least one.
    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        let right = |text: &str| {
            let known = |right: &Right| right.name().eq_ignore_ascii_case(text.trim());
            let found = Right::DPS.into_iter().find(known);
            found.ok_or_else(|| UnknownRight(text.trim().to_owned()))
        };
        text.split(',')
            .map(right)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_they_are_written() {
        let all = Rights::of(&Right::DPS);
        assert_eq!(all.to_string().parse(), Ok(all));
        let table = [
            (
                "EnrollmentWrite,EnrollmentRead",
                Ok("EnrollmentRead, EnrollmentWrite"),
            ),
            (" enrollmentread ", Ok("EnrollmentRead")),
            ("", Err("")),
            ("EnrollmentRead,", Err("")),
            ("RegistryRead", Err("RegistryRead")),
        ];
        for (text, expected) in table {
            let read = text.parse::<Rights>();
            let read = read.map(|rights| rights.to_string());
            let expected = expected.map(str::to_owned);
            assert_eq!(
                read,
                expected.map_err(|text| UnknownRight(text.to_owned())),
                "{text}"
            );
        }
    }
}
