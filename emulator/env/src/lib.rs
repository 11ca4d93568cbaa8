//! Time, chance and observation: all that the emulator and the simulator have in common.
//!
//! Nothing in the workspace reads a clock or draws a random number except through [`Env`].
//! No protocol code lives here, so the two sides cannot agree by sharing it.

pub mod clock;
pub mod entropy;
pub mod event;

pub use clock::{Clock, UnixMillis};
pub use entropy::Entropy;
pub use event::{Event, Events, Stamped};

/// The only way in for time, chance and observation.
#[derive(Clone, Debug)]
pub struct Env {
    /// What moment it is.
    pub clock: Clock,
    /// Seeded randomness, one stream per purpose.
    pub entropy: Entropy,
    /// Where everything that happens is reported.
    pub events: Events,
}

impl Env {
    /// An environment on `clock`, with all its randomness derived from `seed`.
    #[must_use]
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock: clock.clone(),
            entropy: Entropy::new(seed),
            events: Events::new(clock),
        }
    }
}
