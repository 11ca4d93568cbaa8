//! How long a device waits before it tries again.

use std::time::Duration;

use fastrand::Rng;

use crate::firmware::{Firmware, Jitter};

/// Exponential back-off: the first delay doubled `attempt` times, and never more than the longest
/// delay; with full jitter, anything from nothing to that.
///
/// Full jitter is usual, because devices that lost their hub in one moment must not return in one.
pub(super) fn delay(rng: &mut Rng, firmware: &Firmware, attempt: u16) -> Duration {
    let most = ceiling(firmware, attempt);
    Duration::from_millis(match firmware.jitter {
        Jitter::Full => rng.u64(0..=most),
        Jitter::None => most,
    })
}

/// The longest delay before attempt number `attempt`, milliseconds.
fn ceiling(firmware: &Firmware, attempt: u16) -> u64 {
    let first = u64::try_from(firmware.backoff_first.as_millis()).unwrap_or(u64::MAX);
    let most = u64::try_from(firmware.backoff_max.as_millis()).unwrap_or(u64::MAX);
    let factor = 1_u64.checked_shl(u32::from(attempt)).unwrap_or(u64::MAX);
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_delay() {
        let firmware = Firmware::default();
        let ceilings: Vec<u64> = (0..9).map(|n| ceiling(&firmware, n) / 1000).collect();
        assert_eq!(ceilings, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(ceiling(&firmware, u16::MAX), 600_000);
    }

    #[test]
    fn delays_fill_the_room_below_the_ceiling() {
        let mut rng = Rng::with_seed(1);
        let firmware = Firmware::default();
        let delays: Vec<Duration> = (0..1000).map(|_| delay(&mut rng, &firmware, 2)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(20)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_secs(2)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_secs(18)));
    }

    #[test]
    fn without_jitter_a_delay_is_what_it_may_be_at_most() {
        let mut rng = Rng::with_seed(1);
        let firmware = Firmware {
            jitter: Jitter::None,
            ..Firmware::default()
        };
        let delays = [0, 1, 9].map(|attempt| delay(&mut rng, &firmware, attempt).as_secs());
        assert_eq!(delays, [5, 10, 600]);
    }
}
