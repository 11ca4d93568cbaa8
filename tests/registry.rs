//! The identity registry of a hub over HTTPS (behaviour F.2, R-G1 to R-G3, R-G5, R-F10).

use serde_json::{Value, json};

use crate::api_hub::assert_hub_error;
use crate::support::http::Request;
use crate::support::mqtt::Connect;
use crate::support::operator::ConnectionString;
use crate::support::{HUB, Lab};
use linarite_core::id::HubHostName;

/// What Azure writes where a moment has never come (ENDPOINTS 1).
const NEVER: &str = "0001-01-01T00:00:00Z";

/// R-G1, R-G6: every member, before and after the device came.
#[tokio::test(start_paused = true)]
async fn a_device_is_shown_with_every_member_azure_has() {
    let lab = Lab::start();
    let created = lab.create("dev-1", json!({ "type": "sas" })).await;
    let generation = created["generationId"].as_str().unwrap();
    let keys = &created["authentication"]["symmetricKey"];
    assert_ne!(keys["primaryKey"], keys["secondaryKey"]);
    let expected = json!({
        "deviceId": "dev-1",
        "generationId": generation,
        "etag": created["etag"].as_str().unwrap(),
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": null,
        "connectionStateUpdatedTime": NEVER,
        "statusUpdatedTime": NEVER,
        "lastActivityTime": NEVER,
        "cloudToDeviceMessageCount": 0,
        "capabilities": { "iotEdge": false },
        "authentication": {
            "type": "sas",
            "symmetricKey": keys,
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
        },
    });
    assert_eq!(created, expected);

    let session = lab.sas_session("dev-1", &created).await;
    let shown = lab.hub("GET", "/devices/dev-1", None, None).await.body;
    assert_eq!(shown["connectionState"], "Connected");
    let came = shown["connectionStateUpdatedTime"].as_str().unwrap();
    assert!(came.starts_with("2026-01-01T00:00:"), "{came}");
    assert_eq!(shown["lastActivityTime"], came);
    drop(session);

    let mut off = shown.clone();
    off["status"] = "disabled".into();
    off["statusReason"] = "x".repeat(128).into();
    let off = lab.hub("PUT", "/devices/dev-1", Some("*"), Some(off)).await;
    assert_eq!(off.status, 200, "{off:?}");
    assert!(
        off.text("statusUpdatedTime").starts_with("2026-"),
        "{off:?}"
    );
    assert_eq!(off.text("statusReason").len(), 128);
    let header = format!("\"{}\"", off.text("etag"));
    assert_eq!(off.header("etag"), Some(header.as_str()));
    assert_eq!(off.header("vary"), Some("Origin"));
    assert!(off.header("x-ms-request-id").is_some());
}

/// R-G3, R-F11: what is sent of each mechanism is what is shown.
#[tokio::test(start_paused = true)]
async fn each_mechanism_is_kept_as_it_was_sent() {
    let lab = Lab::start();
    let (sha1, sha256) = ("A1".repeat(20), "b2".repeat(32));
    let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
    // sent, type shown, member shown, its value
    let table = [
        (
            json!({ "type": "none" }),
            "none",
            "/x509Thumbprint/primaryThumbprint",
            Value::Null,
        ),
        (
            json!({ "type": "certificateAuthority" }),
            "certificateAuthority",
            "/symmetricKey/primaryKey",
            Value::Null,
        ),
        (
            json!({ "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": sha1 } }),
            "selfSigned",
            "/x509Thumbprint/primaryThumbprint",
            sha1.clone().into(),
        ),
        (
            json!({ "type": "selfSigned", "x509Thumbprint": { "secondaryThumbprint": sha256 } }),
            "selfSigned",
            "/x509Thumbprint/secondaryThumbprint",
            sha256.to_uppercase().into(),
        ),
        (
            json!({ "x509Thumbprint": { "primaryThumbprint": sha1 } }),
            "selfSigned",
            "/x509Thumbprint/secondaryThumbprint",
            Value::Null,
        ),
        (
            json!({ "type": "sas", "symmetricKey": { "primaryKey": key, "secondaryKey": key } }),
            "sas",
            "/symmetricKey/secondaryKey",
            key.into(),
        ),
    ];
    for (number, (sent, kind, member, expected)) in table.into_iter().enumerate() {
        let shown = lab.create(&format!("dev-{number}"), sent.clone()).await;
        let authentication = &shown["authentication"];
        assert_eq!(authentication["type"], kind, "{sent}");
        assert_eq!(authentication.pointer(member), Some(&expected), "{sent}");
    }
    let generated = lab.create("dev-x", Value::Null).await;
    let text = generated["authentication"]["symmetricKey"]["secondaryKey"].as_str();
    assert_eq!(text.unwrap().len(), 88, "a generated key of 64 bytes");
}

/// R-G1, R-G2, R-F10: what is wrong is named.
#[tokio::test(start_paused = true)]
async fn a_bad_body_is_refused_with_the_member_named() {
    let lab = Lab::start();
    let key = |primary: &str| json!({ "authentication": { "type": "sas", "symmetricKey": { "primaryKey": primary } } });
    let thumbprint = |text: &str| {
        let prints = json!({ "primaryThumbprint": text });
        json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": prints } })
    };
    let table = [
        (json!({ "deviceId": "dev-2" }), "deviceId"),
        (json!({ "deviceId": 1 }), "deviceId"),
        (json!({ "deviceId": null }), "deviceId"),
        (json!({ "status": "on" }), "status"),
        (json!({ "status": false }), "status"),
        (json!({ "statusReason": "x".repeat(129) }), "statusReason"),
        (json!({ "capabilities": [] }), "capabilities"),
        (
            json!({ "capabilities": { "iotEdge": "yes" } }),
            "capabilities.iotEdge",
        ),
        (json!({ "authentication": "sas" }), "authentication"),
        (
            json!({ "authentication": { "type": "tpm" } }),
            "authentication.type",
        ),
        (
            json!({ "authentication": { "type": "selfSigned" } }),
            "authentication.x509Thumbprint",
        ),
        (
            thumbprint("12"),
            "authentication.x509Thumbprint.primaryThumbprint",
        ),
        (
            thumbprint(&"Z".repeat(40)),
            "authentication.x509Thumbprint.primaryThumbprint",
        ),
        (key("?"), "authentication.symmetricKey.primaryKey"),
        (key("cA=="), "authentication.symmetricKey.primaryKey"),
        (json!({ "deviceScope": 1 }), "deviceScope"),
        (json!({ "deviceScope": "x".repeat(257) }), "deviceScope"),
        (json!({ "parentScopes": "x" }), "parentScopes"),
        (json!({ "parentScopes": [1] }), "parentScopes"),
        (json!({ "parentScopes": vec!["x"; 11] }), "parentScopes"),
    ];
    for (change, member) in table {
        let mut body = json!({ "deviceId": "dev-1" });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = lab.hub("PUT", "/devices/dev-1", None, Some(body)).await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
        let begin = format!("ErrorCode:ArgumentInvalid;{member}: ");
        assert!(
            answer.text("Message").starts_with(&begin),
            "{change} gives {answer:?}"
        );
    }
    let list = lab
        .hub("PUT", "/devices/dev-1", None, Some(json!([])))
        .await;
    assert_hub_error(&list, 400, "ArgumentInvalid");
    let nothing = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_hub_error(&nothing, 404, "DeviceNotFound");
}

/// R-G2: the grammar is wider than that of a registration id, and case counts.
#[tokio::test(start_paused = true)]
async fn ids_of_the_whole_grammar_are_kept_apart() {
    let lab = Lab::start();
    let longest = "x".repeat(128);
    let ids = ["a-.+%_#*?!(),=@$'", "A", "a", longest.as_str()];
    let escaped = |id: &str| {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        format!("/devices/{}", id.bytes().map(byte).collect::<String>())
    };
    for id in ids {
        let body = json!({ "deviceId": id });
        let answer = lab.hub("PUT", &escaped(id), None, Some(body)).await;
        assert_eq!(
            (answer.status, answer.text("deviceId")),
            (200, id),
            "{answer:?}"
        );
        let found = lab.hub("GET", &escaped(id), None, None).await;
        assert_eq!(found.body, answer.body);
    }
    let all = lab.hub("GET", "/devices", None, None).await;
    let listed: Vec<&str> = all.body.as_array().unwrap().iter().map(device_id).collect();
    let mut ordered = ids;
    ordered.sort_unstable();
    assert_eq!(listed, ordered);
    for id in ["a b", "a/b", "ä", &"x".repeat(129)] {
        let body = json!({ "deviceId": id });
        let answer = lab.hub("PUT", &escaped(id), None, Some(body)).await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
    }
}

fn device_id(device: &Value) -> &str {
    device["deviceId"].as_str().unwrap()
}

/// Behaviour F.2: `GET /devices?top=`.
#[tokio::test(start_paused = true)]
async fn a_list_is_as_long_as_asked_for_and_no_longer_than_a_thousand() {
    let lab = Lab::start();
    for number in 0..4 {
        lab.create(&format!("dev-{number}"), Value::Null).await;
    }
    let ask = async |top: &str| {
        let mut request = lab.hub_request("GET", "/devices");
        request.path += top;
        lab.ask(&request, None).await
    };
    for (top, count) in [("", 4), ("&top=1", 1), ("&top=3", 3), ("&top=1000", 4)] {
        let answer = ask(top).await;
        let listed = answer.body.as_array().unwrap();
        assert_eq!(listed.len(), count, "{top}");
        for (number, device) in listed.iter().enumerate() {
            assert_eq!(device_id(device), format!("dev-{number}"));
        }
    }
    for top in ["&top=0", "&top=1001", "&top=-1", "&top=many", "&top="] {
        let answer = ask(top).await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
        assert!(answer.text("Message").contains("top"), "{answer:?}");
    }
}

/// R-G1: a hub names the scope of an IoT Edge device; a leaf's is what was written.
#[tokio::test(start_paused = true)]
async fn scopes_are_made_for_edge_devices_and_echoed_for_others() {
    let lab = Lab::start();
    let edge = json!({ "deviceId": "gate", "capabilities": { "iotEdge": true } });
    let edge = lab.hub("PUT", "/devices/gate", None, Some(edge)).await.body;
    let generation = edge["generationId"].as_str().unwrap();
    let scope = format!("ms-azure-iot-edge://gate-{generation}");
    assert_eq!(edge["deviceScope"], scope);
    assert_eq!(edge["capabilities"]["iotEdge"], true);
    let leaf = json!({ "deviceId": "leaf", "deviceScope": scope, "parentScopes": [scope] });
    let leaf = lab.hub("PUT", "/devices/leaf", None, Some(leaf)).await.body;
    assert_eq!(
        (&leaf["deviceScope"], &leaf["parentScopes"][0]),
        (&edge["deviceScope"], &edge["deviceScope"])
    );
    let twin = lab.hub("GET", "/twins/leaf", None, None).await.body;
    assert_eq!(twin["deviceScope"], scope);
    // A device that is read, changed and sent back keeps what it had.
    for (path, mut device) in [("/devices/gate", edge), ("/devices/leaf", leaf)] {
        device["statusReason"] = "moved".into();
        let again = lab
            .hub("PUT", path, Some("*"), Some(device.clone()))
            .await
            .body;
        device["etag"] = again["etag"].clone();
        assert_eq!(again, device);
    }
}

/// Behaviour F.2: statistics count devices, not modules.
#[tokio::test(start_paused = true)]
async fn statistics_tell_how_many_devices_there_are_and_how_many_are_connected() {
    let lab = Lab::start();
    let count = async |path| lab.hub("GET", path, None, None).await.body;
    let none = json!({ "totalDeviceCount": 0, "enabledDeviceCount": 0, "disabledDeviceCount": 0 });
    assert_eq!(count("/statistics/devices").await, none);
    let identity = lab.create("dev-1", Value::Null).await;
    lab.create("dev-2", Value::Null).await;
    let off = json!({ "deviceId": "dev-3", "status": "disabled" });
    lab.hub("PUT", "/devices/dev-3", None, Some(off)).await;
    let module = json!({ "deviceId": "dev-1", "moduleId": "m" });
    lab.hub("PUT", "/devices/dev-1/modules/m", None, Some(module))
        .await;
    let some = json!({ "totalDeviceCount": 3, "enabledDeviceCount": 2, "disabledDeviceCount": 1 });
    assert_eq!(count("/statistics/devices").await, some);
    let connected = json!({ "connectedDeviceCount": 0 });
    assert_eq!(count("/Statistics/Service/").await, connected);
    let _session = lab.sas_session("dev-1", &identity).await;
    let connected = json!({ "connectedDeviceCount": 1 });
    assert_eq!(count("/statistics/service").await, connected);
}

/// R-F9, R-G12, wire 4.1: hubs of one process are told apart by Host and by user name.
#[tokio::test(start_paused = true)]
async fn each_hub_has_devices_and_policies_of_its_own() {
    const SECOND: &str = "hub-2.linarite.test";
    let lab = Lab::with(|config| {
        let mut second = config.hubs[0].clone();
        second.host = HubHostName::parse(SECOND).unwrap();
        config.hubs.push(second);
    });
    let first = lab.create("dev-1", Value::Null).await;
    let (_, text) = lab.emulator.hub_connection_strings().remove(1);
    let second = ConnectionString::parse(&text);
    let token = second.token(lab.now() + 600);
    let ask = async |host: &str, token: &str| {
        let request = Request::new("GET", host, "/devices/dev-1?api-version=2021-04-12")
            .header("Authorization", token);
        lab.ask(&request, None).await
    };
    assert_hub_error(&ask(SECOND, &token).await, 404, "DeviceNotFound");
    // The policies have the same names, and other keys; a token is for one hub.
    assert_hub_error(&ask(HUB, &token).await, 401, "IotHubUnauthorizedAccess");
    let mut forged = lab.hub_string();
    forged.host = SECOND.to_owned();
    let forged = forged.token(lab.now() + 600);
    assert_hub_error(&ask(SECOND, &forged).await, 401, "IotHubUnauthorizedAccess");

    let mut connect = Connect::hub("dev-1");
    connect.user_name = format!("{SECOND}/dev-1/?api-version=2021-04-12");
    connect.password = Some(lab.device_token("dev-1", &first, 3600));
    let refused = lab.mqtt(None).await.connect(&connect).await;
    assert_eq!(refused, (0, 5));
    lab.sas_session("dev-1", &first).await;
}
