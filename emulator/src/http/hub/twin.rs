//! Twins, as the back end reads and writes them (behaviour G.4).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use linarite_core::id::ETag;

use super::{Named, Shared, answer, with_etag};
use crate::http::answer::{Answered, if_match, json, ok};
use crate::policy::Right;
use crate::service::Services;
use crate::service::twin::TwinView;
use crate::wire::hub::twin as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    let one = || get(read).patch(merge).put(replace);
    Router::new()
        .route("/twins/{id}", one())
        .route("/twins/{id}/modules/{module}", one())
}

async fn read(State(services): Shared, Path(named): Path<Named>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        Ok(twin(&hub.twin(&named.id()?)?))
    })
}

/// R-G21.
async fn merge(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    write(&services, &named, &headers, &body, true)
}

/// R-G21.
async fn replace(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    write(&services, &named, &headers, &body, false)
}

fn write(
    services: &Arc<Services>,
    named: &Named,
    headers: &HeaderMap,
    body: &Bytes,
    merge: bool,
) -> Answered {
    answer(services, headers, Right::ServiceConnect, |hub| {
        let (draft, precondition) = (wire::read(&json(body)?)?, if_match(headers)?);
        let allow = |current: Option<&ETag>| precondition.check_delete(current);
        let view = hub.write_twin(&named.id()?, allow, &draft, merge)?;
        Ok(twin(&view))
    })
}

fn twin(view: &TwinView) -> Response {
    with_etag(ok(&wire::twin(view)), &view.etag)
}
