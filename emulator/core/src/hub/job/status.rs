//! Where a job stands, and what may come next.

use std::fmt;

/// Where a job stands (R-G33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Given up before it began.
    Cancelled,
    /// Done, however it ended for each device.
    Completed,
    /// Given up by the service.
    Failed,
    /// Just asked for.
    Queued,
    /// At its devices.
    Running,
    /// Waiting for its start.
    Scheduled,
}

/// What may happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStep {
    /// A back end gives it up.
    Cancel,
    /// The service gives it up.
    Fail,
    /// It is through with its devices, or its time is over.
    Finish,
    /// It is put off until its start.
    Schedule,
    /// It begins.
    Start,
}

/// A step that a job in this state cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {status} cannot {step}")]
pub struct IllegalStep {
    /// Where the job stands.
    pub status: JobStatus,
    /// What was asked of it.
    pub step: JobStep,
}

impl JobStatus {
    /// Where a job stands after `step`.
    ///
    /// # Errors
    /// [`IllegalStep`] for every step that is not listed here. A running job cannot be cancelled:
    /// Microsoft calls that by design (azure-iot-sdk-node#464).
    ///
    /// Source: behaviour.md R-G33; the wording of the SDKs.
    pub fn after(self, step: JobStep) -> Result<Self, IllegalStep> {
        match (self, step) {
            (Self::Queued, JobStep::Schedule) => Ok(Self::Scheduled),
            (Self::Queued | Self::Scheduled, JobStep::Start) => Ok(Self::Running),
            (Self::Queued | Self::Scheduled, JobStep::Cancel) => Ok(Self::Cancelled),
            (Self::Queued | Self::Scheduled | Self::Running, JobStep::Fail) => Ok(Self::Failed),
            (Self::Running, JobStep::Finish) => Ok(Self::Completed),
            (status, step) => Err(IllegalStep { status, step }),
        }
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Completed | Self::Failed)
    }

    /// What it is called on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Scheduled => "scheduled",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for JobStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "be cancelled",
            Self::Fail => "fail",
            Self::Finish => "finish",
            Self::Schedule => "be scheduled",
            Self::Start => "start",
        })
    }
}
