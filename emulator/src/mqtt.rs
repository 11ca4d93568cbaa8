//! MQTT 3.1.1 for devices: one strict session for each connection. And for who watches what they
//! send: the mirror.

pub mod codec;
pub(crate) mod connection;
pub mod desk;
mod dps;
mod hub;
pub(crate) mod mirror;
mod outbox;
pub(crate) mod topic;
