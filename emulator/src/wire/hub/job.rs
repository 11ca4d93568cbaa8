//! Jobs, as the back end asks for them and reads them (R-G32, R-G33).

use linarite_core::hub::job::{
    Job, JobDraft, JobRequest, JobStatus, JobType, Outcome, Target, TwinChange, Work,
};
use linarite_core::id::{JobId, Precondition};
use linarite_env::UnixMillis;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::super::reader::Reader;
use super::{method, moment, twin};
use crate::error::ServiceError;
use crate::service::job::Wish;

/// Statuses that Azure's API lists beside those a job of ours can have.
const OTHER_STATUSES: [&str; 2] = ["enqueued", "unknown"];

/// Reads the body of `PUT /jobs/v2/{id}`.
pub(crate) fn read(id: &JobId, body: &Value, now: UnixMillis) -> Result<JobRequest, ServiceError> {
    let body = Reader::root(body)?;
    if body
        .text("jobId")?
        .is_some_and(|named| named != id.as_str())
    {
        return Err(body.wrong("jobId", format!("expected {id}, as in the address")));
    }
    let kind = body.text("type")?.and_then(job_type).ok_or_else(|| {
        let expected = "expected scheduleDeviceMethod or scheduleUpdateTwin";
        body.wrong("type", expected)
    })?;
    let work = match kind {
        JobType::ScheduleDeviceMethod => read_method(&body)?,
        JobType::ScheduleUpdateTwin => read_change(&body)?,
    };
    let condition = body
        .text("queryCondition")?
        .ok_or_else(|| body.wrong("queryCondition", "required"))?;
    let start = body.text("startTime")?.filter(|text| !text.is_empty());
    let draft = JobDraft {
        id: id.clone(),
        work,
        condition: condition.to_owned(),
        start_ms: start.map(|text| start_ms(&body, text)).transpose()?,
        execution_seconds: body.number("maxExecutionTimeInSeconds")?,
    };
    JobRequest::new(draft, now.0).map_err(|error| ServiceError::invalid(error.to_string()))
}

fn job_type(text: &str) -> Option<JobType> {
    let named = |kind: &JobType| kind.name() == text;
    JobType::ALL.into_iter().find(named)
}

fn read_method(body: &Reader<'_>) -> Result<Work, ServiceError> {
    let call = body.object("cloudToDeviceMethod")?;
    if !call.is_present() {
        return Err(body.wrong("cloudToDeviceMethod", "required"));
    }
    method::read_request(&call).map(Work::Method)
}

fn read_change(body: &Reader<'_>) -> Result<Work, ServiceError> {
    let change = body.object("updateTwin")?;
    if !change.is_present() {
        return Err(body.wrong("updateTwin", "required"));
    }
    let precondition = Precondition::parse(change.text("etag")?.filter(|etag| !etag.is_empty()));
    let precondition = precondition.map_err(|error| change.wrong("etag", error))?;
    let draft = twin::read_sections(&change)?;
    Ok(Work::Twin(TwinChange {
        tags: draft.tags,
        desired: draft.desired,
        precondition,
    }))
}

/// A moment with its offset from UTC, or without one: then it is UTC.
fn start_ms(body: &Reader<'_>, text: &str) -> Result<i64, ServiceError> {
    let bare = format_description!(
        version = 2,
        "[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]"
    );
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, bare).map(PrimitiveDateTime::assume_utc))
        .map_err(|_| body.wrong("startTime", "expected a moment as 2026-01-31T12:00:00Z"))?;
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .map_err(|_| body.wrong("startTime", "expected a moment within four digits of years"))
}

/// Reads what `GET /jobs/v2/query` asks for; `None` if no job of ours can be of that kind.
pub(crate) fn wish(kind: Option<&str>, status: Option<&str>) -> Result<Option<Wish>, ServiceError> {
    let present = |text: Option<&'_ str>| text.is_some_and(|text| !text.is_empty());
    let mut wish = Wish::default();
    if present(kind) {
        wish.job_type = kind.and_then(job_type);
        if wish.job_type.is_none() {
            let text = "jobType: expected scheduleDeviceMethod or scheduleUpdateTwin";
            return Err(ServiceError::invalid(text));
        }
    }
    if present(status) {
        let text = status.unwrap_or_default();
        if OTHER_STATUSES.contains(&text) {
            return Ok(None);
        }
        wish.status = JOB_STATUSES
            .into_iter()
            .find(|status| status.name() == text);
        if wish.status.is_none() {
            let names = JOB_STATUSES.map(JobStatus::name).join(", ");
            let text = format!("jobStatus: expected one of {names}");
            return Err(ServiceError::invalid(text));
        }
    }
    Ok(Some(wish))
}

const JOB_STATUSES: [JobStatus; 6] = [
    JobStatus::Queued,
    JobStatus::Scheduled,
    JobStatus::Running,
    JobStatus::Completed,
    JobStatus::Failed,
    JobStatus::Cancelled,
];

/// A job as Azure shows it. What is not known yet is left out.
pub(crate) fn job(job: &Job) -> Value {
    let request = job.request();
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("jobId", request.id().as_str().into());
    set("type", request.job_type().name().into());
    set("status", job.status().name().into());
    set("queryCondition", request.condition_text().into());
    set("createdTime", at(job.created_ms()));
    set("startTime", at(job.start_ms()));
    if let Some(ended) = job.ended_ms() {
        set("endTime", at(ended));
    }
    set(
        "maxExecutionTimeInSeconds",
        request.execution_seconds().into(),
    );
    match request.work() {
        Work::Method(call) => set("cloudToDeviceMethod", method::request(call)),
        Work::Twin(change) => set("updateTwin", updated(change)),
    };
    if let Some(reason) = job.failure() {
        set("failureReason", reason.into());
    }
    if let Some(statistics) = job.statistics() {
        let counts = json!({
            "deviceCount": statistics.targets,
            "failedCount": statistics.failed,
            "succeededCount": statistics.succeeded,
            "runningCount": statistics.running,
            "pendingCount": statistics.pending,
        });
        set("deviceJobStatistics", counts);
    }
    Value::Object(members)
}

/// A job that is not known.
pub(crate) fn unknown(id: &JobId) -> Value {
    json!({ "jobId": id.as_str(), "type": "unknown", "status": "unknown" })
}

/// What became of a job at one device or module, as a document of `devices.jobs`.
///
/// Start and end are those of the job, as Microsoft's example has it: the end is when its time is
/// over, and the last update tells when this device was done.
pub(crate) fn target(job: &Job, target: &Target) -> Value {
    let response = match target.outcome() {
        Some(Outcome::Answered(answer)) => {
            method::outcome(answer.status, answer.payload.as_deref().unwrap_or_default())
        }
        _ => Value::Null,
    };
    let mut document = json!({
        "deviceId": target.id().device_id(),
        "jobId": job.request().id().as_str(),
        "jobType": job.request().job_type().name(),
        "status": target.status().name(),
        "startTimeUtc": at(job.start_ms()),
        "endTimeUtc": at(job.deadline_ms()),
        "createdDateTimeUtc": at(job.started_ms().unwrap_or(job.created_ms())),
        "lastUpdatedDateTimeUtc": at(target.updated_ms()),
        "outcome": { "deviceMethodResponse": response },
    });
    if let Some(module) = target.id().module_id() {
        document["moduleId"] = module.into();
    }
    if let Some(Outcome::Failed(error)) = target.outcome() {
        document["error"] = json!({ "code": error.code, "description": &*error.description });
    }
    document
}

fn updated(change: &TwinChange) -> Value {
    let etag = match &change.precondition {
        Precondition::None | Precondition::Any => "*".to_owned(),
        Precondition::Match(etag) => etag.as_str().to_owned(),
    };
    let mut twin = json!({ "etag": etag });
    if let Some(tags) = &change.tags {
        twin["tags"] = tags.clone();
    }
    if let Some(desired) = &change.desired {
        twin["properties"] = json!({ "desired": desired });
    }
    twin
}

fn at(ms: i64) -> Value {
    moment(Some(UnixMillis(ms))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(change: impl FnOnce(&mut Value)) -> Result<JobRequest, String> {
        let mut body = json!({
            "jobId": "j", "type": "scheduleUpdateTwin", "queryCondition": "*",
            "updateTwin": { "etag": "*", "tags": { "a": 1 } },
        });
        change(&mut body);
        let id = JobId::parse("j").unwrap();
        read(&id, &body, UnixMillis(0)).map_err(|error| error.message)
    }

    /// R-G32.
    #[test]
    fn a_start_may_say_its_offset_or_be_utc() {
        let table = [
            (json!("1970-01-01T00:00:01Z"), Some(1_000)),
            (json!("1970-01-01T01:00:01.5+01:00"), Some(1_500)),
            (json!("1970-01-01T00:00:01.123456"), Some(1_123)),
            (json!("1970-01-01T00:00:01"), Some(1_000)),
            (json!(""), None),
            (Value::Null, None),
        ];
        for (text, start) in table {
            let read = read_body(|body| body["startTime"] = text.clone());
            assert_eq!(read.unwrap().start_ms(), start, "{text}");
        }
    }

    /// R-G32, R-F10.
    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        type Change = fn(&mut Value);
        let table: [(Change, &str); 13] = [
            (|body| body["jobId"] = json!("k"), "jobId: expected j"),
            (
                |body| body["type"] = json!("export"),
                "type: expected scheduleDeviceMethod",
            ),
            (|body| body["type"] = Value::Null, "type: expected"),
            (
                |body| body["queryCondition"] = Value::Null,
                "queryCondition: required",
            ),
            (
                |body| body["queryCondition"] = json!("a ="),
                "queryCondition: Line 1:4",
            ),
            (
                |body| body["updateTwin"] = Value::Null,
                "updateTwin: required",
            ),
            (
                |body| body["updateTwin"] = json!({ "desired": {} }),
                "updateTwin: expected tags",
            ),
            (
                |body| body["updateTwin"] = json!({ "properties": { "reported": { "a": 1 } } }),
                "updateTwin.properties.reported: only the device",
            ),
            (
                |body| body["updateTwin"]["etag"] = json!(1),
                "updateTwin.etag: expected a string",
            ),
            (
                |body| body["type"] = json!("scheduleDeviceMethod"),
                "cloudToDeviceMethod: required",
            ),
            (
                |body| {
                    body["type"] = json!("scheduleDeviceMethod");
                    body["cloudToDeviceMethod"] = json!({ "payload": 1 });
                },
                "cloudToDeviceMethod.methodName: required",
            ),
            (
                |body| body["startTime"] = json!("tomorrow"),
                "startTime: expected a moment",
            ),
            (
                |body| body["maxExecutionTimeInSeconds"] = json!(-1),
                "maxExecutionTimeInSeconds: expected a whole number",
            ),
        ];
        for (change, expected) in table {
            let told = read_body(change).unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
