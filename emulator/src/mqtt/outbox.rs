//! Packets on their way to a device, as bytes.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use linarite_core::hub::c2d::queue::Packet as Numbered;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{ConnectAck, ConnectAckReason, Packet, SubscribeReturnCode};

use super::codec::{Codec, Malformed};

/// Collects what one step of a session has to say.
#[derive(Debug)]
pub(crate) struct Outbox {
    codec: Codec,
    bytes: BytesMut,
    last_packet_id: u16,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            codec: Codec::new(0),
            bytes: BytesMut::new(),
            last_packet_id: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is to be written; the outbox is empty afterwards and keeps no buffer.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }

    pub(crate) fn connack(&mut self, reason: ConnectAckReason, session_present: bool) {
        self.push(Packet::ConnectAck(ConnectAck {
            return_code: reason,
            session_present,
        }));
    }

    pub(crate) fn puback(&mut self, packet_id: NonZeroU16) {
        self.push(Packet::PublishAck { packet_id });
    }

    pub(crate) fn suback(&mut self, packet_id: NonZeroU16, granted: &[QoS]) {
        self.suback_each(packet_id, granted.iter().copied().map(Some));
    }

    /// The same, where `None` is a filter that was not granted.
    pub(crate) fn suback_each(
        &mut self,
        packet_id: NonZeroU16,
        granted: impl Iterator<Item = Option<QoS>>,
    ) {
        let code = |granted: Option<QoS>| {
            granted.map_or(SubscribeReturnCode::Failure, SubscribeReturnCode::Success)
        };
        let status = granted.map(code).collect();
        self.push(Packet::SubscribeAck { packet_id, status });
    }

    pub(crate) fn unsuback(&mut self, packet_id: NonZeroU16) {
        self.push(Packet::UnsubscribeAck { packet_id });
    }

    pub(crate) fn pong(&mut self) {
        self.push(Packet::PingResponse);
    }

    /// Publishes at `qos`, which is 0 or 1.
    ///
    /// # Errors
    /// If the topic is longer than MQTT can say.
    pub(crate) fn publish(
        &mut self,
        topic: String,
        qos: QoS,
        payload: Bytes,
    ) -> Result<(), Malformed> {
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.next_packet_id());
        self.push_publish(topic, packet_id, false, payload)
    }

    /// The same with a packet id of [`Self::next_packet_id`], or at QoS 0 without one.
    pub(crate) fn publish_as(
        &mut self,
        topic: String,
        packet_id: Option<NonZeroU16>,
        payload: Bytes,
    ) -> Result<(), Malformed> {
        self.push_publish(topic, packet_id, false, payload)
    }

    /// Publishes at QoS 1 in a packet that somebody else has numbered.
    ///
    /// # Errors
    /// If the topic is longer than MQTT can say.
    pub(crate) fn publish_numbered(
        &mut self,
        topic: String,
        packet: Numbered,
        payload: Bytes,
    ) -> Result<(), Malformed> {
        self.push_publish(topic, Some(packet.id), packet.again, payload)
    }

    fn push_publish(
        &mut self,
        topic: String,
        packet_id: Option<NonZeroU16>,
        dup: bool,
        payload: Bytes,
    ) -> Result<(), Malformed> {
        let qos = match packet_id {
            None => QoS::AtMostOnce,
            Some(_) => QoS::AtLeastOnce,
        };
        let publish = Publish {
            dup,
            retain: false,
            qos,
            topic: topic.into(),
            packet_id,
            payload,
            properties: None,
        };
        self.codec
            .encode(Packet::Publish(Box::new(publish)), &mut self.bytes)
    }

    /// Another packet id than the last.
    pub(crate) fn next_packet_id(&mut self) -> NonZeroU16 {
        self.last_packet_id = self.last_packet_id.wrapping_add(1);
        NonZeroU16::new(self.last_packet_id).unwrap_or_else(|| {
            self.last_packet_id = 1;
            NonZeroU16::MIN
        })
    }

    /// For packets without text, which can always be expressed.
    fn push(&mut self, packet: Packet) {
        let expressed = self.codec.encode(packet, &mut self.bytes);
        debug_assert_eq!(expressed, Ok(()));
    }
}
