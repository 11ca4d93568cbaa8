//! What does a message cost on an open session, over the bytes that carry it?
//!
//! Unit: CPU time of one thread that holds both ends, for each message at QoS 1 and its PUBACK:
//! TLS, packets, the topic with its property bag, and the hub that takes the message.
//! Yardstick: as many bytes there and back over a bare connection of rustls and tokio.
//!
//! Estimate: two records sealed and opened, 200 ns each, and four wake-ups of tasks and pipes make
//! 1 to 1.5 µs. Two packets written and read, a topic of 48 bytes taken apart with its properties
//! and an event that nobody listens to make as much again.

use std::cell::RefCell;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::ratio::{self, Effort, Subject, interleave};
use crate::reprovision::{SETTLED, Stage, runtime, timed};

/// Length of the PUBLISH that [`crate::common::client::Line::telemetry`] sends, about.
const MESSAGE_BYTES: usize = 75;

/// Length of a PUBACK.
const ANSWER_BYTES: usize = 4;

/// A message over a session, over a bare exchange.
pub(crate) fn ratios(thorough: bool) -> anyhow::Result<Vec<ratio::Line>> {
    let runtime = runtime()?;
    let stage = runtime.block_on(Stage::new())?;
    let line = RefCell::new(runtime.block_on(stage.session())?);
    let (near, mut far) = runtime.block_on(stage.pair())?;
    let near = RefCell::new(near);
    runtime.spawn(async move {
        let mut message = [0; MESSAGE_BYTES];
        while far.read_exact(&mut message).await.is_ok() {
            if far.write_all(&[0; ANSWER_BYTES]).await.is_err() || far.flush().await.is_err() {
                break;
            }
        }
    });
    let mut sequence = 0;
    let mut subjects: [Subject<'_>; 2] = [
        Box::new(|times| {
            let line = &mut *line.borrow_mut();
            timed(&runtime, times, async || {
                sequence += 1;
                line.telemetry(SETTLED, sequence).await
            })
        }),
        Box::new(|times| {
            let near = &mut *near.borrow_mut();
            timed(&runtime, times, async || {
                near.write_all(&[0; MESSAGE_BYTES]).await?;
                near.flush().await?;
                near.read_exact(&mut [0; ANSWER_BYTES]).await?;
                Ok(())
            })
        }),
    ];
    let samples = interleave(Effort::new(thorough, 60, 500), &mut subjects)?;
    Ok(vec![samples.line(
        "message at QoS 1, both ends",
        0,
        ("as many bytes over rustls", 1),
        None,
    )])
}
