//! What senders hear of the ends of their messages (R-G30, R-G31).

use std::sync::{MutexGuard, PoisonError};

use linarite_core::hub::c2d::feedback::{Batch, FeedbackQueue, FeedbackSettlement, Record};
use linarite_core::id::IdentityId;
use linarite_env::{Event, UnixMillis};

use super::alarm::Subject;
use super::c2d::lock_lost;
use super::hub::Hub;
use crate::error::ServiceError;

/// The feedback of a hub, and the moment it is looked at next.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    queue: FeedbackQueue,
    due: Option<UnixMillis>,
}

/// A batch that a back end locked.
pub(crate) struct LockedBatch {
    pub(crate) token: String,
    pub(crate) batch: Batch,
}

impl Hub {
    /// Takes the next batch and locks it; `None` if none waits.
    pub(crate) fn receive_feedback(&self) -> Option<LockedBatch> {
        let (token, now) = (self.names.lock_token(), self.env.clock.now_ms());
        let terms = self.c2d.feedback_terms();
        let batch = self.tend_feedback(|queue| {
            queue.expire(&terms, now.0);
            queue.lock(&token, &terms, now.0)
        });
        batch.map(|batch| LockedBatch { token, batch })
    }

    /// Settles what was locked under `token`.
    ///
    /// # Errors
    /// 412002 if the lock is not held any more.
    pub(crate) fn settle_feedback(
        &self,
        token: &str,
        settlement: FeedbackSettlement,
    ) -> Result<(), ServiceError> {
        let (terms, now) = (self.c2d.feedback_terms(), self.env.clock.now_ms());
        let settled = self.tend_feedback(|queue| {
            queue.expire(&terms, now.0);
            queue.settle(token, settlement, &terms)
        });
        settled.map_err(|_| lock_lost())
    }

    pub(super) fn note_feedback(&self, record: Record) {
        let (terms, now) = (self.c2d.feedback_terms(), self.env.clock.now_ms());
        self.tend_feedback(|queue| queue.note(record, &terms, now.0));
    }

    /// Forgets what is pending of an identity that is gone (R-G31).
    pub(super) fn forget_feedback(&self, id: &IdentityId) {
        self.tend_feedback(|queue| queue.forget(id));
    }

    /// Does what time brings.
    pub(super) fn look_at_feedback(&self) {
        let (terms, now) = (self.c2d.feedback_terms(), self.env.clock.now_ms());
        self.feedback().due = None;
        self.tend_feedback(|queue| queue.expire(&terms, now.0));
    }

    fn tend_feedback<T>(&self, work: impl FnOnce(&mut FeedbackQueue) -> T) -> T {
        let mut feedback = self.feedback();
        let displaced = feedback.queue.displaced();
        let result = work(&mut feedback.queue);
        if feedback.queue.displaced() > displaced {
            let limit = "feedback batches";
            self.env.events.emit(Event::LimitReached { limit });
        }
        let due = feedback.queue.due_ms().map(UnixMillis);
        let before = std::mem::replace(&mut feedback.due, due);
        self.alarm.set(&self.this, Subject::Feedback, before, due);
        if feedback.queue.has_waiting() {
            self.feedback_arrived.notify_waiters();
        }
        result
    }

    fn feedback(&self) -> MutexGuard<'_, Feedback> {
        let feedback = self.feedback.lock();
        feedback.unwrap_or_else(PoisonError::into_inner)
    }
}
