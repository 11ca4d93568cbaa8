//! The hub's service API over HTTPS, and what all APIs do with strangers (behaviour F.2, R-F9).

use serde_json::json;

use crate::api::assert_dps_error;
use crate::support::http::Answer;
use crate::support::{DPS, HUB, Lab};

/// The error body of a hub (R-F8, wire 4.5), with this status and name.
pub(crate) fn assert_hub_error(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("iothub-errorcode"), Some(name));
    let begin = format!("ErrorCode:{name};");
    assert!(answer.text("Message").starts_with(&begin), "{answer:?}");
    assert!(answer.text("ExceptionMessage").starts_with("Tracking ID:"));
}

/// Behaviour F.2, R-G1, R-G4.
#[tokio::test(start_paused = true)]
async fn a_device_identity_is_created_changed_and_deleted_by_its_etag() {
    let lab = Lab::start();
    let path = "/devices/Dev-1";
    assert_hub_error(
        &lab.hub("GET", path, None, None).await,
        404,
        "DeviceNotFound",
    );
    let body = json!({ "deviceId": "Dev-1", "authentication": { "type": "sas" } });
    let absent = lab.hub("PUT", path, Some("*"), Some(body.clone())).await;
    assert_hub_error(&absent, 404, "DeviceNotFound");
    let created = lab.hub("PUT", path, None, Some(body.clone())).await;
    assert_eq!((created.status, created.text("status")), (200, "enabled"));
    assert_eq!(created.text("connectionState"), "Disconnected");
    let key = created.body["authentication"]["symmetricKey"]["primaryKey"].as_str();
    assert_eq!(key.unwrap().len(), 88, "a generated key of 64 bytes");
    let twice = lab.hub("PUT", path, None, Some(body)).await;
    assert_hub_error(&twice, 409, "DeviceAlreadyExists");
    // R-A3: the hub minds the case of ids.
    assert_hub_error(
        &lab.hub("GET", "/devices/dev-1", None, None).await,
        404,
        "DeviceNotFound",
    );

    let mut disabled = created.body.clone();
    disabled["status"] = "disabled".into();
    disabled["statusReason"] = "lost".into();
    let stale = lab
        .hub("PUT", path, Some("\"stale\""), Some(disabled.clone()))
        .await;
    assert_hub_error(&stale, 412, "PreconditionFailed");
    let etag = format!("\"{}\"", created.text("etag"));
    let changed = lab.hub("PUT", path, Some(&etag), Some(disabled)).await;
    assert_eq!(
        (changed.text("status"), changed.text("statusReason")),
        ("disabled", "lost")
    );
    assert_eq!(changed.text("generationId"), created.text("generationId"));
    assert_ne!(changed.text("etag"), created.text("etag"));
    assert_eq!(lab.hub("GET", path, None, None).await.body, changed.body);

    let all = lab.hub("GET", "/devices", None, None).await;
    assert_eq!(all.body, json!([changed.body]));
    let stale = lab.hub("DELETE", path, Some(&etag), None).await;
    assert_hub_error(&stale, 412, "PreconditionFailed");
    assert_eq!(lab.hub("DELETE", path, Some("*"), None).await.status, 204);
    let gone = lab.hub("DELETE", path, Some("*"), None).await;
    assert_hub_error(&gone, 404, "DeviceNotFound");

    // R-G1: whoever comes after it is somebody else.
    let body = json!({ "deviceId": "Dev-1" });
    let next = lab.hub("PUT", path, None, Some(body)).await;
    assert_ne!(next.text("generationId"), created.text("generationId"));
}

/// R-F9, R-F10.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_valid_token_is_refused_with_401() {
    let lab = Lab::start();
    let (dps, hub) = (lab.dps_string(), lab.hub_string());
    let soon = lab.now() + 600;
    let mut forged = lab.dps_string();
    forged.key = hub.key.clone();
    let tokens = [
        None,
        Some("Bearer x".to_owned()),
        Some(dps.token(lab.now() - 600)),
        Some(forged.token(soon)),
        Some(hub.token(soon)),
    ];
    for token in tokens {
        let mut request = lab.dps_request("GET", "/enrollments/dev-1");
        request.headers = token
            .iter()
            .map(|text| ("Authorization", text.clone()))
            .collect();
        assert_dps_error(&lab.ask(&request, None).await, 401_003);
    }
    for token in [
        None,
        Some(hub.token(lab.now() - 600)),
        Some(dps.token(soon)),
    ] {
        let mut request = lab.hub_request("GET", "/devices/dev-1");
        request.headers = token
            .iter()
            .map(|text| ("Authorization", text.clone()))
            .collect();
        let refused = lab.ask(&request, None).await;
        assert_hub_error(&refused, 401, "IotHubUnauthorizedAccess");
    }
    let mut request = lab.ca_request("GET", "mine", "");
    request.headers.clear();
    let refused = lab.ask(&request, None).await;
    assert_eq!((refused.status, refused.text("code")), (401, "401000"));
    // A certificate is no right to anything here.
    let credential = lab.leaf("dev-1", 1, 30);
    let mut request = lab.dps_request("GET", "/enrollments/dev-1");
    request.headers.clear();
    assert_dps_error(&lab.ask(&request, Some(&credential)).await, 401_003);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_emulated_is_said_to_be_so_with_501() {
    let lab = Lab::start();
    let table = [
        ("GET", DPS, "/nowhere"),
        ("GET", DPS, "/enrollments/dev-1/history"),
        ("GET", HUB, "/statistics/nothing"),
        ("PUT", HUB, "/jobs/v2/query"),
        ("POST", HUB, "/devices/dev-1/files"),
        ("POST", HUB, "/"),
    ];
    for (method, host, path) in table {
        let mut request = lab.dps_request(method, path);
        host.clone_into(&mut request.host);
        let answer = lab.ask(&request, None).await;
        // In the shape of the API that the path belongs to.
        let message = if host == HUB && path != "/" {
            assert_hub_error(&answer, 501, "NotEmulated");
            answer.text("Message")
        } else {
            assert_dps_error(&answer, 501_000);
            answer.text("message")
        };
        assert!(message.contains(path.trim_end_matches('/')), "{answer:?}");
    }
}

/// R-F10: a hub asks for a version of its API; older ones than those of DPS will do.
#[tokio::test(start_paused = true)]
async fn a_hub_asks_which_version_is_meant() {
    let lab = Lab::start();
    let ask = async |query: &str| {
        let mut request = lab.hub_request("GET", "");
        request.path = format!("/statistics/devices{query}");
        lab.ask(&request, None).await
    };
    assert_eq!(ask("?api-version=2016-11-14").await.status, 200);
    for query in ["", "?api-version=AAA", "?api-version=2015-08-15"] {
        let refused = ask(query).await;
        assert_hub_error(&refused, 400, "InvalidProtocolVersion");
    }
}
