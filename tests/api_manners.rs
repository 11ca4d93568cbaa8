//! What DPS's HTTP APIs answer to requests that are not put as they should be (R-F8, R-A29).

use serde_json::json;

use crate::api::assert_dps_error;
use crate::support::http::Request;
use crate::support::{DPS, Lab, SCOPE};

const VERSION: &str = "api-version=2021-10-01";

/// Each path of the service and device APIs with a method it has.
fn calls() -> Vec<(&'static str, String)> {
    let service = [
        ("GET", "/enrollments/x"),
        ("POST", "/enrollments"),
        ("POST", "/enrollments/query"),
        ("POST", "/enrollments/x/attestationmechanism"),
        ("GET", "/enrollmentGroups/x"),
        ("POST", "/enrollmentGroups"),
        ("POST", "/enrollmentGroups/query"),
        ("POST", "/enrollmentGroups/x/attestationmechanism"),
        ("GET", "/registrations/x"),
        ("POST", "/registrations/x/query"),
    ];
    let device = [
        ("PUT", "/register"),
        ("POST", ""),
        ("GET", "/operations/4.none.such"),
    ];
    let service = service.map(|(method, path)| (method, path.to_owned()));
    let device = device.map(|(method, what)| (method, format!("/{SCOPE}/registrations/x{what}")));
    service.into_iter().chain(device).collect()
}

fn request(lab: &Lab, method: &'static str, path: &str) -> Request {
    let request = Request::new(method, DPS, path);
    if path.starts_with(&format!("/{SCOPE}")) {
        return request;
    }
    let token = lab.dps_string().token(lab.now() + 600);
    request.header("Authorization", token)
}

/// R-F8: a request says which version it speaks; any date from the oldest on will do.
#[tokio::test(start_paused = true)]
async fn every_call_names_a_version() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    for (method, path) in calls() {
        for query in ["", "?x=y", "?api-version=", "?api-version=latest"] {
            let bad = request(&lab, method, &format!("{path}{query}"));
            let answer = connection.ask(&bad).await;
            assert_dps_error(&answer, 400_004);
            assert!(answer.text("message").contains("api-version"), "{answer:?}");
        }
        for version in [
            "2018-04-01",
            "2018-09-01-preview",
            "2019-03-31",
            "2030-01-01",
        ] {
            let good = request(&lab, method, &format!("{path}?api-version={version}"));
            let answer = connection.ask(&good).await;
            let message = answer.body["message"].as_str().unwrap_or_default();
            assert!(!message.contains("api-version"), "{answer:?}");
        }
    }
}

/// R-F8: another method, or no id, is 405, and says what would be right.
#[tokio::test(start_paused = true)]
async fn a_known_path_says_which_methods_it_has() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    for (method, path) in calls() {
        for other in ["PATCH", "OPTIONS"] {
            let wrong = request(&lab, other, &format!("{path}?{VERSION}"));
            let answer = connection.ask(&wrong).await;
            assert_dps_error(&answer, 405_000);
            let allowed = answer.header("allow").unwrap();
            assert!(allowed.split(',').any(|name| name == method), "{answer:?}");
        }
    }
    for (method, path) in [
        ("GET", "/enrollments"),
        ("PUT", "/enrollments/"),
        ("DELETE", "/enrollmentGroups/"),
        ("GET", "/registrations"),
        ("DELETE", "/registrations/"),
        ("PUT", "/0ne00000001/registrations/"),
    ] {
        let answer = connection
            .ask(&request(&lab, method, &format!("{path}?{VERSION}")))
            .await;
        assert_dps_error(&answer, 405_000);
        assert!(answer.text("message").contains("id"), "{answer:?}");
        assert!(answer.header("allow").is_some(), "{answer:?}");
    }
    // An empty id in the middle of a path.
    for (method, path) in [
        ("POST", "/enrollments//attestationmechanism"),
        ("POST", "/registrations//query"),
        ("PUT", "/0ne00000001/registrations//register"),
    ] {
        let answer = connection
            .ask(&request(&lab, method, &format!("{path}?{VERSION}")))
            .await;
        assert_dps_error(&answer, 405_000);
    }
    // A path that nobody knows is another matter.
    let unknown = request(&lab, "GET", &format!("/enrollments/x/y/z?{VERSION}"));
    assert_dps_error(&connection.ask(&unknown).await, 501_000);
}

/// R-F8: a body is JSON and says so.
#[tokio::test(start_paused = true)]
async fn a_body_is_json_and_says_so() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    let body = json!({ "registrationId": "x", "attestation": { "type": "symmetricKey" } });
    let put = |content_type: &str| {
        request(&lab, "PUT", &format!("/enrollments/x?{VERSION}"))
            .header("Content-Type", content_type)
            .json(body.clone())
    };
    for wrong in ["", "text/plain", "application/xml", "application/jsonx"] {
        assert_dps_error(&connection.ask(&put(wrong)).await, 415_000);
    }
    let missing = lab.dps("GET", "/enrollments/x", None, None).await;
    assert_eq!(missing.status, 404, "nothing was written");
    let right = connection
        .ask(&put("Application/JSON ; charset=utf-8"))
        .await;
    assert_eq!(right.status, 200, "{right:?}");
    // No body needs no type, and what is read by GET is not looked at (Node polls with one).
    let shown = request(
        &lab,
        "POST",
        &format!("/enrollments/x/attestationmechanism?{VERSION}"),
    );
    assert_eq!(connection.ask(&shown).await.status, 200);
    let get = request(&lab, "GET", &format!("/enrollments/x?{VERSION}"));
    let get = get.header("Content-Type", "text/plain").json(json!({}));
    assert_eq!(connection.ask(&get).await.status, 200);
    let register = format!("/{SCOPE}/registrations/x/register?{VERSION}");
    let register = request(&lab, "PUT", &register)
        .header("Content-Type", "text/plain")
        .json(json!({ "registrationId": "x" }));
    assert_dps_error(&connection.ask(&register).await, 415_000);
}

/// R-F8, behaviour H.1: 96 KB and no more.
#[tokio::test(start_paused = true)]
async fn a_body_over_96_kb_is_refused_and_writes_nothing() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    let empty = json!({
        "registrationId": "x",
        "attestation": { "type": "symmetricKey" },
        "optionalDeviceInformation": { "a": "" },
    });
    let room = 96 * 1024 - empty.to_string().len();
    for (length, code) in [(room + 1, Some(413_000)), (room, None)] {
        let mut body = empty.clone();
        body["optionalDeviceInformation"]["a"] = "y".repeat(length).into();
        let put = request(&lab, "PUT", &format!("/enrollments/x?{VERSION}"));
        let answer = connection.ask(&put.json(body)).await;
        match code {
            Some(code) => assert_dps_error(&answer, code),
            None => assert_eq!(answer.status, 200, "{}", answer.status),
        }
        let read = lab.dps("GET", "/enrollments/x", None, None).await;
        assert_eq!(read.status == 200, code.is_none());
    }
    let long = json!({ "registrationId": "x", "payload": "y".repeat(96 * 1024) });
    for (method, what) in [("PUT", "/register"), ("POST", "")] {
        let path = format!("/{SCOPE}/registrations/x{what}?{VERSION}");
        let answer = connection
            .ask(&request(&lab, method, &path).json(long.clone()))
            .await;
        assert_dps_error(&answer, 413_000);
    }
}

/// R-A29, R-A2: whatever stands in the path, the answer has the service's own shape.
#[tokio::test(start_paused = true)]
async fn a_strange_path_gets_an_error_of_the_services_own_shape() {
    let lab = Lab::start();
    let mut connection = lab.connection(None).await;
    let long = "x".repeat(129);
    for id in [
        "%FF", "%00", "a%2Fb", "a%20b", "%C3%A4", "-._", "..%2F..", &long,
    ] {
        for path in ["/enrollments/", "/enrollmentGroups/", "/registrations/"] {
            let get = request(&lab, "GET", &format!("{path}{id}?{VERSION}"));
            assert_dps_error(&connection.ask(&get).await, 400_004);
        }
        let path = format!("/{SCOPE}/registrations/{id}/register?{VERSION}");
        let register = request(&lab, "PUT", &path);
        assert_dps_error(&connection.ask(&register).await, 400_004);
    }
}
