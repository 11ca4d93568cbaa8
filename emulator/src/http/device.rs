//! The DPS device API over HTTPS (behaviour B.1).

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use bytes::Bytes;
use linarite_core::dps::registration::Transport;
use linarite_core::dps::reprovision::DeviceApi;

use super::answer::{Answered, Api, Refusal, credential, host, ok};
use crate::error::ServiceError;
use crate::limits::DPS_MESSAGE_BYTES_MAX;
use crate::service::Services;
use crate::service::register::{Asked, Beginning, Shown};
use crate::tls::peer::PeerIdentity;
use crate::wire::dps::{self, Answer, RegisterBody};
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
    let body = read_body(&body, &id).map_err(&refuse)?;
    let api = DeviceApi::of_version(Some(&version.to_string()));
    let asked = asked(shown, body, api);
    let beginning = services.register.begin(&id, asked).map_err(&refuse)?;
    let (tracking_id, now) = (services.names.tracking_id(), services.env.clock.now_ms());
    let mut response = respond(dps::beginning(&beginning, &tracking_id, now));
    if let Beginning::Assigning(begun) = beginning {
        let location = format!(
            "https://{}/{id_scope}/registrations/{id}/operations/{}?api-version={version}",
            host(&headers),
            begun.operation_id
        );
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(LOCATION, location);
        }
    }
    Ok(response)
}

async fn operation(
    State(services): State<Arc<Services>>,
    Extension(peer): Extension<PeerIdentity>,
    Extension(version): Extension<ApiVersion>,
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
        .operation(
            &id,
            &operation_id,
            &asked(shown, RegisterBody::default(), DeviceApi::default()),
        )
        .map_err(&refuse)?;
    Ok(respond(dps::operation(&state, version)))
}

async fn lookup(
    State(services): State<Arc<Services>>,
    Extension(peer): Extension<PeerIdentity>,
    Extension(version): Extension<ApiVersion>,
    Path((id_scope, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let refuse = Refusal::new(Api::Dps, &services);
    let shown = shown(&services, &id_scope, &headers, peer).map_err(&refuse)?;
    let body = read_body(&body, &id).map_err(&refuse)?;
    let asked = asked(shown, body, DeviceApi::default());
    let record = services.register.lookup(&id, &asked).map_err(&refuse)?;
    Ok(ok(&dps::registration_state(&record, version)))
}

fn asked(shown: Shown, body: RegisterBody, api: DeviceApi) -> Asked {
    Asked {
        shown,
        tpm: body.tpm,
        payload: body.payload,
        transport: Transport::Https,
        api,
    }
}

fn read_body(body: &Bytes, id: &str) -> Result<RegisterBody, ServiceError> {
    if body.len() > DPS_MESSAGE_BYTES_MAX {
        let text = format!("The body is longer than {DPS_MESSAGE_BYTES_MAX} bytes.");
        return Err(ServiceError::new(
            413_000,
            "RequestEntityTooLarge",
            "R-F8",
            text,
        ));
    }
    dps::read_register_body(body, id)
}

/// What a device of this instance shows.
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
    credential(headers, peer)
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
