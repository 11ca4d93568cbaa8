//! MQTT 3.1.1 for devices: one strict session for each connection.

pub mod codec;
pub(crate) mod connection;
mod dps;
mod hub;
mod outbox;
pub(crate) mod topic;
