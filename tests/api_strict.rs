//! Bodies and certificates that DPS does not take: each is refused by the name of its member, and
//! changes nothing (R-F4, R-A6 to R-A13).

use linarite::observation::Generation;
use linarite::pki::Credential;
use linarite_env::Event;
use serde_json::{Value, json};

use crate::api::assert_dps_error;
use crate::support::http::Answer;
use crate::support::{DAY, ISSUER, Lab, ROOT};

fn individual(id: &str, attestation: Value) -> Value {
    json!({ "registrationId": id, "attestation": attestation })
}

fn leaves(primary: Value, secondary: Value) -> Value {
    let slots = json!({ "primary": primary, "secondary": secondary });
    json!({ "type": "x509", "x509": { "clientCertificates": slots } })
}

fn group(id: &str, attestation: Value) -> Value {
    json!({ "enrollmentGroupId": id, "attestation": attestation })
}

fn signing(primary: Value, secondary: Value) -> Value {
    let slots = json!({ "primary": primary, "secondary": secondary });
    json!({ "type": "x509", "x509": { "signingCertificates": slots } })
}

fn upload(pem: impl Into<String>) -> Value {
    json!({ "certificate": pem.into() })
}

fn keys() -> Value {
    json!({ "type": "symmetricKey" })
}

/// Puts `value` where `path` says, making objects on the way.
fn with(mut body: Value, path: &str, value: Value) -> Value {
    let mut place = &mut body;
    for name in path.split('.') {
        place = &mut place[name];
    }
    *place = value;
    body
}

async fn put(lab: &Lab, path: &str, body: Value) -> Answer {
    let exists = lab.dps("GET", path, None, None).await.status == 200;
    lab.dps("PUT", path, exists.then_some("*"), Some(body))
        .await
}

fn names(answer: &Answer, member: &str) {
    let message = answer.text("message");
    let named = message.starts_with(&format!("{member}:"));
    assert!(named, "{member} is not named by {message:?}");
}

/// R-F4: what nobody knows is refused by its path, and a null is nothing.
#[tokio::test(start_paused = true)]
async fn an_unknown_member_is_refused_by_its_path() {
    let lab = Lab::start();
    let leaf = lab.leaf("dev-1", 1, 30);
    let x509 = individual("dev-1", leaves(upload(leaf.leaf_pem()), Value::Null));
    let key = individual("dev-1", keys());
    let entry = "/enrollments/dev-1";
    let table = [
        (&key, "colour"),
        (&key, "registrationID"),
        (&key, "enrollmentGroupId"),
        (&key, "attestation.colour"),
        (&key, "attestation.symmetricKey.primary"),
        (&key, "capabilities.iotedge"),
        (&key, "initialTwin.desired"),
        (&key, "initialTwin.properties.reported"),
        (&key, "reprovisionPolicy.migrate"),
        (&key, "customAllocationDefinition.url"),
        (&key, "registrationState.colour"),
        (&x509, "attestation.x509.rootCertificates"),
        (&x509, "attestation.x509.clientCertificates.tertiary"),
        (&x509, "attestation.x509.clientCertificates.primary.pem"),
        (
            &x509,
            "attestation.x509.clientCertificates.primary.info.colour",
        ),
    ];
    for (body, path) in table {
        let answer = put(&lab, entry, with(body.clone(), path, json!(1))).await;
        assert_dps_error(&answer, 400_004);
        names(&answer, path);
        assert_eq!(lab.dps("GET", entry, None, None).await.status, 404);
    }
    for (path, version) in [
        ("credentialPolicyName", "2025-07-01-preview"),
        ("certificatePolicyName", "2026-11-01"),
        ("namespaceName", "2026-11-01"),
    ] {
        let answer = put(&lab, entry, with(key.clone(), path, json!("x"))).await;
        assert_dps_error(&answer, 400_004);
        names(&answer, path);
        assert!(answer.text("message").contains(version), "{answer:?}");
    }
    let groups = group("fleet", keys());
    for path in ["deviceId", "registrationState", "optionalDeviceInformation"] {
        let answer = put(
            &lab,
            "/enrollmentGroups/fleet",
            with(groups.clone(), path, json!({})),
        )
        .await;
        assert_dps_error(&answer, 400_004);
        names(&answer, path);
    }
    let bulk = json!({ "mode": "create", "enrollments": [key], "dryRun": true });
    let answer = lab.dps("POST", "/enrollments", None, Some(bulk)).await;
    assert_dps_error(&answer, 400_004);
    names(&answer, "dryRun");

    let nulls = with(
        with(key.clone(), "colour", Value::Null),
        "deviceId",
        Value::Null,
    );
    let free = json!({ "any": { "thing": [1] }, "version": 3 });
    let nulls = with(nulls, "optionalDeviceInformation", free.clone());
    let nulls = with(
        nulls,
        "initialTwin",
        json!({ "tags": free, "properties": { "desired": free } }),
    );
    let created = put(&lab, entry, nulls).await;
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(created.body["optionalDeviceInformation"], free);
}

/// R-F4, R-F3: clients send back what they read.
#[tokio::test(start_paused = true)]
async fn what_was_read_may_be_sent_back() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let leaf = lab.leaf("dev-1", 1, 30);
    lab.put_individual(Some(&leaf), None).await;
    assert_eq!(lab.register(&leaf).await.outcome(), "assigned");
    for path in ["/enrollments/dev-1", "/enrollmentGroups/fleet"] {
        let read = lab.dps("GET", path, None, None).await;
        let etag = read.text("etag").to_owned();
        let written = lab
            .dps("PUT", path, Some(&etag), Some(read.body.clone()))
            .await;
        assert_eq!(written.status, 200, "{written:?}");
        let (mut before, mut after) = (read.body, written.body);
        for body in [&mut before, &mut after] {
            let body = body.as_object_mut().unwrap();
            body.remove("etag").unwrap();
            body.remove("lastUpdatedDateTimeUtc").unwrap();
        }
        assert_eq!(before, after);
    }
}

/// R-A8, R-A13, R-A31: an entry has one mechanism, and that in one style.
#[tokio::test(start_paused = true)]
async fn two_mechanisms_or_two_styles_are_one_too_many() {
    let lab = Lab::start();
    let leaf = || upload(lab.leaf("dev-1", 1, 30).leaf_pem());
    let issuer = || upload(lab.pki.certificate_pem(ISSUER).unwrap());
    let x509 = leaves(leaf(), Value::Null);
    let key = json!({ "primaryKey": "QUFBQUFBQUFBQUFBQUFBQQ==" });
    let names_of = json!({ "primary": ROOT });
    let individuals = [
        (
            with(x509.clone(), "symmetricKey", key.clone()),
            "attestation.symmetricKey",
        ),
        (
            with(x509.clone(), "tpm", json!({ "endorsementKey": "QUFB" })),
            "attestation.tpm",
        ),
        (
            with(x509.clone(), "type", json!("symmetricKey")),
            "attestation.x509",
        ),
        (
            json!({ "type": "x509", "symmetricKey": key }),
            "attestation.symmetricKey",
        ),
        (json!({ "type": "x509" }), "attestation.x509"),
        (json!({ "type": "none" }), "attestation.type"),
        (
            with(
                x509.clone(),
                "x509.signingCertificates",
                json!({ "primary": issuer() }),
            ),
            "attestation.x509",
        ),
        (
            signing(issuer(), Value::Null),
            "attestation.x509.signingCertificates",
        ),
        (
            leaves(Value::Null, Value::Null),
            "attestation.x509.clientCertificates",
        ),
    ];
    for (attestation, member) in individuals {
        let answer = put(&lab, "/enrollments/dev-1", individual("dev-1", attestation)).await;
        assert_dps_error(&answer, 400_004);
        names(&answer, member);
    }
    let groups = [
        (
            with(
                signing(issuer(), Value::Null),
                "x509.caReferences",
                names_of,
            ),
            "attestation.x509",
        ),
        (x509.clone(), "attestation.x509.clientCertificates"),
        (
            json!({ "type": "x509", "x509": { "caReferences": { "primary": "a b" } } }),
            "attestation.x509.caReferences.primary",
        ),
    ];
    for (attestation, member) in groups {
        let answer = put(&lab, "/enrollmentGroups/fleet", group("fleet", attestation)).await;
        assert_dps_error(&answer, 400_004);
        names(&answer, member);
    }
    let nulls = with(with(x509, "symmetricKey", Value::Null), "tpm", Value::Null);
    let nulls = with(nulls, "x509.signingCertificates", Value::Null);
    let created = put(&lab, "/enrollments/dev-1", individual("dev-1", nulls)).await;
    assert_eq!(created.status, 200, "{created:?}");
}

/// A leaf that ended a day ago.
fn expired(lab: &Lab, name: &str) -> Credential {
    let now = lab.now();
    lab.pki
        .leaf(ISSUER, name, Generation(9), now - 30 * DAY, now - DAY)
        .unwrap()
}

/// A base64 text of a certificate with an Ed25519 key, which no slot takes.
fn foreign_key() -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "dev-1");
    params.self_signed(&key).unwrap().pem()
}

/// R-A7, R-A9, R-A10, R-A20, I-14: what may not stand in a slot is refused by the slot.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_does_not_belong_into_its_slot_is_refused() {
    let lab = Lab::start();
    let good = lab.leaf("dev-1", 1, 30);
    let chain = good.leaf_pem() + &lab.pki.certificate_pem(ISSUER).unwrap();
    let bad = [
        (chain, "exactly one"),
        (expired(&lab, "dev-1").leaf_pem(), "held until"),
        (lab.leaf("dev-2", 1, 30).leaf_pem(), "common name"),
        (foreign_key(), "neither RSA nor EC"),
        ("junk".to_owned(), "X.509"),
    ];
    for (pem, why) in bad {
        for (slot, attestation) in [
            ("primary", leaves(upload(&*pem), upload(good.leaf_pem()))),
            ("secondary", leaves(upload(good.leaf_pem()), upload(&*pem))),
        ] {
            let answer = put(&lab, "/enrollments/dev-1", individual("dev-1", attestation)).await;
            assert_dps_error(&answer, 400_004);
            let member = format!("attestation.x509.clientCertificates.{slot}.certificate");
            names(&answer, &member);
            assert!(answer.text("message").contains(why), "{answer:?}");
        }
    }
    let no_ca = signing(upload(good.leaf_pem()), Value::Null);
    let answer = put(&lab, "/enrollmentGroups/fleet", group("fleet", no_ca)).await;
    assert_dps_error(&answer, 400_004);
    names(
        &answer,
        "attestation.x509.signingCertificates.primary.certificate",
    );
}

/// I-14, R-D8: validity is a setting, and what is held already may expire in its slot.
#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_refused_as_new_alone() {
    let lab = Lab::with(|config| config.settings.check_validity = false);
    let old = upload(expired(&lab, "dev-1").leaf_pem());
    let body = individual("dev-1", leaves(old, Value::Null));
    assert_eq!(put(&lab, "/enrollments/dev-1", body).await.status, 200);

    let lab = Lab::start();
    let (old, new) = (lab.leaf("dev-1", 1, 1), lab.leaf("dev-1", 2, 90));
    lab.put_individual(Some(&old), None).await;
    tokio::time::sleep(std::time::Duration::from_secs(2 * 86_400)).await;
    // Sent again with its text, or kept by its info: neither is a new certificate.
    lab.put_individual(Some(&old), Some(&new)).await;
    let mut read = lab.dps("GET", "/enrollments/dev-1", None, None).await.body;
    read["provisioningStatus"] = "disabled".into();
    assert_eq!(put(&lab, "/enrollments/dev-1", read).await.status, 200);
}

/// Everything that a failed write must leave alone.
async fn state(lab: &Lab) -> (Value, Value) {
    let query = |table: &str| json!({ "query": format!("SELECT * FROM {table}") });
    let individuals = lab
        .dps(
            "POST",
            "/enrollments/query",
            None,
            Some(query("enrollments")),
        )
        .await;
    let groups = lab
        .dps(
            "POST",
            "/enrollmentGroups/query",
            None,
            Some(query("enrollmentGroups")),
        )
        .await;
    (individuals.body, groups.body)
}

/// R-A6, K.7: one entry for each certificate, and a write that fails changes nothing.
#[tokio::test(start_paused = true)]
async fn a_certificate_in_two_entries_is_refused_by_the_name_of_the_other() {
    let lab = Lab::start();
    let (one, two) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 30));
    lab.put_individual(Some(&one), Some(&one)).await;
    let issuer = lab.pki.certificate_pem(ISSUER).unwrap();
    let root = lab.pki.certificate_pem(ROOT).unwrap();
    lab.put_fleet(Some(ISSUER), Some(ISSUER)).await;
    let before = state(&lab).await;
    let mark = lab.events.mark();
    let table = [
        (
            "/enrollmentGroups/other",
            group("other", signing(upload(&*root), upload(&*issuer))),
            "attestation.x509.signingCertificates.secondary",
            "enrollment group fleet",
        ),
        (
            "/enrollmentGroups/fleet",
            group("fleet", signing(upload(&*issuer), upload(two.leaf_pem()))),
            "attestation.x509.signingCertificates.secondary.certificate",
            "basic constraints",
        ),
        (
            "/enrollments/dev-1",
            individual("dev-1", leaves(upload(two.leaf_pem()), upload("junk"))),
            "attestation.x509.clientCertificates.secondary.certificate",
            "",
        ),
    ];
    for (path, body, member, why) in table {
        let answer = put(&lab, path, body).await;
        let conflict = why.starts_with("enrollment group");
        assert_dps_error(&answer, if conflict { 409_000 } else { 400_004 });
        let message = answer.text("message");
        assert!(
            message.starts_with(member) && message.contains(why),
            "{message}"
        );
        assert_eq!(state(&lab).await, before);
    }
    // The certificates of the failed writes are still free.
    let mut told = lab.events.after(mark);
    told.retain(|event| matches!(event, Event::EnrollmentWritten { .. }));
    assert!(told.is_empty(), "{told:#?}");
    lab.put_individual(Some(&two), None).await;
    let other = group("other", signing(upload(&*root), Value::Null));
    assert_eq!(
        put(&lab, "/enrollmentGroups/other", other).await.status,
        200
    );
}

/// R-A1, R-A2, I-11: ids by their grammar, the stricter one where it is asked for.
#[tokio::test(start_paused = true)]
async fn an_id_outside_the_grammar_is_refused_for_both_kinds() {
    let strict = Lab::with(|config| config.settings.strict_ids = true);
    let lax = Lab::start();
    let long = "x".repeat(129);
    for (id, passes_lax) in [
        ("a.", false),
        ("a_", false),
        (&*long, false),
        ("-a", true),
        ("a-", true),
    ] {
        for (lab, passes) in [(&lax, passes_lax), (&strict, false)] {
            let entry = put(lab, &format!("/enrollments/{id}"), individual(id, keys())).await;
            let fleet = put(lab, &format!("/enrollmentGroups/{id}"), group(id, keys())).await;
            for (answer, member) in [(entry, "registrationId"), (fleet, "enrollmentGroupId")] {
                assert_eq!(answer.status == 200, passes, "{answer:?}");
                if !passes {
                    assert_dps_error(&answer, 400_004);
                    names(&answer, member);
                }
            }
        }
    }
    assert_eq!(
        put(
            &strict,
            "/enrollments/A.b:c_d-9",
            individual("A.b:c_d-9", keys())
        )
        .await
        .status,
        200
    );
}
