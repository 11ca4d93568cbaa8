//! What an emulator is told before it starts.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use linarite_core::dps::allocation::{HubWeight, InstanceAllocationPolicy};
use linarite_core::hub::c2d::feedback::FeedbackTerms;
use linarite_core::hub::c2d::queue::Terms;
use linarite_core::hub::message::MessageSource;
use linarite_core::hub::quota::DailyQuota;
use linarite_core::hub::tier::{Metered, Tier};
use linarite_core::id::{HubHostName, IdError, IdScope};
use linarite_core::limits::{
    C2D_DELIVERY_COUNT_DEFAULT, C2D_TTL_SECONDS_DEFAULT, DPS_OPERATIONS_PER_MINUTE,
    DPS_POLLS_PER_TEN_SECONDS, FEEDBACK_LOCK_SECONDS_DEFAULT,
};
use linarite_core::settings::Settings;
use linarite_core::throttle::RateLimit;

use crate::limits::EVENT_BYTES_DEFAULT;

mod raw;

pub use raw::ConfigError;

/// A resolved configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provisioning service.
    pub dps: DpsConfig,
    /// The hubs, at least one; all are linked at the start.
    pub hubs: Vec<HubConfig>,
    /// Where to listen. In-memory use ignores it.
    pub listen: ListenConfig,
    /// How webhooks of custom allocation are asked.
    pub webhook: WebhookConfig,
    /// How the ambiguous rules are read.
    pub settings: Settings,
    /// How long a registration stays `assigning` (R-B1).
    pub assignment_latency: Duration,
    /// What `Retry-After` tells a device that waits for its assignment, in seconds (R-B1).
    pub retry_after_seconds: u32,
    /// Lets TLS sessions resume. Dangerous: a resumed handshake shows a certificate that may
    /// have expired since, and hides that cost from every load figure.
    pub danger_tls_resumption: bool,
}

/// The provisioning service.
#[derive(Clone, Debug)]
pub struct DpsConfig {
    /// Name of the resource in the management API.
    pub name: String,
    /// Host name clients dial.
    pub host: HubHostName,
    /// The id scope devices name.
    pub id_scope: IdScope,
    /// How hubs are chosen where an enrollment does not say (R-B11).
    pub allocation_policy: InstanceAllocationPolicy,
    /// How often it may be asked; nobody is throttled by default.
    pub throttles: DpsThrottles,
}

/// How often a provisioning service may be asked for something; without a limit as often as
/// anybody likes (R-H1, R-H2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DpsThrottles {
    /// Registrations and look-ups of registrations, of all devices together.
    pub registrations: Option<RateLimit>,
    /// Polls of each device for the outcome of its registration.
    pub polls: Option<RateLimit>,
    /// Calls of the service API.
    pub service_operations: Option<RateLimit>,
}

impl DpsThrottles {
    /// Azure's limits, as published in 2026: 1000 registrations and 1000 service operations in a
    /// minute, and five polls of a device in ten seconds.
    #[must_use]
    pub fn azure() -> Self {
        let per_minute = RateLimit::per_minute(DPS_OPERATIONS_PER_MINUTE);
        Self {
            registrations: Some(per_minute),
            polls: Some(RateLimit::per_ten_seconds(DPS_POLLS_PER_TEN_SECONDS)),
            service_operations: Some(per_minute),
        }
    }
}

/// A hub, and how it is linked at the start.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Host name clients dial.
    pub host: HubHostName,
    /// Share of the fleet under the hashed policy, 1 to 1000 (R-B13).
    pub weight: HubWeight,
    /// Whether any policy may choose it (R-B12).
    pub apply_allocation_policy: bool,
    /// Its latency for the policy of lowest latency, in milliseconds; unknown counts as slowest
    /// (R-B13).
    pub latency_ms: Option<u32>,
    /// What becomes of messages.
    pub events: EventsConfig,
    /// What becomes of messages for devices.
    pub c2d: C2dConfig,
    /// The tier whose limits hold (R-G35, R-H4, R-H5); without one there are none but our own.
    pub tier: Option<Tier>,
    /// How often it may be asked for what: as its tier says, unless something else is said.
    pub limits: HubLimits,
    /// Whether what DPS writes counts as registry operations and waits for its turn (R-H6).
    pub dps_writes_count: bool,
}

/// How often a hub may be asked for what; anything may be asked for any number of times at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubLimits {
    rates: [Option<RateLimit>; Metered::ALL.len()],
    daily: Option<DailyQuota>,
}

impl HubLimits {
    /// Those of a tier.
    #[must_use]
    pub fn of_tier(tier: Tier) -> Self {
        Self {
            rates: Metered::ALL.map(|metered| Some(tier.limit(metered))),
            daily: Some(DailyQuota::of_tier(tier)),
        }
    }

    /// The limit on one kind, if there is one.
    #[must_use]
    pub fn of(&self, metered: Metered) -> Option<RateLimit> {
        // The kinds are numbered in the order of `ALL`.
        self.rates[metered as usize]
    }

    /// Sets the limit on one kind, or lifts it.
    pub fn set(&mut self, metered: Metered, limit: Option<RateLimit>) {
        self.rates[metered as usize] = limit;
    }

    /// How many messages it takes in a day, if that is limited (R-H7).
    #[must_use]
    pub fn daily(&self) -> Option<DailyQuota> {
        self.daily
    }

    /// Sets how many messages it takes in a day, or lifts the limit.
    pub fn set_daily(&mut self, quota: Option<DailyQuota>) {
        self.daily = quota;
    }
}

impl HubConfig {
    /// A hub of weight 1 and unknown latency that every policy may choose.
    #[must_use]
    pub fn new(host: HubHostName) -> Self {
        Self {
            host,
            weight: HubWeight::default(),
            apply_allocation_policy: true,
            latency_ms: None,
            events: EventsConfig::default(),
            c2d: C2dConfig::default(),
            tier: None,
            limits: HubLimits::default(),
            dps_writes_count: true,
        }
    }
}

/// The event endpoint of a hub (R-G38).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsConfig {
    /// How many partitions there are, 1 to 32.
    pub partition_count: u16,
    /// How long events are kept on the emulator's clock: one to seven days.
    pub retention: Duration,
    /// Memory for all events of the hub, in bytes. Each partition has its equal share.
    pub bytes_max: u64,
    /// Which sources beside telemetry are published; none by default (R-G40).
    pub routes: Vec<MessageSource>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            partition_count: 4,
            retention: Duration::from_secs(86_400),
            bytes_max: EVENT_BYTES_DEFAULT,
            routes: Vec::new(),
        }
    }
}

/// What becomes of messages for devices, and of feedback about them (R-G27, R-G30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct C2dConfig {
    /// How long a message is good that does not say so itself, in seconds: 60 to 172800.
    pub ttl_seconds: u32,
    /// How often a device abandons a message before it is given up, 1 to 100.
    pub delivery_count_max: u32,
    /// How long feedback is kept, in seconds: 60 to 172800.
    pub feedback_ttl_seconds: u32,
}

impl C2dConfig {
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            ttl_ms: i64::from(self.ttl_seconds) * 1000,
            delivery_count_max: self.delivery_count_max,
        }
    }

    pub(crate) fn feedback_terms(&self) -> FeedbackTerms {
        FeedbackTerms {
            ttl_ms: i64::from(self.feedback_ttl_seconds) * 1000,
            lock_ms: i64::from(FEEDBACK_LOCK_SECONDS_DEFAULT) * 1000,
            delivery_count_max: C2D_DELIVERY_COUNT_DEFAULT,
        }
    }
}

impl Default for C2dConfig {
    fn default() -> Self {
        Self {
            ttl_seconds: C2D_TTL_SECONDS_DEFAULT,
            delivery_count_max: C2D_DELIVERY_COUNT_DEFAULT,
            feedback_ttl_seconds: C2D_TTL_SECONDS_DEFAULT,
        }
    }
}

/// How webhooks of custom allocation are asked (R-B16).
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// How long a webhook may take, from dialling to the last byte of its answer.
    pub timeout: Duration,
    /// Certificates of CAs that are trusted beside the system's, as DER.
    pub extra_ca: Vec<Vec<u8>>,
}

/// Where to listen.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// Address of every listener.
    pub address: IpAddr,
    /// Port of MQTT over TLS; 0 takes any free one.
    pub mqtt: u16,
    /// Port of HTTPS; 0 takes any free one.
    pub https: u16,
    /// Port taken for HTTPS where `https` may not be bound.
    pub https_fallback: Option<u16>,
    /// Port of the admin listener (plain HTTP, never an Azure API); 0 takes any free one.
    pub admin: u16,
    /// Port of the telemetry mirror (plain MQTT, read-only); 0 takes any free one, `None` is off.
    pub mirror: Option<u16>,
    /// More names and addresses the server certificate lists.
    pub extra_names: Vec<String>,
}

impl Config {
    /// One DPS and the given hubs on loopback, on any free ports, without a mirror.
    ///
    /// # Errors
    /// If a name is no host name.
    pub fn local(dps_host: &str, hub_hosts: &[String]) -> Result<Self, IdError> {
        let hubs = hub_hosts
            .iter()
            .map(|host| Ok(HubConfig::new(HubHostName::parse(host)?)))
            .collect::<Result<Vec<_>, IdError>>()?;
        Ok(Self {
            dps: DpsConfig {
                name: "linarite-dps".to_owned(),
                host: HubHostName::parse(dps_host)?,
                id_scope: IdScope::parse("0ne00000001")?,
                allocation_policy: InstanceAllocationPolicy::default(),
                throttles: DpsThrottles::default(),
            },
            hubs,
            listen: ListenConfig {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                mqtt: 0,
                https: 0,
                https_fallback: None,
                admin: 0,
                mirror: None,
                extra_names: Vec::new(),
            },
            webhook: WebhookConfig {
                timeout: Duration::from_secs(30),
                extra_ca: Vec::new(),
            },
            settings: Settings::default(),
            assignment_latency: Duration::from_millis(500),
            retry_after_seconds: 3,
            danger_tls_resumption: false,
        })
    }

    /// What `linarite up` serves without a file: Azure's ports on loopback, one hub, all named
    /// `localhost`.
    ///
    /// # Errors
    /// Never in practice: the names are fixed and well formed.
    pub fn developer() -> Result<Self, IdError> {
        let mut config = Self::local("localhost", &["localhost".to_owned()])?;
        config.listen.mqtt = 8883;
        config.listen.https = 443;
        config.listen.https_fallback = Some(8443);
        config.listen.admin = 8088;
        config.listen.mirror = Some(1883);
        Ok(config)
    }

    /// The developer's configuration with what `text`, the content of `file`, changes in it.
    ///
    /// # Errors
    /// [`ConfigError`] naming file, line and field.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ConfigError> {
        raw::read(file, text)
    }
}
