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
            let token = sas::sign(sr, expiry, key.unwrap(), Some("registration"));
            format!("Authorization: {token}")
        }
        _ => line.replace(RECORDED_OPERATION, operation),
    };
    let head: Vec<String> = head.split("\r\n").map(header).collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
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
