//! What comes before a storm with TLS whose devices were provisioned once; see
//! [`super::super::prologue`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linarite_env::UnixMillis;
use tokio::sync::Notify;

use super::super::field::past_of;
use super::super::progress::Progress;
use super::super::prologue::check_all;
use super::super::tally::Tally;
use super::super::{Opening, Plan};
use super::{HANDSHAKES_AT_ONCE, device_plans};
use crate::fleet::{Fleet, Turns};
use crate::interrupt::Interrupt;
use crate::observation::{DeviceIndex, Observation, Observer};
use crate::pki::Credential;
use crate::plan::Past;

/// How long provisioning may take: so long, and so much for each device.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_millis(20);

/// Provisions the fleet over what the storm goes over, and then has happen what it comes of. Gives
/// what each device knows of where it belongs; nothing where the storm is the fleet's first day, or
/// was interrupted before it.
pub(super) async fn play(
    opening: &Opening,
    plan: &Plan,
    credentials: &[Credential],
    (shown, interrupt): (bool, &Interrupt),
) -> anyhow::Result<Vec<Past>> {
    if !plan.cause.needs_a_past() {
        return Ok(Vec::new());
    }
    let stage = &opening.stage;
    let arrivals = vec![0; credentials.len()];
    let progress = opening.first_progress(shown);
    let origin = stage.env.clock.now_ms();
    let settling = Arc::new(Settling::new(origin, arrivals.clone(), progress));
    let fleet = Fleet::start(
        device_plans(&plan.first_day(), &arrivals, &[]),
        stage.lab.services.clone(),
        Arc::clone(&stage.lab.connector),
        stage.env.clone(),
        Arc::clone(&settling) as _,
        Turns::in_order(HANDSHAKES_AT_ONCE),
    )?;
    let provisioned = async {
        for (index, credential) in (0..).zip(credentials) {
            fleet.store(DeviceIndex(index), credential.clone()).await?;
        }
        let patience = PATIENCE + PATIENCE_EACH * plan.devices;
        // Whether it was enough, the count tells.
        let _ = tokio::time::timeout(patience, settling.done.notified()).await;
        anyhow::Ok(())
    };
    tokio::select! {
        biased;
        () = interrupt.asked() => return Ok(Vec::new()),
        ended = provisioned => ended?,
    }
    // All connections end here, in one moment.
    fleet.stop().await;
    let pasts = settling.pasts();
    check_all(pasts.len(), plan)?;
    stage.bring_about(plan.devices).await?;
    Ok(pasts)
}

/// Takes note of where devices belong until all are connected.
struct Settling {
    origin: UnixMillis,
    seen: Mutex<Seen>,
    done: Notify,
}

struct Seen {
    tally: Tally,
    pasts: Vec<Option<Past>>,
    progress: Progress,
}

impl Settling {
    fn new(origin: UnixMillis, arrivals: Vec<u64>, progress: Progress) -> Self {
        let seen = Seen {
            pasts: vec![None; arrivals.len()],
            tally: Tally::new(arrivals, None),
            progress,
        };
        Self {
            origin,
            seen: Mutex::new(seen),
            done: Notify::new(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What those know who were connected; nothing is noted after.
    fn pasts(&self) -> Vec<Past> {
        let mut seen = self.seen();
        let pasts = std::mem::take(&mut seen.pasts);
        let known = pasts.into_iter().zip(&seen.tally.served);
        known
            .filter_map(|(past, served)| past.filter(|_| served.is_some()))
            .collect()
    }
}

impl Observer for Settling {
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation) {
        let (index, mut seen) = (device.0 as usize, self.seen());
        let Seen {
            tally,
            pasts,
            progress,
        } = &mut *seen;
        if index >= pasts.len() {
            // It is over; the fleet is being stopped.
            return;
        }
        if let Some(past) = past_of(&observation) {
            pasts[index] = Some(past);
        }
        let at_ms = u64::try_from(at.since(self.origin)).unwrap_or(0);
        let served = tally.note(index, at_ms, &observation);
        progress.tick(at_ms, tally);
        if served && tally.all_served() {
            self.done.notify_one();
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").finish_non_exhaustive()
    }
}
