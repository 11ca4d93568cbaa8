//! A WebSocket, as the stream of bytes inside it.
//!
//! What enters: a stream whose upgrade has been answered, at either end. What leaves: the bytes of
//! its binary frames; where a frame begins and ends says nothing about packets (W15). Pings are
//! answered while reading, and anything but binary frames ends the stream.
//!
//! Absent on purpose: timers, as whoever reads and writes bounds the wait. Clients' frames are
//! masked with random numbers of the library, which nobody decides anything by.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::limits::WEBSOCKET_MESSAGE_BYTES_MAX;

/// Bytes read at once; longer frames grow the buffer as they come.
const READ_BYTES: usize = 4 * 1024;

/// One end of a WebSocket.
#[derive(Debug)]
pub struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What the last frame held and nobody has read yet.
    unread: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The server's end.
    pub(crate) async fn server(stream: S) -> Self {
        Self::new(stream, Role::Server).await
    }

    /// The client's end, for devices that come to this emulator or to Azure.
    pub async fn client(stream: S) -> Self {
        Self::new(stream, Role::Client).await
    }

    async fn new(stream: S, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            // One message of ours, and the pongs a peer has not taken.
            .max_write_buffer_size(2 * WEBSOCKET_MESSAGE_BYTES_MAX)
            .max_message_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(WEBSOCKET_MESSAGE_BYTES_MAX));
        Self {
            frames: WebSocketStream::from_raw_socket(stream, role, Some(config)).await,
            unread: Bytes::new(),
        }
    }

    /// The content of the next binary frame; `None` once the peer has closed.
    fn poll_binary(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let message = match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(Err(self.refuse(error))),
                None => return Poll::Ready(Ok(None)),
            };
            match message {
                Message::Binary(bytes) => return Poll::Ready(Ok(Some(bytes))),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Close(_) => return Poll::Ready(Ok(None)),
                Message::Text(_) | Message::Frame(_) => {
                    self.say_goodbye(CloseCode::Unsupported);
                    let text = "a text frame, where MQTT comes in binary frames";
                    let error = io::Error::new(io::ErrorKind::InvalidData, text);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn refuse(&mut self, error: Error) -> io::Error {
        match error {
            Error::Capacity(_) => self.say_goodbye(CloseCode::Size),
            Error::Protocol(_) => self.say_goodbye(CloseCode::Protocol),
            Error::Utf8(_) => self.say_goodbye(CloseCode::Unsupported),
            _ => {}
        }
        broken(error)
    }

    /// Queues the close frame; the shutdown sends what is left of it. It need not arrive.
    fn say_goodbye(&mut self, code: CloseCode) {
        let reason = "".into();
        let close = Message::Close(Some(CloseFrame { code, reason }));
        let _ = Pin::new(&mut self.frames).start_send(close);
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing read would mean the end, so empty frames are passed over.
        while self.unread.is_empty() {
            match ready!(self.poll_binary(context))? {
                Some(bytes) => self.unread = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = buffer.remaining().min(self.unread.len());
        buffer.put_slice(&self.unread.split_to(count));
        if self.unread.is_empty() {
            // An idle connection does not hold on to the last frame.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // One message at a time: a peer that does not read holds up whoever writes.
        ready!(Pin::new(&mut self.frames).poll_flush(context)).map_err(broken)?;
        let count = bytes.len().min(WEBSOCKET_MESSAGE_BYTES_MAX);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..count]));
        let sent = Pin::new(&mut self.frames).start_send(message);
        Poll::Ready(sent.map(|()| count).map_err(broken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = Pin::new(&mut self.frames);
        frames.poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The peer may be gone or have closed first; the stream below ends in any case.
        let _ = ready!(Pin::new(&mut self.frames).poll_close(context));
        Pin::new(self.frames.get_mut()).poll_shutdown(context)
    }
}
