//! Recordings of the official Python and Node clients, replayed byte for byte.
//!
//! The recordings lie beside the checkout. They were made against a scripted server, so what
//! that server said is not looked at, except to know what the client was answering. Four things
//! are put in: a fresh signature over the resource as the client wrote it, the operation the
//! emulator began, the request id the emulator gave its method call, and the number of the packet
//! in which it sent a message.

mod https;
mod recording;

use std::collections::BTreeMap;

use linarite_core::hub::c2d::message::{Ack, CloudMessage};
use linarite_core::hub::message::Properties;
use linarite_core::id::IdentityId;
use linarite_core::sas;
use linarite_core::time::UnixTime;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, sleep};

use crate::support::mqtt::{Connect, Mqtt, Packet, publish, status};
use recording::{
    DEVICE, HUB, Recording, World, body_of, entitled, filters, is_upgrade, recordings, unhex,
};

const DPS_ANSWERS: &str = "$dps/registrations/res/";
const TWIN_ANSWERS: &str = "$iothub/twin/res/";

/// What the recorded services called the operation.
const RECORDED_OPERATION: &str = "4.op.1";
/// What the recorded hub called its method call.
const RECORDED_CALL: &str = "$rid=1a";

/// A connection of either kind: MQTT on its own port, or inside a WebSocket.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// The Node client cuts its first packet into frames of one to four bytes (W15).
const FRAME_BYTES: usize = 3;

/// One replay under way.
struct Replay<'a> {
    world: &'a World,
    name: &'a str,
    open: BTreeMap<i64, Mqtt<Box<dyn Stream>>>,
    operation: Option<String>,
    call: Option<String>,
    /// Number of the packet in which the last message was sent.
    message: Option<u16>,
    /// Filters granted to clients that keep their session.
    kept: Vec<String>,
    answered: usize,
}

impl Replay<'_> {
    async fn event(&mut self, event: &Value) {
        let conn = event["conn"].as_i64().unwrap();
        if event["open"] == "tcp8883" {
            let client = self.world.lab.mqtt(self.world.credential.as_ref()).await;
            let stream: Box<dyn Stream> = Box::new(client.stream);
            self.open.insert(conn, Mqtt { stream });
        } else if is_upgrade(event) {
            self.upgrade(conn, event).await;
        } else if event["note"]
            .as_str()
            .is_some_and(|note| note.starts_with("server drops"))
            || !event["closed"].is_null()
        {
            // Either side let go without a word.
            self.open.remove(&conn);
            sleep(Duration::from_millis(1)).await;
        } else if !self.open.contains_key(&conn) {
            // Of another port, or said into a connection that is gone.
        } else if event["dir"] == "c>s" {
            self.client_said(conn, event).await;
        } else if event["dir"] == "s>c" {
            self.server_said(conn, event).await;
        }
    }

    /// Asks for a WebSocket as the client did.
    async fn upgrade(&mut self, conn: i64, event: &Value) {
        let request = unhex(event["hex"].as_str().unwrap());
        let (lab, credential) = (&self.world.lab, self.world.credential.as_ref());
        let (answer, socket) = lab.upgraded(request, credential).await;
        assert_eq!(answer.status, 101, "{}: {answer:?}", self.name);
        let stream: Box<dyn Stream> = Box::new(socket.mqtt(FRAME_BYTES).stream);
        self.open.insert(conn, Mqtt { stream });
    }

    /// Sends what the client sent and checks what has to come back.
    async fn client_said(&mut self, conn: i64, event: &Value) {
        let bytes = self.rewritten(&unhex(event["hex"].as_str().unwrap()));
        let packet = Packet {
            first: bytes[0],
            body: body_of(&bytes).to_vec(),
        };
        let name = self.name;
        let client = self.open.get_mut(&conn).unwrap();
        client.send(&bytes).await;
        self.answered += 1;
        match packet.first >> 4 {
            1 => {
                let connack = client.expect().await;
                assert_eq!(
                    (connack.first, connack.body[1]),
                    (0x20, 0),
                    "{name}: CONNACK"
                );
                if packet.is_dps_connect() {
                    assert_eq!(connack.body[0], 0, "{name}: W6, no session at DPS");
                }
            }
            3 => {
                if let Some(id) = packet.packet_id() {
                    let first = client.expect().await;
                    assert_eq!(first, Packet::puback(id), "{name}: W6, PUBACK comes first");
                }
                self.answer(conn, &packet).await;
            }
            4 => {}
            8 => {
                let suback = client.expect().await;
                assert_eq!(suback.first, 0x90, "{name}: {suback:?}");
                assert_eq!(
                    suback.body[..2],
                    packet.body[..2],
                    "{name}: another packet id"
                );
                let filters = filters(&packet.body[2..]);
                let granted: Vec<u8> = filters.iter().map(|(_, qos)| (*qos).min(1)).collect();
                assert_eq!(suback.body[2..], granted, "{name}: {filters:?}");
                self.kept
                    .extend(filters.into_iter().map(|(filter, _)| filter));
            }
            10 => {
                let unsuback = client.expect().await;
                assert_eq!(
                    (unsuback.first, &unsuback.body[..]),
                    (0xB0, &packet.body[..2])
                );
            }
            14 => {
                client.expect_end().await;
                self.open.remove(&conn);
            }
            kind => panic!("{name}: the client sent a packet of type {kind}"),
        }
    }

    /// What is to follow a PUBLISH of the client.
    async fn answer(&mut self, conn: i64, sent: &Packet) {
        let (name, topic) = (self.name, sent.topic());
        let client = self.open.get_mut(&conn).unwrap();
        let rid = topic
            .split_once("$rid=")
            .map(|(_, rest)| rest.split('&').next().unwrap());
        if topic.starts_with("$dps/") {
            let answer = client.expect().await;
            // The subscription was at QoS 1, and CS counts on it (W7).
            assert_eq!(answer.first, 0x32, "{name}: {answer:?}");
            let status = status(answer.topic(), DPS_ANSWERS);
            let expected = format!("{DPS_ANSWERS}{status}/?$rid={}", rid.unwrap());
            let rest = answer.topic().strip_prefix(&expected);
            let rest = rest.unwrap_or_else(|| panic!("{name}: {}", answer.topic()));
            let body = answer.json();
            self.operation = Some(body["operationId"].as_str().unwrap().to_owned());
            match status {
                202 => {
                    let seconds = rest.strip_prefix("&retry-after=").unwrap();
                    assert!(seconds.parse::<u32>().unwrap() >= 1, "{name}: {rest}");
                    assert_eq!(body["status"], "assigning", "{name}");
                    let state = &body["registrationState"];
                    assert_eq!(state["registrationId"], DEVICE, "{name}: W9");
                }
                200 => {
                    assert_eq!((rest, &body["status"]), ("", &json!("assigned")), "{name}");
                    let state = &body["registrationState"];
                    assert_eq!(state["assignedHub"], HUB, "{name}");
                    assert_eq!(state["deviceId"], DEVICE, "{name}");
                }
                other => panic!("{name}: {other} {body}"),
            }
            let registers = topic.contains("/PUT/");
            assert_eq!(status, if registers { 202 } else { 200 }, "{name}: {topic}");
        } else if topic.starts_with("$iothub/twin/GET/") {
            let answer = client.expect().await;
            let expected = format!("{TWIN_ANSWERS}200/?$rid={}", rid.unwrap());
            assert_eq!(answer.topic(), expected, "{name}");
            let twin = answer.json();
            for section in ["desired", "reported"] {
                assert!(twin[section]["$version"].is_u64(), "{name}: W14: {twin}");
            }
        } else if topic.starts_with("$iothub/twin/PATCH/properties/reported/") {
            let answer = client.expect().await;
            let expected = format!("{TWIN_ANSWERS}204/?$rid={}&$version=", rid.unwrap());
            let version = answer.topic().strip_prefix(&expected);
            assert!(version.unwrap().parse::<u64>().unwrap() > 1, "{name}");
            assert_eq!(answer.payload(), b"", "{name}");
        } else {
            let own = topic.starts_with("devices/dev1/messages/events/");
            assert!(
                own || topic.starts_with("$iothub/methods/res/"),
                "{name}: {topic}"
            );
        }
    }

    /// Has the emulator do what the recorded server did of its own accord.
    async fn server_said(&mut self, conn: i64, event: &Value) {
        let decoded = &event["decoded"];
        if decoded["type"] == "CONNACK" && decoded["rc"] != 0 {
            // The client took this for a refusal and hung up.
            self.open.remove(&conn);
            return;
        }
        let topic = decoded["topic"].as_str().unwrap_or_default().to_owned();
        if topic.starts_with("$iothub/methods/POST/") {
            self.call_method(conn).await;
        } else if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
            self.change_desired(conn).await;
        } else if topic.starts_with("devices/dev1/messages/devicebound/") {
            self.send_message(conn, &topic).await;
        }
    }

    /// Sends the device the message that every recorded hub sent.
    async fn send_message(&mut self, conn: i64, recorded: &str) {
        let to = "/devices/dev1/messages/devicebound";
        let system = [("message-id", "m-1"), ("to", to), ("correlation-id", "c-1")];
        let properties = Properties::new(system, [("prop 1", "a&b")]);
        let message = CloudMessage::new(properties, b"hello c2d", Ack::Full, None).unwrap();
        let id = IdentityId::parse(DEVICE).unwrap();
        self.world.lab.emulator.send(HUB, &id, message).unwrap();
        let arrived = self.open.get_mut(&conn).unwrap().expect().await;
        assert_eq!(arrived.topic(), recorded, "{}", self.name);
        assert_eq!(arrived.payload(), b"hello c2d");
        self.message = arrived.packet_id();
        assert_eq!(arrived.first & 0xF7, 0x32, "{}: QoS 1", self.name);
    }

    /// Calls the device and leaves the request to be answered by the recording; what the caller
    /// hears is checked in [`Self::finish_call`].
    async fn call_method(&mut self, conn: i64) {
        let client = self.open.get_mut(&conn).unwrap();
        let body = json!({ "methodName": "reboot", "payload": { "delay": 5 } });
        let call = self
            .world
            .lab
            .hub("POST", "/twins/dev1/methods", None, Some(body));
        let device = async {
            let request = client.expect().await;
            let rid = request
                .topic()
                .strip_prefix("$iothub/methods/POST/reboot/?")
                .unwrap();
            assert_eq!(request.first, 0x30, "R-G24: requests are sent at QoS 0");
            assert_eq!(request.json(), json!({ "delay": 5 }));
            // As the recorded clients do, at QoS 0; the recorded answer comes as a second one.
            let topic = format!("$iothub/methods/res/200/?{rid}");
            client.send(publish(&topic, None, r#"{"ok":true}"#)).await;
            rid.to_owned()
        };
        let (answer, rid) = tokio::join!(call, device);
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.name);
        assert_eq!(
            answer.body,
            json!({ "status": 200, "payload": { "ok": true } })
        );
        self.call = Some(rid);
    }

    /// Changes a desired property; a client that asked for it in any of its sessions is told.
    async fn change_desired(&mut self, conn: i64) {
        let body = json!({ "properties": { "desired": { "fan": 2 } } });
        let answer = self
            .world
            .lab
            .hub("PATCH", "/twins/dev1", None, Some(body))
            .await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.name);
        let version = answer.body["properties"]["desired"]["$version"]
            .as_u64()
            .unwrap();
        let client = self.open.get_mut(&conn).unwrap();
        let told = client.expect().await;
        let expected = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        assert_eq!(told.topic(), expected, "{}", self.name);
        assert_eq!(told.json(), json!({ "fan": 2, "$version": version }), "W14");
    }

    /// The client's bytes with a token, an operation and a call that exist here.
    fn rewritten(&self, bytes: &[u8]) -> Vec<u8> {
        match bytes[0] >> 4 {
            1 => self.resigned(bytes),
            3 => {
                let packet = Packet {
                    first: bytes[0],
                    body: body_of(bytes).to_vec(),
                };
                let mut topic = packet.topic().to_owned();
                if let Some(operation) = &self.operation {
                    topic = topic.replace(RECORDED_OPERATION, operation);
                }
                if let Some(call) = &self.call {
                    topic = topic.replace(RECORDED_CALL, call);
                }
                publish(&topic, packet.packet_id(), packet.payload())
            }
            4 => match self.message {
                Some(id) => [&[0x40, 2][..], &id.to_be_bytes()].concat(),
                // For an answer of DPS.
                None => bytes.to_vec(),
            },
            _ => bytes.to_vec(),
        }
    }

    /// A CONNECT whose token is signed anew, over the resource as the client spelled it (W2).
    fn resigned(&self, bytes: &[u8]) -> Vec<u8> {
        let body = body_of(bytes);
        let mut rest = &body[10..];
        let mut next = || {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let (content, after) = rest[2..].split_at(length);
            rest = after;
            String::from_utf8(content.to_vec()).unwrap()
        };
        let mut connect = Connect::new(&next(), next());
        connect.clean = body[7] & 0x02 != 0;
        connect.keep_alive = u16::from_be_bytes([body[8], body[9]]);
        assert_eq!(
            body[7] & 0x3C,
            0,
            "none of the recorded clients leaves a will"
        );
        if body[7] & 0x40 != 0 {
            let token = next();
            let part = |name: &str| {
                let mut parts = token
                    .split([' ', '&'])
                    .filter_map(|part| part.split_once('='));
                parts
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value)
            };
            let expiry = UnixTime(self.world.lab.now() + 3600);
            let signed = sas::sign(part("sr").unwrap(), expiry, &self.world.key, part("skn"));
            connect.password = Some(signed);
        } else {
            assert_eq!(
                connect.bytes(),
                bytes,
                "what is not rewritten goes out as it was"
            );
        }
        connect.bytes()
    }
}

impl Packet {
    fn is_dps_connect(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains("/registrations/")
    }
}

/// Replays one recording at its pace; gives how many packets of the client were answered.
async fn replay(recording: &Recording) -> (usize, Vec<String>) {
    let world = entitled(recording).await;
    let mut replay = Replay {
        world: &world,
        name: &recording.name,
        open: BTreeMap::new(),
        operation: None,
        call: None,
        message: None,
        kept: Vec::new(),
        answered: 0,
    };
    let mut at = 0.0;
    for event in &recording.events {
        let time = event["t"].as_f64().unwrap();
        sleep(Duration::from_secs_f64((time - at).max(0.0))).await;
        at = time;
        replay.event(event).await;
    }
    let acknowledges =
        |event: &Value| event["dir"] == "c>s" && event["decoded"]["type"] == "PUBACK";
    if !recording.is_of_dps() && recording.events.iter().any(acknowledges) {
        let shown = world.lab.hub("GET", "/devices/dev1", None, None).await;
        let waiting = &shown.body["cloudToDeviceMessageCount"];
        assert_eq!(*waiting, 0, "{}: R-G28", recording.name);
    }
    // Nobody was thrown out: what is still open is open at both ends.
    for client in replay.open.values_mut() {
        client.send([0xC0, 0]).await;
        assert_eq!(client.expect().await.first, 0xD0, "{}", recording.name);
    }
    (replay.answered, replay.kept)
}

/// W2, W6 to W9, W12, W14, W15.
#[tokio::test(start_paused = true)]
async fn recorded_clients_get_all_they_need() {
    let Some(recordings) = recordings() else {
        return;
    };
    let mut packets = 0;
    for recording in &recordings {
        let (answered, _) = Box::pin(replay(recording)).await;
        assert!(answered > 0, "{}: nothing was replayed", recording.name);
        packets += answered;
    }
    eprintln!(
        "replayed {} recordings, {packets} packets of clients",
        recordings.len()
    );
    assert!(
        recordings.len() >= 45,
        "only {} recordings found",
        recordings.len()
    );
    let upgraded = |recording: &&Recording| recording.events.iter().any(is_upgrade);
    let websockets = recordings.iter().filter(upgraded).count();
    assert!(websockets >= 4, "only {websockets} over WebSocket");
}

/// W12: the Python client never subscribes again after a reconnect.
#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_its_session_is_told_what_it_subscribed_to_before() {
    let Some(mut recordings) = recordings() else {
        return;
    };
    recordings.retain(|recording| recording.name == "hub_py_drop_once");
    let mut recording = recordings.remove(0);
    // Up to the answer to its second CONNECT, and no further.
    let second = recording.events.iter().position(|event| {
        event["conn"] == 2 && event["dir"] == "s>c" && event["decoded"]["type"] == "CONNACK"
    });
    recording.events.truncate(second.unwrap() + 1);
    let world = entitled(&recording).await;
    let mut replay = Replay {
        world: &world,
        name: &recording.name,
        open: BTreeMap::new(),
        operation: None,
        call: None,
        message: None,
        kept: Vec::new(),
        answered: 0,
    };
    for event in &recording.events {
        replay.event(event).await;
    }
    assert_eq!(
        replay.open.keys().collect::<Vec<_>>(),
        [&2],
        "one connection, the second"
    );
    assert!(replay.kept.iter().any(|filter| filter.contains("desired")));
    replay.change_desired(2).await;
    let get = publish("$iothub/twin/GET/?$rid=9", None, " ");
    let client = replay.open.get_mut(&2).unwrap();
    client.send(get).await;
    assert_eq!(
        client.expect().await.topic(),
        "$iothub/twin/res/200/?$rid=9"
    );
}
