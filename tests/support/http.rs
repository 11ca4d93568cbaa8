//! HTTP/1.1 by hand: one request, one answer, on a connection of its own or on one that is kept.

use linarite::pki::Credential;
use linarite_emulator::Door;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Lab, Tls, drain};

/// A request to one of the APIs.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    /// A body that is no JSON, instead.
    pub(crate) plain: Option<String>,
}

impl Request {
    pub(crate) fn new(method: &'static str, host: &str, path: impl Into<String>) -> Self {
        Self {
            method,
            host: host.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: None,
            plain: None,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn plain(mut self, body: impl Into<String>) -> Self {
        self.plain = Some(body.into());
        self
    }

    /// The request as the last of its connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.written("close")
    }

    fn written(&self, connection: &str) -> Vec<u8> {
        let json = self.body.as_ref().map(Value::to_string);
        let body = json.or_else(|| self.plain.clone()).unwrap_or_default();
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\nContent-Length: {}\r\n",
            self.method,
            self.path,
            self.host,
            body.len()
        );
        let mut headers = self.headers.clone();
        let typed = |(name, _): &(&str, String)| name.eq_ignore_ascii_case("content-type");
        if self.body.is_some() && !headers.iter().any(typed) {
            headers.push(("Content-Type", "application/json; charset=utf-8".to_owned()));
        }
        for (name, value) in &headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += &body;
        text.into_bytes()
    }
}

/// A connection that is kept for request after request.
pub(crate) struct Connection {
    stream: Tls,
}

impl Connection {
    pub(crate) async fn ask(&mut self, request: &Request) -> Answer {
        let bytes = request.written("keep-alive");
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.stream.read_u8().await.unwrap());
        }
        let length = Answer::parse(&bytes)
            .header("content-length")
            .map(str::parse);
        let mut body = vec![0; length.unwrap_or(Ok(0)).unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        bytes.extend(body);
        Answer::parse(&bytes)
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Null where there was no JSON.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) content: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        let text = self.body[member].as_str();
        text.unwrap_or_else(|| panic!("no text {member} in {:#}", self.body))
    }

    /// Reads the bytes of one answer.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self {
            status: status.parse().unwrap(),
            headers: lines.map(header).collect(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
            content: body.to_owned(),
        }
    }
}

impl Lab {
    /// A connection that shows `credential`, for many requests.
    pub(crate) async fn connection(&self, credential: Option<&Credential>) -> Connection {
        let stream = self.tls(Door::Https, credential).await;
        Connection { stream }
    }

    /// Sends `request` over a connection of its own, showing `credential`.
    pub(crate) async fn ask(&self, request: &Request, credential: Option<&Credential>) -> Answer {
        let mut stream = self.tls(Door::Https, credential).await;
        stream.write_all(&request.bytes()).await.unwrap();
        stream.flush().await.unwrap();
        Answer::parse(&drain(&mut stream).await)
    }
}
