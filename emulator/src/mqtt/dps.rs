//! A device's session at DPS (behaviour B.1, wire 2).
//!
//! Register and status requests come in as topics and leave as calls of the registration
//! service; answers go back in the order SDKs insist on. Sessions are never persistent (R-B10).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linarite_core::dps::registration::Transport;
use linarite_core::dps::reprovision::DeviceApi;
use linarite_core::hub::session::silence_allowed_ms;
use linarite_core::sas::SharedAccessSignature;
use linarite_env::event::Reason;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3::{Connect, ConnectAckReason, Packet};

use super::connection::{Ending, Refused};
use super::outbox::Outbox;
use super::topic::{DPS_RESPONSES, DpsPublish, dps_response};
use crate::error::ServiceError;
use crate::limits::FILTERS_PER_SUBSCRIBE_MAX;
use crate::service::Services;
use crate::service::register::{Asked, Shown};
use crate::tls::peer::PeerIdentity;
use crate::wire::dps::{self as body, Answer, RegisterBody};
use crate::wire::version::ApiVersion;

/// What a CONNECT to DPS names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) id_scope: &'a str,
    pub(super) registration_id: &'a str,
    pub(super) api_version: Option<&'a str>,
}

/// A session at DPS.
pub(crate) struct DpsSession {
    services: Arc<Services>,
    registration_id: Arc<str>,
    shown: Shown,
    api: DeviceApi,
    version: ApiVersion,
    keep_alive: Duration,
    /// At which QoS answers are wanted; `None` before the subscription.
    answers: Option<QoS>,
}

impl DpsSession {
    /// Opens a session and writes its CONNACK.
    pub(super) fn open(
        connect: &Connect,
        named: &Named<'_>,
        peer: PeerIdentity,
        services: &Arc<Services>,
        out: &mut Outbox,
    ) -> Result<Self, Refused> {
        let Named {
            id_scope,
            registration_id,
            api_version,
        } = *named;
        let expected = services.config.dps.id_scope.as_str();
        if id_scope != expected {
            let text = format!("id scope {id_scope} is not served here; expected {expected}");
            return Err(refused(
                ConnectAckReason::NotAuthorized,
                "R-A30",
                401_000,
                text,
            ));
        }
        if !connect.client_id.eq_ignore_ascii_case(registration_id) {
            let text = format!(
                "client id {} differs from registration id {registration_id}",
                connect.client_id
            );
            return Err(refused(
                ConnectAckReason::IdentifierRejected,
                "R-B10",
                400_004,
                text,
            ));
        }
        let version = version(api_version)?;
        let shown = shown(connect, peer)?;
        out.connack(ConnectAckReason::ConnectionAccepted, false);
        Ok(Self {
            services: Arc::clone(services),
            registration_id: registration_id.into(),
            shown,
            api: DeviceApi::of_version(api_version),
            version,
            keep_alive: session_silence(connect.keep_alive),
            answers: None,
        })
    }

    pub(super) fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// How many polls that come `every` so often are sure to change nothing.
    pub(super) fn polls_in_vain(&self, every: Duration) -> u32 {
        // A session that is silent for longer ends before the next poll.
        if every >= self.keep_alive {
            return 0;
        }
        let register = &self.services.register;
        register.polls_in_vain(&self.registration_id, every)
    }

    /// Takes one packet; what is to be said goes to `out`.
    pub(super) fn handle(&mut self, packet: Packet, out: &mut Outbox) -> Result<(), Ending> {
        match packet {
            Packet::Subscribe {
                packet_id,
                topic_filters,
            } => {
                let filters: Vec<_> = topic_filters
                    .iter()
                    .map(|(filter, qos)| (&**filter, *qos))
                    .collect();
                let granted = self.subscribe(&filters)?;
                out.suback(packet_id, &granted);
                Ok(())
            }
            Packet::Unsubscribe { packet_id, .. } => {
                self.answers = None;
                out.unsuback(packet_id);
                Ok(())
            }
            Packet::Publish(publish) => {
                let Some(request) = DpsPublish::parse(&publish.topic) else {
                    let text = format!("topic {} does not exist at DPS", publish.topic);
                    return Err(Ending::because("R-B10", 400_000, text));
                };
                // CS fails unless the PUBACK precedes the answer (W6).
                if let Some(packet_id) = publish.packet_id {
                    out.puback(packet_id);
                }
                let (rid, answer) = self.answer(request, &publish.payload);
                self.say(rid, answer, out)
            }
            Packet::PingRequest => {
                out.pong();
                Ok(())
            }
            Packet::PublishAck { .. } => Ok(()),
            _ => Err(Ending::because("R-B10", 400_000, "a packet out of place")),
        }
    }

    fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Result<Vec<QoS>, Ending> {
        if filters.len() > FILTERS_PER_SUBSCRIBE_MAX {
            return Err(Ending::because(
                "R-B10",
                400_000,
                "too many filters in one SUBSCRIBE",
            ));
        }
        let mut granted = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            if *filter != DPS_RESPONSES {
                let text = format!("filter {filter} is not one DPS grants");
                return Err(Ending::because("R-B10", 400_000, text));
            }
            let qos = qos.less_value(QoS::AtLeastOnce);
            self.answers = Some(qos);
            granted.push(qos);
        }
        Ok(granted)
    }

    fn answer<'a>(
        &self,
        request: DpsPublish<'a>,
        payload: &Bytes,
    ) -> (&'a str, Result<Answer, ServiceError>) {
        let id = &self.registration_id;
        let register = &self.services.register;
        match request {
            DpsPublish::Register { rid } => {
                let beginning = body::read_register_body(payload, id)
                    .and_then(|body| register.begin(id, self.asked(body)));
                let names = &self.services.names;
                let now = self.services.env.clock.now_ms();
                let answer = |beginning| body::beginning(&beginning, &names.tracking_id(), now);
                (rid, beginning.map(answer))
            }
            DpsPublish::OperationStatus { rid, operation_id } => {
                let state =
                    register.operation(id, operation_id, &self.asked(RegisterBody::default()));
                (
                    rid,
                    state.map(|state| body::operation(&state, self.version)),
                )
            }
        }
    }

    fn asked(&self, body: RegisterBody) -> Asked {
        Asked {
            shown: self.shown.clone(),
            tpm: body.tpm,
            payload: body.payload,
            transport: Transport::Mqtt,
            api: self.api,
        }
    }

    fn say(
        &self,
        rid: &str,
        answer: Result<Answer, ServiceError>,
        out: &mut Outbox,
    ) -> Result<(), Ending> {
        let Some(qos) = self.answers else {
            return Ok(());
        };
        let answer = answer.unwrap_or_else(|error| {
            body::error(
                &error,
                &self.services.names.tracking_id(),
                self.services.env.clock.now_ms(),
            )
        });
        let topic = dps_response(answer.status, rid, answer.retry_after_seconds);
        out.publish(topic, qos, answer.body)?;
        Ok(())
    }
}

/// A CONNECT that is refused.
pub(super) fn refused(
    connack: ConnectAckReason,
    rule: &'static str,
    code: u32,
    text: String,
) -> Refused {
    Refused {
        connack,
        reason: Reason { rule, code, text },
    }
}

/// The version of the device API that a CONNECT names.
fn version(api_version: Option<&str>) -> Result<ApiVersion, Refused> {
    ApiVersion::parse(api_version.unwrap_or_default()).map_err(|error| {
        let connack = ConnectAckReason::BadUserNameOrPassword;
        refused(connack, "R-B10", error.code, error.message)
    })
}

/// What a CONNECT shows to be judged: a token if it brings one, else the certificate.
pub(super) fn shown(connect: &Connect, peer: PeerIdentity) -> Result<Shown, Refused> {
    let Some(password) = connect
        .password
        .as_ref()
        .filter(|password| !password.is_empty())
    else {
        return Ok(match peer {
            PeerIdentity::Certificate(chain) => Shown::Certificate(chain),
            PeerIdentity::NoCertificate => Shown::Nothing,
        });
    };
    let token = std::str::from_utf8(password)
        .map_err(|_| "the password is not UTF-8".to_owned())
        .and_then(|text| SharedAccessSignature::parse(text).map_err(|error| error.to_string()));
    match token {
        Ok(token) => Ok(Shown::Token(token)),
        Err(text) => Err(refused(
            ConnectAckReason::BadUserNameOrPassword,
            "R-A31",
            401_000,
            text,
        )),
    }
}

/// The silence after which a session ends.
pub(super) fn session_silence(keep_alive_seconds: u16) -> Duration {
    Duration::from_millis(silence_allowed_ms(keep_alive_seconds))
}
