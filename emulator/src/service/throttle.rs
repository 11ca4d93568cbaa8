//! A limit that many share (R-H1).

use std::sync::{Mutex, PoisonError};

use fastrand::Rng;
use linarite_core::throttle::{Bucket, RateLimit, Throttled};
use linarite_env::{Entropy, UnixMillis};

/// A limit, if there is one, and what is left of it.
pub(crate) struct Meter {
    limit: Option<RateLimit>,
    bucket: Mutex<Bucket>,
}

impl Meter {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let bucket = Mutex::default();
        Self { limit, bucket }
    }

    /// Takes one.
    ///
    /// # Errors
    /// If nothing is left.
    pub(crate) fn take(&self, now: UnixMillis) -> Result<(), Throttled> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(limit, now.0)
    }
}

/// Tells who is refused in one moment to come back in different ones (R-H1).
pub(crate) struct Spread {
    /// The most that is added, in seconds.
    jitter: u32,
    rng: Mutex<Rng>,
}

impl Spread {
    pub(crate) fn new(jitter: u32, entropy: &Entropy) -> Self {
        let rng = Mutex::new(entropy.stream("retry-after", ""));
        Self { jitter, rng }
    }

    pub(crate) fn over(&self, throttled: Throttled) -> Throttled {
        throttled.spread(self.jitter, |most| {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.u32(0..=most)
        })
    }
}
