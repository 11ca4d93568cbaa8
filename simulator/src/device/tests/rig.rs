//! A device, a clock moved by hand, and a peer that says what it is told to.

use std::sync::Arc;
use std::time::Duration;

use linarite_env::{Entropy, UnixMillis};
use rumqttc::mqttbytes::v4::SubscribeReasonCode;

use crate::device::{Account, Device, Link, Output};
use crate::firmware::Firmware;
use crate::observation::{DeviceIndex, Generation, Observation};
use crate::pki::Pki;
use crate::plan::DevicePlan;
use crate::wire::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, hub};

/// Milliseconds between two telemetry messages.
pub(super) const INTERVAL: i64 = 600_000;

/// When the life of generation 1 ends, Unix seconds.
const EXPIRY_OF_FIRST: i64 = 1_000_000;

pub(super) struct Rig {
    pub(super) device: Device,
    pki: Pki,
    now: UnixMillis,
    seen: Vec<String>,
    raw: Vec<Output>,
    /// Number of the latest request to DPS.
    request: String,
}

impl Rig {
    pub(super) fn new(firmware: Firmware) -> Self {
        let plan = DevicePlan {
            index: DeviceIndex(0),
            registration_id: "dev-1".into(),
            firmware: Arc::new(firmware),
            windows: Arc::from([]),
            lag: Duration::ZERO,
            telemetry_every: Duration::from_secs(600),
            faults: None,
            past: None,
        };
        let account = Account {
            dps_host: "dps.net".into(),
            id_scope: "0ne1".into(),
        };
        let mut pki = Pki::new();
        pki.add_root("ca", 0, 10 * EXPIRY_OF_FIRST).unwrap();
        Self {
            device: Device::new(&plan, Arc::new(account), &Entropy::new(1)),
            pki,
            now: UnixMillis(1_000),
            seen: Vec::new(),
            raw: Vec::new(),
            request: String::new(),
        }
    }

    /// A device with credential #1 and an open session, whose message 0 is acknowledged.
    pub(super) fn connected_to_hub(firmware: Firmware) -> Self {
        let mut rig = Self::new(firmware);
        rig.store(1);
        rig.wake();
        rig.register("hub.net");
        rig.connected(Link::HubA);
        rig.connack(Link::HubA, ConnectReturnCode::Success);
        rig.puback(Link::HubA, 0);
        rig.forget();
        rig
    }

    // === What is done to the device ===

    pub(super) fn store(&mut self, generation: u32) {
        let end = EXPIRY_OF_FIRST * i64::from(generation);
        let credential = self
            .pki
            .leaf("ca", "dev-1", Generation(generation), 0, end)
            .unwrap();
        self.device.store_credential(credential, self.now);
        self.collect();
    }

    pub(super) fn wake(&mut self) {
        self.device.wake(self.now);
        self.collect();
    }

    pub(super) fn lose_power(&mut self) {
        self.device.lose_power(self.now);
        self.collect();
    }

    pub(super) fn sleep(&mut self) {
        self.device.sleep(self.now);
        self.collect();
    }

    pub(super) fn pass_expiry_of_first(&mut self) {
        self.now = UnixMillis((EXPIRY_OF_FIRST + 1) * 1_000);
    }

    /// Lets time pass until the device wants to be woken; gives the milliseconds.
    pub(super) fn wait(&mut self) -> i64 {
        let at = self
            .device
            .poll_timeout()
            .expect("the device waits for something");
        let passed = at.since(self.now);
        assert!(passed >= 0, "a timer of the past was left");
        self.now = at;
        self.device.handle_timeout(at);
        self.collect();
        passed
    }

    pub(super) fn connected(&mut self, link: Link) {
        self.device.handle_connected(link, self.now);
        self.collect();
    }

    pub(super) fn closed(&mut self, link: Link) {
        self.device.handle_closed(link, self.now);
        self.collect();
    }

    pub(super) fn connect_failed(&mut self, link: Link) {
        self.device
            .handle_connect_failed(link, "no way".to_owned(), self.now);
        self.collect();
    }

    fn packet(&mut self, link: Link, packet: &Packet) {
        self.device.handle_packet(link, packet, self.now);
        self.collect();
    }

    pub(super) fn connack(&mut self, link: Link, code: ConnectReturnCode) {
        self.packet(link, &Packet::ConnAck(ConnAck::new(code, false)));
    }

    pub(super) fn suback(&mut self, link: Link) {
        let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
        self.packet(link, &Packet::SubAck(SubAck::new(1, codes)));
    }

    pub(super) fn puback(&mut self, link: Link, sequence: u32) {
        self.packet(link, &Packet::PubAck(PubAck::new(hub::packet_id(sequence))));
    }

    pub(super) fn pong(&mut self, link: Link) {
        self.packet(link, &Packet::PingResp);
    }

    pub(super) fn call(&mut self, method: &str) {
        let topic = format!("$iothub/methods/POST/{method}/?$rid=1");
        let link = if self.is_on(Link::HubB) {
            Link::HubB
        } else {
            Link::HubA
        };
        self.packet(
            link,
            &Packet::Publish(Publish::new(topic, QoS::AtMostOnce, *b"{}")),
        );
    }

    fn is_on(&self, link: Link) -> bool {
        self.device
            .hub
            .open
            .as_ref()
            .is_some_and(|open| open.link == link)
    }

    /// The session drops, and the next attempt is answered with `code`.
    pub(super) fn reconnect(&mut self, code: ConnectReturnCode) {
        self.closed(Link::HubA);
        self.wait();
        self.connected(Link::HubA);
        self.forget();
        self.connack(Link::HubA, code);
    }

    /// From the dialled connection to the register request.
    pub(super) fn enter_dps(&mut self) {
        self.connected(Link::Dps);
        self.connack(Link::Dps, ConnectReturnCode::Success);
        self.suback(Link::Dps);
    }

    /// A whole registration; what was done before its end is forgotten.
    pub(super) fn register(&mut self, hub: &str) {
        self.enter_dps();
        self.forget();
        self.assigned(hub);
        assert_eq!(self.seen.remove(0), "Dps PUBACK");
    }

    pub(super) fn assigning(&mut self, retry_after: Option<u32>) {
        self.dps_answer(
            202,
            retry_after,
            r#"{"operationId":"op.1","status":"assigning"}"#,
        );
    }

    pub(super) fn assigned(&mut self, hub: &str) {
        let body = format!(
            r#"{{"status":"assigned","registrationState":{{"assignedHub":"{hub}","deviceId":"dev-1"}}}}"#
        );
        self.dps_answer(200, None, &body);
    }

    pub(super) fn refused(&mut self, status: u16, retry_after: Option<u32>) {
        self.dps_answer(
            status,
            retry_after,
            r#"{"errorCode":401002,"message":"no"}"#,
        );
    }

    fn dps_answer(&mut self, status: u16, retry_after: Option<u32>, body: &str) {
        let delay = retry_after
            .map(|it| format!("&retry-after={it}"))
            .unwrap_or_default();
        let topic = format!(
            "$dps/registrations/res/{status}/?$rid={}{delay}",
            self.request
        );
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, body.as_bytes().to_vec());
        publish.pkid = 9;
        self.packet(Link::Dps, &Packet::Publish(publish));
    }

    // === What the device does ===

    fn collect(&mut self) {
        while let Some(output) = self.device.poll_output() {
            let line = match &output {
                Output::Connect {
                    link,
                    host,
                    credential,
                } => {
                    format!("connect {link:?} {host} {}", credential.generation())
                }
                Output::Send { link, packet } => format!("{link:?} {}", self.name(packet)),
                Output::Close { link } => format!("close {link:?}"),
                Output::Report(observation) => short(observation),
                Output::PowerOff { lasts } => format!("power off for {lasts:?}"),
            };
            self.seen.push(line);
            self.raw.push(output);
        }
    }

    fn name(&mut self, packet: &Packet) -> String {
        match packet {
            Packet::Publish(publish) => self.publish_name(publish),
            Packet::Disconnect => "DISCONNECT".to_owned(),
            Packet::PingReq => "PINGREQ".to_owned(),
            other => {
                let shown = format!("{other:?}");
                shown.split('(').next().unwrap_or_default().to_uppercase()
            }
        }
    }

    fn publish_name(&mut self, publish: &Publish) -> String {
        if let Some(sequence) = hub::telemetry_sequence(publish) {
            let dup = if publish.dup { " DUP" } else { "" };
            return format!("TELEMETRY {sequence}{dup}");
        }
        let topic = publish.topic.as_str();
        if let Some(rest) = topic.strip_prefix("$iothub/methods/res/") {
            return format!("ANSWER {}", rest.split('/').next().unwrap_or_default());
        }
        let query = topic.split("$rid=").nth(1).unwrap_or_default();
        self.request = query.split('&').next().unwrap_or_default().to_owned();
        let kind = if topic.contains("iotdps-register") {
            "REGISTER"
        } else {
            "POLL"
        };
        kind.to_owned()
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.now
    }

    /// The outputs since the last look, as they came.
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.raw)
    }

    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    pub(super) fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// All that was done since the last look.
    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) {
        assert_eq!(self.seen(), lines);
    }

    /// The end of what was done since the last look.
    #[track_caller]
    pub(super) fn expect_end(&mut self, lines: &[&str]) {
        let seen = self.seen();
        let end = &seen[seen.len().saturating_sub(lines.len())..];
        assert_eq!(end, lines, "of {seen:?}");
    }
}

fn short(observation: &Observation) -> String {
    match observation {
        Observation::CredentialStored { generation, .. } => {
            format!("CredentialStored({generation})")
        }
        Observation::CredentialDropped { generation } => format!("CredentialDropped({generation})"),
        Observation::RegistrationStarted { generation } => {
            format!("RegistrationStarted({generation})")
        }
        Observation::RegistrationSucceeded { generation, .. } => {
            format!("RegistrationSucceeded({generation})")
        }
        Observation::RegistrationFailed {
            generation,
            status,
            code,
            ..
        } => {
            format!("RegistrationFailed({generation} {status} {code})")
        }
        Observation::SessionOpened { generation } => format!("SessionOpened({generation})"),
        Observation::ConnectRefused {
            generation,
            connack,
            ..
        } => {
            format!("ConnectRefused({generation} {connack})")
        }
        Observation::SessionClosed { planned } => format!("SessionClosed(planned: {planned})"),
        Observation::MessageOffered { sequence } => format!("MessageOffered({sequence})"),
        Observation::MessageAcknowledged { sequence } => format!("MessageAcknowledged({sequence})"),
        Observation::MethodAnswered { method, status } => {
            format!("MethodAnswered({method} {status})")
        }
        Observation::Awoke | Observation::FellAsleep | Observation::PowerLost => {
            format!("{observation:?}")
        }
    }
}
