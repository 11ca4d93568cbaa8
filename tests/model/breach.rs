//! A thief who holds the old leaves, and an auditor who tries them at the very end.

use super::firmware::Device;
use super::procedure::Hour;
use super::world::World;

/// Hours in which the thief's leaves have to be worthless from their twentieth minute on: by then
/// whatever went wrong before them is over, also what a hub has not noticed yet, and nothing
/// begins until later.
pub(super) const CONTAINED: [Hour; 4] = [60 * 24 + 5, 60 * 24 + 10, 70 * 24 + 1, 80 * 24 + 1];
/// When the auditor tries the old leaves, at DPS first and then at the hub.
pub(super) const AUDIT: Hour = 80 * 24 + 5;

/// The table of the breach, and the auditor's step.
pub(super) fn to_toml(contained: Hour) -> String {
    let minutes = contained * 60 + 20;
    format!(
        "[[step]]\nat = \"{AUDIT}h\"\ndo = \"audit\"\ngeneration = 1\nat_hub = true\nat_dps = true\n\
         [breach]\ngeneration = 1\ncontained = \"{minutes}m\"\n"
    )
}

/// R-E1, R-E4: whoever lets the auditor in would let the thief in. A registration of his counts
/// like any (R-B21), and his session takes over that of the device (R-G13).
pub(super) fn audit(world: &mut World, devices: &mut [Device]) {
    for device in devices {
        let assigned = world.try_old_leaf_at_dps(device.index);
        let let_in = world.hub_takes(device.index, 1);
        device.misused |= assigned || let_in;
        if let_in {
            device.is_taken_over(world);
        }
    }
}
