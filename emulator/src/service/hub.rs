//! One IoT Hub: what its services share.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, Weak};

use linarite_core::id::{ETag, HubHostName};
use linarite_core::settings::Settings;
use linarite_env::Env;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::feedback::Feedback;
use super::job::Workshop;
use super::presence::Watch;
use super::throttle::Meters;
use super::voice::Voice;
use crate::config::{C2dConfig, HubConfig};
use crate::names::Names;
use crate::policy::Policies;
use crate::store::certificates::CertificateShelf;
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
    /// For devices of type `certificateAuthority`, and for nothing else (R-D10).
    pub(super) certificates: CertificateShelf,
    pub(super) workshop: Workshop,
    pub(crate) meters: Meters,
    /// R-H6.
    pub(super) dps_writes_count: bool,
    /// What becomes of messages for devices.
    pub(crate) c2d: C2dConfig,
    pub(super) feedback: Mutex<Feedback>,
    /// Woken whenever a batch of feedback waits for a reader.
    pub(crate) feedback_arrived: Notify,
    pub(super) alarm: Alarm,
    /// Itself, for the alarm.
    pub(super) this: Weak<Self>,
    /// Woken whenever a session opens or subscribes, for method calls that wait for one.
    pub(super) connected: Notify,
    /// Until when devices are refused, Unix milliseconds.
    pub(super) down_until: AtomicI64,
    name: Arc<str>,
    /// Its etag in the management API, which cannot change it.
    pub(crate) resource_etag: ETag,
}

impl Hub {
    pub(crate) fn new(
        config: &HubConfig,
        env: Env,
        settings: Settings,
        names: Arc<Names>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Arc<Self> {
        let events = Arc::new(EventLog::new(&config.events, env.clock.clone()));
        let voice = Arc::new(Voice::new(config, &events, &names, &env.clock));
        Arc::new_cyclic(|this| Self {
            policy: Policies::hub(),
            name: config.host.as_str().into(),
            host: config.host.clone(),
            latency_ms: config.latency_ms,
            events,
            presence: Arc::new(Watch::new(&voice, &env.clock, tasks, cancel)),
            voice,
            resource_etag: names.etag(),
            settings,
            names,
            devices: Devices::default(),
            certificates: CertificateShelf::default(),
            workshop: Workshop::new(config.tier),
            meters: Meters::new(&config.limits, settings.refusals()),
            dps_writes_count: config.dps_writes_count,
            connected: Notify::new(),
            down_until: AtomicI64::new(i64::MIN),
            c2d: config.c2d,
            feedback: Mutex::default(),
            feedback_arrived: Notify::new(),
            alarm: Alarm::new(&env.clock, tasks, cancel),
            this: Weak::clone(this),
            env,
        })
    }

    /// The host name, as events carry it.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Its name as a resource of the management API: the first label of its host name.
    pub(crate) fn resource_name(&self) -> &str {
        let host = self.host.as_str();
        host.split('.').next().unwrap_or(host)
    }
}
