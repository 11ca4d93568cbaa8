//! A local Azure Device Provisioning Service and IoT Hub, as a library.
//!
//! [`Emulator`] is the whole of it: made from a [`Config`] and an [`Env`](linarite_env::Env), it serves any byte
//! stream at its door, TCP connections and pipes in memory alike. Reading order: `door`, `tls`,
//! `mqtt` and `http`, `service`, `store`; the rules themselves are in `linarite_core`.
//!
//! Absent on purpose: reading the environment, reading the clock, deciding anything.

mod admin;
pub mod config;
mod counters;
mod door;
pub mod error;
pub mod events;
pub mod fault;
pub mod feedback;
mod http;
pub mod limits;
mod listener;
pub mod mqtt;
mod names;
pub mod outgoing;
pub mod policy;
mod service;
mod store;
pub mod tls;
mod tpm;
mod wire;
pub mod ws;

pub use config::{Config, DpsThrottles, HubLimits};
pub use door::{Addresses, Door, Emulator, MirrorAddress, StartError};
pub use mqtt::desk::{Desk, DeskError, Said};
