//! The way to the function: plain HTTP/1.1, a connection for each question.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Function, Reply};
use crate::endpoint::BoxedStream;

/// Longest question, in bytes: an enrollment and what a device says, which DPS bounds lower.
const QUESTION_BYTES_MAX: usize = 256 * 1024;
/// Questions answered at a time; others wait to be accepted.
const AT_ONCE: usize = 512;
/// How long anybody may take to ask, and to wait: longer than any DPS does.
const CONNECTION_MAX: Duration = Duration::from_secs(300);

/// A function that is served for as long as this is kept.
pub struct Hosted {
    pub(crate) function: Arc<Function>,
    /// Scheme, host and port.
    address: String,
    /// Accepts who calls; nothing where streams come by themselves.
    _accepting: Option<AbortOnDropHandle<()>>,
}

impl Hosted {
    /// A function that is served at `address` by whoever brings its streams.
    pub(crate) fn at(address: &str, function: Arc<Function>) -> Self {
        Self {
            function,
            address: address.to_owned(),
            _accepting: None,
        }
    }

    /// Serves `function` at a port of the loopback interface.
    pub(crate) fn on_loopback(function: Arc<Function>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = format!("http://{}", listener.local_addr()?);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&function)));
        Ok(Self {
            function,
            address,
            _accepting: Some(AbortOnDropHandle::new(accepting)),
        })
    }

    /// Where DPS is to ask. Holds the key; not for logs.
    pub(crate) fn url(&self) -> String {
        self.address.clone() + &self.function.target()
    }
}

async fn accept(listener: TcpListener, function: Arc<Function>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= AT_ONCE {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let function = Arc::clone(&function);
                connections.spawn(function.serve(Box::new(stream)));
            }
            // Descriptors are short: DPS finds that out too, and somebody may hang up meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Function {
    /// Answers whoever calls on `stream`.
    pub(crate) async fn serve(self: Arc<Self>, stream: BoxedStream) {
        let service = service_fn(move |request| {
            let function = Arc::clone(&self);
            async move { Ok::<_, Infallible>(function.respond(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever hangs up is told nothing, and nobody here would read why.
        let _ = timeout(CONNECTION_MAX, connection).await;
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.uri().path_and_query();
        let target = target.map_or("", |target| target.as_str()).to_owned();
        let method = request.method().clone();
        let question = Limited::new(request.into_body(), QUESTION_BYTES_MAX);
        let reply = match (method, question.collect().await) {
            (Method::POST, Ok(question)) => self.reply(&target, &question.to_bytes()),
            (Method::POST, Err(_)) => Reply::Said(StatusCode::PAYLOAD_TOO_LARGE, String::new()),
            _ => Reply::Said(StatusCode::METHOD_NOT_ALLOWED, String::new()),
        };
        let (status, body) = match reply {
            Reply::Said(status, body) => (status, body),
            Reply::Silence => std::future::pending().await,
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}
