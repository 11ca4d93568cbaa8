//! How the trace spells what it hears: names and numbers, no words of an answer.

use linarite_env::Event;
use linarite_env::event::Fingerprint;

use crate::observation::Observation;

/// An observation in one line.
pub(super) fn observation_line(what: &Observation) -> String {
    match what {
        Observation::Awoke => "awoke".to_owned(),
        Observation::PowerLost => "lost power".to_owned(),
        Observation::FellAsleep => "fell asleep".to_owned(),
        Observation::CredentialStored { generation, .. } => format!("stored {generation}"),
        Observation::CredentialDropped { generation } => format!("dropped {generation}"),
        Observation::RegistrationStarted { generation } => format!("registering {generation}"),
        Observation::RegistrationSucceeded {
            generation,
            hub,
            device_id,
        } => {
            format!("registered {generation} {hub} {device_id}")
        }
        Observation::RegistrationFailed {
            generation,
            status,
            code,
            ..
        } => {
            format!("not registered {generation} {status} {code}")
        }
        Observation::SessionOpened { generation } => format!("session {generation}"),
        Observation::ConnectRefused {
            generation,
            connack,
            ..
        } => {
            format!("no session {generation} {connack}")
        }
        Observation::SessionClosed { planned } => format!("session closed {planned}"),
        Observation::MessageOffered { sequence } => format!("offered {sequence}"),
        Observation::MessageAcknowledged { sequence } => format!("acknowledged {sequence}"),
        Observation::MethodAnswered { method, status } => format!("answered {method} {status}"),
    }
}

/// An event as the trace spells it; `None` for what names nothing of the fleet.
pub(super) fn event_line(
    event: &Event,
    generation: impl Fn(Fingerprint) -> String,
) -> Option<String> {
    let shown = |presented: &Option<Fingerprint>| match presented {
        Some(shown) => generation(*shown),
        None => "nothing".to_owned(),
    };
    let all = |thumbprints: &[Fingerprint]| {
        let names: Vec<String> = thumbprints.iter().map(|one| generation(*one)).collect();
        names.join(" ")
    };
    Some(match event {
        Event::RegistrationAccepted { presented, .. } => {
            format!("registration accepted {}", shown(presented))
        }
        Event::RegistrationRefused {
            presented, reason, ..
        } => {
            format!("registration refused {} {}", shown(presented), reason.rule)
        }
        Event::DeviceAssigned {
            device_id,
            hub,
            substatus,
            presented,
            slot,
            ..
        } => {
            format!(
                "assigned {device_id} {hub} {substatus} {slot:?} {}",
                shown(presented)
            )
        }
        Event::RegistrationEnded { status, reason, .. } => {
            format!("registration ended {status} {}", reason.rule)
        }
        Event::IdentityCreated {
            hub,
            device_id,
            thumbprints,
        } => {
            format!("identity created {hub} {device_id} {}", all(thumbprints))
        }
        Event::IdentityUpdated {
            hub,
            device_id,
            enabled,
            thumbprints,
        } => {
            format!(
                "identity updated {hub} {device_id} {enabled} {}",
                all(thumbprints)
            )
        }
        Event::IdentityDeleted { hub, device_id } => {
            format!("identity deleted {hub} {device_id}")
        }
        Event::SessionOpened { hub, presented, .. } => {
            format!("session opened {hub} {}", shown(presented))
        }
        Event::SessionRefused {
            hub,
            presented,
            reason,
            ..
        } => {
            format!("session refused {hub} {} {}", shown(presented), reason.rule)
        }
        Event::SessionClosed { hub, reason, .. } => {
            format!("session closed {hub} {}", reason.code)
        }
        Event::TelemetryAccepted { message_id, .. } => {
            format!("message {}", message_id.as_deref().unwrap_or("unnamed"))
        }
        Event::MethodAnswered { method, status, .. } => {
            format!("method answered {method} {status}")
        }
        Event::MethodFailed { method, reason, .. } => {
            format!("method failed {method} {}", reason.code)
        }
        Event::WebhookAnswered { hub, .. } => format!("webhook answered {hub}"),
        Event::WebhookFailed { reason, .. } => format!("webhook failed {}", reason.code),
        Event::EnrollmentWritten { id, enabled, .. } => {
            format!("enrollment written {id} {enabled}")
        }
        Event::EnrollmentDeleted { id, .. } => format!("enrollment deleted {id}"),
        Event::CaCertificateWritten {
            hub: None,
            name,
            verified,
        } => {
            format!("certificate written {name} {verified}")
        }
        Event::CaCertificateVerified { hub: None, name } => format!("certificate verified {name}"),
        Event::CaCertificateDeleted { hub: None, name } => format!("certificate deleted {name}"),
        _ => return None,
    })
}
