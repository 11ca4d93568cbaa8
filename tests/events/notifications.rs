//! What a hub says itself where a route asks for it (R-G39, R-G40).

use std::time::Duration;

use linarite_core::hub::message::MessageSource;
use linarite_emulator::events::HubEvent;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{all, properties};
use crate::support::Lab;
use crate::support::mqtt::telemetry;

fn lab(routes: &[MessageSource]) -> Lab {
    Lab::with(|config| config.hubs[0].events.routes = routes.to_vec())
}

/// `opType`, the identity, and the body of each event that is no telemetry.
fn told(lab: &Lab) -> Vec<(String, String, Value)> {
    let events = all(lab);
    let own = events
        .iter()
        .filter(|event| event.message().source() != MessageSource::Telemetry);
    own.map(|event| {
        let [_, application, _] = properties(event);
        let id = event.message().origin().id().to_string();
        (application["opType"].to_owned(), id, body(event))
    })
    .collect()
}

fn body(event: &HubEvent) -> Value {
    serde_json::from_slice(event.message().body()).unwrap()
}

/// R-G40.
#[tokio::test(start_paused = true)]
async fn without_a_route_a_hub_says_nothing_itself() {
    let lab = lab(&[]);
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.publish(&telemetry("dev-1"), "x").await;
    let patch = json!({ "properties": { "desired": { "a": 1 } } });
    lab.hub("PATCH", "/twins/dev-1", None, Some(patch)).await;
    lab.hub("DELETE", "/devices/dev-1", Some("*"), None).await;
    sleep(Duration::from_secs(180)).await;
    assert_eq!(told(&lab), []);
    assert_eq!(all(&lab).len(), 1);
}

/// R-G40, R-G5.
#[tokio::test(start_paused = true)]
async fn identities_that_come_and_go_are_told_with_their_twins() {
    let lab = lab(&[MessageSource::DeviceLifecycle]);
    let device = json!({ "deviceId": "d" });
    let module = json!({ "deviceId": "d", "moduleId": "m" });
    lab.hub("PUT", "/devices/d", None, Some(device.clone()))
        .await;
    lab.hub("PUT", "/devices/d", Some("*"), Some(device)).await;
    lab.hub("PUT", "/devices/d/modules/m", None, Some(module))
        .await;
    let tags = json!({ "tags": { "place": "here" } });
    lab.hub("PATCH", "/twins/d", None, Some(tags)).await;
    let twin = lab.hub("GET", "/twins/d", None, None).await;
    let etag = twin.text("etag").to_owned();
    lab.hub("DELETE", "/devices/d", Some("*"), None).await;

    let told = told(&lab);
    let names: Vec<_> = told.iter().map(|(name, id, _)| (&**name, &**id)).collect();
    assert_eq!(
        names,
        [
            ("createDeviceIdentity", "d"),
            ("createDeviceIdentity", "d/m"),
            ("deleteDeviceIdentity", "d"),
            ("deleteDeviceIdentity", "d/m"),
        ]
    );
    let (created, module, deleted) = (&told[0].2, &told[1].2, &told[2].2);
    assert_eq!(
        (&created["deviceId"], &created["version"]),
        (&json!("d"), &json!(2))
    );
    assert_eq!(created["moduleId"], Value::Null);
    assert_eq!(created["properties"]["desired"]["$version"], 1);
    assert!(created["properties"]["reported"]["$metadata"]["$lastUpdated"].is_string());
    assert_eq!(module["moduleId"], "m");
    assert_eq!(deleted["tags"], json!({ "place": "here" }));
    assert_eq!(deleted["etag"], etag);
    // Readers see the usual properties.
    let events = all(&lab);
    let [system, application, stamps] = properties(&events[0]);
    assert_eq!(system["content-type"], "application/json");
    assert_eq!(system["user-id"], "hub-1");
    assert_eq!(application["hubName"], "hub-1");
    assert_eq!(stamps["iothub-message-source"], "deviceLifecycleEvents");
    let ids: Vec<_> = events
        .iter()
        .map(|event| properties(event)[0]["correlation-id"].to_owned())
        .collect();
    assert!(
        (1..ids.len()).all(|index| !ids[..index].contains(&ids[index])),
        "{ids:?}"
    );
}

/// R-G40: what DPS provisions is created like anything else, and new credentials are no event.
#[tokio::test(start_paused = true)]
async fn a_provisioned_device_is_told_once() {
    let lab = lab(&[MessageSource::DeviceLifecycle, MessageSource::TwinChange]);
    lab.open_fleet().await;
    for generation in [1, 2] {
        lab.admit(&lab.leaf("dev-1", generation, 30)).await;
    }
    let told = told(&lab);
    let names: Vec<_> = told.iter().map(|(name, id, _)| (&**name, &**id)).collect();
    assert_eq!(names, [("createDeviceIdentity", "dev-1")]);
}

/// R-G40.
#[tokio::test(start_paused = true)]
async fn twin_changes_are_told_in_the_order_of_their_versions() {
    let lab = lab(&[MessageSource::TwinChange]);
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.subscribe("$iothub/twin/res/#").await;
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    session.publish(topic, r#"{"battery":80}"#).await;
    session.expect().await;
    // What breaks a rule changes nothing, and is not told.
    session.publish(topic, r#"{"a.b":80}"#).await;
    session.expect().await;
    let patch = json!({ "tags": { "t": 1 }, "properties": { "desired": { "p": { "q": 2 } } } });
    lab.hub("PATCH", "/twins/dev-1", None, Some(patch)).await;
    let whole = json!({ "tags": {}, "properties": { "desired": { "r": 3 } } });
    lab.hub("PUT", "/twins/dev-1", Some("*"), Some(whole)).await;

    let told = told(&lab);
    let names: Vec<_> = told.iter().map(|(name, ..)| &**name).collect();
    assert_eq!(names, ["updateTwin", "updateTwin", "replaceTwin"]);
    let (reported, desired, replaced) = (&told[0].2, &told[1].2, &told[2].2);
    assert_eq!(reported["version"], 3);
    assert_eq!(reported["properties"]["reported"]["battery"], 80);
    assert_eq!(reported["properties"]["reported"]["$version"], 2);
    assert!(reported["properties"]["reported"]["$metadata"]["battery"]["$lastUpdated"].is_string());
    assert_eq!(reported["properties"]["desired"], Value::Null);
    assert_eq!(reported["deviceId"], Value::Null);
    assert_eq!(desired["tags"], json!({ "t": 1 }));
    let properties = &desired["properties"]["desired"];
    assert_eq!(
        (&properties["p"], &properties["$version"]),
        (&json!({ "q": 2 }), &json!(2))
    );
    assert_eq!(properties["$metadata"]["p"]["q"]["$lastUpdatedVersion"], 2);
    assert_eq!(replaced["deviceId"], "dev-1");
    assert_eq!(replaced["properties"]["desired"]["r"], 3);
    assert_eq!(replaced["properties"]["reported"]["battery"], 80);
}

/// R-G39.
#[tokio::test(start_paused = true)]
async fn connections_are_told_by_the_minute_and_only_of_devices_with_messages() {
    let lab = lab(&[MessageSource::DeviceConnectionState]);
    lab.open_fleet().await;
    let names = |told: &[(String, String, Value)]| -> Vec<(String, String)> {
        let names = told.iter().map(|(name, id, _)| (name.clone(), id.clone()));
        names.collect()
    };
    let event = |name: &str, id: &str| (name.to_owned(), id.to_owned());
    let credential = lab.leaf("dev-1", 1, 30);
    let mut sends = lab.admit(&credential).await;
    let mut silent = lab.admit(&lab.leaf("dev-2", 1, 30)).await;
    let mut listens = lab.admit(&lab.leaf("dev-3", 1, 30)).await;
    silent.subscribe("$iothub/methods/POST/#").await;
    sends.publish(&telemetry("dev-1"), "x").await;
    listens
        .subscribe("devices/dev-3/messages/devicebound/#")
        .await;
    assert_eq!(told(&lab), []);
    sleep(Duration::from_secs(60)).await;
    let mut expected = vec![
        event("deviceConnected", "dev-1"),
        event("deviceConnected", "dev-3"),
    ];
    let sorted = |told: &[(String, String, Value)]| {
        let mut names = names(told);
        names.sort();
        names
    };
    assert_eq!(sorted(&told(&lab)), expected);

    // R-G39: a take-over is no event; going and coming back within a minute is one, of the state
    // that is seen.
    let mut new = lab.session(&credential).await.unwrap();
    sends.expect_end().await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(told(&lab).len(), 2);
    new.send([0xE0, 0]).await;
    new.expect_end().await;
    let mut again = lab.session(&credential).await.unwrap();
    again.publish(&telemetry("dev-1"), "x").await;
    sleep(Duration::from_secs(60)).await;
    expected.push(event("deviceConnected", "dev-1"));
    expected.sort();
    assert_eq!(sorted(&told(&lab)), expected);

    drop(again);
    drop(silent);
    sleep(Duration::from_secs(60)).await;
    expected.push(event("deviceDisconnected", "dev-1"));
    assert_eq!(sorted(&told(&lab)), expected);
    // A device that is gone is told by its deletion, which has a source of its own.
    lab.hub("DELETE", "/devices/dev-3", Some("*"), None).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(sorted(&told(&lab)), expected);
    drop(listens);

    let told = told(&lab);
    let numbers: Vec<&str> = told
        .iter()
        .filter(|(_, id, _)| id == "dev-1")
        .map(|(.., body)| body["sequenceNumber"].as_str().unwrap())
        .collect();
    assert_eq!(numbers.len(), 3);
    assert!(
        numbers.iter().all(|number| number.len() == 64),
        "{numbers:?}"
    );
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// R-G39: sessions that an operator cuts off end like any other.
#[tokio::test(start_paused = true)]
async fn a_disabled_device_is_told_to_be_gone() {
    let lab = lab(&[MessageSource::DeviceConnectionState]);
    lab.open_fleet().await;
    let mut session = lab.admit(&lab.leaf("dev-1", 1, 30)).await;
    session.publish(&telemetry("dev-1"), "x").await;
    sleep(Duration::from_secs(60)).await;
    let mut device = lab.hub("GET", "/devices/dev-1", None, None).await.body;
    device["status"] = "disabled".into();
    lab.hub("PUT", "/devices/dev-1", Some("*"), Some(device))
        .await;
    session.expect_end().await;
    sleep(Duration::from_secs(60)).await;
    let names: Vec<_> = told(&lab).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["deviceConnected", "deviceDisconnected"]);
}
