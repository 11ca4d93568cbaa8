//! The admin listener: what a test harness asks of the emulator itself, and what a person who
//! watches sees. Plain HTTP, never on a port that Azure has.

mod events;
mod faults;
mod journal;
mod metrics;
mod parameters;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use linarite_env::UnixMillis;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::counters::Counters;
use crate::http::patience::Patience;
use crate::limits::{
    ADMIN_CONNECTIONS_MAX, CONNECT_TIMEOUT, EVENT_STREAMS_MAX, GOODBYE_TIMEOUT, WRITE_TIMEOUT,
};
use crate::listener;
use crate::mqtt::mirror::Mirror;
use crate::service::Services;
use crate::store::journal::Journal;

/// What the routes share.
pub(crate) struct Admin {
    services: Arc<Services>,
    /// The CA clients are to trust, as PEM.
    ca_pem: Arc<str>,
    journal: Journal,
    counters: Counters,
    /// Connections of devices and back ends that may still come in, and how many may at all.
    room: (Arc<Semaphore>, usize),
    mirror: Option<Arc<Mirror>>,
    /// Streams that may still begin.
    streams: Arc<Semaphore>,
    /// When it began; tells the ids of its events from those of an emulator before it.
    began: UnixMillis,
}

impl Admin {
    /// Begins to count and to keep what the emulator tells.
    pub(crate) fn new(
        services: &Arc<Services>,
        ca_pem: Arc<str>,
        room: (Arc<Semaphore>, usize),
        mirror: Option<Arc<Mirror>>,
    ) -> Arc<Self> {
        let admin = Arc::new(Self {
            services: Arc::clone(services),
            ca_pem,
            journal: Journal::default(),
            counters: Counters::new(services.hubs.iter().map(|hub| hub.name())),
            room,
            mirror,
            streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
            began: services.env.clock.now_ms(),
        });
        // Not held by the stream of events, which may outlive the emulator.
        let listening = Arc::downgrade(&admin);
        services.env.events.listen(move |stamped| {
            if let Some(admin) = listening.upgrade() {
                admin.counters.count(&stamped.event);
                admin.journal.append(stamped);
            }
        });
        admin
    }

    /// Serves who connects until the emulator stops.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let router = Router::new()
            .route("/health", get(healthy))
            .route("/ready", get(healthy))
            .route("/ca.pem", get(ca))
            .route("/metrics", get(metrics::metrics))
            .route("/events", get(events::events))
            .route("/events/journal", get(journal::journal))
            .route("/faults", delete(faults::clear))
            .route("/faults/dps", post(faults::dps))
            .route("/faults/dps/{number}", delete(faults::end_dps))
            .route(
                "/faults/hub-restart",
                post(faults::hub_restart).delete(faults::end_restart),
            )
            .fallback(unknown)
            .with_state(Arc::clone(&self));
        let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
        listener::accept(listener, self.services.cancel.clone(), |stream| {
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                return;
            };
            let (admin, router) = (Arc::clone(&self), router.clone());
            self.services.tasks.spawn(async move {
                admin.connection(stream, router).await;
                drop(permit);
            });
        })
        .await;
    }

    async fn connection(&self, stream: TcpStream, router: Router) {
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let router = router.clone();
            async move {
                let answer: Result<Response, Infallible> =
                    router.oneshot(request.map(Body::new)).await;
                answer
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CONNECT_TIMEOUT)
            .serve_connection(TokioIo::new(Patience::new(stream, WRITE_TIMEOUT)), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            () = self.services.cancel.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // A peer that does not read is not waited for.
                timeout(GOODBYE_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended");
        }
    }
}

async fn healthy() -> &'static str {
    "ok\n"
}

async fn ca(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/x-pem-file")],
        admin.ca_pem.to_string(),
    )
}

async fn unknown() -> impl IntoResponse {
    (
        StatusCode::NOT_IMPLEMENTED,
        "the admin listener serves /health, /ready, /ca.pem, /metrics, /events, /events/journal, \
         and /faults, /faults/dps and /faults/hub-restart for trouble on purpose\n",
    )
}
