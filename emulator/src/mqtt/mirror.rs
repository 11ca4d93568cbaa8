//! The telemetry mirror: a read-only MQTT broker on a port of its own, where any MQTT client may
//! watch what devices send, without TLS and without a name.
//!
//! What enters: the event logs of all hubs, read as any other reader does, so no hub ever waits
//! for the mirror. What leaves: `telemetry/{deviceId}` and `telemetry/{deviceId}/{moduleId}`, each
//! message one JSON object (`wire::event`). The broker starts with the first subscriber, and while
//! there is none messages are let pass unread. What nobody could be told is counted.

mod broker;
mod frame;
mod session;
mod topic;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use linarite_core::hub::message::MessageSource;
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, Semaphore, mpsc};

use crate::events::{EventReader, HubEvent, HubEvents, StartPosition};
use crate::limits::{MIRROR_CONNECTIONS_MAX, MIRROR_QUEUE, STREAM_BATCH};
use crate::listener;
use crate::service::Services;
use crate::service::hub::Hub;
use crate::wire;
use broker::{Dead, Fan, Feed, Link, NoLink};

/// The mirror of one emulator.
pub(crate) struct Mirror {
    services: Arc<Services>,
    /// Started with the first subscriber; an error if that failed.
    fan: OnceCell<Result<Fan, Dead>>,
    /// The way to the feed, for as long as the hubs are followed.
    queue: OnceLock<mpsc::WeakSender<Item>>,
    is_dead: AtomicBool,
    pub(crate) counts: Counts,
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Subscribers that are connected now.
    pub(crate) subscribers: AtomicUsize,
    /// Messages that entered the mirror.
    pub(crate) mirrored: AtomicU64,
    /// Messages that were sent to subscribers.
    pub(crate) delivered: AtomicU64,
    /// Events that hubs had dropped before the mirror came to them.
    pub(crate) late: AtomicU64,
    /// Messages that fell out before a slow subscriber came to them, whatever it had asked for.
    pub(crate) missed: AtomicU64,
    /// Connections that ended because they published.
    pub(crate) refused: AtomicU64,
}

/// What the feed's thread is to do.
enum Item {
    Mirror(Arc<Hub>, Arc<HubEvent>),
    Nudge,
}

/// A subscriber that is connected, or about to be.
struct Present(Arc<Mirror>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.counts.subscribers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Mirror {
    pub(crate) fn new(services: &Arc<Services>) -> Arc<Self> {
        Arc::new(Self {
            services: Arc::clone(services),
            fan: OnceCell::new(),
            queue: OnceLock::new(),
            is_dead: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// Whether subscribers are served.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_dead.load(Ordering::Relaxed)
    }

    /// How many messages somebody who watches was not told.
    pub(crate) fn dropped(&self) -> u64 {
        let counts = [&self.counts.late, &self.counts.missed];
        counts
            .map(|count| count.load(Ordering::Relaxed))
            .iter()
            .sum()
    }

    /// Serves who connects until the emulator stops.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(MIRROR_CONNECTIONS_MAX));
        let cancel = self.services.cancel.clone();
        listener::accept(listener, cancel.clone(), |stream| {
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                return;
            };
            let (mirror, cancel) = (Arc::clone(&self), cancel.clone());
            self.services.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = session::serve(mirror, stream) => {}
                }
                drop(permit);
            });
        })
        .await;
        let dropped = self.dropped();
        if dropped > 0 {
            tracing::warn!(dropped, "the mirror did not tell everybody everything");
        }
    }

    /// Counts a subscriber in.
    fn arrive(self: &Arc<Self>) -> Present {
        self.counts.subscribers.fetch_add(1, Ordering::SeqCst);
        Present(Arc::clone(self))
    }

    /// A place in the log for one subscriber; starts the broker if there is none yet.
    async fn link(self: &Arc<Self>) -> Result<Link, NoLink> {
        let fan = self.fan.get_or_init(|| self.start()).await;
        let fan = fan.as_ref().map_err(|Dead| NoLink::Dead)?;
        if !self.is_up() {
            return Err(NoLink::Dead);
        }
        let linked = fan.link().await;
        if matches!(linked, Err(NoLink::Dead)) {
            self.die();
        }
        linked
    }

    /// Gives the broker something to do, unless it has.
    fn nudge(&self) {
        if let Some(queue) = self.queue.get().and_then(mpsc::WeakSender::upgrade) {
            // A queue that is full is nudge enough.
            let _ = queue.try_send(Item::Nudge);
        }
    }

    async fn start(self: &Arc<Self>) -> Result<Fan, Dead> {
        let mirror = Arc::downgrade(self);
        let gone = move || {
            if let Some(mirror) = mirror.upgrade() {
                mirror.nudge();
            }
        };
        let started = Fan::start(gone).await;
        let (fan, feed) = started.inspect_err(|Dead| self.die())?;
        let (sender, receiver) = mpsc::channel(MIRROR_QUEUE);
        let _ = self.queue.set(sender.downgrade());
        let thread = std::thread::Builder::new().name("mirror-feed".to_owned());
        let mirror = Arc::clone(self);
        if thread.spawn(move || mirror.feed(feed, receiver)).is_err() {
            self.die();
            return Err(Dead);
        }
        for hub in self.services.hubs.iter() {
            let events = HubEvents::new(Arc::clone(&hub.events), self.services.cancel.clone());
            let reader = events.read_all(StartPosition::Latest);
            let follow = Arc::clone(self).follow(Arc::clone(hub), reader, sender.clone());
            self.services.tasks.spawn(follow);
        }
        Ok(fan)
    }

    /// Hands the telemetry of one hub to the feed. The hub's own log is the queue in between.
    async fn follow(
        self: Arc<Self>,
        hub: Arc<Hub>,
        mut reader: EventReader,
        queue: mpsc::Sender<Item>,
    ) {
        let hand_on = async {
            while let Some(batch) = reader.next(STREAM_BATCH).await {
                if self.counts.subscribers.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                self.counts.late.fetch_add(batch.missed, Ordering::Relaxed);
                for event in batch.events {
                    if event.message().source() == MessageSource::Telemetry
                        && queue
                            .send(Item::Mirror(Arc::clone(&hub), event))
                            .await
                            .is_err()
                    {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.services.cancel.cancelled() => {}
            () = hand_on => {}
        }
    }

    /// Runs on a thread of its own until nobody follows a hub any more, or the broker is dead.
    fn feed(&self, mut feed: Feed, mut queue: mpsc::Receiver<Item>) {
        while let Some(item) = queue.blocking_recv() {
            let fed = match item {
                Item::Nudge => feed.nudge(),
                Item::Mirror(hub, event) => {
                    let topic = topic::topic(event.message().origin().id());
                    let text = wire::event::event(hub.host.as_str(), &event);
                    self.counts.mirrored.fetch_add(1, Ordering::Relaxed);
                    feed.publish(&topic, &text)
                }
            };
            if let Err(Dead) = fed {
                return self.die();
            }
        }
    }

    /// The hubs go on; subscribers are told that there is no service.
    fn die(&self) {
        if !self.is_dead.swap(true, Ordering::Relaxed) && !self.services.cancel.is_cancelled() {
            tracing::error!("the telemetry mirror has failed; everything else goes on");
        }
    }
}
