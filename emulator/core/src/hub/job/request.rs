//! What a job is asked to do, within all bounds.

use serde_json::Value;

use crate::hub::method::MethodRequest;
use crate::hub::query::{Collection, Condition, QueryError};
use crate::hub::twin::{DeviceTwin, TwinError};
use crate::id::{JobId, Precondition};
use crate::limits::{
    JOB_EXECUTION_SECONDS_DEFAULT, JOB_EXECUTION_SECONDS_MAX, JOB_EXECUTION_SECONDS_MIN,
    JOB_START_AHEAD_SECONDS_MAX,
};

/// The kinds of jobs (R-G32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobType {
    /// Call a direct method.
    ScheduleDeviceMethod,
    /// Write tags and desired properties.
    ScheduleUpdateTwin,
}

impl JobType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ScheduleDeviceMethod, Self::ScheduleUpdateTwin];

    /// What it is called on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScheduleDeviceMethod => "scheduleDeviceMethod",
            Self::ScheduleUpdateTwin => "scheduleUpdateTwin",
        }
    }
}

/// What a job merges into twins; null deletes (R-G21).
#[derive(Clone, Debug, PartialEq)]
pub struct TwinChange {
    /// Into the tags.
    pub tags: Option<Value>,
    /// Into the desired properties.
    pub desired: Option<Value>,
    /// Which version of the twin it is for; nearly always any.
    pub precondition: Precondition,
}

/// What a job does with each target.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Calls a direct method.
    Method(MethodRequest),
    /// Writes its twin.
    Twin(TwinChange),
}

/// A request as it was read, before its bounds are checked.
#[derive(Clone, Debug)]
pub struct JobDraft {
    /// Its id.
    pub id: JobId,
    /// What to do.
    pub work: Work,
    /// Whom to do it to, as text.
    pub condition: String,
    /// When to begin, in Unix milliseconds; at once unless it is said.
    pub start_ms: Option<i64>,
    /// How long it may take.
    pub execution_seconds: Option<u32>,
}

/// A request within all bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRequest {
    id: JobId,
    work: Work,
    text: String,
    condition: Condition,
    start_ms: Option<i64>,
    execution_seconds: u32,
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The condition is not understood.
    #[error("queryCondition: {0}")]
    Condition(QueryError),
    /// It is not asked of devices or modules.
    #[error("queryCondition: expected devices or devices.modules after FROM")]
    Collection,
    /// How long it may take is out of bounds.
    #[error("maxExecutionTimeInSeconds: {seconds} s is outside {min} to {max} s")]
    Execution {
        /// Asked for.
        seconds: u32,
        /// Fewest allowed.
        min: u32,
        /// Most allowed.
        max: u32,
    },
    /// Neither tags nor desired properties.
    #[error("updateTwin: expected tags or properties.desired")]
    Nothing,
    /// It begins too late.
    #[error("startTime: must be within {hours} hours from now")]
    Start {
        /// Most hours from now.
        hours: i64,
    },
    /// No twin can take the change.
    #[error("updateTwin: {0}")]
    Twin(TwinError),
}

impl JobRequest {
    /// Checks a request made at `now_ms`.
    ///
    /// # Errors
    /// [`JobError`] for the first thing wrong, in the order condition, work, start, length.
    ///
    /// Source: behaviour.md R-G32; for the start, "Must be within 168 hours", an answer of
    /// Azure's that users have quoted.
    pub fn new(draft: JobDraft, now_ms: i64) -> Result<Self, JobError> {
        let condition = Condition::parse(&draft.condition).map_err(JobError::Condition)?;
        if condition.collection() == Collection::Jobs {
            return Err(JobError::Collection);
        }
        if let Work::Twin(change) = &draft.work {
            check_change(change)?;
        }
        let latest = now_ms.saturating_add(JOB_START_AHEAD_SECONDS_MAX * 1000);
        if draft.start_ms.is_some_and(|start| start > latest) {
            let hours = JOB_START_AHEAD_SECONDS_MAX / 3600;
            return Err(JobError::Start { hours });
        }
        let (min, max) = (JOB_EXECUTION_SECONDS_MIN, JOB_EXECUTION_SECONDS_MAX);
        let seconds = draft
            .execution_seconds
            .unwrap_or(JOB_EXECUTION_SECONDS_DEFAULT);
        if !(min..=max).contains(&seconds) {
            return Err(JobError::Execution { seconds, min, max });
        }
        Ok(Self {
            id: draft.id,
            work: draft.work,
            text: draft.condition,
            condition,
            start_ms: draft.start_ms,
            execution_seconds: seconds,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// What it does.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Which kind it is of.
    #[must_use]
    pub fn job_type(&self) -> JobType {
        match self.work {
            Work::Method(_) => JobType::ScheduleDeviceMethod,
            Work::Twin(_) => JobType::ScheduleUpdateTwin,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Whom it is for, as it was asked.
    #[must_use]
    pub fn condition_text(&self) -> &str {
        &self.text
    }

    /// When it is to begin, in Unix milliseconds, if that was said.
    #[must_use]
    pub fn start_ms(&self) -> Option<i64> {
        self.start_ms
    }

    /// How long it may take.
    #[must_use]
    pub fn execution_seconds(&self) -> u32 {
        self.execution_seconds
    }
}

/// What not even an empty twin could take is refused before any device is asked.
fn check_change(change: &TwinChange) -> Result<(), JobError> {
    if change.tags.is_none() && change.desired.is_none() {
        return Err(JobError::Nothing);
    }
    let mut empty = DeviceTwin::new("");
    if let Some(tags) = &change.tags {
        empty.patch_tags(tags, "").map_err(JobError::Twin)?;
    }
    if let Some(desired) = &change.desired {
        empty.patch_desired(desired, "").map_err(JobError::Twin)?;
    }
    Ok(())
}
