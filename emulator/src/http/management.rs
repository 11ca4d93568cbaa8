//! The management API: CA certificates of DPS and hubs (behaviour D, ENDPOINTS 5 and 6), the DPS
//! instance and the hubs themselves, and the keys of both.
//!
//! Azure guards it with Entra ID, which is out of scope: any bearer token opens it.

mod catalogue;
mod certificates;
mod hub;
mod instance;
mod keys;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use linarite_core::id::Precondition;

use super::answer::{Answered, Api, Refusal, header, if_match, json as read_json, ok};
use super::path;
use crate::error::ServiceError;
use crate::service::Services;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .merge(catalogue::routes())
        .merge(certificates::routes())
        .merge(hub::routes())
        .merge(instance::routes())
        .merge(keys::routes())
}

/// Who asks, how their errors are spelled, and whom they ask.
struct Caller {
    services: Arc<Services>,
    headers: HeaderMap,
    api: Api,
}

impl FromRequestParts<Arc<Services>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Infallible> {
        Ok(Self {
            services: Arc::clone(services),
            headers: parts.headers.clone(),
            api: path::api(&parts.uri),
        })
    }
}

impl Caller {
    /// Checks who asks, then does the work; either's error goes out in this API's shape.
    fn answer(&self, work: impl FnOnce(&Services) -> Result<Response, ServiceError>) -> Answered {
        require_bearer(&self.headers)
            .and_then(|()| work(&self.services))
            .map_err(Refusal::new(self.api, &self.services))
    }

    fn if_match(&self) -> Result<Precondition, ServiceError> {
        if_match(&self.headers)
    }
}

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

    /// Checks who asks and for which service, then does the work.
    fn answer(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Services) -> Result<Response, ServiceError>,
    ) -> Answered {
        caller.answer(|services| {
            self.check_named(services)?;
            work(services)
        })
    }

    /// Whether the address names the service there is.
    fn check_named(&self, services: &Services) -> Result<(), ServiceError> {
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
