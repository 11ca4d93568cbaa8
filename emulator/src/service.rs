//! The services behind the listeners. Transports call them; they call `core` and the stores.

mod alarm;
pub(crate) mod bulk;
pub(crate) mod c2d;
pub(crate) mod certificates;
pub(crate) mod enroll;
pub(crate) mod feedback;
pub(crate) mod hub;
pub(crate) mod instance;
pub(crate) mod job;
pub(crate) mod links;
pub(crate) mod mailbox;
pub(crate) mod method;
pub(crate) mod presence;
pub(crate) mod provision;
pub(crate) mod query;
pub(crate) mod register;
pub(crate) mod registry;
mod restart;
pub(crate) mod session;
pub(crate) mod telemetry;
pub(crate) mod throttle;
pub(crate) mod twin;
pub(crate) mod voice;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use linarite_env::Env;
use linarite_env::event::ConnectionId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::ServiceError;
use crate::fault::DpsFaults;
use crate::names::Names;
use crate::outgoing::Poster;
use crate::policy::Policies;
use crate::store::book::Book;
use hub::Hub;
use instance::Instance;
use links::Links;
use register::{Around, Register};
use throttle::Meter;

/// Everything the listeners share.
pub(crate) struct Services {
    pub(crate) config: Config,
    pub(crate) env: Env,
    pub(crate) names: Arc<Names>,
    /// The policies of the DPS service API.
    pub(crate) dps_policy: Policies,
    /// What the management API tells of the DPS instance beside its configuration.
    pub(crate) instance: Instance,
    /// The hubs linked to the instance, and its default policy.
    pub(crate) links: Arc<Links>,
    /// Enrollments and CA certificates.
    pub(crate) book: Arc<Book>,
    /// What DPS says in place of answers, because somebody wants it to.
    pub(crate) dps_faults: Arc<DpsFaults>,
    /// Registrations of devices.
    pub(crate) register: Register,
    /// Hubs served, linked or not, in the order of the configuration.
    pub(crate) hubs: Arc<[Arc<Hub>]>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    /// What is left of the limit on service operations.
    service_operations: Meter,
    connections: AtomicU64,
}

impl Services {
    pub(crate) fn new(config: Config, env: Env, poster: Poster) -> Arc<Self> {
        let names = Arc::new(Names::new(&env.entropy, "linarite"));
        let tasks = TaskTracker::new();
        let cancel = CancellationToken::new();
        let hubs: Arc<[Arc<Hub>]> = config
            .hubs
            .iter()
            .map(|hub| {
                let settings = config.settings;
                let names = Arc::clone(&names);
                Hub::new(hub, env.clone(), settings, names, &tasks, &cancel)
            })
            .collect();
        let book = Arc::new(Book::new(env.clone(), Arc::clone(&names), config.settings));
        let links = Arc::new(Links::new(&config, &hubs));
        let dps_faults = Arc::new(DpsFaults::new(&env));
        let around = Around {
            env: env.clone(),
            faults: Arc::clone(&dps_faults),
            names: Arc::clone(&names),
            book: Arc::clone(&book),
            hubs: Arc::clone(&hubs),
            links: Arc::clone(&links),
            poster,
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        };
        let register = Register::new(&config, around);
        let refusals = config.settings.refusals();
        let service_operations = config.dps.throttles.service_operations;
        Arc::new(Self {
            dps_policy: Policies::dps(),
            instance: Instance::new(&env),
            links,
            config,
            env,
            names,
            book,
            dps_faults,
            register,
            hubs,
            tasks,
            cancel,
            service_operations: Meter::new(service_operations, refusals),
            connections: AtomicU64::new(0),
        })
    }

    /// The number of the next connection.
    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// Has none of the limits of an instance and its hubs hold until they are not `lifted` any more;
    /// those of each device do.
    pub(crate) fn lift_limits(&self, lifted: bool) {
        self.service_operations.lift(lifted);
        self.register.lift_limit(lifted);
        self.hubs.iter().for_each(|hub| hub.meters.lift(lifted));
    }

    /// R-H1: counts a call of the service API of DPS.
    ///
    /// # Errors
    /// 429001 beyond the limit.
    pub(crate) fn count_service_operation(&self) -> Result<(), ServiceError> {
        let taken = self.service_operations.take(self.env.clock.now_ms());
        taken.map_err(|throttled| ServiceError::throttled("service operations", throttled))
    }

    /// The hub of that host name, with or without a port; a loopback name is the first hub.
    pub(crate) fn hub(&self, host: &str) -> Option<Arc<Hub>> {
        let name = without_port(host);
        let named = self
            .hubs
            .iter()
            .find(|hub| hub.host.as_str().eq_ignore_ascii_case(name));
        let found = named.or_else(|| is_loopback(name).then(|| self.hubs.first()).flatten());
        found.cloned()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_and_ports_are_told_apart_from_hub_names() {
        assert_eq!(without_port("localhost:8443"), "localhost");
        assert_eq!(without_port("hub.test"), "hub.test");
        assert!(is_loopback("LOCALHOST") && is_loopback("127.0.0.2") && is_loopback("[::1]"));
        assert!(!is_loopback("hub.test") && !is_loopback("10.0.0.1"));
    }
}
