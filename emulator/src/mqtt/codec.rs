//! MQTT 3.1.1 packets from bytes, strictly.
//!
//! The packets themselves are read and written by `rmqtt-codec`. This file frames them, holds
//! them to a bound before any memory is spent on them, and refuses what the codec lets pass:
//! reserved bits, bodies where none may be, bytes left over, and packets no client may send.

use bytes::{Buf, BytesMut};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3::{Codec as Inner, Packet};
use tokio_util::codec::{Decoder, Encoder};

/// What was wrong with the bytes. Every case ends the connection (MQTT 3.1.1, 4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length longer than four bytes, or longer than allowed here.
    #[error("the packet is longer than {max} bytes")]
    TooLong { max: usize },
    /// A type that only servers send, or that does not exist.
    #[error("packet type {kind} is not one a client may send")]
    UnexpectedType { kind: u8 },
    /// Flags other than those the type requires.
    #[error("packet type {kind} carries the reserved flags {flags:#06b}")]
    ReservedFlags { kind: u8, flags: u8 },
    /// QoS 2, which IoT Hub does not speak (R-G16).
    #[error("QoS 2 is not supported")]
    QosTwo,
    /// A CONNECT with a protocol name or level other than MQTT 3.1.1's.
    #[error("the protocol is not MQTT 3.1.1")]
    Protocol,
    /// Anything else the protocol forbids.
    #[error("{0}")]
    Body(&'static str),
}

/// Reads and writes packets of one connection.
#[derive(Debug)]
pub struct Codec {
    inner: Inner,
    packet_bytes_max: usize,
}

/// The fixed header of a packet.
struct Frame {
    kind: u8,
    header_bytes: usize,
    body_bytes: usize,
}

impl Codec {
    /// A codec that refuses packets whose body is longer than `packet_bytes_max`.
    #[must_use]
    pub fn new(packet_bytes_max: usize) -> Self {
        Self {
            inner: Inner::new(0),
            packet_bytes_max,
        }
    }

    /// Changes the bound, once the peer has earned a larger one.
    pub fn allow(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
    }

    /// Takes one packet off the front of `bytes`; `None` if it is not complete yet.
    ///
    /// # Errors
    /// [`Malformed`], after which the stream cannot be trusted any more.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
        let Some(frame) = self.frame(bytes)? else {
            return Ok(None);
        };
        if bytes.len() < frame.header_bytes + frame.body_bytes {
            return Ok(None);
        }
        let body = &bytes[frame.header_bytes..frame.header_bytes + frame.body_bytes];
        check_body(&frame, body)?;
        let before = bytes.len();
        let (packet, _) = self
            .inner
            .decode(bytes)
            .map_err(|_| Malformed::Body("the packet's fields do not fit its length or type"))?
            .ok_or(Malformed::Body("the packet ends early"))?;
        debug_assert_eq!(before - bytes.len(), frame.header_bytes + frame.body_bytes);
        check_packet(&packet, frame.body_bytes)?;
        Ok(Some(packet))
    }

    /// Appends `packet` to `out`.
    ///
    /// # Errors
    /// If the packet cannot be expressed, such as a topic longer than 65,535 bytes.
    pub fn encode(&mut self, packet: Packet, out: &mut BytesMut) -> Result<(), Malformed> {
        self.inner
            .encode(packet, out)
            .map_err(|_| Malformed::Body("the packet cannot be expressed in MQTT"))
    }

    /// Reads the fixed header; refuses types and lengths before their body is awaited.
    fn frame(&self, bytes: &[u8]) -> Result<Option<Frame>, Malformed> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (kind, flags) = (first >> 4, first & 0x0F);
        check_type(kind, flags)?;
        let mut body_bytes = 0usize;
        for (index, &byte) in bytes[1..].iter().take(4).enumerate() {
            body_bytes |= usize::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if body_bytes > self.packet_bytes_max {
                    return Err(Malformed::TooLong {
                        max: self.packet_bytes_max,
                    });
                }
                return Ok(Some(Frame {
                    kind,
                    header_bytes: index + 2,
                    body_bytes,
                }));
            }
        }
        if bytes.len() > 4 {
            Err(Malformed::Body("the length has five bytes"))
        } else {
            Ok(None)
        }
    }
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

fn check_type(kind: u8, flags: u8) -> Result<(), Malformed> {
    let required = match kind {
        CONNECT | PUBACK | PINGREQ | DISCONNECT => 0,
        SUBSCRIBE | UNSUBSCRIBE => 0b0010,
        PUBLISH => {
            return match (flags >> 1) & 0b11 {
                0 if flags & 0b1000 != 0 => Err(Malformed::Body("DUP is set on a QoS 0 message")),
                0 | 1 => Ok(()),
                2 => Err(Malformed::QosTwo),
                _ => Err(Malformed::ReservedFlags { kind, flags }),
            };
        }
        5..=7 => return Err(Malformed::QosTwo),
        _ => return Err(Malformed::UnexpectedType { kind }),
    };
    if flags == required {
        Ok(())
    } else {
        Err(Malformed::ReservedFlags { kind, flags })
    }
}

/// What must be seen in the raw bytes, because the codec masks it away.
fn check_body(frame: &Frame, body: &[u8]) -> Result<(), Malformed> {
    match frame.kind {
        CONNECT if !body.starts_with(b"\x00\x04MQTT\x04") => Err(Malformed::Protocol),
        CONNECT => check_connect_flags(body.get(7).copied()),
        PINGREQ | DISCONNECT if !body.is_empty() => {
            Err(Malformed::Body("the packet has a body where none may be"))
        }
        SUBSCRIBE => check_subscription_options(body),
        _ => Ok(()),
    }
}

fn check_connect_flags(flags: Option<u8>) -> Result<(), Malformed> {
    const USERNAME: u8 = 0x80;
    const PASSWORD: u8 = 0x40;
    const WILL_QOS: u8 = 0x18;
    let flags = flags.ok_or(Malformed::Body("CONNECT ends before its flags"))?;
    if flags & PASSWORD != 0 && flags & USERNAME == 0 {
        return Err(Malformed::Body("CONNECT has a password but no user name"));
    }
    match (flags & WILL_QOS) >> 3 {
        0 | 1 => Ok(()),
        2 => Err(Malformed::QosTwo),
        _ => Err(Malformed::Body("the will's QoS is 3")),
    }
}

/// The upper six bits of a requested QoS are reserved, and 3 is no QoS.
fn check_subscription_options(body: &[u8]) -> Result<(), Malformed> {
    let mut rest = body
        .get(2..)
        .ok_or(Malformed::Body("SUBSCRIBE has no packet id"))?;
    while !rest.is_empty() {
        if rest.len() < 2 {
            return Err(Malformed::Body("a topic filter ends early"));
        }
        let filter_bytes = usize::from(rest.get_u16());
        if rest.len() <= filter_bytes {
            return Err(Malformed::Body("a topic filter ends early"));
        }
        if rest[filter_bytes] > 2 {
            return Err(Malformed::Body("a requested QoS has reserved bits set"));
        }
        rest.advance(filter_bytes + 1);
    }
    Ok(())
}

/// What is easier to see in the packet than in its bytes.
fn check_packet(packet: &Packet, body_bytes: usize) -> Result<(), Malformed> {
    match packet {
        Packet::Connect(connect) => {
            let mut expected = 10 + 2 + connect.client_id.len();
            if let Some(will) = &connect.last_will {
                expected += 4 + will.topic.len() + will.message.len();
                check_topic_name(&will.topic)?;
            }
            expected += connect.username.as_ref().map_or(0, |name| 2 + name.len());
            expected += connect
                .password
                .as_ref()
                .map_or(0, |password| 2 + password.len());
            if connect.client_id.contains('\0')
                || connect
                    .username
                    .as_ref()
                    .is_some_and(|name| name.contains('\0'))
            {
                return Err(Malformed::Body("a string contains U+0000"));
            }
            if expected != body_bytes {
                return Err(Malformed::Body("CONNECT has bytes left over"));
            }
            Ok(())
        }
        Packet::Publish(publish) => {
            debug_assert_ne!(publish.qos, QoS::ExactlyOnce);
            check_topic_name(&publish.topic)
        }
        Packet::Subscribe { topic_filters, .. } => topic_filters
            .iter()
            .try_for_each(|(filter, _)| check_filter(filter)),
        Packet::Unsubscribe { topic_filters, .. } => topic_filters
            .iter()
            .try_for_each(|filter| check_filter(filter)),
        _ => Ok(()),
    }
}

fn check_topic_name(topic: &str) -> Result<(), Malformed> {
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(Malformed::Body(
            "a topic name is empty, or has a wildcard or U+0000 in it",
        ));
    }
    Ok(())
}

/// Wildcards stand alone in their level, and `#` is last (MQTT 3.1.1, 4.7.1).
fn check_filter(filter: &str) -> Result<(), Malformed> {
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let wrong = levels.iter().enumerate().any(|(index, level)| {
        level.contains('\0')
            || (level.contains('#') && (*level != "#" || index != last))
            || (level.contains('+') && *level != "+")
    });
    if wrong {
        Err(Malformed::Body("a topic filter is not well formed"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
