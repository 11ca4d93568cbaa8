//! The DPS instance as a resource: read, list and write (ENDPOINTS 5).

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use linarite_core::id::ETag;
use serde_json::{Value, json};

use super::{Caller, Resource, ok, read_json};
use crate::error::ServiceError;
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

async fn list(caller: Caller, Path(resource): Path<Resource>) -> Answered {
    resource.answer(&caller, |services| {
        Ok(ok(&json!({ "value": [current(services, &resource)] })))
    })
}

async fn read(caller: Caller, Path(resource): Path<Resource>) -> Answered {
    resource.answer(&caller, |services| Ok(ok(&current(services, &resource))))
}

async fn write(caller: Caller, Path(resource): Path<Resource>, body: Bytes) -> Answered {
    caller.answer(|services| {
        if resource.check_named(services).is_err() {
            let what = "creating another provisioning service";
            return Err(ServiceError::not_emulated(what));
        }
        let (precondition, body) = (caller.if_match()?, read_json(&body)?);
        let (etag, state) = services.put_instance(&precondition, |etag, held| {
            let shown = described(services, &resource, etag, held);
            wire::read(&body, &shown, held, &services.hubs)
        })?;
        Ok(ok(&described(services, &resource, &etag, &state)))
    })
}

async fn patch(caller: Caller, Path(resource): Path<Resource>, body: Bytes) -> Answered {
    resource.answer(&caller, |services| {
        let (precondition, body) = (caller.if_match()?, read_json(&body)?);
        let read = |_: &ETag, held: &Changeable| wire::read_patch(&body, held);
        let (etag, state) = services.put_instance(&precondition, read)?;
        Ok(ok(&described(services, &resource, &etag, &state)))
    })
}
