//! What tests of a hub set up there, and how its devices come in by token.

use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use linarite_env::Event;
use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::mqtt::{Connect, Mqtt};
use super::{HUB, Lab, Recorder};

/// The laboratory's hub in the management API.
pub(crate) const HUB_RESOURCE: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/hub-1";

/// Where the management API keeps its CA certificates.
pub(crate) const HUB_CERTIFICATES: &str = "/subscriptions/s/resourceGroups/g/providers/\
     Microsoft.Devices/IotHubs/hub-1/certificates";

impl Lab {
    /// Creates a device with this `authentication`; gives its identity.
    pub(crate) async fn create(&self, id: &str, authentication: Value) -> Value {
        let body = json!({ "deviceId": id, "authentication": authentication });
        let path = format!("/devices/{id}");
        let answer = self.hub("PUT", &path, None, Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// A token for `id` (`device` or `device/module`) that lasts `seconds`, signed with the
    /// primary key of `identity` as the registry showed it.
    pub(crate) fn device_token(&self, id: &str, identity: &Value, seconds: i64) -> String {
        let key = &identity["authentication"]["symmetricKey"]["primaryKey"];
        let key = SymmetricKey::from_base64(key.as_str().unwrap()).unwrap();
        let path = id.replacen('/', "%2Fmodules%2F", 1);
        let resource = format!("{HUB}%2Fdevices%2F{path}");
        sas::sign(&resource, UnixTime(self.now() + seconds), &key, None)
    }

    /// A CONNECT of `id` with a token for an hour, signed with its identity's primary key.
    pub(crate) fn sas_connect(&self, id: &str, identity: &Value) -> Connect {
        let mut connect = Connect::hub(id);
        connect.password = Some(self.device_token(id, identity, 3600));
        connect
    }

    /// The session that CONNECT opens.
    pub(crate) async fn sas_session(&self, id: &str, identity: &Value) -> Mqtt {
        let mut client = self.mqtt(None).await;
        let connack = client.connect(&self.sas_connect(id, identity)).await;
        assert_eq!(connack, (0, 0));
        client
    }

    /// A request to the management API.
    pub(crate) fn manage_request(&self, method: &'static str, path: &str) -> Request {
        let path = format!("{path}?api-version=2023-06-30");
        Request::new(method, "management.azure.com", path)
            .header("Authorization", "Bearer anything")
    }

    pub(crate) async fn manage(
        &self,
        method: &'static str,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.manage_request(method, path);
        if let Some(etag) = if_match {
            request = request.header("If-Match", etag);
        }
        request.body = body;
        self.ask(&request, None).await
    }

    /// Uploads the authority `name` to the hub as verified.
    pub(crate) async fn upload_hub_ca(&self, name: &str) {
        let certificate = self.pki.certificate_pem(name).unwrap();
        let properties = json!({ "certificate": certificate, "isVerified": true });
        let body = json!({ "properties": properties });
        let path = format!("{HUB_CERTIFICATES}/{name}");
        let answer = self.manage("PUT", &path, None, Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

impl Recorder {
    /// Whose sessions were opened after `mark`.
    pub(crate) fn opened(&self, mark: usize) -> Vec<String> {
        let events = self.after(mark).into_iter();
        let opened = events.filter_map(|event| match event {
            Event::SessionOpened { device_id, .. } => Some(device_id.to_string()),
            _ => None,
        });
        opened.collect()
    }

    /// How many messages were accepted after `mark`.
    pub(crate) fn telemetry(&self, mark: usize) -> usize {
        let events = self.after(mark);
        let accepted = |event: &&Event| matches!(event, Event::TelemetryAccepted { .. });
        events.iter().filter(accepted).count()
    }
}
