//! After the last fault: whether everybody is back, and how soon.

use linarite_env::UnixMillis;

/// The time of the faults on the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubled {
    /// When the first fault begins.
    pub from: UnixMillis,
    /// When the last one is over.
    pub calm: UnixMillis,
    /// How long a device may take after that to be back, in milliseconds.
    pub within_ms: i64,
}

impl Troubled {
    /// When everybody has to be back.
    fn end(&self) -> i64 {
        self.calm.0.saturating_add(self.within_ms)
    }

    /// Whether `at` lies in the time in which something may go wrong: until everybody has to be
    /// back.
    pub(super) fn lasts(&self, at: i64) -> bool {
        self.from.0 <= at && at < self.end()
    }

    /// What of a time lies before and after the trouble.
    pub(super) fn outside(&self, from: i64, until: i64) -> [(i64, i64); 2] {
        [
            (from, until.min(self.from.0)),
            (from.max(self.end()), until),
        ]
    }
}

/// One device's way back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovering {
    /// Since when it has been awake and without a session by its newest certificate.
    lacking_since: Option<i64>,
    /// Whether it had such a session when last looked at.
    served: bool,
    /// How long it took, once it is back.
    pub(super) took: Option<i64>,
    /// When it was awake and not back for longer than it may.
    pub(super) late: Option<(i64, i64)>,
}

impl Recovering {
    /// Notes how the device is from `now` on: whether it is awake, and whether it has a session
    /// by its newest certificate. Once it is back, later waits are no matter of the faults.
    pub(super) fn settle(&mut self, now: i64, (awake, served): (bool, bool), troubled: &Troubled) {
        if now > troubled.calm.0 && self.took.is_none() {
            if self.served {
                self.took = Some(0);
            } else if let Some(since) = self.lacking_since {
                let since = since.max(troubled.calm.0);
                if now - since > troubled.within_ms {
                    // The first time counts, up to its end.
                    let late = self.late.get_or_insert((since, now));
                    if late.0 == since {
                        late.1 = now;
                    }
                }
                if served {
                    self.took = Some(now - since);
                }
            }
        }
        self.served = served;
        self.lacking_since = match (awake && !served, self.lacking_since) {
            (true, since) => since.or(Some(now)),
            (false, _) => None,
        };
    }

    /// Looks a last time.
    pub(super) fn finish(&mut self, end: i64, troubled: &Troubled) {
        let lacking = self.lacking_since.is_some();
        self.settle(end, (lacking, self.served), troubled);
    }
}
