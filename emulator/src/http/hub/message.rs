//! Messages for devices, as the back end sends them, and what it hears of them (R-G27 to R-G31).
//!
//! Azure's own clients send over AMQP. Over HTTP a message is a POST whose headers are its
//! properties, as in Microsoft's crate for Rust.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use linarite_core::hub::c2d::feedback::FeedbackSettlement;

use super::{Named, Shared, answer};
use crate::http::answer::{Answered, no_content, ok};
use crate::policy::Right;
use crate::service::Services;
use crate::wire::hub::message as wire;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/devices/{id}/messages/devicebound", post(send))
        .route(
            "/devices/{id}/modules/{module}/messages/devicebound",
            post(send),
        )
        .route("/devices/{id}/commands", delete(purge))
        .route("/messages/servicebound/feedback", get(receive))
        .route("/messages/servicebound/feedback/{token}", delete(complete))
        .route(
            "/messages/servicebound/feedback/{token}/abandon",
            post(abandon),
        )
}

async fn send(
    State(services): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        let id = named.id()?;
        hub.send_to_device(&id, wire::for_device(&id, &headers, &body)?)?;
        Ok(no_content())
    })
}

async fn purge(State(services): Shared, Path(named): Path<Named>, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        let id = named.id()?;
        Ok(ok(&wire::purged(&id, hub.purge(&id)?)))
    })
}

async fn receive(State(services): Shared, headers: HeaderMap) -> Answered {
    answer(&services, &headers, Right::ServiceConnect, |hub| {
        let Some(locked) = hub.receive_feedback() else {
            return Ok(no_content());
        };
        let headers = [
            (ETAG, format!("\"{}\"", locked.token)),
            (CONTENT_TYPE, wire::FEEDBACK.to_owned()),
        ];
        let body = wire::feedback(&locked.batch).to_string();
        Ok((headers, body).into_response())
    })
}

async fn complete(
    State(services): Shared,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answered {
    settle(&services, &headers, &token, FeedbackSettlement::Complete)
}

async fn abandon(
    State(services): Shared,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answered {
    settle(&services, &headers, &token, FeedbackSettlement::Abandon)
}

fn settle(
    services: &Arc<Services>,
    headers: &HeaderMap,
    token: &str,
    settlement: FeedbackSettlement,
) -> Answered {
    answer(services, headers, Right::ServiceConnect, |hub| {
        hub.settle_feedback(token, settlement)?;
        Ok(no_content())
    })
}
