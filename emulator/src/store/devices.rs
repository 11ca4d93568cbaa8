//! The identities of one hub: devices with their modules, each with its twin and, if one is open,
//! its session.
//!
//! A module lives with its device, under one lock: what is decided about the one holds for the
//! other at the same moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use linarite_core::hub::c2d::queue::Queue;
use linarite_core::hub::identity::Identity;
use linarite_core::hub::twin::DeviceTwin;
use linarite_core::id::{DeviceId, ETag, IdentityId};
use linarite_env::UnixMillis;
use linarite_env::event::ConnectionId;

use super::order::Order;
use crate::service::mailbox::Mailbox;
use crate::service::session::Subscriptions;

/// The open session of an identity.
#[derive(Debug)]
pub(crate) struct LiveSession {
    pub(crate) connection: ConnectionId,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) subscriptions: Subscriptions,
}

/// The messages for an identity.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) queue: Queue,
    /// The moment the hub's alarm waits for on its behalf.
    pub(crate) due: Option<UnixMillis>,
}

/// A device or a module as a hub knows it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) identity: Identity,
    pub(crate) twin: DeviceTwin,
    /// Version of what the back end may write of the twin (R-G22).
    pub(crate) twin_etag: ETag,
    pub(crate) live: Option<LiveSession>,
    /// Subscriptions kept for a client that connects without a clean session (W12).
    pub(crate) kept: Option<Subscriptions>,
    /// Messages for it; most never get one.
    pub(crate) inbox: Option<Box<Inbox>>,
    /// When the connection state last changed.
    pub(crate) connection_changed: Option<UnixMillis>,
    /// When it last connected or sent something.
    pub(crate) last_activity: Option<UnixMillis>,
}

impl Registered {
    pub(crate) fn new(identity: Identity, twin: DeviceTwin) -> Self {
        Self {
            // Shared until either is written.
            twin_etag: identity.etag.clone(),
            identity,
            twin,
            live: None,
            kept: None,
            inbox: None,
            connection_changed: None,
            last_activity: None,
        }
    }
}

/// The modules of a device by their whole id; most devices have none.
type Modules = BTreeMap<IdentityId, Registered>;

/// A device and what belongs to it.
#[derive(Debug)]
struct Device {
    own: Registered,
    modules: Option<Box<Modules>>,
}

impl Device {
    fn get(&self, id: &IdentityId) -> Option<&Registered> {
        if id.is_module() {
            self.modules.as_ref()?.get(id)
        } else {
            Some(&self.own)
        }
    }

    /// The identity, with that of its device if it is a module.
    fn get_mut(&mut self, id: &IdentityId) -> Option<(&mut Registered, Option<&Identity>)> {
        if id.is_module() {
            let module = self.modules.as_mut()?.get_mut(id)?;
            Some((module, Some(&self.own.identity)))
        } else {
            Some((&mut self.own, None))
        }
    }

    fn module_count(&self) -> usize {
        self.modules.as_ref().map_or(0, |modules| modules.len())
    }
}

/// What becomes of a place after work on it.
pub(crate) enum Place {
    /// It stays as the work left it.
    Keep,
    /// This one stands there now.
    Put(Box<Registered>),
}

/// A place that is worked on.
pub(crate) struct Spot<'a> {
    /// Who stands there.
    pub(crate) registered: Option<&'a mut Registered>,
    /// How many modules the device has, whose own place or whose module's it is.
    pub(crate) modules: usize,
}

/// There is no such device, so it has no place for modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoDevice;

/// The identities of one hub. Ids are case-sensitive (R-A3).
#[derive(Debug, Default)]
pub(crate) struct Devices {
    map: DashMap<DeviceId, Device>,
    /// The devices in order. Changed under the lock of the device that comes or goes.
    order: Mutex<Order<DeviceId>>,
    /// Devices and modules together.
    count: AtomicUsize,
}

impl Devices {
    /// Reads an identity under its lock.
    pub(crate) fn read<T>(
        &self,
        id: &IdentityId,
        look: impl FnOnce(&Registered) -> T,
    ) -> Option<T> {
        self.map.get(id.device_id())?.get(id).map(look)
    }

    /// Changes an identity under its lock.
    pub(crate) fn change<T>(
        &self,
        id: &IdentityId,
        work: impl FnOnce(&mut Registered) -> T,
    ) -> Option<T> {
        self.change_of(id, |registered, _| work(registered))
    }

    /// The same, with the identity of the device for a module.
    pub(crate) fn change_of<T>(
        &self,
        id: &IdentityId,
        work: impl FnOnce(&mut Registered, Option<&Identity>) -> T,
    ) -> Option<T> {
        let mut device = self.map.get_mut(id.device_id())?;
        let (registered, owner) = device.get_mut(id)?;
        Some(work(registered, owner))
    }

    /// Works on the place of an identity, empty or not, under one lock from look to write.
    ///
    /// # Errors
    /// If it is the place of a module whose device is not there.
    pub(crate) fn place<T>(
        &self,
        id: &IdentityId,
        work: impl FnOnce(Spot<'_>) -> (Place, T),
    ) -> Result<T, NoDevice> {
        if id.is_module() {
            let mut device = self.map.get_mut(id.device_id()).ok_or(NoDevice)?;
            let modules = device.module_count();
            let registered = device.get_mut(id).map(|(registered, _)| registered);
            let (place, result) = work(Spot {
                registered,
                modules,
            });
            if let Place::Put(module) = place {
                let held = device.modules.get_or_insert_default();
                self.add(usize::from(held.insert(id.clone(), *module).is_none()));
            }
            return Ok(result);
        }
        match self.map.entry(id.device()) {
            Entry::Occupied(mut occupied) => {
                let device = occupied.get_mut();
                let modules = device.module_count();
                let (place, result) = work(Spot {
                    registered: Some(&mut device.own),
                    modules,
                });
                if let Place::Put(own) = place {
                    device.own = *own;
                }
                Ok(result)
            }
            Entry::Vacant(vacant) => {
                let (place, result) = work(Spot {
                    registered: None,
                    modules: 0,
                });
                if let Place::Put(own) = place {
                    let (own, modules) = (*own, None);
                    self.order().insert(vacant.key().clone());
                    vacant.insert(Device { own, modules });
                    self.add(1);
                }
                Ok(result)
            }
        }
    }

    /// Takes an identity out if `check` lets it go; a device goes with its modules.
    pub(crate) fn remove<E>(
        &self,
        id: &IdentityId,
        check: impl FnOnce(Option<&Registered>) -> Result<(), E>,
    ) -> Result<Vec<Registered>, E> {
        let removed = match self.map.entry(id.device()) {
            Entry::Vacant(_) => {
                check(None)?;
                Vec::new()
            }
            Entry::Occupied(mut occupied) if id.is_module() => {
                let device = occupied.get_mut();
                check(device.get(id))?;
                let held = device.modules.as_mut();
                let module = held.and_then(|modules| modules.remove(id));
                if device.module_count() == 0 {
                    device.modules = None;
                }
                module.into_iter().collect()
            }
            Entry::Occupied(occupied) => {
                check(Some(&occupied.get().own))?;
                self.order().remove(occupied.key());
                let device = occupied.remove();
                let modules = device.modules.into_iter();
                let modules = modules.flat_map(|modules| modules.into_values());
                std::iter::once(device.own).chain(modules).collect()
            }
        };
        self.count.fetch_sub(removed.len(), Ordering::Relaxed);
        Ok(removed)
    }

    /// Takes the sessions of a device's modules away from them.
    pub(crate) fn take_module_sessions(&self, device: &IdentityId) -> Vec<LiveSession> {
        let Some(mut device) = self.map.get_mut(device.device_id()) else {
            return Vec::new();
        };
        let modules = device.modules.iter_mut();
        let modules = modules.flat_map(|modules| modules.values_mut());
        modules.filter_map(|module| module.live.take()).collect()
    }

    /// How many identities there are, modules included.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The first `limit` devices after `after`, in order.
    pub(crate) fn after(&self, after: Option<&DeviceId>, limit: usize) -> Vec<DeviceId> {
        self.order().after(after).take(limit).cloned().collect()
    }

    /// Looks at every device, in no order, and not at their modules.
    pub(crate) fn each(&self, mut look: impl FnMut(&Registered)) {
        for device in &self.map {
            look(&device.own);
        }
    }

    /// The modules of a device, in order; `None` if there is no such device.
    pub(crate) fn module_ids(&self, device: &DeviceId) -> Option<Vec<IdentityId>> {
        let device = self.map.get(device)?;
        let modules = device.modules.iter();
        let ids = modules.flat_map(|modules| modules.keys().cloned());
        Some(ids.collect())
    }

    fn order(&self) -> MutexGuard<'_, Order<DeviceId>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, count: usize) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linarite_core::hub::identity::AuthenticationMechanism;
    use proptest::prelude::*;

    fn registered(id: &IdentityId) -> Registered {
        let etag = ETag::parse("1").unwrap();
        let nothing = AuthenticationMechanism::None;
        let identity = Identity::new(id.clone(), String::new(), etag, nothing);
        Registered::new(identity, DeviceTwin::new(""))
    }

    fn create(devices: &Devices, number: u8) {
        let id = IdentityId::parse(&format!("d{number:03}")).unwrap();
        let put = |_: Spot<'_>| (Place::Put(Box::new(registered(&id))), ());
        devices.place(&id, put).unwrap();
    }

    fn delete(devices: &Devices, number: u8) {
        let id = IdentityId::parse(&format!("d{number:03}")).unwrap();
        devices.remove(&id, |_| Ok::<_, ()>(())).unwrap();
    }

    proptest! {
        /// R-F7, R-G36: however devices come and go between pages, none is given twice and none
        /// is missed that was there all the time.
        #[test]
        fn pages_give_each_device_once(
            steady in prop::collection::btree_set(0_u8..100, 0..30),
            changes in prop::collection::vec((100_u8..200, any::<bool>()), 0..60),
            limit in 1_usize..7,
        ) {
            // Numbers that stay are even, those that come and go lie between them.
            let devices = Devices::default();
            for number in &steady {
                create(&devices, number * 2);
            }
            let mut changes = changes.into_iter();
            let mut seen: Vec<DeviceId> = Vec::new();
            loop {
                let page = devices.after(seen.last(), limit);
                prop_assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
                for (number, created) in changes.by_ref().take(3) {
                    let number = (number - 100) * 2 + 1;
                    if created { create(&devices, number) } else { delete(&devices, number) }
                }
            }
            prop_assert!(seen.is_sorted_by(|left, right| left < right));
            for number in steady {
                let id = DeviceId::parse(&format!("d{:03}", number * 2)).unwrap();
                prop_assert!(seen.contains(&id));
            }
        }
    }
}
