//! Which moment it is: the system's, the system's plus an offset, or tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use linarite_core::time::UnixTime;

/// A moment in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The whole second this moment lies in.
    #[must_use]
    pub fn seconds(self) -> UnixTime {
        UnixTime(self.0.div_euclid(1000))
    }

    /// Milliseconds from `earlier` to this moment; negative if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How often a system clock is looked at again by those who wait for it, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1000;

/// A clock. Cheap to clone; clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The system's wall clock plus an offset in milliseconds that may be advanced while serving.
    System { offset_ms: Arc<AtomicI64> },
    /// Wall time derived from tokio's clock, so that pausing tokio moves certificate validity
    /// and timers together.
    Tokio {
        epoch: UnixMillis,
        origin: tokio::time::Instant,
    },
}

impl Clock {
    /// The system's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System {
            offset_ms: Arc::new(AtomicI64::new(0)),
        })
    }

    /// A clock that shows `epoch` now and goes on with tokio's clock, paused or not.
    #[must_use]
    pub fn tokio(epoch: UnixMillis) -> Self {
        Self(Kind::Tokio {
            epoch,
            origin: tokio::time::Instant::now(),
        })
    }

    /// The moment, to the millisecond.
    #[must_use]
    pub fn now_ms(&self) -> UnixMillis {
        match &self.0 {
            Kind::System { offset_ms } => {
                UnixMillis(system_ms().saturating_add(offset_ms.load(Ordering::Relaxed)))
            }
            Kind::Tokio { epoch, origin } => {
                UnixMillis(epoch.0.saturating_add(millis(origin.elapsed())))
            }
        }
    }

    /// The moment, to the second.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.now_ms().seconds()
    }

    /// Waits until this clock shows `at`, or later. A system clock that is advanced meanwhile is
    /// noticed within a second.
    pub async fn sleep_until(&self, at: UnixMillis) {
        loop {
            let left = u64::try_from(at.since(self.now_ms())).unwrap_or(0);
            if left == 0 {
                return;
            }
            let left = match &self.0 {
                Kind::System { .. } => left.min(LOOK_AGAIN_MS),
                Kind::Tokio { .. } => left,
            };
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }

    /// Moves a system clock ahead by `by`, for every clone; a tokio clock is moved by tokio alone.
    ///
    /// Gives whether the clock moved.
    pub fn advance(&self, by: Duration) -> bool {
        match &self.0 {
            Kind::System { offset_ms } => {
                offset_ms.fetch_add(millis(by), Ordering::Relaxed);
                true
            }
            Kind::Tokio { .. } => false,
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
fn system_ms() -> i64 {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(span) => millis(span),
        Err(before) => -millis(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_tokio_clock_passes_ninety_days_with_a_sleep() {
        let clock = Clock::tokio(UnixMillis(1_000));
        tokio::time::sleep(Duration::from_secs(90 * 86_400)).await;
        assert_eq!(clock.now(), UnixTime(1 + 90 * 86_400));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_moment_or_once_the_clock_was_advanced_past_it() {
        let clock = Clock::tokio(UnixMillis(1_000));
        clock.sleep_until(UnixMillis(500)).await;
        assert_eq!(clock.now_ms(), UnixMillis(1_000));
        clock.sleep_until(UnixMillis(90_500)).await;
        assert_eq!(clock.now_ms(), UnixMillis(90_500));

        let clock = Clock::system();
        let tomorrow = UnixMillis(clock.now_ms().0 + 86_400_000);
        let waiter = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(tomorrow).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!waiter.is_finished());
        clock.advance(Duration::from_secs(86_400));
        waiter.await.unwrap();
    }

    #[test]
    fn advancing_moves_every_clone_of_a_system_clock() {
        let clock = Clock::system();
        let other = clock.clone();
        let before = other.now();
        assert!(clock.advance(Duration::from_secs(3_600)));
        assert!(other.now() >= before.plus(3_600));
    }

    #[test]
    fn milliseconds_before_the_epoch_round_down() {
        assert_eq!(UnixMillis(-1).seconds(), UnixTime(-1));
        assert_eq!(UnixMillis(1_999).seconds(), UnixTime(1));
    }
}
