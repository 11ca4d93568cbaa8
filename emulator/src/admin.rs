//! The admin listener: what a test harness asks of the emulator itself. Plain HTTP, never on a
//! port that Azure has.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

/// The routes; `ca_pem` is the CA clients are to trust.
pub(crate) fn router(ca_pem: std::sync::Arc<str>) -> Router {
    Router::new()
        .route("/health", get(healthy))
        .route("/ready", get(healthy))
        .route("/ca.pem", get(ca))
        .fallback(unknown)
        .with_state(ca_pem)
}

async fn healthy() -> &'static str {
    "ok\n"
}

async fn ca(State(ca_pem): State<std::sync::Arc<str>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/x-pem-file")],
        ca_pem.to_string(),
    )
}

async fn unknown() -> impl IntoResponse {
    (
        StatusCode::NOT_IMPLEMENTED,
        "the admin listener serves /health, /ready and /ca.pem\n",
    )
}
