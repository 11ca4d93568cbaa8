//! One thing in the shapes of several versions of DPS's APIs (R-B4, R-B5, R-F4, ENDPOINTS 0).

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::api_rules::{key, keys, token};
use crate::support::http::Request;
use crate::support::mqtt::{Connect, publish};
use crate::support::{DPS, HUB, Lab, SCOPE};

const SUBSCRIPTION: &str = "$dps/registrations/res/#";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

/// Creates the entry; gives what is shown of it.
async fn with_key(lab: &Lab) -> Value {
    let body = json!({
        "registrationId": "dev-1",
        "attestation": keys(&key(1)),
        "optionalDeviceInformation": { "shelf": 4 },
        "iotHubs": [HUB],
        "allocationPolicy": "hashed",
    });
    let put = lab.dps("PUT", "/enrollments/dev-1", None, Some(body)).await;
    assert_eq!(put.status, 200, "{put:?}");
    put.body
}

fn device(lab: &Lab, method: &'static str, what: &str, version: &str) -> Request {
    let path = format!("/{SCOPE}/registrations/dev-1{what}?api-version={version}");
    let token = token(lab, "dev-1", &key(1));
    let request = Request::new(method, DPS, path).header("Authorization", token);
    match method {
        "GET" => request,
        _ => request.json(json!({ "registrationId": "dev-1" })),
    }
}

/// Registers over HTTPS in that version; gives the result object.
async fn over_https(lab: &Lab, version: &str) -> Value {
    // Clients may ask to be registered anew, which every register is.
    let version = format!("{version}&forceRegistration=true");
    let begun = lab
        .ask(&device(lab, "PUT", "/register", &version), None)
        .await;
    assert_eq!(
        (begun.status, begun.header("retry-after")),
        (202, Some("3"))
    );
    let operation = format!("/operations/{}", begun.text("operationId"));
    let poll = device(lab, "GET", &operation, &version);
    let running = lab.ask(&poll, None).await;
    assert_eq!(
        (running.status, running.header("retry-after")),
        (202, Some("3"))
    );
    sleep(Duration::from_secs(3)).await;
    let poll = device(lab, "GET", &operation, &version);
    let ended = lab.ask(&poll, None).await;
    assert_eq!((ended.status, ended.header("retry-after")), (200, None));
    let lookup = lab.ask(&device(lab, "POST", "", &version), None).await;
    assert_eq!(lookup.body, ended.body["registrationState"], "{lookup:?}");
    ended.body["registrationState"].clone()
}

/// Registers over MQTT in that version; gives the result object.
async fn over_mqtt(lab: &Lab, version: &str) -> Value {
    let mut client = lab.mqtt(None).await;
    let user_name = format!("{SCOPE}/registrations/dev-1/api-version={version}&ClientVersion=x");
    let mut connect = Connect::new("dev-1", user_name);
    connect.password = Some(token(lab, "dev-1", &key(1)));
    assert_eq!(client.connect(&connect).await, (0, 0));
    client.subscribe(SUBSCRIPTION).await;
    client.send(publish(REGISTER, None, "")).await;
    let begun = client.expect().await;
    assert!(
        begun.topic().ends_with("&retry-after=3"),
        "{}",
        begun.topic()
    );
    let operation = begun.json()["operationId"].as_str().unwrap().to_owned();
    sleep(Duration::from_secs(3)).await;
    let poll = format!(
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}"
    );
    client.send(publish(&poll, None, "")).await;
    client.expect().await.json()["registrationState"].clone()
}

/// R-B5, R-B4, R-B1, R-B2: the device API has a word for coming back from 2021-10-01 on, over
/// either transport.
#[tokio::test(start_paused = true)]
async fn a_device_is_told_in_the_words_of_its_version() {
    let lab = Lab::start();
    with_key(&lab).await;
    let first = over_https(&lab, "2021-10-01").await;
    assert_eq!(first["substatus"], "initialAssignment");
    assert_eq!(first["symmetricKey"], json!({}), "no group: {first}");
    for (version, substatus) in [
        ("2018-04-01", "initialAssignment"),
        ("2019-03-31", "initialAssignment"),
        ("2021-06-01", "initialAssignment"),
        ("2021-10-01", "reprovisionedToInitialAssignment"),
        ("2025-07-01-preview", "reprovisionedToInitialAssignment"),
    ] {
        for state in [
            over_https(&lab, version).await,
            over_mqtt(&lab, version).await,
        ] {
            assert_eq!(state["substatus"], substatus, "{version}: {state}");
            assert_eq!(
                (&state["status"], &state["assignedHub"]),
                (&json!("assigned"), &json!(HUB))
            );
        }
    }
}

/// R-B10: a CONNECT without a version that is served is refused as a user name.
#[tokio::test(start_paused = true)]
async fn a_connect_names_a_version_that_is_served() {
    let lab = Lab::start();
    with_key(&lab).await;
    for version in ["", "1.0", "2018-03-31"] {
        let user_name = format!("{SCOPE}/registrations/dev-1/api-version={version}");
        let mut client = lab.mqtt(None).await;
        let mark = lab.events.mark();
        let connect = Connect::new("dev-1", user_name);
        assert_eq!(client.connect(&connect).await, (0, 4), "{version}");
        let events = format!("{:?}", lab.events.after(mark));
        assert!(events.contains("api-version"), "{events}");
    }
}

/// R-F4, R-B5: the service API shows what its version has, in entries, records and pages alike.
#[tokio::test(start_paused = true)]
async fn an_operator_is_told_in_the_words_of_its_version() {
    let lab = Lab::start();
    let fresh = with_key(&lab).await;
    assert!(fresh.get("registrationState").is_none(), "{fresh}");
    for _ in 0..2 {
        assert_eq!(over_https(&lab, "2019-03-31").await["status"], "assigned");
    }
    let ask = async |method, path: &str, version: &str, body: Option<Value>| {
        let token = lab.dps_string().token(lab.now() + 600);
        let mut request = Request::new(method, DPS, format!("{path}?api-version={version}"))
            .header("Authorization", token);
        request.body = body;
        let answer = lab.ask(&request, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let table = [
        ("2018-04-01", None, false, false),
        ("2018-09-01-preview", Some("initialAssignment"), true, false),
        ("2019-03-31", Some("initialAssignment"), true, true),
        (
            "2021-10-01",
            Some("reprovisionedToInitialAssignment"),
            true,
            true,
        ),
    ];
    for (version, substatus, policies, information) in table {
        let record = ask("GET", "/registrations/dev-1", version, None).await;
        assert_eq!(record["substatus"].as_str(), substatus, "{version}");
        let entry = ask("GET", "/enrollments/dev-1", version, None).await;
        assert_eq!(entry["registrationState"], record, "{version}");
        for member in ["allocationPolicy", "iotHubs", "reprovisionPolicy"] {
            assert_eq!(entry.get(member).is_some(), policies, "{version}: {member}");
        }
        let shown = entry.get("optionalDeviceInformation").is_some();
        assert_eq!(shown, information, "{version}");
        let query = json!({ "query": "*" });
        let listed = ask("POST", "/enrollments/query", version, Some(query)).await;
        assert_eq!(listed, json!([entry]), "{version}");
        // What was read in a version may be sent back in it.
        let written = lab
            .dps("PUT", "/enrollments/dev-1", Some("*"), Some(entry))
            .await;
        assert_eq!(written.status, 200, "{version}: {written:?}");
        // An old version's update is all that is left of the entry (R-F3); the record outlives
        // it (R-E1).
        let deleted = lab.dps("DELETE", "/enrollments/dev-1", None, None).await;
        assert_eq!(deleted.status, 204);
        let again = with_key(&lab).await;
        assert_eq!(again["registrationState"]["status"], "assigned", "{again}");
    }
}
