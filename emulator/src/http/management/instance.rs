//! The DPS instance as a resource: read, list and write (ENDPOINTS 5).

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
use crate::service::Services;
use crate::service::instance::Changeable;
use crate::wire::management::instance as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    let services = "/providers/microsoft.devices/provisioningservices";
    let in_subscription = format!("/subscriptions/{{subscription}}{services}");
    let in_group = format!("/subscriptions/{{subscription}}/resourcegroups/{{group}}{services}");
    Router::new()
        .route(&in_subscription, get(list))
        .route(&in_group, get(list))
        .route(
            &format!("{in_group}/{{service}}"),
            get(read).put(write).patch(patch),
        )
}

/// The instance as the API shows it, without keys.
fn described(services: &Services, resource: &Resource, etag: &ETag, state: &Changeable) -> Value {
    let path = resource.path_of(&services.config.dps.name);
    wire::instance(&services.config, &path, etag, state)
}

/// The same, as it is now.
fn current(services: &Services, resource: &Resource) -> Value {
    let (etag, state) = services.instance();
    described(services, resource, &etag, &state)
}

async fn list(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        Ok(ok(&json!({ "value": [current(&services, &resource)] })))
    })
}

async fn read(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
) -> Answered {
    resource.answer(&services, &headers, || {
        Ok(ok(&current(&services, &resource)))
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
        let (etag, state) = services.put_instance(&precondition, |etag, held| {
            let shown = described(&services, &resource, etag, held);
            wire::read(&body, &shown, held, &services.hubs)
        })?;
        Ok(ok(&described(&services, &resource, &etag, &state)))
    })
}

async fn patch(
    State(services): Shared,
    Path(resource): Path<Resource>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    resource.answer(&services, &headers, || {
        let (precondition, body) = (if_match(&headers)?, read_json(&body)?);
        let read = |_: &ETag, held: &Changeable| wire::read_patch(&body, held);
        let (etag, state) = services.put_instance(&precondition, read)?;
        Ok(ok(&described(&services, &resource, &etag, &state)))
    })
}
