//! What a request must bring before anything looks at what it asks for (R-F8).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Request};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use percent_encoding::percent_decode_str;

use super::answer::{Api, Refusal, header};
use super::path;
use crate::error::ServiceError;
use crate::limits::DPS_MESSAGE_BYTES_MAX;
use crate::service::Services;
use crate::wire::version::ApiVersion;

/// The routes of an API of DPS, behind its manners.
pub(super) fn of_dps(
    routes: Router<Arc<Services>>,
    services: &Arc<Services>,
) -> Router<Arc<Services>> {
    let manners = from_fn_with_state(Arc::clone(services), check);
    routes
        .method_not_allowed_fallback(not_allowed)
        .route_layer(manners)
}

/// The routes of the management API, behind its manners.
pub(super) fn of_management(
    routes: Router<Arc<Services>>,
    services: &Arc<Services>,
) -> Router<Arc<Services>> {
    routes.route_layer(from_fn_with_state(Arc::clone(services), check_management))
}

/// Lets a request to the management API pass that names a version and sends JSON, if anything.
async fn check_management(
    State(services): State<Arc<Services>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    match judge_common(&request) {
        Ok(_) => next.run(request).await,
        Err(error) => {
            let api = path::api(request.uri());
            Refusal::new(api, &services)(error).into_response()
        }
    }
}

/// Lets a well-mannered request to DPS pass; its version is an extension from here on.
async fn check(
    State(services): State<Arc<Services>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    match judge(&request) {
        Ok(version) => {
            request.extensions_mut().insert(version);
            next.run(request).await
        }
        Err(error) => Refusal::new(Api::Dps, &services)(error).into_response(),
    }
}

fn judge(request: &Request<Body>) -> Result<ApiVersion, ServiceError> {
    if request.uri().path().contains("//") {
        return Err(without_id(request));
    }
    // The whole body has been taken in, so its length is known.
    if request.body().size_hint().lower() > DPS_MESSAGE_BYTES_MAX as u64 {
        let text = format!("The body is longer than {DPS_MESSAGE_BYTES_MAX} bytes.");
        let name = "RequestEntityTooLarge";
        return Err(ServiceError::new(413_000, name, "R-F8", text));
    }
    judge_common(request)
}

/// The manners that all APIs share but for their bounds; gives the version that is asked for.
fn judge_common(request: &Request<Body>) -> Result<ApiVersion, ServiceError> {
    let uri = request.uri();
    if percent_decode_str(uri.path()).decode_utf8().is_err() {
        let text = "The path is not UTF-8 once it is unescaped.";
        return Err(ServiceError::invalid(text));
    }
    let version = ApiVersion::of_query(uri.query())?;
    let reads_body = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    let length = request.body().size_hint().lower();
    if reads_body && length > 0 && !is_json(request.headers()) {
        let text = "Content-Type: expected application/json";
        let name = "UnsupportedMediaType";
        return Err(ServiceError::new(415_000, name, "R-F8", text));
    }
    Ok(version)
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = header(headers, &CONTENT_TYPE).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// A known path and another method; who calls without an id ends here too. The methods that are
/// allowed stand in the header.
async fn not_allowed(State(services): State<Arc<Services>>, request: Request<Body>) -> Response {
    let error = without_id(&request);
    Refusal::new(Api::Dps, &services)(error).into_response()
}

/// R-F8: what is asked with an empty id, or without one, is no method of the path.
fn without_id(request: &Request<Body>) -> ServiceError {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("{method} is not a method of {path}; an id may be missing");
    ServiceError::new(405_000, "MethodNotAllowed", "R-F8", text)
}
