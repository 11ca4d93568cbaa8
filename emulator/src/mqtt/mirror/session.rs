//! One subscriber of the mirror, from its first byte to its last.
//!
//! Read-only: a PUBLISH ends the connection, and a will is dropped with the CONNECT that brings it.
//! Nobody has to say who they are, and client ids mean nothing. No session outlives its
//! connection.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3::{ConnectAckReason, Packet};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::Mirror;
use super::broker::{Dead, Link, NoLink};
use super::frame::Frame;
use super::topic::Filters;
use crate::limits::{CONNECT_TIMEOUT, MIRROR_INFLIGHT_MAX, MIRROR_WRITE_BYTES, WRITE_TIMEOUT};
use crate::mqtt::codec::Malformed;
use crate::mqtt::connection::{ReadError, Reader, write};
use crate::mqtt::outbox::Outbox;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Ending {
    #[error("it said goodbye, or is gone")]
    Gone,
    #[error("it broke the protocol: {0}")]
    Violated(Malformed),
    #[error("it tried to publish")]
    Published,
    #[error("it was silent, or did not read")]
    Silent,
    #[error("the broker is dead")]
    Dead,
}

/// Serves one subscriber until it ends.
pub(super) async fn serve<S>(mirror: Arc<Mirror>, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut reader = Reader::new();
    let mut out = Outbox::new();
    let first = timeout(CONNECT_TIMEOUT, reader.next(&mut stream)).await;
    match first {
        Ok(Ok(Some(Packet::Connect(connect)))) => {
            let keep_alive = connect.keep_alive;
            drop(connect);
            let ending = connected(&mirror, &mut stream, &mut reader, &mut out, keep_alive).await;
            tracing::debug!(%ending, "a subscriber of the mirror is gone");
            if matches!(ending, Ending::Published) {
                mirror.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Err(ReadError::Malformed(Malformed::Protocol))) => {
            out.connack(ConnectAckReason::UnacceptableProtocolVersion, false);
        }
        _ => {}
    }
    let _ = write(&mut stream, &mut out).await;
    let _ = timeout(WRITE_TIMEOUT, stream.shutdown()).await;
}

async fn connected<S>(
    mirror: &Arc<Mirror>,
    stream: &mut S,
    reader: &mut Reader,
    out: &mut Outbox,
    keep_alive_seconds: u16,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // From here on the feed runs for this subscriber, so that nothing is missed.
    let _present = mirror.arrive();
    let link = match mirror.link().await {
        Ok(link) => link,
        Err(no_link) => {
            out.connack(ConnectAckReason::ServiceUnavailable, false);
            return match no_link {
                NoLink::Full => Ending::Gone,
                NoLink::Dead => Ending::Dead,
            };
        }
    };
    out.connack(ConnectAckReason::ConnectionAccepted, false);
    let mut session = Session {
        mirror: Arc::clone(mirror),
        link,
        filters: Filters::default(),
        owed: HashSet::new(),
    };
    session.run(stream, reader, out, keep_alive_seconds).await
}

struct Session {
    mirror: Arc<Mirror>,
    link: Link,
    filters: Filters,
    /// Packet ids whose acknowledgement is to come.
    owed: HashSet<NonZeroU16>,
}

impl Session {
    async fn run<S>(
        &mut self,
        stream: &mut S,
        reader: &mut Reader,
        out: &mut Outbox,
        keep_alive_seconds: u16,
    ) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // One and a half times, as MQTT has it; 0 is for ever.
        let silence = Duration::from_millis(u64::from(keep_alive_seconds) * 1500);
        let timer = tokio::time::sleep(silence);
        tokio::pin!(timer);
        loop {
            if !out.is_empty() && write(stream, out).await.is_err() {
                return Ending::Silent;
            }
            let may_take = self.owed.len() < MIRROR_INFLIGHT_MAX;
            tokio::select! {
                biased;
                packet = reader.next(stream) => {
                    timer.as_mut().reset(Instant::now() + silence);
                    let handled = match packet {
                        Ok(Some(packet)) => self.handle(packet, out),
                        Ok(None) | Err(ReadError::Io(_)) => Err(Ending::Gone),
                        Err(ReadError::Malformed(malformed)) => Err(Ending::Violated(malformed)),
                    };
                    if let Err(ending) = handled {
                        return ending;
                    }
                }
                next = self.link.next(), if may_take => {
                    if self.take(next, out).is_err() {
                        return Ending::Dead;
                    }
                }
                () = &mut timer, if !silence.is_zero() => return Ending::Silent,
            }
        }
    }

    /// Puts a message out, and those that are there as well, up to what is written at once.
    fn take(&mut self, first: Result<(Frame, u64), Dead>, out: &mut Outbox) -> Result<(), Dead> {
        let (frame, missed) = first?;
        self.tell(frame, missed, out);
        while out.len() < MIRROR_WRITE_BYTES && self.owed.len() < MIRROR_INFLIGHT_MAX {
            let Some(next) = self.link.next().now_or_never() else {
                break;
            };
            let (frame, missed) = next?;
            self.tell(frame, missed, out);
        }
        Ok(())
    }

    fn tell(&mut self, frame: Frame, missed: u64, out: &mut Outbox) {
        let counts = &self.mirror.counts;
        counts.missed.fetch_add(missed, Ordering::Relaxed);
        let Some(qos) = self.filters.wanted(&frame.topic) else {
            return;
        };
        let packet_id = (qos != QoS::AtMostOnce).then(|| {
            let mut id = out.next_packet_id();
            while !self.owed.insert(id) {
                id = out.next_packet_id();
            }
            id
        });
        if out
            .publish_as(frame.topic, packet_id, frame.payload)
            .is_ok()
        {
            counts.delivered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn handle(&mut self, packet: Packet, out: &mut Outbox) -> Result<(), Ending> {
        match packet {
            Packet::Subscribe {
                packet_id,
                topic_filters,
            } if !topic_filters.is_empty() => {
                let granted = topic_filters
                    .iter()
                    .map(|(filter, qos)| self.filters.add(filter, *qos));
                out.suback_each(packet_id, granted);
                Ok(())
            }
            Packet::Unsubscribe {
                packet_id,
                topic_filters,
            } if !topic_filters.is_empty() => {
                for filter in &topic_filters {
                    self.filters.remove(filter);
                }
                out.unsuback(packet_id);
                Ok(())
            }
            Packet::PublishAck { packet_id } => {
                self.owed.remove(&packet_id);
                Ok(())
            }
            Packet::PingRequest => {
                out.pong();
                Ok(())
            }
            Packet::Disconnect => Err(Ending::Gone),
            Packet::Publish(_) => Err(Ending::Published),
            _ => Err(Ending::Violated(Malformed::Body(
                "a subscriber may not send that here",
            ))),
        }
    }
}
