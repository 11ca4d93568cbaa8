//! What is taken away from DPS, and what goes on all the same (behaviour D and E).

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::http::Answer;
use crate::support::mqtt::telemetry;
use crate::support::{Lab, ROOT};

/// A group that names the root, for leaves of the intermediate.
async fn name_root(lab: &Lab) {
    let body = json!({
        "enrollmentGroupId": "fleet",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": ROOT } } },
    });
    let answer = lab
        .dps("PUT", "/enrollmentGroups/fleet", None, Some(body))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn delete_root(lab: &Lab) -> Answer {
    let request = lab.ca_request("DELETE", ROOT, "").header("If-Match", "*");
    lab.ask(&request, None).await
}

/// R-D7, R-D9, I-17: registrations stop with the certificate and go on when it is back under its
/// name; the hub is not asked.
#[tokio::test(start_paused = true)]
async fn a_ca_that_a_group_names_can_be_deleted_and_comes_back_by_its_name() {
    let lab = Lab::start();
    lab.upload_ca(ROOT).await;
    name_root(&lab).await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;

    assert_eq!(delete_root(&lab).await.status, 204);
    assert_eq!(lab.register(&credential).await.outcome(), "401002");
    session.publish(&telemetry("dev-1"), "still here").await;
    drop(lab.session(&credential).await.unwrap());

    lab.upload_ca(ROOT).await;
    lab.serves(&credential).await;
}

/// I-17, read the other way: nothing is deleted that a group names.
#[tokio::test(start_paused = true)]
async fn a_ca_that_a_group_names_may_be_protected() {
    let lab = Lab::with(|config| config.settings.protect_referenced_ca = true);
    lab.upload_ca(ROOT).await;
    name_root(&lab).await;
    let refused = delete_root(&lab).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text("message").contains("fleet"), "{refused:?}");
    lab.serves(&lab.leaf("dev-1", 1, 30)).await;

    let answer = lab
        .dps("DELETE", "/enrollmentGroups/fleet", None, None)
        .await;
    assert_eq!(answer.status, 204);
    assert_eq!(delete_root(&lab).await.status, 204);
}

/// R-A3, R-B24, R-E11, K.4: an assignment outlives a registration that came to nothing.
#[tokio::test(start_paused = true)]
async fn a_registration_stopped_by_a_disabled_entry_forgets_no_assignment() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (old, shouted) = (lab.leaf("dev-1", 1, 30), lab.leaf("DEV-1", 2, 30));
    assert_eq!(lab.register(&old).await.outcome(), "assigned");
    for (status, outcome) in [("disabled", "disabled"), ("enabled", "assigned")] {
        let path = "/enrollmentGroups/fleet";
        let mut entry = lab.dps("GET", path, None, None).await.body;
        entry["provisioningStatus"] = Value::from(status);
        let answer = lab.dps("PUT", path, Some("*"), Some(entry)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(lab.register(&shouted).await.outcome(), outcome);
    }
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.text("deviceId"), "dev-1");
    assert_eq!(record.text("substatus"), "reprovisionedToInitialAssignment");
    let devices = lab.hub("GET", "/devices", None, None).await;
    assert_eq!(devices.body.as_array().unwrap().len(), 1, "{devices:?}");
}

/// W23: a client that was refused comes back twenty times in two seconds, and is told each time.
#[tokio::test(start_paused = true)]
async fn twenty_refused_reconnects_in_two_seconds_are_answered_one_by_one() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (old, new) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 30));
    let mut session = lab.admit(&old).await;
    for _ in 0..20 {
        assert_eq!(lab.session(&new).await.err(), Some(5));
        sleep(Duration::from_millis(100)).await;
    }
    session.publish(&telemetry("dev-1"), "undisturbed").await;
    lab.serves(&new).await;
}
