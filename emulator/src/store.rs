//! What the services remember, in memory.
//!
//! Locks are held for lookups and small writes, never across an `await`. Where two are needed
//! the order is: enrollments and certificates, registration, device, names of all devices or
//! partition of events. Jobs are locked alone: their map, then a job.

pub(crate) mod book;
pub(crate) mod certificates;
pub(crate) mod challenges;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod issuers;
pub(crate) mod jobs;
pub(crate) mod journal;
pub(crate) mod order;
pub(crate) mod page;
pub(crate) mod registrations;
