//! The hub's service API: identities, twins, direct methods (behaviour F.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ETAG, HeaderValue};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use linarite_core::id::DeviceId;
use serde_json::Value;

use super::answer::{Answered, Api, Refusal, header, host, if_match, json, no_content, ok};
use crate::error::ServiceError;
use crate::limits::PAGE_ITEMS_MAX;
use crate::policy::Right;
use crate::service::Services;
use crate::service::hub::Hub;
use crate::service::registry::DeviceView;
use crate::service::twin::TwinView;
use crate::wire::hub as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/devices", get(list_devices))
        .route(
            "/devices/{id}",
            get(get_device).put(put_device).delete(delete_device),
        )
        .route("/twins/{id}", get(get_twin).patch(patch_twin).put(put_twin))
        .route("/twins/{id}/methods", post(call_method))
}

type Shared = State<Arc<Services>>;

/// The hub the request is for, if its token opens it for what takes the right `needed` (R-F9).
fn authorized(
    services: &Services,
    headers: &HeaderMap,
    needed: Right,
) -> Result<Arc<Hub>, ServiceError> {
    let host = host(headers);
    let hub = services.hub(host).ok_or_else(|| {
        let text = format!("No hub is named {host}.");
        ServiceError::new(404_000, "IotHubNotFound", "R-F10", text)
    })?;
    let now = services.env.clock.now();
    hub.policy
        .authorize(header(headers, &AUTHORIZATION), host, needed, now)?;
    Ok(hub)
}

/// Finds and opens the hub, then does the work; either's error goes out in this API's shape.
fn answer(
    services: &Arc<Services>,
    headers: &HeaderMap,
    needed: Right,
    work: impl FnOnce(&Hub) -> Result<Response, ServiceError>,
) -> Answered {
    authorized(services, headers, needed)
        .and_then(|hub| work(&hub))
        .map_err(Refusal::new(Api::Hub, services))
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
        Ok(ok(&Value::from_iter(
            hub.first_devices(top).iter().map(wire::device),
        )))
    })
}

async fn get_device(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        let view = hub.device(&DeviceId::parse(&id)?);
        Ok(device(
            &view.ok_or_else(|| ServiceError::device_not_found(&id))?,
        ))
    })
}

async fn put_device(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        let draft = wire::read_device(&id, &json(&body)?)?;
        Ok(device(&hub.put_device(
            &DeviceId::parse(&id)?,
            &if_match(&headers)?,
            draft,
        )?))
    })
}

async fn delete_device(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        hub.delete_device(&DeviceId::parse(&id)?, &if_match(&headers)?)?;
        Ok(no_content())
    })
}

async fn get_twin(State(services): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        Ok(twin(&hub.twin(&DeviceId::parse(&id)?)?))
    })
}

/// Merges (R-G21).
async fn patch_twin(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        write_twin(hub, &id, &headers, &body, true)
    })
}

/// Replaces (R-G21).
async fn put_twin(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        write_twin(hub, &id, &headers, &body, false)
    })
}

fn write_twin(
    hub: &Hub,
    id: &str,
    headers: &HeaderMap,
    body: &Bytes,
    merge: bool,
) -> Result<Response, ServiceError> {
    let draft = wire::read_twin(&json(body)?)?;
    Ok(twin(&hub.write_twin(
        &DeviceId::parse(id)?,
        &if_match(headers)?,
        &draft,
        merge,
    )?))
}

fn device(view: &DeviceView) -> Response {
    with_etag(ok(&wire::device(view)), view.identity.etag.quoted())
}

fn twin(view: &TwinView) -> Response {
    with_etag(ok(&wire::twin(view)), view.device.identity.etag.quoted())
}

async fn call_method(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Hub, &services);
    let hub = authorized(&services, &headers, Right::ServiceConnect).map_err(&refuse)?;
    let (request, payload) = json(&body)
        .and_then(|body| wire::read_method(&body))
        .map_err(&refuse)?;
    let answer = hub
        .call_method(&id, &request, payload)
        .await
        .map_err(&refuse)?;
    Ok(ok(&wire::method_answer(&answer)))
}

fn with_etag(mut response: Response, etag: String) -> Response {
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}
