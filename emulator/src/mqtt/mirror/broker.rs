//! rumqttd's router, and the links to it: the bounded log that every subscriber reads at its own
//! pace.
//!
//! The router's servers let clients publish, so they are not used. It keeps a log for each filter
//! and remembers each topic it ever saw, so it gets to see one of each, whatever devices there
//! are and whatever subscribers ask for; real topics are inside the frames. It cannot be stopped:
//! its thread ends with the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Broker, Config, Notification, RouterConfig};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::frame::Frame;
use crate::limits::{
    MIRROR_BATCH, MIRROR_CLIENTS_MAX, MIRROR_QUEUE, MIRROR_SEGMENT_BYTES, MIRROR_SEGMENTS,
    MIRROR_TIMEOUT,
};

/// The one topic the router knows.
const TOPIC: &str = "telemetry";

/// How long the feed waits before it looks again whether the router has caught up.
const PAUSE: Duration = Duration::from_millis(1);

/// The router is gone, or so slow that it might as well be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dead;

impl From<LinkError> for Dead {
    fn from(error: LinkError) -> Self {
        tracing::debug!(%error, "the mirror's router does not answer");
        Self
    }
}

/// Why a subscriber gets no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLink {
    Full,
    Dead,
}

/// The router, and who may still link to it.
pub(super) struct Fan {
    broker: Arc<Broker>,
    slots: Arc<Slots>,
}

/// Who may link to a router.
struct Slots {
    /// Numbers of links that are free. The router remembers names for ever, so they are reused.
    free: Mutex<VecDeque<u16>>,
    /// Called when a subscriber is gone, to nudge the feed.
    gone: Box<dyn Fn() + Send + Sync>,
}

impl Slots {
    fn free(&self) -> MutexGuard<'_, VecDeque<u16>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fan {
    /// Starts a router; gives it and the one way in, which `gone` has to nudge.
    pub(super) async fn start(
        gone: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Self, Feed), Dead> {
        let started = detached(|| {
            let broker = Broker::new(config());
            let (tx, rx) = broker.link("feed").map_err(Dead::from)?;
            Ok::<_, Dead>((broker, tx, rx))
        });
        let (broker, tx, rx) = started.await.ok_or(Dead)??;
        let fan = Self {
            broker: Arc::new(broker),
            slots: Arc::new(Slots {
                free: Mutex::new((0..MIRROR_CLIENTS_MAX).collect()),
                gone: Box::new(gone),
            }),
        };
        let feed = Feed {
            tx,
            _rx: rx,
            number: 0,
        };
        Ok((fan, feed))
    }

    /// A link that reads everything from now on.
    pub(super) async fn link(&self) -> Result<Link, NoLink> {
        let number = self.slots.free().pop_front().ok_or(NoLink::Full)?;
        let mut slot = Slot {
            slots: Arc::clone(&self.slots),
            number,
            tx: None,
        };
        let broker = Arc::clone(&self.broker);
        let linked = detached(move || {
            let name = format!("subscriber-{}", slot.number);
            let (mut tx, rx) = broker.link(&name).map_err(Dead::from)?;
            let subscribed = tx.subscribe(TOPIC).map_err(Dead::from);
            slot.tx = Some(tx);
            subscribed.map(|_| (slot, rx))
        });
        let linked = linked.await.unwrap_or(Err(Dead));
        let (slot, rx) = linked.map_err(|Dead| NoLink::Dead)?;
        let mut link = Link {
            rx,
            _slot: slot,
            is_ready_owed: false,
            next: None,
        };
        // From its acknowledgement on the subscription misses nothing.
        loop {
            let answered = timeout(MIRROR_TIMEOUT, link.rx.next()).await;
            match answered.map_err(|_| NoLink::Dead)? {
                Ok(Some(Notification::DeviceAck(_))) => return Ok(link),
                Ok(_) => {}
                Err(_) => return Err(NoLink::Dead),
            }
        }
    }
}

fn config() -> Config {
    let router = RouterConfig {
        // The feed, and links that are about to go.
        max_connections: 2 * usize::from(MIRROR_CLIENTS_MAX) + 1,
        max_outgoing_packet_count: MIRROR_BATCH,
        max_segment_size: MIRROR_SEGMENT_BYTES,
        max_segment_count: MIRROR_SEGMENTS,
        initialized_filters: Some(vec![TOPIC.to_owned()]),
        ..RouterConfig::default()
    };
    Config {
        router,
        ..Config::default()
    }
}

/// Does what may block on a thread of its own, so that a router that hangs holds up neither a
/// task nor the runtime's end. `None` if it takes too long, or panics.
async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let thread = thread::Builder::new().name("mirror-link".to_owned());
    let spawned = thread.spawn(move || {
        let _ = done.send(work());
    });
    spawned.ok()?;
    timeout(MIRROR_TIMEOUT, outcome).await.ok()?.ok()
}

/// The one way in. Blocks, so it belongs on a thread of its own.
pub(super) struct Feed {
    tx: LinkTx,
    /// Kept, or the router would hold the feed for gone.
    _rx: LinkRx,
    number: u64,
}

impl Feed {
    /// Appends a message to the log; waits for the router if that is behind.
    pub(super) fn publish(&mut self, topic: &str, payload: &str) -> Result<(), Dead> {
        let Some(frame) = Frame::bytes(self.number, topic, payload) else {
            return Ok(());
        };
        self.number += 1;
        self.push(frame)
    }

    /// Gives the router something to do. It may rest over a subscriber that is gone, with others
    /// waiting behind it, until something happens.
    pub(super) fn nudge(&mut self) -> Result<(), Dead> {
        self.push(Bytes::new())
    }

    fn push(&mut self, payload: Bytes) -> Result<(), Dead> {
        let mut waited = Duration::ZERO;
        while self.tx.buffer().len() >= MIRROR_QUEUE {
            if waited >= MIRROR_TIMEOUT {
                return Err(Dead);
            }
            thread::park_timeout(PAUSE);
            waited += PAUSE;
        }
        self.tx.publish(TOPIC, payload)?;
        Ok(())
    }
}

/// One subscriber's place in the log.
pub(super) struct Link {
    rx: LinkRx,
    _slot: Slot,
    /// The router waits for a word that what it sent was taken.
    is_ready_owed: bool,
    /// The number of the frame to come next, once there was one.
    next: Option<u64>,
}

impl Link {
    /// The next message, and how many fell out of the log before it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(Frame, u64), Dead> {
        loop {
            if self.is_ready_owed {
                self.rx.wake().await?;
                self.is_ready_owed = false;
            }
            match self.rx.next().await? {
                Some(Notification::Forward(forward)) => {
                    let Some(frame) = Frame::parse(forward.publish.payload) else {
                        continue;
                    };
                    let expected = self.next.replace(frame.number + 1);
                    let missed = frame.number - expected.unwrap_or(frame.number);
                    return Ok((frame, missed));
                }
                Some(Notification::Unschedule) => self.is_ready_owed = true,
                _ => {}
            }
        }
    }
}

/// A number that is taken, and the way to say that it is free.
struct Slot {
    slots: Arc<Slots>,
    number: u16,
    tx: Option<LinkTx>,
}

impl Drop for Slot {
    /// The router is told before the number is free, on a thread because that may block.
    fn drop(&mut self) {
        let (slots, number, tx) = (Arc::clone(&self.slots), self.number, self.tx.take());
        let free = move || {
            if let Some(mut tx) = tx {
                let reason_code = DisconnectReasonCode::NormalDisconnection;
                let goodbye = Packet::Disconnect(Disconnect { reason_code }, None);
                let _ = tx.send(goodbye).now_or_never();
            }
            slots.free().push_back(number);
            (slots.gone)();
        };
        let thread = thread::Builder::new().name("mirror-link".to_owned());
        if let Err(error) = thread.spawn(free) {
            tracing::warn!(%error, "a place at the mirror is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(link: &mut Link) -> (u64, u64) {
        let next = timeout(MIRROR_TIMEOUT, link.next()).await;
        let (frame, missed) = next.expect("nothing came").unwrap();
        (frame.number, missed)
    }

    #[tokio::test]
    async fn a_link_reads_what_comes_after_it_and_counts_what_fell_out() {
        let (fan, mut feed) = Fan::start(|| {}).await.unwrap();
        feed.publish("telemetry/d", "before").unwrap();
        let mut link = fan.link().await.unwrap();
        feed.nudge().unwrap();
        feed.publish("telemetry/d", "1").unwrap();
        assert_eq!(told(&mut link).await, (1, 0));
        // Four times what the log holds, far more than the router hands over unasked besides.
        let large = "x".repeat(MIRROR_SEGMENT_BYTES / 16);
        let sent = 4 * 16 * MIRROR_SEGMENTS as u64;
        for _ in 0..sent {
            feed.publish("telemetry/d", &large).unwrap();
        }
        let (mut read, mut missed) = (0, 0);
        loop {
            let (number, gap) = told(&mut link).await;
            read += 1;
            missed += gap;
            if number == sent + 1 {
                break;
            }
        }
        assert!(missed > 0);
        assert_eq!(read + missed, sent);
    }

    #[tokio::test]
    async fn a_router_that_died_is_told_from_one_that_serves() {
        let (fan, mut feed) = Fan::start(|| {}).await.unwrap();
        let mut reader = fan.link().await.unwrap();
        let mut bad = fan.link().await.unwrap();
        // What the router does not bear: a word from a connection that it holds for gone.
        let tx = bad._slot.tx.as_mut().unwrap();
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        let goodbye = Packet::Disconnect(Disconnect { reason_code }, None);
        tx.send(goodbye).await.unwrap();
        bad.rx.ready().unwrap();
        let ended = timeout(MIRROR_TIMEOUT, reader.next()).await;
        assert_eq!(ended.expect("the link does not end"), Err(Dead));
        // Its thread unwinds part by part.
        let mut tries = 0..10_000;
        let refused = tries.any(|_| {
            thread::park_timeout(PAUSE);
            feed.publish("telemetry/d", "1") == Err(Dead)
        });
        assert!(refused, "the feed does not notice");
        assert!(matches!(fan.link().await, Err(NoLink::Dead)));
    }
}
