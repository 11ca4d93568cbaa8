//! Wakes a hub when time changes something in a queue: a lock lapses, a message expires, a batch
//! of feedback is due.
//!
//! One task for a hub, and only while there is something to wait for, so an idle hub stays idle.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use linarite_core::id::IdentityId;
use linarite_env::{Clock, UnixMillis};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::Hub;

/// Whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The feedback of the hub.
    Feedback,
    /// The queue of a device or module.
    Queue(IdentityId),
}

/// The moments a hub waits for.
pub(super) struct Alarm {
    state: Mutex<State>,
    changed: Notify,
    clock: Clock,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

#[derive(Default)]
struct State {
    due: BTreeSet<(UnixMillis, Subject)>,
    /// Whether a task is waiting.
    armed: bool,
}

impl Alarm {
    pub(super) fn new(clock: &Clock, tasks: &TaskTracker, cancel: &CancellationToken) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        }
    }

    /// Waits for `after` instead of `before` on behalf of `subject`.
    pub(super) fn set(
        &self,
        hub: &Weak<Hub>,
        subject: Subject,
        before: Option<UnixMillis>,
        after: Option<UnixMillis>,
    ) {
        if before == after {
            return;
        }
        let mut state = self.lock();
        let mut entry = (UnixMillis::default(), subject);
        if let Some(before) = before {
            entry.0 = before;
            state.due.remove(&entry);
        }
        if let Some(after) = after {
            entry.0 = after;
            state.due.insert(entry);
            if !state.armed {
                state.armed = true;
                let (hub, cancel) = (Weak::clone(hub), self.cancel.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => {}
                        () = watch(hub) => {}
                    }
                });
            } else if state.due.first().is_some_and(|(first, _)| *first == after) {
                self.changed.notify_one();
            }
        }
    }

    /// The next moment; the task ends where there is none.
    fn next(&self) -> Option<UnixMillis> {
        let mut state = self.lock();
        let next = state.due.first().map(|(at, _)| *at);
        state.armed = next.is_some();
        next
    }

    /// Takes out whose moment has come.
    fn take(&self) -> Option<Subject> {
        let mut state = self.lock();
        let (at, _) = state.due.first()?;
        if *at > self.clock.now_ms() {
            return None;
        }
        state.due.pop_first().map(|(_, subject)| subject)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(hub: Weak<Hub>) {
    loop {
        let Some(hub) = hub.upgrade() else { return };
        let alarm = &hub.alarm;
        let Some(at) = alarm.next() else { return };
        tokio::select! {
            biased;
            () = alarm.clock.sleep_until(at) => {}
            () = alarm.changed.notified() => {}
        }
        // Not locked while a queue is looked at: whoever changes a queue sets the alarm.
        while let Some(subject) = alarm.take() {
            match subject {
                Subject::Feedback => hub.look_at_feedback(),
                Subject::Queue(id) => hub.look_at_queue(&id),
            }
        }
    }
}
