//! Custom allocation: what a webhook is asked, what becomes of its answers, and what of its
//! failures (R-B16, R-B17).

mod trouble;

use std::time::Duration;

use linarite::pki::Credential;
use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use serde_json::{Value, json};

use crate::allocation::{by_owner, link};
use crate::api::assert_dps_error;
use crate::support::function::{FUNCTION, Function, Reply, URL};
use crate::support::http::Request;
use crate::support::mqtt::{Connect, Registered};
use crate::support::tpm::TPM;
use crate::support::{DPS, HUB, HUB_2, Lab, ROOT, SCOPE};

const DEVICE: &str = "dev-1";
const PATH: &str = "/devices/dev-1";
const TWIN: &str = "/twins/dev-1";
const SHOWN: &str = "http://function.linarite.test:7071/api/hook?****";

/// A laboratory with two hubs and a verified root, whose emulator dials `function`.
async fn lab(function: &Function) -> Lab {
    let lab = Lab::dialling(function.clone(), |_| {});
    lab.upload_ca(ROOT).await;
    lab
}

/// Members of an entry that asks the function.
fn custom(url: &str) -> Value {
    json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": url, "apiVersion": "2021-10-01" },
    })
}

fn with(mut entry: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    entry.as_object_mut().unwrap().extend(members);
    entry
}

async fn register_saying(lab: &Lab, credential: &Credential, body: &str) -> Registered {
    let client = lab.mqtt(Some(credential)).await;
    client.register_as(&Connect::dps(DEVICE), body).await
}

async fn record(lab: &Lab) -> Value {
    lab.dps("GET", "/registrations/dev-1", None, None)
        .await
        .body
}

/// R-B16, R-F5: the whole contract, for an individual enrollment by certificate.
#[tokio::test(start_paused = true)]
async fn a_webhook_is_told_entry_device_and_hubs_and_chooses() {
    let function = Function::choosing(HUB_2);
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let initial =
        json!({ "initialTwin": { "tags": { "site": "a" }, "properties": { "desired": {} } } });
    let saved = lab.enroll(&credential, with(custom(URL), initial)).await;
    let definition = json!({ "webhookUrl": SHOWN, "apiVersion": "2021-10-01" });
    assert_eq!(
        saved["customAllocationDefinition"], definition,
        "the key is not shown"
    );

    let body = json!({ "registrationId": DEVICE, "payload": { "model": ["x", 1] } });
    let registered = register_saying(&lab, &credential, &body.to_string()).await;
    assert_eq!(
        (&*registered.hub(), registered.substatus()),
        (HUB_2, "initialAssignment")
    );

    let asked = function.last();
    assert_eq!(asked.dialled, (FUNCTION.to_owned(), 7071));
    assert_eq!(asked.line, "POST /api/hook?code=s3cret HTTP/1.1");
    assert_eq!(asked.header("host"), "function.linarite.test:7071");
    assert_eq!(
        asked.header("content-type"),
        "application/json; charset=utf-8"
    );
    let info = saved["attestation"]["x509"]["clientCertificates"]["primary"]["info"].clone();
    let expected = json!({
        "individualEnrollment": saved,
        "deviceRuntimeContext": {
            "registrationId": DEVICE,
            "x509": { "certificateInfo": info },
            "payload": { "model": ["x", 1] },
        },
        "linkedHubs": [HUB, HUB_2],
    });
    assert_eq!(asked.body, expected);
    assert!(!asked.body.to_string().contains("s3cret"));

    // Asked again, it learns where the device is.
    register_saying(&lab, &credential, "").await;
    let context = json!({
        "registrationId": DEVICE,
        "currentIotHubHostName": HUB_2,
        "currentDeviceId": DEVICE,
        "x509": { "certificateInfo": info },
    });
    assert_eq!(function.last().body["deviceRuntimeContext"], context);
}

/// R-B16, R-F5: a group by symmetric key, over HTTPS.
#[tokio::test(start_paused = true)]
async fn a_group_is_told_without_its_keys() {
    let function = Function::choosing(HUB_2);
    let lab = lab(&function).await;
    let key = SymmetricKey::from_bytes(&[5; 64]).unwrap();
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let body = with(
        custom(URL),
        json!({
            "enrollmentGroupId": "toasters",
            "attestation": { "type": "symmetricKey", "symmetricKey": keys },
            "iotHubs": [HUB_2],
        }),
    );
    let path = "/enrollmentGroups/toasters";
    let saved = lab.dps("PUT", path, None, Some(body)).await;
    assert_eq!(saved.status, 200, "{saved:?}");

    let derived = sas::derive_device_key(&key, DEVICE);
    let resource = format!("{SCOPE}%2fregistrations%2f{DEVICE}");
    let expiry = UnixTime(lab.now() + 60);
    let token = sas::sign(&resource, expiry, &derived, Some("registration"));
    let base = format!("/{SCOPE}/registrations/{DEVICE}");
    let put = Request::new(
        "PUT",
        DPS,
        format!("{base}/register?api-version=2019-03-31"),
    )
    .header("Authorization", token.clone())
    .json(json!({ "payload": "hello" }));
    let begun = lab.ask(&put, None).await;
    assert_eq!((begun.status, begun.text("status")), (202, "assigning"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let operation = begun.text("operationId");
    let path = format!("{base}/operations/{operation}?api-version=2019-03-31");
    let poll = Request::new("GET", DPS, path).header("Authorization", token);
    let ended = lab.ask(&poll, None).await;
    assert_eq!(
        ended.body["registrationState"]["assignedHub"], HUB_2,
        "{ended:?}"
    );

    let expected = json!({
        "enrollmentGroup": saved.body,
        "deviceRuntimeContext": {
            "registrationId": DEVICE,
            "symmetricKey": {},
            "payload": "hello",
        },
        "linkedHubs": [HUB_2],
    });
    assert_eq!(function.last().body, expected);
    assert!(!expected.to_string().contains(&key.to_base64()));
}

/// R-B17: the twin it gives counts at the first assignment, and on a reset to another hub.
#[tokio::test(start_paused = true)]
async fn the_twin_it_gives_counts_where_one_is_started() {
    let told = json!({ "tags": { "by": "webhook" }, "properties": { "desired": { "n": 1 } } });
    let choose = |hub: &str, twin: &Value| {
        let payload = json!({ "chosen": hub });
        Reply::Json(
            200,
            json!({ "iotHubHostName": hub, "initialTwin": twin, "payload": payload }),
        )
    };
    let policy = |update: bool, migrate: bool| json!({ "updateHubAssignment": update, "migrateDeviceData": migrate });
    // policy, hub at first, hub then, twin given then, tags in the end, hubs offered then
    let both = json!([HUB, HUB_2]);
    let later = json!({ "tags": { "by": "webhook, later" } });
    let table = [
        (policy(true, true), HUB_2, &later, "webhook", both.clone()),
        (
            policy(true, false),
            HUB_2,
            &later,
            "webhook, later",
            both.clone(),
        ),
        (
            policy(true, false),
            HUB_2,
            &Value::Null,
            "entry",
            both.clone(),
        ),
        (policy(true, true), HUB, &later, "webhook", both.clone()),
        (policy(true, false), HUB, &later, "entry", both),
        (policy(false, false), HUB, &later, "webhook", json!([HUB])),
    ];
    for (policy, then, twin_then, by, offered) in table {
        let function = Function::new(choose(HUB, &told));
        function.then(choose(then, twin_then));
        let lab = lab(&function).await;
        let credential = lab.leaf(DEVICE, 1, 30);
        let members = json!({
            "reprovisionPolicy": policy,
            "initialTwin": { "tags": { "by": "entry" } },
        });
        lab.enroll(&credential, with(custom(URL), members)).await;
        let first = lab.register(&credential).await;
        assert_eq!(first.hub(), HUB);
        let twin = lab.hub_at(HUB, "GET", TWIN, None).await.body;
        assert_eq!(twin["tags"], told["tags"]);
        assert_eq!(twin["properties"]["desired"]["n"], 1);

        let second = lab.register(&credential).await;
        assert_eq!(second.hub(), then, "{policy}");
        assert_eq!(function.asked().len(), 2, "asked whatever the policy");
        assert_eq!(function.last().body["linkedHubs"], offered, "{policy}");
        let twin = lab.hub_at(then, "GET", TWIN, None).await.body;
        assert_eq!(twin["tags"]["by"], by, "{policy} to {then}");
        // The payload reaches the device and the operator, always.
        let payload = json!({ "chosen": then });
        assert_eq!(second.body["registrationState"]["payload"], payload);
        assert_eq!(record(&lab).await["payload"], payload);
    }
}

/// R-B17: without an answer about the twin, the entry's is taken; without a payload there is none.
#[tokio::test(start_paused = true)]
async fn an_answer_may_be_a_hub_and_nothing_else() {
    let function = Function::choosing("HUB-2.linarite.test");
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    let members = json!({ "initialTwin": { "tags": { "by": "entry" } } });
    lab.enroll(&credential, with(custom(URL), members)).await;
    let registered = lab.register(&credential).await;
    assert_eq!(registered.hub(), HUB_2);
    assert_eq!(registered.body["registrationState"].get("payload"), None);
    assert_eq!(record(&lab).await.get("payload"), None);
    let twin = lab.hub_at(HUB_2, "GET", TWIN, None).await.body;
    assert_eq!(twin["tags"], json!({ "by": "entry" }));
}

/// R-B16, R-B2, R-B8: the device waits in `assigning`, for as long as the time-out lets it.
#[tokio::test(start_paused = true)]
async fn the_device_sees_assigning_while_the_webhook_thinks() {
    let chosen = json!({ "iotHubHostName": HUB_2 });
    let function = Function::new(Reply::After(Duration::from_secs(20), chosen));
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let base = format!("/{SCOPE}/registrations/{DEVICE}");
    let register = Request::new(
        "PUT",
        DPS,
        format!("{base}/register?api-version=2019-03-31"),
    );
    let begun = lab.ask(&register, Some(&credential)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let operation = begun.text("operationId").to_owned();
    let poll = Request::new(
        "GET",
        DPS,
        format!("{base}/operations/{operation}?api-version=2019-03-31"),
    );
    tokio::time::sleep(Duration::from_secs(15)).await;
    let waiting = lab.ask(&poll, Some(&credential)).await;
    assert_eq!((waiting.status, waiting.text("status")), (202, "assigning"));
    assert_eq!(waiting.header("retry-after"), Some("3"));
    // One registration of an id at a time, and the webhook is asked once.
    assert_dps_error(&lab.ask(&register, Some(&credential)).await, 409_203);
    let other = lab.leaf("dev-2", 1, 30);
    lab.enroll(&other, json!({})).await;
    assert_eq!(
        lab.register(&other).await.hub(),
        HUB,
        "others are served meanwhile"
    );
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ended = lab.ask(&poll, Some(&credential)).await;
    assert_eq!((ended.status, ended.text("status")), (200, "assigned"));
    assert_eq!(function.asked().len(), 1);
}

/// R-B16: an answer counts for the entry it was asked about, and for no other.
#[tokio::test(start_paused = true)]
async fn an_entry_that_changes_meanwhile_is_judged_and_asked_anew() {
    let wait = Duration::from_secs(10);
    let late = |hub: &str| Reply::After(wait, json!({ "iotHubHostName": hub }));
    let function = Function::new(late(HUB));
    function.then(late(HUB_2));
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let after = async |change: Value| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        lab.enroll(&credential, change).await;
    };

    // Another address: the first answer is worth nothing.
    let change = custom(&URL.replace("/api/hook", "/api/other"));
    let (registered, ()) = tokio::join!(lab.register(&credential), after(change));
    assert_eq!(registered.hub(), HUB_2);
    let lines: Vec<String> = function
        .asked()
        .into_iter()
        .map(|asked| asked.line)
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("/api/other"), "{lines:?}");

    // Another policy: nothing more to ask.
    let change = json!({ "allocationPolicy": "static", "iotHubs": [HUB] });
    let (registered, ()) = tokio::join!(lab.register(&credential), after(change));
    assert_eq!(registered.hub(), HUB);
    assert_eq!(function.asked().len(), 3);

    // Disabled: it ends disabled, whatever the answer.
    lab.enroll(&credential, custom(URL)).await;
    let change = with(custom(URL), json!({ "provisioningStatus": "disabled" }));
    let (registered, ()) = tokio::join!(lab.register(&credential), after(change));
    assert_eq!(registered.outcome(), "disabled");

    // Deleted: nothing speaks for the device any more, and the record says so.
    lab.enroll(&credential, custom(URL)).await;
    let delete = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let gone = lab.dps("DELETE", "/enrollments/dev-1", None, None).await;
        assert_eq!(gone.status, 204, "{gone:?}");
    };
    let (registered, ()) = tokio::join!(lab.register(&credential), delete);
    assert_eq!(registered.failure().0, 401_002);
    assert_eq!(record(&lab).await["errorCode"], 401_002);
}

/// R-B16: that ends, even if the entry never stands still.
#[tokio::test(start_paused = true)]
async fn an_entry_that_never_stands_still_fails_the_registration() {
    let late = json!({ "iotHubHostName": HUB });
    let function = Function::new(Reply::After(Duration::from_secs(10), late));
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let restless = async {
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            lab.enroll(&credential, custom(URL)).await;
        }
    };
    let registered = tokio::select! {
        biased;
        registered = lab.register(&credential) => registered,
        () = restless => unreachable!("it never ends"),
    };
    let (code, words) = registered.failure();
    assert_eq!(code, 400_207);
    assert!(words.contains("the enrollment changed whenever"), "{words}");
    assert_eq!(function.asked().len(), 3);
}

/// R-B12, A.5: hubs may be unlinked, or shut, while the webhook thinks.
#[tokio::test(start_paused = true)]
async fn hubs_are_those_linked_when_the_answer_comes() {
    let late = json!({ "iotHubHostName": HUB });
    let function = Function::new(Reply::After(Duration::from_secs(10), late));
    let lab = lab(&function).await;
    let credential = lab.leaf(DEVICE, 1, 30);
    lab.enroll(&credential, custom(URL)).await;
    let unlink = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        link(&lab, json!([by_owner(&lab, HUB_2)])).await;
    };
    let (registered, ()) = tokio::join!(lab.register(&credential), unlink);
    let (code, words) = registered.failure();
    assert_eq!((code, words.contains(HUB)), (400_207, true), "{words}");

    link(&lab, json!([])).await;
    let asked = function.asked().len();
    assert_eq!(lab.register(&credential).await.failure().0, 400_208);
    assert_eq!(
        function.asked().len(),
        asked,
        "nothing to offer, nobody asked"
    );

    let key = SymmetricKey::from_bytes(&[9; 64]).unwrap().to_base64();
    let text = format!("HostName={HUB};SharedAccessKeyName=iothubowner;SharedAccessKey={key}");
    link(&lab, json!([{ "connectionString": text, "location": "x" }])).await;
    assert_eq!(lab.register(&credential).await.failure().0, 400_209);
}

/// R-B16: evidence is judged as of the moment it was shown, so a token may expire meanwhile.
#[tokio::test(start_paused = true)]
async fn a_token_that_expires_meanwhile_was_good_when_it_was_shown() {
    let late = json!({ "iotHubHostName": HUB });
    let function = Function::new(Reply::After(Duration::from_secs(20), late));
    let lab = lab(&function).await;
    let key = SymmetricKey::from_bytes(&[5; 64]).unwrap();
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let attestation = json!({ "type": "symmetricKey", "symmetricKey": keys });
    lab.put_entry(
        DEVICE,
        with(custom(URL), json!({ "attestation": attestation })),
    )
    .await;
    let token = |seconds: i64| {
        let resource = format!("{SCOPE}%2fregistrations%2f{DEVICE}");
        sas::sign(
            &resource,
            UnixTime(lab.now() + seconds),
            &key,
            Some("registration"),
        )
    };
    let base = format!("/{SCOPE}/registrations/{DEVICE}");
    let register = Request::new(
        "PUT",
        DPS,
        format!("{base}/register?api-version=2019-03-31"),
    )
    .header("Authorization", token(5));
    assert_eq!(lab.ask(&register, None).await.status, 202);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(record(&lab).await["status"], "assigned");
}

/// R-B16, R-A35: the keys of a TPM are told, and another challenge meanwhile takes nothing back.
#[tokio::test(start_paused = true)]
async fn a_tpm_is_told_by_its_keys() {
    let late = json!({ "iotHubHostName": HUB });
    let function = Function::new(Reply::After(Duration::from_secs(10), late));
    let lab = lab(&function).await;
    let tpm = json!({ "endorsementKey": TPM.endorsement_key() });
    let attestation = json!({ "type": "tpm", "tpm": tpm });
    lab.put_entry(
        DEVICE,
        with(custom(URL), json!({ "attestation": attestation })),
    )
    .await;
    let path = format!("/{SCOPE}/registrations/{DEVICE}/register?api-version=2019-03-31");
    let offer = Request::new("PUT", DPS, path).json(json!({ "tpm": TPM.offer(), "payload": 7 }));
    let challenged = lab.ask(&offer, None).await;
    assert_eq!(challenged.status, 401, "{challenged:?}");
    let key = TPM.activate(challenged.text("authenticationKey")).unwrap();
    let resource = format!("{SCOPE}%2fregistrations%2f{DEVICE}");
    let expiry = UnixTime(lab.now() + 600);
    let token = sas::sign(&resource, expiry, &key, Some("registration"));
    let proof = offer.clone().header("Authorization", token);
    assert_eq!(lab.ask(&proof, None).await.status, 202);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(lab.ask(&offer, None).await.status, 401);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(record(&lab).await["status"], "assigned");
    let context = json!({ "registrationId": DEVICE, "tpm": TPM.offer(), "payload": 7 });
    assert_eq!(function.last().body["deviceRuntimeContext"], context);
}
