//! A client of the admin listener, over a real socket: hyper, and server-sent events.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything, on the real clock.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for `path`; gives the answer once its head is there.
pub(crate) async fn get(admin: SocketAddr, path: &str, id: Option<&str>) -> Response<Incoming> {
    send(admin, "GET", path, id).await
}

/// Status and body of what is answered to `method` and `path`.
pub(crate) async fn ask(admin: SocketAddr, method: &str, path: &str) -> (u16, String) {
    whole(send(admin, method, path, None).await).await
}

async fn send(admin: SocketAddr, method: &str, path: &str, id: Option<&str>) -> Response<Incoming> {
    let ask = async {
        let stream = TokioIo::new(TcpStream::connect(admin).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("Host", admin.to_string());
        if let Some(id) = id {
            request = request.header("Last-Event-ID", id);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap()
    };
    timeout(PATIENCE, ask).await.expect("no answer")
}

/// Status and body of an answer that ends.
pub(crate) async fn text(admin: SocketAddr, path: &str) -> (u16, String) {
    ask(admin, "GET", path).await
}

async fn whole(answer: Response<Incoming>) -> (u16, String) {
    let status = answer.status().as_u16();
    let body = timeout(PATIENCE, answer.into_body().collect()).await;
    let body = body.expect("the answer does not end").unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) data: Value,
}

/// A stream of them.
pub(crate) struct Watch {
    body: Incoming,
    text: String,
}

impl Watch {
    /// Opens the stream at `path`, behind the event `id`.
    pub(crate) async fn open(admin: SocketAddr, path: &str, id: Option<&str>) -> Self {
        let answer = get(admin, path, id).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            body: answer.into_body(),
            text: String::new(),
        }
    }

    /// The next event; `None` at the orderly end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        timeout(PATIENCE, self.read()).await.expect("no event")
    }

    /// The next event, which must be there.
    pub(crate) async fn expect(&mut self) -> Told {
        self.next().await.expect("the stream has ended")
    }

    /// All events until the end.
    pub(crate) async fn rest(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }

    async fn read(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = parse(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let frame = self.body.frame().await?.expect("the stream was cut");
            let data = frame.into_data().expect("no trailers");
            self.text += std::str::from_utf8(&data).unwrap();
        }
    }
}

/// An event from its lines; `None` for a sign of life.
fn parse(block: &str) -> Option<Told> {
    let field = |name: &str| {
        let lines = block.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next().map(str::to_owned);
        assert_eq!(values.next(), None, "{name} more than once: {block}");
        value
    };
    let data = serde_json::from_str(&field("data")?).unwrap();
    Some(Told {
        id: field("id"),
        name: field("event"),
        data,
    })
}
