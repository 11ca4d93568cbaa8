//! The DPS device API over HTTPS (behaviour B.1).

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use bytes::Bytes;
use linarite_core::dps::reprovision::DeviceApi;
use linarite_core::sas::SharedAccessSignature;

use super::answer::{Answered, Api, Refusal, header, host, ok};
use crate::error::ServiceError;
use crate::limits::DPS_MESSAGE_BYTES_MAX;
use crate::service::Services;
use crate::service::register::{Asked, Shown};
use crate::tls::peer::PeerIdentity;
use crate::wire::dps::{self, Answer};
use crate::wire::version::ApiVersion;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/{id_scope}/registrations", MethodRouter::new())
        .route("/{id_scope}/registrations/{id}", post(lookup))
        .route("/{id_scope}/registrations/{id}/register", put(register))
        .route(
            "/{id_scope}/registrations/{id}/operations/{operation_id}",
            get(operation),
        )
}

async fn register(
    State(services): State<Arc<Services>>,
    Extension(peer): Extension<PeerIdentity>,
    Path((id_scope, id)): Path<(String, String)>,
    Extension(version): Extension<ApiVersion>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let shown = shown(&services, &id_scope, &headers, peer).map_err(&refuse)?;
    check_body(&body, &id).map_err(&refuse)?;
    let asked = Asked {
        shown,
        api: DeviceApi::of_version(Some(&version.to_string())),
    };
    let begun = services.register.begin(&id, asked).map_err(&refuse)?;
    let location = format!(
        "https://{}/{id_scope}/registrations/{id}/operations/{}",
        host(&headers),
        begun.operation_id
    );
    let mut response = respond(dps::assigning(&begun));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn operation(
    State(services): State<Arc<Services>>,
    Extension(peer): Extension<PeerIdentity>,
    Path((id_scope, id, operation_id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let shown = shown(&services, &id_scope, &headers, peer).map_err(&refuse)?;
    if matches!(shown, Shown::Nothing) {
        // Whether there is such an operation is nobody's business.
        return Err(refuse(ServiceError::new(
            401_000,
            "Unauthorized",
            "R-A30",
            "Unauthorized",
        )));
    }
    let state = services
        .register
        .operation(&id, &operation_id, &shown)
        .map_err(&refuse)?;
    Ok(respond(dps::operation(&state)))
}

async fn lookup(
    State(services): State<Arc<Services>>,
    Extension(peer): Extension<PeerIdentity>,
    Path((id_scope, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let shown = shown(&services, &id_scope, &headers, peer).map_err(&refuse)?;
    check_body(&body, &id).map_err(&refuse)?;
    let record = services.register.lookup(&id, &shown).map_err(&refuse)?;
    Ok(ok(&dps::registration_state(&record)))
}

fn check_body(body: &Bytes, id: &str) -> Result<(), ServiceError> {
    if body.len() > DPS_MESSAGE_BYTES_MAX {
        let text = format!("The body is longer than {DPS_MESSAGE_BYTES_MAX} bytes.");
        return Err(ServiceError::new(
            413_000,
            "RequestEntityTooLarge",
            "R-F8",
            text,
        ));
    }
    dps::check_register_body(body, id)
}

/// A token in the header is judged before a certificate in TLS.
fn shown(
    services: &Services,
    id_scope: &str,
    headers: &HeaderMap,
    peer: PeerIdentity,
) -> Result<Shown, ServiceError> {
    if id_scope != services.config.dps.id_scope.as_str() {
        return Err(ServiceError::new(
            401_000,
            "Unauthorized",
            "R-A30",
            "Unauthorized",
        ));
    }
    match (
        header(headers, &AUTHORIZATION).filter(|text| !text.is_empty()),
        peer,
    ) {
        (Some(text), _) => SharedAccessSignature::parse(text)
            .map(Shown::Token)
            .map_err(|error| ServiceError::unauthorized(format!("Authorization: {error}"))),
        (None, PeerIdentity::Certificate(chain)) => Ok(Shown::Certificate(chain)),
        (None, PeerIdentity::NoCertificate) => Ok(Shown::Nothing),
    }
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    let mut response = (status, headers, answer.body).into_response();
    if let Some(seconds) = answer.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
