//! Queries (R-G36).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use linarite_core::hub::query::{Collection, Rows};

use super::{Shared, authorized};
use crate::error::ServiceError;
use crate::http::answer::{Answered, Api, Refusal, json};
use crate::http::paging::Wanted;
use crate::limits::QUERY_PAGE_ITEMS;
use crate::policy::Right;
use crate::service::Services;
use crate::service::query::Mark;
use crate::wire::hub::{job, query as wire, twin};

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new().route("/devices/query", post(query))
}

/// Takes the right to read the registry: Microsoft's tutorials and samples say so, though its
/// page on access control counts queries to `ServiceConnect` (assumed).
async fn query(State(services): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    let asked = ask(&services, &headers, &body).await;
    asked.map_err(Refusal::new(Api::Hub, &services))
}

async fn ask(
    services: &Services,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, ServiceError> {
    let hub = authorized(services, headers, Right::RegistryRead)?;
    let body = json(body)?;
    let (text, query) = wire::read(&body)?;
    let list = format!("{} {text}", hub.host);
    let wanted = Wanted::read(services, headers, list)?.or(QUERY_PAGE_ITEMS);
    let mark = wanted.after(|key| Mark::parse(key).ok_or(()))?;
    let mark = mark.unwrap_or_default();
    let item_type = match (query.rows(), query.collection()) {
        (Rows::Documents, Collection::Jobs) => "DeviceJob",
        (Rows::Documents, Collection::Devices | Collection::Modules) => "Twin",
        (Rows::Groups | Rows::Projections, _) => "Raw",
    };
    let page = match query.collection() {
        Collection::Jobs => {
            hub.query_jobs(&query, mark, wanted.count, job::target)
                .await
        }
        Collection::Devices | Collection::Modules => {
            let spell = twin::twin;
            hub.query_twins(&query, mark, wanted.count, spell).await?
        }
    };
    wanted.answer(services, page, item_type)
}
