//! How an API says yes, and how it says no.

use std::sync::Arc;

use axum::Json;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, IF_MATCH, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use linarite_core::id::Precondition;
use linarite_core::sas::SharedAccessSignature;
use serde_json::Value;

use crate::error::ServiceError;
use crate::service::Services;
use crate::service::register::Shown;
use crate::tls::peer::PeerIdentity;
use crate::wire::management::CodeAs;
use crate::wire::{dps, hub, management};

/// Which API answers; each has its own error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Dps,
    Hub,
    Management(CodeAs),
}

/// An error on its way out.
pub(super) struct Refusal {
    pub(super) api: Api,
    pub(super) error: ServiceError,
    pub(super) services: Arc<Services>,
}

impl Refusal {
    pub(super) fn new(api: Api, services: &Arc<Services>) -> impl Fn(ServiceError) -> Self {
        let services = Arc::clone(services);
        move |error| Self {
            api,
            error,
            services: Arc::clone(&services),
        }
    }
}

/// What a handler gives.
pub(super) type Answered = Result<Response, Refusal>;

const DPS_ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
pub(super) const HUB_ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self {
            api,
            error,
            services,
        } = self;
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let tracking_id = services.names.tracking_id();
        let now = services.env.clock.now_ms();
        let (header, code, body) = match api {
            Api::Dps => {
                let answer = dps::error(&error, &tracking_id, now);
                (DPS_ERROR_CODE, error.code.to_string(), answer.body)
            }
            Api::Hub => {
                let body = hub::error(&error, &tracking_id, now);
                (
                    HUB_ERROR_CODE,
                    error.name.to_owned(),
                    Bytes::from(body.to_string()),
                )
            }
            Api::Management(code) => {
                let body = management::error(&error, code);
                (
                    DPS_ERROR_CODE,
                    error.code.to_string(),
                    Bytes::from(body.to_string()),
                )
            }
        };
        let headers = [
            (CONTENT_TYPE, "application/json; charset=utf-8".to_owned()),
            (header, code),
            (REQUEST_ID, tracking_id),
        ];
        let mut response = (status, headers, body).into_response();
        if let Some(seconds) = error.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// 200 with a JSON body.
pub(super) fn ok(body: &Value) -> Response {
    Json(body).into_response()
}

/// 204.
pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The header of that name as text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The host the client dialled; empty if it did not say.
pub(super) fn host(headers: &HeaderMap) -> &str {
    header(headers, &HOST).unwrap_or_default()
}

/// What a device shows: a token in the header is judged before a certificate in TLS.
pub(super) fn credential(headers: &HeaderMap, peer: PeerIdentity) -> Result<Shown, ServiceError> {
    let token = header(headers, &AUTHORIZATION).filter(|text| !text.is_empty());
    match (token, peer) {
        (Some(text), _) => SharedAccessSignature::parse(text)
            .map(Shown::Token)
            .map_err(|error| ServiceError::unauthorized(format!("Authorization: {error}"))),
        (None, PeerIdentity::Certificate(chain)) => Ok(Shown::Certificate(chain)),
        (None, PeerIdentity::NoCertificate) => Ok(Shown::Nothing),
    }
}

/// What `If-Match` asks for. Python's hub client sends it empty for "nothing" (ENDPOINTS 1).
pub(super) fn if_match(headers: &HeaderMap) -> Result<Precondition, ServiceError> {
    let text = header(headers, &IF_MATCH).filter(|text| !text.trim_matches('"').is_empty());
    Precondition::parse(text).map_err(|error| ServiceError::invalid(format!("If-Match: {error}")))
}

/// A JSON body.
pub(super) fn json(body: &Bytes) -> Result<Value, ServiceError> {
    hub::json(body)
}
