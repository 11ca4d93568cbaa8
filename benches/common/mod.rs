//! What the bench binaries share: a stage to measure on, and a way to measure ratios.

// Each binary uses its own part of these modules.
#![allow(
    dead_code,
    reason = "compiled into several binaries, none of which uses all of it"
)]

pub(crate) mod bare;
pub(crate) mod client;
pub(crate) mod cost;
pub(crate) mod process;
pub(crate) mod ratio;
pub(crate) mod stage;
