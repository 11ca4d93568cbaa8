//! Seeded randomness: one independent stream for each purpose and subject.
//!
//! A draw more in one stream leaves all the others as they were, so adding a device or a
//! fault does not change the lives of the rest.

use aws_lc_rs::digest;
use fastrand::Rng;

/// The source of all streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Entropy {
    seed: u64,
}

impl Entropy {
    /// All streams derived from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed, for printing the command that replays a run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream for `purpose` of `subject` (a registration id, or "" for the whole service).
    #[must_use]
    pub fn stream(&self, purpose: &str, subject: &str) -> Rng {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.seed.to_le_bytes());
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(subject.as_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&context.finish().as_ref()[..8]);
        Rng::with_seed(u64::from_le_bytes(seed))
    }
}

/// `N` unpredictable bytes from the operating system, for keys; never seeded.
///
/// # Panics
/// If the operating system has no randomness to give, which no caller could survive.
#[must_use]
pub fn secret<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_purpose_and_subject_alone() {
        let draw = |seed, purpose, subject| Entropy::new(seed).stream(purpose, subject).u64(..);
        assert_eq!(draw(1, "jitter", "dev-1"), draw(1, "jitter", "dev-1"));
        assert_ne!(draw(1, "jitter", "dev-1"), draw(2, "jitter", "dev-1"));
        assert_ne!(draw(1, "jitter", "dev-1"), draw(1, "etag", "dev-1"));
        assert_ne!(draw(1, "jitter", "dev-1"), draw(1, "jitter", "dev-2"));
        assert_ne!(draw(1, "ab", "c"), draw(1, "a", "bc"));
    }
}
