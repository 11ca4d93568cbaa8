//! Who is connected: opening, taking over and ending sessions (R-G9, R-G13, R-E6 to R-E9).

use std::sync::Arc;
use std::time::Duration;

use linarite_core::hub::admission::{
    self, AdmissionError, Admitted, Found, HubFacts, PresentedCredential,
};
use linarite_core::hub::identity::Identity;
use linarite_core::hub::message::{AuthenticatedBy, Origin};
use linarite_core::hub::presence::Presence;
use linarite_core::hub::session::{self, Cut};
use linarite_core::id::IdentityId;
use linarite_core::time::UnixTime;
use linarite_env::event::{ConnectionId, Reason};
use linarite_env::{Event, UnixMillis};

use super::hub::Hub;
use super::mailbox::{Command, Mailbox};
use super::register::Shown;
use crate::error::ServiceError;
use crate::mqtt::connection::Ending;
use crate::mqtt::topic::HubFilter;
use crate::policy::{Policy, Right};
use crate::store::devices::LiveSession;

/// A set of [`HubFilter`]s, and how the one for cloud-to-device messages was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(u8);

/// How a device wants the messages for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryForm {
    /// At QoS 1, so that it acknowledges them.
    pub(crate) acknowledged: bool,
    /// With its id percent-encoded in the topic: topics must match the filter it wrote.
    pub(crate) encoded: bool,
}

impl Subscriptions {
    const FILTERS: u8 = 0b0001_1111;
    const UNACKNOWLEDGED: u8 = 0b0010_0000;
    const ENCODED: u8 = 0b0100_0000;

    pub(crate) fn add(&mut self, filter: HubFilter) {
        self.0 |= filter as u8;
    }

    /// Notes how cloud-to-device messages are wanted.
    pub(crate) fn set_form(&mut self, form: DeliveryForm) {
        self.0 &= !(Self::UNACKNOWLEDGED | Self::ENCODED);
        if !form.acknowledged {
            self.0 |= Self::UNACKNOWLEDGED;
        }
        if form.encoded {
            self.0 |= Self::ENCODED;
        }
    }

    /// How cloud-to-device messages are wanted.
    pub(crate) fn form(self) -> DeliveryForm {
        DeliveryForm {
            acknowledged: self.0 & Self::UNACKNOWLEDGED == 0,
            encoded: self.0 & Self::ENCODED != 0,
        }
    }

    pub(crate) fn remove(&mut self, filter: HubFilter) {
        self.0 &= !(filter as u8);
    }

    pub(crate) fn has(self, filter: HubFilter) -> bool {
        self.0 & filter as u8 != 0
    }

    pub(crate) fn len(self) -> usize {
        (self.0 & Self::FILTERS).count_ones() as usize
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

/// Who it is that was let in by what it showed (R-G37).
fn origin(identity: &Identity, shown: &Shown) -> Arc<Origin> {
    let by = match shown {
        Shown::Certificate(_) => AuthenticatedBy::X509,
        Shown::Token(_) | Shown::Nothing => AuthenticatedBy::Sas,
    };
    let (id, generation_id) = (identity.id.clone(), &identity.generation_id);
    Arc::new(Origin::authenticated(id, generation_id, by))
}

/// A session that was opened.
pub(crate) struct Opened {
    pub(crate) session_present: bool,
    pub(crate) subscriptions: Subscriptions,
    /// Who the device is, for its messages.
    pub(crate) origin: Arc<Origin>,
    /// When its credential ends it.
    pub(crate) ends: Option<CredentialEnd>,
}

/// When a session ends because of the credential that opened it.
#[derive(Clone, Debug)]
pub(crate) struct CredentialEnd {
    /// How long that is from now.
    pub(crate) after: Duration,
    pub(crate) reason: Reason,
}

impl Hub {
    /// Judges a newcomer and, if it is let in, makes it the one session of its identity.
    ///
    /// The judging and the take-over happen under the device's lock, so a credential that is
    /// replaced at the same time decides either before or after, never in between.
    pub(crate) fn open_session(&self, newcomer: Newcomer<'_>) -> Result<Opened, ServiceError> {
        let policy = self.policy_of(&newcomer.shown);
        let judge = |found: Option<Found<'_>>| {
            self.judge(newcomer.id, found, &newcomer.shown, policy.as_ref())
        };
        let opened = self.devices.change_of(newcomer.id, |held, device| {
            let identity = &held.identity;
            let admitted = judge(Some(Found { identity, device }))?;
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
            let opened = Opened {
                session_present: kept.is_some(),
                subscriptions,
                origin: origin(&held.identity, &newcomer.shown),
                ends: self.credential_end(&admitted),
            };
            let replaced = held.live.replace(live);
            self.hand_over_messages(held, kept.is_some());
            Ok((opened, replaced))
        });
        // Nobody of that name: the same rules say so.
        let opened = opened.unwrap_or_else(|| Err(not_found(newcomer.id, judge(None))));
        let opened = opened.map_err(|error| self.refuse(newcomer.id, &newcomer.shown, &error));
        let (opened, replaced) = opened?;
        self.env.events.emit(Event::SessionOpened {
            hub: self.name(),
            device_id: newcomer.id.text(),
            connection: newcomer.connection,
            presented: newcomer.shown.fingerprint(),
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

    /// Judges a single request of a device, as if it connected; it opens no session.
    ///
    /// # Errors
    /// As [`Self::open_session`], and 503000 while the hub restarts.
    pub(crate) fn admit_request(
        &self,
        id: &IdentityId,
        shown: &Shown,
    ) -> Result<Arc<Origin>, ServiceError> {
        self.is_up()?;
        let policy = self.policy_of(shown);
        let judge = |found: Option<Found<'_>>| self.judge(id, found, shown, policy.as_ref());
        let admitted = self.devices.change_of(id, |held, device| {
            let identity = &held.identity;
            judge(Some(Found { identity, device }))?;
            Ok(origin(identity, shown))
        });
        let admitted = admitted.unwrap_or_else(|| Err(not_found(id, judge(None))));
        admitted.map_err(|error| self.refuse(id, shown, &error))
    }

    /// Tells that somebody was not let in.
    fn refuse(&self, id: &IdentityId, shown: &Shown, error: &AdmissionError) -> ServiceError {
        let error = ServiceError::from(error);
        self.env.events.emit(Event::SessionRefused {
            hub: self.name(),
            device_id: id.text(),
            presented: shown.fingerprint(),
            reason: error.reason(),
        });
        error
    }

    /// Judges what was shown in the name of `id`, under the lock of who was found there.
    fn judge(
        &self,
        id: &IdentityId,
        found: Option<Found<'_>>,
        shown: &Shown,
        policy: Option<&Policy>,
    ) -> Result<Admitted, AdmissionError> {
        let presented = match (shown, policy) {
            (Shown::Certificate(chain), _) => PresentedCredential::Certificate(chain),
            (Shown::Nothing, _) => PresentedCredential::None,
            (Shown::Token(token), None) => PresentedCredential::Sas(token),
            (Shown::Token(token), Some(policy)) => PresentedCredential::PolicySas {
                token,
                keys: policy.keys(),
                connects: policy.rights.hold(Right::DeviceConnect),
            },
        };
        let hub = HubFacts {
            host: &self.host,
            ca_store: &self.certificates.store(),
            settings: &self.settings,
        };
        admission::admit(id, found, presented, &hub, self.env.clock.now())
    }

    /// The policy of this hub in whose name a token was made.
    fn policy_of(&self, shown: &Shown) -> Option<Policy> {
        match shown {
            Shown::Token(token) => self.policy.find(token.skn()?),
            Shown::Certificate(_) | Shown::Nothing => None,
        }
    }

    fn credential_end(&self, admitted: &Admitted) -> Option<CredentialEnd> {
        let (at, cut) = session::end_of(admitted.by(), &self.settings)?;
        let after = self.until(at);
        let reason = ending(cut);
        Some(CredentialEnd { after, reason })
    }

    /// How long it is until the first moment of the second `at`.
    fn until(&self, at: UnixTime) -> Duration {
        let ms = UnixMillis(at.0.saturating_mul(1000)).since(self.env.clock.now_ms());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// Ends a session that was taken away from its identity.
    pub(super) fn cut_off(&self, live: &LiveSession, cut: Cut) {
        let (after, reason) = (cut.delay_seconds(&self.settings), ending(cut));
        let command = match after {
            0 => Command::Close(reason),
            seconds => Command::CloseLater {
                after: Duration::from_secs(u64::from(seconds)),
                reason,
            },
        };
        // A close always fits into a mailbox.
        let _ = live.mailbox.put(command);
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
            self.release_messages(held, connection);
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
                self.nudge(held);
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

/// What the rules say where nobody has that name.
fn not_found(id: &IdentityId, judged: Result<Admitted, AdmissionError>) -> AdmissionError {
    let resource = id.path();
    judged
        .err()
        .unwrap_or(AdmissionError::DeviceNotFound { resource })
}

/// What is told of a session that the hub ends by itself.
fn ending(cut: Cut) -> Reason {
    Reason {
        rule: cut.rule(),
        code: 404_104,
        text: cut.reason().to_owned(),
    }
}
