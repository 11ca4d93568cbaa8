//! What each observation and event changes in a device's record.

use linarite_env::Event;
use linarite_env::event::Fingerprint;

use super::Terms;
use super::device::{Device, Held};
use super::timeline::Standing;
use crate::observation::{Generation, Observation};

/// Where the device stands in the fleet's counts.
pub(super) fn standing(record: &Device) -> Standing {
    match record.session {
        Some(generation) => Standing::Connected(generation.0),
        None if record.awake => Standing::Disconnected,
        None => Standing::Asleep,
    }
}

/// Enters what the device observed.
pub(super) fn observe(record: &mut Device, at: i64, what: &Observation, newest: Generation) {
    match what {
        Observation::Awoke => record.awake = true,
        Observation::FellAsleep | Observation::PowerLost => {
            record.awake = false;
            record.session = None;
        }
        Observation::CredentialStored {
            generation,
            fingerprint,
            not_before,
            not_after,
        } => {
            let held = Held {
                generation: *generation,
                fingerprint: Fingerprint(*fingerprint),
                not_before: *not_before,
                not_after: *not_after,
            };
            record.stored_newest |= *generation == newest;
            record.held.retain(|known| known.generation != *generation);
            record.held.push(held);
        }
        Observation::CredentialDropped { generation } => {
            record.held.retain(|held| held.generation != *generation);
        }
        Observation::RegistrationSucceeded { .. } => record.registered = true,
        Observation::SessionOpened { generation } => record.session = Some(*generation),
        Observation::SessionClosed { planned } => {
            record.session = None;
            // A device that closes its session to sleep does not wait for another.
            record.awake &= !*planned;
        }
        Observation::MessageOffered { sequence } => record.messages.offer(*sequence, at),
        Observation::MessageAcknowledged { sequence } => record.messages.acknowledge(*sequence, at),
        Observation::RegistrationStarted { .. }
        | Observation::RegistrationFailed { .. }
        | Observation::ConnectRefused { .. }
        | Observation::MethodAnswered { .. } => {}
    }
}

/// Enters what the emulator reported of it.
pub(super) fn hear(record: &mut Device, at: i64, event: &Event, terms: &Terms) {
    let newest = terms.newest;
    match event {
        Event::RegistrationAccepted { .. } => record.accepted_at = Some(at),
        Event::RegistrationRefused {
            presented, reason, ..
        }
        | Event::RegistrationEnded {
            presented, reason, ..
        } => {
            record.refused(at, true, *presented, reason.rule, newest);
        }
        Event::SessionRefused {
            presented, reason, ..
        } => {
            record.refused(at, false, *presented, reason.rule, newest);
        }
        Event::DeviceAssigned {
            registration_id, ..
        } => {
            record.note_registration_id(registration_id);
        }
        Event::RegistrationDeleted { registration_id } => {
            record
                .registration_ids
                .retain(|id| !id.eq_ignore_ascii_case(registration_id));
        }
        Event::IdentityCreated {
            hub,
            device_id,
            thumbprints,
        } => {
            record.identity_is(at, (hub, device_id), (true, true), thumbprints);
        }
        Event::IdentityUpdated {
            hub,
            device_id,
            enabled,
            thumbprints,
        } => {
            record.identity_is(at, (hub, device_id), (true, *enabled), thumbprints);
        }
        Event::IdentityDeleted { hub, device_id } => {
            record.identity_is(at, (hub, device_id), (false, false), &[]);
        }
        Event::TelemetryAccepted { message_id, .. } => {
            // The number, with or without the sender's name before it.
            let digits = message_id
                .as_deref()
                .map(|id| id.rsplit('-').next().unwrap_or(id));
            if let Some(sequence) = digits.and_then(|digits| digits.parse().ok()) {
                let troubled = terms.is_troubled(at).then_some(terms.grace_ms);
                record.messages.receive(sequence, at, troubled);
            }
        }
        _ => {}
    }
}
