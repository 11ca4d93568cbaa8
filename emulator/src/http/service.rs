//! The DPS service API: enrollments, groups and registrations (behaviour F.1).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use linarite_core::id::{EnrollmentGroupId, RegistrationId};
use serde_json::Value;

use super::answer::{Answered, Api, Refusal, header, host, if_match, json, no_content, ok};
use crate::error::ServiceError;
use crate::limits::PAGE_ITEMS_MAX;
use crate::service::Services;
use crate::wire::{dps, enrollment};

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/enrollments/query", post(query_individuals))
        .route(
            "/enrollments/{id}",
            get(get_individual)
                .put(put_individual)
                .delete(delete_individual),
        )
        .route(
            "/enrollments/{id}/attestationmechanism",
            post(individual_attestation),
        )
        .route("/enrollmentgroups/query", post(query_groups))
        .route(
            "/enrollmentgroups/{id}",
            get(get_group).put(put_group).delete(delete_group),
        )
        .route(
            "/enrollmentgroups/{id}/attestationmechanism",
            post(group_attestation),
        )
        .route(
            "/registrations/{id}",
            get(get_registration).delete(delete_registration),
        )
        .route("/registrations/{id}/query", post(query_registrations))
}

type Shared = State<Arc<Services>>;

fn authorize(services: &Services, headers: &HeaderMap) -> Result<(), ServiceError> {
    let now = services.env.clock.now();
    services
        .dps_policy
        .authorize(header(headers, &AUTHORIZATION), host(headers), now)
}

async fn get_individual(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let entry = authorize(&services, &headers)
        .and_then(|()| Ok(RegistrationId::parse(&id)?))
        .and_then(|id| services.book.individual(&id).ok_or_else(not_enrolled))
        .map_err(&refuse)?;
    Ok(ok(&enrollment::individual(&entry)))
}

async fn put_individual(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let put = || {
        authorize(&services, &headers)?;
        let id = RegistrationId::parse(&id)?;
        let (precondition, body) = (if_match(&headers)?, json(&body)?);
        services
            .book
            .put_individual(&id, &precondition, |before, stamp| {
                enrollment::read_individual(&id, &body, before, stamp)
            })
    };
    Ok(ok(&enrollment::individual(&*put().map_err(&refuse)?)))
}

async fn delete_individual(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let delete = || {
        authorize(&services, &headers)?;
        services
            .book
            .delete_individual(&RegistrationId::parse(&id)?, &if_match(&headers)?)
    };
    delete().map_err(&refuse)?;
    Ok(no_content())
}

async fn individual_attestation(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let entry = authorize(&services, &headers)
        .and_then(|()| Ok(RegistrationId::parse(&id)?))
        .and_then(|id| services.book.individual(&id).ok_or_else(not_enrolled))
        .map_err(&refuse)?;
    Ok(ok(&enrollment::attestation(&entry.attestation, true)))
}

async fn query_individuals(State(services): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let query = || {
        authorize(&services, &headers)?;
        check_query(&body, "enrollments")?;
        let entries = services.book.individuals();
        let items = entries.iter().map(|entry| enrollment::individual(entry));
        page(items, &headers, "enrollments")
    };
    query().map_err(&refuse)
}

async fn get_group(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let group = authorize(&services, &headers)
        .and_then(|()| Ok(EnrollmentGroupId::parse(&id)?))
        .and_then(|id| services.book.group(id.key()).ok_or_else(no_group))
        .map_err(&refuse)?;
    Ok(ok(&enrollment::group(&group)))
}

async fn put_group(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let put = || {
        authorize(&services, &headers)?;
        let id = EnrollmentGroupId::parse(&id)?;
        let (precondition, body) = (if_match(&headers)?, json(&body)?);
        services
            .book
            .put_group(&id, &precondition, |before, stamp| {
                enrollment::read_group(&id, &body, before, stamp)
            })
    };
    Ok(ok(&enrollment::group(&*put().map_err(&refuse)?)))
}

async fn delete_group(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let delete = || {
        authorize(&services, &headers)?;
        services
            .book
            .delete_group(&EnrollmentGroupId::parse(&id)?, &if_match(&headers)?)
    };
    delete().map_err(&refuse)?;
    Ok(no_content())
}

async fn group_attestation(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let group = authorize(&services, &headers)
        .and_then(|()| Ok(EnrollmentGroupId::parse(&id)?))
        .and_then(|id| services.book.group(id.key()).ok_or_else(no_group))
        .map_err(&refuse)?;
    Ok(ok(&enrollment::attestation(&group.attestation, true)))
}

async fn query_groups(State(services): Shared, headers: HeaderMap, body: Bytes) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let query = || {
        authorize(&services, &headers)?;
        check_query(&body, "enrollmentGroups")?;
        let groups = services.book.groups();
        page(
            groups.iter().map(|group| enrollment::group(group)),
            &headers,
            "enrollmentGroups",
        )
    };
    query().map_err(&refuse)
}

async fn get_registration(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let record = authorize(&services, &headers)
        .and_then(|()| Ok(RegistrationId::parse(&id)?))
        .and_then(|id| services.register.record(&id).ok_or_else(no_record))
        .map_err(&refuse)?;
    Ok(ok(&dps::registration_record(&record)))
}

async fn delete_registration(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let delete = || {
        authorize(&services, &headers)?;
        let precondition = if_match(&headers)?;
        services
            .register
            .delete_record(&RegistrationId::parse(&id)?, |record| {
                precondition
                    .check_delete(Some(&dps::registration_etag_value(record)))
                    .map_err(|failed| ServiceError::dps_precondition(&failed))
            })
    };
    delete().map_err(&refuse)?;
    Ok(no_content())
}

async fn query_registrations(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let query = || {
        authorize(&services, &headers)?;
        let records = services
            .register
            .records_of(&EnrollmentGroupId::parse(&id)?);
        page(
            records.iter().map(dps::registration_record),
            &headers,
            "registrations",
        )
    };
    query().map_err(&refuse)
}

fn not_enrolled() -> ServiceError {
    ServiceError::dps_not_found(404_201, "Enrollment")
}

fn no_group() -> ServiceError {
    ServiceError::dps_not_found(404_202, "Enrollment group")
}

fn no_record() -> ServiceError {
    ServiceError::dps_not_found(404_202, "Registration")
}

/// The service knows one query for each kind: all of them.
fn check_query(body: &Bytes, table: &str) -> Result<(), ServiceError> {
    let body = json(body)?;
    let query = body
        .get("query")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let words: Vec<String> = query
        .split_whitespace()
        .map(|word| word.to_ascii_lowercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let table = table.to_ascii_lowercase();
    if words == ["select", "*", "from", &table] || words == ["*"] {
        Ok(())
    } else {
        Err(ServiceError::invalid(format!(
            "query: expected SELECT * FROM {table}"
        )))
    }
}

/// One page of items; the continuation is the number of items given so far (R-F7).
fn page(
    items: impl ExactSizeIterator<Item = Value>,
    headers: &HeaderMap,
    item_type: &'static str,
) -> Result<Response, ServiceError> {
    let number = |name: &HeaderName| match header(headers, name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_| {
            ServiceError::invalid(format!("{name}: expected a whole number this service gave"))
        }),
    };
    let asked = number(&ITEM_COUNT)?;
    if asked == Some(0) {
        return Err(ServiceError::invalid(
            "x-ms-max-item-count: expected a number from 1",
        ));
    }
    let size = asked.unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX);
    let start = number(&CONTINUATION)?.unwrap_or(0);
    let total = items.len();
    let taken: Vec<Value> = items.skip(start).take(size).collect();
    let next = start.saturating_add(taken.len());
    let mut response = axum::Json(taken).into_response();
    let headers = response.headers_mut();
    headers.insert(ITEM_TYPE, HeaderValue::from_static(item_type));
    if let Some(asked) = asked {
        headers.insert(ITEM_COUNT, asked.into());
    }
    if next < total {
        headers.insert(CONTINUATION, next.into());
    }
    Ok(response)
}
