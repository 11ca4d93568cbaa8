//! From HTTPS to WebSocket: how MQTT gets onto port 443 (W15, R-B10, R-G12).
//!
//! What enters: a GET that asks for an upgrade. What leaves: the 101, and the connection itself
//! into the hands of the task that serves it. Frames are the business of `crate::ws`.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;

use super::answer::{Api, Refusal, header};
use crate::error::ServiceError;
use crate::service::Services;

/// Takes the stream of a connection that becomes a WebSocket; there is one for each connection.
pub(super) type Handover = mpsc::Sender<OnUpgrade>;

/// What is put behind the key before it is digested (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version there is (RFC 6455, 4.1).
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// C# and Java send no path for DPS (W15). The query does not matter: whoever is asked for a
/// certificate may still show none.
pub(super) fn routes() -> Router<Arc<Services>> {
    Router::new()
        .route("/", get(upgrade_root))
        .route("/$iothub/websocket", get(upgrade))
}

/// Without an upgrade there is nothing at the root.
async fn upgrade_root(
    services: State<Arc<Services>>,
    handover: Extension<Handover>,
    request: Request<Body>,
) -> Response {
    if asks_for_websocket(request.headers()) {
        upgrade(services, handover, request).await
    } else {
        super::unknown(services, request).await
    }
}

async fn upgrade(
    State(services): State<Arc<Services>>,
    Extension(handover): Extension<Handover>,
    mut request: Request<Body>,
) -> Response {
    match answer(request.headers()) {
        Ok(response) => {
            // There is room: a connection is upgraded once.
            let _ = handover.try_send(hyper::upgrade::on(&mut request));
            response
        }
        Err(error) => {
            let mut response = Refusal::new(Api::Dps, &services)(error).into_response();
            if response.status() == StatusCode::UPGRADE_REQUIRED {
                let headers = response.headers_mut();
                headers.insert(UPGRADE, WEBSOCKET);
                headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
            }
            response
        }
    }
}

/// The 101 for a request that may become MQTT over WebSocket. Extensions such as
/// permessage-deflate are declined by leaving them out.
fn answer(headers: &HeaderMap) -> Result<Response, ServiceError> {
    if !asks_for_websocket(headers) {
        return Err(upgrade_required("only an upgrade to WebSocket"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(upgrade_required("only version 13 of WebSocket"));
    }
    let key = header(headers, &SEC_WEBSOCKET_KEY)
        .ok_or_else(|| ServiceError::invalid("Sec-WebSocket-Key: missing"))?;
    let headers = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, WEBSOCKET),
        (SEC_WEBSOCKET_ACCEPT, value(&accept(key))?),
        (SEC_WEBSOCKET_PROTOCOL, value(subprotocol(headers)?)?),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, word: &str| {
        tokens(headers, name).any(|token| token.eq_ignore_ascii_case(word))
    };
    says(&UPGRADE, "websocket") && says(&CONNECTION, "upgrade")
}

/// The name for MQTT among those offered, in the client's spelling (W15).
fn subprotocol(headers: &HeaderMap) -> Result<&str, ServiceError> {
    let mut offered = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).peekable();
    let Some(first) = offered.peek().copied() else {
        let text = "Sec-WebSocket-Protocol: missing, expected mqtt";
        return Err(ServiceError::invalid(text));
    };
    offered
        .find(|token| token.eq_ignore_ascii_case("mqtt"))
        .ok_or_else(|| ServiceError::not_emulated(format!("{first} over WebSocket")))
}

/// The entries of a list that may be spread over several headers.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let tokens = texts.flat_map(|text| text.split(',')).map(str::trim);
    tokens.filter(|token| !token.is_empty())
}

/// Proves that the key was understood (RFC 6455, 4.2.2).
fn accept(key: &str) -> String {
    let text = format!("{key}{ACCEPT_SUFFIX}");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn value(text: &str) -> Result<HeaderValue, ServiceError> {
    HeaderValue::from_str(text).map_err(|error| ServiceError::invalid(error.to_string()))
}

fn upgrade_required(what: &str) -> ServiceError {
    let text = format!("This path takes {what}.");
    ServiceError::new(426_000, "UpgradeRequired", "R-G12", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_gives_the_answer_of_the_standard() {
        let accepted = accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
