//! What registering again does to the assignment and to the device's data.

use super::registration::{DataAction, PastAssignment};
use crate::id::HubHostName;
use crate::settings::Settings;

/// The two switches of an entry, as they are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReprovisionPolicy {
    /// Whether the hub may change.
    pub update_hub_assignment: bool,
    /// Whether the device's data move with it, rather than start afresh.
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    fn default() -> Self {
        Self {
            update_hub_assignment: true,
            migrate_device_data: true,
        }
    }
}

/// The device API a device speaks, as far as it bears on the hub it gets (R-C7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceApi {
    /// A version that knows reprovisioning.
    #[default]
    Native,
    /// 2018-04-01 or older: a device of that time counts on staying where it is.
    Sticky,
}

/// The last version of the device API before reprovisioning (R-C7).
const STICKY_UNTIL: &str = "2018-04-01";

impl DeviceApi {
    /// The API of that version; one that is absent or no date is a native one.
    ///
    /// Source:  behaviour.md R-C7.
    #[must_use]
    pub fn of_version(version: Option<&str>) -> Self {
        let date = version.and_then(|version| version.get(..STICKY_UNTIL.len()));
        match date {
            Some(date) if is_date(date) && date <= STICKY_UNTIL => Self::Sticky,
            _ => Self::Native,
        }
    }
}

/// Whether a text has the form of a date, so that dates compare as texts do.
fn is_date(text: &str) -> bool {
    let pattern = STICKY_UNTIL.bytes();
    text.bytes().zip(pattern).all(|(byte, pattern)| {
        byte.is_ascii_digit() == pattern.is_ascii_digit() && (pattern != b'-' || byte == b'-')
    })
}

/// The policy in force: the entry's own, or what its absence means for this device.
///
/// Source:  behaviour.md R-C7.
#[must_use]
pub fn in_force(policy: Option<ReprovisionPolicy>, api: DeviceApi) -> ReprovisionPolicy {
    match (policy, api) {
        (Some(policy), _) => policy,
        (None, DeviceApi::Native) => ReprovisionPolicy::default(),
        (None, DeviceApi::Sticky) => ReprovisionPolicy {
            update_hub_assignment: false,
            migrate_device_data: false,
        },
    }
}

/// How an assignment came about (R-B5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationSubstatus {
    /// Data moved along to another hub.
    DeviceDataMigrated,
    /// Data start afresh.
    DeviceDataReset,
    /// First assignment, or one that may never change.
    InitialAssignment,
    /// The hub it already had.
    ReprovisionedToInitialAssignment,
}

impl RegistrationSubstatus {
    /// Its name, as the service APIs spell it (R-B5).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceDataMigrated => "deviceDataMigrated",
            Self::DeviceDataReset => "deviceDataReset",
            Self::InitialAssignment => "initialAssignment",
            Self::ReprovisionedToInitialAssignment => "reprovisionedToInitialAssignment",
        }
    }
}

/// Whether a hub must be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement<'a> {
    /// No past assignment: any hub.
    First,
    /// A past one that may change.
    May(&'a PastAssignment),
    /// A past one that may not.
    Stay(&'a PastAssignment),
}

/// Whether the hub may change. Moving data means nothing if it may not.
///
/// Source:  behaviour.md R-C1, R-C6.
#[must_use]
pub fn judge(policy: ReprovisionPolicy, past: Option<&PastAssignment>) -> Movement<'_> {
    match past {
        None => Movement::First,
        Some(past) if policy.update_hub_assignment => Movement::May(past),
        Some(past) => Movement::Stay(past),
    }
}

/// What happens to the device's data, once the hub is known.
///
/// From a hub that is no longer linked nothing can be fetched, and nothing deleted there: the
/// data start afresh (assumed; no document says what becomes of them).
///
/// Takes:   `linked` tells whether a hub is linked.
/// Source:  behaviour.md R-C2 to R-C6, R-B5, R-B14, I-5.
#[must_use]
pub fn settle(
    policy: ReprovisionPolicy,
    past: Option<&PastAssignment>,
    chosen: &HubHostName,
    linked: impl Fn(&HubHostName) -> bool,
    settings: &Settings,
) -> (DataAction, RegistrationSubstatus) {
    use RegistrationSubstatus as Substatus;
    let Some(past) = past else {
        return (DataAction::Create, Substatus::InitialAssignment);
    };
    let same_hub = past.hub == *chosen;
    match (
        policy.update_hub_assignment,
        policy.migrate_device_data,
        same_hub,
    ) {
        (false, _, _) => (DataAction::KeepOnSameHub, Substatus::InitialAssignment),
        (true, true, true) => (
            DataAction::KeepOnSameHub,
            Substatus::ReprovisionedToInitialAssignment,
        ),
        (true, _, false) if !linked(&past.hub) => (DataAction::Create, Substatus::DeviceDataReset),
        (true, true, false) => (
            DataAction::MigrateFrom(past.hub.clone()),
            Substatus::DeviceDataMigrated,
        ),
        (true, false, true) if settings.reset_on_same_hub => {
            (DataAction::ResetOnSameHub, Substatus::DeviceDataReset)
        }
        (true, false, true) => (
            DataAction::KeepOnSameHub,
            Substatus::ReprovisionedToInitialAssignment,
        ),
        (true, false, false) => (
            DataAction::ResetFrom(past.hub.clone()),
            Substatus::DeviceDataReset,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeviceId;

    /// R-B5, R-C2 to R-C6, I-5.
    #[test]
    fn what_registering_again_does_follows_the_policy() {
        use DataAction::{Create, KeepOnSameHub, MigrateFrom, ResetFrom, ResetOnSameHub};
        use RegistrationSubstatus as Sub;
        let hub = |name| HubHostName::parse(name).unwrap();
        let kept = Sub::ReprovisionedToInitialAssignment;
        // update, migrate, past hub, chosen hub, reset on the same hub, action, substatus
        let table = [
            (true, true, None, "a", true, Create, Sub::InitialAssignment),
            (
                false,
                false,
                None,
                "a",
                true,
                Create,
                Sub::InitialAssignment,
            ),
            (true, true, Some("a"), "a", true, KeepOnSameHub, kept),
            (true, true, Some("a"), "A", true, KeepOnSameHub, kept),
            (
                true,
                true,
                Some("a"),
                "b",
                true,
                MigrateFrom(hub("a")),
                Sub::DeviceDataMigrated,
            ),
            (
                true,
                false,
                Some("a"),
                "b",
                true,
                ResetFrom(hub("a")),
                Sub::DeviceDataReset,
            ),
            (
                true,
                false,
                Some("a"),
                "a",
                true,
                ResetOnSameHub,
                Sub::DeviceDataReset,
            ),
            (true, false, Some("a"), "a", false, KeepOnSameHub, kept),
            (
                false,
                false,
                Some("a"),
                "a",
                true,
                KeepOnSameHub,
                Sub::InitialAssignment,
            ),
            (
                false,
                true,
                Some("a"),
                "a",
                true,
                KeepOnSameHub,
                Sub::InitialAssignment,
            ),
        ];
        for (update, migrate, past, chosen, reset_on_same_hub, action, substatus) in table {
            let policy = ReprovisionPolicy {
                update_hub_assignment: update,
                migrate_device_data: migrate,
            };
            let past = past.map(|name| PastAssignment {
                hub: hub(name),
                device_id: DeviceId::parse("d").unwrap(),
            });
            let settings = Settings {
                reset_on_same_hub,
                ..Settings::default()
            };
            let (past, chosen) = (past.as_ref(), hub(chosen));
            let settled = settle(policy, past, &chosen, |_| true, &settings);
            assert_eq!(
                settled,
                (action, substatus),
                "{policy:?} {past:?} -> {chosen}"
            );
        }
    }

    /// R-B14, R-C2, R-C3.
    #[test]
    fn from_a_hub_that_is_not_linked_nothing_moves() {
        let hub = |name| HubHostName::parse(name).unwrap();
        let past = PastAssignment {
            hub: hub("gone"),
            device_id: DeviceId::parse("d").unwrap(),
        };
        for migrate_device_data in [true, false] {
            let policy = ReprovisionPolicy {
                update_hub_assignment: true,
                migrate_device_data,
            };
            let linked = |name: &HubHostName| *name != hub("gone");
            let settings = Settings::default();
            let settled = settle(policy, Some(&past), &hub("a"), linked, &settings);
            let expected = (DataAction::Create, RegistrationSubstatus::DeviceDataReset);
            assert_eq!(settled, expected);
        }
    }

    /// R-C7: only an old API and an entry without a policy together are sticky.
    #[test]
    fn an_old_api_sticks_to_its_hub_unless_the_entry_has_a_policy() {
        let versions = [
            (Some("2018-04-01"), DeviceApi::Sticky),
            (Some("2017-11-15"), DeviceApi::Sticky),
            (Some("2017-08-31-preview"), DeviceApi::Sticky),
            (Some("2018-04-02"), DeviceApi::Native),
            (Some("2018-09-01-preview"), DeviceApi::Native),
            (Some("2019-03-31"), DeviceApi::Native),
            (Some("1.0"), DeviceApi::Native),
            (Some("0000/00/00"), DeviceApi::Native),
            (Some("2018x04x01"), DeviceApi::Native),
            (Some("20180401"), DeviceApi::Native),
            (Some(""), DeviceApi::Native),
            (None, DeviceApi::Native),
        ];
        for (version, expected) in versions {
            assert_eq!(DeviceApi::of_version(version), expected, "{version:?}");
        }
        let reset = ReprovisionPolicy {
            update_hub_assignment: true,
            migrate_device_data: false,
        };
        let table = [
            (None, DeviceApi::Native, (true, true)),
            (None, DeviceApi::Sticky, (false, false)),
            (Some(reset), DeviceApi::Native, (true, false)),
            (Some(reset), DeviceApi::Sticky, (true, false)),
        ];
        for (policy, api, expected) in table {
            let policy = in_force(policy, api);
            let found = (policy.update_hub_assignment, policy.migrate_device_data);
            assert_eq!(found, expected, "{api:?}");
        }
    }

    /// R-C6.
    #[test]
    fn only_never_forbids_the_hub_to_change() {
        let past = PastAssignment {
            hub: HubHostName::parse("a").unwrap(),
            device_id: DeviceId::parse("d").unwrap(),
        };
        for (update, migrate) in [(true, true), (true, false), (false, true), (false, false)] {
            let policy = ReprovisionPolicy {
                update_hub_assignment: update,
                migrate_device_data: migrate,
            };
            assert_eq!(judge(policy, None), Movement::First);
            let expected = if update {
                Movement::May(&past)
            } else {
                Movement::Stay(&past)
            };
            assert_eq!(judge(policy, Some(&past)), expected);
        }
    }
}
