//! Who is connected: opening, taking over and ending sessions (R-G9, R-G13, R-E6 to R-E9).

use std::sync::Arc;

use linarite_core::hub::admission::{self, AdmissionError, Found, PresentedCredential};
use linarite_core::hub::identity::Identity;
use linarite_core::hub::message::{AuthenticatedBy, Origin};
use linarite_core::hub::presence::Presence;
use linarite_core::id::IdentityId;
use linarite_env::Event;
use linarite_env::event::{ConnectionId, Reason};

use super::hub::Hub;
use super::mailbox::{Command, Mailbox};
use super::register::Shown;
use crate::error::ServiceError;
use crate::mqtt::connection::Ending;
use crate::mqtt::topic::HubFilter;
use crate::store::devices::LiveSession;

/// A set of [`HubFilter`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(u8);

impl Subscriptions {
    pub(crate) fn add(&mut self, filter: HubFilter) {
        self.0 |= filter as u8;
    }

    pub(crate) fn remove(&mut self, filter: HubFilter) {
        self.0 &= !(filter as u8);
    }

    pub(crate) fn has(self, filter: HubFilter) -> bool {
        self.0 & filter as u8 != 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// A device or module at the hub's door.
pub(crate) struct Newcomer<'a> {
    pub(crate) id: &'a IdentityId,
    pub(crate) shown: Shown,
    pub(crate) connection: ConnectionId,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Whether it wants nothing of an earlier session.
    pub(crate) clean: bool,
}

impl Newcomer<'_> {
    /// Who it is, once it was let in (R-G37).
    fn origin(&self, identity: &Identity) -> Origin {
        let by = match self.shown {
            Shown::Certificate(_) => AuthenticatedBy::X509,
            Shown::Token(_) | Shown::Nothing => AuthenticatedBy::Sas,
        };
        Origin::authenticated(self.id.clone(), &identity.generation_id, by)
    }
}

/// A session that was opened.
pub(crate) struct Opened {
    pub(crate) session_present: bool,
    pub(crate) subscriptions: Subscriptions,
    /// Who the device is, for its messages.
    pub(crate) origin: Arc<Origin>,
}

impl Hub {
    /// Judges a newcomer and, if it is let in, makes it the one session of its identity.
    ///
    /// The judging and the take-over happen under the device's lock, so a credential that is
    /// replaced at the same time decides either before or after, never in between.
    pub(crate) fn open_session(&self, newcomer: Newcomer<'_>) -> Result<Opened, ServiceError> {
        let presented = newcomer.shown.fingerprint();
        let now = self.env.clock.now();
        let resource = format!("{}/{}", self.host, newcomer.id.path());
        let judge = |found: Option<Found<'_>>| {
            let credential = match &newcomer.shown {
                Shown::Certificate(chain) => PresentedCredential::Certificate(chain),
                Shown::Token(token) => PresentedCredential::Sas(token),
                Shown::Nothing => PresentedCredential::None,
            };
            admission::admit(found, credential, &resource, now).map(|_admitted| ())
        };
        let opened = self.devices.change_of(newcomer.id, |held, device| {
            judge(Some(Found {
                identity: &held.identity,
                device,
            }))?;
            let kept = held.kept.take().filter(|_| !newcomer.clean);
            let subscriptions = kept.unwrap_or_default();
            held.kept = (!newcomer.clean).then_some(subscriptions);
            let now_ms = self.env.clock.now_ms();
            held.connection_changed = Some(now_ms);
            held.last_activity = Some(now_ms);
            let live = LiveSession {
                connection: newcomer.connection,
                mailbox: Arc::clone(&newcomer.mailbox),
                subscriptions,
            };
            let replaced = held.live.replace(live);
            Ok((
                Opened {
                    session_present: kept.is_some(),
                    subscriptions,
                    origin: Arc::new(newcomer.origin(&held.identity)),
                },
                replaced,
            ))
        });
        // Nobody of that name: the same rules say so.
        let opened = opened.unwrap_or_else(|| {
            Err(judge(None).err().unwrap_or(AdmissionError::DeviceNotFound {
                resource: resource.clone(),
            }))
        });
        let (opened, replaced) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let error = ServiceError::from(&error);
                self.env.events.emit(Event::SessionRefused {
                    hub: self.name(),
                    device_id: newcomer.id.text(),
                    presented,
                    reason: error.reason(),
                });
                return Err(error);
            }
        };
        self.env.events.emit(Event::SessionOpened {
            hub: self.name(),
            device_id: newcomer.id.text(),
            connection: newcomer.connection,
            presented,
        });
        if let Some(old) = replaced {
            let text = "a new connection of the same device took over".to_owned();
            let reason = Reason {
                rule: "R-G13",
                code: 400_027,
                text,
            };
            let _ = old.mailbox.put(Command::Close(reason));
        }
        self.presence.note(newcomer.id, Presence::opened);
        self.note_interest(newcomer.id, opened.subscriptions);
        self.connected.notify_waiters();
        Ok(opened)
    }

    /// Forgets a session that ended, unless another one took its place.
    pub(crate) fn close_session(&self, id: &IdentityId, connection: ConnectionId, ending: &Ending) {
        self.devices.change(id, |held| {
            let live = held.live.as_ref();
            if live.is_some_and(|live| live.connection == connection) {
                held.live = None;
                held.connection_changed = Some(self.env.clock.now_ms());
            }
            if held.live.is_none() {
                self.presence.note(id, Presence::closed);
            }
        });
        let reason = match ending {
            Ending::Because(reason) => reason.clone(),
            Ending::Disconnected => Reason {
                rule: "R-G12",
                code: 0,
                text: "the device disconnected".to_owned(),
            },
        };
        self.env.events.emit(Event::SessionClosed {
            hub: self.name(),
            device_id: id.text(),
            connection,
            reason,
        });
    }

    /// Notes what a session subscribed to, for callers and for the next connection (W12).
    pub(crate) fn remember_subscriptions(
        &self,
        id: &IdentityId,
        connection: ConnectionId,
        subscriptions: Subscriptions,
    ) {
        self.devices.change(id, |held| {
            let Some(live) = &mut held.live else { return };
            if live.connection == connection {
                live.subscriptions = subscriptions;
                if held.kept.is_some() {
                    held.kept = Some(subscriptions);
                }
            }
        });
        self.note_interest(id, subscriptions);
        self.connected.notify_waiters();
    }

    /// A device that asks for cloud-to-device messages is one whose connections are told of.
    fn note_interest(&self, id: &IdentityId, subscriptions: Subscriptions) {
        if subscriptions.has(HubFilter::CloudToDevice) {
            self.presence.note(id, Presence::reported);
        }
    }
}
