//! What is known beforehand of an operation that waits for its turn at a hub (R-H6).
//!
//! A device that waits for hours polls thousands of times and is told the same each time. Whoever
//! drives a million of them on a clock of his own may leave those polls out.

use std::time::Duration;

use linarite_core::id::RegistrationId;
use linarite_env::UnixMillis;

use super::{Register, parse_id};

impl Register {
    /// Notes that an operation ends in `wait`.
    pub(super) fn foresee(&self, id: &RegistrationId, operation_id: &str, wait: Duration) {
        let now = self.0.env.clock.now_ms().0;
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.0.registrations.change(id, |registration| {
            let operation = registration.operation.as_mut();
            if let Some(operation) = operation.filter(|operation| operation.id == operation_id) {
                operation.ends_at = Some(UnixMillis(now.saturating_add(wait)));
            }
        });
    }

    /// How many polls in a row are sure to be told "assigning", of a device that has just polled
    /// and does so again `every` so often. None where that is not known, or where they would
    /// change anything: where some might be put off (R-H2) or meet with trouble.
    pub(crate) fn polls_in_vain(&self, id: &str, every: Duration) -> u32 {
        let inner = &*self.0;
        let mut limit = inner.poll_limit.iter();
        if !limit.all(|limit| limit.allows_one_every(every)) || inner.faults.any() {
            return 0;
        }
        let Ok(id) = parse_id(id) else { return 0 };
        let ends_at = inner.registrations.read(&id, |registration| {
            let running = registration.operation.as_ref();
            running.filter(|running| running.ended.is_none())?.ends_at
        });
        let now = inner.env.clock.now_ms();
        ends_at
            .flatten()
            .map_or(0, |ends_at| moments_before(ends_at.since(now), every))
    }
}

/// How many multiples of `every` come before `left_ms` are over.
fn moments_before(left_ms: i64, every: Duration) -> u32 {
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let last = u64::try_from(left_ms.saturating_sub(1)).unwrap_or(0);
    u32::try_from(last.checked_div(every).unwrap_or(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_the_end_is_in_vain() {
        let table = [
            (-5, 3_000, 0),
            (0, 3_000, 0),
            (3_000, 3_000, 0),
            (3_001, 3_000, 1),
            (9_000, 3_000, 2),
            (9_001, 3_000, 3),
            (9_001, 0, 0),
        ];
        for (left_ms, every, polls) in table {
            let every = Duration::from_millis(every);
            assert_eq!(moments_before(left_ms, every), polls, "{left_ms} {every:?}");
        }
    }
}
