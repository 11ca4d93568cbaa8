//! What comes before a storm with TLS whose devices were provisioned once; see
//! [`super::super::prologue`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linarite_env::UnixMillis;
use tokio::sync::Notify;

use super::super::Plan;
use super::super::field::past_of;
use super::super::prologue::check_all;
use super::super::stage::Stage;
use super::{HANDSHAKES_AT_ONCE, device_plans};
use crate::fleet::Fleet;
use crate::observation::{DeviceIndex, Observation, Observer};
use crate::pki::Credential;
use crate::plan::Past;

/// How long provisioning may take: so long, and so much for each device.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_millis(20);

/// Provisions the fleet over what the storm goes over, and then has happen what it comes of. Gives
/// what each device knows of where it belongs; nothing where the storm is the fleet's first day.
pub(super) async fn play(
    stage: &Stage,
    plan: &Plan,
    credentials: &[Credential],
) -> anyhow::Result<Vec<Past>> {
    if !plan.cause.needs_a_past() {
        return Ok(Vec::new());
    }
    let arrivals = vec![0; credentials.len()];
    let settling = Arc::new(Settling::new(credentials.len()));
    let fleet = Fleet::start(
        device_plans(&plan.first_day(), &arrivals, &[]),
        stage.lab.services.clone(),
        Arc::clone(&stage.lab.connector),
        stage.env.clone(),
        Arc::clone(&settling) as _,
        HANDSHAKES_AT_ONCE,
    )?;
    for (index, credential) in (0..).zip(credentials) {
        fleet.store(DeviceIndex(index), credential.clone()).await?;
    }
    let patience = PATIENCE + PATIENCE_EACH * plan.devices;
    // Whether it was enough, the count tells.
    let _ = tokio::time::timeout(patience, settling.done.notified()).await;
    // All connections end here, in one moment.
    fleet.stop().await;
    let pasts = settling.pasts();
    check_all(pasts.len(), plan)?;
    stage.bring_about(plan.devices).await?;
    Ok(pasts)
}

/// Takes note of where devices belong until all are connected.
struct Settling {
    seen: Mutex<Seen>,
    done: Notify,
}

struct Seen {
    pasts: Vec<Option<Past>>,
    connected: Vec<bool>,
    left: usize,
}

impl Settling {
    fn new(devices: usize) -> Self {
        let seen = Seen {
            pasts: vec![None; devices],
            connected: vec![false; devices],
            left: devices,
        };
        Self {
            seen: Mutex::new(seen),
            done: Notify::new(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What those know who were connected.
    fn pasts(&self) -> Vec<Past> {
        let mut seen = self.seen();
        let connected = std::mem::take(&mut seen.connected);
        let pasts = std::mem::take(&mut seen.pasts);
        let known = pasts.into_iter().zip(connected);
        known
            .filter_map(|(past, was)| past.filter(|_| was))
            .collect()
    }
}

impl Observer for Settling {
    fn observe(&self, device: DeviceIndex, _at: UnixMillis, observation: Observation) {
        let (index, mut seen) = (device.0 as usize, self.seen());
        if index >= seen.connected.len() {
            // It is over; the fleet is being stopped.
            return;
        }
        if let Some(past) = past_of(&observation) {
            seen.pasts[index] = Some(past);
        }
        let opened = matches!(observation, Observation::SessionOpened { .. });
        if opened && !std::mem::replace(&mut seen.connected[index], true) {
            seen.left -= 1;
            if seen.left == 0 {
                self.done.notify_one();
            }
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").finish_non_exhaustive()
    }
}
