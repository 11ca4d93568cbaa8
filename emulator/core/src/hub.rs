//! IoT Hub: device identities, who may connect, twins and direct methods.

pub mod identity;

pub mod admission;

pub mod session;

pub mod twin;

pub mod method;
