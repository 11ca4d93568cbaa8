//! A message inside the mirror's log: its number, its topic, what subscribers read.

use bytes::{BufMut as _, Bytes, BytesMut};

/// A message of the log. Numbers follow each other, so a gap tells what a reader missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

/// Bytes before the topic: its length and the number.
const HEAD: usize = 8 + 2;

impl Frame {
    /// Number, length of the topic (both big-endian), topic, payload.
    ///
    /// `None` for a topic longer than MQTT can say.
    pub(super) fn bytes(number: u64, topic: &str, payload: &str) -> Option<Bytes> {
        let length = u16::try_from(topic.len()).ok()?;
        let mut bytes = BytesMut::with_capacity(HEAD + topic.len() + payload.len());
        bytes.put_u64(number);
        bytes.put_u16(length);
        bytes.put_slice(topic.as_bytes());
        bytes.put_slice(payload.as_bytes());
        Some(bytes.freeze())
    }

    /// The frame those bytes are; `None` if they are none.
    pub(super) fn parse(mut bytes: Bytes) -> Option<Self> {
        let number = u64::from_be_bytes(*bytes.first_chunk()?);
        let length = u16::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
        let topic = bytes.get(HEAD..HEAD + usize::from(length))?;
        let topic = String::from_utf8(topic.to_vec()).ok()?;
        let payload = bytes.split_off(HEAD + usize::from(length));
        Some(Self {
            number,
            topic,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = Frame::bytes(7, "telemetry/d", "{}").unwrap();
        let expected = Frame {
            number: 7,
            topic: "telemetry/d".to_owned(),
            payload: Bytes::from_static(b"{}"),
        };
        assert_eq!(Frame::parse(bytes.clone()), Some(expected));
        for length in 0..HEAD + "telemetry/d".len() {
            assert_eq!(Frame::parse(bytes.slice(..length)), None);
        }
        assert_eq!(Frame::bytes(0, &"x".repeat(65_536), ""), None);
    }
}
