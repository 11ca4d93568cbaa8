//! How many messages a hub takes in a day, of everything that Azure charges for as one.

use crate::hub::tier::{Edition, Metered, Tier};

/// Milliseconds of a day; quotas begin anew with each day of UTC.
const DAY_MS: i64 = 86_400_000;

/// Bytes that are charged as one message on hubs that are paid for.
pub const METER_BYTES: usize = 4_096;

/// Bytes that are charged as one message on free hubs.
const FREE_METER_BYTES: usize = 512;

/// What a hub may take in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyQuota {
    /// How many messages.
    pub messages: u64,
    /// Bytes that count as one of them.
    pub meter_bytes: usize,
}

/// Which way something goes that may be charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the hub, as a message or a request.
    Sent,
    /// From it, as an answer.
    Given,
}

/// Whether that counts as messages.
///
/// Source: behaviour.md R-H7, and Azure's page on what is charged — documented.
#[must_use]
pub fn is_charged(metered: Metered, way: Way) -> bool {
    match metered {
        Metered::RegistryOperations | Metered::Connections => false,
        Metered::DeviceToCloud
        | Metered::CloudToDevice
        | Metered::TwinUpdates
        | Metered::JobOperations => way == Way::Sent,
        Metered::TwinReads | Metered::Queries => way == Way::Given,
        Metered::MethodCalls => true,
    }
}

/// What was taken on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Days since 1970-01-01.
    day: i64,
    messages: u64,
}

/// Nothing more is taken before the next day of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hub has taken {spent} of {max} messages and takes no more until the next UTC day; a \
     higher tier or more units have a larger quota"
)]
pub struct QuotaExceeded {
    /// Messages that it may take.
    pub max: u64,
    /// Messages that it took.
    pub spent: u64,
}

impl DailyQuota {
    /// What a hub of that tier may take.
    ///
    /// Source: Azure's list of tiers and its page on what is charged — documented.
    #[must_use]
    pub fn of_tier(tier: Tier) -> Self {
        let (messages, meter_bytes) = match tier.edition() {
            Edition::F1 => (8_000, FREE_METER_BYTES),
            Edition::S1 => (400_000, METER_BYTES),
            Edition::S2 => (6_000_000, METER_BYTES),
            Edition::S3 => (300_000_000, METER_BYTES),
        };
        Self {
            messages: messages * u64::from(tier.units()),
            meter_bytes,
        }
    }

    /// How many messages so many bytes are charged as; nothing at all is one as well.
    fn meters(self, bytes: usize) -> u64 {
        let meters = bytes.div_ceil(self.meter_bytes.max(1)).max(1);
        u64::try_from(meters).unwrap_or(u64::MAX)
    }
}

impl Spent {
    /// Whether anything may still be taken at `now_ms`, in Unix milliseconds.
    ///
    /// Errors:  [`QuotaExceeded`], until the next day of UTC.
    /// Source:  behaviour.md R-H7 — documented; that the message with which the quota is reached
    ///          is still taken is assumed, as Azure was seen to count past its limit.
    pub fn check(&self, quota: DailyQuota, now_ms: i64) -> Result<(), QuotaExceeded> {
        let today = self.day == now_ms.div_euclid(DAY_MS);
        if today && self.messages >= quota.messages {
            let (max, spent) = (quota.messages, self.messages);
            return Err(QuotaExceeded { max, spent });
        }
        Ok(())
    }

    /// Takes `bytes` at `now_ms`.
    ///
    /// Source:  behaviour.md R-H7 — documented.
    pub fn charge(&mut self, quota: DailyQuota, bytes: usize, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        if self.day != day {
            *self = Self { day, messages: 0 };
        }
        self.messages = self.messages.saturating_add(quota.meters(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(edition: Edition, units: u32) -> DailyQuota {
        DailyQuota::of_tier(Tier::new(edition, units).unwrap())
    }

    /// R-H7.
    #[test]
    fn a_quota_is_of_its_tier_and_units() {
        let table = [
            (Edition::F1, 1, 8_000, 512),
            (Edition::S1, 1, 400_000, 4_096),
            (Edition::S1, 3, 1_200_000, 4_096),
            (Edition::S2, 2, 12_000_000, 4_096),
            (Edition::S3, 200, 60_000_000_000, 4_096),
        ];
        for (edition, units, messages, meter_bytes) in table {
            let expected = DailyQuota {
                messages,
                meter_bytes,
            };
            assert_eq!(quota(edition, units), expected, "{edition:?} {units}");
        }
    }

    /// R-H7.
    #[test]
    fn bytes_are_charged_in_blocks_of_which_a_message_has_at_least_one() {
        let (small, large) = (quota(Edition::F1, 1), quota(Edition::S1, 1));
        for (bytes, of_small, of_large) in [
            (0, 1, 1),
            (1, 1, 1),
            (512, 1, 1),
            (513, 2, 1),
            (4_096, 8, 1),
            (4_097, 9, 2),
            (256 * 1024, 512, 64),
        ] {
            let found = (small.meters(bytes), large.meters(bytes));
            assert_eq!(found, (of_small, of_large), "{bytes}");
        }
    }

    /// R-H7.
    #[test]
    fn messages_are_charged_whichever_way_they_carry_something() {
        for (metered, sent, given) in [
            (Metered::RegistryOperations, false, false),
            (Metered::Connections, false, false),
            (Metered::DeviceToCloud, true, false),
            (Metered::CloudToDevice, true, false),
            (Metered::MethodCalls, true, true),
            (Metered::TwinReads, false, true),
            (Metered::TwinUpdates, true, false),
            (Metered::Queries, false, true),
            (Metered::JobOperations, true, false),
        ] {
            let found = [Way::Sent, Way::Given].map(|way| is_charged(metered, way));
            assert_eq!(found, [sent, given], "{metered:?}");
        }
    }

    /// R-H7.
    #[test]
    fn a_quota_once_spent_comes_back_with_the_next_day_of_utc() {
        let quota = DailyQuota {
            messages: 3,
            meter_bytes: 4_096,
        };
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        let mut spent = Spent::default();
        assert_eq!(spent.check(quota, noon), Ok(()));
        spent.charge(quota, 0, noon);
        spent.charge(quota, 0, noon);
        assert_eq!(spent.check(quota, noon), Ok(()));
        // The one with which it is reached may be a large one.
        spent.charge(quota, 10_000, noon);
        let exceeded = QuotaExceeded { max: 3, spent: 5 };
        let midnight = 20_001 * DAY_MS;
        for (now, expected) in [
            (noon, Err(exceeded)),
            (midnight - 1, Err(exceeded)),
            (midnight, Ok(())),
        ] {
            assert_eq!(spent.check(quota, now), expected, "{now}");
        }
        spent.charge(quota, 0, midnight);
        assert_eq!((spent.day, spent.messages), (20_001, 1));
    }
}
