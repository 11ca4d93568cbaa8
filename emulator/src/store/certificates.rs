//! CA certificates of a DPS instance or a hub (R-D1, R-D10).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use linarite_core::certificate::Certificate;
use linarite_core::certificate::path::{CaCertificate, CaStore};
use linarite_core::id::{CertificateName, ETag};
use linarite_env::UnixMillis;

/// A CA certificate with what the management API tells of it (R-D1).
#[derive(Clone, Debug)]
pub(crate) struct StoredCa {
    pub(crate) name: CertificateName,
    pub(crate) certificate: Certificate,
    pub(crate) verified: bool,
    pub(crate) etag: ETag,
    pub(crate) created: UnixMillis,
    pub(crate) updated: UnixMillis,
    /// The code whose signature proves possession, once asked for (R-D3).
    pub(crate) verification_code: Option<String>,
}

/// CA certificates in the order of their names.
pub(crate) type Certificates = BTreeMap<CertificateName, StoredCa>;

/// The same, as `core` judges by them.
pub(crate) fn ca_store(certificates: &Certificates) -> CaStore {
    let mut store = CaStore::new();
    for (name, stored) in certificates {
        let certificate = stored.certificate.clone();
        store.insert(
            name.clone(),
            CaCertificate {
                certificate,
                verified: stored.verified,
            },
        );
    }
    store
}

/// The CA certificates of one hub. They are few, and read at every connection.
#[derive(Debug, Default)]
pub(crate) struct CertificateShelf(RwLock<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    certificates: Certificates,
    store: Arc<CaStore>,
}

impl CertificateShelf {
    /// All of them in the order of their names.
    pub(crate) fn all(&self) -> Vec<StoredCa> {
        let shelf = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shelf.certificates.values().cloned().collect()
    }

    /// What `core` judges by at this moment.
    pub(crate) fn store(&self) -> Arc<CaStore> {
        let shelf = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shelf.store)
    }

    /// Works on them; whatever `work` leaves is what counts from then on.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Certificates) -> T) -> T {
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut shelf.certificates);
        shelf.store = Arc::new(ca_store(&shelf.certificates));
        result
    }
}
