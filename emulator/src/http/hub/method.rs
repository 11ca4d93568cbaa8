//! Direct methods, as the back end calls them (R-G24, R-G25).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;

use super::{Named, Shared, authorized};
use crate::http::answer::{Answered, Api, Refusal, json, ok};
use crate::policy::Right;
use crate::service::Services;
use crate::wire::hub::method as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/twins/{id}/methods", post(call))
        .route("/twins/{id}/modules/{module}/methods", post(call))
}

async fn call(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Hub, &services);
    let hub = authorized(&services, &headers, Right::ServiceConnect).map_err(&refuse)?;
    let id = named.id().map_err(&refuse)?;
    let (request, payload) = json(&body)
        .and_then(|body| wire::read(&body))
        .map_err(&refuse)?;
    let answer = hub
        .call_method(&id, &request, payload)
        .await
        .map_err(&refuse)?;
    Ok(ok(&wire::answer(&answer)))
}
