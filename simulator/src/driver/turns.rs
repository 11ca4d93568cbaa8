//! Turns for handshakes: so many at once and no more.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A connection to DPS.
    Registering,
    /// A connection to a hub.
    Connecting,
}

/// Hands out turns.
#[derive(Debug)]
pub struct Turns {
    free: Semaphore,
    /// Where those who register come first, how many of them wait.
    registering: Option<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    /// Told when nobody waits any more.
    none: Notify,
}

impl Turns {
    /// So many at once, in the order in which they are asked for.
    #[must_use]
    pub fn in_order(at_once: usize) -> Self {
        let free = Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            free,
            registering: None,
        }
    }

    /// So many at once; who connects to a hub stands back while others wait to register. A fleet
    /// that comes back at once is done sooner by it: after the last registration there is a poll
    /// to wait for, and the others can connect meanwhile.
    #[must_use]
    pub fn registrations_first(at_once: usize) -> Self {
        Self {
            registering: Some(Waiting::default()),
            ..Self::in_order(at_once)
        }
    }

    /// Waits for a turn, which ends when it is dropped.
    ///
    /// # Errors
    /// Never: turns are not taken away. It is an error all the same, as the compiler cannot know.
    pub(crate) async fn take(&self, purpose: Purpose) -> Result<SemaphorePermit<'_>, String> {
        let _waits = match (&self.registering, purpose) {
            (Some(waiting), Purpose::Registering) => Some(waiting.enter()),
            (Some(waiting), Purpose::Connecting) => {
                waiting.until_none().await;
                None
            }
            (None, _) => None,
        };
        let turn = self.free.acquire().await;
        turn.map_err(|closed| closed.to_string())
    }
}

impl Waiting {
    fn enter(&self) -> OneWaits<'_> {
        self.count.fetch_add(1, Ordering::AcqRel);
        OneWaits(self)
    }

    async fn until_none(&self) {
        loop {
            let told = self.none.notified();
            tokio::pin!(told);
            // From here on no news is missed; only now may the count be looked at.
            told.as_mut().enable();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    }
}

/// One who waits, until it is dropped.
struct OneWaits<'a>(&'a Waiting);

impl Drop for OneWaits<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Waker};

    use tokio::task::yield_now;

    use super::*;

    /// The order in which turns come to those who ask for one after another while it is taken.
    async fn order(turns: Turns, asking: &[(&'static str, Purpose)]) -> Vec<&'static str> {
        let (turns, came) = (Arc::new(turns), Arc::new(Mutex::new(Vec::new())));
        let taken = turns.take(Purpose::Registering).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for &(name, purpose) in asking {
            let (turns, came) = (Arc::clone(&turns), Arc::clone(&came));
            tasks.spawn(async move {
                let _turn = turns.take(purpose).await.unwrap();
                came.lock().unwrap().push(name);
                yield_now().await;
            });
            yield_now().await;
        }
        assert!(came.lock().unwrap().is_empty());
        drop(taken);
        tasks.join_all().await;
        std::mem::take(&mut came.lock().unwrap())
    }

    const ASKING: [(&str, Purpose); 4] = [
        ("first", Purpose::Registering),
        ("hub", Purpose::Connecting),
        ("second", Purpose::Registering),
        ("other hub", Purpose::Connecting),
    ];

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_are_asked_for() {
        let came = order(Turns::in_order(1), &ASKING).await;
        assert_eq!(came, ["first", "hub", "second", "other hub"]);
    }

    #[tokio::test]
    async fn who_registers_comes_first_where_that_is_wanted() {
        let came = order(Turns::registrations_first(1), &ASKING).await;
        assert_eq!(came, ["first", "second", "hub", "other hub"]);
    }

    #[tokio::test]
    async fn nobody_stands_back_where_nobody_registers() {
        let hubs = [ASKING[1], ASKING[3]];
        let came = order(Turns::registrations_first(1), &hubs).await;
        assert_eq!(came, ["hub", "other hub"]);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_nobody_back() {
        let turns = Turns::registrations_first(1);
        let taken = turns.take(Purpose::Connecting).await.unwrap();
        {
            let mut gives_up = pin!(turns.take(Purpose::Registering));
            let mut context = Context::from_waker(Waker::noop());
            assert!(gives_up.as_mut().poll(&mut context).is_pending());
        }
        drop(taken);
        assert!(turns.take(Purpose::Connecting).await.is_ok());
    }
}
