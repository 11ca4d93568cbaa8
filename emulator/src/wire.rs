//! JSON exactly as Azure spells it, and its way into and out of `core`'s types.
//!
//! Nothing behind these files sees JSON, except where JSON is the content itself (twins, method
//! payloads). A member with a wrong value is refused by name, and so is one that DPS does not know;
//! the other APIs ignore what they do not know.

pub(crate) mod dps;
pub(crate) mod enrollment;
pub(crate) mod event;
pub(crate) mod hub;
pub(crate) mod management;
pub(crate) mod notification;
mod reader;
pub(crate) mod shape;
mod tpm;
pub(crate) mod version;
pub(crate) mod webhook;
