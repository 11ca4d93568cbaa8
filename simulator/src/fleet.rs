//! All devices of a run, alive.
//!
//! [`Fleet::start`] gives every plan a task; windows count from that moment. The owner may put
//! credentials into secure stores and, in the end, stop everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use linarite_env::Env;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::device::{Account, Device};
use crate::driver::schedule::Schedule;
use crate::driver::transport::Dialer;
use crate::driver::{Driver, Surroundings};
use crate::endpoint::{Connector, Services};
use crate::fault::stream::Weather;
use crate::observation::{DeviceIndex, Observer};
use crate::pki::Credential;
use crate::plan::DevicePlan;
use crate::tls::TlsError;

/// Credentials that may be under way to one device's secure store.
const DELIVERIES_MAX: usize = 4;

/// How long [`Fleet::stop`] waits for devices to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a credential did not reach a secure store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The fleet has no such device.
    #[error("the fleet has no device number {}", .0.0)]
    UnknownDevice(DeviceIndex),
    /// The device's task has ended.
    #[error("device number {} is no longer running", .0.0)]
    Ended(DeviceIndex),
}

/// Devices at work. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    deliveries: BTreeMap<DeviceIndex, mpsc::Sender<Credential>>,
    tasks: TaskTracker,
    alive: DropGuard,
}

impl Fleet {
    /// Brings the devices of `plans` to life; must be called within a tokio runtime.
    ///
    /// A device that wakes before the credential it is born with was stored begins its life when
    /// that arrives.
    ///
    /// # Errors
    /// [`TlsError`] when the services' CA certificate is of no use.
    pub fn start(
        plans: Vec<DevicePlan>,
        services: Services,
        connector: Arc<dyn Connector>,
        env: Env,
        observer: Arc<dyn Observer>,
        handshakes_at_once: usize,
    ) -> Result<Self, TlsError> {
        let dialer = Dialer::new(&services, connector, &env.clock, handshakes_at_once)?;
        let Env { clock, entropy, .. } = env;
        let surroundings = Arc::new(Surroundings {
            dialer: Arc::new(dialer),
            clock,
            observer,
        });
        let account = Arc::new(Account {
            dps_host: services.dps_host.as_str().into(),
            id_scope: services.id_scope.as_str().into(),
        });
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let start = Instant::now();
        let mut deliveries = BTreeMap::new();
        for plan in plans {
            let (sender, receiver) = mpsc::channel(DELIVERIES_MAX);
            deliveries.insert(plan.index, sender);
            let device = Device::new(&plan, Arc::clone(&account), &entropy);
            let schedule = Schedule::new(&plan, start);
            let surroundings = Arc::clone(&surroundings);
            let weather = plan.faults.map(|faults| Weather::new(faults, start));
            let driver = Driver::new(plan.index, device, schedule, surroundings, weather);
            tasks.spawn(driver.run(receiver, cancel.clone()));
        }
        tasks.close();
        Ok(Self {
            deliveries,
            tasks,
            alive: cancel.drop_guard(),
        })
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there are no devices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Delivers `credential` into the secure store of device `index`, awake or asleep. Waits
    /// while four deliveries to it are under way.
    ///
    /// # Errors
    /// [`DeliveryError`] where there is no such device, or its task has ended.
    pub async fn store(
        &self,
        index: DeviceIndex,
        credential: Credential,
    ) -> Result<(), DeliveryError> {
        let sender = self
            .deliveries
            .get(&index)
            .ok_or(DeliveryError::UnknownDevice(index))?;
        sender
            .send(credential)
            .await
            .map_err(|_| DeliveryError::Ended(index))
    }

    /// Ends all devices as they are, without a word to the services. Gives how many had not
    /// ended after ten seconds.
    pub async fn stop(self) -> usize {
        let Self {
            deliveries,
            tasks,
            alive,
        } = self;
        drop(alive);
        drop(deliveries);
        // Whether it was in time, the number of tasks left tells.
        let _ = tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await;
        tasks.len()
    }
}

#[cfg(test)]
mod tests;
