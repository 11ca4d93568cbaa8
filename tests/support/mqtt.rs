//! MQTT 3.1.1 by hand: packets from parts, and a client that sends any bytes at all.

use std::time::Duration;

use linarite::pki::Credential;
use linarite_emulator::Door;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{HUB, Lab, SCOPE, Tls};

/// A packet with its length put in.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// The beginning of a packet whose body would be `length` bytes long.
pub(crate) fn header(first: u8, mut length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return bytes;
        }
    }
}

/// A string or byte field: two bytes of length, then the content.
pub(crate) fn field(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

/// A CONNECT in parts.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) user_name: String,
    pub(crate) password: Option<String>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(String, String)>,
}

impl Connect {
    pub(crate) fn dps(registration_id: &str) -> Self {
        let user_name = format!("{SCOPE}/registrations/{registration_id}/api-version=2019-03-31");
        Self::new(registration_id, user_name)
    }

    pub(crate) fn hub(device_id: &str) -> Self {
        Self::new(
            device_id,
            format!("{HUB}/{device_id}/?api-version=2021-04-12"),
        )
    }

    /// The same at the hub of that host name.
    pub(crate) fn hub_at(host: &str, device_id: &str) -> Self {
        let user_name = format!("{host}/{device_id}/?api-version=2021-04-12");
        Self::new(device_id, user_name)
    }

    pub(crate) fn new(client_id: &str, user_name: String) -> Self {
        Self {
            client_id: client_id.to_owned(),
            user_name,
            password: None,
            clean: true,
            keep_alive: 0,
            will: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = 0x80;
        let mut payload = field(&self.client_id);
        if let Some((topic, message)) = &self.will {
            flags |= 0x04;
            payload.extend(field(topic));
            payload.extend(field(message));
        }
        payload.extend(field(&self.user_name));
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(field(password));
        }
        if self.clean {
            flags |= 0x02;
        }
        let mut body = b"\x00\x04MQTT\x04".to_vec();
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(payload);
        packet(0x10, &body)
    }
}

/// A SUBSCRIBE of packet id 1.
pub(crate) fn subscribe(filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = vec![0, 1];
    for (filter, qos) in filters {
        body.extend(field(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// A PUBLISH, at QoS 1 if it has a packet id.
pub(crate) fn publish(topic: &str, id: Option<u16>, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut body = field(topic);
    if let Some(id) = id {
        body.extend(id.to_be_bytes());
    }
    body.extend_from_slice(payload.as_ref());
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// Where a device sends telemetry.
pub(crate) fn telemetry(device_id: &str) -> String {
    format!("devices/{device_id}/messages/events/")
}

/// A packet as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    pub(crate) fn is_publish(&self) -> bool {
        self.first >> 4 == 3
    }

    pub(crate) fn topic(&self) -> &str {
        assert!(self.is_publish(), "no PUBLISH: {self:?}");
        let length = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        std::str::from_utf8(&self.body[2..2 + length]).unwrap()
    }

    pub(crate) fn packet_id(&self) -> Option<u16> {
        let at = 2 + self.topic().len();
        (self.first & 0x06 != 0).then(|| u16::from_be_bytes([self.body[at], self.body[at + 1]]))
    }

    pub(crate) fn payload(&self) -> &[u8] {
        let start = 2 + self.topic().len() + if self.packet_id().is_some() { 2 } else { 0 };
        &self.body[start..]
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.payload()).unwrap()
    }

    /// Whether it says that it was sent before.
    pub(crate) fn is_again(&self) -> bool {
        self.first & 0x08 != 0
    }

    /// A PUBACK of packet id `id`.
    pub(crate) fn puback(id: u16) -> Self {
        let body = id.to_be_bytes().to_vec();
        Self { first: 0x40, body }
    }
}

/// A client that says what it is told to.
pub(crate) struct Mqtt<S = Tls> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mqtt<S> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet; `None` once the other end has closed.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        let wait = Duration::from_secs(7200);
        let read = tokio::time::timeout(wait, self.read()).await;
        read.expect("nothing arrived within two virtual hours")
    }

    async fn read(&mut self) -> Option<Packet> {
        let first = self.stream.read_u8().await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Packet { first, body })
    }

    /// The next packet, which has to come.
    pub(crate) async fn expect(&mut self) -> Packet {
        self.next()
            .await
            .expect("the emulator closed the connection")
    }

    /// Nothing more comes but the end.
    pub(crate) async fn expect_end(&mut self) {
        let next = self.next().await;
        assert_eq!(next, None);
    }

    /// Nothing comes for ten virtual seconds, not even the end.
    pub(crate) async fn expect_silence(&mut self) {
        let wait = Duration::from_secs(10);
        let next = tokio::time::timeout(wait, self.read()).await;
        assert!(next.is_err(), "expected silence, got {next:?}");
    }

    /// Sends a CONNECT; gives CONNACK's session-present flag and return code.
    pub(crate) async fn connect(&mut self, connect: &Connect) -> (u8, u8) {
        self.send(connect.bytes()).await;
        let connack = self.expect().await;
        assert_eq!((connack.first, connack.body.len()), (0x20, 2));
        (connack.body[0], connack.body[1])
    }

    /// Subscribes to one filter at QoS 1 and has it granted.
    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.send(subscribe(&[(filter, 1)])).await;
        let suback = Packet {
            first: 0x90,
            body: vec![0, 1, 1],
        };
        assert_eq!(self.expect().await, suback);
    }

    /// Publishes at QoS 1 and has it acknowledged.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        self.send(publish(topic, Some(7), payload)).await;
        assert_eq!(self.expect().await, Packet::puback(7));
    }

    /// Registers as `id` and polls to the end.
    pub(crate) async fn register(self, id: &str) -> Registered {
        self.register_as(&Connect::dps(id), "").await
    }

    /// The same with this CONNECT and this body.
    pub(crate) async fn register_as(mut self, connect: &Connect, body: &str) -> Registered {
        assert_eq!(self.connect(connect).await, (0, 0));
        self.subscribe("$dps/registrations/res/#").await;
        let mut topic = "$dps/registrations/PUT/iotdps-register/?$rid=1".to_owned();
        loop {
            self.publish(&topic, body).await;
            let answer = self.expect().await;
            let status = status(answer.topic(), "$dps/registrations/res/");
            let body = answer.json();
            let id = &answer.body[2 + answer.topic().len()..][..2];
            self.send([&[0x40, 2][..], id].concat()).await;
            if status != 202 {
                self.send([0xE0, 0]).await;
                self.expect_end().await;
                return Registered { body };
            }
            let operation = body["operationId"].as_str().unwrap();
            topic = format!(
                "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId={operation}"
            );
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
}

/// How a registration ended.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) body: Value,
}

impl Registered {
    /// The result, or the number of the error.
    pub(crate) fn outcome(&self) -> String {
        match self.body["errorCode"].as_u64() {
            Some(code) => code.to_string(),
            None => self.body["status"].as_str().unwrap().to_owned(),
        }
    }

    /// The host name of the hub it was assigned to.
    pub(crate) fn hub(&self) -> String {
        let hub = self.body["registrationState"]["assignedHub"].as_str();
        hub.unwrap_or_else(|| panic!("no hub: {:#}", self.body))
            .to_owned()
    }

    /// The id it has there.
    pub(crate) fn device_id(&self) -> String {
        let id = self.body["registrationState"]["deviceId"].as_str();
        id.unwrap_or_else(|| panic!("no device id: {:#}", self.body))
            .to_owned()
    }

    /// Number and words of a registration that ended `failed`.
    pub(crate) fn failure(&self) -> (u64, String) {
        let state = &self.body["registrationState"];
        assert_eq!(state["status"], "failed", "{:#}", self.body);
        let code = state["errorCode"].as_u64().unwrap();
        (code, state["errorMessage"].as_str().unwrap().to_owned())
    }

    pub(crate) fn substatus(&self) -> &str {
        self.body["registrationState"]["substatus"]
            .as_str()
            .unwrap()
    }
}

impl Lab {
    /// A client after its handshake.
    pub(crate) async fn mqtt(&self, credential: Option<&Credential>) -> Mqtt {
        let stream = self.tls(Door::Mqtt, credential).await;
        Mqtt { stream }
    }

    /// A session at the hub for the device the certificate names, or CONNACK's return code.
    pub(crate) async fn session(&self, credential: &Credential) -> Result<Mqtt, u8> {
        self.session_of(credential, &Connect::hub(credential.common_name()))
            .await
    }

    /// A session at the hub for `connect`, or CONNACK's return code.
    pub(crate) async fn session_of(
        &self,
        credential: &Credential,
        connect: &Connect,
    ) -> Result<Mqtt, u8> {
        let mut client = self.mqtt(Some(credential)).await;
        match client.connect(connect).await {
            (_, 0) => Ok(client),
            (present, code) => {
                assert_eq!(present, 0, "a refusal with a session");
                client.expect_end().await;
                Err(code)
            }
        }
    }

    /// Registers over MQTT as the certificate's common name, and polls to the end.
    pub(crate) async fn register(&self, credential: &Credential) -> Registered {
        let client = self.mqtt(Some(credential)).await;
        client.register(credential.common_name()).await
    }

    /// A device that does everything right is served: it registers, connects and sends.
    pub(crate) async fn serves(&self, credential: &Credential) {
        assert_eq!(self.register(credential).await.outcome(), "assigned");
        let mut session = self.session(credential).await.unwrap();
        let topic = telemetry(credential.common_name());
        session.publish(&topic, "well behaved").await;
    }
}

/// The status in the topic of an answer.
pub(crate) fn status(topic: &str, prefix: &str) -> u16 {
    let rest = topic.strip_prefix(prefix);
    let rest = rest.unwrap_or_else(|| panic!("{topic} does not begin with {prefix}"));
    rest.split_once("/?").unwrap().0.parse().unwrap()
}
