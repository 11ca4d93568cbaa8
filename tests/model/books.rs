//! How long one device was without what it needs, in minutes.

use super::trouble::{BUDGET, WITHIN};

pub(super) struct Books {
    /// When something may go wrong.
    trouble: Option<(u32, u32)>,
    waiting_since: Option<u32>,
    lacking_since: Option<u32>,
    /// Whether it was connected with its newest leaf when last looked at.
    served: bool,
    /// Whether it was so after the last trouble.
    back: bool,
    /// The minute at which a trouble had ended for it, whatever else that minute held.
    over_at: Option<u32>,
    /// It was awake and without a session for too long.
    pub(super) waited: bool,
    /// It was awake and not back for too long after the last trouble.
    pub(super) late: bool,
}

impl Books {
    pub(super) fn new(trouble: Option<(u32, u32)>) -> Self {
        Self {
            trouble,
            waiting_since: None,
            lacking_since: None,
            served: false,
            back: false,
            over_at: None,
            waited: false,
            late: false,
        }
    }

    /// How the device is from the minute `now` on; `newest` says whether its session is by the
    /// newest leaf it holds.
    pub(super) fn note(&mut self, now: u32, awake: bool, connected: bool, newest: bool) {
        if let Some(since) = self.waiting_since {
            self.waited |= self
                .counted(since, now)
                .into_iter()
                .any(|part| part > BUDGET);
        }
        let waiting = awake && !connected;
        self.waiting_since = self
            .waiting_since
            .filter(|_| waiting)
            .or(waiting.then_some(now));

        if let Some((_, calm)) = self.trouble.filter(|(_, calm)| now > *calm) {
            self.back |= self.served;
            let lacking = self.lacking_since.filter(|_| !self.back);
            self.late |= lacking.is_some_and(|since| now - since.max(calm) > WITHIN);
            self.back |= newest;
        } else if self.over_at == Some(now) && self.is_last(now) {
            self.back |= newest;
        }
        self.served = newest;
        let lacking = awake && !newest;
        self.lacking_since = self
            .lacking_since
            .filter(|_| lacking)
            .or(lacking.then_some(now));
    }

    /// A trouble is over for it within the minute `now`: what it does from here on, it does after.
    pub(super) fn is_over(&mut self, now: u32) {
        self.over_at = Some(now);
    }

    /// Whether no trouble ends after the one that ends about the minute `now`: they end at
    /// different hours.
    fn is_last(&self, now: u32) -> bool {
        self.trouble.is_some_and(|(_, calm)| calm < now + 60)
    }

    /// The parts of a wait for which nothing that goes wrong on purpose can be blamed.
    fn counted(&self, from: u32, until: u32) -> [u32; 2] {
        match self.trouble {
            None => [until - from, 0],
            Some((begins, calm)) => [
                until.min(begins).saturating_sub(from),
                until.saturating_sub(from.max(calm + WITHIN)),
            ],
        }
    }
}
