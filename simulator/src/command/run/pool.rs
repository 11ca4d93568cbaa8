//! Several runs at a time, each on a thread, a runtime and an emulator of its own, so that none
//! can notice the others.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

/// Runs as many at a time as there are cores, unless told otherwise.
pub(super) fn default_jobs() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Carries out `work` on the numbers below `count`, `jobs` of them at a time, and hands what
/// comes of each to `take` in the order of the numbers, on the caller's thread. Begins no more
/// once `take` breaks off, and waits for those begun.
pub(super) fn in_order<T: Send>(
    jobs: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let jobs = jobs.get().min(count);
    thread::scope(|scope| {
        // Full when as many wait as run: who is ahead waits for those behind.
        let (sender, results) = sync_channel(jobs);
        let worker = || {
            let sender = sender.clone();
            let (work, next, stop) = (&work, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody takes results any more once the caller broke off.
                    if number >= count || sender.send((number, work(number))).is_err() {
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
                if take(result).is_break() {
                    stop.store(true, Ordering::Relaxed);
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
        let begun = begun.load(Ordering::Relaxed);
        assert!(taken == 5 && begun < 100, "{taken} taken, {begun} begun");
    }

    #[test]
    fn without_items_nothing_happens() {
        in_order(jobs(4), 0, |_| (), |()| panic!("there was nothing to take"));
    }
}
