//! Which identity of a hub is meant: a device, or a module of one.

use std::fmt;
use std::sync::Arc;

use super::{DeviceId, IdError, ModuleId};

/// A device, or a module of one (R-G1, wire.md 4.1).
///
/// Its text is what MQTT clients take as client id: `device`, or `device/module`. Neither part
/// can hold a slash, so the text is unambiguous. Whatever a device may do at a hub, a module may
/// do by the same code: sessions, twins and methods go by this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId(Arc<str>);

impl IdentityId {
    /// The module of that name at that device.
    #[must_use]
    pub fn module(device: &DeviceId, module: &ModuleId) -> Self {
        Self(format!("{device}/{module}").into())
    }

    /// Reads `device` or `device/module`.
    ///
    /// # Errors
    /// [`IdError`] names the part and the first thing outside its grammar.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            None => DeviceId::parse(text).map(Self::from),
            Some((device, module)) => Ok(Self::module(
                &DeviceId::parse(device)?,
                &ModuleId::parse(module)?,
            )),
        }
    }

    /// The device itself, or the one the module belongs to.
    #[must_use]
    pub fn device_id(&self) -> &str {
        self.parts().0
    }

    /// The module, if it is one.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.parts().1
    }

    /// Whether it is a module.
    #[must_use]
    pub fn is_module(&self) -> bool {
        self.module_id().is_some()
    }

    /// The device itself, or the one the module belongs to, as a name of its own.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        match self.parts() {
            (_, None) => DeviceId(Arc::clone(&self.0)),
            (device, Some(_)) => DeviceId(device.into()),
        }
    }

    /// `device` or `device/module`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the host name in the resource of a token, and what topics begin with:
    /// `devices/{device}`, or `devices/{device}/modules/{module}` (wire.md 4.1, 4.2).
    #[must_use]
    pub fn path(&self) -> String {
        match self.parts() {
            (device, None) => format!("devices/{device}"),
            (device, Some(module)) => format!("devices/{device}/modules/{module}"),
        }
    }

    /// The same text, shared.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn parts(&self) -> (&str, Option<&str>) {
        match self.0.split_once('/') {
            None => (&self.0, None),
            Some((device, module)) => (device, Some(module)),
        }
    }
}

impl From<DeviceId> for IdentityId {
    fn from(device: DeviceId) -> Self {
        Self(device.0)
    }
}

impl From<&DeviceId> for IdentityId {
    fn from(device: &DeviceId) -> Self {
        Self(Arc::clone(&device.0))
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityId({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-G2, wire.md 4.1.
    #[test]
    fn the_text_of_an_identity_tells_device_and_module_apart() {
        let table = [
            ("Dev", Some(("Dev", None))),
            ("Dev/Mod", Some(("Dev", Some("Mod")))),
            ("$a#b/%c?", Some(("$a#b", Some("%c?")))),
            ("", None),
            ("/m", None),
            ("d/", None),
            ("d/m/x", None),
            ("d d", None),
            ("d/m m", None),
        ];
        for (text, expected) in table {
            let parsed = IdentityId::parse(text).ok();
            let parts = parsed.as_ref().map(|id| (id.device_id(), id.module_id()));
            assert_eq!(parts, expected, "{text:?}");
            if let Some(id) = parsed {
                assert_eq!(id.as_str(), text);
                assert_eq!(id.device().as_str(), id.device_id());
            }
        }
    }

    /// wire.md 4.1, 4.2.
    #[test]
    fn the_path_of_an_identity_names_device_and_module() {
        let path = |text| IdentityId::parse(text).unwrap().path();
        assert_eq!(path("Dev"), "devices/Dev");
        assert_eq!(path("Dev/Mod"), "devices/Dev/modules/Mod");
    }

    #[test]
    fn a_device_and_its_identity_share_their_text() {
        let device = DeviceId::parse("Dev").unwrap();
        let id = IdentityId::from(&device);
        assert!(std::ptr::eq(id.as_str(), device.as_str()));
        assert!(std::ptr::eq(id.device().as_str(), device.as_str()));
    }
}
