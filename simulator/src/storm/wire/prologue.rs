//! What comes before a storm with TLS whose devices were provisioned once; see
//! [`super::super::prologue`].

use std::sync::Arc;
use std::time::Duration;

use super::super::prologue::check_all;
use super::super::tally::Tally;
use super::super::{Opening, Plan};
use super::{HANDSHAKES_AT_ONCE, Watch, device_plans};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::observation::DeviceIndex;
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
    let clock = &stage.env.clock;
    let arrivals = vec![0; credentials.len()];
    let tally = Tally::new(arrivals.clone(), None);
    let progress = opening.first_progress(shown);
    let watch = Arc::new(Watch::new(clock.now_ms(), tally, progress));
    let fleet = Fleet::start(
        device_plans(&plan.first_day(), &arrivals, &[]),
        stage.lab.services.clone(),
        Arc::clone(&stage.lab.connector),
        stage.env.clone(),
        Arc::clone(&watch) as _,
        HANDSHAKES_AT_ONCE,
    )?;
    let provisioned = async {
        for (index, credential) in (0..).zip(credentials) {
            fleet.store(DeviceIndex(index), credential.clone()).await?;
        }
        let patience = PATIENCE + PATIENCE_EACH * plan.devices;
        // Whether it was enough, the count tells.
        watch.until_over(patience, clock).await;
        anyhow::Ok(())
    };
    tokio::select! {
        biased;
        () = interrupt.asked() => return Ok(Vec::new()),
        ended = provisioned => ended?,
    }
    // All connections end here, in one moment.
    fleet.stop().await;
    let pasts = watch.pasts();
    check_all(pasts.len(), plan)?;
    stage.bring_about(plan.devices).await?;
    Ok(pasts)
}
