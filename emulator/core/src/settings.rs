//! Switches for what the public evidence about Azure leaves open.
//!
//! Every switch names the row of the behaviour document's table of ambiguities it settles.

use crate::limits;
use crate::throttle::Refusals;

/// What a disabled entry higher up the chain does to an enabled one nearer the leaf (I-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisabledPrecedence {
    /// The first entry found from the leaf upwards decides alone.
    #[default]
    FirstMatch,
    /// Any disabled entry for a certificate of the chain refuses.
    AnyInChain,
}

/// What DPS writes into the two thumbprint slots of the hub identity (I-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HubThumbprints {
    /// The presented leaf in both.
    #[default]
    PresentedBoth,
    /// The presented leaf first, the entry's other certificate (if any) second.
    PresentedThenOther,
}

/// How the emulator reads the open questions. The default is the best-evidence choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// I-1.
    pub disabled_precedence: DisabledPrecedence,
    /// I-2.
    pub hub_thumbprints: HubThumbprints,
    /// I-3: whether a verified self-signed root must be presented rather than may be left out.
    pub require_anchor_in_chain: bool,
    /// I-14: whether DPS judges validity periods.
    pub check_validity: bool,
    /// I-11: whether a registration id must begin and end with a letter or digit.
    pub strict_ids: bool,
    /// I-5: whether the reset policy resets the twin when the hub stays the same.
    pub reset_on_same_hub: bool,
    /// I-6: whether the never policy still writes the presented credentials.
    pub never_updates_credentials: bool,
    /// I-4: whether a changed credential closes a live session.
    pub drop_on_credential_change: bool,
    /// I-4: whether an expiring certificate closes a live session.
    pub drop_on_expiry: bool,
    /// I-17: whether a CA certificate that a group names may not be deleted.
    pub protect_referenced_ca: bool,
    /// R-E6: how long a session whose identity was disabled or deleted stays open, in seconds.
    pub forced_close_delay_seconds: u32,
    /// R-G11: how long a hub takes a token past its end, in seconds.
    pub sas_clock_skew_seconds: u32,
    /// R-H1: up to how many seconds a throttled registration is told to wait longer.
    pub retry_after_jitter_seconds: u32,
    /// R-H1: whether a request that is turned away for being one too many counts against the limit
    /// like any other.
    pub refused_requests_count: bool,
}

impl Settings {
    /// R-H1: what a refusal costs.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        Refusals::counted(self.refused_requests_count)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disabled_precedence: DisabledPrecedence::default(),
            hub_thumbprints: HubThumbprints::default(),
            require_anchor_in_chain: false,
            check_validity: true,
            strict_ids: false,
            reset_on_same_hub: true,
            never_updates_credentials: true,
            drop_on_credential_change: false,
            drop_on_expiry: false,
            protect_referenced_ca: false,
            forced_close_delay_seconds: 0,
            sas_clock_skew_seconds: limits::SAS_CLOCK_SKEW_SECONDS,
            retry_after_jitter_seconds: 0,
            refused_requests_count: false,
        }
    }
}
