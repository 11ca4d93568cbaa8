//! Everything about a run that is fixed before it starts: each device's timeline.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::DeviceFaults;
use crate::firmware::Firmware;
use crate::observation::DeviceIndex;

/// A time during which devices are awake, as offsets from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When devices begin to wake.
    pub from: Duration,
    /// When devices go to sleep; past the end of the run for "until the end".
    pub until: Duration,
}

/// One device's part of a run.
#[derive(Clone, Debug)]
pub struct DevicePlan {
    /// Position in the fleet.
    pub index: DeviceIndex,
    /// Registration id and, in a group, device id.
    pub registration_id: Arc<str>,
    /// How it behaves.
    pub firmware: Arc<Firmware>,
    /// When the fleet is awake; this device adds `lag` to the start of each window.
    pub windows: Arc<[Window]>,
    /// How much later than the window this device wakes, drawn from the seed.
    pub lag: Duration,
    /// Time between two telemetry messages while connected; zero for no telemetry.
    pub telemetry_every: Duration,
    /// What goes wrong for it, if anything does.
    pub faults: Option<Arc<DeviceFaults>>,
    /// Where it belongs already; none for one that was never provisioned.
    pub past: Option<Past>,
}

/// What a device remembers that was provisioned before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Host name of the hub it was assigned to.
    pub hub: Arc<str>,
    /// Its identity there.
    pub device_id: Arc<str>,
    /// Whether it was connected until the moment it wakes, and has lost its hub in this moment.
    pub dropped: bool,
}
