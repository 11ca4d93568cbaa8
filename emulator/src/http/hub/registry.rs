//! The identity registry: devices and their modules, singly and in bulk, and how many there are
//! (R-G1, behaviour F.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use linarite_core::id::ETag;
use serde_json::Value;

use super::{Named, Shared, answer, with_etag};
use crate::error::ServiceError;
use crate::http::answer::{Answered, HUB_ERROR_CODE, if_match, json, no_content, ok};
use crate::limits::PAGE_ITEMS_MAX;
use crate::policy::Right;
use crate::service::Services;
use crate::service::registry::IdentityView;
use crate::wire::hub::{bulk, identity as wire};

pub(super) fn routes() -> Router<Arc<Services>> {
    let one = || get(read).put(write).delete(delete);
    Router::new()
        .route("/devices", get(list_devices).post(bulk))
        .route("/statistics/devices", get(device_statistics))
        .route("/statistics/service", get(service_statistics))
        .route("/devices/{id}", one())
        .route("/devices/{id}/modules", get(list_modules))
        .route("/devices/{id}/modules/{module}", one())
}

async fn list_devices(
    State(services): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        let top = match query.get("top") {
            None => PAGE_ITEMS_MAX,
            Some(text) => text
                .parse::<usize>()
                .ok()
                .filter(|top| (1..=PAGE_ITEMS_MAX).contains(top))
                .ok_or_else(|| ServiceError::invalid("top: expected 1 to 1000"))?,
        };
        Ok(listed(&hub.first_devices(top)))
    })
}

async fn list_modules(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        Ok(listed(&hub.modules(&named.device()?)?))
    })
}

async fn read(State(services): Shared, Path(named): Path<Named>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        Ok(identity(&hub.identity(&named.id()?)?))
    })
}

async fn write(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        let id = named.id()?;
        let (draft, precondition) = (wire::read(&id, &json(&body)?)?, if_match(&headers)?);
        let allow = |current: Option<&ETag>| precondition.check(current).map(drop);
        Ok(identity(&hub.put_identity(&id, allow, draft, None)?))
    })
}

async fn delete(State(services): Shared, Path(named): Path<Named>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        let precondition = if_match(&headers)?;
        hub.delete_identity(&named.id()?, |current| precondition.check_delete(current))?;
        Ok(no_content())
    })
}

/// Answers with 400 and the same body if an item failed; clients know it by the error's name.
async fn bulk(State(services): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        let failures = hub.bulk(bulk::read(&json(&body)?)?);
        let mut response = ok(&bulk::result(&failures));
        if !failures.is_empty() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            let name = HeaderValue::from_static("BulkRegistryOperationFailure");
            response.headers_mut().insert(HUB_ERROR_CODE, name);
        }
        Ok(response)
    })
}

async fn device_statistics(State(services): Shared, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        Ok(ok(&wire::device_statistics(&hub.statistics())))
    })
}

async fn service_statistics(State(services): Shared, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        Ok(ok(&wire::service_statistics(&hub.statistics())))
    })
}

fn identity(view: &IdentityView) -> Response {
    with_etag(ok(&wire::identity(view)), &view.identity.etag)
}

fn listed(views: &[IdentityView]) -> Response {
    ok(&Value::from_iter(views.iter().map(wire::identity)))
}
