//! A limit that many share (R-H1).

use std::sync::{Mutex, PoisonError};

use linarite_core::throttle::{Bucket, RateLimit, Throttled};
use linarite_env::UnixMillis;

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
