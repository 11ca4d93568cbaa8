//! Weighted rendezvous hashing: each device goes to the hub with its highest score, so removing a
//! hub moves only the devices that were on it.

use std::cmp::Ordering;

use aws_lc_rs::digest;

use super::LinkedHub;
use crate::id::RegistrationId;

/// The hub with the highest score; of equal scores the first by name. None of none.
///
/// The score is `weight / -log2(hash)` with the hash as a fraction of one: then a hub's share is
/// its weight's share of all weights (R-B13).
/// Whole numbers only, so every machine agrees.
pub(super) fn pick<'h>(
    candidates: &[&'h LinkedHub],
    registration_id: &RegistrationId,
) -> Option<&'h LinkedHub> {
    let scored = candidates
        .iter()
        .map(|hub| (*hub, negative_log2(hash(hub, registration_id))));
    scored
        .max_by(|one, other| compare(*one, *other))
        .map(|(hub, _)| hub)
}

/// Compares `weight / cost` without dividing.
fn compare(one: (&LinkedHub, u64), other: (&LinkedHub, u64)) -> Ordering {
    let left = u128::from(one.0.weight.get()) * u128::from(other.1);
    let right = u128::from(other.0.weight.get()) * u128::from(one.1);
    left.cmp(&right).then_with(|| other.0.name.cmp(&one.0.name))
}

fn hash(hub: &LinkedHub, registration_id: &RegistrationId) -> u64 {
    // A line break is in neither grammar, so two pairs never make the same text.
    let text = format!("{}\n{}", hub.name.key(), registration_id.key());
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .take(8)
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// `-log2((hash + 1) / 2^64)` in units of 2^-32, at least 1 so that a score stays finite.
fn negative_log2(hash: u64) -> u64 {
    let value = u128::from(hash) + 1;
    let whole = value.ilog2();
    // The mantissa, in [1, 2) with 63 bits after the point; each squaring yields one more bit.
    let mut mantissa = (value << 64 >> whole) >> 1;
    let mut log2 = u64::from(whole);
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        let carry = (mantissa >> 64) as u64;
        mantissa >>= carry;
        log2 = log2 << 1 | carry;
    }
    ((64_u64 << 32) - log2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_agrees_with_floating_point() {
        for hash in [
            0,
            1,
            2,
            1000,
            u64::MAX / 3,
            u64::MAX / 2,
            u64::MAX - (1 << 40),
        ] {
            let exact = 64.0 - ((hash as f64) + 1.0).log2();
            let ours = negative_log2(hash) as f64 / (1_u64 << 32) as f64;
            assert!(
                (exact - ours).abs() < 1e-6,
                "{hash}: {exact} against {ours}"
            );
        }
        assert_eq!(negative_log2(u64::MAX), 1);
    }
}
