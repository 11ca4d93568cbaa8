//! Opaque names the services hand out: etags, operation ids, tracking ids, moments as text.

mod continuation;

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;
use linarite_core::id::ETag;
use linarite_env::{Entropy, UnixMillis};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use continuation::Continuations;

/// Draws opaque names from seeded streams.
#[derive(Debug)]
pub(crate) struct Names {
    etags: Mutex<Rng>,
    operations: Mutex<Rng>,
    tracking: Mutex<Rng>,
    correlations: Mutex<Rng>,
    locks: Mutex<Rng>,
    /// Where lists go on.
    pub(crate) continuations: Continuations,
}

impl Names {
    pub(crate) fn new(entropy: &Entropy, service: &str) -> Self {
        let stream = |purpose| Mutex::new(entropy.stream(purpose, service));
        Self {
            etags: stream("etag"),
            operations: stream("operation-id"),
            tracking: stream("tracking-id"),
            correlations: stream("correlation-id"),
            locks: stream("lock-token"),
            continuations: Continuations::new(entropy, service),
        }
    }

    /// A new etag; never one given before, by all likelihood.
    pub(crate) fn etag(&self) -> ETag {
        ETag::parse(&guid(&self.etags)).expect("a guid is a well-formed etag")
    }

    /// `4.<16 hex>.<guid>` (R-B1), of unreserved characters only (wire 2.2).
    pub(crate) fn operation_id(&self) -> String {
        let head = lock(&self.operations).u64(..);
        let mut id = String::with_capacity(2 + 16 + 1 + GUID_BYTES);
        // Writing to a text never fails.
        let _ = write!(id, "4.{head:016x}.");
        push_guid(&mut id, &self.operations);
        id
    }

    /// What a person may search a log for.
    pub(crate) fn tracking_id(&self) -> String {
        guid(&self.tracking)
    }

    /// Tells one of the hub's own events from all others.
    pub(crate) fn correlation_id(&self) -> String {
        guid(&self.correlations)
    }

    /// Tells who took a message from all others; nobody else can guess it.
    pub(crate) fn lock_token(&self) -> String {
        guid(&self.locks)
    }

    /// A generation id: an opaque text, new after delete and create (R-G1).
    pub(crate) fn generation_id(&self) -> String {
        lock(&self.operations).u64(..).to_string()
    }
}

fn lock(rng: &Mutex<Rng>) -> std::sync::MutexGuard<'_, Rng> {
    rng.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Length of a guid as text.
const GUID_BYTES: usize = 36;

fn guid(rng: &Mutex<Rng>) -> String {
    let mut text = String::with_capacity(GUID_BYTES);
    push_guid(&mut text, rng);
    text
}

/// Hex digits in groups of 8, 4, 4, 4 and 12.
fn push_guid(text: &mut String, rng: &Mutex<Rng>) {
    let bits = lock(rng).u128(..);
    let (a, b, c) = (bits >> 96, (bits >> 80) & 0xFFFF, (bits >> 64) & 0xFFFF);
    let (d, e) = ((bits >> 48) & 0xFFFF, bits & 0xFFFF_FFFF_FFFF);
    // Writing to a text never fails.
    let _ = write!(text, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}");
}

/// `2026-01-01T00:00:00.000Z`, as JSON bodies carry moments.
pub(crate) fn rfc3339(at: UnixMillis) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

/// `Sat, 31 Dec 2039 23:59:59 GMT`, as the management API carries moments (ENDPOINTS §1).
pub(crate) fn rfc1123(at: UnixMillis) -> String {
    let moment =
        OffsetDateTime::from_unix_timestamp(at.seconds().0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment
        .format(&Rfc2822)
        .unwrap_or_default()
        .replace("+0000", "GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_azure_writes_them() {
        assert_eq!(rfc3339(UnixMillis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(UnixMillis(1_500)), "1970-01-01T00:00:01.5Z");
        assert_eq!(
            rfc1123(UnixMillis(2_209_075_199_000)),
            "Sun, 01 Jan 2040 23:59:59 GMT"
        );
    }

    #[test]
    fn operation_ids_are_of_unreserved_characters() {
        let names = Names::new(&Entropy::new(1), "dps");
        let id = names.operation_id();
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
            "{id}"
        );
        assert_ne!(id, names.operation_id());
        assert_ne!(names.etag(), names.etag());
    }
}
