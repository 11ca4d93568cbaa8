//! Hubs in the management API: the resource, its CA certificates, its keys (R-D1 to R-D6, R-D10,
//! ENDPOINTS 6).

use linarite::pki::Credential;
use serde_json::json;

use crate::support::hub::{HUB_CERTIFICATES, HUB_RESOURCE};
use crate::support::operator::CERTIFICATES;
use crate::support::{HUB, Lab, ROOT};

/// R-G27, R-G30: what becomes of messages for devices is told, too.
#[tokio::test(start_paused = true)]
async fn hubs_are_read_and_listed_without_keys() {
    let lab = Lab::with(|config| {
        config.hubs[0].c2d.ttl_seconds = 90;
        config.hubs[0].c2d.delivery_count_max = 3;
        config.hubs[0].c2d.feedback_ttl_seconds = 172_800;
    });
    let read = lab.manage("GET", HUB_RESOURCE, None, None).await;
    assert_eq!((read.status, read.text("name")), (200, "hub-1"));
    assert_eq!(read.text("id"), HUB_RESOURCE);
    assert_eq!(read.text("type"), "Microsoft.Devices/IotHubs");
    assert_eq!(read.body["sku"]["name"], "S1");
    let properties = &read.body["properties"];
    assert_eq!(properties["hostName"], HUB);
    assert_eq!(properties["state"], "Active");
    let cloud_to_device = json!({
        "maxDeliveryCount": 3,
        "defaultTtlAsIso8601": "PT1M30S",
        "feedback": {
            "lockDurationAsIso8601": "PT1M",
            "ttlAsIso8601": "P2D",
            "maxDeliveryCount": 10,
        },
    });
    assert_eq!(properties["cloudToDevice"], cloud_to_device);
    let policies = properties["authorizationPolicies"].as_array().unwrap();
    let names: Vec<&str> = policies
        .iter()
        .map(|policy| policy["keyName"].as_str().unwrap())
        .collect();
    let expected = [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ];
    assert_eq!(names, expected);
    assert!(!read.body.to_string().contains("primaryKey"));

    let (group, _) = HUB_RESOURCE.rsplit_once('/').unwrap();
    let anywhere = "/subscriptions/s/providers/Microsoft.Devices/IotHubs";
    let listed = lab.manage("GET", group, None, None).await;
    assert_eq!(listed.body["value"], json!([read.body]));
    let listed = lab.manage("GET", anywhere, None, None).await;
    assert_eq!(listed.body["value"][0]["properties"], *properties);
    let other = lab
        .manage("GET", &format!("{group}/hub-9"), None, None)
        .await;
    assert_eq!((other.status, other.text("code")), (404, "404000"));
    let mut stranger = lab.manage_request("GET", HUB_RESOURCE);
    stranger.headers.clear();
    assert_eq!(lab.ask(&stranger, None).await.status, 401);
    let write = lab.manage("PUT", HUB_RESOURCE, None, Some(read.body)).await;
    assert_eq!(write.status, 501, "a hub cannot be changed");
}

/// R-D3, R-D4, R-D6: the steps of a proof of possession, each with the etag of the one before.
#[tokio::test(start_paused = true)]
async fn a_hubs_authority_is_verified_by_proof_of_possession() {
    let mut lab = Lab::start();
    let path = format!("{HUB_CERTIFICATES}/mine");
    let pem = lab.pki.certificate_pem(ROOT).unwrap();
    let body = json!({ "properties": { "certificate": pem } });
    let uploaded = lab.manage("PUT", &path, None, Some(body)).await;
    assert_eq!((uploaded.status, uploaded.text("name")), (200, "mine"));
    assert_eq!(uploaded.text("id"), path);
    assert_eq!(
        uploaded.text("type"),
        "Microsoft.Devices/IotHubs/certificates"
    );
    assert_eq!(uploaded.body["properties"]["isVerified"], false);
    assert_eq!(uploaded.body["properties"]["verificationCode"], json!(null));

    let ask_code = format!("{path}/generateVerificationCode");
    let verify = format!("{path}/verify");
    let bare = lab.manage("POST", &ask_code, None, None).await;
    assert_eq!(bare.status, 400, "If-Match is required");
    let etag = uploaded.text("etag").to_owned();
    let asked = lab.manage("POST", &ask_code, Some(&etag), None).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let code = asked.body["properties"]["verificationCode"]
        .as_str()
        .unwrap();
    let stale = lab.manage("POST", &ask_code, Some(&etag), None).await;
    assert_eq!(stale.status, 412);
    let etag = asked.text("etag").to_owned();

    let now = lab.now();
    let from = now - 60;
    lab.pki.add_root("stranger", from, now + 86_400).unwrap();
    let proofs = [
        (ROOT, "other", 400),
        ("stranger", code, 400),
        (ROOT, code, 200),
    ];
    for (issuer, name, status) in proofs {
        let proof: Credential = lab.leaf_of(issuer, name, 1, 1);
        let body = json!({ "certificate": proof.leaf_pem() });
        let answer = lab.manage("POST", &verify, Some(&etag), Some(body)).await;
        assert_eq!(answer.status, status, "{name} by {issuer}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.body["properties"]["isVerified"], true);
        }
    }
    let listed = lab.manage("GET", HUB_CERTIFICATES, None, None).await;
    let shown = &listed.body["value"][0];
    assert_eq!(shown["properties"]["isVerified"], true);
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
    // The store of DPS is another one, and so are the stores of other hubs.
    let dps = lab.manage("GET", CERTIFICATES, None, None).await;
    assert_eq!(dps.body["value"], json!([]));

    let bare = lab.manage("DELETE", &path, None, None).await;
    assert_eq!(bare.status, 400, "R-D6");
    let stale = lab.manage("DELETE", &path, Some(&etag), None).await;
    assert_eq!(stale.status, 412);
    let etag = shown["etag"].as_str().unwrap().to_owned();
    let gone = lab.manage("DELETE", &path, Some(&etag), None).await;
    assert_eq!(gone.status, 204);
    assert_eq!(lab.manage("GET", &path, None, None).await.status, 404);
}

/// R-D1, R-D5, R-D10: what is no authority is refused, and a store has 25 places.
#[tokio::test(start_paused = true)]
async fn a_hubs_store_has_the_bounds_of_that_of_dps() {
    let lab = Lab::start();
    let pem = lab.pki.certificate_pem(ROOT).unwrap();
    let body = json!({ "properties": { "certificate": pem, "isVerified": true } });
    for number in 0..=25 {
        let path = format!("{HUB_CERTIFICATES}/ca-{number}");
        let answer = lab.manage("PUT", &path, None, Some(body.clone())).await;
        let expected = if number < 25 { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    let path = format!("{HUB_CERTIFICATES}/ca-0");
    let again = json!({ "properties": { "certificate": pem } });
    let again = lab.manage("PUT", &path, None, Some(again)).await;
    assert_eq!(again.body["properties"]["isVerified"], false, "R-D5");
    let leaf = lab.leaf("dev-1", 1, 30).leaf_pem();
    for (certificate, words) in [(leaf, "CA certificate"), ("?".to_owned(), "certificate")] {
        let body = json!({ "properties": { "certificate": certificate } });
        let answer = lab.manage("PUT", &path, None, Some(body)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.text("message").contains(words), "{answer:?}");
    }
}
