//! A byte stream on which what comes towards the device may be late, or lost.
//!
//! It lies below TLS, so bytes that are lost are lost for good: the stream stays silent until
//! its device gives it up, as a connection does whose path broke in one direction.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::{DeviceFaults, OnTheWay, millis};
use crate::endpoint::BoxedStream;

/// What awaits the connections of one device.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    faults: Arc<DeviceFaults>,
    /// From when on the times of the faults count.
    start: Instant,
    /// Connections opened so far; each draws for itself.
    opened: u64,
}

impl Weather {
    pub(crate) fn new(faults: Arc<DeviceFaults>, start: Instant) -> Self {
        Self {
            faults,
            start,
            opened: 0,
        }
    }

    /// The same for the next connection.
    pub(crate) fn next(&mut self) -> Self {
        self.opened += 1;
        self.clone()
    }

    /// Whether a connection may now wait for nothing but a fault.
    pub(crate) fn is_rough(&self) -> bool {
        self.now().is_some()
    }

    fn now(&self) -> Option<OnTheWay> {
        self.faults.on_the_way(self.start.elapsed())
    }

    /// Exposes `stream` to it.
    pub(crate) fn around(self, stream: BoxedStream) -> BoxedStream {
        if self.faults.streams.is_empty() {
            return stream;
        }
        let rng = Rng::with_seed(self.faults.seed.wrapping_add(self.opened));
        Box::new(Exposed {
            stream,
            weather: self,
            rng,
            held: None,
            silent: false,
        })
    }
}

/// Bytes that are held back.
struct Held {
    bytes: Vec<u8>,
    given: usize,
    until: Pin<Box<Sleep>>,
}

struct Exposed {
    stream: BoxedStream,
    weather: Weather,
    rng: Rng,
    held: Option<Held>,
    /// Whether something was lost on it.
    silent: bool,
}

impl Exposed {
    fn hold(&mut self, bytes: &[u8], by: Duration) {
        let delay = Duration::from_millis(self.rng.u64(0..=millis(by)));
        self.held = Some(Held {
            bytes: bytes.to_vec(),
            given: 0,
            until: Box::pin(sleep(delay)),
        });
    }

    /// Reads on without telling anybody, so that the peer may write on.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 1024];
        loop {
            let mut chunk = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk));
            if read.is_err() || chunk.filled().is_empty() {
                // The end does not come through either.
                return Poll::Pending;
            }
        }
    }
}

impl AsyncRead for Exposed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.silent {
                return self.poll_discard(cx);
            }
            if let Some(held) = &mut self.held {
                ready!(held.until.as_mut().poll(cx));
                let rest = &held.bytes[held.given..];
                let count = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..count]);
                held.given += count;
                if held.given == held.bytes.len() {
                    self.held = None;
                }
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let what = self.weather.now().filter(|_| buf.filled().len() > before);
            match what {
                None => return Poll::Ready(Ok(())),
                Some(OnTheWay::Lost) => self.silent = true,
                Some(OnTheWay::Late(by)) => self.hold(&buf.filled()[before..], by),
            }
            buf.set_filled(before);
        }
    }
}

impl AsyncWrite for Exposed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
