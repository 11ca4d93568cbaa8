//! Device Provisioning Service: which enrollment speaks for a device, whether its evidence holds,
//! and where it is assigned.
//!
//! [`registration::decide`] is the corridor; the other modules are the rooms it passes.

pub mod registration;

pub mod enrollment;

pub mod precedence;

pub mod attestation;

pub mod reprovision;

pub mod allocation;

pub mod possession;

pub mod upload;

pub mod ownership;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
