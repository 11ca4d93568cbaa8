//! One IoT Hub: what its services share.

use std::sync::Arc;

use linarite_core::id::HubHostName;
use linarite_core::settings::Settings;
use linarite_env::Env;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::presence::Watch;
use super::voice::Voice;
use crate::config::HubConfig;
use crate::names::Names;
use crate::policy::Policies;
use crate::store::devices::Devices;
use crate::store::events::EventLog;

/// A hub. Its rules are in `core::hub`; its work is in the files beside this one.
pub(crate) struct Hub {
    pub(crate) host: HubHostName,
    pub(crate) policy: Policies,
    /// How far it is, for the policy of lowest latency (R-B13).
    pub(crate) latency_ms: Option<u32>,
    pub(super) env: Env,
    pub(super) settings: Settings,
    pub(super) names: Arc<Names>,
    pub(super) devices: Devices,
    /// What devices sent and what the hub says itself.
    pub(crate) events: Arc<EventLog>,
    /// What it says itself.
    pub(super) voice: Arc<Voice>,
    /// Who connected and disconnected, to tell of it.
    pub(super) presence: Arc<Watch>,
    /// Woken whenever a session opens or subscribes, for method calls that wait for one.
    pub(super) connected: Notify,
    name: Arc<str>,
}

impl Hub {
    pub(crate) fn new(
        config: &HubConfig,
        env: Env,
        settings: Settings,
        names: Arc<Names>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Self {
        let events = Arc::new(EventLog::new(&config.events, env.clock.clone()));
        let voice = Arc::new(Voice::new(config, &events, &names, &env.clock));
        Self {
            policy: Policies::hub(),
            name: config.host.as_str().into(),
            host: config.host.clone(),
            latency_ms: config.latency_ms,
            events,
            presence: Arc::new(Watch::new(&voice, &env.clock, tasks, cancel)),
            voice,
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
}
