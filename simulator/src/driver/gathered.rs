//! A stream whose writes leave together once their writer has said all he had to say.
//!
//! What a device has to say in one go would otherwise leave in pieces, each with a system call and
//! a wake-up of the peer: the end of its handshake and CONNECT, or an acknowledgement, DISCONNECT
//! and the good-bye of TLS. Operating systems offer the same as `TCP_CORK`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait at the most before a writer has to wait as well.
const PENDING_MAX: usize = 16 * 1024;

/// When what was written leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// When told to leave, with the next read, or at the end. A flush changes nothing, as TLS flushes
    /// after each of its steps: for who says when he has said all.
    WhenTold,
    /// With a flush at the latest.
    WhenFlushed,
}

/// Holds writes back.
pub(super) struct Gathered<S> {
    stream: S,
    leaving: Leaving,
    /// What was written and has not left; without memory when all of it has.
    pending: Vec<u8>,
    /// How much of it has left.
    gone: usize,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S, leaving: Leaving) -> Self {
        Self {
            stream,
            leaving,
            pending: Vec::new(),
            gone: 0,
        }
    }

    fn gather(&mut self, bytes: &[u8]) -> usize {
        self.pending.extend_from_slice(bytes);
        bytes.len()
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes all that waits.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.gone..).filter(|it| !it.is_empty()) {
            let gone = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if gone == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gone += gone;
        }
        if self.gone == 0 {
            return Poll::Ready(Ok(()));
        }
        (self.pending, self.gone) = (Vec::new(), 0);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Makes room for a write.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending.len() < PENDING_MAX {
            return Poll::Ready(Ok(()));
        }
        self.poll_leave(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A peer that does not read may still have something to say.
        if let Poll::Ready(left) = self.poll_leave(cx) {
            left?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(self.gather(bytes)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(slices.iter().map(|slice| self.gather(slice)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.leaving {
            Leaving::WhenTold => Poll::Ready(Ok(())),
            Leaving::WhenFlushed => self.poll_leave(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The rest is said by dropping the stream, which comes next.
        self.poll_leave(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

    /// What `peer` can read within no time.
    async fn heard(peer: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut chunk = [0; 64];
        let read = timeout(Duration::from_millis(1), peer.read(&mut chunk)).await;
        chunk[..read.map_or(0, Result::unwrap)].to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn writes_leave_together_with_the_next_read() {
        let (near, mut peer) = duplex(64);
        let mut near = Gathered::new(near, Leaving::WhenTold);
        near.write_all(b"one").await.unwrap();
        near.write_all(b" two").await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(heard(&mut peer).await, b"");
        assert_eq!(heard(&mut near).await, b"");
        assert_eq!(heard(&mut peer).await, b"one two");
        assert_eq!(near.pending.capacity(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn writes_leave_together_when_flushed() {
        let (near, mut peer) = duplex(64);
        let mut near = Gathered::new(near, Leaving::WhenFlushed);
        near.write_all(b"one").await.unwrap();
        near.write_all(b" two").await.unwrap();
        assert_eq!(heard(&mut peer).await, b"");
        near.flush().await.unwrap();
        assert_eq!(heard(&mut peer).await, b"one two");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_leaves_before_the_end() {
        let (near, mut peer) = duplex(64);
        let mut near = Gathered::new(near, Leaving::WhenTold);
        near.write_all(b"bye").await.unwrap();
        near.shutdown().await.unwrap();
        drop(near);
        assert_eq!(heard(&mut peer).await, b"bye");
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_heard_and_holds_up_who_writes_too_much() {
        let (near, mut peer) = duplex(64);
        let mut near = Gathered::new(near, Leaving::WhenTold);
        near.write_all(&[7; PENDING_MAX]).await.unwrap();
        let more = timeout(Duration::from_secs(60), near.write_all(b"more")).await;
        assert!(more.is_err());
        peer.write_all(b"slowly").await.unwrap();
        assert_eq!(heard(&mut near).await, b"slowly");
        let mut all = vec![0; PENDING_MAX + 4];
        let (written, read) = tokio::join!(
            async {
                near.write_all(b"more").await?;
                near.shutdown().await
            },
            peer.read_exact(&mut all),
        );
        written.unwrap();
        read.unwrap();
        assert!(all.ends_with(b"\x07more"));
    }
}
