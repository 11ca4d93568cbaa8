//! Which partition of the event endpoint a device's messages go to.

/// The partition of a device, from 0; always the same for the same id and count.
///
/// A module's messages go to the partition of its device.
///
/// Takes:   the device's id; how many partitions there are, at least 1.
/// Source:  behaviour.md R-G38 — the hash is ours, Azure publishes none.
#[must_use]
pub fn partition_of(device_id: &str, count: u16) -> u16 {
    let hash = device_id.bytes().fold(FNV_OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    });
    // The remainder is below `count`, so it fits.
    u16::try_from(hash % u64::from(count.max(1))).unwrap_or(0)
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R-G38. The figures are fixed: a reader may rely on a device staying where it is.
    #[test]
    fn a_device_stays_in_its_partition() {
        let table = [("dev-1", 4), ("dev-2", 4), ("", 4), ("dev-1", 32), ("x", 1)];
        let partitions = table.map(|(id, count)| partition_of(id, count));
        assert_eq!(partitions, [2, 3, 1, 22, 0]);
    }

    #[test]
    fn a_fleet_spreads_over_all_partitions() {
        let mut devices = [0; 4];
        for number in 0..4000 {
            devices[usize::from(partition_of(&format!("dev-{number:04}"), 4))] += 1;
        }
        assert!(
            devices.iter().all(|count| (800..1200).contains(count)),
            "{devices:?}"
        );
    }

    proptest! {
        #[test]
        fn a_partition_is_one_there_is(id in ".{0,40}", count in 1u16..=32) {
            prop_assert!(partition_of(&id, count) < count);
        }
    }
}
