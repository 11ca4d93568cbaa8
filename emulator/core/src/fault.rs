//! Which requests of devices a DPS in trouble leaves without its answer.
//!
//! Trouble is asked for by whoever runs the emulator; what is said then is what Azure says
//! (behaviour R-F8, R-H1), and it is said before anything else is looked at.

use std::num::NonZeroU32;

/// A time of trouble at DPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpsFault {
    /// When it begins, Unix milliseconds.
    pub from_ms: i64,
    /// When it is over, Unix milliseconds.
    pub until_ms: i64,
    /// How many requests of `of` it hits.
    pub hits: u32,
    /// The whole that `hits` is a part of.
    pub of: NonZeroU32,
    /// What is said to those.
    pub trouble: DpsTrouble,
}

/// What DPS says in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpsTrouble {
    /// 429 with the seconds after which to come back (R-H1).
    Throttled {
        /// Whole seconds.
        seconds: u32,
    },
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
}

impl DpsFault {
    /// Whether it lasts at `now_ms`, Unix milliseconds.
    #[must_use]
    pub fn lasts(&self, now_ms: i64) -> bool {
        self.from_ms <= now_ms && now_ms < self.until_ms
    }
}

/// What a request at `now_ms` meets, if anything: the first of `faults` that lasts and hits it.
///
/// Takes:   `draw`, which gives a number for the fault at each place in `faults`; all numbers are
///          to be equally likely.
/// Source:  none: Azure has its troubles when it has them.
pub fn strike(
    faults: &[DpsFault],
    now_ms: i64,
    mut draw: impl FnMut(usize) -> u64,
) -> Option<DpsTrouble> {
    let lasting = faults.iter().enumerate();
    lasting
        .filter(|(_, fault)| fault.lasts(now_ms))
        .find(|(place, fault)| draw(*place) % u64::from(fault.of.get()) < u64::from(fault.hits))
        .map(|(_, fault)| fault.trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(from_ms: i64, until_ms: i64, hits: u32, trouble: DpsTrouble) -> DpsFault {
        DpsFault {
            from_ms,
            until_ms,
            hits,
            of: NonZeroU32::new(4).unwrap(),
            trouble,
        }
    }

    #[test]
    fn a_fault_hits_its_share_of_requests_while_it_lasts() {
        let faults = [fault(100, 200, 1, DpsTrouble::Unavailable)];
        let table = [
            (99, 0, None),
            (100, 0, Some(DpsTrouble::Unavailable)),
            (199, 4, Some(DpsTrouble::Unavailable)),
            (199, 1, None),
            (150, 3, None),
            (200, 0, None),
        ];
        for (now, drawn, expected) in table {
            let met = strike(&faults, now, |_| drawn);
            assert_eq!(met, expected, "at {now}, drawn {drawn}");
        }
    }

    #[test]
    fn the_first_fault_that_hits_decides_and_each_draws_for_itself() {
        let throttled = DpsTrouble::Throttled { seconds: 7 };
        let faults = [
            fault(0, 10, 4, DpsTrouble::InternalError),
            fault(0, 100, 0, DpsTrouble::Unavailable),
            fault(0, 100, 2, throttled),
        ];
        assert_eq!(strike(&faults, 5, |_| 3), Some(DpsTrouble::InternalError));
        let mut asked = Vec::new();
        let met = strike(&faults, 50, |place| {
            asked.push(place);
            1
        });
        assert_eq!((met, asked), (Some(throttled), vec![1, 2]));
        assert_eq!(strike(&[], 50, |_| 0), None);
    }
}
