use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

const MAX: usize = 1024;

fn decode(bytes: &[u8]) -> Result<Option<Packet>, Malformed> {
    Codec::new(MAX).decode(&mut BytesMut::from(bytes))
}

fn connect(flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(flags);
    body.extend_from_slice(&[0, 60]);
    body.extend_from_slice(rest);
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

#[test]
fn malformed_packets_are_refused() {
    let table: &[(&str, Vec<u8>)] = &[
        ("CONNACK from a client", vec![0x20, 2, 0, 0]),
        ("type 0", vec![0x00, 0]),
        ("type 15", vec![0xF0, 0]),
        ("CONNECT with flags in its header", {
            let mut packet = connect(0x02, &[0, 1, b'd']);
            packet[0] = 0x11;
            packet
        }),
        (
            "CONNECT of MQTT 3.1",
            b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01d".to_vec(),
        ),
        (
            "CONNECT of MQTT 5",
            b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x01d".to_vec(),
        ),
        (
            "CONNECT with its reserved flag",
            connect(0x03, &[0, 1, b'd']),
        ),
        (
            "CONNECT with a password but no user name",
            connect(0x42, &[0, 1, b'd', 0, 1, b'p']),
        ),
        (
            "CONNECT with bytes left over",
            connect(0x02, &[0, 1, b'd', 9]),
        ),
        (
            "CONNECT without a client id and without a clean session",
            connect(0x00, &[0, 0]),
        ),
        (
            "CONNECT with will QoS 3",
            connect(0x1E, &[0, 1, b'd', 0, 1, b't', 0, 0]),
        ),
        (
            "CONNECT with will QoS 2",
            connect(0x16, &[0, 1, b'd', 0, 1, b't', 0, 0]),
        ),
        (
            "CONNECT with a will QoS but no will",
            connect(0x0A, &[0, 1, b'd']),
        ),
        ("CONNECT with invalid UTF-8", connect(0x02, &[0, 1, 0xFF])),
        ("CONNECT with U+0000", connect(0x02, &[0, 1, 0])),
        ("CONNECT that ends early", vec![0x10, 2, 0, 4]),
        ("PUBLISH at QoS 2", b"\x34\x05\x00\x01t\x00\x01".to_vec()),
        ("PUBLISH at QoS 3", b"\x36\x05\x00\x01t\x00\x01".to_vec()),
        ("PUBLISH at QoS 0 with DUP", b"\x38\x03\x00\x01t".to_vec()),
        (
            "PUBLISH with packet id 0",
            b"\x32\x05\x00\x01t\x00\x00".to_vec(),
        ),
        ("PUBLISH without a packet id", b"\x32\x03\x00\x01t".to_vec()),
        ("PUBLISH to a wildcard", b"\x30\x03\x00\x01#".to_vec()),
        ("PUBLISH to an empty topic", b"\x30\x02\x00\x00".to_vec()),
        (
            "PUBLISH whose topic ends early",
            b"\x30\x03\x00\x09t".to_vec(),
        ),
        ("PUBREC", vec![0x50, 2, 0, 1]),
        ("PUBREL", vec![0x62, 2, 0, 1]),
        ("PUBCOMP", vec![0x70, 2, 0, 1]),
        ("PUBACK with packet id 0", vec![0x40, 2, 0, 0]),
        ("PUBACK with bytes left over", vec![0x40, 3, 0, 1, 0]),
        (
            "SUBSCRIBE without its flag",
            b"\x80\x06\x00\x01\x00\x01t\x00".to_vec(),
        ),
        ("SUBSCRIBE without a filter", vec![0x82, 2, 0, 1]),
        (
            "SUBSCRIBE with packet id 0",
            b"\x82\x06\x00\x00\x00\x01t\x00".to_vec(),
        ),
        (
            "SUBSCRIBE with reserved bits",
            b"\x82\x06\x00\x01\x00\x01t\x05".to_vec(),
        ),
        (
            "SUBSCRIBE with QoS 3",
            b"\x82\x06\x00\x01\x00\x01t\x03".to_vec(),
        ),
        (
            "SUBSCRIBE without a QoS",
            b"\x82\x05\x00\x01\x00\x01t".to_vec(),
        ),
        (
            "SUBSCRIBE to a crooked filter",
            b"\x82\x08\x00\x01\x00\x03a#b\x00".to_vec(),
        ),
        ("UNSUBSCRIBE without a filter", vec![0xA2, 2, 0, 1]),
        ("PINGREQ with a body", vec![0xC0, 1, 0]),
        ("DISCONNECT with a body", vec![0xE0, 1, 0]),
        ("DISCONNECT with flags", vec![0xE1, 0]),
        (
            "a length of five bytes",
            vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
        ),
        ("a body over the bound", vec![0x30, 0x81, 0x08]),
    ];
    for (name, bytes) in table {
        assert!(
            decode(bytes).is_err(),
            "{name} was let pass: {:?}",
            decode(bytes)
        );
    }
}

#[test]
fn well_formed_packets_pass() {
    let table: &[(&str, Vec<u8>)] = &[
        ("CONNECT", connect(0x02, &[0, 1, b'd'])),
        (
            "CONNECT with name and password",
            connect(0xC0, &[0, 1, b'd', 0, 1, b'n', 0, 1, b'p']),
        ),
        (
            "CONNECT with a will",
            connect(0x0E, &[0, 1, b'd', 0, 1, b't', 0, 1, b'm']),
        ),
        ("PUBLISH at QoS 0", b"\x30\x04\x00\x01tm".to_vec()),
        (
            "PUBLISH at QoS 1 again",
            b"\x3A\x06\x00\x01t\x00\x01m".to_vec(),
        ),
        ("PUBACK", vec![0x40, 2, 0, 1]),
        (
            "SUBSCRIBE at QoS 2",
            b"\x82\x08\x00\x01\x00\x03a/#\x02".to_vec(),
        ),
        ("UNSUBSCRIBE", b"\xA2\x05\x00\x01\x00\x01t".to_vec()),
        ("PINGREQ", vec![0xC0, 0]),
        ("DISCONNECT", vec![0xE0, 0]),
    ];
    for (name, bytes) in table {
        assert!(
            matches!(decode(bytes), Ok(Some(_))),
            "{name}: {:?}",
            decode(bytes)
        );
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None), "{name} cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_passes_can_be_written_again(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut codec = Codec::new(MAX);
        let mut rest = BytesMut::from(&bytes[..]);
        while let Ok(Some(packet)) = codec.decode(&mut rest) {
            let mut again = BytesMut::new();
            codec.encode(packet.clone(), &mut again).unwrap();
            prop_assert_eq!(codec.decode(&mut again), Ok(Some(packet)));
        }
    }
}
