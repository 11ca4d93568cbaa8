//! A recording, and a laboratory in which its client is entitled to what it asks for.

use std::path::{Path, PathBuf};

use linarite::pki::Credential;
use linarite_core::id::HubHostName;
use linarite_core::secret::SymmetricKey;
use linarite_emulator::config::HubConfig;
use serde_json::{Value, json};

use crate::support::{Lab, ROOT, shared};

/// The device of every recording, and the hub it was told of.
pub(super) const DEVICE: &str = "dev1";
pub(super) const HUB: &str = "localhost";

/// A recording of a session over MQTT, on port 8883 or over WebSocket.
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) events: Vec<Value>,
}

impl Recording {
    /// Reads a recording, if it is one of those replayed here.
    fn read(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?.to_owned();
        let begins = [
            "dps_py_",
            "dps_node_",
            "py_dps_",
            "node_dps_mqtt_",
            "hub_py_",
            "hub_node_",
        ];
        let others = [
            "node_dps_mqttws_symkey",
            "node_hub_mqttws_sas",
            "py_hub_ws_sas",
            "py_hub_sas",
            "py_hub_x509",
            "py_hub_pnp",
            "node_hub_mqtt_sas",
            "node_hub_mqtt_x509",
        ];
        let wanted = begins.iter().any(|begin| name.starts_with(begin))
            || others.contains(&name.as_str())
            || name.starts_with("twin_");
        let text = std::fs::read_to_string(path).unwrap();
        let recording: Value = serde_json::from_str(&text).unwrap();
        let events = recording["events"].as_array().unwrap().clone();
        let over_mqtt = |event: &Value| event["open"] == "tcp8883" || is_upgrade(event);
        (wanted && events.iter().any(over_mqtt)).then_some(Self { name, events })
    }

    /// Whether the client showed a certificate rather than a token.
    fn shows_certificate(&self) -> bool {
        self.events
            .iter()
            .any(|event| event["client_cert_subject"].is_string())
    }

    pub(super) fn is_of_dps(&self) -> bool {
        self.name.contains("dps")
    }
}

/// What the laboratory knows of the device.
pub(super) struct World {
    pub(super) lab: Lab,
    pub(super) credential: Option<Credential>,
    pub(super) key: SymmetricKey,
}

/// A laboratory in which the client of `recording` is entitled to what it asks for.
pub(super) async fn entitled(recording: &Recording) -> World {
    let lab = Lab::with(|config| {
        config.hubs = vec![HubConfig::new(HubHostName::parse(HUB).unwrap())];
    });
    let key = SymmetricKey::from_bytes(&[7; 32]).unwrap();
    let keys = json!({ "primaryKey": key.to_base64(), "secondaryKey": key.to_base64() });
    let credential = recording
        .shows_certificate()
        .then(|| lab.leaf(DEVICE, 1, 30));
    match (&credential, recording.is_of_dps()) {
        (Some(credential), true) => {
            lab.upload_ca(ROOT).await;
            lab.put_individual(Some(credential), None).await;
        }
        (None, true) => {
            let body = json!({
                "registrationId": DEVICE,
                "attestation": { "type": "symmetricKey", "symmetricKey": keys },
            });
            let path = format!("/enrollments/{DEVICE}");
            assert_eq!(lab.dps("PUT", &path, None, Some(body)).await.status, 200);
        }
        (_, false) => {
            let authentication = match &credential {
                None => json!({ "type": "sas", "symmetricKey": keys }),
                Some(credential) => {
                    let print = credential.fingerprint();
                    let print: String = print.iter().map(|b| format!("{b:02X}")).collect();
                    let thumbprints =
                        json!({ "primaryThumbprint": print, "secondaryThumbprint": print });
                    json!({ "type": "selfSigned", "x509Thumbprint": thumbprints })
                }
            };
            let body = json!({ "deviceId": DEVICE, "authentication": authentication });
            let path = format!("/devices/{DEVICE}");
            assert_eq!(lab.hub("PUT", &path, None, Some(body)).await.status, 200);
        }
    }
    World {
        lab,
        credential,
        key,
    }
}

/// Whether the client asks for a WebSocket.
pub(super) fn is_upgrade(event: &Value) -> bool {
    event["http"]["path"] == "/$iothub/websocket"
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A packet without its fixed header.
pub(super) fn body_of(bytes: &[u8]) -> &[u8] {
    let length_bytes = bytes[1..]
        .iter()
        .take_while(|byte| **byte & 0x80 != 0)
        .count()
        + 1;
    &bytes[1 + length_bytes..]
}

pub(super) fn filters(mut body: &[u8]) -> Vec<(String, u8)> {
    let mut filters = Vec::new();
    while let [high, low, rest @ ..] = body {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        filters.push((
            String::from_utf8(rest[..length].to_vec()).unwrap(),
            rest[length],
        ));
        body = &rest[length + 1..];
    }
    filters
}

/// The recordings to replay, or `None` where there are none.
pub(super) fn recordings() -> Option<Vec<Recording>> {
    let folder = shared("traces")?;
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    Some(
        files
            .iter()
            .filter_map(|file| Recording::read(file))
            .collect(),
    )
}
