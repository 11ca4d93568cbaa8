//! Fixes every device's life before a run begins: the seed decides, and nothing later does.

use std::sync::Arc;
use std::time::Duration;

use linarite_env::Entropy;

use super::pace::Pace;
use super::{FleetShape, Scenario};
use crate::fault::{DeviceFaults, Fault};
use crate::firmware::Firmware;
use crate::observation::DeviceIndex;
use crate::plan::{DevicePlan, Window};

/// Far enough to lie past the end of any run.
const FOREVER: Duration = Duration::from_secs(200 * 365 * 86_400);

/// When devices are awake on the run's clock.
fn windows(awake: &[Window], pace: &Pace) -> Arc<[Window]> {
    let on_clock = |window: &Window| Window {
        from: pace.procedure(window.from),
        until: pace.procedure(window.until),
    };
    let mut windows: Vec<Window> = awake.iter().map(on_clock).collect();
    if let Some(last) = windows.last_mut() {
        // Nobody shall fall asleep in the moment of the verdict.
        last.until = FOREVER;
    }
    windows.into()
}

/// The plans of the first `devices` devices of `scenario`.
#[must_use]
pub fn device_plans(
    scenario: &Scenario,
    entropy: &Entropy,
    devices: u32,
    pace: &Pace,
) -> Vec<DevicePlan> {
    let fleet = &scenario.fleet;
    let models: Vec<(u32, Model)> = fleet
        .firmware
        .iter()
        .map(|(share, firmware)| (*share, Model::new(fleet, firmware, pace)))
        .collect();
    let (spread, telemetry_every) = match pace {
        Pace::Virtual => (fleet.spread, fleet.telemetry),
        Pace::RealTime(shrunk) => (shrunk.real_time.spread, shrunk.real_time.telemetry),
    };
    let faults: Vec<Fault> = scenario
        .faults
        .iter()
        .map(|fault| fault.on_clock(pace))
        .collect();
    let plan = |index| {
        let id = scenario.registration_id(index);
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        let lag = entropy.stream("lag", &id).u64(0..=spread_ms);
        let Model { firmware, windows } = model(&models, entropy, &id);
        DevicePlan {
            index,
            firmware,
            faults: DeviceFaults::draw(&faults, entropy, &id),
            registration_id: id.into(),
            windows,
            lag: Duration::from_millis(lag),
            telemetry_every,
            past: None,
        }
    };
    (0..devices).map(DeviceIndex).map(plan).collect()
}

/// A firmware model and when its devices are awake.
#[derive(Clone)]
struct Model {
    firmware: Arc<Firmware>,
    windows: Arc<[Window]>,
}

impl Model {
    fn new(fleet: &FleetShape, firmware: &Firmware, pace: &Pace) -> Self {
        let awake = match firmware.awake.as_slice() {
            [] => &fleet.awake,
            own => own,
        };
        Self {
            windows: windows(awake, pace),
            firmware: Arc::new(firmware.clone()),
        }
    }
}

/// Draws a device's firmware by share.
fn model(models: &[(u32, Model)], entropy: &Entropy, id: &str) -> Model {
    let total: u32 = models.iter().map(|(share, _)| share).sum();
    let mut ticket = entropy.stream("firmware", id).u32(0..total.max(1));
    for (share, model) in models {
        if ticket < *share {
            return model.clone();
        }
        ticket -= share;
    }
    // Not reached: tickets are drawn below the sum of the shares, and a fleet has a model.
    Model {
        firmware: Arc::new(Firmware::default()),
        windows: Arc::new([]),
    }
}
