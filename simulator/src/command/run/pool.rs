//! Several runs at a time, each on a thread, a runtime and an emulator of its own, so that none
//! can notice the others.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Runs as many at a time as there are cores, unless told otherwise.
pub(super) fn default_jobs() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// How far those who take have come, for those who work.
#[derive(Default)]
struct Taken {
    count: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Taken {
    fn set(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until only `ahead` numbers from the next to be taken on lie before `number`; gives
    /// whether there is still anybody to take what comes of it.
    fn lets(&self, number: usize, ahead: usize) -> bool {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let too_early = |(taken, stop): &mut (usize, bool)| !*stop && number >= *taken + ahead;
        let count = self.changed.wait_while(count, too_early);
        !count.unwrap_or_else(PoisonError::into_inner).1
    }

    fn stop(&self) {
        self.set(|(_, stop)| *stop = true);
    }
}

/// Stops all if the thread that holds it panics: the others would wait for its result.
struct Watched<'a>(&'a Taken);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

/// Carries out `work` on the numbers below `count`, `jobs` of them at a time, and hands what
/// comes of each to `take` in the order of the numbers, on the caller's thread. Begins no more
/// once `take` breaks off, and waits for those begun. Who is ahead waits for those behind, so that
/// at most twice as many results are kept as there are jobs.
pub(super) fn in_order<T: Send>(
    jobs: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) {
    let (next, taken) = (AtomicUsize::new(0), Taken::default());
    let jobs = jobs.get().min(count);
    thread::scope(|scope| {
        let (sender, results) = channel();
        let worker = || {
            let sender = sender.clone();
            let (work, next, taken) = (&work, &next, &taken);
            scope.spawn(move || {
                let _watched = Watched(taken);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || !taken.lets(number, jobs * 2) {
                        return;
                    }
                    // Nobody takes results any more once the caller broke off.
                    if sender.send((number, work(number))).is_err() {
                        return;
                    }
                }
            })
        };
        let workers: Vec<_> = (0..jobs).map(|_| worker()).collect();
        drop(sender);
        let mut early = BTreeMap::new();
        let mut expected = 0;
        'results: for (number, result) in results {
            early.insert(number, result);
            while let Some(result) = early.remove(&expected) {
                expected += 1;
                taken.set(|(count, _)| *count = expected);
                if take(result).is_break() {
                    taken.stop();
                    break 'results;
                }
            }
        }
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn results_arrive_in_order_however_many_work() {
        for number in [1, 2, 7, 100] {
            let mut taken = Vec::new();
            in_order(
                jobs(number),
                50,
                |item| {
                    // Later items are done sooner.
                    (item..50).for_each(|_| thread::yield_now());
                    item * item
                },
                |square| {
                    taken.push(square);
                    ControlFlow::Continue(())
                },
            );
            assert_eq!(taken, (0..50).map(|item| item * item).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_begins_after_the_taker_broke_off() {
        let begun = AtomicUsize::new(0);
        let mut taken = 0;
        in_order(
            jobs(3),
            1000,
            |_| begun.fetch_add(1, Ordering::Relaxed),
            |_| {
                taken += 1;
                if taken == 5 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        // Those taken, and who may be ahead of them by then.
        let begun = begun.load(Ordering::Relaxed);
        assert!(taken == 5 && begun <= 5 + 6, "{taken} taken, {begun} begun");
    }

    #[test]
    fn who_is_ahead_waits_for_those_behind() {
        let begun = AtomicUsize::new(0);
        let mut taken = 0;
        in_order(
            jobs(3),
            200,
            |number| {
                begun.fetch_add(1, Ordering::Relaxed);
                if number == 0 {
                    // The rest would all be done by now.
                    (0..10_000).for_each(|_| thread::yield_now());
                }
            },
            |()| {
                taken += 1;
                let begun = begun.load(Ordering::Relaxed);
                assert!(begun <= taken + 6, "{taken} taken, {begun} begun");
                ControlFlow::Continue(())
            },
        );
        assert_eq!(taken, 200);
    }

    #[test]
    #[should_panic(expected = "the second")]
    fn a_panic_of_one_ends_all() {
        let work = |number| assert_ne!(number, 1, "the second");
        in_order(jobs(3), 1000, work, |()| ControlFlow::Continue(()));
    }

    #[test]
    fn without_items_nothing_happens() {
        in_order(jobs(4), 0, |_| (), |()| panic!("there was nothing to take"));
    }
}
