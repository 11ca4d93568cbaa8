//! Jobs (R-G32 to R-G35).
//!
//! Which rights they take is assumed: Microsoft's tutorials name those to read and to write the
//! registry. The older jobs at `/jobs`, which move whole registries through storage accounts, are
//! not emulated.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use bytes::Bytes;
use linarite_core::id::JobId;

use super::{Shared, answer, authorized};
use crate::http::answer::{Answered, Api, Refusal, json, ok};
use crate::http::paging::Wanted;
use crate::limits::QUERY_PAGE_ITEMS;
use crate::policy::Right;
use crate::service::Services;
use crate::wire::hub::{job as wire, twin};

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/jobs/v2/query", get(list))
        .route("/jobs/v2/{id}", get(read).put(create))
        .route("/jobs/v2/{id}/cancel", post(cancel))
}

async fn create(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let create = || {
        let hub = authorized(&services, &headers, Right::RegistryWrite)?;
        let now = services.env.clock.now_ms();
        let request = wire::read(&JobId::parse(&id)?, &json(&body)?, now)?;
        let job = services.create_job(&hub, request, twin::twin)?;
        Ok(ok(&job.read(wire::job)))
    };
    create().map_err(Refusal::new(Api::Hub, &services))
}

/// Azure does not miss a job that it does not know: it is of type and status `unknown`.
async fn read(State(services): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        let id = JobId::parse(&id)?;
        let job = hub.job(&id);
        Ok(ok(&job.map_or_else(
            || wire::unknown(&id),
            |job| job.read(wire::job),
        )))
    })
}

async fn cancel(State(services): Shared, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::RegistryWrite, |hub| {
        let job = hub.cancel_job(&JobId::parse(&id)?)?;
        Ok(ok(&job.read(wire::job)))
    })
}

async fn list(
    State(services): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistryRead, |hub| {
        let text = |name: &str| query.get(name).map(String::as_str);
        let wish = wire::wish(text("jobType"), text("jobStatus"))?;
        let list = format!("{} jobs {wish:?}", hub.host);
        let wanted = Wanted::read(&services, &headers, list)?.or(QUERY_PAGE_ITEMS);
        let after = wanted.after(JobId::parse)?;
        let page = match wish {
            Some(wish) => hub.jobs_after(after.as_ref(), wanted.count, wish, wire::job),
            None => crate::store::page::Page {
                items: Vec::new(),
                last: None,
            },
        };
        wanted.answer(&services, page, "JobResponse")
    })
}
