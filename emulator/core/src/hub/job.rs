//! Jobs: one twin change or one direct method for many devices, now or later (R-G32 to R-G35).
//!
//! A [`JobRequest`] is what a back end asks for, within all bounds; a [`Job`] is what became of
//! it. What a job may do next is decided in [`JobStatus::after`] alone.

mod request;
mod status;
mod target;

#[cfg(test)]
mod tests;

use crate::id::IdentityId;
use crate::limits::JOB_KEPT_MS;

pub use request::{JobDraft, JobError, JobRequest, JobType, TwinChange, Work};
pub use status::{IllegalStep, JobStatus, JobStep};
pub use target::{MethodOutcome, Outcome, Target, TargetError, TargetStatus};

/// How many targets are in which state (R-G33).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All of them.
    pub targets: usize,
    /// Those it failed for, or never came to.
    pub failed: usize,
    /// Those it is done with.
    pub succeeded: usize,
    /// Those it is at.
    pub running: usize,
    /// Those it has not come to.
    pub pending: usize,
}

/// A job and what became of it. Moments are Unix milliseconds.
#[derive(Clone, Debug)]
pub struct Job {
    request: JobRequest,
    status: JobStatus,
    created_ms: i64,
    started_ms: Option<i64>,
    ended_ms: Option<i64>,
    failure: Option<String>,
    targets: Vec<Target>,
    statistics: Statistics,
}

impl Job {
    /// A job that nobody has looked at yet.
    ///
    /// Source: behaviour.md R-G33.
    #[must_use]
    pub fn new(request: JobRequest, now_ms: i64) -> Self {
        Self {
            request,
            status: JobStatus::Queued,
            created_ms: now_ms,
            started_ms: None,
            ended_ms: None,
            failure: None,
            targets: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    /// Puts it off until its start.
    ///
    /// # Errors
    /// [`IllegalStep`] unless it is queued.
    pub fn schedule(&mut self) -> Result<(), IllegalStep> {
        self.step(JobStep::Schedule)
    }

    /// Begins with these targets, which stay those of the job whatever comes and goes later.
    ///
    /// # Errors
    /// [`IllegalStep`] if it runs already or has ended.
    ///
    /// Source: behaviour.md R-G33.
    pub fn start(&mut self, mut targets: Vec<IdentityId>, now_ms: i64) -> Result<(), IllegalStep> {
        self.step(JobStep::Start)?;
        self.started_ms = Some(now_ms);
        targets.sort_unstable();
        targets.dedup();
        self.statistics = Statistics {
            targets: targets.len(),
            pending: targets.len(),
            ..Statistics::default()
        };
        let target = |id| Target::new(id, now_ms);
        self.targets = targets.into_iter().map(target).collect();
        Ok(())
    }

    /// Begins with the target at `index`; gives it, unless there is nothing to begin.
    pub fn begin(&mut self, index: usize, now_ms: i64) -> Option<IdentityId> {
        let target = self.targets.get_mut(index)?;
        if self.status != JobStatus::Running || !target.begin(now_ms) {
            return None;
        }
        self.statistics.pending -= 1;
        self.statistics.running += 1;
        Some(target.id().clone())
    }

    /// Notes how it ended for the target at `index`. Nothing is noted twice.
    pub fn end(&mut self, index: usize, outcome: Outcome, now_ms: i64) {
        let Some(target) = self.targets.get_mut(index) else {
            return;
        };
        let before = target.status();
        if self.status.is_final() || !target.end(outcome, now_ms) {
            return;
        }
        match before {
            TargetStatus::Running => self.statistics.running -= 1,
            _ => self.statistics.pending -= 1,
        }
        match target.status() {
            TargetStatus::Completed => self.statistics.succeeded += 1,
            _ => self.statistics.failed += 1,
        }
    }

    /// Ends it: every target has had its turn, or its time is over. What it has not come to the
    /// end with counts as failed; the job is completed all the same (R-G34).
    ///
    /// # Errors
    /// [`IllegalStep`] unless it runs.
    pub fn finish(&mut self, now_ms: i64) -> Result<(), IllegalStep> {
        // First asked, then done: the targets must not change if the job may not.
        self.status.after(JobStep::Finish)?;
        for index in 0..self.targets.len() {
            self.end(index, Outcome::Failed(TargetError::out_of_time()), now_ms);
        }
        self.step(JobStep::Finish)?;
        self.ended_ms = Some(now_ms);
        Ok(())
    }

    /// Gives it up before it has begun with any target.
    ///
    /// # Errors
    /// [`IllegalStep`] once it runs: then it cannot be cancelled any more, by design.
    pub fn cancel(&mut self, now_ms: i64) -> Result<(), IllegalStep> {
        self.step(JobStep::Cancel)?;
        self.ended_ms = Some(now_ms);
        Ok(())
    }

    /// Gives it up for a reason of the service.
    ///
    /// # Errors
    /// [`IllegalStep`] once it has ended.
    pub fn fail(&mut self, reason: &str, now_ms: i64) -> Result<(), IllegalStep> {
        self.step(JobStep::Fail)?;
        self.failure = Some(reason.to_owned());
        self.ended_ms = Some(now_ms);
        Ok(())
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &JobRequest {
        &self.request
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// When it was asked for.
    #[must_use]
    pub fn created_ms(&self) -> i64 {
        self.created_ms
    }

    /// When it is to begin.
    #[must_use]
    pub fn start_ms(&self) -> i64 {
        self.request.start_ms().unwrap_or(self.created_ms)
    }

    /// When it began, if it has.
    #[must_use]
    pub fn started_ms(&self) -> Option<i64> {
        self.started_ms
    }

    /// When its time is over: counted from its beginning, or from when it is to begin.
    #[must_use]
    pub fn deadline_ms(&self) -> i64 {
        let span = i64::from(self.request.execution_seconds()) * 1000;
        let from = self.started_ms.unwrap_or_else(|| self.start_ms());
        from.saturating_add(span)
    }

    /// Whether it has been kept long enough.
    ///
    /// Source: behaviour.md R-G32.
    #[must_use]
    pub fn is_forgotten(&self, now_ms: i64) -> bool {
        let until = |ended: i64| ended.saturating_add(JOB_KEPT_MS);
        self.ended_ms.is_some_and(|ended| now_ms >= until(ended))
    }

    /// When it ended.
    #[must_use]
    pub fn ended_ms(&self) -> Option<i64> {
        self.ended_ms
    }

    /// Why it failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// How far it is; nothing before it has started.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let known = !matches!(self.status, JobStatus::Queued | JobStatus::Scheduled);
        known.then_some(self.statistics)
    }

    /// What became of each target, by id.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn step(&mut self, step: JobStep) -> Result<(), IllegalStep> {
        self.status = self.status.after(step)?;
        Ok(())
    }
}
