//! Modules: identities of their own below a device, served by the code that serves devices
//! (R-G1, R-G4, R-G13, R-E6, wire 4.1, 4.2).

use serde_json::{Value, json};
use tokio::time::Duration;

use crate::api_hub::assert_hub_error;
use crate::support::mqtt::{Connect, publish};
use crate::support::{HUB, Lab};

const MODULE: &str = "/devices/dev-1/modules/mod-1";

/// A device that takes tokens; gives its identity.
async fn device(lab: &Lab, id: &str) -> Value {
    lab.create(id, json!({ "type": "sas" })).await
}

/// The module `mod-1` of `dev-1`; gives its identity.
async fn module(lab: &Lab) -> Value {
    let body = json!({ "deviceId": "dev-1", "moduleId": "mod-1", "managedBy": "me" });
    let answer = lab.hub("PUT", MODULE, None, Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// R-G1, R-F10.
#[tokio::test(start_paused = true)]
async fn a_module_is_created_listed_changed_and_deleted_below_its_device() {
    let lab = Lab::start();
    let body = json!({ "deviceId": "dev-1", "moduleId": "mod-1" });
    let homeless = lab.hub("PUT", MODULE, None, Some(body.clone())).await;
    assert_hub_error(&homeless, 404, "DeviceNotFound");
    let list = "/devices/dev-1/modules";
    let nowhere = lab.hub("GET", list, None, None).await;
    assert_hub_error(&nowhere, 404, "DeviceNotFound");
    device(&lab, "dev-1").await;
    assert_eq!(lab.hub("GET", list, None, None).await.body, json!([]));
    let absent = lab.hub("GET", MODULE, None, None).await;
    assert_hub_error(&absent, 404, "ModuleNotFound");

    let created = module(&lab).await;
    assert_eq!(created["deviceId"], "dev-1");
    assert_eq!(created["moduleId"], "mod-1");
    assert_eq!(created["managedBy"], "me");
    assert_eq!(created["connectionState"], "Disconnected");
    assert_eq!(created["authentication"]["type"], "sas");
    assert_eq!(created.get("status"), None, "a module has no status");
    let twice = lab.hub("PUT", MODULE, None, Some(body.clone())).await;
    assert_hub_error(&twice, 409, "ModuleAlreadyExistsOnDevice");
    let mut misnamed = body.clone();
    misnamed["moduleId"] = "mod-2".into();
    let misnamed = lab.hub("PUT", MODULE, Some("*"), Some(misnamed)).await;
    assert_hub_error(&misnamed, 400, "ArgumentInvalid");
    assert!(
        misnamed.text("Message").contains("moduleId"),
        "{misnamed:?}"
    );

    let etag = format!("\"{}\"", created["etag"].as_str().unwrap());
    let changed = lab.hub("PUT", MODULE, Some(&etag), Some(body)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["managedBy"], Value::Null);
    assert_eq!(changed.text("generationId"), created["generationId"]);
    let header = format!("\"{}\"", changed.text("etag"));
    assert_eq!(changed.header("etag"), Some(header.as_str()));
    let all = lab.hub("GET", list, None, None).await;
    assert_eq!(all.body, json!([changed.body]));
    // Devices are listed without their modules.
    let devices = lab.hub("GET", "/devices", None, None).await;
    assert_eq!(devices.body.as_array().unwrap().len(), 1);

    let stale = lab.hub("DELETE", MODULE, Some(&etag), None).await;
    assert_hub_error(&stale, 412, "PreconditionFailed");
    assert_eq!(lab.hub("DELETE", MODULE, Some("*"), None).await.status, 204);
    let gone = lab.hub("DELETE", MODULE, None, None).await;
    assert_hub_error(&gone, 404, "ModuleNotFound");
}

/// R-G1: a device holds fifty modules and no more.
#[tokio::test(start_paused = true)]
async fn a_device_has_at_most_fifty_modules() {
    let lab = Lab::start();
    device(&lab, "dev-1").await;
    for number in 0..=50 {
        let id = format!("mod-{number}");
        let body = json!({ "deviceId": "dev-1", "moduleId": id });
        let path = format!("/devices/dev-1/modules/{id}");
        let answer = lab.hub("PUT", &path, None, Some(body)).await;
        if number < 50 {
            assert_eq!(answer.status, 200, "{answer:?}");
        } else {
            assert_hub_error(&answer, 413, "TooManyModulesOnDevice");
        }
    }
}

/// wire 4.1, 4.2, R-G17, R-G20 to R-G24.
#[tokio::test(start_paused = true)]
async fn a_module_sends_telemetry_keeps_a_twin_and_answers_methods() {
    let lab = Lab::start();
    device(&lab, "dev-1").await;
    let identity = module(&lab).await;
    let mark = lab.events.mark();
    let mut client = lab.sas_session("dev-1/mod-1", &identity).await;
    assert_eq!(lab.events.opened(mark), ["dev-1/mod-1"]);
    for filter in [
        "devices/dev-1/modules/mod-1/inputs/#",
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
    ] {
        client.subscribe(filter).await;
    }
    let topic = "devices/dev-1/modules/mod-1/messages/events/%24.mid=1&%24.on=out1";
    client.publish(topic, "{}").await;

    let patch = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    client.send(publish(patch, None, r#"{"fan":2}"#)).await;
    let answer = client.expect().await;
    assert_eq!(answer.topic(), "$iothub/twin/res/204/?$rid=1&$version=2");
    let twin_path = "/twins/dev-1/modules/mod-1";
    let twin = lab.hub("GET", twin_path, None, None).await;
    assert_eq!(twin.body["moduleId"], "mod-1");
    assert_eq!(twin.body["connectionState"], "Connected");
    assert_eq!(twin.body["properties"]["reported"]["fan"], 2);
    // The device's own twin is another one.
    let other = lab.hub("GET", "/twins/dev-1", None, None).await;
    assert_eq!(other.body["properties"]["reported"]["fan"], Value::Null);
    assert_eq!(other.body["connectionState"], "Disconnected");

    let desired = json!({ "properties": { "desired": { "speed": 3 } } });
    let etag = format!("\"{}\"", twin.text("etag"));
    let written = lab
        .hub("PATCH", twin_path, Some(&etag), Some(desired))
        .await;
    assert_eq!(written.status, 200, "{written:?}");
    let told = client.expect().await;
    let topic = "$iothub/twin/PATCH/properties/desired/?$version=2";
    assert_eq!(told.topic(), topic);
    assert_eq!(told.json(), json!({ "speed": 3, "$version": 2 }));

    let body = json!({ "methodName": "reboot", "payload": { "delay": 5 } });
    let path = "/twins/dev-1/modules/mod-1/methods";
    let call = lab.hub("POST", path, None, Some(body.clone()));
    let device = async {
        let request = client.expect().await;
        let rid = request.topic().rsplit_once("$rid=").unwrap().1.to_owned();
        assert_eq!(request.json(), json!({ "delay": 5 }));
        let reply = format!("$iothub/methods/res/207/?$rid={rid}");
        client.send(publish(&reply, None, r#"{"ok":true}"#)).await;
    };
    let (answer, ()) = tokio::join!(call, device);
    assert_eq!(
        answer.body,
        json!({ "status": 207, "payload": { "ok": true } })
    );
    let offline = lab
        .hub("POST", "/twins/dev-1/methods", None, Some(body))
        .await;
    assert_hub_error(&offline, 404, "DeviceNotOnline");
}

/// R-G12, R-G17: neither may act for the other.
#[tokio::test(start_paused = true)]
async fn a_module_and_its_device_keep_to_their_own_names() {
    let lab = Lab::start();
    let whole = device(&lab, "dev-1").await;
    let part = module(&lab).await;
    // CONNECT, who signs, return code
    let mut misnamed = lab.sas_connect("dev-1/mod-1", &part);
    misnamed.client_id = "dev-1".to_owned();
    let mut with_device_key = lab.sas_connect("dev-1/mod-1", &whole);
    with_device_key.clean = false;
    let mut with_device_token = Connect::hub("dev-1/mod-1");
    with_device_token.password = Some(lab.device_token("dev-1", &part, 3600));
    let mut unknown = Connect::hub("dev-1/mod-2");
    unknown.password = Some(lab.device_token("dev-1/mod-2", &part, 3600));
    let table = [
        (misnamed, 2),
        (with_device_key, 5),
        (unknown, 5),
        // A token for the device covers what lies below it; the key is the module's.
        (with_device_token, 0),
    ];
    for (connect, expected) in table {
        let mut client = lab.mqtt(None).await;
        let (_, code) = client.connect(&connect).await;
        assert_eq!(code, expected, "{connect:?}");
    }
    for topic in [
        "devices/dev-1/messages/events/",
        "devices/dev-1/modules/mod-2/messages/events/",
    ] {
        let mut client = lab.sas_session("dev-1/mod-1", &part).await;
        client.send(publish(topic, Some(1), "x")).await;
        client.expect_end().await;
    }
}

/// R-G13: one session for each identity.
#[tokio::test(start_paused = true)]
async fn a_module_takes_over_its_own_session_and_not_its_devices() {
    let lab = Lab::start();
    let whole = device(&lab, "dev-1").await;
    let part = module(&lab).await;
    let mut above = lab.sas_session("dev-1", &whole).await;
    let mut first = lab.sas_session("dev-1/mod-1", &part).await;
    let mark = lab.events.mark();
    let mut second = lab.sas_session("dev-1/mod-1", &part).await;
    first.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1/mod-1"), ("R-G13", 400_027));
    second
        .publish("devices/dev-1/modules/mod-1/messages/events/", "x")
        .await;
    above.publish("devices/dev-1/messages/events/", "x").await;
    let refused = lab
        .hub("GET", "/devices/dev-1/modules/mod-1", None, None)
        .await;
    assert_eq!(refused.text("connectionState"), "Connected");
}

/// R-E6, R-E7, R-G4, R-G5.
#[tokio::test(start_paused = true)]
async fn a_device_that_is_disabled_or_deleted_takes_its_modules_along() {
    for delete in [false, true] {
        let lab = Lab::start();
        let whole = device(&lab, "dev-1").await;
        let part = module(&lab).await;
        let bystander = device(&lab, "dev-10").await;
        let mut above = lab.sas_session("dev-1", &whole).await;
        let mut below = lab.sas_session("dev-1/mod-1", &part).await;
        let mut beside = lab.sas_session("dev-10", &bystander).await;
        let mark = lab.events.mark();
        let started = lab.env.clock.now_ms();
        let path = "/devices/dev-1";
        if delete {
            let answer = lab.hub("DELETE", path, Some("*"), None).await;
            assert_eq!(answer.status, 204);
        } else {
            let mut off = whole.clone();
            off["status"] = "disabled".into();
            let answer = lab.hub("PUT", path, Some("*"), Some(off)).await;
            assert_eq!(answer.status, 200);
        }
        above.expect_end().await;
        below.expect_end().await;
        for id in ["dev-1", "dev-1/mod-1"] {
            assert_eq!(lab.events.closing(mark, id), ("R-E6", 404_104), "{id}");
        }
        assert!(lab.since(started) <= Duration::from_secs(1));
        beside.publish("devices/dev-10/messages/events/", "x").await;

        let mut client = lab.mqtt(None).await;
        let refused = client.connect(&lab.sas_connect("dev-1/mod-1", &part)).await;
        assert_eq!(refused, (0, 5));
        let rule = if delete {
            ("R-E7", 404_001)
        } else {
            ("R-G4", 403_012)
        };
        assert_eq!(lab.events.refusal(mark, "dev-1/mod-1"), rule);
        let module = lab.hub("GET", MODULE, None, None).await;
        if delete {
            assert_hub_error(&module, 404, "ModuleNotFound");
            // What comes after has nothing of it.
            device(&lab, "dev-1").await;
            let list = lab.hub("GET", "/devices/dev-1/modules", None, None).await;
            assert_eq!(list.body, json!([]));
        } else {
            assert_eq!(module.text("connectionState"), "Disconnected");
            // R-E6 cuts; enabling lets in again.
            let answer = lab.hub("PUT", path, Some("*"), Some(whole)).await;
            assert_eq!(answer.status, 200);
            lab.sas_session("dev-1/mod-1", &part).await;
        }
    }
}

/// R-G7: a module shows a certificate of its own.
#[tokio::test(start_paused = true)]
async fn a_module_comes_in_by_its_own_thumbprint() {
    let lab = Lab::start();
    device(&lab, "dev-1").await;
    let (leaf, other) = (lab.leaf("anything", 1, 30), lab.leaf("anything", 2, 30));
    let body = json!({
        "deviceId": "dev-1",
        "moduleId": "mod-1",
        "authentication": { "type": "selfSigned", "x509Thumbprint": {
            "primaryThumbprint": crate::rollover::hex(leaf.fingerprint()),
        } },
    });
    let answer = lab.hub("PUT", MODULE, None, Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let connect = Connect::hub("dev-1/mod-1");
    assert!(lab.session_of(&leaf, &connect).await.is_ok());
    assert_eq!(lab.session_of(&other, &connect).await.err(), Some(5));
    let mut device = Connect::hub("dev-1");
    device.user_name = format!("{HUB}/dev-1/?api-version=2021-04-12");
    assert_eq!(lab.session_of(&leaf, &device).await.err(), Some(5));
}
