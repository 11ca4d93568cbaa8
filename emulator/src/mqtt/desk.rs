//! A connection without a wire, for runs in which a million devices have no room for a stream.
//!
//! Bytes of packets go in and bytes of answers come out, through the very sessions that serve a
//! stream. There is no TLS: whose certificates are shown is said, and believed. Nothing waits
//! here, so whoever drives a desk keeps its time: a session whose time is up ends when it is
//! next asked.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use linarite_core::certificate::Chain;
use linarite_env::Event;
use linarite_env::event::ConnectionId;
use rmqtt_codec::v3::Packet;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::codec::{Codec, Malformed};
use super::connection::{Ending, Session, enter};
use super::outbox::Outbox;
use crate::door::Emulator;
use crate::limits::{CONNECT_BYTES_MAX, CONNECT_TIMEOUT, DELIVERY_BYTES};
use crate::service::Services;
use crate::service::mailbox::Command;
use crate::tls::peer::PeerIdentity;

/// Why there is no desk.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// As many are open as may be.
    #[error("no more desks may be open at once")]
    Full,
}

/// What a desk has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Bytes of packets for the device; empty if there is nothing to say.
    pub bytes: Bytes,
    /// Whether the connection has ended.
    pub ended: bool,
}

/// One connection. Dropping it is what closing a stream is.
pub struct Desk {
    services: Arc<Services>,
    connection: ConnectionId,
    state: State,
    codec: Codec,
    bytes: BytesMut,
    out: Outbox,
    /// When silence ends the connection.
    silent_at: Instant,
    _permit: OwnedSemaphorePermit,
}

enum State {
    /// Waits for CONNECT from whom its certificates say.
    New(Box<PeerIdentity>),
    Open(Session),
    Ended,
}

impl Emulator {
    /// Opens a connection on which `shown` is shown, or nothing.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn desk(&self, shown: Option<Chain>) -> Result<Desk, DeskError> {
        let Ok(permit) = Arc::clone(&self.desks).try_acquire_owned() else {
            let limit = "desks";
            self.services.env.events.emit(Event::LimitReached { limit });
            return Err(DeskError::Full);
        };
        let peer = shown.map_or(PeerIdentity::NoCertificate, PeerIdentity::Certificate);
        Ok(Desk {
            services: Arc::clone(&self.services),
            connection: self.services.next_connection(),
            state: State::New(Box::new(peer)),
            codec: Codec::new(CONNECT_BYTES_MAX),
            bytes: BytesMut::new(),
            out: Outbox::new(),
            silent_at: Instant::now() + CONNECT_TIMEOUT,
            _permit: permit,
        })
    }
}

impl Desk {
    /// Takes bytes of the device, whole packets or pieces, and what the hub wants meanwhile.
    pub fn take(&mut self, bytes: &[u8]) -> Said {
        self.look();
        self.bytes.extend_from_slice(bytes);
        self.work();
        self.said()
    }

    /// Carries out what the device said, as far as it may be heard.
    fn work(&mut self) {
        while !matches!(self.state, State::Ended) && self.held_until().is_none() {
            let packet = match self.codec.decode(&mut self.bytes) {
                Ok(None) => break,
                Ok(Some(packet)) => Ok(packet),
                Err(malformed) => Err(malformed),
            };
            let step = match &mut self.state {
                State::Open(session) => {
                    self.silent_at = Instant::now() + session.keep_alive();
                    packet
                        .map_err(Ending::from)
                        .and_then(|packet| session.take(packet, &mut self.out))
                }
                State::New(_) | State::Ended => {
                    self.begin(packet);
                    Ok(())
                }
            };
            match step {
                Ok(()) => self.obey(),
                Err(ending) => self.end(&ending),
            }
        }
        if self.bytes.is_empty() {
            // An idle connection keeps no buffer.
            self.bytes = BytesMut::new();
        }
    }

    fn held_until(&self) -> Option<Instant> {
        match &self.state {
            State::Open(session) => session.held_until(),
            State::New(_) | State::Ended => None,
        }
    }

    /// Does what the hub wants of the session, or what is due, and gives what is to be said. To be
    /// asked until there is nothing.
    pub fn poll(&mut self) -> Said {
        self.look();
        self.work();
        self.said()
    }

    /// Takes for made those polls of a device at DPS, one `every` so often from now on, that are
    /// sure to be told that it is still being assigned. Gives how many.
    ///
    /// It holds as long as nobody makes DPS fail or changes the registration meanwhile.
    pub fn pass_over_polls(&mut self, every: Duration) -> u32 {
        let State::Open(Session::Dps(session)) = &self.state else {
            return 0;
        };
        let polls = session.polls_in_vain(every);
        self.silent_at += every.saturating_mul(polls);
        polls
    }

    fn said(&mut self) -> Said {
        Said {
            bytes: self.out.take(),
            ended: matches!(self.state, State::Ended),
        }
    }

    /// Ends what has waited too long, and carries out what the hub wants.
    fn look(&mut self) {
        let now = Instant::now();
        match &mut self.state {
            State::Open(session) => {
                let held_until = session.held_until();
                let next = held_until.unwrap_or(self.silent_at);
                let due = session.ends_at().map_or(next, |at| at.min(next));
                let step = match (due <= now, held_until) {
                    (false, _) => Ok(()),
                    (true, Some(until)) if until <= now => {
                        self.silent_at = now + session.keep_alive();
                        session.release(&mut self.out)
                    }
                    (true, _) => Err(session.time_is_up()),
                };
                match step {
                    Ok(()) => self.obey(),
                    Err(ending) => self.end(&ending),
                }
            }
            State::New(_) if self.silent_at <= now => {
                let text = "no CONNECT arrived in time";
                self.end(&Ending::because("R-G12", 400_000, text));
            }
            State::New(_) | State::Ended => {}
        }
    }

    fn begin(&mut self, first: Result<Packet, Malformed>) {
        let State::New(peer) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let (services, out) = (&self.services, &mut self.out);
        match enter(first, *peer, services, self.connection, out) {
            Ok(session) => {
                self.codec.allow(session.packet_bytes_max());
                self.silent_at = Instant::now() + session.keep_alive();
                self.state = State::Open(session);
            }
            Err(event) => services.env.events.emit(event),
        }
    }

    /// Carries out what waits, until there is as much to say as a session says at once.
    fn obey(&mut self) {
        while let State::Open(session) = &mut self.state
            && self.out.len() < DELIVERY_BYTES
        {
            let Some(command) = waiting(session) else {
                return;
            };
            if let Err(ending) = session.obey(command, &mut self.out) {
                self.end(&ending);
            }
        }
    }

    fn end(&mut self, ending: &Ending) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(session) => session.leave(ending, &self.services, self.connection),
            State::New(_) => {
                let connection = self.connection;
                if let Ending::Because(reason) = ending {
                    let reason = reason.clone();
                    let event = Event::ProtocolViolated { connection, reason };
                    self.services.env.events.emit(event);
                }
            }
            State::Ended => {}
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if matches!(self.state, State::Open(_)) {
            self.end(&Ending::closed_by_device());
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Desk").field(&self.connection).finish()
    }
}

/// What the hub wants of the session by now.
fn waiting(session: &Session) -> Option<Command> {
    let command = pin!(session.command());
    match command.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(command) => Some(command),
        Poll::Pending => None,
    }
}
