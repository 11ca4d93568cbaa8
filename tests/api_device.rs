//! What passes between a device and its back end: registration over HTTPS, twins, methods.

use linarite_core::id::HubHostName;
use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_emulator::config::HubConfig;
use linarite_env::Event;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::http::{Answer, Request};
use crate::support::mqtt::publish;
use crate::support::{DPS, HUB, Lab, SCOPE};

fn device_request(method: &'static str, scope: &str, id: &str, what: &str) -> Request {
    let path = format!("/{scope}/registrations/{id}{what}?api-version=2019-03-31");
    Request::new(method, DPS, path)
}

fn register(id: &str) -> Request {
    device_request("PUT", SCOPE, id, "/register").json(json!({ "registrationId": id }))
}

fn refused(answer: &Answer, code: u64) {
    let found = (u64::from(answer.status), answer.body["errorCode"].as_u64());
    assert_eq!(found, (code / 1000, Some(code)), "{answer:?}");
    assert!(!answer.text("message").is_empty() && !answer.text("trackingId").is_empty());
}

/// R-B1, R-B2, R-B4, R-A4.
#[tokio::test(start_paused = true)]
async fn a_device_registers_over_https_with_its_certificate() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let begun = lab.ask(&register("dev-1"), Some(&credential)).await;
    assert_eq!(
        (begun.status, begun.header("retry-after")),
        (202, Some("3"))
    );
    assert_eq!(begun.text("status"), "assigning");
    let operation = begun.text("operationId").to_owned();
    let path = format!("/{SCOPE}/registrations/dev-1/operations/{operation}");
    assert_eq!(
        begun.header("location"),
        Some(&*format!("https://{DPS}{path}?api-version=2019-03-31"))
    );

    let poll = device_request("GET", SCOPE, "dev-1", &format!("/operations/{operation}"));
    let running = lab.ask(&poll, Some(&credential)).await;
    assert_eq!(
        (running.status, running.header("retry-after")),
        (202, Some("3"))
    );
    // R-B8: one registration of an id at a time.
    refused(
        &lab.ask(&register("dev-1"), Some(&credential)).await,
        409_203,
    );

    sleep(Duration::from_secs(3)).await;
    let ended = lab.ask(&poll.json(json!({})), Some(&credential)).await;
    assert_eq!((ended.status, ended.text("status")), (200, "assigned"));
    let state = &ended.body["registrationState"];
    assert_eq!(
        (&state["assignedHub"], &state["deviceId"]),
        (&json!(HUB), &json!("dev-1"))
    );
    assert_eq!(state["substatus"], "initialAssignment");
    assert_eq!(state["x509"]["enrollmentGroupId"], "fleet");

    let lookup = device_request("POST", SCOPE, "dev-1", "");
    let lookup = lookup.json(json!({ "registrationId": "dev-1" }));
    let looked_up = lab.ask(&lookup, Some(&credential)).await;
    assert_eq!(
        (looked_up.status, looked_up.text("status")),
        (200, "assigned")
    );
    let mut session = lab.session(&credential).await.unwrap();
    session
        .publish("devices/dev-1/messages/events/", "here")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_told_to_nobody_but_who_began_it() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (one, other) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-2", 1, 30));
    let begun = lab.ask(&register("dev-1"), Some(&one)).await;
    let what = format!("/operations/{}", begun.text("operationId"));
    let poll = device_request("GET", SCOPE, "dev-1", &what);
    refused(&lab.ask(&poll, Some(&other)).await, 401_000);
    refused(&lab.ask(&poll, None).await, 401_000);
    let elsewhere = device_request("GET", SCOPE, "dev-2", &what);
    refused(&lab.ask(&elsewhere, Some(&other)).await, 404_202);
    let unknown = device_request("GET", SCOPE, "dev-1", "/operations/4.none.such");
    refused(&lab.ask(&unknown, Some(&one)).await, 404_202);
    // Who shows nothing is not even told that.
    refused(&lab.ask(&unknown, None).await, 401_000);
    assert_eq!(lab.ask(&poll, Some(&one)).await.status, 202);
}

/// A token for `resource`, signed with `key`, that holds long enough.
fn token(lab: &Lab, resource: &str, key: &SymmetricKey) -> String {
    let expiry = lab.env.clock.now().plus(3600);
    sas::sign(
        &resource.replace('/', "%2F"),
        expiry,
        key,
        Some("registration"),
    )
}

/// R-A31 to R-A33, B.1: tokens register and poll, for their own scope and id alone.
#[tokio::test(start_paused = true)]
async fn an_operation_begun_with_a_token_is_told_to_tokens_that_hold() {
    let lab = Lab::start();
    let group = SymmetricKey::from_bytes(&[7; 32]).unwrap();
    let keys = json!({ "primaryKey": group.to_base64(), "secondaryKey": group.to_base64() });
    let entry = json!({
        "enrollmentGroupId": "keys",
        "attestation": { "type": "symmetricKey", "symmetricKey": keys },
    });
    let put = lab
        .dps("PUT", "/enrollmentGroups/keys", None, Some(entry))
        .await;
    assert_eq!(put.status, 200, "{put:?}");
    let key = sas::derive_device_key(&group, "dev-1");
    let resource = format!("{SCOPE}/registrations/dev-1");
    let good = token(&lab, &resource, &key);
    let bearing = |request: Request, token: &str| request.header("authorization", token);

    for (name, token) in [
        ("the group's own key", token(&lab, &resource, &group)),
        (
            "another scope",
            token(&lab, "0neOther/registrations/dev-1", &key),
        ),
    ] {
        let answer = lab.ask(&bearing(register("dev-1"), &token), None).await;
        assert!([401, 404].contains(&answer.status), "{name}: {answer:?}");
    }
    let begun = lab.ask(&bearing(register("dev-1"), &good), None).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    sleep(Duration::from_secs(3)).await;

    let operation = format!("/operations/{}", begun.text("operationId"));
    let poll = || device_request("GET", SCOPE, "dev-1", &operation);
    let other = sas::derive_device_key(&group, "dev-2");
    let strangers = [
        ("nobody", poll()),
        (
            "another device",
            bearing(poll(), &token(&lab, &resource, &other)),
        ),
    ];
    for (name, request) in strangers {
        let answer = lab.ask(&request, None).await;
        assert!([401, 404].contains(&answer.status), "{name}: {answer:?}");
    }
    let ended = lab.ask(&bearing(poll(), &good), None).await;
    assert_eq!((ended.status, ended.text("status")), (200, "assigned"));
}

/// R-F4, R-B4.
#[tokio::test(start_paused = true)]
async fn an_entry_tells_of_the_registration_of_its_device() {
    let lab = Lab::start();
    let key = SymmetricKey::from_bytes(&[7; 32]).unwrap();
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let entry = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "symmetricKey", "symmetricKey": keys },
    });
    let path = "/enrollments/dev-1";
    let created = lab.dps("PUT", path, None, Some(entry)).await;
    assert!(
        created.body.get("registrationState").is_none(),
        "{created:?}"
    );
    let token = token(&lab, &format!("{SCOPE}/registrations/dev-1"), &key);
    let begun = register("dev-1").header("authorization", token);
    assert_eq!(lab.ask(&begun, None).await.status, 202);
    sleep(Duration::from_secs(3)).await;

    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.text("status"), "assigned");
    let read = lab.dps("GET", path, None, None).await;
    assert_eq!(read.body["registrationState"], record.body);
    // What was read may be sent back.
    let (etag, sent) = (read.text("etag").to_owned(), read.body.clone());
    let written = lab.dps("PUT", path, Some(&etag), Some(sent)).await;
    assert_eq!(written.body["registrationState"], record.body);
    let query = json!({ "query": "SELECT * FROM enrollments" });
    let queried = lab
        .dps("POST", "/enrollments/query", None, Some(query))
        .await;
    assert_eq!(queried.body[0]["registrationState"], record.body);
}

/// Behaviour A.5; R-A2, R-A4, R-A23, R-A29, W11.
#[tokio::test(start_paused = true)]
async fn a_registration_that_does_not_hold_is_refused_with_azures_number() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mark = lab.events.mark();
    refused(
        &lab.ask(&register("dev-2"), Some(&credential)).await,
        401_002,
    );
    refused(
        &lab.ask(
            &register("dev 1!".replace(' ', "%20").as_str()),
            Some(&credential),
        )
        .await,
        400_004,
    );
    refused(&lab.ask(&register("dev-1"), None).await, 404_201);
    let scope = device_request("PUT", "0ne99999999", "dev-1", "/register");
    refused(&lab.ask(&scope, Some(&credential)).await, 401_000);
    let other = register("dev-1").json(json!({ "registrationId": "dev-2" }));
    refused(&lab.ask(&other, Some(&credential)).await, 400_004);
    let token = register("dev-1").header("Authorization", "SharedAccessSignature nonsense");
    refused(&lab.ask(&token, Some(&credential)).await, 401_003);
    let rules: Vec<_> = lab.events.after(mark).into_iter().collect();
    let refusals = rules
        .iter()
        .filter(|event| matches!(event, Event::RegistrationRefused { .. }));
    assert!(refusals.count() >= 2, "{rules:#?}");
}

/// R-B3, R-B14, W10: a failure is a result like any other, with its number and words inside.
#[tokio::test(start_paused = true)]
async fn a_registration_that_finds_no_hub_ends_failed_over_either_transport() {
    let lab = Lab::with(|config| {
        config.hubs.push(HubConfig {
            host: HubHostName::parse("hub-2.linarite.test").unwrap(),
            ..config.hubs[0].clone()
        });
    });
    lab.open_fleet().await;
    // Of two hubs the static policy takes neither.
    let path = "/enrollmentGroups/fleet";
    let mut entry = lab.dps("GET", path, None, None).await.body;
    entry["allocationPolicy"] = "static".into();
    let answer = lab.dps("PUT", path, Some("*"), Some(entry)).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let credential = lab.leaf("dev-1", 1, 30);
    let over_mqtt = lab.register(&credential).await.body;
    let begun = lab.ask(&register("dev-1"), Some(&credential)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    sleep(Duration::from_secs(3)).await;
    let what = format!("/operations/{}", begun.text("operationId"));
    let poll = device_request("GET", SCOPE, "dev-1", &what);
    let over_https = lab.ask(&poll, Some(&credential)).await;
    assert_eq!(over_https.status, 200, "{over_https:?}");
    for ended in [over_mqtt, over_https.body] {
        assert_eq!(ended["status"], "failed", "{ended}");
        let state = &ended["registrationState"];
        assert_eq!(state["status"], "failed", "{ended}");
        assert_eq!(state["errorCode"], 400_208, "{ended}");
        for member in ["errorMessage", "lastUpdatedDateTimeUtc"] {
            assert!(!state[member].as_str().unwrap().is_empty(), "{ended}");
        }
        assert!(state.get("assignedHub").is_none(), "{ended}");
    }
    // R-B7: the record says the same.
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!((record.status, record.text("status")), (200, "failed"));
}

fn desired(value: Value) -> Option<Value> {
    Some(json!({ "properties": { "desired": value } }))
}

/// R-G6, R-G20 to R-G23, W14.
#[tokio::test(start_paused = true)]
async fn desired_properties_reach_a_device_that_asked_and_reported_ones_come_back() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let untold = lab
        .hub("PATCH", "/twins/dev-1", None, desired(json!({ "fan": 1 })))
        .await;
    assert_eq!(untold.status, 200, "{untold:?}");
    session.expect_silence().await;

    session
        .subscribe("$iothub/twin/PATCH/properties/desired/#")
        .await;
    session.subscribe("$iothub/twin/res/#").await;
    session.expect_silence().await;
    let patch = desired(json!({ "fan": null, "lamp": { "on": true } }));
    let patched = lab.hub("PATCH", "/twins/dev-1", Some("*"), patch).await;
    assert_eq!(patched.body["properties"]["desired"]["$version"], 3);
    let told = session.expect().await;
    assert_eq!(
        told.topic(),
        "$iothub/twin/PATCH/properties/desired/?$version=3"
    );
    assert_eq!(
        told.json(),
        json!({ "fan": null, "lamp": { "on": true }, "$version": 3 })
    );

    // PUT replaces, and tells all of it.
    let put = lab
        .hub("PUT", "/twins/dev-1", None, desired(json!({ "lamp": 2 })))
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(
        session.expect().await.json(),
        json!({ "lamp": 2, "$version": 4 })
    );

    session
        .send(publish("$iothub/twin/GET/?$rid=a%201", None, ""))
        .await;
    let read = session.expect().await;
    assert_eq!(
        read.topic(),
        "$iothub/twin/res/200/?$rid=a%201",
        "the rid byte for byte"
    );
    assert_eq!(read.json()["desired"], json!({ "lamp": 2, "$version": 4 }));

    let reported = "$iothub/twin/PATCH/properties/reported/?$rid=2";
    session
        .send(publish(reported, None, r#"{"temp":21,"gone":null}"#))
        .await;
    assert_eq!(
        session.expect().await.topic(),
        "$iothub/twin/res/204/?$rid=2&$version=2"
    );
    session.send(publish(reported, None, "{")).await;
    let bad = session.expect().await;
    assert_eq!(bad.topic(), "$iothub/twin/res/400/?$rid=2");
    assert!(bad.json()["errorCode"].as_u64() > Some(0), "W13");
    assert!(!bad.json()["message"].as_str().unwrap().is_empty(), "W13");

    let twin = lab.hub("GET", "/twins/dev-1", None, None).await;
    assert_eq!(twin.body["properties"]["reported"]["temp"], 21);
    assert_eq!(twin.text("connectionState"), "Connected");
    let stale = lab
        .hub(
            "PATCH",
            "/twins/dev-1",
            Some("\"stale\""),
            desired(json!({})),
        )
        .await;
    assert_eq!(stale.status, 412, "{stale:?}");
    let writes = json!({ "properties": { "reported": { "temp": 0 } } });
    assert_eq!(
        lab.hub("PATCH", "/twins/dev-1", None, Some(writes))
            .await
            .status,
        400
    );
    session.expect_silence().await;
}

fn method(response: u32, connect: u32) -> Option<Value> {
    Some(json!({
        "methodName": "reboot",
        "responseTimeoutInSeconds": response,
        "connectTimeoutInSeconds": connect,
        "payload": { "delay": 5 },
    }))
}

fn failed(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("iothub-errorcode"), Some(name));
}

const METHODS: &str = "/twins/dev-1/methods";

/// R-G24.
#[tokio::test(start_paused = true)]
async fn a_method_call_goes_to_the_device_and_its_answer_back_to_the_caller() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.subscribe("$iothub/methods/POST/#").await;
    for (payload, expected) in [(r#"{"ok":true}"#, json!({ "ok": true })), ("", Value::Null)] {
        let device = async {
            let request = session.expect().await;
            let query = request
                .topic()
                .strip_prefix("$iothub/methods/POST/reboot/?")
                .unwrap();
            assert_eq!(
                (request.first, request.json()),
                (0x30, json!({ "delay": 5 }))
            );
            let topic = format!("$iothub/methods/res/207/?{query}");
            session.publish(&topic, payload).await;
        };
        let (answer, ()) = tokio::join!(lab.hub("POST", METHODS, None, method(30, 0)), device);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body, json!({ "status": 207, "payload": expected }));
    }
    // An answer nobody waits for is no crime.
    session
        .publish("$iothub/methods/res/200/?$rid=99", "late")
        .await;
    session
        .publish("$iothub/methods/res/200/?$rid=zz", "strange")
        .await;
}

/// R-G25.
#[tokio::test(start_paused = true)]
async fn a_method_call_that_reaches_nobody_fails_when_it_should() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    failed(
        &lab.hub("POST", METHODS, None, method(30, 0)).await,
        404,
        "DeviceNotFound",
    );
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");

    let began = lab.env.clock.now_ms();
    failed(
        &lab.hub("POST", METHODS, None, method(30, 0)).await,
        404,
        "DeviceNotOnline",
    );
    assert_eq!(lab.since(began), Duration::ZERO, "offline is known at once");
    failed(
        &lab.hub("POST", METHODS, None, method(30, 20)).await,
        404,
        "DeviceNotOnline",
    );
    assert_eq!(
        lab.since(began).as_secs(),
        20,
        "or after the connect timeout"
    );

    // Online, and not interested.
    let mut session = lab.session(&credential).await.unwrap();
    failed(
        &lab.hub("POST", METHODS, None, method(30, 0)).await,
        404,
        "DeviceNotOnline",
    );

    // Interested, and silent.
    session.subscribe("$iothub/methods/POST/#").await;
    let began = lab.env.clock.now_ms();
    failed(
        &lab.hub("POST", METHODS, None, method(7, 0)).await,
        504,
        "GatewayTimeout",
    );
    assert_eq!(lab.since(began).as_secs(), 7);
    assert!(
        session.expect().await.is_publish(),
        "it may have been carried out all the same"
    );

    // Not there yet, and in time.
    session.send([0xE0, 0]).await;
    session.expect_end().await;
    let late = async {
        sleep(Duration::from_secs(5)).await;
        let mut session = lab.session(&credential).await.unwrap();
        session.subscribe("$iothub/methods/POST/#").await;
        let request = session.expect().await;
        let (_, query) = request.topic().split_once("/?").unwrap();
        session
            .publish(&format!("$iothub/methods/res/200/?{query}"), "{}")
            .await;
    };
    let (answer, ()) = tokio::join!(lab.hub("POST", METHODS, None, method(30, 20)), late);
    assert_eq!(answer.status, 200, "{answer:?}");

    let mut short = method(1, 0);
    let answer = lab.hub("POST", METHODS, None, short.take()).await;
    failed(&answer, 400, "ArgumentInvalid");
}
