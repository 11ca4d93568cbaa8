//! How fast jobs may go through devices: evenly, so many in a second (R-G35).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pace of all jobs of one hub together.
#[derive(Debug)]
pub(in crate::service) struct Pace {
    /// Time between two devices; none where there is no limit.
    interval: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many devices in a second; as many as come if it is not said.
    pub(in crate::service) fn new(per_second: Option<u32>) -> Self {
        let interval = per_second.filter(|count| *count > 0);
        Self {
            interval: interval.map(|count| Duration::from_secs(1) / count),
            next: Mutex::new(None),
        }
    }

    /// Takes the turn of one device, or gives the moment at which it comes.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        let Some(interval) = self.interval else {
            return Ok(());
        };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        match *next {
            Some(at) if at > now => Err(at),
            // Turns that passed unused are not made up for; a wake-up that came late is.
            Some(at) if now - at < interval => {
                *next = Some(at + interval);
                Ok(())
            }
            _ => {
                *next = Some(now + interval);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G35.
    #[tokio::test(start_paused = true)]
    async fn turns_come_evenly_and_those_that_passed_are_gone() {
        let pace = Pace::new(Some(10));
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.take(start), Ok(()));
        assert_eq!(pace.take(start), Err(at(100)));
        assert_eq!(pace.take(at(99)), Err(at(100)));
        // Woken 30 ms late, the next one is not put off.
        assert_eq!(pace.take(at(130)), Ok(()));
        assert_eq!(pace.take(at(130)), Err(at(200)));
        // A second of idleness saves nothing up.
        assert_eq!(pace.take(at(1_200)), Ok(()));
        assert_eq!(pace.take(at(1_200)), Err(at(1_300)));
    }

    /// R-G35: nobody limits a developer who did not ask for it.
    #[tokio::test(start_paused = true)]
    async fn without_a_pace_every_turn_is_now() {
        let pace = Pace::new(None);
        for _ in 0..1_000 {
            assert_eq!(pace.take(Instant::now()), Ok(()));
        }
    }
}
