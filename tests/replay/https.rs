//! Recordings over HTTPS: every request goes out byte for byte, and its answer has to be of use to
//! the client that made it.
//!
//! Put in are a token over the resource as the client wrote it, the operation that the emulator
//! began, and the keys of a TPM in place of the texts that the recorded client took for some.

use linarite_core::id::HubHostName;
use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use linarite_emulator::Door;
use linarite_emulator::events::StartPosition;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::RECORDED_OPERATION;
use super::recording::{DEVICE, HUB, unhex};
use crate::support::http::Answer;
use crate::support::tpm::TPM;
use crate::support::{Lab, drain, shared};

/// What the recorded client offered as the keys of its TPM.
const RECORDED_ENDORSEMENT_KEY: &str = "RUtQVUItRUtQVUI=";
const RECORDED_STORAGE_ROOT_KEY: &str = "U1JLUFVCLVNSS1BVQg==";

/// The client's bytes with what exists here, and no further request on the same connection.
fn rewritten(lab: &Lab, event: &Value, key: Option<&SymmetricKey>, operation: &str) -> Vec<u8> {
    let text = String::from_utf8(unhex(event["hex"].as_str().unwrap())).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = body
        .replace(RECORDED_ENDORSEMENT_KEY, &TPM.endorsement_key())
        .replace(RECORDED_STORAGE_ROOT_KEY, &TPM.storage_root_key());
    let header = |line: &str| match line.split_once(": ") {
        Some(("Content-Length", _)) => format!("Content-Length: {}", body.len()),
        Some(("Connection", _)) => "Connection: close".to_owned(),
        Some(("Authorization", token)) => {
            let (_, sr) = token.split_once("sr=").unwrap();
            let expiry = UnixTime(lab.now() + 3600);
            let (sr, _) = sr.split_once('&').unwrap();
            let skn = token.contains("&skn=").then_some("registration");
            let token = sas::sign(sr, expiry, key.unwrap(), skn);
            format!("Authorization: {token}")
        }
        _ => line.replace(RECORDED_OPERATION, operation),
    };
    let head: Vec<String> = head.split("\r\n").map(header).collect();
    let head = head.join("\r\n");
    // The recorder put the chunks together.
    let body = match head.contains("Transfer-Encoding: chunked") {
        true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        false => body,
    };
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// R-A35, wire 3.4: the Node client, whose recorded TPM was a stub.
#[tokio::test(start_paused = true)]
async fn a_recorded_client_with_a_tpm_gets_all_it_needs() {
    let Some(folder) = shared("traces") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("node_dps_http_tpm.json")).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    let events = recording["events"].as_array().unwrap();
    let lab = Lab::with(|config| {
        config.hubs[0].host = HubHostName::parse(HUB).unwrap();
        config.assignment_latency = std::time::Duration::ZERO;
    });
    let tpm = json!({ "endorsementKey": TPM.endorsement_key() });
    let entry = json!({ "registrationId": DEVICE, "attestation": { "type": "tpm", "tpm": tpm } });
    let path = format!("/enrollments/{DEVICE}");
    assert_eq!(lab.dps("PUT", &path, None, Some(entry)).await.status, 200);

    let (mut key, mut operation, mut answered) = (None, String::new(), Vec::new());
    for pair in events.windows(2).filter(|pair| pair[0]["dir"] == "c>s") {
        let mut stream = lab.tls(Door::Https, None).await;
        let request = rewritten(&lab, &pair[0], key.as_ref(), &operation);
        stream.write_all(&request).await.unwrap();
        let answer = Answer::parse(&drain(&mut stream).await);
        // The recorded server answered as the client expects.
        assert_eq!(pair[1]["http"]["status"], answer.status, "{answer:?}");
        match answer.status {
            401 => key = Some(TPM.activate(answer.text("authenticationKey")).unwrap()),
            202 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                operation = answer.text("operationId").to_owned();
            }
            _ => {
                assert_eq!(answer.text("status"), "assigned");
                let state = &answer.body["registrationState"];
                assert_eq!(
                    (&state["assignedHub"], &state["deviceId"]),
                    (&json!(HUB), &json!(DEVICE))
                );
                let blob = state["tpm"]["authenticationKey"].as_str().unwrap();
                assert!(TPM.activate(blob).is_ok());
            }
        }
        answered.push(answer.status);
    }
    assert_eq!(answered, [401, 202, 200]);
}

/// W20, wire 4.5: the Node client of a hub over HTTPS, which sends in chunks.
#[tokio::test(start_paused = true)]
async fn a_recorded_device_over_https_gets_all_it_needs() {
    let Some(folder) = shared("traces") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("node_hub_http_sas.json")).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    let lab = Lab::with(|config| config.hubs[0].host = HubHostName::parse(HUB).unwrap());
    let identity = lab.create(DEVICE, Value::Null).await;
    let key = &identity["authentication"]["symmetricKey"]["primaryKey"];
    let key = SymmetricKey::from_base64(key.as_str().unwrap()).unwrap();
    let headers = [("iothub-messageid", "m-1"), ("iothub-app-k", "v")];
    let (mut sent, mut token, mut answered) = (false, String::new(), 0);
    let events = recording["events"].as_array().unwrap();
    for pair in events.windows(2).filter(|pair| pair[0]["dir"] == "c>s") {
        let path = pair[0]["http"]["path"].as_str().unwrap();
        if path.contains("/files") {
            // Not emulated.
            continue;
        }
        if path.contains("/devicebound") && !sent {
            let to = format!("devices/{DEVICE}");
            let answer = lab.send_to(&to, &headers, "hello http c2d").await;
            assert_eq!(answer.status, 204);
            sent = true;
        }
        let request = rewritten(&lab, &pair[0], Some(&key), "");
        let request = String::from_utf8(request)
            .unwrap()
            .replace("lock-1", &token);
        let mut stream = lab.tls(Door::Https, None).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::parse(&drain(&mut stream).await);
        let recorded = &pair[1]["http"];
        assert_eq!(recorded["status"], answer.status, "{path}: {answer:?}");
        if answer.status == 200 {
            assert_eq!(recorded["body"], answer.content);
            for name in ["iothub-messageid", "iothub-app-k", "iothub-sequencenumber"] {
                assert_eq!(recorded["headers"][name], answer.header(name).unwrap());
            }
            let tag = answer.header("etag").unwrap();
            token = tag.trim_matches('"').to_owned();
        }
        answered += 1;
    }
    assert!(answered >= 7, "only {answered} requests replayed");
    let log = lab.emulator.events(HUB).unwrap();
    let told = log.read_all(StartPosition::Earliest).ready(100).events;
    let bodies = told
        .iter()
        .map(|event| String::from_utf8(event.message().body().to_vec()).unwrap());
    let expected = [r#"{"t":1}"#, "plain", "b1", r#"{"t":1}"#];
    assert_eq!(bodies.collect::<Vec<_>>(), expected);
    let shown = lab.hub("GET", "/devices/dev1", None, None).await;
    assert_eq!(shown.body["cloudToDeviceMessageCount"], 0);
}
