//! Registering again: what moves with a device, what starts afresh, and what the hub it leaves
//! still knows (behaviour B.3, C.1).

use linarite::pki::Credential;
use linarite_core::certificate::{Certificate, Thumbprint};
use linarite_core::id::HubHostName;
use linarite_emulator::config::HubConfig;
use linarite_env::Event;
use serde_json::{Value, json};

use crate::allocation::{by_owner, link};
use crate::support::http::Request;
use crate::support::mqtt::{Connect, Mqtt, Registered};
use crate::support::{DPS, HUB, HUB_2, Lab, ROOT, SCOPE};

const DEVICE: &str = "dev-1";
const PATH: &str = "/devices/dev-1";
const TWIN: &str = "/twins/dev-1";

/// A laboratory with two hubs whose root is verified.
async fn two_hubs() -> Lab {
    let lab = Lab::with_two_hubs(|_| {});
    lab.upload_ca(ROOT).await;
    lab
}

fn policy(update: bool, migrate: bool) -> Value {
    json!({ "updateHubAssignment": update, "migrateDeviceData": migrate })
}

/// Members of an entry whose devices belong on `hub`.
fn on(hub: &str, policy: &Value) -> Value {
    json!({
        "allocationPolicy": "static",
        "iotHubs": [hub],
        "reprovisionPolicy": policy,
        "initialTwin": {
            "tags": { "site": "a" },
            "properties": { "desired": { "rate": 5 } },
        },
    })
}

async fn twin(lab: &Lab, host: &str) -> Value {
    let twin = lab.hub_at(host, "GET", TWIN, None).await;
    assert_eq!(twin.status, 200, "{twin:?}");
    twin.body
}

/// Tags, desired and reported properties, metadata left out.
fn content(twin: &Value) -> Value {
    let section = |name: &str| {
        let mut section = twin["properties"][name].clone();
        section.as_object_mut().unwrap().remove("$metadata");
        section
    };
    json!({
        "tags": twin["tags"],
        "desired": section("desired"),
        "reported": section("reported"),
    })
}

/// The device reports a property over its session.
async fn report(session: &mut Mqtt, body: &Value) {
    session.subscribe("$iothub/twin/res/#").await;
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    session.publish(topic, body.to_string()).await;
    let answer = session.expect().await;
    assert!(
        answer.topic().starts_with("$iothub/twin/res/204/"),
        "{answer:?}"
    );
}

fn thumbprint(credential: &Credential) -> String {
    let leaf = Certificate::from_pem_or_base64(&credential.leaf_pem()).unwrap();
    Thumbprint::Sha256(leaf.fingerprint()).to_string()
}

/// The thumbprints the hub knows the device by.
async fn known(lab: &Lab, host: &str) -> Vec<String> {
    let device = lab.hub_at(host, "GET", PATH, None).await;
    let thumbprints = &device.body["authentication"]["x509Thumbprint"];
    ["primaryThumbprint", "secondaryThumbprint"]
        .map(|slot| thumbprints[slot].as_str().unwrap().to_owned())
        .to_vec()
}

/// A device that is on the first hub, connected, with a twin both sides have written to.
async fn settled(lab: &Lab, credential: &Credential, policy: &Value) -> Mqtt {
    let mut entry = on(HUB, policy);
    entry["capabilities"] = json!({ "iotEdge": true });
    lab.enroll(credential, entry).await;
    let registered = lab.register(credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB, "initialAssignment")
    );
    let mut session = lab.session(credential).await.unwrap();
    report(&mut session, &json!({ "firmware": 1 })).await;
    let patch = json!({ "tags": { "floor": 2 }, "properties": { "desired": { "rate": 7 } } });
    let patched = lab.hub_at(HUB, "PATCH", TWIN, Some(patch)).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    session
}

/// What the twin of such a device holds.
fn lived() -> Value {
    json!({
        "tags": { "site": "a", "floor": 2 },
        "desired": { "rate": 7, "$version": 2 },
        "reported": { "firmware": 1, "$version": 2 },
    })
}

/// What it started with.
fn initial() -> Value {
    json!({
        "tags": { "site": "a" },
        "desired": { "rate": 5, "$version": 1 },
        "reported": { "$version": 1 },
    })
}

async fn service_substatus(lab: &Lab) -> String {
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    record.text("substatus").to_owned()
}

/// R-B23: what the first registration writes.
#[tokio::test(start_paused = true)]
async fn a_first_assignment_brings_the_entrys_twin_and_capabilities() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let session = settled(&lab, &credential, &policy(true, true)).await;
    assert_eq!(content(&twin(&lab, HUB).await), lived());
    let device = lab.hub_at(HUB, "GET", PATH, None).await;
    assert_eq!(device.body["capabilities"]["iotEdge"], true);
    assert_eq!(device.text("status"), "enabled");
    assert_eq!(device.body["authentication"]["type"], "selfSigned");
    drop(session);
}

/// R-C1, R-C2, R-C8, R-B5.
#[tokio::test(start_paused = true)]
async fn a_device_that_migrates_takes_everything_along() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let mut session = settled(&lab, &credential, &policy(true, true)).await;
    let before = lab.hub_at(HUB, "GET", PATH, None).await;

    // The entry now says otherwise; until the device registers, nothing moves.
    let mut entry = on(HUB_2, &policy(true, true));
    entry["capabilities"] = json!({ "iotEdge": false });
    entry["initialTwin"] = json!({ "tags": { "site": "b" } });
    lab.enroll(&credential, entry).await;
    assert_eq!(lab.hub_at(HUB_2, "GET", PATH, None).await.status, 404);
    let mark = lab.events.mark();
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "deviceDataMigrated")
    );
    assert_eq!(service_substatus(&lab).await, "deviceDataMigrated");

    assert_eq!(content(&twin(&lab, HUB_2).await), lived());
    let after = lab.hub_at(HUB_2, "GET", PATH, None).await;
    assert_eq!(
        after.body["capabilities"]["iotEdge"], true,
        "its own, not the entry's"
    );
    assert_ne!(after.text("generationId"), before.text("generationId"));

    // The old hub has forgotten it: session, identity, twin.
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, DEVICE), ("R-E6", 404_104));
    assert_eq!(lab.hub_at(HUB, "GET", PATH, None).await.status, 404);
    assert_eq!(lab.hub_at(HUB, "GET", TWIN, None).await.status, 404);
    assert_eq!(lab.session(&credential).await.err(), Some(5));
    let at_second = Connect::hub_at(HUB_2, DEVICE);
    lab.session_of(&credential, &at_second).await.unwrap();

    // First it is there, then it is gone here, and only then is it told.
    let told: Vec<&str> = lab
        .events
        .after(mark)
        .iter()
        .filter_map(|event| match event {
            Event::IdentityCreated { hub, .. } if **hub == *HUB_2 => Some("created"),
            Event::IdentityDeleted { hub, .. } if **hub == *HUB => Some("deleted"),
            Event::DeviceAssigned { hub, .. } if **hub == *HUB_2 => Some("assigned"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["created", "deleted", "assigned"]);
}

/// R-C3, R-C8.
#[tokio::test(start_paused = true)]
async fn a_device_that_is_reset_starts_with_the_entrys_present_twin() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let mut session = settled(&lab, &credential, &policy(true, false)).await;
    let mut entry = on(HUB_2, &policy(true, false));
    entry["initialTwin"] = json!({ "properties": { "desired": { "rate": 9 } } });
    lab.enroll(&credential, entry).await;
    let mark = lab.events.mark();
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "deviceDataReset")
    );
    let expected = json!({
        "tags": {},
        "desired": { "rate": 9, "$version": 1 },
        "reported": { "$version": 1 },
    });
    assert_eq!(content(&twin(&lab, HUB_2).await), expected);
    let after = lab.hub_at(HUB_2, "GET", PATH, None).await;
    assert_eq!(after.body["capabilities"]["iotEdge"], false);
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, DEVICE), ("R-E6", 404_104));
    assert_eq!(lab.hub_at(HUB, "GET", PATH, None).await.status, 404);
}

/// R-C4, R-B5, R-E8, K.10.
#[tokio::test(start_paused = true)]
async fn the_same_hub_again_changes_nothing_but_credentials() {
    let lab = two_hubs().await;
    let (old, new) = (lab.leaf(DEVICE, 1, 30), lab.leaf(DEVICE, 2, 60));
    let mut session = settled(&lab, &old, &policy(true, true)).await;
    let before = (
        twin(&lab, HUB).await,
        lab.hub_at(HUB, "GET", PATH, None).await,
    );
    let mut entry = on(HUB, &policy(true, true));
    entry["initialTwin"] = json!({ "tags": { "site": "b" } });
    lab.enroll(&new, entry).await;
    let registered = lab.register(&new).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB, "initialAssignment")
    );
    assert_eq!(
        service_substatus(&lab).await,
        "reprovisionedToInitialAssignment"
    );
    assert_eq!(content(&twin(&lab, HUB).await), content(&before.0));
    let after = lab.hub_at(HUB, "GET", PATH, None).await;
    assert_eq!(after.text("generationId"), before.1.text("generationId"));
    assert_eq!(known(&lab, HUB).await, [thumbprint(&new), thumbprint(&new)]);
    report(&mut session, &json!({ "firmware": 2 })).await;
    assert_eq!(lab.session(&old).await.err(), Some(5));
}

/// R-C5, I-5 in both positions, R-G22, R-G23.
#[tokio::test(start_paused = true)]
async fn a_reset_on_the_same_hub_starts_the_twin_over_if_the_setting_says_so() {
    for reset_on_same_hub in [true, false] {
        let lab = Lab::with_two_hubs(|config| {
            config.settings.reset_on_same_hub = reset_on_same_hub;
        });
        lab.upload_ca(ROOT).await;
        let credential = lab.leaf(DEVICE, 1, 30);
        let mut session = settled(&lab, &credential, &policy(true, false)).await;
        session
            .subscribe("$iothub/twin/PATCH/properties/desired/#")
            .await;
        let before = lab.hub_at(HUB, "GET", PATH, None).await;
        let registered = lab.register(&credential).await;
        assert_eq!(registered.hub(), HUB);
        let after = lab.hub_at(HUB, "GET", PATH, None).await;
        assert_eq!(after.text("generationId"), before.text("generationId"));
        let now = content(&twin(&lab, HUB).await);
        if reset_on_same_hub {
            assert_eq!(registered.substatus(), "deviceDataReset");
            let mut expected = initial();
            expected["desired"]["$version"] = 3.into();
            expected["reported"]["$version"] = 3.into();
            assert_eq!(now, expected, "versions go on");
            // A connected device is told, for versions it has seen do not tell it.
            let told = session.expect().await;
            assert_eq!(
                told.topic(),
                "$iothub/twin/PATCH/properties/desired/?$version=3"
            );
            assert_eq!(told.json(), expected["desired"]);
        } else {
            assert_eq!(registered.substatus(), "initialAssignment");
            assert_eq!(
                service_substatus(&lab).await,
                "reprovisionedToInitialAssignment"
            );
            assert_eq!(now, lived());
            session.expect_silence().await;
        }
    }
}

/// R-C6, I-6 in both positions.
#[tokio::test(start_paused = true)]
async fn a_device_that_never_moves_stays_whatever_the_entry_says() {
    for never_updates_credentials in [true, false] {
        let lab = Lab::with_two_hubs(|config| {
            config.settings.never_updates_credentials = never_updates_credentials;
        });
        lab.upload_ca(ROOT).await;
        let (old, new) = (lab.leaf(DEVICE, 1, 30), lab.leaf(DEVICE, 2, 60));
        let session = settled(&lab, &old, &policy(false, false)).await;
        let mut entry = on(HUB_2, &policy(false, false));
        entry["initialTwin"] = json!({ "tags": { "site": "b" } });
        lab.enroll(&new, entry).await;
        let registered = lab.register(&new).await;
        assert_eq!(
            (&*registered.hub(), registered.substatus()),
            (HUB, "initialAssignment")
        );
        assert_eq!(service_substatus(&lab).await, "initialAssignment");
        assert_eq!(content(&twin(&lab, HUB).await), lived());
        assert_eq!(lab.hub_at(HUB_2, "GET", PATH, None).await.status, 404);
        let expected = thumbprint(if never_updates_credentials {
            &new
        } else {
            &old
        });
        assert_eq!(known(&lab, HUB).await, [expected.clone(), expected]);
        drop(session);
        // R-B14: where it stays has to be linked.
        link(&lab, json!([by_owner(&lab, HUB_2)])).await;
        let (code, words) = lab.register(&new).await.failure();
        assert_eq!(code, 400_208);
        assert!(words.contains(HUB), "{words}");
    }
}

/// A registration over HTTPS with this version of the API, to its end.
async fn register_over_https(lab: &Lab, credential: &Credential, version: &str) -> Registered {
    let base = format!("/{SCOPE}/registrations/{DEVICE}");
    let query = format!("api-version={version}");
    let put = Request::new("PUT", DPS, format!("{base}/register?{query}"));
    let begun = lab.ask(&put, Some(credential)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let operation = begun.text("operationId");
    let path = format!("{base}/operations/{operation}?{query}");
    let ended = lab
        .ask(&Request::new("GET", DPS, path), Some(credential))
        .await;
    assert_eq!(ended.status, 200, "{ended:?}");
    Registered { body: ended.body }
}

/// R-C7: over both transports, in all four combinations.
#[tokio::test(start_paused = true)]
async fn an_old_client_stays_put_where_the_entry_has_no_policy() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let over_mqtt = async |version: &str| {
        let user_name = format!("{SCOPE}/registrations/{DEVICE}/api-version={version}");
        let connect = Connect::new(DEVICE, user_name);
        let client = lab.mqtt(Some(&credential)).await;
        client.register_as(&connect, "").await
    };
    let without = |hub: &str| json!({ "allocationPolicy": "static", "iotHubs": [hub] });
    let saved = lab.enroll(&credential, without(HUB)).await;
    let shown = json!({ "updateHubAssignment": true, "migrateDeviceData": true });
    assert_eq!(
        saved["reprovisionPolicy"], shown,
        "the default is shown all the same"
    );
    assert_eq!(over_mqtt("2018-04-01").await.hub(), HUB);

    lab.enroll(&credential, without(HUB_2)).await;
    assert_eq!(over_mqtt("2018-04-01").await.hub(), HUB, "sticky");
    let sticky = register_over_https(&lab, &credential, "2018-04-01").await;
    assert_eq!(sticky.hub(), HUB);
    // A client of today moves, and an old one too once the entry says so.
    assert_eq!(over_mqtt("2019-03-31").await.hub(), HUB_2);
    lab.enroll(&credential, without(HUB)).await;
    assert_eq!(over_mqtt("2018-04-01").await.hub(), HUB_2, "sticky");
    let moved = register_over_https(&lab, &credential, "2018-11-01").await;
    assert_eq!(moved.hub(), HUB);
    lab.enroll(&credential, on(HUB_2, &policy(true, true)))
        .await;
    assert_eq!(over_mqtt("2018-04-01").await.hub(), HUB_2);
}

/// R-B24.
#[tokio::test(start_paused = true)]
async fn another_device_id_counts_once_the_record_is_gone() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let named = |id: &str| json!({ "deviceId": id });
    lab.enroll(&credential, named("first")).await;
    assert_eq!(lab.register(&credential).await.device_id(), "first");
    lab.enroll(&credential, named("second")).await;
    assert_eq!(
        lab.register(&credential).await.device_id(),
        "first",
        "as recorded"
    );
    let path = "/registrations/dev-1";
    assert_eq!(lab.dps("DELETE", path, None, None).await.status, 204);
    let registered = lab.register(&credential).await;
    assert_eq!(registered.device_id(), "second");
    assert_eq!(registered.substatus(), "initialAssignment");
    for id in ["first", "second"] {
        let device = lab
            .hub_at(HUB, "GET", &format!("/devices/{id}"), None)
            .await;
        assert_eq!(device.status, 200, "{id}: the first one remains");
    }
}

/// R-B25, R-B18, R-B19.
#[tokio::test(start_paused = true)]
async fn an_identity_that_is_there_is_taken_over_with_its_twin() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let body = json!({ "deviceId": DEVICE, "authentication": { "type": "sas" } });
    let made = lab.hub_at(HUB, "PUT", PATH, Some(body)).await;
    assert_eq!(made.status, 200, "{made:?}");
    let patch = json!({ "tags": { "by": "hand" } });
    assert_eq!(
        lab.hub_at(HUB, "PATCH", TWIN, Some(patch)).await.status,
        200
    );
    lab.enroll(&credential, on(HUB, &policy(true, true))).await;
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB, "initialAssignment")
    );
    let device = lab.hub_at(HUB, "GET", PATH, None).await;
    assert_eq!(device.text("generationId"), made.text("generationId"));
    assert_eq!(device.body["authentication"]["type"], "selfSigned");
    assert_eq!(known(&lab, HUB).await[0], thumbprint(&credential));
    assert_eq!(twin(&lab, HUB).await["tags"], json!({ "by": "hand" }));
    lab.session(&credential).await.unwrap();
}

/// R-B25, R-C2, R-C3: a device that moves onto a leftover does not inherit its twin.
#[tokio::test(start_paused = true)]
async fn a_leftover_on_the_new_hub_gives_way() {
    for (migrate, expected) in [(true, lived()), (false, initial())] {
        let lab = two_hubs().await;
        let credential = lab.leaf(DEVICE, 1, 30);
        let session = settled(&lab, &credential, &policy(true, migrate)).await;
        let body = json!({ "deviceId": DEVICE, "authentication": { "type": "sas" } });
        assert_eq!(lab.hub_at(HUB_2, "PUT", PATH, Some(body)).await.status, 200);
        let patch = json!({ "tags": { "by": "hand" } });
        assert_eq!(
            lab.hub_at(HUB_2, "PATCH", TWIN, Some(patch)).await.status,
            200
        );
        lab.enroll(&credential, on(HUB_2, &policy(true, migrate)))
            .await;
        assert_eq!(lab.register(&credential).await.hub(), HUB_2);
        assert_eq!(content(&twin(&lab, HUB_2).await), expected, "{migrate}");
        drop(session);
    }
}

/// J3, R-E2: the operator deleted the identity, and the record still says where it was.
#[tokio::test(start_paused = true)]
async fn a_deleted_identity_starts_anew_with_the_initial_twin() {
    for (update, migrate) in [(true, true), (true, false), (false, false)] {
        let lab = two_hubs().await;
        let credential = lab.leaf(DEVICE, 1, 30);
        let mut session = settled(&lab, &credential, &policy(update, migrate)).await;
        let before = lab.hub_at(HUB, "GET", PATH, None).await;
        assert_eq!(lab.hub_at(HUB, "DELETE", PATH, None).await.status, 204);
        session.expect_end().await;
        assert_eq!(lab.register(&credential).await.hub(), HUB);
        let after = lab.hub_at(HUB, "GET", PATH, None).await;
        assert_ne!(after.text("generationId"), before.text("generationId"));
        assert_eq!(after.body["capabilities"]["iotEdge"], true);
        assert_eq!(
            content(&twin(&lab, HUB).await),
            initial(),
            "{update} {migrate}"
        );
    }
}

/// R-C2, R-B14 (assumed): nothing can be fetched from a hub that is not linked, nor deleted there.
#[tokio::test(start_paused = true)]
async fn a_device_whose_hub_was_unlinked_starts_afresh_elsewhere() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let mut session = settled(&lab, &credential, &policy(true, true)).await;
    link(&lab, json!([by_owner(&lab, HUB_2)])).await;
    lab.enroll(&credential, on(HUB_2, &policy(true, true)))
        .await;
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "deviceDataReset")
    );
    assert_eq!(content(&twin(&lab, HUB_2).await), initial());
    assert_eq!(content(&twin(&lab, HUB).await), lived(), "left as it was");
    report(&mut session, &json!({ "firmware": 3 })).await;
}

/// A.5, 400209: nor can it be fetched where the key no longer opens the registry; then it fails,
/// and the data wait.
#[tokio::test(start_paused = true)]
async fn a_device_whose_hub_is_shut_stays_until_it_opens() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let session = settled(&lab, &credential, &policy(true, true)).await;
    let mut shut = by_owner(&lab, HUB);
    let text = shut["connectionString"].as_str().unwrap();
    let (head, _) = text.split_once("SharedAccessKey=").unwrap();
    let key = "A".repeat(86);
    shut["connectionString"] = format!("{head}SharedAccessKey={key}==").into();
    link(&lab, json!([shut, by_owner(&lab, HUB_2)])).await;
    lab.enroll(&credential, on(HUB_2, &policy(true, true)))
        .await;
    let (code, words) = lab.register(&credential).await.failure();
    assert_eq!(code, 400_209, "{words}");
    assert!(words.contains(HUB) && !words.contains(&key), "{words}");
    assert_eq!(lab.hub_at(HUB_2, "GET", PATH, None).await.status, 404);
    link(&lab, json!([by_owner(&lab, HUB), by_owner(&lab, HUB_2)])).await;
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "deviceDataMigrated")
    );
    assert_eq!(content(&twin(&lab, HUB_2).await), lived());
    drop(session);
}

/// K.4, R-A27: a failure in between does not make DPS forget where the device is.
#[tokio::test(start_paused = true)]
async fn a_device_that_was_disabled_meanwhile_moves_all_the_same() {
    let lab = two_hubs().await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let session = settled(&lab, &credential, &policy(true, true)).await;
    let mut entry = on(HUB_2, &policy(true, true));
    entry["provisioningStatus"] = "disabled".into();
    lab.enroll(&credential, entry).await;
    assert_eq!(lab.register(&credential).await.outcome(), "disabled");
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.body.get("assignedHub"), None, "{record:?}");
    lab.enroll(&credential, on(HUB_2, &policy(true, true)))
        .await;
    let registered = lab.register(&credential).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "deviceDataMigrated")
    );
    assert_eq!(content(&twin(&lab, HUB_2).await), lived());
    assert_eq!(
        lab.hub_at(HUB, "GET", PATH, None).await.status,
        404,
        "one identity"
    );
    drop(session);
}

/// R-B13: a hub further away is chosen once it is the only one that takes part.
#[tokio::test(start_paused = true)]
async fn a_configured_hub_may_stand_aside() {
    let lab = Lab::with_two_hubs(|config| {
        config.hubs[0].apply_allocation_policy = false;
        let third = HubHostName::parse("hub-3.linarite.test").unwrap();
        config.hubs.push(HubConfig::new(third));
    });
    lab.open_fleet().await;
    assert_eq!(lab.register(&lab.leaf(DEVICE, 1, 30)).await.hub(), HUB_2);
}
