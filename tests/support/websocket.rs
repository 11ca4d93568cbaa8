//! WebSocket by hand: the request for an upgrade, single frames, and MQTT inside them.

use linarite::pki::Credential;
use linarite_emulator::Door;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split};

use super::http::Answer;
use super::mqtt::Mqtt;
use super::{DPS, Lab, PIPE_BYTES, Tls};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The key of RFC 6455, 1.3, and the answer to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's frame: unmasked is what only servers may send.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA1, 0x5B, 0x00, 0xFF];
    let mut bytes = head(opcode, payload.len());
    bytes.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The beginning of a frame that would hold `length` bytes, without its mask.
pub(crate) fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes
}

/// A request for an upgrade that every server takes.
pub(crate) fn upgrade(path: &str, subprotocol: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {DPS}:443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
}

/// A client that sends any frames at all.
pub(crate) struct WebSocket {
    pub(crate) stream: Tls,
}

impl WebSocket {
    pub(crate) async fn send(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        self.send_raw(&frame(opcode, payload.as_ref())).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Opcode and content of the next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        next(&mut self.stream).await
    }

    /// A close frame with `code`, and then the end.
    pub(crate) async fn expect_close(&mut self, code: u16) {
        let close = (CLOSE, code.to_be_bytes().to_vec());
        assert_eq!(self.next().await, Some(close));
        assert_eq!(self.next().await, None);
    }

    /// MQTT inside this, in frames of at most `frame_bytes`.
    pub(crate) fn mqtt(self, frame_bytes: usize) -> Mqtt<DuplexStream> {
        let (stream, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(carry(self.stream, far, frame_bytes));
        Mqtt { stream }
    }
}

async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    assert_eq!(first & 0xF0, 0x80, "a whole frame without extensions");
    let length = match stream.read_u8().await.ok()? {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((first & 0x0F, payload))
}

/// Puts what comes out of `near` into frames and the content of frames into `near`.
async fn carry(stream: Tls, near: DuplexStream, frame_bytes: usize) {
    let (mut frames_in, mut frames_out) = split(stream);
    let (mut bytes_in, mut bytes_out) = split(near);
    let inward = async {
        while let Some((BINARY, payload)) = next(&mut frames_in).await {
            if bytes_out.write_all(&payload).await.is_err() {
                break;
            }
        }
    };
    let outward = async {
        let mut chunk = vec![0; PIPE_BYTES];
        while let Ok(count @ 1..) = bytes_in.read(&mut chunk).await {
            if write(&mut frames_out, chunk[..count].chunks(frame_bytes))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        () = inward => {}
        () = outward => {}
    }
}

async fn write<'a>(
    stream: &mut (impl AsyncWrite + Unpin),
    parts: impl Iterator<Item = &'a [u8]>,
) -> std::io::Result<()> {
    for part in parts {
        stream.write_all(&frame(BINARY, part)).await?;
    }
    stream.flush().await
}

impl Lab {
    /// Sends `request`; gives the head of the answer and what goes on behind it.
    pub(crate) async fn upgraded(
        &self,
        request: impl AsRef<[u8]>,
        credential: Option<&Credential>,
    ) -> (Answer, WebSocket) {
        let mut stream = self.tls(Door::Https, credential).await;
        stream.write_all(request.as_ref()).await.unwrap();
        stream.flush().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
        (Answer::parse(&bytes), WebSocket { stream })
    }

    /// A WebSocket for MQTT.
    pub(crate) async fn websocket(&self, credential: Option<&Credential>) -> WebSocket {
        let request = upgrade("/$iothub/websocket", "mqtt");
        let (answer, socket) = self.upgraded(request, credential).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        socket
    }
}
