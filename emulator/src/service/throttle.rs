//! A limit that many share (R-H1).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use linarite_core::hub::quota::{DailyQuota, QuotaExceeded, Spent, Way, is_charged};
use linarite_core::hub::tier::Metered;
use linarite_core::throttle::{Bucket, RateLimit, Refusals, Throttled};
use linarite_env::{Entropy, UnixMillis};

use super::hub::Hub;
use crate::config::HubLimits;
use crate::error::ServiceError;
use crate::limits::SHAPING_PATIENCE_MS;

/// A limit, if there is one, and what is left of it.
pub(crate) struct Meter {
    limit: Option<RateLimit>,
    refusals: Refusals,
    bucket: Mutex<Bucket>,
    /// Whether it does not hold for the time being.
    lifted: AtomicBool,
}

impl Meter {
    pub(crate) fn new(limit: Option<RateLimit>, refusals: Refusals) -> Self {
        let bucket = Mutex::default();
        Self {
            limit,
            refusals,
            bucket,
            lifted: AtomicBool::new(false),
        }
    }

    /// Has the limit not hold, nor anything count, until it is not `lifted` any more.
    pub(crate) fn lift(&self, lifted: bool) {
        self.lifted.store(lifted, Ordering::Relaxed);
    }

    /// The limit that holds now.
    fn in_force(&self) -> Option<RateLimit> {
        self.limit.filter(|_| !self.lifted.load(Ordering::Relaxed))
    }

    /// Takes one.
    ///
    /// # Errors
    /// If nothing is left.
    pub(crate) fn take(&self, now: UnixMillis) -> Result<(), Throttled> {
        let Some(limit) = self.in_force() else {
            return Ok(());
        };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(limit, self.refusals, now.0)
    }

    fn queue(&self, patience_ms: u32, now: UnixMillis) -> Result<Duration, Throttled> {
        let Some(limit) = self.in_force() else {
            return Ok(Duration::ZERO);
        };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let wait_ms = bucket.queue(limit, self.refusals, patience_ms, now.0)?;
        Ok(Duration::from_millis(u64::from(wait_ms)))
    }
}

/// What a hub counts, each kind with a limit of its own, and all messages of a day.
pub(crate) struct Meters {
    rates: [Meter; Metered::ALL.len()],
    daily: Option<DailyQuota>,
    spent: Mutex<Spent>,
    /// Whether the quota does not hold for the time being.
    lifted: AtomicBool,
}

impl Meters {
    pub(crate) fn new(limits: &HubLimits, refusals: Refusals) -> Self {
        Self {
            rates: Metered::ALL.map(|metered| Meter::new(limits.of(metered), refusals)),
            daily: limits.daily(),
            spent: Mutex::default(),
            lifted: AtomicBool::new(false),
        }
    }

    /// Has no limit hold until they are not `lifted` any more.
    pub(crate) fn lift(&self, lifted: bool) {
        self.rates.iter().for_each(|meter| meter.lift(lifted));
        self.lifted.store(lifted, Ordering::Relaxed);
    }

    /// The quota that holds now.
    fn daily_in_force(&self) -> Option<DailyQuota> {
        self.daily.filter(|_| !self.lifted.load(Ordering::Relaxed))
    }

    fn of(&self, metered: Metered) -> &Meter {
        // The kinds are numbered in the order of `ALL`.
        &self.rates[metered as usize]
    }

    /// Whether anything is limited of that kind.
    pub(crate) fn limits(&self, metered: Metered) -> bool {
        self.of(metered).limit.is_some()
    }

    /// Takes one of a kind that cannot wait (R-H5).
    ///
    /// # Errors
    /// If nothing is left.
    pub(crate) fn take(&self, metered: Metered, now: UnixMillis) -> Result<(), Throttled> {
        self.of(metered).take(now)
    }

    /// How long one of that kind has to wait for its turn (R-H4).
    ///
    /// # Errors
    /// If the queue is full.
    pub(crate) fn shape(&self, metered: Metered, now: UnixMillis) -> Result<Duration, Throttled> {
        self.of(metered).queue(SHAPING_PATIENCE_MS, now)
    }

    /// Whether any message may still be taken today (R-H7).
    fn check_daily(&self, now: UnixMillis) -> Result<(), QuotaExceeded> {
        let Some(quota) = self.daily_in_force() else {
            return Ok(());
        };
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.check(quota, now.0)
    }

    fn charge(&self, bytes: usize, now: UnixMillis) {
        if let Some(quota) = self.daily_in_force() {
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            spent.charge(quota, bytes, now.0);
        }
    }

    /// The same for DPS, which waits as long as it takes (R-H6).
    pub(crate) fn wait_of_dps(&self, now: UnixMillis) -> Duration {
        let meter = self.of(Metered::RegistryOperations);
        meter.queue(u32::MAX, now).unwrap_or(Duration::MAX)
    }
}

impl Hub {
    /// Takes one of a kind that cannot wait.
    ///
    /// # Errors
    /// 429001 if nothing is left (R-H4).
    pub(crate) fn count(&self, metered: Metered) -> Result<(), ServiceError> {
        let taken = self.meters.take(metered, self.env.clock.now_ms());
        taken.map_err(|throttled| ServiceError::hub_throttled(metered.name(), throttled))
    }

    /// How long one of a kind has to wait for its turn (R-H4).
    ///
    /// # Errors
    /// 429001 if the queue is full.
    pub(crate) fn wait_for(&self, metered: Metered) -> Result<Duration, ServiceError> {
        let wait = self.meters.shape(metered, self.env.clock.now_ms());
        wait.map_err(|throttled| ServiceError::hub_throttled(metered.name(), throttled))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn turn(&self, metered: Metered) -> Result<(), ServiceError> {
        let wait = self.wait_for(metered)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Hub {
    /// Whether the hub still takes messages today.
    ///
    /// # Errors
    /// 403002 until the next day of UTC (R-H7).
    pub(crate) fn check_quota(&self) -> Result<(), ServiceError> {
        let checked = self.meters.check_daily(self.env.clock.now_ms());
        checked.map_err(|exceeded| ServiceError {
            name: "IotHubQuotaExceeded",
            ..ServiceError::limit(format!("Quota exceeded: {exceeded}."))
        })
    }

    /// Charges for something of that kind and size, if it is charged for at all (R-H7).
    pub(crate) fn charge(&self, metered: Metered, way: Way, bytes: usize) {
        if is_charged(metered, way) {
            self.meters.charge(bytes, self.env.clock.now_ms());
        }
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// R-H1, R-H4: what is asked for while a limit is lifted takes nothing from it.
    #[test]
    fn a_lifted_limit_does_not_hold_and_is_whole_when_it_does_again() {
        let limit = RateLimit::per_minute(NonZeroU32::new(2).unwrap());
        let (meter, now) = (Meter::new(Some(limit), Refusals::Counted), UnixMillis(0));
        meter.lift(true);
        for _ in 0..10 {
            assert_eq!(meter.take(now), Ok(()));
            assert_eq!(meter.queue(0, now), Ok(Duration::ZERO));
        }
        meter.lift(false);
        assert_eq!(meter.take(now), Ok(()));
        assert_eq!(meter.take(now), Ok(()));
        assert!(meter.take(now).is_err());
    }
}
