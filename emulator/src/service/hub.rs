//! One IoT Hub: what its services share.

use std::sync::Arc;

use linarite_core::hub::identity::DeviceStatus;
use linarite_core::id::{HubHostName, IdentityId};
use linarite_core::settings::Settings;
use linarite_env::{Env, Event};
use tokio::sync::Notify;

use crate::error::ServiceError;
use crate::names::Names;
use crate::policy::Policies;
use crate::store::devices::Devices;

/// A hub. Its rules are in `core::hub`; its work is in the files beside this one.
pub(crate) struct Hub {
    pub(crate) host: HubHostName,
    pub(crate) policy: Policies,
    pub(super) env: Env,
    pub(super) settings: Settings,
    pub(super) names: Arc<Names>,
    pub(super) devices: Devices,
    /// Woken whenever a session opens or subscribes, for method calls that wait for one.
    pub(super) connected: Notify,
    name: Arc<str>,
}

impl Hub {
    pub(crate) fn new(host: HubHostName, env: Env, settings: Settings, names: Arc<Names>) -> Self {
        Self {
            policy: Policies::hub(),
            name: host.as_str().into(),
            host,
            env,
            settings,
            names,
            devices: Devices::default(),
            connected: Notify::new(),
        }
    }

    /// The host name, as events carry it.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Stores a telemetry message (R-G17).
    ///
    /// # Errors
    /// If the device is no longer there or disabled, which ends its session (R-G4).
    pub(crate) fn accept_telemetry(
        &self,
        id: &IdentityId,
        properties: &[(String, String)],
    ) -> Result<(), ServiceError> {
        let now = self.env.clock.now_ms();
        let enabled = self.devices.change_of(id, |registered, device| {
            registered.last_activity = Some(now);
            device.unwrap_or(&registered.identity).status == DeviceStatus::Enabled
        });
        if enabled != Some(true) {
            return Err(ServiceError::identity_not_found(id));
        }
        let message_id = properties
            .iter()
            .find(|(key, _)| key == "$.mid")
            .map(|(_, value)| value.as_str().into());
        self.env.events.emit(Event::TelemetryAccepted {
            hub: self.name(),
            device_id: id.text(),
            message_id,
        });
        Ok(())
    }
}
