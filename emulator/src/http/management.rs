//! The management API: CA certificates of DPS (behaviour D, ENDPOINTS 5), the DPS instance
//! itself, and the keys of DPS and hubs.
//!
//! Azure guards it with Entra ID, which is out of scope: any bearer token opens it.

mod instance;
mod keys;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use linarite_core::id::CertificateName;
use serde_json::{Value, json};

use super::answer::{Answered, Api, Refusal, header, if_match, json as read_json, no_content, ok};
use crate::error::ServiceError;
use crate::service::Services;
use crate::wire::management as wire;

const CERTIFICATES: &str = "/subscriptions/{subscription}/resourcegroups/{group}/providers/\
                            microsoft.devices/provisioningservices/{service}/certificates";

pub(super) fn routes() -> Router<Arc<Services>> {
    let one = format!("{CERTIFICATES}/{{name}}");
    Router::new()
        .route(CERTIFICATES, get(list))
        .route(&one, get(get_one).put(put).delete(delete))
        .route(
            &format!("{one}/generateverificationcode"),
            post(generate_code),
        )
        .route(&format!("{one}/verify"), post(verify))
        .merge(instance::routes())
        .merge(keys::routes())
}

type Shared = State<Arc<Services>>;

/// What the address names. The subscription and resource group may be anything.
#[derive(serde::Deserialize)]
struct Resource {
    subscription: String,
    #[serde(default = "unnamed_group")]
    group: String,
    /// Empty where services are listed.
    #[serde(default)]
    service: String,
    #[serde(default)]
    name: String,
}

/// The resource group in answers to who named none.
fn unnamed_group() -> String {
    "linarite".to_owned()
}

impl Resource {
    fn path(&self) -> String {
        self.path_of(&self.service)
    }

    /// The address of the service of that name, under the asked subscription and group.
    fn path_of(&self, service: &str) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Devices/provisioningServices/{service}",
            self.subscription, self.group
        )
    }

    /// The certificate's name.
    fn certificate(&self) -> Result<CertificateName, ServiceError> {
        CertificateName::parse(&self.name)
            .map_err(|error| ServiceError::invalid(format!("certificateName: {error}")))
    }

    /// Checks who asks and for which service, then does the work; either's error goes out in
    /// this API's shape.
    fn answer(
        &self,
        services: &Arc<Services>,
        headers: &HeaderMap,
        work: impl FnOnce() -> Result<Response, ServiceError>,
    ) -> Answered {
        self.authorize(services, headers)
            .and_then(|()| work())
            .map_err(Refusal::new(Api::Management, services))
    }

    fn authorize(&self, services: &Services, headers: &HeaderMap) -> Result<(), ServiceError> {
        require_bearer(headers)?;
        let name = &services.config.dps.name;
        if self.service.is_empty() || self.service.eq_ignore_ascii_case(name) {
            return Ok(());
        }
        let text = format!(
            "No provisioning service is named {}; try {name}.",
            self.service
        );
        Err(ServiceError::new(404_000, "ResourceNotFound", "R-D1", text))
    }
}

fn require_bearer(headers: &HeaderMap) -> Result<(), ServiceError> {
    let bearer = header(headers, &AUTHORIZATION)
        .and_then(|text| text.split_once(' '))
        .is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()
        });
    if bearer {
        return Ok(());
    }
    let text = "Expected Authorization: Bearer with any token.";
    Err(ServiceError::new(401_000, "Unauthorized", "R-F9", text))
}

async fn list(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        let path = resource.path();
        let stored = services.book.certificates();
        let items: Vec<Value> = stored
            .iter()
            .map(|stored| wire::certificate(stored, &path, false))
            .collect();
        Ok(ok(&json!({ "value": items })))
    })
}

async fn get_one(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        let stored = services.book.certificate(&resource.certificate()?)?;
        Ok(ok(&wire::certificate(&stored, &resource.path(), false)))
    })
}

async fn put(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    resource.answer(&services, &headers, || {
        let (name, precondition) = (resource.certificate()?, if_match(&headers)?);
        let (certificate, verified) = wire::read_certificate(&read_json(&body)?)?;
        let stored = services
            .book
            .put_certificate(&name, &precondition, certificate, verified)?;
        Ok(ok(&wire::certificate(&stored, &resource.path(), false)))
    })
}

async fn delete(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        services
            .book
            .delete_certificate(&resource.certificate()?, &if_match(&headers)?)?;
        Ok(no_content())
    })
}

async fn generate_code(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        let (name, precondition) = (resource.certificate()?, if_match(&headers)?);
        let stored = services
            .book
            .generate_verification_code(&name, &precondition)?;
        Ok(ok(&wire::certificate(&stored, &resource.path(), true)))
    })
}

async fn verify(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    resource.answer(&services, &headers, || {
        let (name, precondition) = (resource.certificate()?, if_match(&headers)?);
        let proof = wire::read_proof(&read_json(&body)?)?;
        let stored = services
            .book
            .verify_certificate(&name, &precondition, &proof)?;
        Ok(ok(&wire::certificate(&stored, &resource.path(), false)))
    })
}
