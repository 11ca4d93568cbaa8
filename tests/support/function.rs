//! A function app: what a webhook of custom allocation is, at the far end of pipes in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use linarite_emulator::outgoing::{BoxedStream, Dial, Dialing};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::PIPE_BYTES;

/// The name the function app answers to, and its certificate too.
pub(crate) const FUNCTION: &str = "function.linarite.test";

/// A URL of the function, with a key nobody may see.
pub(crate) const URL: &str = "http://function.linarite.test:7071/api/hook?code=s3cret";

/// How the function answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status and body.
    Json(u16, Value),
    /// These bytes, then the end.
    Raw(Vec<u8>),
    /// These bytes, one by one, with so much time before each.
    Slowly(Duration, Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// Nobody is there.
    Refused,
    /// A good answer, but only after this.
    After(Duration, Value),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) dialled: (String, u16),
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

/// The function app. Cheap to clone; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Function(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    replies: VecDeque<Reply>,
    tls: Option<TlsAcceptor>,
}

impl Function {
    /// A function whose every answer is `reply`, once those put before it are used up.
    pub(crate) fn new(reply: Reply) -> Self {
        let function = Self::default();
        function.then(reply);
        function
    }

    /// One that chooses this hub.
    pub(crate) fn choosing(hub: &str) -> Self {
        Self::new(Reply::Json(200, json!({ "iotHubHostName": hub })))
    }

    /// Puts an answer behind those there are; the last one stays.
    pub(crate) fn then(&self, reply: Reply) {
        self.0.lock().unwrap().replies.push_back(reply);
    }

    /// Forgets the answers it had.
    pub(crate) fn only(&self, reply: Reply) {
        let mut state = self.0.lock().unwrap();
        state.replies.clear();
        state.replies.push_back(reply);
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    /// The last thing it was asked.
    pub(crate) fn last(&self) -> Asked {
        self.asked().pop().expect("nobody asked")
    }

    /// Has it speak TLS; gives the CA of its certificate.
    pub(crate) fn speak_tls(&self) -> Vec<u8> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([FUNCTION.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        self.0.lock().unwrap().tls = Some(TlsAcceptor::from(Arc::new(config)));
        ca.der().to_vec()
    }

    fn next(&self) -> Reply {
        let mut state = self.0.lock().unwrap();
        if state.replies.len() > 1 {
            return state.replies.pop_front().unwrap();
        }
        state.replies.front().cloned().unwrap()
    }

    async fn serve(self, stream: tokio::io::DuplexStream, dialled: (String, u16), reply: Reply) {
        let tls = self.0.lock().unwrap().tls.clone();
        match tls {
            None => self.answer(stream, dialled, reply).await,
            // A client that does not trust us ends the handshake, and that is that.
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.answer(stream, dialled, reply).await;
                }
            }
        }
    }

    async fn answer<S>(&self, mut stream: S, dialled: (String, u16), reply: Reply)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(asked) = read_request(&mut stream, dialled).await else {
            return;
        };
        self.0.lock().unwrap().asked.push(asked);
        match reply {
            Reply::Json(status, body) => send(&mut stream, &http(status, &body)).await,
            Reply::Raw(bytes) => send(&mut stream, &bytes).await,
            Reply::After(wait, body) => {
                tokio::time::sleep(wait).await;
                send(&mut stream, &http(200, &body)).await;
            }
            Reply::Slowly(wait, bytes) => {
                for byte in bytes {
                    tokio::time::sleep(wait).await;
                    send(&mut stream, &[byte]).await;
                }
            }
            Reply::Silence | Reply::Refused => std::future::pending().await,
        }
        let _ = stream.shutdown().await;
    }
}

impl Dial for Function {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a> {
        let reply = self.next();
        if matches!(reply, Reply::Refused) {
            let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
            return Box::pin(std::future::ready(Err(refused)));
        }
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(self.clone().serve(far, (host.to_owned(), port), reply));
        Box::pin(std::future::ready(Ok(Box::new(near) as BoxedStream)))
    }
}

/// Whoever asks may go away at any time.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// An answer with this status and body.
pub(crate) fn http(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    dialled: (String, u16),
) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        bytes.push(stream.read_u8().await.ok()?);
        if bytes.ends_with(b"\r\n\r\n") {
            break bytes.len();
        }
    };
    let head = String::from_utf8(bytes[..end - 4].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers: Vec<(String, String)> = lines.map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.unwrap().1.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        dialled,
        line,
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    })
}
