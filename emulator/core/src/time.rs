//! Moments and spans as the rules see them: whole Unix seconds.

use std::fmt;

/// A moment, in seconds since 1970-01-01T00:00:00Z. May be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The moment `seconds` later (earlier if negative); saturates at the ends of `i64`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The life of a certificate. Both end seconds belong to it (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    /// First second at which the certificate holds.
    pub not_before: UnixTime,
    /// Last second at which the certificate holds.
    pub not_after: UnixTime,
}

impl Validity {
    /// Whether `now` lies within, ends included.
    #[must_use]
    pub fn holds_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_end_seconds_belong_to_a_validity() {
        let life = Validity {
            not_before: UnixTime(10),
            not_after: UnixTime(20),
        };
        let table = [(9, false), (10, true), (15, true), (20, true), (21, false)];
        for (now, holds) in table {
            assert_eq!(life.holds_at(UnixTime(now)), holds, "at {now}");
        }
    }
}
