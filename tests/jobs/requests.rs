//! What may be asked of jobs: how many, which lists, and what is refused (R-G32, R-G33, R-G35).

use super::*;

/// R-G35, R-F10: a tier limits the jobs that have not ended; one that waits counts as well.
#[tokio::test(start_paused = true)]
async fn a_tier_limits_the_jobs_that_have_not_ended() {
    for (edition, limit) in [
        (Edition::F1, 1),
        (Edition::S1, 1),
        (Edition::S2, 5),
        (Edition::S3, 10),
    ] {
        let lab = Lab::with(tier(edition));
        let mut later = twin_job("*");
        later["startTime"] = moment(3600).into();
        for number in 0..limit {
            let created = lab.put_job(&format!("job-{number}"), later.clone()).await;
            assert_eq!(created.status, 200, "{created:?}");
        }
        let over = lab.put_job("over", twin_job("*")).await;
        assert_hub_error(&over, 429, "ThrottlingMaxActiveJobCountExceeded");
        lab.hub("POST", "/jobs/v2/job-0/cancel", None, None).await;
        assert_eq!(lab.put_job("over", twin_job("*")).await.status, 200);
    }
    // Nobody limits a developer who named no tier.
    let lab = Lab::start();
    let mut later = twin_job("*");
    later["startTime"] = moment(3600).into();
    for number in 0..20 {
        let created = lab.put_job(&format!("job-{number}"), later.clone()).await;
        assert_eq!(created.status, 200, "{created:?}");
    }
}

/// R-G33, R-F7: jobs are listed by kind and status, in pages.
#[tokio::test(start_paused = true)]
async fn jobs_are_listed_by_kind_and_status_in_pages() {
    let lab = Lab::start();
    lab.add("dev-1").await;
    for id in ["a", "b", "c"] {
        lab.put_job(id, twin_job("*")).await;
        lab.ended(id).await;
    }
    lab.put_job("d", method_job("m", "*")).await;
    lab.ended("d").await;
    let mut later = twin_job("*");
    later["startTime"] = moment(86_400).into();
    lab.put_job("e", later).await;
    lab.hub("POST", "/jobs/v2/e/cancel", None, None).await;
    let table: [(&str, &[&str]); 6] = [
        ("", &["a", "b", "c", "d", "e"]),
        ("&jobType=scheduleDeviceMethod", &["d"]),
        ("&jobStatus=completed", &["a", "b", "c", "d"]),
        ("&jobType=scheduleUpdateTwin&jobStatus=cancelled", &["e"]),
        ("&jobType=&jobStatus=running", &[]),
        ("&jobStatus=unknown", &[]),
    ];
    for (filter, expected) in table {
        let mut request = lab.hub_request("GET", "/jobs/v2/query");
        request.path.push_str(filter);
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let mut page = request.clone().header("x-ms-max-item-count", "2");
            if let Some(token) = after {
                page = page.header("x-ms-continuation", token);
            }
            let page = lab.ask(&page, None).await;
            assert_eq!(
                (page.status, page.header("x-ms-item-type")),
                (200, Some("JobResponse"))
            );
            let jobs = page.body.as_array().unwrap();
            assert!(jobs.len() <= 2);
            ids.extend(
                jobs.iter()
                    .map(|job| job["jobId"].as_str().unwrap().to_owned()),
            );
            after = page.header("x-ms-continuation").map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, expected, "{filter}");
    }
    for (filter, field) in [
        ("&jobType=export", "jobType"),
        ("&jobStatus=done", "jobStatus"),
    ] {
        let mut request = lab.hub_request("GET", "/jobs/v2/query");
        request.path.push_str(filter);
        let refused = lab.ask(&request, None).await;
        assert_hub_error(&refused, 400, "ArgumentInvalid");
        assert!(refused.text("Message").contains(field), "{refused:?}");
    }
}

/// R-F10, R-G32: what is wrong is named by its field; import and export jobs are not emulated.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_job_is_named() {
    let lab = Lab::start();
    let with = |member: &str, value: Value| {
        let mut body = twin_job("*");
        body[member] = value;
        body
    };
    let table = [
        ("job-1", with("type", json!("import")), "type: expected"),
        (
            "job-1",
            with("jobId", json!("job-2")),
            "jobId: expected job-1",
        ),
        (
            "job-1",
            with("queryCondition", json!("SELECT *")),
            "queryCondition: Line 1:1",
        ),
        (
            "job-1",
            with("queryCondition", Value::Null),
            "queryCondition: required",
        ),
        (
            "job-1",
            with("startTime", json!("soon")),
            "startTime: expected",
        ),
        (
            "job-1",
            with("startTime", json!(moment(8 * 86_400))),
            "startTime: must be within",
        ),
        (
            "job-1",
            with("maxExecutionTimeInSeconds", json!(0)),
            "maxExecutionTimeInSeconds: 0 s",
        ),
        (
            "job-1",
            with("updateTwin", json!({ "etag": "*" })),
            "updateTwin: expected tags",
        ),
        (
            "job-1",
            with("updateTwin", json!({ "tags": { "a.b": 1 } })),
            "updateTwin: ",
        ),
        ("job-1", json!([]), "must be a JSON object"),
        ("job_1", twin_job("*"), "job id holds '_'"),
        (&*"x".repeat(65), twin_job("*"), "job id has 65 characters"),
    ];
    for (id, body, expected) in table {
        let refused = lab.put_job(id, body).await;
        assert_hub_error(&refused, 400, "ArgumentInvalid");
        assert!(refused.text("Message").contains(expected), "{refused:?}");
    }
    for (method, path) in [
        ("GET", "/jobs"),
        ("POST", "/jobs/create"),
        ("GET", "/jobs/x"),
        ("DELETE", "/jobs/x"),
    ] {
        let refused = lab.hub(method, path, None, None).await;
        assert_eq!(refused.status, 501, "{refused:?}");
    }
    assert_eq!(lab.job("job-1").await["status"], "unknown");
}
