//! What does strictness cost in MQTT, over the codec that does the reading?
//!
//! Unit: CPU time for each packet: a telemetry PUBLISH at QoS 1 with properties in its topic and
//! 200 bytes of payload, read and written. Yardstick: `rmqtt-codec` bare.
//!
//! Estimate: reading copies no payload and takes about 100 ns. Looking at the header twice and at
//! each byte of the topic once more adds 30 ns. Writing adds nothing. A handshake takes 5,000
//! times as long, so this matters for telemetry alone.

use std::num::NonZeroU16;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion};
use linarite_emulator::mqtt::codec::Codec;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{Codec as Bare, Packet};
use tokio_util::codec::{Decoder as _, Encoder as _};

use crate::common::ratio::{self, Effort, Subject, cpu, interleave};

const TOPIC: &str = "devices/dev-000001/messages/events/%24.mid=4711&%24.ct=application%2Fjson";

fn packet() -> Packet {
    Packet::Publish(Box::new(Publish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: TOPIC.to_owned().into(),
        packet_id: NonZeroU16::new(7),
        payload: Bytes::from_static(&[b'x'; 200]),
        properties: None,
    }))
}

fn encoded() -> BytesMut {
    let mut bytes = BytesMut::new();
    // A packet of this size can always be expressed.
    let _ = Codec::new(0).encode(packet(), &mut bytes);
    bytes
}

/// Reading and writing by themselves.
pub(crate) fn single(criterion: &mut Criterion) {
    let bytes = encoded();
    criterion.bench_function("codec, decode PUBLISH", |bencher| {
        let mut codec = Codec::new(1024);
        bencher.iter_batched_ref(
            || bytes.clone(),
            |bytes| codec.decode(bytes),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("codec, encode PUBLISH", |bencher| {
        let mut codec = Codec::new(1024);
        bencher.iter_batched(
            packet,
            |packet| {
                let mut out = BytesMut::new();
                codec.encode(packet, &mut out).map(|()| out)
            },
            BatchSize::SmallInput,
        );
    });
}

/// Reading and writing over the bare codec.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let bytes = encoded();
    let (mut strict, mut bare) = (Codec::new(1024), Bare::new(0));
    let (mut strict_out, mut bare_out) = (Codec::new(1024), Bare::new(0));
    let mut subjects: [Subject<'_>; 4] = [
        Box::new(|times| {
            let mut inputs = vec![bytes.clone(); times as usize];
            let before = cpu();
            for input in &mut inputs {
                strict.decode(input)?.context("the packet is not whole")?;
            }
            Ok(cpu() - before)
        }),
        Box::new(|times| {
            let mut inputs = vec![bytes.clone(); times as usize];
            let before = cpu();
            for input in &mut inputs {
                bare.decode(input)?.context("the packet is not whole")?;
            }
            Ok(cpu() - before)
        }),
        Box::new(|times| {
            let packets = vec![packet(); times as usize];
            let mut out = BytesMut::with_capacity(bytes.len() * packets.len());
            let before = cpu();
            for packet in packets {
                strict_out.encode(packet, &mut out)?;
            }
            Ok(cpu() - before)
        }),
        Box::new(|times| {
            let packets = vec![packet(); times as usize];
            let mut out = BytesMut::with_capacity(bytes.len() * packets.len());
            let before = cpu();
            for packet in packets {
                bare_out.encode(packet, &mut out)?;
            }
            Ok(cpu() - before)
        }),
    ];
    let samples = interleave(Effort::new(thorough, 60, 2000), &mut subjects)?;
    Ok(vec![
        samples.line(
            "reading a telemetry PUBLISH",
            0,
            ("rmqtt-codec bare", 1),
            None,
        ),
        samples.line(
            "writing a telemetry PUBLISH",
            2,
            ("rmqtt-codec bare", 3),
            None,
        ),
    ])
}
