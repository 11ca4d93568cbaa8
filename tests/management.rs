//! What of the DPS instance the management API changes beside policies: linked hubs, the default
//! allocation policy, tags (ENDPOINTS 5).

use serde_json::{Value, json};

use crate::allocation::by_owner;
use crate::api_management::{assert_refused, instance, manage, write_instance};
use crate::support::{HUB, HUB_2, Lab};

async fn read(lab: &Lab) -> Value {
    manage(lab, "GET", &instance(), None, None).await.body
}

/// R-F1, R-B11, R-B12.
#[tokio::test(start_paused = true)]
async fn what_is_shown_may_be_sent_back_changed() {
    let lab = Lab::with_two_hubs(|config| config.hubs[1].apply_allocation_policy = false);
    let mut shown = read(&lab).await;
    assert_eq!(shown["properties"]["allocationPolicy"], "GeoLatency");
    assert_eq!(
        shown["properties"]["iotHubs"][1]["applyAllocationPolicy"],
        false
    );
    assert_eq!(shown["tags"], json!({}));

    shown["tags"] = json!({ "stage": "test", "owner": null });
    shown["properties"]["allocationPolicy"] = "Hashed".into();
    let hubs = shown["properties"]["iotHubs"].as_array_mut().unwrap();
    hubs[1]["applyAllocationPolicy"] = true.into();
    hubs[1]["allocationWeight"] = 7.into();
    hubs[0]["location"] = "westeurope".into();
    hubs.reverse();
    let etag = shown["etag"].as_str().unwrap().to_owned();
    let put = write_instance(&lab, Some(&etag), shown.clone()).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_ne!(put.text("etag"), etag);
    assert_eq!(put.body["tags"], json!({ "stage": "test" }));
    let properties = &put.body["properties"];
    assert_eq!(properties["allocationPolicy"], "Hashed");
    assert_eq!(properties["iotHubs"], shown["properties"]["iotHubs"]);
    assert_eq!(read(&lab).await, put.body);
    let lost = write_instance(&lab, Some(&etag), shown).await;
    assert_refused(&lost, 412_000, "etag");

    // A member that is not sent stays.
    let body = json!({ "properties": { "iotHubs": null } });
    let put = write_instance(&lab, None, body).await;
    assert_eq!(
        put.body["properties"]["iotHubs"],
        read(&lab).await["properties"]["iotHubs"]
    );
    assert_eq!(put.body["tags"], json!({ "stage": "test" }));
    let body = json!({ "tags": {}, "properties": { "iotHubs": [] } });
    let put = write_instance(&lab, None, body).await;
    assert_eq!(
        (&put.body["properties"]["iotHubs"], &put.body["tags"]),
        (&json!([]), &json!({}))
    );
}

#[tokio::test(start_paused = true)]
async fn tags_are_patched_as_a_whole_and_nothing_else_is() {
    let lab = Lab::start();
    let before = read(&lab).await;
    let patch = async |body: Value, if_match: Option<&str>| {
        manage(&lab, "PATCH", &instance(), if_match, Some(body)).await
    };
    let tagged = patch(json!({ "tags": { "a": "1", "b": "2" } }), None).await;
    assert_eq!(tagged.status, 200, "{tagged:?}");
    assert_eq!(tagged.body["tags"], json!({ "a": "1", "b": "2" }));
    assert_eq!(tagged.body["properties"], before["properties"]);
    assert_ne!(tagged.body["etag"], before["etag"]);
    let stale = before["etag"].as_str();
    let lost = patch(json!({ "tags": {} }), stale).await;
    assert_refused(&lost, 412_000, "etag");
    let replaced = patch(json!({ "tags": { "c": "3" } }), Some(tagged.text("etag"))).await;
    assert_eq!(replaced.body["tags"], json!({ "c": "3" }));
    assert_eq!(
        patch(json!({}), None).await.body["tags"],
        json!({ "c": "3" })
    );

    let long = |length: usize| "x".repeat(length);
    let many: serde_json::Map<String, Value> = (0..51)
        .map(|number| (number.to_string(), "".into()))
        .collect();
    let table = [
        (json!([]), 400_004, "JSON object"),
        (json!({ "tags": [] }), 400_004, "tags: expected an object"),
        (
            json!({ "tags": { "a": 1 } }),
            400_004,
            "tags.a: expected a string",
        ),
        (
            json!({ "tags": { "": "x" } }),
            400_004,
            "tags: expected names",
        ),
        (
            json!({ "tags": { long(513): "x" } }),
            400_004,
            "tags: expected names",
        ),
        (
            json!({ "tags": { "a": long(257) } }),
            400_004,
            "tags.a: expected at most 256",
        ),
        (
            json!({ "tags": many }),
            400_004,
            "tags: expected at most 50",
        ),
        (json!({ "properties": {} }), 501_000, "properties"),
        (json!({ "tags": {}, "location": "x" }), 501_000, "location"),
    ];
    for (body, code, words) in table {
        assert_refused(&patch(body, None).await, code, words);
    }
    assert_eq!(
        read(&lab).await["tags"],
        json!({ "c": "3" }),
        "nothing was written"
    );
}

/// R-B11, R-B13: what cannot be is refused by the name of its member, and nothing is written.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_link_is_named() {
    let lab = Lab::with_two_hubs(|_| {});
    let before = read(&lab).await;
    let owner = by_owner(&lab, HUB);
    let text = owner["connectionString"].as_str().unwrap();
    let secret = text.rsplit_once("SharedAccessKey=").unwrap().1.to_owned();
    let with = |member: &str, value: Value| {
        let mut link = owner.clone();
        link[member] = value;
        json!([link])
    };
    let string = |text: String| with("connectionString", text.into());
    let masked = |policy: &str| {
        let text = format!("HostName={HUB};SharedAccessKeyName={policy};SharedAccessKey=****");
        string(text)
    };
    let many: Vec<Value> = (0..51).map(|_| owner.clone()).collect();
    let not_served = format!("hub that is served here: {HUB}, {HUB_2}");
    let table = [
        (
            json!({}),
            400_004,
            "properties.iotHubs: expected an array of objects",
        ),
        (json!([1]), 400_004, "array of objects"),
        (
            json!([{}]),
            400_004,
            "properties.iotHubs[0].connectionString: required",
        ),
        (string("junk".to_owned()), 400_004, "HostName is missing"),
        (
            string(text.replace(HUB, "hub-9.azure-devices.net")),
            400_004,
            &not_served,
        ),
        (string(text.replace(HUB, "no host")), 400_004, &not_served),
        (
            string(text.replace("SharedAccessKeyName", "Name")),
            400_004,
            "SharedAccessKeyName is",
        ),
        (
            string(text.replace("iothubowner", "")),
            400_004,
            "SharedAccessKeyName is missing",
        ),
        (
            string(text.replace("iothubowner", &"x".repeat(65))),
            400_004,
            "SharedAccessKeyName of at most 64",
        ),
        (
            string(text.replace(&secret, "")),
            400_004,
            "SharedAccessKey is missing",
        ),
        (
            string(text.replace(&secret, "short")),
            400_004,
            "SharedAccessKey: ",
        ),
        (masked("service"), 400_004, "a masked key stands for"),
        (
            with("allocationWeight", 0.into()),
            400_004,
            "[0].allocationWeight: expected 1 to 1000",
        ),
        (
            with("allocationWeight", 1001.into()),
            400_004,
            "expected 1 to 1000, not 1001",
        ),
        (
            with("allocationWeight", "1".into()),
            400_004,
            "allocationWeight: expected a whole",
        ),
        (
            with("applyAllocationPolicy", 1.into()),
            400_004,
            "applyAllocationPolicy: expected true",
        ),
        (
            with("location", "x".repeat(65).into()),
            400_004,
            "location: expected at most 64",
        ),
        (
            with("name", HUB_2.into()),
            400_004,
            "[0].name: expected hub-1.linarite.test",
        ),
        (
            with("hostName", HUB_2.into()),
            400_004,
            "[0].hostName: expected hub-1",
        ),
        (
            with("authenticationType", "SystemAssigned".into()),
            501_000,
            "authenticationType",
        ),
        (
            json!([owner, owner]),
            400_004,
            "properties.iotHubs[1].connectionString: expected each",
        ),
        (
            json!(many),
            400_004,
            "properties.iotHubs: expected at most 50",
        ),
    ];
    for (hubs, code, words) in table {
        let body = json!({ "properties": { "iotHubs": hubs, "allocationPolicy": "Static" } });
        let answer = write_instance(&lab, None, body).await;
        assert_refused(&answer, code, words);
        assert!(!answer.body.to_string().contains(&secret), "{answer:?}");
    }
    for policy in [json!("custom"), json!("nearest"), json!(1)] {
        let body = json!({ "properties": { "allocationPolicy": policy, "iotHubs": [] } });
        let answer = write_instance(&lab, None, body).await;
        assert_refused(&answer, 400_004, "properties.allocationPolicy: expected");
    }
    assert_eq!(read(&lab).await, before, "nothing was written");

    // A mask stands for nothing where no hub is linked any more.
    let shown = masked("iothubowner");
    let unlinked = json!({ "properties": { "iotHubs": [] } });
    let put = write_instance(&lab, None, unlinked).await;
    assert_eq!(put.status, 200, "{put:?}");
    let body = json!({ "properties": { "iotHubs": shown } });
    let answer = write_instance(&lab, None, body).await;
    assert_refused(&answer, 400_004, "a masked key");
}
