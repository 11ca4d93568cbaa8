//! Bulk operations on a hub's registry (behaviour F.2, R-F10).

use serde_json::{Value, json};

use crate::api_hub::assert_hub_error;
use crate::support::Lab;
use crate::support::http::Answer;

async fn bulk(lab: &Lab, items: Value) -> Answer {
    lab.hub("POST", "/devices", None, Some(items)).await
}

/// Carries out one item of `mode` for `dev-1`; gives the number it failed with.
async fn one(lab: &Lab, mode: &str, change: Value) -> Option<u64> {
    let mut item = json!({ "id": "dev-1", "importMode": mode });
    for (name, value) in change.as_object().unwrap() {
        item[name] = value.clone();
    }
    let answer = bulk(lab, json!([item])).await;
    let errors = answer.body["errors"].as_array().unwrap();
    assert_eq!(answer.body["isSuccessful"], errors.is_empty(), "{answer:?}");
    assert_eq!(answer.status, if errors.is_empty() { 200 } else { 400 });
    let name = answer.header("iothub-errorcode");
    let failed = (!errors.is_empty()).then_some("BulkRegistryOperationFailure");
    assert_eq!(name, failed, "{answer:?}");
    let error = errors.first()?;
    assert_eq!(error["deviceId"], "dev-1");
    assert_eq!(error["operation"], mode);
    assert!(!error["errorStatus"].as_str().unwrap().is_empty());
    error["errorCode"].as_u64()
}

/// Behaviour F.2, K.8: every mode on nothing, on something, and on another version.
#[tokio::test(start_paused = true)]
async fn every_mode_does_what_it_says() {
    // mode; on nothing; on something with no etag, its own, another; whether it stays a device
    let table = [
        ("create", None, [Some(409_001); 3], true),
        ("createOrUpdate", None, [None; 3], true),
        (
            "createOrUpdateIfMatchETag",
            None,
            [Some(412_001), None, Some(412_001)],
            true,
        ),
        ("update", Some(404_001), [None; 3], true),
        (
            "updateIfMatchETag",
            Some(404_001),
            [Some(412_001), None, Some(412_001)],
            true,
        ),
        ("delete", Some(404_001), [None; 3], false),
        (
            "deleteIfMatchETag",
            Some(404_001),
            [Some(412_001), None, Some(412_001)],
            false,
        ),
        ("updateTwin", Some(404_001), [None; 3], true),
        (
            "updateTwinIfMatchETag",
            Some(404_001),
            [Some(412_001), None, Some(412_001)],
            true,
        ),
    ];
    for (mode, on_nothing, on_something, stays) in table {
        let lab = Lab::start();
        assert_eq!(
            one(&lab, mode, json!({})).await,
            on_nothing,
            "{mode} on nothing"
        );
        let there = lab.hub("GET", "/devices/dev-1", None, None).await.status == 200;
        assert_eq!(there, on_nothing.is_none(), "{mode} on nothing");
        for (case, expected) in ["none", "own", "other"].into_iter().zip(on_something) {
            lab.hub("DELETE", "/devices/dev-1", None, None).await;
            let held = lab.create("dev-1", Value::Null).await;
            let twin = lab.hub("GET", "/twins/dev-1", None, None).await;
            let etags = match case {
                "none" => json!({}),
                "own" => json!({ "eTag": held["etag"], "twinETag": twin.body["etag"] }),
                _ => json!({ "eTag": "another", "twinETag": "another" }),
            };
            // What comes with the item must not stand in the way of another mode.
            let etags = if mode.starts_with("updateTwin") || case == "own" {
                etags
            } else {
                json!({ "eTag": etags["eTag"] })
            };
            let mut change = etags;
            change["statusReason"] = "in bulk".into();
            change["tags"] = json!({ "site": "plant" });
            assert_eq!(
                one(&lab, mode, change).await,
                expected,
                "{mode} with etag {case}"
            );
            let after = lab.hub("GET", "/devices/dev-1", None, None).await;
            assert_eq!(
                after.status == 200,
                stays || expected.is_some(),
                "{mode} {case}"
            );
            let twin = lab.hub("GET", "/twins/dev-1", None, None).await;
            let (reason, site) = (&after.body["statusReason"], &twin.body["tags"]["site"]);
            match (expected, mode) {
                (None, "updateTwin" | "updateTwinIfMatchETag") => {
                    assert_eq!(
                        (reason, site),
                        (&Value::Null, &json!("plant")),
                        "{mode} {case}"
                    );
                }
                (None, _) if stays => {
                    assert_eq!(
                        (reason, site),
                        (&json!("in bulk"), &json!("plant")),
                        "{mode}"
                    );
                }
                (Some(_), _) => assert_eq!((reason, site), (&Value::Null, &Value::Null)),
                (None, _) => assert_eq!(after.status, 404),
            }
        }
    }
}

/// Behaviour F.2: items are independent, and come in order.
#[tokio::test(start_paused = true)]
async fn items_that_fail_do_not_stop_the_others() {
    let lab = Lab::start();
    lab.create("there", Value::Null).await;
    let mut mark = lab.events.mark();
    let answer = bulk(
        &lab,
        json!([
            { "id": "new", "importMode": "create", "capabilities": { "iotEdge": true } },
            { "id": "new", "moduleId": "part", "importMode": "create" },
            { "id": "there", "importMode": "create" },
            { "id": "there", "moduleId": "part", "importMode": "update" },
            { "id": "nowhere", "moduleId": "part", "importMode": "create" },
            { "id": "bare" },
        ]),
    )
    .await;
    assert_eq!(answer.status, 400);
    let errors = answer.body["errors"].as_array().unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|error| {
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            (
                text("deviceId"),
                text("moduleId"),
                error["errorCode"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("there", "", 409_001),
        ("there", "part", 404_010),
        ("nowhere", "part", 404_001),
    ];
    assert_eq!(told, expected);
    assert_eq!(answer.body["warnings"], json!([]));
    let created = lab
        .events
        .after(mark)
        .into_iter()
        .filter_map(|event| match event {
            linarite_env::Event::IdentityCreated { device_id, .. } => Some(device_id.to_string()),
            _ => None,
        });
    assert_eq!(created.collect::<Vec<_>>(), ["new", "new/part", "bare"]);
    let new = lab.hub("GET", "/devices/new", None, None).await;
    assert_eq!(new.body["capabilities"]["iotEdge"], true);
    assert_eq!(new.body["authentication"]["type"], "sas");

    // A session is told of what a bulk operation writes, like of any other write.
    mark = lab.events.mark();
    let identity = lab.hub("GET", "/devices/bare", None, None).await.body;
    let mut session = lab.sas_session("bare", &identity).await;
    session
        .subscribe("$iothub/twin/PATCH/properties/desired/#")
        .await;
    let twins = json!([
        { "id": "bare", "importMode": "updateTwin", "properties": { "desired": { "a": 1 } } },
        { "id": "new", "moduleId": "part", "importMode": "updateTwin", "tags": { "b": 2 } },
    ]);
    let answer = bulk(&lab, twins).await;
    assert_eq!(
        answer.body,
        json!({ "isSuccessful": true, "errors": [], "warnings": [] })
    );
    assert_eq!(
        session.expect().await.json(),
        json!({ "a": 1, "$version": 2 })
    );
    let part = lab.hub("GET", "/twins/new/modules/part", None, None).await;
    assert_eq!(part.body["tags"], json!({ "b": 2 }));
    let off = json!([{ "id": "bare", "importMode": "update", "status": "disabled" }]);
    assert_eq!(bulk(&lab, off).await.status, 200);
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, "bare"), ("R-E6", 404_104));
}

/// R-B23, R-G20: a new identity starts with the twin its item brings, or is not made at all.
#[tokio::test(start_paused = true)]
async fn an_identity_starts_with_the_twin_of_its_item() {
    let lab = Lab::start();
    let sections = json!({
        "tags": { "site": "plant" },
        "properties": { "desired": { "speed": 3, "$version": 9 } },
        "authentication": { "type": "none" },
    });
    assert_eq!(one(&lab, "create", sections.clone()).await, None);
    let twin = lab.hub("GET", "/twins/dev-1", None, None).await.body;
    assert_eq!(twin["tags"]["site"], "plant");
    assert_eq!(twin["properties"]["desired"]["speed"], 3);
    assert_eq!(twin["properties"]["desired"]["$version"], 1);
    assert_eq!(twin["authenticationType"], "none");
    // Writing over it replaces the sections that are brought (R-G21).
    let other = json!({ "tags": { "floor": 1 } });
    assert_eq!(one(&lab, "createOrUpdate", other).await, None);
    let twin = lab.hub("GET", "/twins/dev-1", None, None).await.body;
    assert_eq!(twin["tags"], json!({ "floor": 1 }));
    assert_eq!(twin["properties"]["desired"]["speed"], 3);

    lab.hub("DELETE", "/devices/dev-1", None, None).await;
    let deep = json!({ "tags": { "a.b": 1 } });
    assert_eq!(one(&lab, "create", deep).await, Some(400_004));
    let absent = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_hub_error(&absent, 404, "DeviceNotFound");
}

/// R-F10: a list that cannot be read is refused whole, with the member named.
#[tokio::test(start_paused = true)]
async fn a_bad_list_is_refused_whole() {
    let lab = Lab::start();
    let item = |change: Value| {
        let mut item = json!({ "id": "dev-2" });
        for (name, value) in change.as_object().unwrap() {
            item[name] = value.clone();
        }
        json!([{ "id": "dev-1" }, item])
    };
    let table = [
        (json!({ "id": "dev-1" }), "The body"),
        (json!(["dev-1"]), "The body"),
        (item(json!({ "id": null })), "[1].id: required"),
        (item(json!({ "id": "a b" })), "[1].id: "),
        (item(json!({ "moduleId": "a b" })), "[1].moduleId: "),
        (
            item(json!({ "importMode": "upsert" })),
            "[1].importMode: expected one of create, ",
        ),
        (item(json!({ "importMode": 1 })), "[1].importMode: "),
        (item(json!({ "status": "on" })), "[1].status: "),
        (item(json!({ "eTag": 1 })), "[1].eTag: "),
        (item(json!({ "eTag": "a\"b" })), "[1].eTag: "),
        (item(json!({ "twinETag": [] })), "[1].twinETag: "),
        (item(json!({ "properties": [] })), "[1].properties: "),
        (
            item(json!({ "properties": { "reported": { "a": 1 } } })),
            "[1].properties.reported: ",
        ),
        (
            item(json!({ "authentication": { "type": "x" } })),
            "[1].authentication.type: ",
        ),
    ];
    for (body, words) in table {
        let answer = bulk(&lab, body.clone()).await;
        assert_hub_error(&answer, 400, "ArgumentInvalid");
        let begin = format!("ErrorCode:ArgumentInvalid;{words}");
        assert!(
            answer.text("Message").starts_with(&begin),
            "{body} gives {answer:?}"
        );
    }
    let twice = bulk(&lab, json!([{ "id": "dev-1" }, { "id": "dev-1" }])).await;
    assert_hub_error(&twice, 400, "DeviceDefinedMultipleTimes");
    assert_eq!(lab.hub("GET", "/devices", None, None).await.body, json!([]));

    let items = |count: usize| {
        let item = |number: usize| json!({ "id": format!("dev-{number}"), "importMode": "create" });
        Value::from_iter((0..count).map(item))
    };
    let many = bulk(&lab, items(101)).await;
    assert_hub_error(&many, 413, "TooManyDevices");
    let full = bulk(&lab, items(100)).await;
    assert_eq!(
        (full.status, &full.body["isSuccessful"]),
        (200, &json!(true))
    );
    assert_eq!(bulk(&lab, json!([])).await.status, 200);
}
