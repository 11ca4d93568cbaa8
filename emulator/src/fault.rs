//! Trouble on purpose: DPS answers with an error, a hub restarts.
//!
//! [`Emulator::faults`](crate::Emulator::faults) gives the handle. What devices are told then is
//! what Azure tells them; operators, who use the service and management APIs, notice nothing.
//!
//! ```
//! # use linarite_emulator::{Config, Emulator};
//! # use linarite_emulator::fault::{DpsFault, DpsTrouble};
//! # use linarite_env::{Clock, Env};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # let _inside = runtime.enter();
//! let env = Env::new(Clock::system(), 1);
//! let now = env.clock.now_ms().0;
//! let emulator = Emulator::new(Config::local("dps.test", &["hub-1".to_owned()]).unwrap(), env).unwrap();
//! let one_in_four = DpsFault {
//!     from_ms: now,
//!     until_ms: now + 60_000,
//!     hits: 1,
//!     of: 4.try_into().unwrap(),
//!     trouble: DpsTrouble::Throttled { seconds: 5 },
//! };
//! emulator.faults().dps(one_in_four).unwrap();
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linarite_core::fault::strike;
pub use linarite_core::fault::{DpsFault, DpsTrouble};
use linarite_core::throttle::Throttled;
use linarite_env::Env;

use crate::error::ServiceError;
use crate::limits::FAULTS_MAX;
use crate::service::Services;

/// Why a fault was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// As many faults as there may be are still to come or to end.
    #[error("{FAULTS_MAX} faults are still to come or to end, which is the most")]
    TooMany,
    /// There is no hub of that host name.
    #[error("no hub is called that")]
    UnknownHub,
}

/// The way to have an emulator fail on purpose. Clones are the same.
#[derive(Clone)]
pub struct Faults(Arc<Services>);

impl Faults {
    pub(crate) fn new(services: &Arc<Services>) -> Self {
        Self(Arc::clone(services))
    }

    /// Has DPS leave a share of devices' requests (register, poll, look-up) without an answer, at
    /// a time still to come or from now on.
    ///
    /// Which requests are hit follows from the emulator's seed, the device and the moment alone.
    /// Gives a number by which the fault can be ended.
    ///
    /// # Errors
    /// [`FaultError::TooMany`].
    pub fn dps(&self, fault: DpsFault) -> Result<u64, FaultError> {
        self.0.dps_faults.add(fault)
    }

    /// Ends one fault of DPS, by its number; gives whether there was still something to end.
    #[must_use]
    pub fn end_dps(&self, number: u64) -> bool {
        self.0.dps_faults.end(number)
    }

    /// Ends every session at the hub of that host name, and refuses devices (CONNACK 3, or 503
    /// over HTTPS) until `down_for` is over. Identities, twins and messages stay. Gives how many
    /// sessions ended.
    ///
    /// # Errors
    /// [`FaultError::UnknownHub`].
    pub fn restart_hub(&self, hub: &str, down_for: Duration) -> Result<usize, FaultError> {
        let hub = self.0.hub(hub).ok_or(FaultError::UnknownHub)?;
        Ok(hub.restart(down_for))
    }

    /// Has the hub of that host name be back, whatever was left of its restart.
    ///
    /// # Errors
    /// [`FaultError::UnknownHub`].
    pub fn end_restart(&self, hub: &str) -> Result<(), FaultError> {
        let hub = self.0.hub(hub).ok_or(FaultError::UnknownHub)?;
        hub.is_back();
        Ok(())
    }

    /// Ends all trouble at once.
    pub fn clear(&self) {
        self.0.dps_faults.clear();
        for hub in self.0.hubs.iter() {
            hub.is_back();
        }
    }
}

/// The faults of DPS.
pub(crate) struct DpsFaults {
    env: Env,
    planned: Mutex<Planned>,
}

/// Faults that are still to come or to end, as far as anybody has looked.
#[derive(Default)]
struct Planned {
    faults: Vec<Arc<(u64, DpsFault)>>,
    /// The next one's number: none has two owners.
    next: u64,
}

impl DpsFaults {
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            planned: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, fault: DpsFault) -> Result<u64, FaultError> {
        let now = self.env.clock.now_ms().0;
        let mut planned = self.lock();
        planned.faults.retain(|known| known.1.until_ms > now);
        if planned.faults.len() >= FAULTS_MAX {
            return Err(FaultError::TooMany);
        }
        let number = planned.next;
        planned.next += 1;
        planned.faults.push(Arc::new((number, fault)));
        Ok(number)
    }

    fn end(&self, number: u64) -> bool {
        let now = self.env.clock.now_ms().0;
        let faults = &mut self.lock().faults;
        faults.retain(|known| known.1.until_ms > now);
        let before = faults.len();
        faults.retain(|known| known.0 != number);
        faults.len() < before
    }

    fn clear(&self) {
        self.lock().faults.clear();
    }

    /// Whether there is any trouble, now or planned.
    pub(crate) fn any(&self) -> bool {
        !self.lock().faults.is_empty()
    }

    /// Meets a request of the device `id` with what it has to meet.
    ///
    /// # Errors
    /// 429001, 500000 or 503000.
    pub(crate) fn meet(&self, id: &str) -> Result<(), ServiceError> {
        let faults = self.lock().faults.clone();
        if faults.is_empty() {
            return Ok(());
        }
        let now = self.env.clock.now_ms().0;
        let plain: Vec<DpsFault> = faults.iter().map(|known| known.1).collect();
        // A draw for each fault, device and moment: one request more changes no other's lot.
        let draw = |place: usize| {
            let purpose = format!("fault {}", faults[place].0);
            let mut rng = self.env.entropy.stream(&purpose, &format!("{id} {now}"));
            rng.u64(..)
        };
        match strike(&plain, now, draw) {
            None => Ok(()),
            Some(trouble) => Err(error(trouble)),
        }
    }
}

/// DPS's own numbers for these are not public (R-F8).
fn error(trouble: DpsTrouble) -> ServiceError {
    match trouble {
        DpsTrouble::Throttled { seconds } => {
            ServiceError::throttled("registrations", Throttled { seconds })
        }
        DpsTrouble::InternalError => ServiceError::new(
            500_000,
            "InternalServerError",
            "R-F8",
            "An internal error occurred.",
        ),
        DpsTrouble::Unavailable => ServiceError::new(
            503_000,
            "ServiceUnavailable",
            "R-F8",
            "The service is unavailable. Please retry later.",
        ),
    }
}
