//! The DPS service API: enrollments, groups and registrations (behaviour F.1).

mod bulk;
mod query;

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use linarite_core::dps::enrollment::{EnrollmentGroup, IndividualEnrollment};
use linarite_core::id::{EnrollmentGroupId, Precondition, RegistrationId};
use serde_json::Value;

use super::answer::{Answered, Api, Refusal, header, host, if_match, json, no_content, ok};
use crate::error::ServiceError;
use crate::policy::Right;
use crate::service::Services;
use crate::wire::version::ApiVersion;
use crate::wire::{dps, enrollment, shape};

pub(super) fn routes(services: &Arc<Services>) -> Router<Arc<Services>> {
    let throttle = from_fn_with_state(Arc::clone(services), throttle);
    operations().route_layer(throttle)
}

/// R-H1: service operations have a limit of their own.
async fn throttle(State(services): Shared, request: Request, next: Next) -> Response {
    match services.count_service_operation() {
        Ok(()) => next.run(request).await,
        Err(error) => Refusal::new(Api::Dps, &services)(error).into_response(),
    }
}

fn operations() -> Router<Arc<Services>> {
    Router::new()
        .route("/enrollments", post(bulk::individuals))
        .route("/enrollments/query", post(query::individuals))
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
        .route("/enrollmentgroups", post(bulk::groups))
        .route("/enrollmentgroups/query", post(query::groups))
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
        .route("/registrations/{id}/query", post(query::registrations))
        // Without an id there is nothing to do here, which is said by the methods allowed: none.
        .route("/registrations", MethodRouter::new())
}

type Shared = State<Arc<Services>>;

/// Judges the token, which must have the right `needed` (R-F9), then does the work; either's
/// error goes out in this API's shape.
fn answer(
    services: &Arc<Services>,
    headers: &HeaderMap,
    needed: Right,
    work: impl FnOnce() -> Result<Response, ServiceError>,
) -> Answered {
    let now = services.env.clock.now();
    services
        .dps_policy
        .authorize(header(headers, &AUTHORIZATION), host(headers), needed, now)
        .and_then(|()| work())
        .map_err(Refusal::new(Api::Dps, services))
}

fn individual(services: &Services, id: &str) -> Result<Arc<IndividualEnrollment>, ServiceError> {
    services
        .book
        .individual(&RegistrationId::parse(id)?)
        .ok_or_else(not_enrolled)
}

fn group(services: &Services, id: &str) -> Result<Arc<EnrollmentGroup>, ServiceError> {
    services
        .book
        .group(EnrollmentGroupId::parse(id)?.key())
        .ok_or_else(no_group)
}

fn write_individual(
    services: &Services,
    id: &str,
    precondition: &Precondition,
    body: &Value,
) -> Result<Arc<IndividualEnrollment>, ServiceError> {
    let wrong = |error| ServiceError::invalid(format!("registrationId: {error}"));
    let id = RegistrationId::parse(id).map_err(wrong)?;
    if services.config.settings.strict_ids {
        id.check_strict().map_err(wrong)?;
    }
    let read = |before: Option<&_>, stamp| enrollment::read_individual(&id, body, before, stamp);
    services.book.put_individual(&id, precondition, read)
}

fn remove_individual(
    services: &Services,
    id: &str,
    precondition: &Precondition,
) -> Result<(), ServiceError> {
    let id = RegistrationId::parse(id)?;
    services.book.delete_individual(&id, precondition)
}

fn write_group(
    services: &Services,
    id: &str,
    precondition: &Precondition,
    body: &Value,
) -> Result<Arc<EnrollmentGroup>, ServiceError> {
    let wrong = |error| ServiceError::invalid(format!("enrollmentGroupId: {error}"));
    let id = EnrollmentGroupId::parse(id).map_err(wrong)?;
    if services.config.settings.strict_ids {
        id.check_strict().map_err(wrong)?;
    }
    let read = |before: Option<&_>, stamp| enrollment::read_group(&id, body, before, stamp);
    services.book.put_group(&id, precondition, read)
}

fn remove_group(
    services: &Services,
    id: &str,
    precondition: &Precondition,
) -> Result<(), ServiceError> {
    let id = EnrollmentGroupId::parse(id)?;
    services.book.delete_group(&id, precondition)
}

/// An individual enrollment with its record, once there is one (R-F4).
fn show_individual(
    services: &Services,
    version: ApiVersion,
    entry: &IndividualEnrollment,
) -> Value {
    let mut body = enrollment::individual(entry);
    if let Some(record) = services.register.record(&entry.registration_id) {
        body["registrationState"] = dps::registration_record(&record);
    }
    shape::entry(version, body)
}

async fn get_individual(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentRead, || {
        let entry = individual(&services, &id)?;
        Ok(ok(&show_individual(&services, version, &entry)))
    })
}

async fn put_individual(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        let entry = write_individual(&services, &id, &if_match(&headers)?, &json(&body)?)?;
        Ok(ok(&show_individual(&services, version, &entry)))
    })
}

async fn delete_individual(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        remove_individual(&services, &id, &if_match(&headers)?)?;
        Ok(no_content())
    })
}

/// Shows keys, so reading alone does not open it (R-F5; assumed: no source names the right).
async fn individual_attestation(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        Ok(ok(&enrollment::attestation::show(
            &individual(&services, &id)?.attestation,
            true,
        )))
    })
}

async fn get_group(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentRead, || {
        let group = enrollment::group(&*group(&services, &id)?);
        Ok(ok(&shape::entry(version, group)))
    })
}

async fn put_group(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        let group = write_group(&services, &id, &if_match(&headers)?, &json(&body)?)?;
        Ok(ok(&shape::entry(version, enrollment::group(&group))))
    })
}

async fn delete_group(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        remove_group(&services, &id, &if_match(&headers)?)?;
        Ok(no_content())
    })
}

/// Shows keys, so reading alone does not open it (R-F5; assumed: no source names the right).
async fn group_attestation(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::EnrollmentWrite, || {
        Ok(ok(&enrollment::attestation::show(
            &group(&services, &id)?.attestation,
            true,
        )))
    })
}

async fn get_registration(
    State(services): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistrationStatusRead, || {
        let record = services
            .register
            .record(&RegistrationId::parse(&id)?)
            .ok_or_else(no_record)?;
        let record = dps::registration_record(&record);
        Ok(ok(&shape::record(version, record)))
    })
}

async fn delete_registration(
    State(services): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, Right::RegistrationStatusWrite, || {
        let precondition = if_match(&headers)?;
        services
            .register
            .delete_record(&RegistrationId::parse(&id)?, |record| {
                precondition
                    .check_delete(Some(&dps::registration_etag_value(record)))
                    .map_err(|failed| ServiceError::dps_precondition(&failed))
            })?;
        Ok(no_content())
    })
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
