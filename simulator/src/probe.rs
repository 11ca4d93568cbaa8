//! An auditor's attempts to use a credential: would the services still let it in?
//!
//! A probe at the hub that succeeds takes over the session of the device it names, as any
//! holder of the credential would.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use linarite_env::Clock;
use tokio::time::timeout;

use crate::driver::transport::{Dialer, Manner, Transport};
use crate::endpoint::{Connector, Services};
use crate::pki::Credential;
use crate::wire::dps::{self, Answer, Meaning};
use crate::wire::{self, ConnectReturnCode, Packet, hub};

/// Longest time for a probe's whole conversation.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);

/// Keep-alive a probe announces, seconds; it never stays that long.
const KEEP_ALIVE: u16 = 60;

/// Shortest and default delay before a poll.
const POLL_DELAY: Duration = Duration::from_secs(2);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The hub let the credential in; or DPS assigned it.
    Accepted,
    /// The service refused it.
    Refused {
        /// MQTT CONNACK return code; 0 where the refusal came later.
        connack: u8,
        /// HTTP-like status of DPS's answer; 0 where there was none.
        status: u16,
        /// Azure's error number; 0 where there was none.
        code: u32,
        /// What the answer said.
        text: String,
    },
    /// There was no answer, so nothing is known about the credential.
    Unreachable {
        /// What went wrong.
        text: String,
    },
}

/// Tries to open a session at the hub `hub` as `device_id`, and leaves at once.
pub async fn probe_hub(
    services: &Services,
    connector: Arc<dyn Connector>,
    clock: &Clock,
    hub: &str,
    device_id: &str,
    credential: &Credential,
) -> ProbeOutcome {
    let conversation = async {
        let mut transport = open(services, connector, clock, hub, credential).await?;
        let packet = hub::connect_packet(hub, device_id, KEEP_ALIVE);
        let outcome = enter(&mut transport, packet).await?;
        leave(transport).await;
        Ok(outcome.unwrap_or(ProbeOutcome::Accepted))
    };
    bounded(conversation).await
}

/// Tries to register as `registration_id`. One that is accepted has all effects of a
/// registration.
pub async fn probe_dps(
    services: &Services,
    connector: Arc<dyn Connector>,
    clock: &Clock,
    registration_id: &str,
    credential: &Credential,
) -> ProbeOutcome {
    let conversation = async {
        let host = &services.dps_host;
        let mut transport = open(services, connector, clock, host, credential).await?;
        let packet = dps::connect_packet(&services.id_scope, registration_id);
        let outcome = match enter(&mut transport, packet).await? {
            Some(refused) => refused,
            None => register(&mut transport, registration_id).await?,
        };
        leave(transport).await;
        Ok(outcome)
    };
    bounded(conversation).await
}

async fn bounded(conversation: impl Future<Output = Result<ProbeOutcome, String>>) -> ProbeOutcome {
    match timeout(PROBE_TIMEOUT, Box::pin(conversation)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(text)) => ProbeOutcome::Unreachable { text },
        Err(_) => ProbeOutcome::Unreachable {
            text: "no answer within 300 s".to_owned(),
        },
    }
}

async fn open(
    services: &Services,
    connector: Arc<dyn Connector>,
    clock: &Clock,
    host: &str,
    credential: &Credential,
) -> Result<Transport, String> {
    let dialer = Dialer::new(services, connector, clock, 1).map_err(|error| error.to_string())?;
    dialer.open(host, credential, Manner::default(), None).await
}

/// Sends CONNECT; gives the refusal, if it is one.
async fn enter(transport: &mut Transport, packet: Packet) -> Result<Option<ProbeOutcome>, String> {
    transport.send(&packet).await.map_err(broken)?;
    loop {
        if let Packet::ConnAck(connack) = transport.packet().await.map_err(broken)? {
            return Ok(match connack.code {
                ConnectReturnCode::Success => None,
                code => Some(ProbeOutcome::Refused {
                    connack: wire::connack_number(code),
                    status: 0,
                    code: 0,
                    text: wire::connack_text(code).to_owned(),
                }),
            });
        }
    }
}

async fn register(
    transport: &mut Transport,
    registration_id: &str,
) -> Result<ProbeOutcome, String> {
    transport
        .send(&dps::subscribe_packet(1))
        .await
        .map_err(broken)?;
    let mut request = 2;
    let mut packet = dps::register_packet(registration_id, request);
    loop {
        transport.send(&packet).await.map_err(broken)?;
        let answer = answer(transport, request).await?;
        request += 1;
        let said = answer
            .retry_after
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        let transient = answer.is_transient();
        match answer.meaning {
            Meaning::Assigned { .. } => return Ok(ProbeOutcome::Accepted),
            Meaning::Assigning { operation } => packet = dps::poll_packet(&operation, request),
            // A throttled request is asked again under its old number.
            Meaning::Refused { .. } if transient => request -= 1,
            Meaning::Refused { code, text } => {
                let status = answer.status;
                return Ok(ProbeOutcome::Refused {
                    connack: 0,
                    status,
                    code,
                    text,
                });
            }
        }
        tokio::time::sleep(said.unwrap_or(POLL_DELAY).max(POLL_DELAY)).await;
    }
}

async fn answer(transport: &mut Transport, request: u16) -> Result<Answer, String> {
    loop {
        let Packet::Publish(publish) = transport.packet().await.map_err(broken)? else {
            continue;
        };
        if let Some(packet) = wire::acknowledgement(&publish) {
            transport.send(&packet).await.map_err(broken)?;
        }
        let answer = Answer::read(&publish.topic, &publish.payload);
        if let Some(answer) = answer.filter(|answer| answer.request == request) {
            return Ok(answer);
        }
    }
}

async fn leave(mut transport: Transport) {
    // What the service thinks of the good-bye does not change the outcome.
    let _ = transport.send(&Packet::Disconnect).await;
    transport.close().await;
}

fn broken(error: impl Display) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests;
