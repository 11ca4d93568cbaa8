//! HTTPS: the device, service and management APIs on one port, told apart by path (wire 6.2).
//!
//! A connection that asks for MQTT over WebSocket leaves here once it has its answer.

mod answer;
mod device;
mod hub;
mod management;
mod manners;
mod paging;
mod path;
pub(crate) mod patience;
mod service;
mod upgrade;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::error::ServiceError;
use crate::limits::{
    BODY_TIMEOUT, CONNECT_TIMEOUT, HTTP_BODY_BYTES_MAX, HTTP_REFUSED_BODY_BYTES_MAX, WRITE_TIMEOUT,
};
use crate::service::Services;
use crate::tls::peer::PeerIdentity;
use answer::Refusal;
use patience::Patience;
use upgrade::Handover;

/// All routes of all APIs.
pub(crate) fn router(services: Arc<Services>) -> Router {
    Router::new()
        .merge(manners::of_dps(device::routes(), &services))
        .merge(manners::of_dps(service::routes(&services), &services))
        .merge(hub::routes(&services))
        .merge(manners::of_management(management::routes(), &services))
        .merge(upgrade::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(from_fn_with_state(Arc::clone(&services), take_in))
        .with_state(services)
}

/// Serves one connection until the peer leaves, stays silent, or goes on as a WebSocket; gives
/// the stream in the last case.
pub(crate) async fn serve<S>(
    stream: S,
    peer: PeerIdentity,
    router: Router,
) -> Option<TokioIo<Upgraded>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (handover, mut upgrades) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, peer, handover) = (router.clone(), peer.clone(), handover.clone());
        async move {
            let mut request = request.map(Body::new);
            path::canonicalize(request.uri_mut());
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert::<Handover>(handover);
            let answer: Result<Response, Infallible> = router.oneshot(request).await;
            answer
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECT_TIMEOUT)
        .serve_connection(TokioIo::new(Patience::new(stream, WRITE_TIMEOUT)), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTPS connection ended");
    }
    let upgraded = upgrades.try_recv().ok()?.await;
    upgraded.ok().map(TokioIo::new)
}

/// Takes in the whole body before anything looks at it: it comes in time and within its bound,
/// or the request is refused and its connection closed.
async fn take_in(
    State(services): State<Arc<Services>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let (head, mut body) = request.into_parts();
    let api = path::api(&head.uri);
    let taken = Limited::new(&mut body, HTTP_BODY_BYTES_MAX).collect();
    let error = match timeout(BODY_TIMEOUT, taken).await {
        Ok(Ok(body)) => {
            let body = Body::from(body.to_bytes());
            return next.run(Request::from_parts(head, body)).await;
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let _ = timeout(BODY_TIMEOUT, let_pass(body)).await;
            let text = format!("The body is longer than {HTTP_BODY_BYTES_MAX} bytes.");
            ServiceError::new(413_000, "RequestEntityTooLarge", "R-F8", text)
        }
        Ok(Err(error)) => ServiceError::invalid(format!("The body is not readable: {error}")),
        Err(_) => {
            let text = format!("The body did not arrive within {BODY_TIMEOUT:?}.");
            ServiceError::new(408_000, "RequestTimeout", "R-F8", text)
        }
    };
    Refusal {
        api,
        error,
        services,
    }
    .into_response()
}

/// Reads on and keeps nothing: a client that is still sending when its connection closes never
/// reads the answer that says why.
async fn let_pass(body: Body) {
    let mut body = Limited::new(body, HTTP_REFUSED_BODY_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}

/// What no route knows is said to be missing, never a silent 404.
async fn unknown(State(services): State<Arc<Services>>, request: Request<Body>) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    Refusal {
        api: path::api(request.uri()),
        error: ServiceError::not_emulated(what),
        services,
    }
    .into_response()
}
