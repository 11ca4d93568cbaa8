//! Devices with a TPM, over HTTPS (R-A35, R-B22, wire 3.4).

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_env::Event;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::support::http::{Answer, Request};
use crate::support::mqtt::{Connect, Mqtt, telemetry};
use crate::support::tpm::{Kind, STRANGER, TPM, Tpm};
use crate::support::{DPS, HUB, Lab, SCOPE};

/// A registration with a TPM.
struct Device<'a> {
    lab: &'a Lab,
    tpm: &'a Tpm,
    id: &'a str,
}

impl<'a> Device<'a> {
    fn new(lab: &'a Lab, tpm: &'a Tpm, id: &'a str) -> Self {
        Self { lab, tpm, id }
    }

    fn request(&self, method: &'static str, what: &str) -> Request {
        let id = self.id;
        let path = format!("/{SCOPE}/registrations/{id}{what}?api-version=2019-03-31");
        Request::new(method, DPS, path)
    }

    /// The body SDKs send: the keys go along every time.
    fn body(&self) -> Value {
        json!({ "registrationId": self.id, "tpm": self.tpm.offer() })
    }

    fn register(&self) -> Request {
        self.request("PUT", "/register").json(self.body())
    }

    /// A token for this registration.
    fn token(&self, key: &SymmetricKey, lasts: i64) -> String {
        let resource = format!("{SCOPE}%2fregistrations%2f{}", self.id);
        let expiry = self.lab.env.clock.now().plus(lasts);
        sas::sign(&resource, expiry, key, Some("registration"))
    }

    /// Registers with a token.
    async fn prove(&self, token: &str) -> Answer {
        let request = self.register().header("Authorization", token);
        self.lab.ask(&request, None).await
    }

    /// Offers the TPM's keys and has the TPM unwrap what comes back.
    async fn meet_challenge(&self) -> SymmetricKey {
        let answer = self.lab.ask(&self.register(), None).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.text("keyName"), "registration");
        self.tpm.activate(answer.text("authenticationKey")).unwrap()
    }

    /// Polls to the end.
    async fn ended(&self, begun: &Answer, token: &str) -> Answer {
        assert_eq!(
            (begun.status, begun.text("status")),
            (202, "assigning"),
            "{begun:?}"
        );
        sleep(Duration::from_secs(3)).await;
        let what = format!("/operations/{}", begun.text("operationId"));
        let poll = self.request("GET", &what).header("Authorization", token);
        self.lab.ask(&poll, None).await
    }

    /// Registers to the end; gives the result and the key for the hub.
    async fn registered(&self) -> (Value, SymmetricKey) {
        let token = self.token(&self.meet_challenge().await, 3600);
        let begun = self.prove(&token).await;
        let ended = self.ended(&begun, &token).await;
        assert_eq!(
            (ended.status, ended.text("status")),
            (200, "assigned"),
            "{ended:?}"
        );
        let state = ended.body["registrationState"].clone();
        let blob = state["tpm"]["authenticationKey"].as_str().unwrap();
        let key = self.tpm.activate(blob).unwrap();
        (state, key)
    }

    /// Opens a session at the hub with a token signed by `key`; gives CONNACK's return code.
    async fn connect(&self, key: &SymmetricKey) -> (Mqtt, u8) {
        let mut connect = Connect::hub(self.id);
        let resource = format!("{HUB}%2fdevices%2f{}", self.id);
        let expiry = self.lab.env.clock.now().plus(3600);
        connect.password = Some(sas::sign(&resource, expiry, key, None));
        let mut client = self.lab.mqtt(None).await;
        let (_, code) = client.connect(&connect).await;
        (client, code)
    }
}

fn entry(id: &str, tpm: &Tpm) -> Value {
    let attestation = json!({ "type": "tpm", "tpm": { "endorsementKey": tpm.endorsement_key() } });
    json!({ "registrationId": id, "attestation": attestation })
}

/// Creates or replaces the enrollment of a TPM.
async fn enroll(lab: &Lab, body: Value) -> Answer {
    let path = format!("/enrollments/{}", body["registrationId"].as_str().unwrap());
    let exists = lab.dps("GET", &path, None, None).await.status == 200;
    let answer = lab
        .dps("PUT", &path, exists.then_some("*"), Some(body))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// It is refused with this number, and nothing is handed out.
fn refused(answer: &Answer, code: u64) {
    let found = (u64::from(answer.status), answer.body["errorCode"].as_u64());
    assert_eq!(found, (code / 1000, Some(code)), "{answer:?}");
    assert!(!answer.text("message").is_empty() && !answer.text("trackingId").is_empty());
    assert_eq!(answer.body["authenticationKey"], Value::Null, "{answer:?}");
}

/// R-A35, R-B4, R-B22: with keys of every kind.
#[tokio::test(start_paused = true)]
async fn a_tpm_proves_itself_and_gets_the_key_for_its_hub() {
    for (endorsement, storage) in [
        (Kind::Rsa, Kind::Rsa),
        (Kind::Rsa, Kind::P256),
        (Kind::P256, Kind::Rsa),
        (Kind::P256, Kind::P256),
    ] {
        let lab = Lab::start();
        let tpm = Tpm::new(endorsement, storage);
        enroll(&lab, entry("Dev-1", &tpm)).await;
        let device = Device::new(&lab, &tpm, "dev-1");
        let (state, key) = device.registered().await;
        assert_eq!(state["registrationId"], "dev-1");
        assert_eq!(
            (&state["assignedHub"], &state["deviceId"]),
            (&json!(HUB), &json!("dev-1"))
        );
        assert_eq!(state["substatus"], "initialAssignment");

        let (mut session, code) = device.connect(&key).await;
        assert_eq!(code, 0, "{endorsement:?} {storage:?}");
        session.publish(&telemetry("dev-1"), "here").await;
        let identity = lab.hub("GET", "/devices/dev-1", None, None).await;
        let authentication = &identity.body["authentication"];
        assert_eq!(authentication["type"], "sas");
        assert_eq!(
            authentication["symmetricKey"]["primaryKey"],
            key.to_base64()
        );
    }
}

/// R-A29, R-A35, wire 3.4: the challenge is a 401 with all that goes with one.
#[tokio::test(start_paused = true)]
async fn a_challenge_is_an_error_that_carries_a_key() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let mark = lab.events.mark();
    let device = Device::new(&lab, &TPM, "dev-1");
    let answer = lab.ask(&device.register(), None).await;
    assert_eq!(
        (answer.status, &answer.body["errorCode"]),
        (401, &json!(401_002))
    );
    for member in ["message", "trackingId", "timestampUtc", "authenticationKey"] {
        assert!(!answer.text(member).is_empty(), "{member}: {answer:?}");
    }
    let Event::RegistrationChallenged { registration_id } = &lab.events.after(mark)[0] else {
        panic!("{:#?}", lab.events.after(mark));
    };
    assert_eq!(&**registration_id, "dev-1");
    // Only the enrolled TPM can make something of it.
    let blob = answer.text("authenticationKey");
    assert!(TPM.activate(blob).is_ok());
    assert!(STRANGER.activate(blob).is_err());
    let moved = Tpm::new(Kind::Rsa, Kind::Rsa);
    assert!(moved.activate(blob).is_err());
}

/// R-A23, R-A35, A.5.
#[tokio::test(start_paused = true)]
async fn another_tpm_and_an_unknown_device_are_refused() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let other = Device::new(&lab, &STRANGER, "dev-1");
    let mark = lab.events.mark();
    refused(&lab.ask(&other.register(), None).await, 401_000);
    let events = lab.events.after(mark);
    let Event::RegistrationRefused { reason, .. } = &events[0] else {
        panic!("{events:#?}");
    };
    assert_eq!((reason.rule, reason.code), ("R-A35", 401_000));
    let unknown = Device::new(&lab, &TPM, "dev-2");
    refused(&lab.ask(&unknown.register(), None).await, 404_201);
    // R-A21a: nothing else opens the entry, neither nothing nor a certificate.
    let bare = other.request("PUT", "/register");
    refused(&lab.ask(&bare, None).await, 401_000);
    let leaf = lab.leaf("dev-1", 1, 30);
    refused(&lab.ask(&bare, Some(&leaf)).await, 401_000);
    // A TPM that is named counts, whatever TLS saw.
    let device = Device::new(&lab, &TPM, "dev-1");
    let answer = lab.ask(&device.register(), Some(&leaf)).await;
    assert!(
        TPM.activate(answer.text("authenticationKey")).is_ok(),
        "{answer:?}"
    );
}

/// R-A31, R-A35.
#[tokio::test(start_paused = true)]
async fn only_the_key_of_the_last_challenge_signs() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let device = Device::new(&lab, &TPM, "dev-1");
    let guess = SymmetricKey::from_bytes(&[7; 32]).unwrap();
    refused(&device.prove(&device.token(&guess, 60)).await, 401_000);
    let first = device.meet_challenge().await;
    refused(&device.prove(&device.token(&guess, 60)).await, 401_000);
    refused(&device.prove(&device.token(&first, 0)).await, 401_000);
    let elsewhere = Device::new(&lab, &TPM, "dev-2").token(&first, 60);
    refused(&device.prove(&elsewhere).await, 401_000);
    let second = device.meet_challenge().await;
    refused(&device.prove(&device.token(&first, 60)).await, 401_000);

    // The keys need not be sent again, but others may not be.
    let token = device.token(&second, 60);
    let mut moved = device.body();
    moved["tpm"]["storageRootKey"] = STRANGER.storage_root_key().into();
    let moved = device.request("PUT", "/register").json(moved);
    refused(
        &lab.ask(&moved.header("Authorization", &token), None).await,
        401_000,
    );
    let bare = device
        .request("PUT", "/register")
        .header("Authorization", &token);
    let begun = lab.ask(&bare, None).await;
    // The operation is told to nobody without the token.
    let poll = device.request("GET", &format!("/operations/{}", begun.text("operationId")));
    refused(&lab.ask(&poll, None).await, 401_000);
    assert_eq!(
        device.ended(&begun, &token).await.text("status"),
        "assigned"
    );
    let hub_key = device.registered().await.1;
    refused(&device.prove(&device.token(&hub_key, 60)).await, 401_000);
}

/// R-A35: a challenge ends; those who met it in time may ask until then.
#[tokio::test(start_paused = true)]
async fn a_challenge_expires() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let device = Device::new(&lab, &TPM, "dev-1");
    let key = device.meet_challenge().await;
    let token = device.token(&key, 100_000);
    let begun = device.prove(&token).await;
    assert_eq!(
        device.ended(&begun, &token).await.text("status"),
        "assigned"
    );
    let lookup = device.request("POST", "").json(device.body());
    let lookup = lookup.header("Authorization", &token);
    let record = lab.ask(&lookup, None).await;
    assert_eq!(
        (record.status, record.text("status")),
        (200, "assigned"),
        "{record:?}"
    );
    let blob = record.body["tpm"]["authenticationKey"].as_str().unwrap();
    assert!(TPM.activate(blob).is_ok());

    sleep(Duration::from_secs(3600)).await;
    refused(&lab.ask(&lookup, None).await, 401_000);
    refused(&device.prove(&token).await, 401_000);
    device.registered().await;
}

/// R-A19, R-A27, I-12: the proof comes first, then the operation says that the entry is disabled.
#[tokio::test(start_paused = true)]
async fn a_disabled_entry_shows_to_its_tpm_alone() {
    let lab = Lab::start();
    let mut disabled = entry("dev-1", &TPM);
    disabled["provisioningStatus"] = "disabled".into();
    enroll(&lab, disabled).await;
    let stranger = Device::new(&lab, &STRANGER, "dev-1");
    refused(&lab.ask(&stranger.register(), None).await, 401_000);
    let device = Device::new(&lab, &TPM, "dev-1");
    let token = device.token(&device.meet_challenge().await, 60);
    let begun = device.prove(&token).await;
    let ended = device.ended(&begun, &token).await;
    assert_eq!((ended.status, ended.text("status")), (200, "disabled"));
    assert_eq!(ended.body["registrationState"]["tpm"], json!({}));
    assert_eq!(
        lab.hub("GET", "/devices/dev-1", None, None).await.status,
        404
    );
}

/// R-B22, R-C4, I-6: the device is told the key that the hub has, new or old.
#[tokio::test(start_paused = true)]
async fn registering_again_tells_the_key_that_the_hub_has() {
    for writes in [true, false] {
        let lab = Lab::with(|config| config.settings.never_updates_credentials = writes);
        let mut never = entry("dev-1", &TPM);
        never["reprovisionPolicy"] =
            json!({ "updateHubAssignment": false, "migrateDeviceData": false });
        enroll(&lab, never).await;
        let device = Device::new(&lab, &TPM, "dev-1");
        let (_, first) = device.registered().await;
        let (_, second) = device.registered().await;
        assert_eq!(first == second, !writes);
        assert_eq!(device.connect(&second).await.1, 0);
        let code = device.connect(&first).await.1;
        assert_eq!(code == 0, !writes, "the first key: {code}");
    }
}

/// R-A35: refused with words, whatever the device shows or sends.
#[tokio::test(start_paused = true)]
async fn a_tpm_is_not_spoken_to_over_mqtt() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let device = Device::new(&lab, &TPM, "dev-1");
    let proof = device.token(&device.meet_challenge().await, 3600);
    for (password, body) in [
        (None, String::new()),
        (None, device.body().to_string()),
        (Some(proof.clone()), String::new()),
        (Some(proof), device.body().to_string()),
    ] {
        let mut client = lab.mqtt(None).await;
        let mut connect = Connect::dps("dev-1");
        connect.password = password;
        assert_eq!(client.connect(&connect).await, (0, 0));
        client.subscribe("$dps/registrations/res/#").await;
        client
            .publish("$dps/registrations/PUT/iotdps-register/?$rid=1", &body)
            .await;
        let answer = client.expect().await;
        assert!(
            answer.topic().starts_with("$dps/registrations/res/401/"),
            "{answer:?}"
        );
        let answer = answer.json();
        assert_eq!(answer["errorCode"], 401_000);
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("not supported over MQTT"), "{message}");
        assert_eq!(answer["authenticationKey"], Value::Null);
    }
}

/// R-F4, R-F5: public keys are shown; what is no storage key is refused by name.
#[tokio::test(start_paused = true)]
async fn enrollments_hold_the_keys_of_tpms_and_nothing_else() {
    let lab = Lab::start();
    let (own, other) = (TPM.endorsement_key(), STRANGER.endorsement_key());
    let put = enroll(&lab, entry("dev-1", &TPM)).await;
    let expected = json!({ "type": "tpm", "tpm": { "endorsementKey": own } });
    assert_eq!(put.body["attestation"], expected);
    let shown = lab
        .dps(
            "POST",
            "/enrollments/dev-1/attestationmechanism",
            None,
            None,
        )
        .await;
    assert_eq!(shown.body, expected);
    let mut replaced = entry("dev-1", &STRANGER);
    replaced["attestation"]["tpm"]["storageRootKey"] = TPM.storage_root_key().into();
    let replaced = enroll(&lab, replaced).await;
    let tpm = json!({ "endorsementKey": other, "storageRootKey": TPM.storage_root_key() });
    assert_eq!(replaced.body["attestation"]["tpm"], tpm);

    let cut = &own[..own.len() - 8];
    let table = [
        (json!({}), "attestation.tpm.endorsementKey: required"),
        (
            json!({ "endorsementKey": 1 }),
            "attestation.tpm.endorsementKey: expected a string",
        ),
        (
            json!({ "endorsementKey": "*" }),
            "attestation.tpm.endorsementKey: a TPM's public key is not base64",
        ),
        (
            json!({ "endorsementKey": "" }),
            "attestation.tpm.endorsementKey: a TPM's public key of 0 bytes",
        ),
        (
            json!({ "endorsementKey": cut }),
            "attestation.tpm.endorsementKey: a TPM2B_PUBLIC ends too early",
        ),
        (
            json!({ "endorsementKey": own, "storageRootKey": "AAA=" }),
            "attestation.tpm.storageRootKey: ",
        ),
    ];
    for (tpm, expected) in table {
        let body = json!({
            "registrationId": "dev-2",
            "attestation": { "type": "tpm", "tpm": tpm },
        });
        let answer = lab.dps("PUT", "/enrollments/dev-2", None, Some(body)).await;
        refused(&answer, 400_004);
        assert!(
            answer.text("message").starts_with(expected),
            "{expected}: {answer:?}"
        );
    }
    let group = json!({
        "enrollmentGroupId": "tpms",
        "attestation": { "type": "tpm", "tpm": { "endorsementKey": own } },
    });
    let answer = lab
        .dps("PUT", "/enrollmentGroups/tpms", None, Some(group))
        .await;
    refused(&answer, 400_004);
    assert!(
        answer.text("message").contains("individual enrollment"),
        "{answer:?}"
    );
}

/// R-A35: what a device sends as its keys is looked at before anything else.
#[tokio::test(start_paused = true)]
async fn a_device_is_told_what_is_wrong_with_its_keys() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let device = Device::new(&lab, &TPM, "dev-1");
    let own = TPM.endorsement_key();
    let table = [
        (json!("x"), "tpm: expected an object"),
        (json!({}), "tpm.endorsementKey: required"),
        (
            json!({ "endorsementKey": own }),
            "tpm.storageRootKey: required",
        ),
        (
            json!({ "endorsementKey": own, "storageRootKey": "AAA=" }),
            "tpm.storageRootKey: ",
        ),
    ];
    for (tpm, expected) in table {
        let body = json!({ "registrationId": "dev-1", "tpm": tpm });
        let answer = lab
            .ask(&device.request("PUT", "/register").json(body), None)
            .await;
        refused(&answer, 400_004);
        assert!(
            answer.text("message").starts_with(expected),
            "{expected}: {answer:?}"
        );
    }
    // `null` says nothing.
    let body = json!({ "registrationId": "dev-1", "tpm": null });
    let answer = lab
        .ask(&device.request("PUT", "/register").json(body), None)
        .await;
    refused(&answer, 401_000);
}

/// No event carries a key, wrapped or not.
#[tokio::test(start_paused = true)]
async fn keys_stay_out_of_events() {
    let lab = Lab::start();
    enroll(&lab, entry("dev-1", &TPM)).await;
    let device = Device::new(&lab, &TPM, "dev-1");
    let proof_key = device.meet_challenge().await;
    let token = device.token(&proof_key, 60);
    let begun = device.prove(&token).await;
    let ended = device.ended(&begun, &token).await;
    let blob = ended.body["registrationState"]["tpm"]["authenticationKey"]
        .as_str()
        .unwrap();
    let hub_key = TPM.activate(blob).unwrap();
    let told = format!("{:?}", lab.events.after(0));
    assert!(told.contains("DeviceAssigned"));
    for secret in [
        proof_key.to_base64(),
        hub_key.to_base64(),
        blob.to_owned(),
        token,
    ] {
        assert!(!told.contains(&secret));
    }
}
