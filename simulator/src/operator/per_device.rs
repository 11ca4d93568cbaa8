//! What is done to each device of the fleet, sixteen at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::hubs::direct_method;
use super::{Operator, Progress};
use crate::checker::AuditOutcome;
use crate::observation::{DeviceIndex, Generation};
use crate::pki::Credential;
use crate::probe::{ProbeOutcome, probe_dps, probe_hub};
use crate::scenario::{Allocation, IdentityChange};

/// Devices attended to at a time.
const AT_ONCE: usize = 16;

/// Something to be done for each device.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// Save its individual enrollment.
    Save(Entry),
    /// Delete its individual enrollment.
    Delete,
    /// Change its identity at its hub.
    Identity(IdentityChange),
    /// Call a direct method.
    Call(Arc<str>),
    /// Try a certificate of this generation as somebody else would.
    Audit {
        generation: Generation,
        hub: bool,
        dps: bool,
    },
}

/// What an individual enrollment is to hold.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) slots: [Option<Generation>; 2],
    pub(super) disabled: bool,
    pub(super) allocation: Option<Allocation>,
}

impl Operator {
    /// Runs `errand` for every device whose number `one_in` divides.
    pub(super) async fn run(
        self: &Arc<Self>,
        errand: Errand,
        one_in: u32,
        progress: &mut Progress,
    ) {
        let devices = u32::try_from(self.tools.registration_ids.len()).unwrap_or(u32::MAX);
        let next = Arc::new(AtomicU32::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (operator, errand, next) = (Arc::clone(self), errand.clone(), Arc::clone(&next));
            workers.spawn(async move {
                let mut done = Progress::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(device) = number.checked_mul(one_in).filter(|&d| d < devices) else {
                        return done;
                    };
                    let device = DeviceIndex(device);
                    let result = operator.attend(device, &errand).await;
                    done.add(result.map_err(|reason| operator.naming(device, &reason)));
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            match done {
                Ok(done) => {
                    progress.succeeded += done.succeeded;
                    progress.failed += done.failed;
                    progress.failures.extend(done.failures);
                }
                Err(error) => progress.add(Err(error.to_string())),
            }
        }
        progress.failures.sort_unstable();
        progress.failures.truncate(super::FAILURES_KEPT);
    }

    async fn attend(&self, device: DeviceIndex, errand: &Errand) -> Result<(), String> {
        match errand {
            Errand::Save(entry) => self.put_individual(device, entry).await,
            Errand::Delete => self.delete_individual(device).await,
            Errand::Identity(change) => self.change_identity(device, *change).await,
            Errand::Call(method) => self.call_method(device, method).await,
            Errand::Audit {
                generation,
                hub,
                dps,
            } => {
                let at_dps = match dps {
                    true => self.audit_dps(device, *generation).await,
                    false => Ok(()),
                };
                let at_hub = match hub {
                    true => self.audit_hub(device, *generation).await,
                    false => Ok(()),
                };
                at_dps.and(at_hub)
            }
        }
    }

    /// Calls a method on the hub that DPS says the device is on.
    async fn call_method(&self, device: DeviceIndex, method: &str) -> Result<(), String> {
        let (hub, device_id) = self.whereabouts(device).await?;
        let path = format!("/twins/{device_id}/methods");
        let body = direct_method(method);
        let answer = self
            .hub(&hub, Method::POST, &path, None, Some(body))
            .await
            .map_err(|error| error.to_string())?;
        match answer.get("status").and_then(Value::as_i64) {
            Some(status) if (200..300).contains(&status) => Ok(()),
            Some(status) => Err(format!("the device answered {method} with {status}")),
            None => Err(format!("the answer to {method} holds no status")),
        }
    }

    async fn audit_hub(&self, device: DeviceIndex, generation: Generation) -> Result<(), String> {
        let (hub, device_id) = self.whereabouts(device).await?;
        let credential = self.credential(device, generation)?;
        let tools = &self.tools;
        let connector = Arc::clone(&tools.connector);
        let clock = &tools.env.clock;
        let outcome = probe_hub(
            &tools.services,
            connector,
            clock,
            &hub,
            &device_id,
            credential,
        )
        .await;
        self.note_audit(device, generation, "the hub", outcome)
    }

    async fn audit_dps(&self, device: DeviceIndex, generation: Generation) -> Result<(), String> {
        let credential = self.credential(device, generation)?;
        let tools = &self.tools;
        let connector = Arc::clone(&tools.connector);
        let (clock, name) = (&tools.env.clock, credential.common_name());
        let outcome = probe_dps(&tools.services, connector, clock, name, credential).await;
        self.note_audit(device, generation, "DPS", outcome)
    }

    /// A retired certificate that is refused is a success.
    fn note_audit(
        &self,
        device: DeviceIndex,
        generation: Generation,
        place: &'static str,
        outcome: ProbeOutcome,
    ) -> Result<(), String> {
        let (outcome, result) = match outcome {
            ProbeOutcome::Accepted => (
                AuditOutcome::Accepted,
                Err(format!("{place} accepted {generation}")),
            ),
            ProbeOutcome::Refused { .. } => (AuditOutcome::Refused, Ok(())),
            ProbeOutcome::Unreachable { text } => {
                let words = format!("no answer from {place}: {text}");
                (AuditOutcome::Unanswered(text), Err(words))
            }
        };
        let now = self.tools.env.clock.now_ms();
        self.tools
            .ledger
            .audited(device, generation, place, now, outcome);
        result
    }

    /// Hub and device id of a device, as DPS remembers them.
    pub(super) async fn whereabouts(
        &self,
        device: DeviceIndex,
    ) -> Result<(String, String), String> {
        let id = self.registration_id(device)?;
        let record = self
            .dps(Method::GET, &format!("/registrations/{id}"), None, None)
            .await;
        let record = record.map_err(|error| error.to_string())?;
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        if let (Some(hub), Some(device_id)) = (text("assignedHub"), text("deviceId")) {
            return Ok((hub, device_id));
        }
        // DPS keeps no hub of a device that it refuses; the hubs know whom they have.
        for (hub, _) in &self.tools.services.hubs {
            let path = format!("/devices/{id}");
            if self.hub(hub, Method::GET, &path, None, None).await.is_ok() {
                return Ok((hub.clone(), id.to_string()));
            }
        }
        Err("neither DPS nor a hub knows where it is".to_owned())
    }

    pub(super) fn registration_id(&self, device: DeviceIndex) -> Result<Arc<str>, String> {
        let id = self.tools.registration_ids.get(device.0 as usize).cloned();
        id.ok_or_else(|| format!("there is no device {}", device.0))
    }

    pub(super) fn credential(
        &self,
        device: DeviceIndex,
        generation: Generation,
    ) -> Result<&Credential, String> {
        let issued = self.tools.credentials.get(&generation);
        issued
            .and_then(|issued| issued.get(device.0 as usize))
            .ok_or_else(|| format!("nobody issued {generation}"))
    }

    fn naming(&self, device: DeviceIndex, reason: &str) -> String {
        let name = self.tools.registration_ids.get(device.0 as usize);
        format!("{}: {reason}", name.map_or("?", |name| name))
    }
}
