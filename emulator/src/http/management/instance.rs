//! The DPS instance as a resource: read, list, and write as far as its policies go (ENDPOINTS 5).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::get;
use bytes::Bytes;
use linarite_core::id::ETag;
use serde_json::{Value, json};

use super::{Resource, Shared, if_match, ok, read_json};
use crate::http::answer::Answered;
use crate::policy::Policy;
use crate::service::Services;
use crate::wire::management::instance as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    let services = "/providers/microsoft.devices/provisioningservices";
    let in_subscription = format!("/subscriptions/{{subscription}}{services}");
    let in_group = format!("/subscriptions/{{subscription}}/resourcegroups/{{group}}{services}");
    Router::new()
        .route(&in_subscription, get(list))
        .route(&in_group, get(list))
        .route(&format!("{in_group}/{{service}}"), get(read).put(write))
}

/// The instance as the API shows it, without keys.
fn described(
    services: &Services,
    resource: &Resource,
    (etag, policies): &(ETag, Vec<Policy>),
) -> Value {
    let path = resource.path_of(&services.config.dps.name);
    let owners = services
        .hubs
        .iter()
        .filter_map(|hub| hub.policy.all().into_iter().next());
    let owners: Vec<Policy> = owners.collect();
    wire::instance(&services.config, &owners, &path, etag, policies)
}

async fn list(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        let instance = described(&services, &resource, &services.instance());
        Ok(ok(&json!({ "value": [instance] })))
    })
}

async fn read(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        Ok(ok(&described(&services, &resource, &services.instance())))
    })
}

async fn write(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    resource.answer(&services, &headers, || {
        let (precondition, body) = (if_match(&headers)?, read_json(&body)?);
        let written = services.put_instance(&precondition, |held| {
            wire::check_unchanged(&body, &described(&services, &resource, held))?;
            wire::read_policies(&body, &held.1)
        })?;
        Ok(ok(&described(&services, &resource, &written)))
    })
}
