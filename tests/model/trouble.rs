//! What goes wrong on purpose in a procedure, in words of which a model can foretell the outcome.
//!
//! Moments of faults are the seed's; so every fault lies around a moment of the model in such a
//! way that what counts does not hang on its exact moment, and is over long before the next one.

use super::procedure::{Hour, STEPS};

/// Hours at which something may go wrong: with a step, and between two.
pub(super) const SITES: [Hour; 10] = [
    60 * 24 + 1,
    60 * 24 + 2,
    60 * 24 + 3,
    60 * 24 + 4,
    60 * 24 + 6,
    60 * 24 + 7,
    60 * 24 + 8,
    60 * 24 + 9,
    80 * 24 + 2,
    80 * 24 + 4,
];
/// Minutes within which everybody has to be back after the last fault.
pub(super) const WITHIN: u32 = 75;
/// Longest wait for a session, in minutes.
pub(super) const BUDGET: u32 = 90;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No power at the moment itself, and back soon after.
    Power,
    /// Connections are cut before and after it.
    Cuts,
    /// Nothing reaches the device for some minutes.
    Silence,
    /// Everything reaches it late.
    Late,
    /// DPS answers some requests, or none, with this status, until a later site.
    Dps { status: u32, all: bool, until: Hour },
    /// The hub ends all sessions and is back within a minute.
    Restart,
    /// It is away for so long that devices doubt where they belong.
    LongRestart,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) site: Hour,
    /// Whether it meets every other device only.
    pub(super) half: bool,
}

impl Trouble {
    pub(super) fn ends_at(&self) -> Hour {
        match self.kind {
            Kind::Dps { until, .. } => until,
            _ => self.site,
        }
    }

    /// In seconds from the start of the run.
    fn window(&self) -> (u32, u32) {
        let (before, after) = match self.kind {
            Kind::Silence => (300, 300),
            Kind::Restart => (30, 30),
            // More than half an hour: the longest that ten attempts can take.
            Kind::LongRestart => (1800, 600),
            _ => (600, 600),
        };
        (self.site * 3600 - before, self.ends_at() * 3600 + after)
    }

    /// In minutes from the start of the run, outwards.
    pub(super) fn minutes(&self) -> (u32, u32) {
        let (from, until) = self.window();
        (from / 60, until.div_ceil(60))
    }

    /// Whether it happens to devices, each on its own.
    pub(super) fn is_of_devices(&self) -> bool {
        matches!(
            self.kind,
            Kind::Power | Kind::Cuts | Kind::Silence | Kind::Late
        )
    }

    /// A long absence with a step in it would leave open how often devices asked DPS meanwhile.
    pub(super) fn is_clear(&self) -> bool {
        self.kind != Kind::LongRestart || !STEPS.contains(&self.site)
    }

    pub(super) fn to_toml(self) -> String {
        let (from, until) = self.window();
        let share = if self.half { "1/2" } else { "1/1" };
        let begin = |kind: &str| format!("[[fault]]\nkind = \"{kind}\"\nfrom = \"{from}s\"\n");
        let end = format!("until = \"{until}s\"\n");
        let met = format!("{end}share = \"{share}\"\n");
        match self.kind {
            Kind::Power => begin("power-loss") + &met + "for = \"15m\"\n",
            // At most six minutes apart, so that one falls on either side of the moment.
            Kind::Cuts => begin("drop-connections") + &met + "every = \"3m\"\n",
            Kind::Silence => begin("lose-replies") + &met,
            Kind::Late => begin("delay-replies") + &met + "by = \"5s\"\n",
            Kind::Dps { status, all, .. } => {
                let share = if all { "1/1" } else { "1/2" };
                begin("dps-errors") + &end + &format!("share = \"{share}\"\nstatus = {status}\n")
            }
            Kind::Restart | Kind::LongRestart => {
                begin("hub-restart") + &format!("for = \"{}s\"\n", until - from)
            }
        }
    }
}
