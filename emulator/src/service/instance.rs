//! The DPS instance as a resource: its etag, and the one thing of it that may be changed while it
//! runs, its shared access policies (R-F9, ENDPOINTS 5).

use std::sync::{Mutex, PoisonError};

use linarite_core::id::{ETag, Precondition};
use linarite_env::Env;

use crate::error::ServiceError;
use crate::names::Names;
use crate::policy::Policy;
use crate::service::Services;

/// The etag of the instance; whoever holds its lock sees etag and policies of one moment.
pub(crate) struct Instance {
    etag: Mutex<ETag>,
    names: Names,
}

impl Instance {
    pub(crate) fn new(env: &Env) -> Self {
        let names = Names::new(&env.entropy, "instance");
        Self {
            etag: Mutex::new(names.etag()),
            names,
        }
    }
}

impl Services {
    /// The etag of the instance and its policies.
    pub(crate) fn instance(&self) -> (ETag, Vec<Policy>) {
        let etag = self.instance.etag.lock();
        let etag = etag.unwrap_or_else(PoisonError::into_inner);
        (etag.clone(), self.dps_policy.all())
    }

    /// Writes the instance: `read` gives its policies from what is held. As with CA
    /// certificates, the etag need not be sent (R-F1).
    pub(crate) fn put_instance(
        &self,
        precondition: &Precondition,
        read: impl FnOnce(&(ETag, Vec<Policy>)) -> Result<Vec<Policy>, ServiceError>,
    ) -> Result<(ETag, Vec<Policy>), ServiceError> {
        let etag = self.instance.etag.lock();
        let mut etag = etag.unwrap_or_else(PoisonError::into_inner);
        precondition
            .check_delete(Some(&etag))
            .map_err(|failed| ServiceError::dps_precondition(&failed))?;
        let policies = read(&(etag.clone(), self.dps_policy.all()))?;
        self.dps_policy.replace(policies.clone());
        *etag = self.instance.names.etag();
        Ok((etag.clone(), policies))
    }
}
