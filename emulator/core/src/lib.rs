//! The rules of Azure DPS and IoT Hub, as pure functions over typed values.
//!
//! Absent on purpose: sockets, files, clocks, randomness, locks, and wire formats.
//! Whoever calls hands in what is known and the moment of judging; what comes out leaves
//! nothing to decide.
//! Rules carry the numbers of the behaviour document (`R-A22`, `I-3`); each stands in one place.

pub mod time;

pub mod limits;

pub mod id;

pub mod secret;

pub mod sas;

pub mod certificate;

pub mod settings;

pub mod throttle;

pub mod fault;

pub mod dps;

pub mod hub;

#[cfg(test)]
mod test_pki;
#[cfg(test)]
mod test_world;
