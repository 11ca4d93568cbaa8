//! The CA certificates of DPS and of hubs (behaviour D, ENDPOINTS 5 and 6): the same calls.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use linarite_core::id::CertificateName;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::hub::HubResource;
use super::{Caller, Resource};
use crate::error::ServiceError;
use crate::http::answer::{Answered, json as read_json, no_content, ok};
use crate::service::Services;
use crate::service::certificates::KeepsCertificates;
use crate::service::hub::Hub;
use crate::store::book::Book;
use crate::store::certificates::StoredCa;
use crate::wire::management as wire;

const DPS: &str = "/subscriptions/{subscription}/resourcegroups/{group}/providers/\
                   microsoft.devices/provisioningservices/{service}/certificates";

const HUB: &str = "/subscriptions/{subscription}/resourcegroups/{group}/providers/\
                   microsoft.devices/iothubs/{hub}/certificates";

pub(super) fn routes() -> Router<Arc<Services>> {
    routes_of::<Resource>(DPS).merge(routes_of::<HubResource>(HUB))
}

fn routes_of<O: Owner>(all: &str) -> Router<Arc<Services>> {
    let one = format!("{all}/{{name}}");
    let code = format!("{one}/generateverificationcode");
    Router::new()
        .route(all, get(list::<O>))
        .route(&one, get(read::<O>).put(write::<O>).delete(delete::<O>))
        .route(&code, post(generate_code::<O>))
        .route(&format!("{one}/verify"), post(verify::<O>))
}

/// Whose certificates an address is about.
trait Owner: DeserializeOwned + Send + 'static {
    type Keeper: KeepsCertificates;

    /// The type of the certificates as resources.
    const TYPE: &str;

    /// The service the address names.
    fn keeper<'a>(&self, services: &'a Services) -> Result<&'a Self::Keeper, ServiceError>;

    /// The service's own address.
    fn path(&self) -> String;

    /// The certificate the address names.
    fn name(&self) -> &str;

    fn certificate_name(&self) -> Result<CertificateName, ServiceError> {
        CertificateName::parse(self.name())
            .map_err(|error| ServiceError::invalid(format!("certificateName: {error}")))
    }

    /// A certificate as the API shows it.
    fn shown(&self, stored: &StoredCa, with_code: bool) -> Value {
        wire::certificate(stored, &self.path(), Self::TYPE, with_code)
    }

    /// Checks who asks and about whom, then does the work.
    fn answer(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Self::Keeper) -> Result<Response, ServiceError>,
    ) -> Answered {
        caller.answer(|services| work(self.keeper(services)?))
    }
}

impl Owner for Resource {
    type Keeper = Book;

    const TYPE: &str = "Microsoft.Devices/provisioningServices/certificates";

    fn keeper<'a>(&self, services: &'a Services) -> Result<&'a Book, ServiceError> {
        self.check_named(services)?;
        Ok(&services.book)
    }

    fn path(&self) -> String {
        Self::path(self)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Owner for HubResource {
    type Keeper = Hub;

    const TYPE: &str = "Microsoft.Devices/IotHubs/certificates";

    fn keeper<'a>(&self, services: &'a Services) -> Result<&'a Hub, ServiceError> {
        self.find(services)
    }

    fn path(&self) -> String {
        self.path_of(&self.hub)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

async fn list<O: Owner>(caller: Caller, Path(owner): Path<O>) -> Answered {
    owner.answer(&caller, |keeper| {
        let stored = keeper.certificates();
        let items = stored.iter().map(|stored| owner.shown(stored, false));
        Ok(ok(&json!({ "value": Value::from_iter(items) })))
    })
}

async fn read<O: Owner>(caller: Caller, Path(owner): Path<O>) -> Answered {
    owner.answer(&caller, |keeper| {
        let stored = keeper.certificate(&owner.certificate_name()?)?;
        Ok(ok(&owner.shown(&stored, false)))
    })
}

async fn write<O: Owner>(caller: Caller, Path(owner): Path<O>, body: Bytes) -> Answered {
    owner.answer(&caller, |keeper| {
        let (name, precondition) = (owner.certificate_name()?, caller.if_match()?);
        let (certificate, verified) = wire::read_certificate(&read_json(&body)?)?;
        let stored = keeper.put_certificate(&name, &precondition, certificate, verified)?;
        Ok(ok(&owner.shown(&stored, false)))
    })
}

async fn delete<O: Owner>(caller: Caller, Path(owner): Path<O>) -> Answered {
    owner.answer(&caller, |keeper| {
        keeper.delete_certificate(&owner.certificate_name()?, &caller.if_match()?)?;
        Ok(no_content())
    })
}

async fn generate_code<O: Owner>(caller: Caller, Path(owner): Path<O>) -> Answered {
    owner.answer(&caller, |keeper| {
        let (name, precondition) = (owner.certificate_name()?, caller.if_match()?);
        let stored = keeper.generate_verification_code(&name, &precondition)?;
        Ok(ok(&owner.shown(&stored, true)))
    })
}

async fn verify<O: Owner>(caller: Caller, Path(owner): Path<O>, body: Bytes) -> Answered {
    owner.answer(&caller, |keeper| {
        let (name, precondition) = (owner.certificate_name()?, caller.if_match()?);
        let proof = wire::read_proof(&read_json(&body)?)?;
        let stored = keeper.verify_certificate(&name, &precondition, &proof)?;
        Ok(ok(&owner.shown(&stored, false)))
    })
}
