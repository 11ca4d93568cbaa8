//! Who is let in at a hub, and by what (R-G7 to R-G11, R-D10, R-E10, R-F9).

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use serde_json::{Value, json};

use crate::support::hub::HUB_CERTIFICATES;
use crate::support::mqtt::Connect;
use crate::support::{DAY, HUB, ISSUER, Lab, ROOT};

/// The return code of a CONNECT as `id` with this token.
async fn with_token(lab: &Lab, id: &str, token: String) -> u8 {
    let mut connect = Connect::hub(id);
    connect.password = Some(token);
    lab.mqtt(None).await.connect(&connect).await.1
}

/// R-G8, R-D10, R-F11: a verified authority of the hub, the whole chain, the device's name.
#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_hubs_authority_lets_its_device_in() {
    let lab = Lab::start();
    lab.create("dev-1", json!({ "type": "certificateAuthority" }))
        .await;
    let body = json!({
        "deviceId": "dev-1", "moduleId": "mod-1",
        "authentication": { "type": "certificateAuthority" },
    });
    let module = "/devices/dev-1/modules/mod-1";
    assert_eq!(lab.hub("PUT", module, None, Some(body)).await.status, 200);
    let leaf = lab.leaf("dev-1", 1, 30);
    let connect = Connect::hub("dev-1");

    // Nobody vouches for the issuer yet, at DPS or not.
    lab.upload_ca(ROOT).await;
    let mark = lab.events.mark();
    assert_eq!(lab.session_of(&leaf, &connect).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G8", 401_003));
    let pem = lab.pki.certificate_pem(ROOT).unwrap();
    let unproven = json!({ "properties": { "certificate": pem } });
    let answer = lab
        .manage(
            "PUT",
            &format!("{HUB_CERTIFICATES}/root"),
            None,
            Some(unproven),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(lab.session_of(&leaf, &connect).await.err(), Some(5));
    lab.upload_hub_ca(ROOT).await;
    lab.session_of(&leaf, &connect).await.unwrap();
    // A new leaf needs no word to the hub: that is the point of an authority.
    let next = lab.leaf("dev-1", 2, 60);
    lab.session_of(&next, &connect).await.unwrap();

    let below = lab.leaf("dev-1/mod-1", 1, 30);
    let as_module = Connect::hub("dev-1/mod-1");
    lab.session_of(&below, &as_module).await.unwrap();
    for (credential, connect) in [
        (&below, &connect),
        (&leaf, &as_module),
        (&lab.leaf("Dev-1", 1, 30), &connect),
        (&lab.leaf("dev-2", 1, 30), &connect),
    ] {
        let mark = lab.events.mark();
        assert_eq!(lab.session_of(credential, connect).await.err(), Some(5));
        let refusal = lab.events.refusal(mark, &connect.client_id);
        assert_eq!(refusal, ("R-G8", 401_003));
    }
    // Without the authority the session that is open stays, and no other comes (R-G9).
    let mut session = lab.session_of(&next, &connect).await.unwrap();
    let path = format!("{HUB_CERTIFICATES}/root");
    let gone = lab.manage("DELETE", &path, Some("*"), None).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(lab.session_of(&next, &connect).await.err(), Some(5));
    session.publish("devices/dev-1/messages/events/", "x").await;
}

/// R-G8: validity counts, and the intermediate may be the one that is verified.
#[tokio::test(start_paused = true)]
async fn an_intermediate_may_be_the_hubs_authority_and_an_expired_leaf_is_refused() {
    let lab = Lab::start();
    lab.create("dev-1", json!({ "type": "certificateAuthority" }))
        .await;
    lab.upload_hub_ca(ISSUER).await;
    let leaf = lab.leaf("dev-1", 1, 1);
    let connect = Connect::hub("dev-1");
    lab.session_of(&leaf, &connect).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2 * 86_400)).await;
    let mark = lab.events.mark();
    assert_eq!(lab.session_of(&leaf, &connect).await.err(), Some(5));
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G8", 401_003));
    // R-E10: nobody asks a revocation list; only the registry keeps a leaf out.
    let fresh = lab.leaf("dev-1", 2, 30);
    lab.session_of(&fresh, &connect).await.unwrap();
}

/// R-D10, R-B18: what DPS provisions never needs the hub's authorities.
#[tokio::test(start_paused = true)]
async fn a_provisioned_device_does_not_mind_the_hubs_authorities() {
    let lab = Lab::start();
    lab.open_fleet().await;
    lab.upload_hub_ca(ROOT).await;
    let credential = lab.leaf("dev-1", 1, 30);
    lab.serves(&credential).await;
    let shown = lab.hub("GET", "/devices/dev-1", None, None).await;
    assert_eq!(shown.body["authentication"]["type"], "selfSigned");
    let path = format!("{HUB_CERTIFICATES}/root");
    assert_eq!(
        lab.manage("DELETE", &path, Some("*"), None).await.status,
        204
    );
    lab.session(&credential).await.unwrap();
}

/// R-G3: nothing lets a device of type `none` in.
#[tokio::test(start_paused = true)]
async fn a_device_without_a_mechanism_is_let_in_by_nothing() {
    let lab = Lab::start();
    lab.create("dev-1", json!({ "type": "none" })).await;
    let other = lab.create("dev-2", Value::Null).await;
    let credential = lab.leaf("dev-1", 1, 30);
    assert_eq!(lab.session(&credential).await.err(), Some(5));
    let token = lab.device_token("dev-1", &other, 60);
    assert_eq!(with_token(&lab, "dev-1", token).await, 5);
    let mark = lab.events.mark();
    assert_eq!(
        lab.mqtt(None).await.connect(&Connect::hub("dev-1")).await,
        (0, 5)
    );
    assert_eq!(lab.events.refusal(mark, "dev-1"), ("R-G3", 401_003));
}

/// R-F9: a policy with the right DeviceConnect speaks for devices that take tokens.
#[tokio::test(start_paused = true)]
async fn a_policy_with_the_right_to_connect_speaks_for_devices() {
    let lab = Lab::start();
    lab.create("dev-1", Value::Null).await;
    let path = crate::support::hub::HUB_RESOURCE;
    let keys = lab
        .manage("POST", &format!("{path}/listkeys"), None, None)
        .await;
    let policies = keys.body["value"].as_array().unwrap();
    let expiry = UnixTime(lab.now() + 60);
    let mut codes = Vec::new();
    for policy in policies {
        let name = policy["keyName"].as_str().unwrap();
        for key in ["primaryKey", "secondaryKey"] {
            let key = SymmetricKey::from_base64(policy[key].as_str().unwrap()).unwrap();
            let sign = |resource: &str| sas::sign(resource, expiry, &key, Some(name));
            let whole = with_token(&lab, "dev-1", sign(HUB)).await;
            let own = with_token(&lab, "dev-1", sign(&format!("{HUB}/devices/dev-1"))).await;
            assert_eq!(whole, own, "{name}");
            let other = with_token(&lab, "dev-1", sign(&format!("{HUB}/devices/dev-2"))).await;
            assert_eq!(other, 5, "{name}");
            codes.push((name.to_owned(), own));
        }
    }
    let may = |(name, code): &(String, u8)| (*code == 0).then_some(name.clone());
    let admitted: Vec<String> = codes.iter().filter_map(may).collect();
    assert_eq!(admitted, ["iothubowner", "iothubowner", "device", "device"]);
    // A device that does not take tokens is not for policies either.
    lab.create("dev-2", json!({ "type": "certificateAuthority" }))
        .await;
    let owner = lab.hub_string();
    assert_eq!(
        with_token(&lab, "dev-2", owner.token(lab.now() + 60)).await,
        5
    );
}

/// R-G11: a clock may be five minutes wrong; the setting says how wrong.
#[tokio::test(start_paused = true)]
async fn a_token_is_taken_as_far_past_its_end_as_the_setting_says() {
    for skew in [300, 0] {
        let lab = Lab::with(|config| config.settings.sas_clock_skew_seconds = skew);
        let identity = lab.create("dev-1", Value::Null).await;
        for (seconds, code) in [
            (60, 0),
            (-i64::from(skew) + 2, 0),
            (-i64::from(skew) - 1, 5),
            (-DAY, 5),
        ] {
            let token = lab.device_token("dev-1", &identity, seconds);
            let found = with_token(&lab, "dev-1", token).await;
            assert_eq!(found, code, "{seconds} s to go with {skew} s of skew");
        }
    }
}
