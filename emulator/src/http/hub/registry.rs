//! The identity registry: devices and their modules (R-G1, behaviour F.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use serde_json::Value;

use super::{Named, Shared, answer, with_etag};
use crate::error::ServiceError;
use crate::http::answer::{Answered, if_match, json, no_content, ok};
use crate::limits::PAGE_ITEMS_MAX;
use crate::policy::Right;
use crate::service::Services;
use crate::service::registry::IdentityView;
use crate::wire::hub::identity as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    let one = || get(read).put(write).delete(delete);
    Router::new()
        .route("/devices", get(list_devices))
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
        let draft = wire::read(&id, &json(&body)?)?;
        Ok(identity(&hub.put_identity(
            &id,
            &if_match(&headers)?,
            draft,
        )?))
    })
}

async fn delete(State(services): Shared, Path(named): Path<Named>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        hub.delete_identity(&named.id()?, &if_match(&headers)?)?;
        Ok(no_content())
    })
}

fn identity(view: &IdentityView) -> Response {
    with_etag(ok(&wire::identity(view)), &view.identity.etag)
}

fn listed(views: &[IdentityView]) -> Response {
    ok(&Value::from_iter(views.iter().map(wire::identity)))
}
