//! The oracles of certificate rollovers, told against one emulator (behaviour J, R-E6, R-G13 ff).

use linarite_emulator::limits::KEEP_ALIVE_SERVER_MAX;
use linarite_env::Event;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::support::mqtt::{Connect, telemetry};
use crate::support::{HUB, Lab, ROOT};

/// The primary thumbprint of the device at the hub.
async fn thumbprint(lab: &Lab, device: &str) -> String {
    let answer = lab
        .hub("GET", &format!("/devices/{device}"), None, None)
        .await;
    let thumbprints = &answer.body["authentication"]["x509Thumbprint"];
    assert_eq!(answer.body["authentication"]["type"], "selfSigned");
    assert_eq!(
        thumbprints["primaryThumbprint"],
        thumbprints["secondaryThumbprint"]
    );
    thumbprints["primaryThumbprint"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) fn hex(fingerprint: [u8; 32]) -> String {
    fingerprint
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

/// J1, R-A11, R-B18, R-B19, R-B21, R-E8.
#[tokio::test(start_paused = true)]
async fn an_individual_rolls_through_its_secondary_slot_without_losing_its_session() {
    let lab = Lab::start();
    lab.upload_ca(ROOT).await;
    let (old, new) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 90));
    lab.put_individual(Some(&old), None).await;
    let mut before = lab.admit(&old).await;
    assert_eq!(thumbprint(&lab, "dev-1").await, hex(old.fingerprint()));
    let generation = lab.hub("GET", "/devices/dev-1", None, None).await;
    let tags = json!({ "tags": { "site": "plant" } });
    lab.hub("PATCH", "/twins/dev-1", None, Some(tags)).await;

    lab.put_individual(Some(&old), Some(&new)).await;
    // Both are equally good at DPS, in either order.
    for credential in [&new, &old, &new] {
        let registered = lab.register(credential).await;
        assert_eq!(registered.outcome(), "assigned");
        assert_eq!(registered.substatus(), "initialAssignment");
        assert_eq!(registered.body["registrationState"]["deviceId"], "dev-1");
        assert_eq!(
            thumbprint(&lab, "dev-1").await,
            hex(credential.fingerprint())
        );
    }
    // The old session lives on, and nobody may come in with the old leaf again.
    before.publish(&telemetry("dev-1"), "still here").await;
    let mark = lab.events.mark();
    assert_eq!(lab.session(&old).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G10", 401_003));
    before
        .publish(&telemetry("dev-1"), "refusals cost nothing")
        .await;
    let mut after = lab.session(&new).await.unwrap();
    before.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G13", 400_027));
    after.publish(&telemetry("dev-1"), "rolled").await;

    // One identity all the time, with its twin.
    let device = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(device.text("generationId"), generation.text("generationId"));
    let twin = lab.hub("GET", "/twins/dev-1", None, None).await;
    assert_eq!(twin.body["tags"]["site"], "plant");

    // J2: with the old slot emptied the old leaf is refused by DPS as well.
    lab.put_individual(None, Some(&new)).await;
    assert_eq!(lab.register(&old).await.outcome(), "401002");
    assert_eq!(lab.register(&new).await.outcome(), "assigned");
}

/// J5, I-7, R-B18, R-B19, R-G10.
#[tokio::test(start_paused = true)]
async fn a_new_leaf_of_the_same_issuer_is_known_to_dps_at_once_and_to_the_hub_after_registering() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (old, new) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 90));
    let mut before = lab.admit(&old).await;
    let mark = lab.events.mark();
    assert_eq!(lab.session(&new).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G10", 401_003));
    assert_eq!(lab.register(&new).await.outcome(), "assigned");
    assert_eq!(thumbprint(&lab, "dev-1").await, hex(new.fingerprint()));
    let mut after = lab.session(&new).await.unwrap();
    before.expect_end().await;
    after.publish(&telemetry("dev-1"), "rolled").await;
    assert_eq!(lab.session(&old).await.err(), Some(5));
}

/// J7, R-A15, R-A30: over MQTT a refusal is the answer to the register.
#[tokio::test(start_paused = true)]
async fn an_intermediate_rolls_through_the_secondary_slot_of_its_group() {
    let mut lab = Lab::start();
    let (from, until) = (lab.now() - 60, lab.now() + 400 * 86_400);
    lab.pki
        .add_intermediate("issuer-2", ROOT, from, until)
        .unwrap();
    lab.open_fleet().await;
    let (old, new) = (
        lab.leaf("dev-1", 1, 30),
        lab.leaf_of("issuer-2", "dev-1", 2, 90),
    );
    let newborn = lab.leaf_of("issuer-2", "dev-2", 1, 90);
    lab.serves(&old).await;
    assert_eq!(
        lab.register(&newborn).await.outcome(),
        "401002",
        "not enrolled yet"
    );
    lab.put_fleet(Some("issuer"), Some("issuer-2")).await;
    for credential in [&old, &newborn, &new] {
        lab.serves(credential).await;
    }
    lab.put_fleet(None, Some("issuer-2")).await;
    assert_eq!(lab.register(&old).await.outcome(), "401002");
    lab.serves(&new).await;
}

/// J10, J11, R-A21, R-A26 to R-A28, R-E3.
#[tokio::test(start_paused = true)]
async fn a_disabled_entry_shadows_the_group_and_a_deleted_one_does_not() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (one, other) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-2", 1, 30));
    let mut session = lab.admit(&one).await;
    let body = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "x509", "x509": { "clientCertificates": {
            "primary": { "certificate": one.leaf_pem() } } } },
        "provisioningStatus": "disabled",
    });
    let answer = lab.dps("PUT", "/enrollments/dev-1", None, Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(lab.register(&one).await.outcome(), "disabled");
    assert_eq!(lab.register(&other).await.outcome(), "assigned");
    session
        .publish(&telemetry("dev-1"), "the hub was not asked")
        .await;
    let answer = lab.dps("DELETE", "/enrollments/dev-1", None, None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(lab.register(&one).await.outcome(), "assigned");
}

/// R-E2, R-E6, R-E7, R-G4: with nothing said to the device before.
#[tokio::test(start_paused = true)]
async fn disabling_or_deleting_an_identity_closes_its_session_and_bars_the_way_back() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    let mut device = lab.hub("GET", "/devices/dev-1", None, None).await.body;
    device["status"] = "disabled".into();
    let mark = lab.events.mark();
    let answer = lab
        .hub("PUT", "/devices/dev-1", Some("*"), Some(device.clone()))
        .await;
    assert_eq!((answer.status, answer.text("status")), (200, "disabled"));
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E6", 404_104));
    assert_eq!(lab.session(&credential).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G4", 403_012));

    device["status"] = "enabled".into();
    lab.hub("PUT", "/devices/dev-1", Some("*"), Some(device))
        .await;
    let mut session = lab.session(&credential).await.unwrap();
    let mark = lab.events.mark();
    let answer = lab.hub("DELETE", "/devices/dev-1", Some("*"), None).await;
    assert_eq!(answer.status, 204);
    session.expect_end().await;
    assert_eq!(lab.events.closing(mark, "dev-1"), ("R-E6", 404_104));
    assert_eq!(lab.session(&credential).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-E7", 404_001));

    // R-E1: DPS still knows the device, so registering brings it back as a new one.
    lab.serves(&credential).await;
}

/// R-G14: any traffic counts, and silence of one and a half times the keep-alive ends it.
#[tokio::test(start_paused = true)]
async fn a_session_ends_after_one_and_a_half_times_its_keep_alive_of_silence() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    for (keep_alive, silence) in [(60, 90), (1, 1), (1177, 1765), (1500, 1767)] {
        let mut connect = Connect::hub("dev-1");
        connect.keep_alive = keep_alive;
        let mut session = lab.session_of(&credential, &connect).await.unwrap();
        for _ in 0..3 {
            sleep(Duration::from_secs(u64::from(keep_alive))).await;
            session.send([0xC0, 0]).await;
            assert_eq!(session.expect().await.first, 0xD0);
        }
        let (mark, began) = (lab.events.mark(), lab.env.clock.now_ms());
        session.expect_end().await;
        assert_eq!(
            lab.since(began).as_secs(),
            silence,
            "keep-alive {keep_alive}"
        );
        assert_eq!(lab.events.closing(mark, "dev-1"), ("R-G14", 404_104));
        assert!(silence <= KEEP_ALIVE_SERVER_MAX.as_secs());
    }
}

/// R-G19.
#[tokio::test(start_paused = true)]
async fn a_will_is_sent_after_an_ungraceful_end_only() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let mut connect = Connect::hub("dev-1");
    let topic = format!("{}%24.mid=last-words", telemetry("dev-1"));
    connect.will = Some((topic, "gone".to_owned()));
    let wills = |mark| {
        let events = lab.events.after(mark);
        let sent = events
            .iter()
            .filter(|event| matches!(event, Event::TelemetryAccepted { .. }));
        sent.count()
    };

    let mark = lab.events.mark();
    let mut session = lab.session_of(&credential, &connect).await.unwrap();
    session.send([0xE0, 0]).await;
    session.expect_end().await;
    assert_eq!(
        (wills(mark), lab.events.closing(mark, "dev-1")),
        (0, ("R-G12", 0))
    );

    let mark = lab.events.mark();
    drop(lab.session_of(&credential, &connect).await.unwrap());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (wills(mark), lab.events.closing(mark, "dev-1")),
        (1, ("R-G19", 404_104))
    );

    let mark = lab.events.mark();
    let mut old = lab.session_of(&credential, &connect).await.unwrap();
    let mut new = lab.session(&credential).await.unwrap();
    old.expect_end().await;
    assert_eq!(
        (wills(mark), lab.events.closing(mark, "dev-1")),
        (1, ("R-G13", 400_027))
    );
    new.publish(&telemetry("dev-1"), "here").await;
}

/// R-G26: the answer is lost with the session, and the caller is not kept waiting for it.
#[tokio::test(start_paused = true)]
async fn a_take_over_kills_the_pending_reply_of_a_method() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let mut session = lab.admit(&credential).await;
    session.subscribe("$iothub/methods/POST/#").await;
    let body = json!({ "methodName": "reprovision", "responseTimeoutInSeconds": 30 });
    let began = lab.env.clock.now_ms();
    let call = lab.hub("POST", "/twins/dev-1/methods", None, Some(body));
    let device = async {
        let request = session.expect().await;
        assert!(
            request
                .topic()
                .starts_with("$iothub/methods/POST/reprovision/?$rid=")
        );
        lab.session(&credential).await.unwrap()
    };
    let (answer, _new) = tokio::join!(call, device);
    assert_eq!(answer.status, 504);
    assert!(
        answer
            .text("Message")
            .starts_with("ErrorCode:GatewayTimeout;"),
        "{answer:?}"
    );
    assert_eq!(lab.since(began), Duration::ZERO);
    let failed = lab.events.last_at(
        |event| matches!(event, Event::MethodFailed { reason, .. } if reason.code == 504_101),
    );
    assert!(failed.is_some());
}

/// J14, R-C9.
#[tokio::test(start_paused = true)]
async fn another_common_name_is_another_device() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let (old, renamed) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1-v2", 2, 90));
    let mut first = lab.admit(&old).await;
    let mut second = lab.admit(&renamed).await;
    first.publish(&telemetry("dev-1"), "still here").await;
    second.publish(&telemetry("dev-1-v2"), "here too").await;
    for id in ["dev-1", "dev-1-v2"] {
        let record = lab
            .dps("GET", &format!("/registrations/{id}"), None, None)
            .await;
        assert_eq!((record.status, record.text("assignedHub")), (200, HUB));
        assert_eq!(
            lab.hub("GET", &format!("/devices/{id}"), None, None)
                .await
                .status,
            200
        );
    }
    let all = lab.hub("GET", "/devices", None, None).await;
    assert_eq!(all.body.as_array().unwrap().len(), 2);
}

/// R-E9, I-4: a certificate that ends does not end the session, and does end the next connect.
#[tokio::test(start_paused = true)]
async fn an_expired_certificate_keeps_its_session_and_opens_no_other() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 1);
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let mut connect = Connect::hub("dev-1");
    connect.keep_alive = 1000;
    let mut session = lab.session_of(&credential, &connect).await.unwrap();
    for _ in 0..100 {
        sleep(Duration::from_secs(1000)).await;
        session.publish(&telemetry("dev-1"), "still here").await;
    }
    assert!(lab.now() > credential.not_after());
    let mark = lab.events.mark();
    assert_eq!(lab.session(&credential).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G7", 401_003));
    assert_eq!(lab.register(&credential).await.outcome(), "401002");
    session.publish(&telemetry("dev-1"), "still here").await;
}
