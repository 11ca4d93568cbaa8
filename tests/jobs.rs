//! Jobs through the hub's service API, in virtual time (R-G32 to R-G35).

use std::sync::Arc;
use std::time::Duration;

use linarite::pki::Credential;
use linarite_core::hub::tier::{Edition, Tier};
use linarite_emulator::Config;
use linarite_env::Event;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::api_hub::assert_hub_error;
use crate::support::http::Answer;
use crate::support::mqtt::Mqtt;
use crate::support::{EPOCH, Lab};

mod fleet;
mod requests;

const METHODS: &str = "$iothub/methods/POST/#";

/// A hub of this edition, of one unit.
fn tier(edition: Edition) -> impl FnOnce(&mut Config) {
    move |config| config.hubs[0].tier = Some(Tier::new(edition, 1).unwrap())
}

/// The moment `seconds` after the laboratory opens, in January 2026.
fn moment(seconds: i64) -> String {
    let (day, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("2026-01-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

fn twin_job(condition: &str) -> Value {
    json!({
        "type": "scheduleUpdateTwin",
        "queryCondition": condition,
        "updateTwin": { "etag": "*", "tags": { "rolled": true } },
        "maxExecutionTimeInSeconds": 600,
    })
}

fn method_job(name: &str, condition: &str) -> Value {
    json!({
        "type": "scheduleDeviceMethod",
        "queryCondition": condition,
        "cloudToDeviceMethod": { "methodName": name, "payload": { "by": "job" } },
        "maxExecutionTimeInSeconds": 600,
    })
}

impl Lab {
    async fn put_job(&self, id: &str, body: Value) -> Answer {
        self.hub("PUT", &format!("/jobs/v2/{id}"), None, Some(body))
            .await
    }

    async fn job(&self, id: &str) -> Value {
        let answer = self.hub("GET", &format!("/jobs/v2/{id}"), None, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The job once it has ended; looked at once in a virtual second.
    async fn ended(&self, id: &str) -> Value {
        for _ in 0..10_000 {
            let job = self.job(id).await;
            if ["completed", "failed", "cancelled"].contains(&job["status"].as_str().unwrap()) {
                return job;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{id} does not end");
    }

    /// What became of the job at each device.
    async fn outcomes(&self, condition: &str) -> Vec<Value> {
        let query = format!("SELECT * FROM devices.jobs WHERE {condition}");
        let (found, _) = self.find(&query, 7).await;
        found
    }

    async fn add(&self, id: &str) {
        let body = json!({ "deviceId": id });
        let path = format!("/devices/{id}");
        assert_eq!(self.hub("PUT", &path, None, Some(body)).await.status, 200);
    }

    /// Virtual time from the job's running to its end.
    fn duration(&self, id: &str) -> Duration {
        let at = |wanted: &str| {
            let events = self.events.after(0);
            let is = |event: &Event| matches!(event, Event::JobChanged { job_id, status, .. } if **job_id == *id && *status == wanted);
            assert!(events.iter().any(is), "{id} was never {wanted}");
            let first = |event: &Event| {
                is(event)
                    && (wanted != "running"
                        || matches!(
                            event,
                            Event::JobChanged {
                                succeeded: 0,
                                failed: 0,
                                ..
                            }
                        ))
            };
            self.events.last_at(first).unwrap()
        };
        let span = at("completed").since(at("running"));
        Duration::from_millis(u64::try_from(span).unwrap())
    }
}

/// Answers the next direct method; gives its name and payload.
async fn answer(session: &mut Mqtt, status: u16, payload: &str) -> (String, Value) {
    let call = loop {
        let packet = session.expect().await;
        if packet.is_publish() && packet.topic().starts_with("$iothub/methods/POST/") {
            break packet;
        }
    };
    let rest = call.topic().strip_prefix("$iothub/methods/POST/").unwrap();
    let (name, query) = rest.split_once("/?").unwrap();
    let topic = format!("$iothub/methods/res/{status}/?{query}");
    session.publish(&topic, payload).await;
    (name.to_owned(), call.json())
}

/// R-G32, R-G33, R-G21.
#[tokio::test(start_paused = true)]
async fn a_twin_job_writes_the_twins_it_is_for() {
    let lab = Lab::start();
    lab.tagged("dev-1", json!({ "site": "munich", "old": 1 }))
        .await;
    lab.tagged("dev-2", json!({ "site": "munich" })).await;
    lab.tagged("dev-3", json!({ "site": "berlin" })).await;
    let mut body = twin_job("tags.site = 'munich'");
    body["jobId"] = "job-1".into();
    body["updateTwin"] = json!({
        "etag": "*", "tags": { "old": null, "new": 2 }, "properties": { "desired": { "interval": 60 } },
    });
    let created = lab.put_job("job-1", body.clone()).await;
    assert_eq!((created.status, created.text("status")), (200, "queued"));
    assert_eq!(
        (created.text("jobId"), created.text("type")),
        ("job-1", "scheduleUpdateTwin")
    );
    assert_eq!(created.text("createdTime"), moment(0));
    assert_eq!(created.body["updateTwin"], body["updateTwin"]);

    let job = lab.ended("job-1").await;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["queryCondition"], "tags.site = 'munich'");
    assert_eq!(job["maxExecutionTimeInSeconds"], 600);
    let counts = json!({
        "deviceCount": 2, "succeededCount": 2, "failedCount": 0, "runningCount": 0, "pendingCount": 0,
    });
    assert_eq!(job["deviceJobStatistics"], counts);
    assert!(job["endTime"].is_string());
    for (id, tags) in [
        ("dev-1", json!({ "site": "munich", "new": 2 })),
        ("dev-2", json!({ "site": "munich", "new": 2 })),
        ("dev-3", json!({ "site": "berlin" })),
    ] {
        let twin = lab.hub("GET", &format!("/twins/{id}"), None, None).await;
        assert_eq!(twin.body["tags"], tags, "{id}");
        let interval = &twin.body["properties"]["desired"]["interval"];
        assert_eq!(interval == 60, id != "dev-3", "{id}");
    }
    let outcomes = lab.outcomes("devices.jobs.jobId = 'job-1'").await;
    let rows: Vec<_> = outcomes
        .iter()
        .map(|row| {
            (
                row["deviceId"].as_str().unwrap(),
                row["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("dev-1", "completed"), ("dev-2", "completed")]);
    assert_eq!(outcomes[0]["jobType"], "scheduleUpdateTwin");
    assert_eq!(
        outcomes[0]["outcome"],
        json!({ "deviceMethodResponse": null })
    );
}

/// R-G33, R-G34, R-G25: devices answer as they like, and those that are away fail alone.
#[tokio::test(start_paused = true)]
async fn a_method_job_keeps_each_answer_and_fails_for_who_is_away() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let mut sessions = Vec::new();
    for name in ["dev-1", "dev-2", "dev-3"] {
        let mut session = lab.admit(&lab.leaf(name, 1, 30)).await;
        if name != "dev-3" {
            session.subscribe(METHODS).await;
        }
        sessions.push(session);
    }
    lab.add("dev-4").await;
    let created = lab.put_job("job-1", method_job("reboot", "*")).await;
    assert_eq!(created.status, 200, "{created:?}");
    let (first, second) = sessions.split_at_mut(1);
    let called = answer(&mut first[0], 200, r#"{"ok":true}"#).await;
    assert_eq!(called, ("reboot".to_owned(), json!({ "by": "job" })));
    answer(&mut second[0], 500, "not json").await;
    let job = lab.ended("job-1").await;
    assert_eq!(job["status"], "completed");
    assert_eq!(
        job["cloudToDeviceMethod"]["payload"],
        json!({ "by": "job" })
    );
    let counts = json!({
        "deviceCount": 4, "succeededCount": 2, "failedCount": 2, "runningCount": 0, "pendingCount": 0,
    });
    assert_eq!(job["deviceJobStatistics"], counts);

    let outcomes = lab.outcomes("devices.jobs.jobId = 'job-1'").await;
    let response = |index: usize| outcomes[index]["outcome"]["deviceMethodResponse"].clone();
    assert_eq!(
        response(0),
        json!({ "status": 200, "payload": { "ok": true } })
    );
    assert_eq!(response(1), json!({ "status": 500, "payload": "not json" }));
    for away in [2, 3] {
        assert_eq!(outcomes[away]["status"], "failed");
        assert_eq!(outcomes[away]["error"]["code"], "DeviceNotOnline");
        assert_eq!(response(away), Value::Null);
    }
    // Answers can be asked for.
    let found = lab
        .outcomes("outcome.deviceMethodResponse.status = 500 AND devices.jobs.status = 'completed'")
        .await;
    assert_eq!((found.len(), &found[0]["deviceId"]), (1, &json!("dev-2")));
    let page = lab
        .page(
            "SELECT TOP 3 * FROM devices.jobs WHERE jobId IN ['job-1', 'none']",
            Some(2),
            None,
        )
        .await;
    assert_eq!(page.header("x-ms-item-type"), Some("DeviceJob"));
    assert_eq!(page.body.as_array().unwrap().len(), 2);
    assert!(page.header("x-ms-continuation").is_some());
}

/// R-G34: a device that is not there yet may come within its connect timeout.
#[tokio::test(start_paused = true)]
async fn a_method_job_waits_for_devices_as_long_as_the_call_may() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    drop(lab.admit(&credential).await);
    lab.add("dev-2").await;
    let mut body = method_job("wake", "*");
    body["cloudToDeviceMethod"]["connectTimeoutInSeconds"] = 60.into();
    assert_eq!(lab.put_job("job-1", body).await.status, 200);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let running = lab.job("job-1").await;
    assert_eq!(
        (
            &running["status"],
            &running["deviceJobStatistics"]["runningCount"]
        ),
        (&json!("running"), &json!(2))
    );
    let mut session = lab.session(&credential).await.unwrap();
    session.subscribe(METHODS).await;
    answer(&mut session, 200, "null").await;
    let job = lab.ended("job-1").await;
    let counts = &job["deviceJobStatistics"];
    assert_eq!(
        (&counts["succeededCount"], &counts["failedCount"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(lab.duration("job-1").as_secs(), 60);
}

/// R-G33, R-G32: a job waits for its start on the emulator's clock, and its devices are those
/// of that moment.
#[tokio::test(start_paused = true)]
async fn a_job_waits_for_its_start_and_finds_its_devices_then() {
    let lab = Lab::start();
    lab.tagged("dev-1", json!({ "site": "munich" })).await;
    let mut body = twin_job("tags.site = 'munich'");
    body["startTime"] = moment(6 * 86_400).into();
    assert_eq!(lab.put_job("job-1", body).await.text("status"), "queued");
    tokio::time::sleep(Duration::from_secs(5 * 86_400)).await;
    let waiting = lab.job("job-1").await;
    assert_eq!(waiting["status"], "scheduled");
    assert_eq!(waiting["startTime"], moment(6 * 86_400));
    assert_eq!(waiting["deviceJobStatistics"], Value::Null);
    assert_eq!(lab.outcomes("jobId = 'job-1'").await, Vec::<Value>::new());

    lab.tagged("dev-2", json!({ "site": "munich" })).await;
    let moved = json!({ "tags": { "site": "berlin" } });
    lab.hub("PATCH", "/twins/dev-1", None, Some(moved)).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let job = lab.ended("job-1").await;
    assert_eq!(job["endTime"], moment(6 * 86_400));
    let outcomes = lab.outcomes("jobId = 'job-1'").await;
    assert_eq!(
        (outcomes.len(), &outcomes[0]["deviceId"]),
        (1, &json!("dev-2"))
    );
    assert_eq!(outcomes[0]["lastUpdatedDateTimeUtc"], moment(6 * 86_400));

    // A start that has passed is no reason to wait.
    let mut body = twin_job("*");
    body["startTime"] = "2025-12-31T00:00:00Z".into();
    lab.put_job("job-2", body).await;
    assert_eq!(lab.ended("job-2").await["status"], "completed");
}

/// R-G33, R-F10: what has not begun can be cancelled; what runs or has ended cannot.
#[tokio::test(start_paused = true)]
async fn only_a_job_that_has_not_begun_can_be_cancelled() {
    let lab = Lab::start();
    lab.open_fleet().await;
    lab.add("dev-0").await;
    let cancel = |id: &str| format!("/jobs/v2/{id}/cancel");
    let missing = lab.hub("POST", &cancel("none"), None, None).await;
    assert_hub_error(&missing, 404, "JobNotFound");

    let mut later = twin_job("*");
    later["startTime"] = moment(3600).into();
    lab.put_job("later", later.clone()).await;
    let cancelled = lab.hub("POST", &cancel("later"), None, None).await;
    assert_eq!(
        (cancelled.status, cancelled.text("status")),
        (200, "cancelled")
    );
    lab.put_job("even-later", later).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lab.job("even-later").await["status"], "scheduled");
    let cancelled = lab.hub("POST", &cancel("even-later"), None, None).await;
    assert_eq!(
        (cancelled.status, cancelled.text("status")),
        (200, "cancelled")
    );
    tokio::time::sleep(Duration::from_secs(7200)).await;
    for id in ["later", "even-later"] {
        let job = lab.job(id).await;
        assert_eq!(
            (&job["status"], &job["deviceJobStatistics"]["deviceCount"]),
            (&json!("cancelled"), &json!(0))
        );
    }
    let twin = lab.hub("GET", "/twins/dev-0", None, None).await;
    assert_eq!(twin.body["tags"], json!({}));

    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.subscribe(METHODS).await;
    lab.put_job("now", method_job("slow", "*")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = lab.hub("POST", &cancel("now"), None, None).await;
    assert_hub_error(&refused, 405, "OperationNotAllowedInCurrentState");
    assert!(refused.text("Message").contains("'running'"), "{refused:?}");
    answer(&mut session, 200, "null").await;
    assert_eq!(lab.ended("now").await["status"], "completed");
    let refused = lab.hub("POST", &cancel("now"), None, None).await;
    assert_hub_error(&refused, 405, "OperationNotAllowedInCurrentState");
}

/// R-G34, R-G25: what is not done when a job's time is over has failed, and the job is completed.
#[tokio::test(start_paused = true)]
async fn a_job_ends_when_its_time_is_over() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let mut silent = lab.admit(&lab.leaf("silent", 1, 30)).await;
    silent.subscribe(METHODS).await;
    let mut body = method_job("slow", "*");
    body["cloudToDeviceMethod"]["responseTimeoutInSeconds"] = 300.into();
    body["maxExecutionTimeInSeconds"] = 20.into();
    lab.put_job("short", body.clone()).await;
    let job = lab.ended("short").await;
    assert_eq!(lab.duration("short").as_secs(), 20);
    assert_eq!(
        (&job["status"], &job["deviceJobStatistics"]["failedCount"]),
        (&json!("completed"), &json!(1))
    );
    let outcomes = lab.outcomes("jobId = 'short'").await;
    assert_eq!(outcomes[0]["error"]["code"], "JobExecutionTimedOut");

    // With time enough the call's own end comes first.
    body["maxExecutionTimeInSeconds"] = 600.into();
    lab.put_job("long", body).await;
    lab.ended("long").await;
    assert_eq!(lab.duration("long").as_secs(), 300);
    let outcomes = lab.outcomes("jobId = 'long'").await;
    assert_eq!(outcomes[0]["error"]["code"], "GatewayTimeout");
}

/// R-F10, R-G32, R-G33: ids are taken once, for thirty days; a job nobody knows is `unknown`.
#[tokio::test(start_paused = true)]
async fn a_job_is_remembered_for_thirty_days() {
    let lab = Lab::start();
    lab.add("dev-1").await;
    let unknown = json!({ "jobId": "job-1", "type": "unknown", "status": "unknown" });
    assert_eq!(lab.job("job-1").await, unknown);
    lab.put_job("job-1", twin_job("*")).await;
    lab.ended("job-1").await;
    let twice = lab.put_job("job-1", twin_job("*")).await;
    assert_hub_error(&twice, 409, "JobAlreadyExists");
    tokio::time::sleep(Duration::from_secs(30 * 86_400 - 60)).await;
    assert_eq!(lab.job("job-1").await["status"], "completed");
    assert_eq!(lab.outcomes("jobId = 'job-1'").await.len(), 1);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(lab.job("job-1").await, unknown);
    assert_eq!(lab.outcomes("jobId = 'job-1'").await.len(), 0);
    assert_eq!(lab.put_job("job-1", twin_job("*")).await.status, 200);
}

/// R-G32: modules can be the targets of a job, too.
#[tokio::test(start_paused = true)]
async fn a_job_may_be_for_modules() {
    let lab = Lab::start();
    lab.add("dev-1").await;
    for module in ["a", "b"] {
        let body = json!({ "deviceId": "dev-1", "moduleId": module });
        let path = format!("/devices/dev-1/modules/{module}");
        assert_eq!(lab.hub("PUT", &path, None, Some(body)).await.status, 200);
    }
    lab.put_job(
        "job-1",
        twin_job("FROM devices.modules WHERE ModuleId = 'b'"),
    )
    .await;
    lab.ended("job-1").await;
    let outcomes = lab.outcomes("jobId = 'job-1'").await;
    assert_eq!(
        (&outcomes[0]["deviceId"], &outcomes[0]["moduleId"]),
        (&json!("dev-1"), &json!("b"))
    );
    let tags = |module: &'static str| {
        let lab = &lab;
        async move {
            let path = format!("/twins/dev-1/modules/{module}");
            lab.hub("GET", &path, None, None).await.body["tags"].clone()
        }
    };
    assert_eq!(
        (tags("a").await, tags("b").await),
        (json!({}), json!({ "rolled": true }))
    );
}
