//! The integration tests: one emulator per test, in memory and in virtual time.
//!
//! Reading order: what operators get (`api`, `hub_management`, `registry`, `query`, `jobs`), what a
//! well-behaved device gets (`allocation`, `webhook`, `admission`, `reprovision`, `modules`, `events`,
//! `c2d`, `desk`, `device_http`, `faults`, `rollover`, `sessions`, `throttle`, `websocket`,
//! `replay`), what a badly behaved one gets (`hostile`, `mutated`, `resumption`, `silent`), what those
//! who watch see (`admin`, `mirror`), certificates of strangers (`openssl`, `own_pki`), the fleet (`scenarios`,
//! `procedures`, `schema`), the end (`shutdown`), what is emulated (`parity`), and the rules of the
//! repository (`tidy`).
//!
//! Tests that need the folder `../shared` or a command that is not there say so and pass.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests")]
#![allow(clippy::print_stderr, reason = "skipped tests say why")]

mod support;

mod allocation;
mod api;
mod api_bulk;
mod api_device;
mod api_hub;
mod api_invariants;
mod api_management;
mod api_manners;
mod api_query;
mod api_rights;
mod api_rules;
mod api_strict;
mod api_versions;
mod hub_management;
mod hub_quota;
mod hub_throttle;
mod registry;
mod registry_bulk;

mod admin;
mod admission;
mod c2d;
mod device_http;
mod events;
mod faults;
mod invariants;
mod jobs;
mod management;
mod mirror;
mod modules;
mod query;
mod removal;
mod reprovision;
mod rollover;
mod sessions;
mod tpm;
mod webhook;
mod websocket;

mod replay;

mod desk;
mod hostile;
mod hostile_mqtt;
mod mutated;
mod resumption;
mod silent;
mod throttle;
mod tls;

mod openssl;
mod own_pki;

mod model;
mod procedures;
mod scenarios;
mod schema;

mod shutdown;

mod parity;
mod tidy;
