//! Tables of jobs: what may be asked for, what may follow what, and how devices are counted.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hub::method::MethodRequest;
use crate::id::{JobId, Precondition};

const NOW: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

fn twin_change(tags: Value) -> Work {
    Work::Twin(TwinChange {
        tags: Some(tags),
        desired: None,
        precondition: Precondition::Any,
    })
}

fn method() -> Work {
    Work::Method(MethodRequest::new("reboot", None, None, None).unwrap())
}

fn draft(work: Work, condition: &str) -> JobDraft {
    JobDraft {
        id: JobId::parse("job-1").unwrap(),
        work,
        condition: condition.to_owned(),
        start_ms: None,
        execution_seconds: None,
    }
}

fn job() -> Job {
    Job::new(JobRequest::new(draft(method(), "*"), NOW).unwrap(), NOW)
}

fn ids(names: &[&str]) -> Vec<IdentityId> {
    let parse = |name: &&str| IdentityId::parse(name).unwrap();
    names.iter().map(parse).collect()
}

/// R-G32.
#[test]
fn a_job_id_is_of_letters_digits_and_dashes() {
    let long = "a".repeat(64);
    for (text, fits) in [
        ("job-1", true),
        ("JOBSAMPLE123", true),
        (&*long, true),
        ("", false),
        ("a_b", false),
        ("a.b", false),
        ("ä", false),
        (&*(long.clone() + "a"), false),
    ] {
        assert_eq!(JobId::parse(text).is_ok(), fits, "{text}");
    }
}

/// R-G32.
#[test]
fn a_request_has_bounds_and_each_complaint_names_its_field() {
    let change = |change: fn(&mut JobDraft)| {
        let mut draft = draft(twin_change(json!({ "a": 1 })), "*");
        change(&mut draft);
        JobRequest::new(draft, NOW).map_err(|error| error.to_string())
    };
    type Edit = fn(&mut JobDraft);
    let table: [(Edit, Option<&str>); 14] = [
        (|_| {}, None),
        (
            |draft| draft.condition = "tags.site = 'munich'".into(),
            None,
        ),
        (
            |draft| draft.condition = "FROM devices.modules WHERE moduleId = 'm'".into(),
            None,
        ),
        (
            |draft| draft.condition = "SELECT * FROM devices".into(),
            Some("queryCondition: Line 1:1 expected a property"),
        ),
        (
            |draft| draft.condition = "FROM devices.jobs".into(),
            Some("queryCondition: expected devices or devices.modules"),
        ),
        (|draft| draft.start_ms = Some(NOW - HOUR), None),
        (|draft| draft.start_ms = Some(0), None),
        (|draft| draft.start_ms = Some(NOW + 168 * HOUR), None),
        (
            |draft| draft.start_ms = Some(NOW + 168 * HOUR + 1),
            Some("startTime: must be within 168 hours"),
        ),
        (|draft| draft.execution_seconds = Some(30 * 86_400), None),
        (
            |draft| draft.execution_seconds = Some(0),
            Some("maxExecutionTimeInSeconds: 0 s is outside 1 to 2592000 s"),
        ),
        (
            |draft| draft.work = twin_change(json!({ "a.b": 1 })),
            Some("updateTwin: "),
        ),
        (|draft| draft.work = twin_change(json!({ "a": null })), None),
        (
            |draft| {
                draft.work = Work::Twin(TwinChange {
                    tags: None,
                    desired: None,
                    precondition: Precondition::Any,
                });
            },
            Some("updateTwin: expected tags or properties.desired"),
        ),
    ];
    for (index, (make, expected)) in table.into_iter().enumerate() {
        match (change(make), expected) {
            (Ok(request), None) => assert_eq!(request.job_type(), JobType::ScheduleUpdateTwin),
            (Err(error), Some(expected)) => assert!(error.starts_with(expected), "{error}"),
            (found, expected) => panic!("row {index}: {found:?}, not {expected:?}"),
        }
    }
}

/// R-G33: what may follow what. Every pair that is not here is refused.
#[test]
fn a_job_goes_its_way_and_no_other() {
    use JobStatus::{Cancelled, Completed, Failed, Queued, Running, Scheduled};
    use JobStep::{Cancel, Fail, Finish, Schedule, Start};
    let legal = [
        (Queued, Schedule, Scheduled),
        (Queued, Start, Running),
        (Queued, Cancel, Cancelled),
        (Queued, Fail, Failed),
        (Scheduled, Start, Running),
        (Scheduled, Cancel, Cancelled),
        (Scheduled, Fail, Failed),
        (Running, Fail, Failed),
        (Running, Finish, Completed),
    ];
    for status in [Cancelled, Completed, Failed, Queued, Running, Scheduled] {
        for step in [Cancel, Fail, Finish, Schedule, Start] {
            let row = legal
                .iter()
                .find(|(from, by, _)| (*from, *by) == (status, step));
            let expected = row
                .map(|(_, _, to)| *to)
                .ok_or(IllegalStep { status, step });
            assert_eq!(status.after(step), expected, "{status} {step}");
        }
        let ends = [Cancel, Fail, Finish, Schedule, Start].map(|step| status.after(step));
        assert_eq!(
            status.is_final(),
            ends.iter().all(Result::is_err),
            "{status}"
        );
    }
}

/// R-G33, R-G34.
#[test]
fn devices_are_counted_as_they_come_and_end() {
    let mut job = job();
    assert_eq!((job.status(), job.statistics()), (JobStatus::Queued, None));
    job.start(ids(&["c", "a", "b", "a", "d/m"]), NOW + 1)
        .unwrap();
    let names: Vec<_> = job
        .targets()
        .iter()
        .map(|target| target.id().as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d/m"]);
    assert_eq!(job.begin(0, NOW + 2).unwrap().as_str(), "a");
    assert_eq!(job.begin(0, NOW + 3), None, "begun twice");
    assert_eq!(job.begin(9, NOW + 3), None, "not there");
    job.begin(1, NOW + 3).unwrap();
    let answered = Outcome::Answered(MethodOutcome {
        status: 500,
        payload: None,
    });
    // Whatever a device answers, it has answered.
    job.end(0, answered, NOW + 4);
    job.end(0, Outcome::Written, NOW + 5);
    let offline = TargetError {
        code: "DeviceNotOnline",
        description: "gone".into(),
    };
    job.end(1, Outcome::Failed(offline), NOW + 6);
    job.begin(2, NOW + 7).unwrap();
    let statistics = Statistics {
        targets: 4,
        failed: 1,
        succeeded: 1,
        running: 1,
        pending: 1,
    };
    assert_eq!(job.statistics(), Some(statistics));
    let states: Vec<_> = job
        .targets()
        .iter()
        .map(|target| target.status().name())
        .collect();
    assert_eq!(states, ["completed", "failed", "running", "pending"]);
    assert_eq!(job.targets()[0].updated_ms(), NOW + 4);

    // What it has not come to the end with counts as failed; the job is completed all the same.
    job.finish(NOW + 8).unwrap();
    let statistics = Statistics {
        targets: 4,
        failed: 3,
        succeeded: 1,
        ..Statistics::default()
    };
    assert_eq!(
        (job.status(), job.statistics()),
        (JobStatus::Completed, Some(statistics))
    );
    let ended = |index: usize| match job.targets()[index].outcome() {
        Some(Outcome::Failed(error)) => error.code,
        _ => "",
    };
    assert_eq!(
        (ended(1), ended(2), ended(3)),
        (
            "DeviceNotOnline",
            "JobExecutionTimedOut",
            "JobExecutionTimedOut"
        )
    );
    assert_eq!(job.ended_ms(), Some(NOW + 8));
    assert!(job.clone().finish(NOW + 9).is_err());
    assert_eq!(job.begin(3, NOW + 9), None);
}

/// R-G33: only what has not begun can be cancelled.
#[test]
fn a_running_job_cannot_be_cancelled() {
    let mut queued = job();
    queued.cancel(NOW + 1).unwrap();
    assert_eq!(
        (queued.status(), queued.ended_ms()),
        (JobStatus::Cancelled, Some(NOW + 1))
    );
    assert!(queued.start(ids(&["a"]), NOW + 2).is_err());
    assert!(queued.targets().is_empty());

    let mut scheduled = job();
    scheduled.schedule().unwrap();
    scheduled.cancel(NOW + 1).unwrap();

    let mut running = job();
    running.start(ids(&["a"]), NOW).unwrap();
    let refused = running.cancel(NOW + 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a job that is running cannot be cancelled"
    );
    assert_eq!(
        (running.status(), running.ended_ms()),
        (JobStatus::Running, None)
    );
    running.fail("the store is full", NOW + 2).unwrap();
    assert_eq!(
        (running.status(), running.failure()),
        (JobStatus::Failed, Some("the store is full"))
    );
}

/// R-G32: the record is kept for thirty days after the end, and its time counts from the start.
#[test]
fn a_job_is_kept_for_thirty_days_after_its_end() {
    let mut draft = draft(method(), "*");
    draft.start_ms = Some(NOW + HOUR);
    draft.execution_seconds = Some(60);
    let mut job = Job::new(JobRequest::new(draft, NOW).unwrap(), NOW);
    assert_eq!(
        (job.start_ms(), job.deadline_ms()),
        (NOW + HOUR, NOW + HOUR + 60_000)
    );
    assert!(!job.is_forgotten(NOW + 1_000 * HOUR));
    job.start(Vec::new(), NOW + HOUR + 5).unwrap();
    assert_eq!(job.deadline_ms(), NOW + HOUR + 60_005);
    job.finish(NOW + 2 * HOUR).unwrap();
    let kept = NOW + 2 * HOUR + 30 * 24 * HOUR;
    assert!(!job.is_forgotten(kept - 1));
    assert!(job.is_forgotten(kept));
}

proptest! {
    /// R-G33: whatever happens in whatever order, every target is in one state and counted once.
    #[test]
    fn the_numbers_always_add_up(
        steps in prop::collection::vec((0_usize..6, 0_u8..5), 0..60),
        targets in 0_usize..6,
    ) {
        let mut job = job();
        let names: Vec<_> = (0..targets).map(|index| format!("d{index}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for (index, step) in steps {
            let failed = || Outcome::Failed(TargetError::out_of_time());
            match step {
                0 => drop(job.start(ids(&names), NOW)),
                1 => drop(job.begin(index, NOW)),
                2 => job.end(index, Outcome::Written, NOW),
                3 => job.end(index, failed(), NOW),
                _ => drop(job.finish(NOW).is_ok() && index > 4),
            }
            let Some(found) = job.statistics() else { continue };
            let count = |status| {
                job.targets().iter().filter(|target| target.status() == status).count()
            };
            prop_assert_eq!(found, Statistics {
                targets,
                failed: count(TargetStatus::Failed),
                succeeded: count(TargetStatus::Completed),
                running: count(TargetStatus::Running),
                pending: count(TargetStatus::Pending),
            });
            if job.status().is_final() {
                prop_assert_eq!(found.running + found.pending, 0);
            }
        }
    }
}
