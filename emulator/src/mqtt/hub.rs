//! A device's or module's session at a hub (behaviour G.2 to G.5, wire 4).
//!
//! Topics become calls of the hub's services. The session holds no rules: who may come in is
//! decided by `core::hub::admission`, what a twin accepts by `core::hub::twin`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linarite_core::hub::c2d::queue::PacketSettlement;
use linarite_core::hub::message::{Origin, Properties};
use linarite_core::hub::quota::Way;
use linarite_core::hub::tier::Metered;
use linarite_core::id::IdentityId;
use linarite_env::event::{ConnectionId, Reason};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{Connect, ConnectAckReason, Packet};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Ending, Refused};
use super::dps::{refused, session_silence, shown};
use super::outbox::Outbox;
use super::topic::{
    HubFilter, HubPublish, NotText, TOPIC_BYTES_MAX, desired_change, device_bound, method_request,
    property_bag, spells_encoded, telemetry_bag, twin_response,
};
use crate::error::ServiceError;
use crate::limits::{DELIVERY_BYTES, FILTERS_PER_SUBSCRIBE_MAX, MAILBOX_MAX, SUBSCRIPTIONS_MAX};
use crate::service::Services;
use crate::service::hub::Hub;
use crate::service::mailbox::{Command, Mailbox, MethodAnswer};
use crate::service::session::{DeliveryForm, Newcomer, Subscriptions};
use crate::tls::peer::PeerIdentity;
use crate::wire::hub as body;

/// Longer than any emulator runs.
const FOREVER: Duration = Duration::from_secs(1_000_000_000);

/// A session at a hub.
pub(crate) struct HubSession {
    services: Arc<Services>,
    hub: Arc<Hub>,
    id: IdentityId,
    connection: ConnectionId,
    mailbox: Arc<Mailbox>,
    keep_alive: Duration,
    subscriptions: Subscriptions,
    origin: Arc<Origin>,
    will: Option<Box<Will>>,
    calls: Vec<(u64, oneshot::Sender<MethodAnswer>)>,
    last_call: u64,
    /// When it ends whatever the device does.
    end: Option<Box<End>>,
    /// Whether nothing but that end is left to it.
    cut_off: bool,
    /// What waits for its turn; nothing more is taken meanwhile (R-H4).
    held: Option<Box<Held>>,
}

/// The end a session is to come to.
struct End {
    at: Instant,
    reason: Reason,
}

/// A message that waits for its turn.
struct Held {
    until: Instant,
    publish: Publish,
}

/// What is sent for a device whose session ends without a goodbye (R-G19).
struct Will {
    properties: Properties,
    payload: Bytes,
}

impl HubSession {
    /// Judges a CONNECT; opens a session and writes its CONNACK.
    pub(super) fn open(
        connect: &Connect,
        hub: &str,
        id: IdentityId,
        peer: &PeerIdentity,
        services: &Arc<Services>,
        connection: ConnectionId,
        out: &mut Outbox,
    ) -> Result<Self, Refused> {
        let Some(hub) = services.hub(hub) else {
            let text = format!("no hub is named {hub}");
            return Err(refused(
                ConnectAckReason::NotAuthorized,
                "R-G12",
                404_000,
                text,
            ));
        };
        if *connect.client_id != *id.as_str() {
            let text = format!(
                "client id {} differs from {id} in the user name",
                connect.client_id
            );
            return Err(refused(
                ConnectAckReason::IdentifierRejected,
                "R-G12",
                400_004,
                text,
            ));
        }
        // A hub that is down counts nothing.
        hub.is_up().map_err(|error| Refused {
            connack: ConnectAckReason::ServiceUnavailable,
            reason: error.reason(),
        })?;
        // MQTT has no word for "later" but this one (R-H5).
        hub.count(Metered::Connections).map_err(|error| {
            let text = error.reason().text;
            refused(ConnectAckReason::ServiceUnavailable, "R-H5", 429_001, text)
        })?;
        let will = read_will(connect, &id)
            .map_err(|text| refused(ConnectAckReason::NotAuthorized, "R-G19", 400_000, text))?;
        let mailbox = Arc::new(Mailbox::default());
        let newcomer = Newcomer {
            id: &id,
            shown: shown(connect, peer.clone())?,
            connection,
            mailbox: Arc::clone(&mailbox),
            clean: connect.clean_session,
        };
        let opened = hub.open_session(newcomer).map_err(|error| {
            let reason = error.reason();
            refused(
                ConnectAckReason::NotAuthorized,
                reason.rule,
                reason.code,
                reason.text,
            )
        })?;
        out.connack(ConnectAckReason::ConnectionAccepted, opened.session_present);
        Ok(Self {
            services: Arc::clone(services),
            hub,
            id,
            connection,
            mailbox,
            keep_alive: session_silence(connect.keep_alive),
            subscriptions: opened.subscriptions,
            origin: opened.origin,
            will,
            calls: Vec::new(),
            last_call: 0,
            end: opened
                .ends
                .map(|end| Box::new(End::after(end.after, end.reason))),
            cut_off: false,
            held: None,
        })
    }

    pub(super) fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// When the session ends whatever the device does.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.end.as_ref().map(|end| end.at)
    }

    /// Ends the session if its time has come.
    pub(super) fn check_time(&self) -> Result<(), Ending> {
        match &self.end {
            Some(end) if end.at <= Instant::now() => Err(Ending::Because(end.reason.clone())),
            _ => Ok(()),
        }
    }

    /// Until when nothing more is taken of the device: a message waits for its turn (R-H4).
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Takes the message that waits, if its turn has come.
    pub(super) fn release(&mut self, out: &mut Outbox) -> Result<(), Ending> {
        match self.held.take_if(|held| held.until <= Instant::now()) {
            Some(held) => {
                self.check_say()?;
                self.take_message(&held.publish, out)
            }
            None => Ok(()),
        }
    }

    /// R-G4: an identity that is disabled or gone has nothing to say any more.
    fn check_say(&self) -> Result<(), Ending> {
        match &self.end {
            Some(end) if self.cut_off => Err(Ending::Because(end.reason.clone())),
            _ => Ok(()),
        }
    }

    /// Takes one packet of the device.
    pub(super) fn handle(&mut self, packet: Packet, out: &mut Outbox) -> Result<(), Ending> {
        self.check_time()?;
        if !matches!(packet, Packet::PingRequest | Packet::PublishAck { .. }) {
            self.check_say()?;
        }
        match packet {
            Packet::Publish(publish) => self.published(&publish, out),
            Packet::Subscribe {
                packet_id,
                topic_filters,
            } => {
                let filters: Vec<_> = topic_filters
                    .iter()
                    .map(|(filter, qos)| (&**filter, *qos))
                    .collect();
                let granted = self.subscribe(&filters)?;
                out.suback(packet_id, &granted);
                Ok(())
            }
            Packet::Unsubscribe {
                packet_id,
                topic_filters,
            } => {
                for filter in &topic_filters {
                    if let Some(filter) = HubFilter::parse(filter, &self.id) {
                        self.subscriptions.remove(filter);
                    }
                }
                self.remember_subscriptions();
                out.unsuback(packet_id);
                Ok(())
            }
            Packet::PingRequest => {
                out.pong();
                Ok(())
            }
            Packet::PublishAck { packet_id } => {
                // R-G4: what was cut off has no say, so what it holds goes back into the queue.
                if !self.cut_off {
                    let settlement = PacketSettlement::Acknowledged;
                    self.hub
                        .settle_packet(&self.id, self.connection, packet_id, settlement);
                }
                Ok(())
            }
            _ => Err(Ending::because("R-G18", 400_000, "a packet out of place")),
        }
    }

    /// Carries out what the hub wants.
    pub(super) fn obey(&mut self, command: Command, out: &mut Outbox) -> Result<(), Ending> {
        match command {
            Command::Close(reason) => Err(Ending::Because(reason)),
            Command::CloseLater { after, reason } => {
                let end = End::after(after, reason);
                if self.ends_at().is_none_or(|at| end.at < at) {
                    self.end = Some(Box::new(end));
                }
                self.cut_off = true;
                Ok(())
            }
            Command::Deliver => self.deliver(out),
            Command::DesiredChanged { version, patch } => {
                if self.subscriptions.has(HubFilter::DesiredChanges) {
                    out.publish(desired_change(version), QoS::AtMostOnce, patch)?;
                }
                Ok(())
            }
            Command::Method {
                name,
                payload,
                answer,
            } => {
                self.calls.retain(|(_, waiting)| !waiting.is_closed());
                // Without a subscription, or with too many calls open, the sender is dropped,
                // which the caller sees as no answer (R-G25).
                if self.subscriptions.has(HubFilter::Methods) && self.calls.len() < MAILBOX_MAX {
                    self.last_call += 1;
                    self.calls.push((self.last_call, answer));
                    let topic = method_request(&name, self.last_call);
                    out.publish(topic, QoS::AtMostOnce, payload)?;
                }
                Ok(())
            }
        }
    }

    /// Ends the session at the hub; an ungraceful end sends the will (R-G19).
    pub(super) fn close(self, ending: &Ending) {
        // R-G4: what was cut off has no say any more, nor its will.
        let will = self.will.filter(|_| !self.cut_off);
        if let (Some(will), Ending::Because(_)) = (will, ending) {
            let Will {
                properties,
                payload,
            } = *will;
            // If the device is gone, so is its will.
            let _ = self
                .hub
                .accept_telemetry(&self.origin, properties, &payload);
        }
        self.hub.close_session(&self.id, self.connection, ending);
    }

    /// Sends messages that wait for the device; leaves the rest for the next turn once there is
    /// much to write.
    fn deliver(&self, out: &mut Outbox) -> Result<(), Ending> {
        let DeliveryForm {
            acknowledged,
            encoded,
        } = self.subscriptions.form();
        while self.subscriptions.has(HubFilter::CloudToDevice) {
            if out.len() >= DELIVERY_BYTES {
                // A nudge always fits into a mailbox.
                let _ = self.mailbox.put(Command::Deliver);
                break;
            }
            let next = self
                .hub
                .next_message(&self.id, self.connection, acknowledged);
            let Some(sent) = next else { break };
            let topic = device_bound(&self.id, &sent.delivery, encoded);
            let payload = Bytes::copy_from_slice(sent.delivery.message.body());
            match sent.packet {
                Some(packet) if topic.len() > TOPIC_BYTES_MAX => {
                    let settlement = PacketSettlement::Impossible;
                    self.hub
                        .settle_packet(&self.id, self.connection, packet.id, settlement);
                }
                Some(packet) => out.publish_numbered(topic, packet, payload)?,
                None if topic.len() > TOPIC_BYTES_MAX => {}
                None => out.publish(topic, QoS::AtMostOnce, payload)?,
            }
        }
        Ok(())
    }

    fn published(&mut self, publish: &Publish, out: &mut Outbox) -> Result<(), Ending> {
        let Some(topic) = HubPublish::parse(&publish.topic, &self.id) else {
            let text = format!("topic {} is not one this device may use", publish.topic);
            return Err(Ending::because("R-G17", 400_000, text));
        };
        match topic {
            HubPublish::Telemetry { .. } => {
                let wait = self.hub.wait_for(Metered::DeviceToCloud);
                let wait = wait.map_err(|error| Ending::Because(error.reason()))?;
                if wait.is_zero() {
                    return self.take_message(publish, out);
                }
                let (until, publish) = (Instant::now() + wait, publish.clone());
                self.held = Some(Box::new(Held { until, publish }));
                Ok(())
            }
            HubPublish::MethodResponse { status, rid } => {
                acknowledge(publish, out);
                self.answered(rid, status, &publish.payload);
                Ok(())
            }
            HubPublish::TwinGet { rid } => {
                acknowledge(publish, out);
                let read = self.taking(Metered::TwinReads);
                let read = read.and_then(|()| self.hub.twin_for_device(&self.id));
                if let Ok(document) = &read {
                    self.hub
                        .charge(Metered::TwinReads, Way::Given, document.len());
                }
                self.twin_answer(rid, read.map(|document| (200, None, document)), out)
            }
            HubPublish::TwinPatch { rid } => {
                acknowledge(publish, out);
                let patched = self
                    .taking(Metered::TwinUpdates)
                    .and_then(|()| body::json(&publish.payload))
                    .and_then(|patch| self.hub.patch_reported(&self.id, &patch));
                if patched.is_ok() {
                    let bytes = publish.payload.len();
                    self.hub.charge(Metered::TwinUpdates, Way::Sent, bytes);
                }
                self.twin_answer(
                    rid,
                    patched.map(|version| (204, Some(version), Bytes::new())),
                    out,
                )
            }
        }
    }

    /// Whether the hub takes one of that kind now: those that are answered do not wait.
    fn taking(&self, metered: Metered) -> Result<(), ServiceError> {
        self.hub.check_quota()?;
        self.hub.count(metered)
    }

    /// Keeps a message whose turn it is. One that the hub may not take any more ends the session:
    /// MQTT has no other word for it (R-H4, R-H7).
    fn take_message(&self, publish: &Publish, out: &mut Outbox) -> Result<(), Ending> {
        let Some(HubPublish::Telemetry { bag }) = HubPublish::parse(&publish.topic, &self.id)
        else {
            return Ok(());
        };
        let properties = read_properties(bag, publish.retain, None)
            .map_err(|error| Ending::because("R-G17", 400_004, error.to_string()))?;
        self.hub
            .accept_telemetry(&self.origin, properties, &publish.payload)
            .map_err(|error| Ending::Because(error.reason()))?;
        acknowledge(publish, out);
        Ok(())
    }

    fn twin_answer(
        &self,
        rid: &str,
        answer: Result<(u16, Option<u64>, Bytes), ServiceError>,
        out: &mut Outbox,
    ) -> Result<(), Ending> {
        if !self.subscriptions.has(HubFilter::TwinResponses) {
            return Ok(());
        }
        let (status, version, payload) = answer.unwrap_or_else(|error| {
            let tracking = self.services.names.tracking_id();
            (error.status(), None, body::twin_error(&error, &tracking))
        });
        out.publish(
            twin_response(status, rid, version),
            QoS::AtMostOnce,
            payload,
        )?;
        Ok(())
    }

    fn answered(&mut self, rid: &str, status: i64, payload: &Bytes) {
        let Ok(call) = u64::from_str_radix(rid, 16) else {
            return;
        };
        if let Some(index) = self.calls.iter().position(|(waiting, _)| *waiting == call) {
            let (_, answer) = self.calls.swap_remove(index);
            // A caller that gave up is no concern of the device.
            let _ = answer.send(MethodAnswer {
                status,
                payload: payload.clone(),
            });
        }
    }

    fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<Vec<QoS>, Ending> {
        if filters.len() > FILTERS_PER_SUBSCRIBE_MAX {
            return Err(Ending::because(
                "R-G15",
                400_000,
                "too many filters in one SUBSCRIBE",
            ));
        }
        let mut granted = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            let text = *filter;
            let Some(filter) = HubFilter::parse(filter, &self.id) else {
                let text = format!("filter {filter} is not one this device may use");
                return Err(Ending::because("R-G17", 400_000, text));
            };
            let qos = qos.less_value(QoS::AtLeastOnce);
            self.subscriptions.add(filter);
            if filter == HubFilter::CloudToDevice {
                self.subscriptions.set_form(DeliveryForm {
                    acknowledged: qos == QoS::AtLeastOnce,
                    encoded: spells_encoded(text, &self.id),
                });
            }
            granted.push(qos);
        }
        debug_assert!(self.subscriptions.len() <= SUBSCRIPTIONS_MAX);
        self.remember_subscriptions();
        Ok(granted)
    }

    fn remember_subscriptions(&self) {
        self.hub
            .remember_subscriptions(&self.id, self.connection, self.subscriptions);
    }
}

/// The properties of a message; the retain flag becomes one of them (R-G16).
fn read_properties(
    bag: &str,
    retain: bool,
    further: Option<(&'static str, &'static str)>,
) -> Result<Properties, NotText> {
    let mut pairs = property_bag(bag)?;
    let retained = retain.then_some(("mqtt-retain", "true"));
    let own = retained.into_iter().chain(further);
    pairs.extend(own.map(|(name, value)| (name.into(), value.into())));
    Ok(Properties::from_bag(&pairs))
}

/// The will of a CONNECT, which may only be telemetry of its own device (R-G19).
fn read_will(connect: &Connect, id: &IdentityId) -> Result<Option<Box<Will>>, String> {
    let Some(will) = &connect.last_will else {
        return Ok(None);
    };
    let bag = telemetry_bag(&will.topic, id)
        .ok_or_else(|| format!("a will may not go to topic {}", will.topic))?;
    let mark = ("iothub-MessageType", "Will");
    let properties = read_properties(bag, will.retain, Some(mark))
        .map_err(|error| format!("the will: {error}"))?;
    Ok(Some(Box::new(Will {
        properties,
        payload: will.message.clone(),
    })))
}

impl End {
    fn after(after: Duration, reason: Reason) -> Self {
        let now = Instant::now();
        // A moment too far ahead to name never comes.
        let at = now.checked_add(after).unwrap_or(now + FOREVER);
        Self { at, reason }
    }
}

fn acknowledge(publish: &Publish, out: &mut Outbox) {
    if let Some(packet_id) = publish.packet_id {
        out.puback(packet_id);
    }
}
