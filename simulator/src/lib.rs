//! A fleet of virtual X.509 devices that rolls its certificates and is judged.

pub mod checker;
pub mod command;
pub mod device;
mod driver;
pub mod endpoint;
pub mod fault;
pub mod firmware;
pub mod fleet;
pub mod function;
pub mod lab;
pub mod matrix;
pub mod observation;
pub mod operator;
pub mod parity;
pub mod pki;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod readings;
pub mod report;
pub mod run;
pub mod scenario;
pub mod service_client;
pub mod storm;
pub mod target;
pub mod tls;
pub mod wire;
