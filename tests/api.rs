//! The service and management APIs of DPS over HTTPS, life cycle by life cycle (behaviour F.1, D).

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::{HUB, Lab, ROOT};

/// The error body of DPS (R-A29), with this number.
pub(crate) fn assert_dps_error(answer: &Answer, code: u64) {
    assert_eq!(u64::from(answer.status), code / 1000, "{answer:?}");
    assert_eq!(answer.body["errorCode"], code, "{answer:?}");
    assert_eq!(answer.header("x-ms-error-code"), Some(&*code.to_string()));
    for member in ["trackingId", "message", "timestampUtc"] {
        assert!(!answer.text(member).is_empty(), "{member}: {answer:?}");
    }
}

fn individual(primary: &Value, secondary: &Value) -> Value {
    let slots = json!({ "primary": primary, "secondary": secondary });
    json!({
        "registrationId": "dev-1",
        "attestation": { "type": "x509", "x509": { "clientCertificates": slots } },
    })
}

fn slots(answer: &Answer) -> &Value {
    &answer.body["attestation"]["x509"]["clientCertificates"]
}

/// R-A8, R-A29, R-F1 to R-F3, R-F5, R-F8, I-15.
#[tokio::test(start_paused = true)]
async fn an_enrollment_is_created_read_updated_and_deleted_by_its_etag() {
    let lab = Lab::start();
    let path = "/enrollments/dev-1";
    assert_dps_error(&lab.dps("GET", path, None, None).await, 404_201);
    let (one, two) = (lab.leaf("dev-1", 1, 30), lab.leaf("dev-1", 2, 60));
    let upload =
        |credential: &linarite::pki::Credential| json!({ "certificate": credential.leaf_pem() });

    let body = individual(&upload(&one), &Value::Null);
    let matched = lab.dps("PUT", path, Some("*"), Some(body.clone())).await;
    assert_dps_error(&matched, 412_000);
    let created = lab.dps("PUT", path, None, Some(body.clone())).await;
    assert_eq!(
        (created.status, created.text("provisioningStatus")),
        (200, "enabled")
    );
    let etag = created.text("etag").to_owned();
    assert!(
        etag.starts_with('"') && etag.ends_with('"'),
        "R-F1: quoted: {etag}"
    );
    assert_eq!(lab.dps("GET", path, None, None).await.body, created.body);

    // Certificates are digested and never shown.
    let info = slots(&created)["primary"]["info"].clone();
    assert_eq!(info["subjectName"], "CN=dev-1");
    assert_eq!(info["issuerName"], "CN=issuer");
    assert!(
        slots(&created)["primary"].get("certificate").is_none(),
        "{created:?}"
    );
    assert!(slots(&created).get("secondary").is_none(), "{created:?}");

    // Without If-Match it is a second creation; with a stale etag it is a lost race.
    assert_dps_error(&lab.dps("PUT", path, None, Some(body)).await, 409_000);
    let kept = individual(&json!({ "info": info }), &upload(&two));
    let updated = lab.dps("PUT", path, Some(&etag), Some(kept.clone())).await;
    assert_eq!(updated.status, 200, "{updated:?}");
    assert_ne!(updated.text("etag"), etag);
    assert_eq!(
        updated.text("createdDateTimeUtc"),
        created.text("createdDateTimeUtc")
    );
    assert_eq!(slots(&updated)["primary"]["info"], info, "kept by its info");
    assert_ne!(slots(&updated)["secondary"]["info"], info);
    assert_dps_error(
        &lab.dps("PUT", path, Some(&etag), Some(kept)).await,
        412_000,
    );

    // A slot sent as null is emptied; info that names nothing held is refused.
    let second = slots(&updated)["secondary"]["info"].clone();
    let emptied = individual(&Value::Null, &json!({ "info": second }));
    let emptied = lab
        .dps("PUT", path, Some(updated.text("etag")), Some(emptied))
        .await;
    assert!(slots(&emptied).get("primary").is_none(), "{emptied:?}");
    let strange = individual(&json!({ "info": info }), &json!({ "info": second }));
    let answer = lab.dps("PUT", path, Some("*"), Some(strange)).await;
    assert_dps_error(&answer, 400_004);
    assert!(
        answer.text("message").contains("primary.info"),
        "{answer:?}"
    );

    assert_dps_error(&lab.dps("DELETE", path, Some(&etag), None).await, 412_000);
    let fresh = emptied.text("etag");
    assert_eq!(lab.dps("DELETE", path, Some(fresh), None).await.status, 204);
    assert_dps_error(&lab.dps("DELETE", path, None, None).await, 404_201);
}

/// R-A13, R-A14, R-F2, R-F8.
#[tokio::test(start_paused = true)]
async fn a_group_is_created_unverified_and_changes_its_style_as_a_whole() {
    let lab = Lab::start();
    let path = "/enrollmentGroups/Fleet";
    assert_dps_error(&lab.dps("GET", path, None, None).await, 404_202);
    let slot = json!({ "certificate": lab.pki.certificate_pem("issuer").unwrap() });
    let group = |x509: Value| {
        json!({
            "enrollmentGroupId": "Fleet",
            "attestation": { "type": "x509", "x509": x509 },
        })
    };
    let signing = group(json!({ "signingCertificates": { "primary": slot } }));
    let created = lab.dps("PUT", path, None, Some(signing.clone())).await;
    assert_eq!(created.status, 200, "{created:?}");
    assert_dps_error(&lab.dps("PUT", path, None, Some(signing)).await, 409_000);
    let named = group(json!({ "caReferences": { "primary": ROOT } }));
    let etag = created.text("etag");
    let renamed = lab.dps("PUT", path, Some(etag), Some(named.clone())).await;
    let x509 = &renamed.body["attestation"]["x509"];
    assert_eq!(x509["caReferences"]["primary"], ROOT, "{renamed:?}");
    assert!(x509.get("signingCertificates").is_none(), "{renamed:?}");
    assert_dps_error(
        &lab.dps("PUT", path, Some(etag), Some(named)).await,
        412_000,
    );
    // The path is spelled as clients like (W20), the group as it was created.
    let read = lab.dps("GET", "/enrollmentgroups/fleet/", None, None).await;
    assert_eq!(
        (read.status, read.text("enrollmentGroupId")),
        (200, "Fleet")
    );
    assert_dps_error(&lab.dps("DELETE", path, Some(etag), None).await, 412_000);
    assert_eq!(lab.dps("DELETE", path, Some("*"), None).await.status, 204);
    assert_dps_error(&lab.dps("GET", path, None, None).await, 404_202);
}

/// R-F5, R-A31.
#[tokio::test(start_paused = true)]
async fn keys_are_shown_by_the_one_call_that_is_there_to_show_them() {
    let lab = Lab::start();
    let body = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "symmetricKey" },
    });
    let created = lab.dps("PUT", "/enrollments/dev-1", None, Some(body)).await;
    assert_eq!(
        created.body["attestation"],
        json!({ "type": "symmetricKey" })
    );
    let shown = lab
        .dps(
            "POST",
            "/enrollments/dev-1/attestationmechanism",
            None,
            None,
        )
        .await;
    let keys = &shown.body["symmetricKey"];
    let (primary, secondary) = (keys["primaryKey"].as_str(), keys["secondaryKey"].as_str());
    assert_ne!(primary, secondary);
    assert_eq!(
        (primary.unwrap().len(), secondary.unwrap().len()),
        (88, 88),
        "64 bytes each"
    );
    // An update without keys keeps them.
    let mut again = lab.dps("GET", "/enrollments/dev-1", None, None).await.body;
    again["deviceId"] = "other".into();
    assert_eq!(
        lab.dps("PUT", "/enrollments/dev-1", Some("*"), Some(again))
            .await
            .status,
        200
    );
    let same = lab
        .dps(
            "POST",
            "/enrollments/dev-1/attestationmechanism",
            None,
            None,
        )
        .await;
    assert_eq!(same.body["symmetricKey"], *keys);
}

/// R-D1 to R-D6.
#[tokio::test(start_paused = true)]
async fn a_ca_certificate_is_uploaded_proven_replaced_and_deleted() {
    let lab = Lab::start();
    let properties = json!({ "certificate": lab.pki.certificate_pem(ROOT).unwrap() });
    let upload = lab
        .ca_request("PUT", "mine", "")
        .json(json!({ "properties": properties }));
    let uploaded = lab.ask(&upload, None).await;
    assert_eq!((uploaded.status, uploaded.text("name")), (200, "mine"));
    assert_eq!(uploaded.body["properties"]["isVerified"], false);
    assert_eq!(uploaded.body["properties"]["subject"], ROOT);

    let act = async |method, what: &str, etag: Option<&str>, body: Option<Value>| {
        let mut request = lab.ca_request(method, "mine", what);
        request.body = body;
        if let Some(etag) = etag {
            request = request.header("If-Match", etag);
        }
        lab.ask(&request, None).await
    };
    let generate = "/generateVerificationCode";
    let without = act("POST", generate, None, None).await;
    assert_eq!((without.status, without.text("code")), (400, "400000"));
    let stale = act("POST", generate, Some("\"stale\""), None).await;
    assert_eq!(stale.status, 412, "{stale:?}");
    let coded = act("POST", generate, Some(uploaded.text("etag")), None).await;
    assert_ne!(coded.text("etag"), uploaded.text("etag"));
    let code = coded.body["properties"]["verificationCode"]
        .as_str()
        .unwrap();

    // A proof for another code, and one by another key, prove nothing.
    let proof = |authority: &str, code: &str| {
        let pem = lab
            .pki
            .proof_of_possession(authority, code, lab.now())
            .unwrap();
        Some(json!({ "certificate": pem }))
    };
    let etag = coded.text("etag");
    for bad in [proof(ROOT, "another"), proof("issuer", code)] {
        let answer = act("POST", "/verify", Some(etag), bad).await;
        assert_eq!((answer.status, answer.text("code")), (400, "400000"));
    }
    let verified = act("POST", "/verify", Some(etag), proof(ROOT, code)).await;
    assert_eq!(verified.status, 200, "{verified:?}");
    assert_eq!(verified.body["properties"]["isVerified"], true);
    let read = act("GET", "", None, None).await;
    assert_eq!(read.body, verified.body);
    let replay = act(
        "POST",
        "/verify",
        Some(read.text("etag")),
        proof(ROOT, code),
    )
    .await;
    assert_eq!(replay.status, 400, "a code serves once: {replay:?}");

    // R-D5: other content is unproven content.
    let other = json!({ "certificate": lab.pki.certificate_pem("issuer").unwrap() });
    let other = Some(json!({ "properties": other }));
    let replaced = act("PUT", "", Some(read.text("etag")), other).await;
    assert_eq!(replaced.body["properties"]["isVerified"], false);

    assert_eq!(act("DELETE", "", None, None).await.status, 400);
    assert_eq!(
        act("DELETE", "", Some(read.text("etag")), None)
            .await
            .status,
        412
    );
    let fresh = replaced.text("etag");
    assert_eq!(act("DELETE", "", Some(fresh), None).await.status, 204);
    assert_eq!(act("GET", "", None, None).await.status, 404);
}

/// R-E1, R-E5, R-B25.
#[tokio::test(start_paused = true)]
async fn a_registration_record_is_read_and_deleted_without_the_identity() {
    let lab = Lab::start();
    lab.open_fleet().await;
    let credential = lab.leaf("dev-1", 1, 30);
    let path = "/registrations/dev-1";
    assert_dps_error(&lab.dps("GET", path, None, None).await, 404_202);
    assert_eq!(
        lab.register(&credential).await.substatus(),
        "initialAssignment"
    );
    assert_eq!(lab.register(&credential).await.outcome(), "assigned");
    let record = lab.dps("GET", path, None, None).await;
    assert_eq!(
        (record.text("status"), record.text("assignedHub")),
        ("assigned", HUB)
    );
    // R-B5: the service API has a word of its own for coming back to the same hub.
    assert_eq!(record.text("substatus"), "reprovisionedToInitialAssignment");
    let before = lab.hub("GET", "/devices/dev-1", None, None).await;

    let group = lab
        .dps("POST", "/registrations/fleet/query", None, None)
        .await;
    assert_eq!(group.body.as_array().unwrap().len(), 1);
    assert_dps_error(
        &lab.dps("DELETE", path, Some("\"stale\""), None).await,
        412_000,
    );
    let etag = record.text("etag");
    assert_eq!(lab.dps("DELETE", path, Some(etag), None).await.status, 204);
    assert_dps_error(&lab.dps("DELETE", path, None, None).await, 404_202);
    let after = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(after.body, before.body, "the hub was not touched");
    assert_eq!(
        lab.register(&credential).await.substatus(),
        "initialAssignment"
    );
    let again = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(
        again.text("generationId"),
        before.text("generationId"),
        "taken over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_makes_no_sense_is_refused_by_the_name_of_its_member() {
    let lab = Lab::start();
    let table = [
        (json!([]), "JSON object"),
        (json!({}), "registrationId"),
        (json!({ "registrationId": "dev-2" }), "registrationId"),
        (json!({ "registrationId": "dev-1" }), "attestation.type"),
        (
            json!({ "registrationId": "dev-1", "attestation": { "type": "card" } }),
            "attestation.type",
        ),
        (
            json!({
                "registrationId": "dev-1",
                "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": "short" } },
            }),
            "primaryKey",
        ),
        (
            json!({
                "registrationId": "dev-1",
                "attestation": { "type": "symmetricKey" },
                "provisioningStatus": "maybe",
            }),
            "provisioningStatus",
        ),
        (
            individual(&json!({ "certificate": "junk" }), &Value::Null),
            "primary.certificate",
        ),
    ];
    for (body, member) in table {
        let answer = lab
            .dps("PUT", "/enrollments/dev-1", None, Some(body.clone()))
            .await;
        assert_dps_error(&answer, 400_004);
        assert!(
            answer.text("message").contains(member),
            "{body}: {answer:?}"
        );
    }
    let long = format!("/enrollments/{}", "x".repeat(129));
    assert_eq!(lab.dps("GET", &long, None, None).await.status, 400);
}
