//! The rules of Azure DPS and IoT Hub, as pure functions over typed values.
//!
//! Absent on purpose: sockets, files, clocks, randomness, locks, and wire formats.
//! Whoever calls hands in what is known and the moment of judging; what comes out leaves
//! nothing to decide.

pub mod time;
