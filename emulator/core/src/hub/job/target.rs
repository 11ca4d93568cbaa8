//! One device or module of a job, and what became of it there.

use std::sync::Arc;

use crate::id::IdentityId;

/// Where a job stands with one target (R-G33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetStatus {
    /// Done.
    Completed,
    /// Ended without success.
    Failed,
    /// The job has not come to it.
    Pending,
    /// The job is at it.
    Running,
}

impl TargetStatus {
    /// What it is called on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Running => "running",
        }
    }
}

/// What a device answered to a direct method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodOutcome {
    /// By convention like an HTTP status.
    pub status: i64,
    /// As the device sent it; none if there was no room to keep it.
    pub payload: Option<Arc<[u8]>>,
}

/// Why it failed for a target, in the words of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// Azure's name for it, such as `DeviceNotOnline`.
    pub code: &'static str,
    /// A sentence.
    pub description: Arc<str>,
}

impl TargetError {
    /// The job's time was over first. The name is assumed; no source shows one.
    #[must_use]
    pub fn out_of_time() -> Self {
        Self {
            code: "JobExecutionTimedOut",
            description: "The job's maximum execution time was over before this device had \
                          its turn or its answer arrived."
                .into(),
        }
    }
}

/// How a job ended for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device answered, whatever it answered.
    Answered(MethodOutcome),
    /// It did not come to pass.
    Failed(TargetError),
    /// The twin was written.
    Written,
}

/// A device or module of a job.
#[derive(Clone, Debug)]
pub struct Target {
    id: IdentityId,
    begun_ms: Option<i64>,
    updated_ms: i64,
    outcome: Option<Outcome>,
}

impl Target {
    pub(super) fn new(id: IdentityId, now_ms: i64) -> Self {
        Self {
            id,
            begun_ms: None,
            updated_ms: now_ms,
            outcome: None,
        }
    }

    /// Whether the job was not at it before.
    pub(super) fn begin(&mut self, now_ms: i64) -> bool {
        let fresh = self.status() == TargetStatus::Pending;
        if fresh {
            self.begun_ms = Some(now_ms);
            self.updated_ms = now_ms;
        }
        fresh
    }

    /// Whether nothing was known of its end before.
    pub(super) fn end(&mut self, outcome: Outcome, now_ms: i64) -> bool {
        let open = self.outcome.is_none();
        if open {
            self.outcome = Some(outcome);
            self.updated_ms = now_ms;
        }
        open
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        &self.id
    }

    /// Where the job stands with it.
    #[must_use]
    pub fn status(&self) -> TargetStatus {
        match (&self.outcome, self.begun_ms) {
            (Some(Outcome::Failed(_)), _) => TargetStatus::Failed,
            (Some(Outcome::Answered(_) | Outcome::Written), _) => TargetStatus::Completed,
            (None, Some(_)) => TargetStatus::Running,
            (None, None) => TargetStatus::Pending,
        }
    }

    /// When the job came to it, in Unix milliseconds.
    #[must_use]
    pub fn begun_ms(&self) -> Option<i64> {
        self.begun_ms
    }

    /// When something last changed, in Unix milliseconds.
    #[must_use]
    pub fn updated_ms(&self) -> i64 {
        self.updated_ms
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }
}
