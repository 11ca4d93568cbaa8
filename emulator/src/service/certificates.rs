//! The CA certificates of DPS and of hubs: upload, proof of possession, removal (behaviour D).

use std::sync::Arc;

use linarite_core::certificate::Certificate;
use linarite_core::dps::possession::{self, PossessionError};
use linarite_core::id::{CertificateName, Precondition};
use linarite_env::{Env, Event};

use super::hub::Hub;
use crate::error::ServiceError;
use crate::limits::CA_CERTIFICATES_MAX;
use crate::names::Names;
use crate::store::book::Book;
use crate::store::certificates::{Certificates, StoredCa};

/// A service with CA certificates of its own. The same rules hold for all (R-D10).
pub(crate) trait KeepsCertificates {
    /// Its clock and events.
    fn env(&self) -> &Env;

    /// Where its etags come from.
    fn names(&self) -> &Names;

    /// The hub it is, for events; none for DPS.
    fn as_hub(&self) -> Option<Arc<str>>;

    /// All of them in the order of their names.
    fn certificates(&self) -> Vec<StoredCa>;

    /// Works on them.
    fn change_certificates<T>(&self, work: impl FnOnce(&mut Certificates) -> T) -> T;

    /// Why the certificate of that name may not be removed.
    fn protects(&self, name: &CertificateName) -> Option<ServiceError>;

    /// The CA certificate of that name.
    fn certificate(&self, name: &CertificateName) -> Result<StoredCa, ServiceError> {
        self.certificates()
            .into_iter()
            .find(|stored| stored.name == *name)
            .ok_or_else(|| ServiceError::dps_not_found(404_000, "Certificate"))
    }

    /// Adds a certificate or replaces the content under its name (R-D2, R-D5).
    fn put_certificate(
        &self,
        name: &CertificateName,
        precondition: &Precondition,
        certificate: Certificate,
        verified: bool,
    ) -> Result<StoredCa, ServiceError> {
        if !certificate.is_ca() {
            let text = format!(
                "properties.certificate: {} is not a CA certificate (basicConstraints CA:TRUE)",
                certificate.subject()
            );
            return Err(ServiceError::invalid(text));
        }
        let now = self.env().clock.now_ms();
        let stored = self.change_certificates(|certificates| {
            let current = certificates.get(name);
            // Unlike entries, a certificate may be written again without its etag.
            let unconditional = *precondition == Precondition::None;
            if !unconditional {
                precondition
                    .check(current.map(|stored| &stored.etag))
                    .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            }
            if current.is_none() && certificates.len() >= CA_CERTIFICATES_MAX {
                return Err(ServiceError::limit(
                    "The instance holds no more CA certificates.",
                ));
            }
            let stored = StoredCa {
                name: name.clone(),
                certificate,
                verified,
                etag: self.names().etag(),
                created: current.map_or(now, |stored| stored.created),
                updated: now,
                verification_code: None,
            };
            certificates.insert(name.clone(), stored.clone());
            Ok(stored)
        })?;
        let (hub, name) = (self.as_hub(), name.as_str().into());
        self.env().events.emit(Event::CaCertificateWritten {
            hub,
            name,
            verified,
        });
        Ok(stored)
    }

    /// Gives a fresh code to be signed with the CA's key; it replaces an earlier one (R-D3).
    fn generate_verification_code(
        &self,
        name: &CertificateName,
        precondition: &Precondition,
    ) -> Result<StoredCa, ServiceError> {
        let code = hex(&linarite_env::entropy::secret::<24>());
        self.change_certificate(name, precondition, |stored| {
            stored.verification_code = Some(code);
            Ok(())
        })
    }

    /// Marks a certificate verified if `proof` is signed by it and carries the code (R-D3).
    fn verify_certificate(
        &self,
        name: &CertificateName,
        precondition: &Precondition,
        proof: &Certificate,
    ) -> Result<StoredCa, ServiceError> {
        let stored = self.change_certificate(name, precondition, |stored| {
            let code = stored.verification_code.as_deref();
            possession::prove(&stored.certificate, code, proof).map_err(unproven)?;
            stored.verified = true;
            stored.verification_code = None;
            Ok(())
        })?;
        self.env().events.emit(Event::CaCertificateVerified {
            hub: self.as_hub(),
            name: name.as_str().into(),
        });
        Ok(stored)
    }

    /// Removes a certificate, referenced or not (R-D7, I-17); its etag is required (R-D6).
    fn delete_certificate(
        &self,
        name: &CertificateName,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        require_etag(precondition)?;
        if let Some(refused) = self.protects(name) {
            return Err(refused);
        }
        self.change_certificates(|certificates| {
            let current = certificates
                .get(name)
                .ok_or_else(|| ServiceError::dps_not_found(404_000, "Certificate"))?;
            precondition
                .check_delete(Some(&current.etag))
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            certificates.remove(name);
            Ok::<_, ServiceError>(())
        })?;
        self.env().events.emit(Event::CaCertificateDeleted {
            hub: self.as_hub(),
            name: name.as_str().into(),
        });
        Ok(())
    }

    fn change_certificate(
        &self,
        name: &CertificateName,
        precondition: &Precondition,
        work: impl FnOnce(&mut StoredCa) -> Result<(), ServiceError>,
    ) -> Result<StoredCa, ServiceError> {
        require_etag(precondition)?;
        let now = self.env().clock.now_ms();
        self.change_certificates(|certificates| {
            let current = certificates
                .get(name)
                .ok_or_else(|| ServiceError::dps_not_found(404_000, "Certificate"))?;
            precondition
                .check_delete(Some(&current.etag))
                .map_err(|failed| ServiceError::dps_precondition(&failed))?;
            let mut next = current.clone();
            work(&mut next)?;
            next.etag = self.names().etag();
            next.updated = now;
            certificates.insert(name.clone(), next.clone());
            Ok(next)
        })
    }
}

impl KeepsCertificates for Book {
    fn env(&self) -> &Env {
        &self.env
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn as_hub(&self) -> Option<Arc<str>> {
        None
    }

    fn certificates(&self) -> Vec<StoredCa> {
        self.stored_certificates()
    }

    fn change_certificates<T>(&self, work: impl FnOnce(&mut Certificates) -> T) -> T {
        self.change_stored_certificates(work)
    }

    fn protects(&self, name: &CertificateName) -> Option<ServiceError> {
        let group = self
            .settings
            .protect_referenced_ca
            .then(|| self.group_naming(name))??;
        let text = format!("Enrollment group {group} refers to the certificate.");
        Some(ServiceError::new(409_000, "Conflict", "I-17", text))
    }
}

impl Book {
    fn group_naming(&self, name: &CertificateName) -> Option<String> {
        use linarite_core::dps::attestation::{AttestationMechanism, X509Attestation};
        let names = |attestation: &AttestationMechanism| match attestation {
            AttestationMechanism::X509(X509Attestation::CaReferences(slots)) => {
                slots.iter().any(|(_, reference)| reference == name)
            }
            _ => false,
        };
        let groups = self.groups();
        let group = groups.iter().find(|group| names(&group.attestation))?;
        Some(group.enrollment_group_id.to_string())
    }
}

impl KeepsCertificates for Hub {
    fn env(&self) -> &Env {
        &self.env
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn as_hub(&self) -> Option<Arc<str>> {
        Some(self.name())
    }

    fn certificates(&self) -> Vec<StoredCa> {
        self.certificates.all()
    }

    fn change_certificates<T>(&self, work: impl FnOnce(&mut Certificates) -> T) -> T {
        self.certificates.change(work)
    }

    /// Identities name no certificate, so none is in the way.
    fn protects(&self, _name: &CertificateName) -> Option<ServiceError> {
        None
    }
}

fn require_etag(precondition: &Precondition) -> Result<(), ServiceError> {
    match precondition {
        Precondition::None => Err(ServiceError::new(
            400_000,
            "IfMatchMissing",
            "R-D6",
            "The header If-Match is required; send the certificate's etag.",
        )),
        Precondition::Any | Precondition::Match(_) => Ok(()),
    }
}

fn unproven(error: PossessionError) -> ServiceError {
    ServiceError::new(
        400_000,
        "CertificateVerificationFailed",
        "R-D3",
        error.to_string(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
