//! HTTPS: the device, service and management APIs on one port, told apart by path (wire 6.2).

mod answer;
mod device;
mod hub;
mod management;
mod path;
mod service;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;

use crate::error::ServiceError;
use crate::limits::{CONNECT_TIMEOUT, HTTP_BODY_BYTES_MAX};
use crate::service::Services;
use crate::tls::peer::PeerIdentity;
use answer::{Api, Refusal};

/// All routes of all APIs.
pub(crate) fn router(services: Arc<Services>) -> Router {
    Router::new()
        .merge(device::routes())
        .merge(service::routes())
        .merge(hub::routes())
        .merge(management::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .with_state(services)
}

/// Serves one connection until the peer leaves or stays silent.
pub(crate) async fn serve<S>(stream: S, peer: PeerIdentity, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, peer) = (router.clone(), peer.clone());
        async move {
            let mut request = request.map(Body::new);
            path::canonicalize(request.uri_mut());
            request.extensions_mut().insert(peer);
            let answer: Result<Response, Infallible> = router.oneshot(request).await;
            answer
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECT_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTPS connection ended");
    }
}

/// What no route knows is said to be missing, never a silent 404.
async fn unknown(
    axum::extract::State(services): axum::extract::State<Arc<Services>>,
    request: Request<Body>,
) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    Refusal {
        api: Api::Dps,
        error: ServiceError::not_emulated(what),
        services,
    }
    .into_response()
}
