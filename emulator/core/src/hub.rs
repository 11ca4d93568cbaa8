//! IoT Hub: identities of devices and modules, who may connect, twins, direct methods, messages
//! in both directions, queries and jobs.

pub mod identity;

pub mod import;

pub mod admission;

pub mod session;

pub mod twin;

pub mod method;

pub mod message;

pub mod notification;

pub mod partition;

pub mod presence;

pub mod query;

pub mod tier;

pub mod quota;

pub mod job;

pub mod c2d;
