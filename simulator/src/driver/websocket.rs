//! The way from HTTPS to MQTT over WebSocket, as a client goes it (R-B10, R-G12).
//!
//! What enters: a stream on which nothing has been said. What leaves: the bytes inside the
//! WebSocket's frames, or a sentence about why there is none.

use std::pin::Pin;

use crate::lab::WebSocket;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where both services wait for MQTT.
const PATH: &str = "/$iothub/websocket";

/// What is put behind the key before it is digested (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A future that gives a WebSocket. Boxed, so that few connections carry its room along.
type Opening<S> = Pin<Box<dyn Future<Output = Result<WebSocket<S>, String>> + Send>>;

/// Asks `host` at the other end of `stream` for a WebSocket that carries MQTT. Sets no bound to
/// the time that takes.
pub(super) fn open<S>(host: &str, stream: S) -> Opening<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = host.to_owned();
    Box::pin(async move {
        let opened = upgrade(host.clone(), stream).await;
        opened.map_err(|why| format!("{host} opened no WebSocket: {why}"))
    })
}

async fn upgrade<S>(host: String, stream: S) -> Result<WebSocket<S>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| error.to_string();
    let key = key();
    let request = request(&host, &key).map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // The sender ends with this, and with it a connection that becomes no WebSocket.
    let asked = async move {
        let answer = sender.send_request(request).await.map_err(failed)?;
        agreed(&answer, &key)?;
        hyper::upgrade::on(answer).await.map_err(failed)
    };
    // How the connection ended shows in the answer.
    let (_, upgraded) = tokio::join!(connection.with_upgrades(), asked);
    Ok(WebSocket::client(stream_of(upgraded?)?).await)
}

/// A nonce against confused proxies. It is not drawn from the seed, like the random numbers of
/// TLS and the masks of frames: nobody decides anything by it.
fn key() -> String {
    let mut nonce = [0; 16];
    // Without chance the zeros do as well: the answer is checked either way.
    let _ = rand::fill(&mut nonce);
    STANDARD.encode(nonce)
}

fn request(host: &str, key: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    Request::get(PATH)
        .header(HOST, host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .header(SEC_WEBSOCKET_PROTOCOL, "mqtt")
        .body(Empty::new())
}

/// Whether `answer` agrees to what was asked with `key` (RFC 6455, 4.1).
fn agreed<B>(answer: &Response<B>, key: &str) -> Result<(), String> {
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let accepted = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{ACCEPT_SUFFIX}").as_bytes(),
    );
    let says = |name: HeaderName, text: &str| match answer.headers().get(&name) {
        Some(value) if value.as_bytes() == text.as_bytes() => Ok(()),
        Some(_) => Err(format!("{name} is not {text}")),
        None => Err(format!("{name} is missing")),
    };
    says(SEC_WEBSOCKET_ACCEPT, &STANDARD.encode(accepted))?;
    says(SEC_WEBSOCKET_PROTOCOL, "mqtt")
}

fn stream_of<S>(upgraded: Upgraded) -> Result<S, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let parts = upgraded
        .downcast::<TokioIo<S>>()
        .map_err(|_| "the WebSocket lost its stream".to_owned())?;
    // In MQTT the client speaks first.
    if parts.read_buf.is_empty() {
        Ok(parts.io.into_inner())
    } else {
        Err("the service spoke before it was asked".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// Reads a request's head; gives its key.
    async fn asked(stream: &mut DuplexStream) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.unwrap()));
        }
        assert!(head.starts_with("GET /$iothub/websocket HTTP/1.1\r\nhost: hub.net\r\n"));
        let line = head.lines().find(|it| it.starts_with("sec-websocket-key"));
        let (_, key) = line.unwrap().split_once(": ").unwrap();
        key.to_owned()
    }

    /// What comes of a service that answers with `lines`; `{}` stands for what proves the key.
    async fn answered(lines: &str) -> Result<(), String> {
        let (near, mut far) = tokio::io::duplex(4096);
        let service = async {
            let key = asked(&mut far).await;
            let proof = digest(
                &SHA1_FOR_LEGACY_USE_ONLY,
                format!("{key}{ACCEPT_SUFFIX}").as_bytes(),
            );
            let answer = lines.replace("{}", &STANDARD.encode(proof));
            far.write_all(answer.as_bytes()).await.unwrap();
        };
        let (opened, ()) = tokio::join!(open("hub.net", near), service);
        opened.map(|_| ())
    }

    const SWITCHING: &str =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";

    #[tokio::test]
    async fn a_proper_answer_opens_a_websocket() {
        let rest = "sec-websocket-accept: {}\r\nsec-websocket-protocol: mqtt\r\n\r\n";
        assert_eq!(answered(&format!("{SWITCHING}{rest}")).await, Ok(()));
    }

    #[tokio::test]
    async fn any_other_answer_says_what_is_wrong() {
        let table = [
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "status 404",
            ),
            (
                format!("{SWITCHING}sec-websocket-protocol: mqtt\r\n\r\n"),
                "sec-websocket-accept is missing",
            ),
            (
                format!("{SWITCHING}sec-websocket-accept: x\r\n\r\n"),
                "sec-websocket-accept is not",
            ),
            (
                format!("{SWITCHING}sec-websocket-accept: {{}}\r\n\r\n"),
                "sec-websocket-protocol is missing",
            ),
            (
                "rubbish\r\n\r\n".to_owned(),
                "hub.net opened no WebSocket: ",
            ),
        ];
        for (answer, words) in table {
            let error = answered(&answer).await.unwrap_err();
            assert!(error.contains(words), "{answer}: {error}");
        }
    }
}
