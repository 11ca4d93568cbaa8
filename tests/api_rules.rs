//! The rules of a registration, told from outside: entries by the service API, devices by the
//! device API (behaviour A.4 to A.6, B.1, E).

use linarite::pki::Credential;
use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::settings::DisabledPrecedence;
use linarite_emulator::Door;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, Mqtt};
use crate::support::{DAY, DPS, ISSUER, Lab, ROOT, SCOPE, drain};

pub(crate) fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(&[byte; 32]).unwrap()
}

pub(crate) fn keys(key: &SymmetricKey) -> Value {
    let text = key.to_base64();
    let keys = json!({ "primaryKey": text, "secondaryKey": text });
    json!({ "type": "symmetricKey", "symmetricKey": keys })
}

/// The call with which `id` registers.
pub(crate) fn register(id: &str) -> Request {
    let path = format!("/{SCOPE}/registrations/{id}/register?api-version=2019-03-31");
    Request::new("PUT", DPS, path).json(json!({ "registrationId": id }))
}

/// A token of `id` signed with `key`.
pub(crate) fn token(lab: &Lab, id: &str, key: &SymmetricKey) -> String {
    let resource = format!("{SCOPE}%2Fregistrations%2F{id}");
    sas::sign(&resource, lab.env.clock.now().plus(3600), key, None)
}

async fn put_entry(lab: &Lab, path: &str, body: Value) {
    let exists = lab.dps("GET", path, None, None).await.status == 200;
    let if_match = exists.then_some("*");
    let answer = lab.dps("PUT", path, if_match, Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn put_group(lab: &Lab, id: &str, authority: &str, status: &str) {
    let pem = lab.pki.certificate_pem(authority).unwrap();
    let slots = json!({ "primary": { "certificate": pem } });
    let body = json!({
        "enrollmentGroupId": id,
        "attestation": { "type": "x509", "x509": { "signingCertificates": slots } },
        "provisioningStatus": status,
    });
    put_entry(lab, &format!("/enrollmentGroups/{id}"), body).await;
}

async fn put_leaf(lab: &Lab, leaf: &Credential, status: &str) {
    let slots = json!({ "primary": { "certificate": leaf.leaf_pem() } });
    let id = leaf.common_name();
    let body = json!({
        "registrationId": id,
        "attestation": { "type": "x509", "x509": { "clientCertificates": slots } },
        "provisioningStatus": status,
    });
    put_entry(lab, &format!("/enrollments/{id}"), body).await;
}

async fn put_key(lab: &Lab, path: &str, key: &SymmetricKey, status: &str) {
    let (kind, id) = path.trim_start_matches('/').split_once('/').unwrap();
    let name = if kind == "enrollments" {
        "registrationId"
    } else {
        "enrollmentGroupId"
    };
    let body = json!({ name: id, "attestation": keys(key), "provisioningStatus": status });
    put_entry(lab, path, body).await;
}

/// Registers with a token over HTTPS and polls once; gives the last answer.
async fn register_with(lab: &Lab, id: &str, token: &str) -> Answer {
    let bearing = |request: Request| request.header("Authorization", token);
    let begun = lab.ask(&bearing(register(id)), None).await;
    if begun.status != 202 {
        return begun;
    }
    sleep(Duration::from_secs(3)).await;
    let operation = begun.text("operationId");
    let path = format!("/{SCOPE}/registrations/{id}/operations/{operation}?api-version=2019-03-31");
    lab.ask(&bearing(Request::new("GET", DPS, path)), None)
        .await
}

/// One row of the table R-A24: the individual entry, the groups nearer and farther, what comes of
/// it when the first entry decides, and when any disabled one does.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const TRUTH: [Row; 9] = [
    ("", "", "enabled", "assigned", "assigned"),
    ("", "disabled", "enabled", "disabled", "disabled"),
    ("disabled", "enabled", "enabled", "disabled", "disabled"),
    ("", "deleted", "enabled", "assigned", "assigned"),
    ("", "enabled", "disabled", "assigned", "disabled"),
    ("enabled", "disabled", "disabled", "assigned", "disabled"),
    ("another leaf", "enabled", "enabled", "401002", "401002"),
    ("a key", "enabled", "", "401000", "401000"),
    ("", "", "", "401002", "401002"),
];

async fn outcome(row: &Row, precedence: DisabledPrecedence) -> String {
    let lab = Lab::with(|config| config.settings.disabled_precedence = precedence);
    lab.upload_ca(ROOT).await;
    let leaf = lab.leaf("dev-1", 1, 30);
    match row.0 {
        "" => {}
        "another leaf" => put_leaf(&lab, &lab.leaf("dev-1", 2, 30), "enabled").await,
        "a key" => put_key(&lab, "/enrollments/dev-1", &key(7), "enabled").await,
        status => put_leaf(&lab, &leaf, status).await,
    }
    for (id, authority, status) in [("near", ISSUER, row.1), ("far", ROOT, row.2)] {
        match status {
            "" => {}
            "deleted" => {
                put_group(&lab, id, authority, "disabled").await;
                assert_eq!(lab.register(&leaf).await.outcome(), "disabled");
                let path = format!("/enrollmentGroups/{id}");
                assert_eq!(lab.dps("DELETE", &path, None, None).await.status, 204);
            }
            status => put_group(&lab, id, authority, status).await,
        }
    }
    lab.register(&leaf).await.outcome()
}

/// R-A21 to R-A24, R-A26, I-1, I-13: the whole table, in both positions of the switch.
#[tokio::test(start_paused = true)]
async fn the_entry_that_speaks_decides_as_the_table_says() {
    for row in &TRUTH {
        let first = outcome(row, DisabledPrecedence::FirstMatch).await;
        let any = outcome(row, DisabledPrecedence::AnyInChain).await;
        assert_eq!((&*first, &*any), (row.3, row.4), "{row:?}");
    }
}

/// R-A25, R-A22: the documented example.
#[tokio::test(start_paused = true)]
async fn one_branch_and_one_device_of_the_other_are_blocked() {
    let mut lab = Lab::start();
    let from = lab.now() - DAY;
    for name in ["a", "b"] {
        lab.pki
            .add_intermediate(name, ROOT, from, from + 2000 * DAY)
            .unwrap();
    }
    lab.upload_ca(ROOT).await;
    put_group(&lab, "all", ROOT, "enabled").await;
    let device = |number| {
        let issuer = if number <= 3 { "a" } else { "b" };
        lab.leaf_of(issuer, &format!("dev-{number}"), 1, 30)
    };
    let devices = [1, 2, 3, 4, 5].map(device);
    let outcomes = async || {
        let mut outcomes = Vec::new();
        for device in &devices {
            outcomes.push(lab.register(device).await.outcome());
        }
        outcomes
    };
    assert_eq!(outcomes().await, ["assigned"; 5]);
    put_group(&lab, "branch", "b", "disabled").await;
    let (yes, no) = ("assigned", "disabled");
    assert_eq!(outcomes().await, [yes, yes, yes, no, no]);
    put_leaf(&lab, &devices[2], "disabled").await;
    assert_eq!(outcomes().await, [yes, yes, no, no, no]);
}

/// R-A27, R-B3, R-B7: by certificate or key, alone or in a group, `disabled` is a result, and
/// leaves a record that the service API shows.
#[tokio::test(start_paused = true)]
async fn a_disabled_entry_of_any_kind_is_a_result_with_a_record() {
    let lab = Lab::start();
    lab.upload_ca(ROOT).await;
    put_group(&lab, "certificates", ISSUER, "disabled").await;
    put_key(&lab, "/enrollments/key-1", &key(1), "disabled").await;
    put_key(&lab, "/enrollmentGroups/keys", &key(2), "disabled").await;
    let derived = sas::derive_device_key(&key(2), "key-2");
    for id in ["leaf-1", "leaf-2", "key-1", "key-2"] {
        let result = match id {
            "key-1" => register_with(&lab, id, &token(&lab, id, &key(1))).await,
            "key-2" => register_with(&lab, id, &token(&lab, id, &derived)).await,
            _ => {
                let leaf = lab.leaf(id, 1, 30);
                if id == "leaf-1" {
                    put_leaf(&lab, &leaf, "disabled").await;
                }
                let body = lab.register(&leaf).await.body;
                Answer {
                    status: 200,
                    headers: Vec::new(),
                    content: body.to_string(),
                    body,
                }
            }
        };
        assert_eq!((result.status, result.text("status")), (200, "disabled"));
        let state = &result.body["registrationState"];
        assert_eq!(state["status"], "disabled", "{state}");
        assert!(state.get("assignedHub").is_none(), "{state}");
        let record = lab
            .dps("GET", &format!("/registrations/{id}"), None, None)
            .await;
        assert_eq!((record.status, record.text("status")), (200, "disabled"));
        for member in ["etag", "lastUpdatedDateTimeUtc"] {
            assert!(!record.text(member).is_empty(), "{record:?}");
            assert_eq!(record.body[member], state[member]);
        }
    }
    for (group, id) in [("certificates", "leaf-2"), ("keys", "key-2")] {
        let path = format!("/registrations/{group}/query");
        let listed = lab.dps("POST", &path, None, None).await;
        assert_eq!(listed.body[0]["registrationId"], id, "{listed:?}");
        assert_eq!(listed.body[0]["status"], "disabled", "{listed:?}");
    }
}

/// R-B7, R-B14, R-B3: a registration that finds no hub is a result too.
#[tokio::test(start_paused = true)]
async fn a_registration_without_a_hub_fails_and_leaves_a_record() {
    let lab = Lab::start();
    let body = json!({
        "registrationId": "dev-1",
        "attestation": keys(&key(1)),
        "allocationPolicy": "static",
        "iotHubs": ["elsewhere.linarite.test"],
    });
    let put = lab.dps("PUT", "/enrollments/dev-1", None, Some(body)).await;
    assert_eq!(put.status, 200, "{put:?}");
    let result = register_with(&lab, "dev-1", &token(&lab, "dev-1", &key(1))).await;
    assert_eq!((result.status, result.text("status")), (200, "failed"));
    let state = &result.body["registrationState"];
    assert_eq!(state["errorCode"], 400_208, "{state}");
    assert!(!state["errorMessage"].as_str().unwrap().is_empty());
    let record = lab.dps("GET", "/registrations/dev-1", None, None).await;
    assert_eq!(record.text("status"), "failed");
    assert_eq!(record.body["errorCode"], 400_208);
}

/// R-A19, R-A2, I-12: the id, the entry, the credentials, and only then the status.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_first_is_what_is_told() {
    let lab = Lab::start();
    lab.upload_ca(ROOT).await;
    let (held, other) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 30));
    let number = async |id: &str, credential: Option<&Credential>| {
        let answer = lab.ask(&register(id), credential).await;
        (answer.status, answer.body["errorCode"].as_u64())
    };
    // A bad id is told even to somebody without credentials.
    assert_eq!(number("a%20b", None).await, (400, Some(400_004)));
    assert_eq!(number("dev-1", None).await, (404, Some(404_201)));
    put_leaf(&lab, &held, "disabled").await;
    // Wrong credentials never learn that the entry is disabled.
    assert_eq!(number("dev-1", None).await, (401, Some(401_000)));
    assert_eq!(number("dev-1", Some(&other)).await, (401, Some(401_002)));
    assert_eq!(number("DEV-1", Some(&held)).await, (202, None));
    put_key(&lab, "/enrollments/dev-2", &key(1), "disabled").await;
    let wrong = register("dev-2").header("Authorization", token(&lab, "dev-2", &key(2)));
    assert_eq!(lab.ask(&wrong, None).await.status, 401);
}

/// R-A30, R-B10: over MQTT the CONNECT comes in, without a session, and the refusal is the
/// answer to the register.
#[tokio::test(start_paused = true)]
async fn a_certificate_is_refused_in_the_answer_and_not_at_the_door() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let mut pki = linarite::pki::Pki::new();
    let from = lab.now() - DAY;
    pki.add_root("strange", from, from + 100 * DAY).unwrap();
    let generation = linarite::observation::Generation(1);
    let stranger = pki
        .leaf("strange", "dev-1", generation, from, from + 30 * DAY)
        .unwrap();
    for clean in [true, false, false] {
        let mut client = lab.mqtt(Some(&stranger)).await;
        let connect = Connect {
            clean,
            ..Connect::dps("dev-1")
        };
        assert_eq!(client.connect(&connect).await, (0, 0));
    }
    assert_eq!(lab.register(&stranger).await.outcome(), "401002");
}

/// R-A18: ten certificates are taken, eleven are not.
#[tokio::test(start_paused = true)]
async fn a_chain_of_ten_registers_and_one_of_eleven_does_not_come_in() {
    let mut lab = Lab::start();
    lab.open_fleet().await;
    let from = lab.now() - DAY;
    let mut issuer = ISSUER.to_owned();
    for number in 2..=9 {
        let name = format!("issuer-{number}");
        lab.pki
            .add_intermediate(&name, &issuer, from, from + 1000 * DAY)
            .unwrap();
        issuer = name;
        let leaf = lab.leaf_of(&issuer, &format!("dev-{number}"), 1, 30);
        // Leaf and root come on top.
        if number <= 8 {
            assert_eq!(lab.register(&leaf).await.outcome(), "assigned", "{number}");
        } else {
            let mark = lab.events.mark();
            let connector = lab.connector(Some(&leaf));
            if let Ok(mut stream) = lab.try_tls(Door::Mqtt, &connector).await {
                assert!(drain(&mut stream).await.is_empty());
            }
            let reason = lab.events.failed_handshake(mark);
            assert!(reason.contains("11 certificates"), "{reason}");
        }
    }
}

/// The token's parts, put together as some client does it (W2, W4).
fn spelled(resource: &str, key: &SymmetricKey, expiry: i64, style: usize) -> Option<String> {
    let signed = sas::sign(resource, linarite_core::time::UnixTime(expiry), key, None);
    let (_, rest) = signed.split_once("&sig=").unwrap();
    let (sig, se) = rest.split_once("&se=").unwrap();
    let raw = sig
        .replace("%2B", "+")
        .replace("%2F", "/")
        .replace("%3D", "=");
    // One signature that has all that is ever escaped.
    if !raw.contains('/') || !raw.contains('+') {
        return None;
    }
    Some(match style {
        0 => format!("SharedAccessSignature sr={resource}&sig={sig}&se={se}&skn=registration"),
        1 => format!("SharedAccessSignature sr={resource}&sig={sig}&se={se}"),
        2 => format!("SharedAccessSignature sr={resource}&sig={sig}&se={se}&skn="),
        3 => {
            let lower = raw
                .replace('+', "%2b")
                .replace('/', "%2f")
                .replace('=', "%3d");
            format!("SharedAccessSignature sr={resource}&sig={lower}&se={se}")
        }
        4 => {
            let slashes = raw.replace('+', "%2B").replace('=', "%3D");
            format!("SharedAccessSignature sr={resource}&sig={slashes}&se={se}")
        }
        _ => format!("SharedAccessSignature sig={sig}&se={se}&skn=&sr={resource}"),
    })
}

/// R-A31, R-A32, W2, W4: every spelling that clients have for one token is good.
#[tokio::test(start_paused = true)]
async fn a_token_is_good_however_its_client_spells_it() {
    let lab = Lab::start();
    put_key(&lab, "/enrollments/dev-1", &key(7), "enabled").await;
    let resources = [
        format!("{SCOPE}/registrations/dev-1"),
        format!("{SCOPE}%2Fregistrations%2Fdev-1"),
        format!("{SCOPE}%2fregistrations%2fdev-1"),
        format!("{}%2Fregistrations%2FDEV-1", SCOPE.to_uppercase()),
    ];
    for resource in &resources {
        for style in 0..6 {
            let from = lab.now() + 600;
            let token = (from..).find_map(|expiry| spelled(resource, &key(7), expiry, style));
            let token = token.unwrap();
            let over_https = register_with(&lab, "dev-1", &token).await;
            assert_eq!(
                over_https.body["status"], "assigned",
                "{token}: {over_https:?}"
            );
            let mut client: Mqtt = lab.mqtt(None).await;
            let connect = Connect {
                password: Some(token.clone()),
                ..Connect::dps("dev-1")
            };
            assert_eq!(client.connect(&connect).await, (0, 0), "{token}");
        }
    }
    // What is signed is the resource as it is written: another spelling needs its own signature.
    let good = token(&lab, "dev-1", &key(7));
    for bad in [
        good.replace("%2Fregistrations", "/registrations"),
        good.replace("dev-1", "dev-2"),
        good.replace("&se=", "&se=1"),
        good.replace("sig=", "sig=AAAA"),
    ] {
        let answer = register_with(&lab, "dev-1", &bad).await;
        assert_eq!(answer.status, 401, "{bad}: {answer:?}");
    }
}

/// R-A33, R-A34: derived from either key of any group, and never the group's key itself.
#[tokio::test(start_paused = true)]
async fn the_group_is_the_one_whose_derived_key_signed() {
    let lab = Lab::start();
    for (name, primary, secondary) in [("one", 1, 2), ("two", 3, 4), ("three", 5, 6)] {
        let text = |byte| key(byte).to_base64();
        let keys = json!({ "primaryKey": text(primary), "secondaryKey": text(secondary) });
        let body = json!({
            "enrollmentGroupId": name,
            "attestation": { "type": "symmetricKey", "symmetricKey": keys },
        });
        put_entry(&lab, &format!("/enrollmentGroups/{name}"), body).await;
    }
    for (byte, group) in [(1, "one"), (2, "one"), (3, "two"), (4, "two"), (6, "three")] {
        let derived = sas::derive_device_key(&key(byte), "dev-1");
        let result = register_with(&lab, "dev-1", &token(&lab, "dev-1", &derived)).await;
        assert_eq!(result.body["status"], "assigned", "{result:?}");
        let state = &result.body["registrationState"];
        assert_eq!(state["symmetricKey"]["enrollmentGroupId"], group, "{state}");
    }
    let other = sas::derive_device_key(&key(1), "dev-2");
    for wrong in [&key(1), &key(9), &other] {
        let answer = register_with(&lab, "dev-1", &token(&lab, "dev-1", wrong)).await;
        assert!([401, 404].contains(&answer.status), "{answer:?}");
    }
}

/// R-E11, R-E2 to R-E4: an entry acts at the next register, and the hub knows nothing of it.
#[tokio::test(start_paused = true)]
async fn an_edit_of_an_entry_acts_at_the_next_register_alone() {
    let lab = Lab::start();
    lab.upload_ca(ROOT).await;
    put_group(&lab, "fleet", ISSUER, "enabled").await;
    let leaf = lab.leaf("dev-1", 1, 30);
    let begun = lab.ask(&register("dev-1"), Some(&leaf)).await;
    assert_eq!(begun.status, 202);
    put_group(&lab, "fleet", ISSUER, "disabled").await;
    sleep(Duration::from_secs(3)).await;
    // The operation that was under way ends as it began.
    let operation = begun.text("operationId");
    let path =
        format!("/{SCOPE}/registrations/dev-1/operations/{operation}?api-version=2019-03-31");
    let ended = lab.ask(&Request::new("GET", DPS, path), Some(&leaf)).await;
    assert_eq!(ended.text("status"), "assigned", "{ended:?}");
    let mut session = lab.session(&leaf).await.unwrap();
    assert_eq!(lab.register(&leaf).await.outcome(), "disabled");
    // R-E4: out of DPS is not out of the hub.
    session
        .publish("devices/dev-1/messages/events/", "still here")
        .await;
    drop(session);
    assert!(lab.session(&leaf).await.is_ok());
    // R-E2: deleted at the hub first, the device just registers again; a disabled individual
    // entry bars it for good (R-E3).
    put_group(&lab, "fleet", ISSUER, "enabled").await;
    assert_eq!(
        lab.hub("DELETE", "/devices/dev-1", Some("*"), None)
            .await
            .status,
        204
    );
    assert_eq!(lab.session(&leaf).await.err(), Some(5));
    assert_eq!(lab.register(&leaf).await.outcome(), "assigned");
    put_key(&lab, "/enrollments/dev-1", &key(1), "disabled").await;
    assert_eq!(
        lab.hub("DELETE", "/devices/dev-1", Some("*"), None)
            .await
            .status,
        204
    );
    assert_eq!(lab.register(&leaf).await.outcome(), "401000");
    assert_eq!(lab.session(&leaf).await.err(), Some(5));
}

/// R-B24, I-16: another device id in the entry is for the next record, not for this one.
#[tokio::test(start_paused = true)]
async fn an_edited_device_id_waits_for_the_record_to_go() {
    let lab = Lab::start();
    let entry = |device_id: &str| {
        json!({
            "registrationId": "dev-1",
            "attestation": keys(&key(1)),
            "deviceId": device_id,
        })
    };
    let registered = async || {
        let result = register_with(&lab, "dev-1", &token(&lab, "dev-1", &key(1))).await;
        result.body["registrationState"]["deviceId"].clone()
    };
    put_entry(&lab, "/enrollments/dev-1", entry("first")).await;
    assert_eq!(registered().await, "first");
    put_entry(&lab, "/enrollments/dev-1", entry("second")).await;
    assert_eq!(registered().await, "first");
    assert_eq!(
        lab.dps("DELETE", "/registrations/dev-1", None, None)
            .await
            .status,
        204
    );
    assert_eq!(registered().await, "second");
    for device in ["first", "second"] {
        let path = format!("/devices/{device}");
        assert_eq!(
            lab.hub("GET", &path, None, None).await.status,
            200,
            "{device}"
        );
    }
}
