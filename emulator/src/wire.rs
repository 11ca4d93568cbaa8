//! JSON exactly as Azure spells it, and its way into and out of `core`'s types.
//!
//! Nothing behind these files sees JSON, except where JSON is the content itself (twins, method
//! payloads). An unknown member is ignored as the service does; a known one with a wrong value
//! is refused by name.

pub(crate) mod dps;
pub(crate) mod enrollment;
pub(crate) mod hub;
pub(crate) mod management;
mod reader;
