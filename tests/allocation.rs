//! Which hub a device gets, and what becomes of it when hubs are linked, unlinked and relinked
//! while the service runs (behaviour B.2).

use linarite::pki::Credential;
use linarite_core::secret::SymmetricKey;
use serde_json::{Value, json};

use crate::api_management::{PROVIDER, instance, list_keys, manage, write_instance};
use crate::support::mqtt::telemetry;
use crate::support::{HUB, HUB_2, Lab};

/// The hubs that are linked from now on.
pub(crate) async fn link(lab: &Lab, hubs: Value) {
    let body = json!({ "properties": { "iotHubs": hubs } });
    let answer = write_instance(lab, None, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(crate) fn by_owner(lab: &Lab, host: &str) -> Value {
    json!({ "connectionString": lab.string_of(host), "location": "westeurope" })
}

async fn hub_of(lab: &Lab, credential: &Credential) -> String {
    let registered = lab.register(credential).await;
    assert_eq!(registered.outcome(), "assigned", "{registered:?}");
    registered.hub()
}

/// R-B11, R-B12, R-B13.
#[tokio::test(start_paused = true)]
async fn the_entrys_policy_chooses_or_else_the_instances() {
    let lab = Lab::with_two_hubs(|_| {});
    let credential = lab.leaf("dev-1", 1, 30);
    lab.upload_ca(crate::support::ROOT).await;
    // Registering again evaluates anew, so one device goes through them all.
    let table = [
        (json!({}), HUB),
        (json!({ "iotHubs": [HUB_2] }), HUB_2),
        (
            json!({ "allocationPolicy": "static", "iotHubs": [HUB] }),
            HUB,
        ),
        (
            json!({ "allocationPolicy": "static", "iotHubs": [HUB_2] }),
            HUB_2,
        ),
        (
            json!({ "allocationPolicy": "geoLatency", "iotHubs": [HUB, HUB_2] }),
            HUB,
        ),
        (
            json!({ "allocationPolicy": "hashed", "iotHubs": ["HUB-2.linarite.test"] }),
            HUB_2,
        ),
        (
            json!({ "allocationPolicy": "hashed", "iotHubs": ["gone.test", HUB] }),
            HUB,
        ),
    ];
    for (members, expected) in table {
        let saved = lab.enroll(&credential, members.clone()).await;
        assert_eq!(saved["allocationPolicy"], members["allocationPolicy"]);
        assert_eq!(hub_of(&lab, &credential).await, expected, "{members}");
    }
}

/// R-B11, R-B13: the instance's default is the management API's to change.
#[tokio::test(start_paused = true)]
async fn the_default_policy_and_the_weights_are_written_while_it_runs() {
    let lab = Lab::with_two_hubs(|_| {});
    lab.open_fleet().await;
    let devices: Vec<Credential> = (0..12)
        .map(|number| lab.leaf(&format!("dev-{number}"), 1, 30))
        .collect();
    let spread = async |body: Value| {
        let answer = write_instance(&lab, None, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut at_first = 0;
        for device in &devices {
            at_first += u32::from(hub_of(&lab, device).await == HUB);
        }
        at_first
    };
    assert_eq!(spread(json!({})).await, 12, "all go to the nearer hub");
    let hashed = json!({ "properties": { "allocationPolicy": "hashed" } });
    let even = spread(hashed).await;
    assert!((3..=9).contains(&even), "{even} of 12 by equal weights");
    let weight = |host: &str, weight: u32| {
        let mut link = by_owner(&lab, host);
        link["allocationWeight"] = weight.into();
        link
    };
    let hubs = json!([weight(HUB, 1000), weight(HUB_2, 1)]);
    let uneven = spread(json!({ "properties": { "iotHubs": hubs } })).await;
    assert!(uneven >= 11, "{uneven} of 12 by 1000 to 1");
    // R-B12: static wants one hub, and the group names none.
    let policy = json!({ "properties": { "allocationPolicy": "Static" } });
    let answer = write_instance(&lab, None, policy).await;
    assert_eq!(answer.body["properties"]["allocationPolicy"], "Static");
    assert_eq!(lab.register(&devices[0]).await.failure().0, 400_208);
}

/// R-B12, R-B14, R-B15, R-B7.
#[tokio::test(start_paused = true)]
async fn a_change_of_links_bears_on_later_registrations_alone() {
    let lab = Lab::with_two_hubs(|_| {});
    lab.open_fleet().await;
    let (one, two) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-2", 1, 30));
    let mut session = lab.admit(&one).await;
    let before = lab.hub_at(HUB, "GET", "/devices/dev-1", None).await;

    let mut idle = by_owner(&lab, HUB);
    idle["applyAllocationPolicy"] = false.into();
    link(&lab, json!([idle, by_owner(&lab, HUB_2)])).await;
    assert_eq!(
        hub_of(&lab, &two).await,
        HUB_2,
        "the first hub takes nobody"
    );
    let after = lab.hub_at(HUB, "GET", "/devices/dev-1", None).await;
    assert_eq!(after.body, before.body, "whoever is there stays");
    session.publish(&telemetry("dev-1"), "still here").await;

    // Without a hub the operation fails and says what is missing; the record tells the same.
    link(&lab, json!([])).await;
    let registered = lab.register(&one).await;
    let (code, words) = registered.failure();
    assert_eq!(code, 400_208);
    assert!(
        words.contains("linked and taking part in allocation: none"),
        "{words}"
    );
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.body["status"], "failed");
    assert_eq!(record.body["errorCode"], 400_208);
    assert_eq!(record.body["errorMessage"], words);
    assert_eq!(record.body.get("assignedHub"), None);
    let of_group = lab
        .dps("POST", "/registrations/fleet/query", None, None)
        .await;
    assert_eq!(of_group.body.as_array().unwrap().len(), 2, "{of_group:?}");
    session.publish(&telemetry("dev-1"), "still here").await;

    // Linked anew, it is used anew; the device is where it was, so it comes back to it.
    link(&lab, json!([by_owner(&lab, HUB)])).await;
    let registered = lab.register(&one).await;
    assert_eq!(registered.hub(), HUB);
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.text("substatus"), "reprovisionedToInitialAssignment");
    let after = lab.hub_at(HUB, "GET", "/devices/dev-1", None).await;
    assert_eq!(after.text("generationId"), before.text("generationId"));
}

/// A.5, 400209: DPS writes at a hub with the key it was given, and with no other.
#[tokio::test(start_paused = true)]
async fn a_link_that_does_not_open_the_registry_fails_registrations() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let keys = list_keys(&lab, &format!("{PROVIDER}/IotHubs/hub-1")).await;
    let with = |policy: &str, key: &str| {
        let text = format!("HostName={HUB}:443;SharedAccessKeyName={policy};SharedAccessKey={key}");
        json!([{ "connectionString": text, "location": "local" }])
    };
    let key_of = |policy: &str, which: &str| {
        let mut all = keys.iter();
        let found = all.find(|keys| keys["keyName"] == policy).unwrap();
        found[which].as_str().unwrap().to_owned()
    };
    let stranger = SymmetricKey::from_bytes(&[7; 64]).unwrap().to_base64();
    // policy, key, whether it opens the registry
    let table = [
        ("iothubowner", stranger, false),
        ("iothubowner", key_of("iothubowner", "secondaryKey"), true),
        ("nobody", key_of("iothubowner", "primaryKey"), false),
        ("service", key_of("service", "primaryKey"), false),
        (
            "registryReadWrite",
            key_of("registryReadWrite", "primaryKey"),
            false,
        ),
        ("iothubowner", key_of("iothubowner", "primaryKey"), true),
    ];
    for (policy, key, opens) in table {
        link(&lab, with(policy, &key)).await;
        let registered = lab.register(&credential).await;
        if opens {
            assert_eq!(registered.hub(), HUB, "{policy}");
            continue;
        }
        let (code, words) = registered.failure();
        assert_eq!(code, 400_209, "{policy}: {words}");
        assert!(
            words.contains("hub unauthorized") && words.contains(HUB),
            "{words}"
        );
        assert!(!words.contains(&key), "no key in {words}");
        // What is shown may be sent back and changes nothing.
        let shown = manage(&lab, "GET", &instance(), None, None).await.body;
        let hubs = shown["properties"]["iotHubs"].clone();
        assert!(!hubs.to_string().contains(&key));
        link(&lab, hubs).await;
        assert_eq!(lab.register(&credential).await.failure().0, 400_209);
    }
}
