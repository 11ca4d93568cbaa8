//! The devices of one hub: identity, twin, and the session if one is open.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use linarite_core::hub::identity::DeviceIdentity;
use linarite_core::hub::twin::DeviceTwin;
use linarite_core::id::DeviceId;
use linarite_env::UnixMillis;
use linarite_env::event::ConnectionId;

use crate::service::mailbox::Mailbox;
use crate::service::session::Subscriptions;

/// The open session of a device.
#[derive(Debug)]
pub(crate) struct LiveSession {
    pub(crate) connection: ConnectionId,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) subscriptions: Subscriptions,
}

/// A device at a hub.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) identity: DeviceIdentity,
    pub(crate) twin: DeviceTwin,
    pub(crate) live: Option<LiveSession>,
    /// Subscriptions kept for a client that connects without a clean session (W12).
    pub(crate) kept: Option<Subscriptions>,
    /// When the connection state last changed.
    pub(crate) connection_changed: Option<UnixMillis>,
    /// When the device last connected or sent something.
    pub(crate) last_activity: Option<UnixMillis>,
}

impl Device {
    pub(crate) fn new(identity: DeviceIdentity, twin: DeviceTwin) -> Self {
        Self {
            identity,
            twin,
            live: None,
            kept: None,
            connection_changed: None,
            last_activity: None,
        }
    }
}

/// What becomes of a place after work on it.
pub(crate) enum Place {
    /// It stays as the work left it.
    Keep,
    /// This device stands there now.
    Put(Box<Device>),
    /// Nobody stands there any more.
    Clear,
}

/// The devices of one hub. Ids are case-sensitive (R-A3).
#[derive(Debug, Default)]
pub(crate) struct Devices {
    map: DashMap<DeviceId, Device>,
}

impl Devices {
    /// Reads a device under its lock.
    pub(crate) fn read<T>(&self, id: &DeviceId, look: impl FnOnce(&Device) -> T) -> Option<T> {
        self.map.get(id).map(|device| look(&device))
    }

    /// Changes a device under its lock.
    pub(crate) fn change<T>(
        &self,
        id: &DeviceId,
        work: impl FnOnce(&mut Device) -> T,
    ) -> Option<T> {
        self.map.get_mut(id).map(|mut device| work(&mut device))
    }

    /// Works on the place of a device, empty or not, under one lock from look to write.
    pub(crate) fn place<T>(
        &self,
        id: &DeviceId,
        work: impl FnOnce(Option<&mut Device>) -> (Place, T),
    ) -> T {
        match self.map.entry(id.clone()) {
            Entry::Occupied(mut occupied) => {
                let (place, result) = work(Some(occupied.get_mut()));
                match place {
                    Place::Keep => {}
                    Place::Put(device) => {
                        occupied.insert(*device);
                    }
                    Place::Clear => {
                        occupied.remove();
                    }
                }
                result
            }
            Entry::Vacant(vacant) => {
                let (place, result) = work(None);
                if let Place::Put(device) = place {
                    vacant.insert(*device);
                }
                result
            }
        }
    }

    /// How many devices there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The first `limit` ids, in order.
    pub(crate) fn ids(&self, limit: usize) -> Vec<DeviceId> {
        let mut ids: Vec<DeviceId> = self.map.iter().map(|entry| entry.key().clone()).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }
}
