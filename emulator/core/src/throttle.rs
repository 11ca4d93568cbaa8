//! How often something may be done (behaviour H).
//!
//! Azure publishes numbers and not the way it counts. Here it is a bucket of tokens: as many at
//! once as the limit says, and each comes back on its own after its share of the window.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many times within so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many times.
    pub count: NonZeroU32,
    /// Within how many milliseconds.
    pub window_ms: NonZeroU32,
}

impl RateLimit {
    /// `count` times in a minute.
    #[must_use]
    pub fn per_minute(count: NonZeroU32) -> Self {
        Self {
            count,
            window_ms: const { NonZeroU32::new(60_000).unwrap() },
        }
    }

    /// `count` times in a second.
    #[must_use]
    pub fn per_second(count: NonZeroU32) -> Self {
        Self {
            count,
            window_ms: const { NonZeroU32::new(1_000).unwrap() },
        }
    }

    /// `count` times in ten seconds.
    #[must_use]
    pub fn per_ten_seconds(count: NonZeroU32) -> Self {
        Self {
            count,
            window_ms: const { NonZeroU32::new(10_000).unwrap() },
        }
    }

    /// Whether who comes once `every` so often is never one too many (R-H2).
    #[must_use]
    pub fn allows_one_every(self, every: Duration) -> bool {
        every.as_millis() * u128::from(self.count.get()) >= u128::from(self.window_ms.get())
    }
}

/// What is left of a limit; full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full again, in milliseconds times the limit's count, which keeps it exact.
    full_at: i128,
}

/// Whether a request that is refused counts like one that is let through.
///
/// Azure publishes nothing of it for DPS and IoT Hub. What it says of a hub that is asked for twice
/// its limit, that the limit goes on being served, speaks for [`Self::Free`]; other services of
/// Microsoft, such as SharePoint, count refusals and say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusals {
    /// A refusal takes nothing.
    #[default]
    Free,
    /// A refusal takes a token as well, until one whole limit is owed: who goes on asking puts off
    /// everybody, and a window of silence makes good for all of it.
    Counted,
}

impl Refusals {
    /// By whether they count.
    #[must_use]
    pub fn counted(counted: bool) -> Self {
        match counted {
            true => Self::Counted,
            false => Self::Free,
        }
    }
}

/// There is nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("try again in {seconds} s")]
pub struct Throttled {
    /// Whole seconds until there is a token again, at least one.
    pub seconds: u32,
}

impl Throttled {
    /// The same, to come back up to `jitter` seconds later; `draw` chooses from 0 to that many.
    ///
    /// Source:  behaviour.md R-H1 — without it everybody who is refused in one second is told
    ///          to come back in one second.
    #[must_use]
    pub fn spread(self, jitter: u32, draw: impl FnOnce(u32) -> u32) -> Self {
        if jitter == 0 {
            return self;
        }
        Self {
            seconds: self.seconds.saturating_add(draw(jitter).min(jitter)),
        }
    }
}

impl Bucket {
    /// Takes one token at `now_ms`, in Unix milliseconds.
    ///
    /// Errors:  [`Throttled`].
    /// Source:  behaviour.md R-H1 — the way of counting is assumed, that of refusals too.
    pub fn take(
        &mut self,
        limit: RateLimit,
        refusals: Refusals,
        now_ms: i64,
    ) -> Result<(), Throttled> {
        self.queue(limit, refusals, 0, now_ms).map(|_| ())
    }

    /// Takes one token at `now_ms`, or the next one that comes back and nobody waits for yet.
    /// Gives the milliseconds until it is there.
    ///
    /// Errors:  [`Throttled`] if that is longer than `patience_ms`: the queue is full.
    /// Source:  behaviour.md R-H4 — that there is a queue; the way of counting is assumed, that of
    ///          refusals too.
    pub fn queue(
        &mut self,
        limit: RateLimit,
        refusals: Refusals,
        patience_ms: u32,
        now_ms: i64,
    ) -> Result<u32, Throttled> {
        let count = i128::from(limit.count.get());
        let token = i128::from(limit.window_ms.get());
        let patience_ms = i128::from(patience_ms);
        let now = i128::from(now_ms) * count;
        let full_at = self.full_at.max(now);
        // How long one more has to wait.
        let wait_ms = |full_at: i128| {
            let late = (full_at + token - (now + token * count)).max(0);
            (late + count - 1) / count
        };
        let wait = wait_ms(full_at);
        if wait <= patience_ms {
            self.full_at = full_at + token;
            return Ok(u32::try_from(wait).unwrap_or(u32::MAX));
        }
        if refusals == Refusals::Counted {
            // The whole bucket is out, and so is the queue; beyond these one limit may be owed.
            let most = now + (2 * token + patience_ms) * count;
            self.full_at = (full_at + token).min(most).max(full_at);
        }
        let excess_ms = wait_ms(self.full_at) - patience_ms;
        let seconds = u32::try_from((excess_ms + 999) / 1000).unwrap_or(u32::MAX);
        Err(Throttled {
            seconds: seconds.max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FREE: Refusals = Refusals::Free;

    fn limit(count: u32, window_ms: u32) -> RateLimit {
        RateLimit {
            count: NonZeroU32::new(count).unwrap(),
            window_ms: NonZeroU32::new(window_ms).unwrap(),
        }
    }

    /// R-H1.
    #[test]
    fn a_full_bucket_gives_its_limit_at_once_and_then_its_pace() {
        let (limit, mut bucket) = (limit(1000, 60_000), Bucket::default());
        let begin = 1_700_000_000_000;
        for _ in 0..1000 {
            assert_eq!(bucket.take(limit, FREE, begin), Ok(()));
        }
        assert_eq!(
            bucket.take(limit, FREE, begin),
            Err(Throttled { seconds: 1 })
        );
        assert_eq!(
            bucket.take(limit, FREE, begin + 59),
            Err(Throttled { seconds: 1 })
        );
        assert_eq!(bucket.take(limit, FREE, begin + 60), Ok(()));
        assert_eq!(
            bucket.take(limit, FREE, begin + 60),
            Err(Throttled { seconds: 1 })
        );
        for _ in 0..1000 {
            assert_eq!(bucket.take(limit, FREE, begin + 60_060), Ok(()));
        }
        assert!(bucket.take(limit, FREE, begin + 60_060).is_err());
    }

    /// R-H1: what a refusal says is the time until there is a token, in whole seconds.
    #[test]
    fn a_refusal_says_when_to_come_back() {
        let (limit, mut bucket) = (limit(1, 10_000), Bucket::default());
        assert_eq!(bucket.take(limit, FREE, 0), Ok(()));
        for (now, seconds) in [(0, 10), (1, 10), (1000, 9), (9000, 1), (9999, 1)] {
            assert_eq!(
                bucket.take(limit, FREE, now),
                Err(Throttled { seconds }),
                "{now}"
            );
        }
        assert_eq!(bucket.take(limit, FREE, 10_000), Ok(()));
    }

    /// R-H1.
    #[test]
    fn a_refusal_is_spread_by_what_is_drawn_and_by_no_more() {
        let told = Throttled { seconds: 3 };
        let never = |_| panic!("nothing is drawn where nothing is spread");
        assert_eq!(told.spread(0, never), told);
        for (drawn, seconds) in [(0, 3), (7, 10), (60, 63), (61, 63)] {
            assert_eq!(told.spread(60, |_| drawn), Throttled { seconds }, "{drawn}");
        }
    }

    /// R-H4: short bursts pass, then turns come at the limit's pace, and a full queue refuses.
    #[test]
    fn a_queue_gives_turns_one_after_the_other_until_it_is_full() {
        let (limit, mut bucket) = (limit(10, 1_000), Bucket::default());
        let now = 1_700_000_000_000;
        let waits: Vec<_> = (0..14)
            .map(|_| bucket.queue(limit, FREE, 300, now))
            .collect();
        let mut expected = vec![Ok(0); 10];
        expected.extend([Ok(100), Ok(200), Ok(300), Err(Throttled { seconds: 1 })]);
        assert_eq!(waits, expected);
        // A refusal has taken nobody's turn.
        assert_eq!(bucket.queue(limit, FREE, 300, now + 100), Ok(300));
        assert_eq!(bucket.queue(limit, FREE, 300, now + 10_000), Ok(0));
    }

    /// R-H2: the pace at which tokens come back is never too fast, and any faster one is.
    #[test]
    fn who_comes_as_often_as_tokens_do_is_never_refused() {
        let limit = limit(10, 1_000);
        for (every_ms, allowed) in [(99, false), (100, true), (101, true)] {
            let every = Duration::from_millis(every_ms);
            assert_eq!(limit.allows_one_every(every), allowed, "{every:?}");
            let mut bucket = Bucket::default();
            let mut moments = (0..2_000).map(|turn| turn * i64::try_from(every_ms).unwrap());
            let all = moments.all(|now| bucket.take(limit, FREE, now).is_ok());
            assert_eq!(all, allowed, "{every:?}");
        }
    }

    /// R-H1: whoever goes on asking waits for it, and no longer than for one window.
    #[test]
    fn a_counted_refusal_takes_a_token_until_one_limit_is_owed() {
        let (limit, mut bucket) = (limit(4, 8_000), Bucket::default());
        let mut ask = |now| bucket.take(limit, Refusals::Counted, now);
        assert_eq!([0; 4].map(&mut ask), [Ok(()); 4]);
        // One token in two seconds: each refusal puts it off by as much, up to four of them.
        let told = [4, 6, 8, 10, 10, 10].map(|seconds| Err(Throttled { seconds }));
        assert_eq!([0; 6].map(&mut ask), told);
        // What came back meanwhile is taken by who asks too soon.
        assert_eq!(ask(9_999), Err(Throttled { seconds: 3 }));
        assert_eq!(ask(11_999), Err(Throttled { seconds: 3 }));
        assert_eq!(ask(14_000), Ok(()));
        assert_eq!(ask(30_000), Ok(()));
    }

    /// R-H4: and where there is a queue, those in it lose nothing.
    #[test]
    fn a_counted_refusal_puts_off_the_queue_behind_it() {
        let (limit, mut bucket) = (limit(1, 1_000), Bucket::default());
        let mut ask = |now| bucket.queue(limit, Refusals::Counted, 1_000, now);
        assert_eq!([0; 2].map(&mut ask), [Ok(0), Ok(1_000)]);
        assert_eq!([0; 3].map(&mut ask), [Err(Throttled { seconds: 2 }); 3]);
        assert_eq!(ask(2_000), Ok(1_000));
    }

    proptest! {
        /// R-H1, R-H3: no window sees more than twice the limit, and whoever comes back when told
        /// is served.
        #[test]
        fn no_more_than_the_bucket_and_what_comes_back(
            count in 1u32..50,
            window_ms in 1u32..100_000,
            steps in prop::collection::vec(0i64..5_000, 1..300),
            counted in any::<bool>(),
        ) {
            let refusals = Refusals::counted(counted);
            let (limit, mut bucket) = (limit(count, window_ms), Bucket::default());
            let (mut now, mut taken) = (1_700_000_000_000_i64, 0_i128);
            let begin = now;
            for step in steps {
                now += step;
                match bucket.take(limit, refusals, now) {
                    Ok(()) => taken += 1,
                    Err(Throttled { seconds }) => {
                        let then = now + i64::from(seconds) * 1000;
                        prop_assert_eq!(bucket.clone().take(limit, refusals, then), Ok(()));
                    }
                }
                let back = i128::from(now - begin) * i128::from(count) / i128::from(window_ms);
                prop_assert!(taken <= i128::from(count) + back);
            }
        }
    }
}
