//! One device at work: its state machine, its connections, its clock.
//!
//! Commands and packets go in, packets and observations come out; all decisions are
//! [`Device`]'s. Everything is polled in a fixed order, so a run on a paused clock has one
//! trace.

#[cfg(test)]
pub(crate) mod fake;
mod gathered;
pub(crate) mod schedule;
pub(crate) mod transport;
mod websocket;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use linarite_env::{Clock, UnixMillis};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::device::{Device, Link, Output};
use crate::fault::Mishap;
use crate::fault::stream::Weather;
use crate::observation::{DeviceIndex, Observer};
use crate::pki::Credential;
use crate::wire::Packet;
use crate::wire::dps::is_put_off;

use schedule::{Edge, Schedule};
use transport::{Dialer, Manner, Transport};

/// A handshake under way. Boxed, so that an idle device does not carry its room along.
type Dialling = Pin<Box<dyn Future<Output = Result<Transport, String>> + Send>>;

enum Slot {
    Closed,
    Dialling(Dialling),
    Open(Transport),
}

enum Incoming {
    Connected,
    ConnectFailed(String),
    Packet(Packet),
    Closed,
}

/// What all drivers of a fleet share.
pub(crate) struct Surroundings {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) clock: Clock,
    pub(crate) observer: Arc<dyn Observer>,
}

/// A device with what it needs to live.
pub(crate) struct Driver {
    index: DeviceIndex,
    device: Device,
    schedule: Schedule,
    surroundings: Arc<Surroundings>,
    links: Links,
    weather: Option<Weather>,
    /// Whether a fault has taken its power.
    dark: bool,
    /// Until when it is without power because its firmware model says so. Boxed, as few ever are.
    dark_until: Option<Box<Instant>>,
    /// Whether it lies in a time awake.
    on_duty: bool,
}

impl Driver {
    pub(crate) fn new(
        index: DeviceIndex,
        device: Device,
        schedule: Schedule,
        surroundings: Arc<Surroundings>,
        weather: Option<Weather>,
    ) -> Self {
        Self {
            index,
            device,
            schedule,
            surroundings,
            links: Links::default(),
            weather,
            dark: false,
            dark_until: None,
            on_duty: false,
        }
    }

    /// Lives until `cancel` is cancelled. Connections then end as they are.
    pub(crate) async fn run(
        mut self,
        mut deliveries: mpsc::Receiver<Credential>,
        cancel: CancellationToken,
    ) {
        let mut cancelled = pin!(cancel.cancelled());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            self.perform().await;
            let deadline = self.deadline();
            if let Some(deadline) = deadline
                && timer.deadline() != deadline
            {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                () = &mut cancelled => return,
                Some(credential) = deliveries.recv() => {
                    self.device.store_credential(credential, self.now());
                }
                () = &mut timer, if deadline.is_some() => self.tick(),
                (link, incoming) = poll_fn(|cx| self.links.poll(cx)) => self.hear(link, incoming),
            }
        }
    }

    fn now(&self) -> UnixMillis {
        self.surroundings.clock.now_ms()
    }

    /// The next moment at which something is to be done unasked.
    fn deadline(&self) -> Option<Instant> {
        let wanted = self.device.poll_timeout().map(|at| {
            let ahead = u64::try_from(at.since(self.now())).unwrap_or(0);
            Instant::now() + Duration::from_millis(ahead)
        });
        let edge = self.schedule.next().map(|(at, _)| at);
        wanted.into_iter().chain(edge).chain(self.back_at()).min()
    }

    /// When the power comes back that the firmware model took.
    fn back_at(&self) -> Option<Instant> {
        self.dark_until.as_deref().copied()
    }

    fn tick(&mut self) {
        let now = self.now();
        while let Some((_, edge)) = self.schedule.take_due(Instant::now()) {
            match edge {
                Edge::Wake => {
                    self.on_duty = true;
                    self.boot(now);
                }
                Edge::Sleep => {
                    self.on_duty = false;
                    // Nothing happens to one that is off.
                    self.device.sleep(now);
                }
                Edge::Mishap(mishap) => self.suffer(mishap, now),
            }
        }
        if self.back_at().is_some_and(|at| at <= Instant::now()) {
            self.dark_until = None;
            self.boot(now);
        }
        if self.device.poll_timeout().is_some_and(|at| at <= now) {
            self.device.handle_timeout(now);
        }
    }

    fn suffer(&mut self, mishap: Mishap, now: UnixMillis) {
        match mishap {
            Mishap::Cut => {
                for (link, was_open) in self.links.cut() {
                    if was_open {
                        self.device.handle_closed(link, now);
                    } else {
                        let text = "the connection was cut".to_owned();
                        self.device.handle_connect_failed(link, text, now);
                    }
                }
            }
            Mishap::PowerOff => {
                self.dark = true;
                self.links.cut();
                self.device.lose_power(now);
            }
            Mishap::PowerOn => {
                self.dark = false;
                self.boot(now);
            }
        }
    }

    /// Wakes the device if it ought to be awake and has power.
    fn boot(&mut self, now: UnixMillis) {
        if self.on_duty && !self.dark && self.dark_until.is_none() {
            self.device.wake(now);
        }
    }

    fn hear(&mut self, link: Link, incoming: Incoming) {
        let now = self.now();
        match incoming {
            Incoming::Connected => self.device.handle_connected(link, now),
            Incoming::ConnectFailed(text) => self.device.handle_connect_failed(link, text, now),
            Incoming::Packet(packet) => {
                if is_put_off(&packet) && self.device.is_accepted() {
                    self.surroundings.observer.poll_put_off(now);
                }
                self.device.handle_packet(link, &packet, now);
            }
            Incoming::Closed => self.device.handle_closed(link, now),
        }
    }

    /// Carries out what the device wants until it wants nothing more. All it has said by then, or by
    /// the moment in which its power fails, has left.
    async fn perform(&mut self) {
        loop {
            let Some(output) = self.device.poll_output() else {
                match self.links.leave().await {
                    None => return,
                    Some(broken) => self.device.handle_closed(broken, self.now()),
                }
                continue;
            };
            match output {
                Output::Report(observation) => {
                    self.surroundings
                        .observer
                        .observe(self.index, self.now(), observation);
                }
                Output::Connect {
                    link,
                    host,
                    credential,
                } => {
                    let dialer = Arc::clone(&self.surroundings.dialer);
                    let firmware = self.device.firmware();
                    let manner = Manner {
                        transport: firmware.transport,
                        skew_ms: firmware.clock_skew_ms,
                    };
                    let weather = self.weather.as_mut().map(Weather::next);
                    let dialling =
                        async move { dialer.open(&host, &credential, manner, weather).await };
                    *self.links.slot(link) = Slot::Dialling(Box::pin(dialling));
                }
                Output::Close { link } => {
                    let slot = std::mem::replace(self.links.slot(link), Slot::Closed);
                    if let Slot::Open(transport) = slot {
                        transport.close().await;
                    }
                }
                Output::Send { link, packet } => self.send(link, &packet).await,
                Output::PowerOff { lasts } => {
                    // What breaks now makes no difference.
                    while self.links.leave().await.is_some() {}
                    self.links.cut();
                    self.dark_until = Some(Box::new(Instant::now() + lasts));
                }
            }
        }
    }

    async fn send(&mut self, link: Link, packet: &Packet) {
        let slot = self.links.slot(link);
        let Slot::Open(transport) = slot else { return };
        if transport.send(packet).await.is_err() {
            *slot = Slot::Closed;
            self.device.handle_closed(link, self.now());
        }
    }
}

/// The connections of a device, in the order in which they are served.
struct Links([(Link, Slot); 3]);

impl Default for Links {
    fn default() -> Self {
        Self([Link::Dps, Link::HubA, Link::HubB].map(|link| (link, Slot::Closed)))
    }
}

impl Links {
    fn slot(&mut self, link: Link) -> &mut Slot {
        let place = match link {
            Link::Dps => 0,
            Link::HubA => 1,
            Link::HubB => 2,
        };
        &mut self.0[place].1
    }

    /// Has leave what was said on any connection; gives the first that broke, which is closed now.
    async fn leave(&mut self) -> Option<Link> {
        for (link, slot) in &mut self.0 {
            if let Slot::Open(transport) = slot
                && transport.leave().await.is_err()
            {
                *slot = Slot::Closed;
                return Some(*link);
            }
        }
        None
    }

    /// Drops all connections without a word; gives which there were, and whether they were open.
    fn cut(&mut self) -> Vec<(Link, bool)> {
        let mut cut = Vec::new();
        for (link, slot) in &mut self.0 {
            match std::mem::replace(slot, Slot::Closed) {
                Slot::Closed => {}
                Slot::Dialling(_) => cut.push((*link, false)),
                Slot::Open(_) => cut.push((*link, true)),
            }
        }
        cut
    }

    /// Waits for news from any connection; for ever where none is open.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Link, Incoming)> {
        for (link, slot) in &mut self.0 {
            let incoming = match slot {
                Slot::Closed => continue,
                Slot::Dialling(dialling) => match dialling.as_mut().poll(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(transport)) => {
                        *slot = Slot::Open(transport);
                        Incoming::Connected
                    }
                    Poll::Ready(Err(text)) => {
                        *slot = Slot::Closed;
                        Incoming::ConnectFailed(text)
                    }
                },
                Slot::Open(transport) => match transport.poll_packet(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(packet)) => Incoming::Packet(packet),
                    Poll::Ready(Err(_)) => {
                        *slot = Slot::Closed;
                        Incoming::Closed
                    }
                },
            };
            return Poll::Ready((*link, incoming));
        }
        Poll::Pending
    }
}
