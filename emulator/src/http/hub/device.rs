//! The device API of a hub: telemetry and messages for devices that speak no MQTT (wire 4.5).
//!
//! There is no session: each request shows its token or its certificate and is judged by the
//! same rules as a CONNECT, and none of them makes the device connected (R-G39).

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use linarite_core::hub::c2d::queue::Settlement;
use linarite_core::hub::message::Origin;
use linarite_core::id::{DeviceId, IdentityId};
use linarite_core::limits::{C2D_LOCK_SECONDS, C2D_LOCK_SECONDS_MAX};

use super::Shared;
use crate::error::ServiceError;
use crate::http::answer::{Answered, Api, Refusal, credential, header, host, json, no_content};
use crate::service::Services;
use crate::service::hub::Hub;
use crate::tls::peer::PeerIdentity;
use crate::wire::hub::message as wire;

/// How long a message is to stay locked, in seconds.
const LOCK_TIMEOUT: HeaderName = HeaderName::from_static("iothub-messagelocktimeout");

/// What may stand in the query.
type Asked = Query<Vec<(String, String)>>;

pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/devices/{id}/messages/events", post(send))
        .route("/devices/{id}/messages/devicebound", get(receive))
        .route("/devices/{id}/messages/devicebound/{token}", delete(end))
        .route(
            "/devices/{id}/messages/devicebound/{token}/abandon",
            post(abandon),
        )
}

async fn send(
    State(services): Shared,
    Extension(peer): Extension<PeerIdentity>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    answer(&services, &headers, peer, &id, |hub, origin| {
        let media = header(&headers, &CONTENT_TYPE).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(wire::BATCH) {
            hub.accept_batch(origin, wire::batch(&json(&body)?)?)?;
        } else {
            hub.accept_telemetry(origin, wire::telemetry(&headers)?, &body)?;
        }
        Ok(no_content())
    })
}

async fn receive(
    State(services): Shared,
    Extension(peer): Extension<PeerIdentity>,
    Path(id): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, peer, &id, |hub, origin| {
        let seconds = lock_seconds(&headers, &asked)?;
        let Some(locked) = hub.receive(origin.id(), seconds)? else {
            return Ok(no_content());
        };
        let headers = wire::delivered(&locked.token, &locked.delivery);
        let body = Bytes::copy_from_slice(locked.delivery.message.body());
        Ok((headers, body).into_response())
    })
}

async fn end(
    State(services): Shared,
    Extension(peer): Extension<PeerIdentity>,
    Path((id, token)): Path<(String, String)>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Answered {
    let reject = asked
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("reject"));
    let settlement = if reject {
        Settlement::Reject
    } else {
        Settlement::Complete
    };
    answer(&services, &headers, peer, &id, |hub, origin| {
        hub.settle(origin.id(), &token, settlement)?;
        Ok(no_content())
    })
}

async fn abandon(
    State(services): Shared,
    Extension(peer): Extension<PeerIdentity>,
    Path((id, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
    answer(&services, &headers, peer, &id, |hub, origin| {
        hub.settle(origin.id(), &token, Settlement::Abandon)?;
        Ok(no_content())
    })
}

/// Finds the hub and lets the device in, then does the work.
fn answer(
    services: &Arc<Services>,
    headers: &HeaderMap,
    peer: PeerIdentity,
    id: &str,
    work: impl FnOnce(&Hub, &Arc<Origin>) -> Result<Response, ServiceError>,
) -> Answered {
    let answer = || {
        let hub = super::find(services, host(headers))?;
        let id = IdentityId::from(DeviceId::parse(id)?);
        let origin = hub.admit_request(&id, &credential(headers, peer)?)?;
        work(&hub, &origin)
    };
    answer().map_err(Refusal::new(Api::Hub, services))
}

/// How long a message is to stay locked. The C# client says so in the query.
fn lock_seconds(headers: &HeaderMap, asked: &[(String, String)]) -> Result<u32, ServiceError> {
    let mut in_query = asked.iter();
    let in_query = in_query.find(|(name, _)| name.eq_ignore_ascii_case(LOCK_TIMEOUT.as_str()));
    let in_query = in_query.map(|(_, value)| value.as_str());
    let Some(text) = header(headers, &LOCK_TIMEOUT).or(in_query) else {
        return Ok(C2D_LOCK_SECONDS);
    };
    let seconds = text.trim().parse().ok();
    let seconds = seconds.filter(|seconds| (1..=C2D_LOCK_SECONDS_MAX).contains(seconds));
    seconds.ok_or_else(|| {
        let text = format!("{LOCK_TIMEOUT}: expected 1 to {C2D_LOCK_SECONDS_MAX} seconds");
        ServiceError::invalid(text)
    })
}
