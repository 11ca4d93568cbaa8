//! How long a device waits before it asks DPS again (R-B6, R-C12).

use std::time::Duration;

use super::Device;
use crate::firmware::OnThrottle;

/// Delay before a poll for which DPS names none, and the shortest there is (R-B6).
const POLL_DELAY: Duration = Duration::from_secs(2);

/// The least wait of a throttled device that was given no delay (R-C12).
const THROTTLE_DELAY_MIN: Duration = Duration::from_secs(1);

impl Device {
    /// Before a poll for the outcome of a registration, where DPS `said` how long or did not.
    pub(super) fn poll_delay(&self, said: Option<Duration>) -> Duration {
        match self.firmware.on_throttle {
            OnThrottle::Insist(every) => every,
            OnThrottle::AsTold | OnThrottle::Spread(_) => {
                said.unwrap_or(POLL_DELAY).max(POLL_DELAY)
            }
        }
    }

    /// Before the same request again, after `attempt` refusals in a row before this one.
    pub(super) fn throttle_delay(&mut self, said: Option<Duration>, attempt: u16) -> Duration {
        match (self.firmware.on_throttle, said) {
            (OnThrottle::Insist(every), _) => every,
            (OnThrottle::AsTold, Some(delay)) => delay,
            (OnThrottle::AsTold, None) => THROTTLE_DELAY_MIN + self.backoff(attempt),
            // A poll that came too soon is told so; the device is accepted and in nobody's way.
            (OnThrottle::Spread(_), Some(delay)) if self.is_accepted() => delay,
            (OnThrottle::Spread(most), said) => {
                let least = said.unwrap_or_default().max(THROTTLE_DELAY_MIN);
                let most = most.max(least);
                let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                Duration::from_millis(self.rng.u64(ms(least)..=ms(most)))
            }
        }
    }
}
