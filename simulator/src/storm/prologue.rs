//! What comes before a storm whose devices were provisioned once: without limits, outside of what is
//! measured, and by the same devices and services.

use std::time::Duration;

use anyhow::ensure;

use super::field::Field;
use super::progress::Progress;
use super::stage::Stage;
use super::{Arrival, Cause, Plan};
use crate::interrupt::Interrupt;
use crate::pki::Credential;
use crate::plan::Past;

/// How long the first day may take in virtual time, in which work takes none.
const FIRST_DAY: Duration = Duration::from_secs(3_600);

/// What a device has kept from before the storm.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) credential: Credential,
    /// None if it has forgotten where it belongs.
    pub(super) past: Option<Past>,
}

impl Plan {
    /// The fleet's first day, if the storm is not it.
    pub(super) fn first_day(&self) -> Self {
        Self {
            cause: Cause::FirstBoot,
            arrival: Arrival::AtOnce,
            give_up: FIRST_DAY,
            thresholds: Vec::new(),
            ..self.clone()
        }
    }

    /// What a device knows in the storm of what it learnt on its first day.
    pub(super) fn remembered(&self, past: Past) -> Option<Past> {
        match self.cause {
            Cause::FirstBoot | Cause::PowerCut { forgetful: true } => None,
            Cause::HubFailover { .. } => Some(Past {
                dropped: true,
                ..past
            }),
            Cause::RootExpiry | Cause::Breach | Cause::PowerCut { forgetful: false } => Some(past),
        }
    }
}

/// Provisions the fleet without TLS, and then has happen what the storm comes of. Gives what each
/// device holds; nothing where the storm is the fleet's first day, or was interrupted before it.
pub(super) async fn play(
    stage: &Stage,
    plan: &Plan,
    progress: Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Held>> {
    if !plan.cause.needs_a_past() {
        return Ok(Vec::new());
    }
    let arrivals = vec![0; plan.devices as usize];
    let mut field = Field::new(stage, &plan.first_day(), arrivals, progress);
    field.remember();
    field.run(interrupt).await?;
    if interrupt.is_asked() {
        return Ok(Vec::new());
    }
    let held = field.held();
    // All connections end here, in one moment.
    drop(field);
    check_all(held.len(), plan)?;
    stage.bring_about(plan.devices).await?;
    let held = held.into_iter().map(|held| Held {
        past: held.past.and_then(|past| plan.remembered(past)),
        ..held
    });
    Ok(held.collect())
}

/// Checks that a fleet was provisioned as a whole.
pub(super) fn check_all(provisioned: usize, plan: &Plan) -> anyhow::Result<()> {
    ensure!(
        provisioned == plan.devices as usize,
        "only {provisioned} of {} devices could be provisioned before the storm",
        plan.devices
    );
    Ok(())
}
