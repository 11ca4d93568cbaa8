//! The operator's side: calls of the service and management APIs, and what tests set up with
//! them.

use linarite::pki::Credential;
use linarite_core::sas;
use linarite_core::secret::SymmetricKey;
use linarite_core::time::UnixTime;
use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::{ISSUER, Lab, ROOT};

/// Where the management API keeps the certificates of the laboratory's DPS.
pub(crate) const CERTIFICATES: &str = "/subscriptions/s/resourceGroups/g/providers/\
     Microsoft.Devices/provisioningServices/linarite-dps/certificates";

/// The parts of a connection string.
pub(crate) struct ConnectionString {
    pub(crate) host: String,
    pub(crate) policy: String,
    pub(crate) key: SymmetricKey,
}

impl ConnectionString {
    pub(crate) fn parse(text: &str) -> Self {
        let part = |name: &str| {
            let mut parts = text.split(';').filter_map(|part| part.split_once('='));
            parts
                .find(|(known, _)| *known == name)
                .unwrap()
                .1
                .to_owned()
        };
        Self {
            host: part("HostName"),
            policy: part("SharedAccessKeyName"),
            key: SymmetricKey::from_base64(&part("SharedAccessKey")).unwrap(),
        }
    }

    pub(crate) fn token(&self, expiry: i64) -> String {
        sas::sign(&self.host, UnixTime(expiry), &self.key, Some(&self.policy))
    }
}

impl Lab {
    pub(crate) fn dps_string(&self) -> ConnectionString {
        ConnectionString::parse(&self.emulator.dps_connection_string())
    }

    pub(crate) fn hub_string(&self) -> ConnectionString {
        let (_, text) = self.emulator.hub_connection_strings().remove(0);
        ConnectionString::parse(&text)
    }

    /// A signed request to the DPS service API.
    pub(crate) fn dps_request(&self, method: &'static str, path: &str) -> Request {
        let service = self.dps_string();
        Request::new(
            method,
            &service.host,
            format!("{path}?api-version=2021-10-01"),
        )
        .header("Authorization", service.token(self.now() + 600))
    }

    /// A signed request to the hub's service API.
    pub(crate) fn hub_request(&self, method: &'static str, path: &str) -> Request {
        let hub = self.hub_string();
        Request::new(method, &hub.host, format!("{path}?api-version=2021-04-12"))
            .header("Authorization", hub.token(self.now() + 600))
    }

    /// The connection string of the owner of the hub at `host`.
    pub(crate) fn string_of(&self, host: &str) -> String {
        let all = self.emulator.hub_connection_strings();
        let found = all.into_iter().find(|(known, _)| known == host);
        found.unwrap_or_else(|| panic!("no hub {host}")).1
    }

    /// A call of the service API of the hub at `host`.
    pub(crate) async fn hub_at(
        &self,
        host: &str,
        method: &'static str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let hub = ConnectionString::parse(&self.string_of(host));
        let path = format!("{path}?api-version=2021-04-12");
        let request = Request::new(method, &hub.host, path)
            .header("Authorization", hub.token(self.now() + 600));
        self.ask(&completed(request, None, body), None).await
    }

    /// A request to the management API about the CA certificate `name`.
    pub(crate) fn ca_request(&self, method: &'static str, name: &str, what: &str) -> Request {
        let path = format!("{CERTIFICATES}/{name}{what}?api-version=2022-02-05");
        Request::new(method, "management.azure.com", path)
            .header("Authorization", "Bearer anything")
    }

    pub(crate) async fn dps(
        &self,
        method: &'static str,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let request = self.dps_request(method, path);
        self.ask(&completed(request, if_match, body), None).await
    }

    pub(crate) async fn hub(
        &self,
        method: &'static str,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let request = self.hub_request(method, path);
        self.ask(&completed(request, if_match, body), None).await
    }

    /// Uploads the authority `name` as verified.
    pub(crate) async fn upload_ca(&self, name: &str) {
        let properties = json!({
            "certificate": self.pki.certificate_pem(name).unwrap(),
            "isVerified": true,
        });
        let request = self.ca_request("PUT", name, "");
        let answer = self
            .ask(&request.json(json!({ "properties": properties })), None)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Creates or replaces the group `fleet` with these authorities in its slots.
    pub(crate) async fn put_fleet(&self, primary: Option<&str>, secondary: Option<&str>) {
        let slot = |name: Option<&str>| match name {
            Some(name) => json!({ "certificate": self.pki.certificate_pem(name).unwrap() }),
            None => Value::Null,
        };
        let slots = json!({ "primary": slot(primary), "secondary": slot(secondary) });
        let body = json!({
            "enrollmentGroupId": "fleet",
            "attestation": { "type": "x509", "x509": { "signingCertificates": slots } },
        });
        let path = "/enrollmentGroups/fleet";
        let exists = self.dps("GET", path, None, None).await.status == 200;
        let answer = self
            .dps("PUT", path, exists.then_some("*"), Some(body))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Verifies the root and opens the group `fleet` for leaves of the intermediate.
    pub(crate) async fn open_fleet(&self) {
        self.upload_ca(ROOT).await;
        self.put_fleet(Some(ISSUER), None).await;
    }

    /// Creates or replaces the individual enrollment of the certificates' common name.
    pub(crate) async fn put_individual(
        &self,
        primary: Option<&Credential>,
        secondary: Option<&Credential>,
    ) {
        let slot = |credential: Option<&Credential>| match credential {
            Some(credential) => json!({ "certificate": credential.leaf_pem() }),
            None => Value::Null,
        };
        let id = primary.or(secondary).unwrap().common_name();
        let slots = json!({ "primary": slot(primary), "secondary": slot(secondary) });
        let attestation = json!({ "type": "x509", "x509": { "clientCertificates": slots } });
        self.put_entry(id, json!({ "attestation": attestation }))
            .await;
    }

    /// Creates or replaces the individual enrollment of `id` with these members.
    pub(crate) async fn put_entry(&self, id: &str, mut members: Value) -> Value {
        members["registrationId"] = id.into();
        let path = format!("/enrollments/{id}");
        let exists = self.dps("GET", &path, None, None).await.status == 200;
        let answer = self
            .dps("PUT", &path, exists.then_some("*"), Some(members))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Creates or replaces the individual enrollment of a certificate with these members beside.
    pub(crate) async fn enroll(&self, credential: &Credential, mut members: Value) -> Value {
        let slots = json!({ "primary": { "certificate": credential.leaf_pem() } });
        members["attestation"] = json!({ "type": "x509", "x509": { "clientCertificates": slots } });
        self.put_entry(credential.common_name(), members).await
    }

    /// Registers the device and opens its session.
    pub(crate) async fn admit(&self, credential: &Credential) -> super::mqtt::Mqtt {
        assert_eq!(self.register(credential).await.outcome(), "assigned");
        self.session(credential).await.unwrap()
    }
}

fn completed(mut request: Request, if_match: Option<&str>, body: Option<Value>) -> Request {
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    request.body = body;
    request
}
