//! Listeners of TCP: accept and hand on, nothing else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// The first pause after the system ran out of something; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted. Who comes when as many wait is not refused: Linux
/// drops the attempt, and the peer tries again after a second, then two. A fleet that comes back in
/// one moment must not measure that. The system has a bound of its own (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// Listens at `address`.
///
/// # Errors
/// If the address cannot be had.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A listener that comes back needs not wait for connections of its predecessor. On Windows
    // the same option lets two listeners share an address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Gives every stream to `serve`, which must not wait, until `cancel`.
///
/// What the system has run out of (descriptors, memory) is waited for, 10 ms at first, doubling
/// to 1 s. Any other error is that of one connection and holds up no other.
pub(crate) async fn accept(
    listener: TcpListener,
    cancel: CancellationToken,
    serve: impl Fn(TcpStream),
) {
    let mut pause = PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = PAUSE_MIN;
                // Small packets in both directions; waiting to fill them only adds latency.
                let _ = stream.set_nodelay(true);
                serve(stream);
            }
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "accepting failed");
                // The connection is still in the queue, so the next call fails at once for as
                // long as nothing is given back: without a pause this loop would eat a core.
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
            // The peer was gone before it was accepted (ECONNABORTED), or Linux handed on an error
            // of its network (accept(2), "Error handling"). That connection has left the queue;
            // those behind it are well, and a pause would let one peer hold up all others.
            Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
        }
    }
}

/// Whether the process or the system lacks what any connection needs.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rustix::io::Errno;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_crowd_that_comes_before_anybody_is_accepted_is_let_wait() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        // No more than the system lets wait.
        let room = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let room = room.map_or(1_000, |room| room.trim().parse().unwrap());
        let mut crowd = Vec::new();
        for number in 0..room.min(1_000) {
            // Without room it would wait for ever.
            let connected = timeout(Duration::from_secs(60), TcpStream::connect(address)).await;
            let connected = connected.unwrap_or_else(|_| panic!("no room for number {number}"));
            crowd.push(connected.unwrap());
        }
        for stream in crowd {
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
        }
    }

    #[test]
    fn only_a_lack_of_descriptors_or_memory_is_waited_out() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(is_exhausted(&errno.into()), "{errno}");
        }
        for errno in [
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::HOSTUNREACH,
            Errno::INTR,
        ] {
            assert!(!is_exhausted(&errno.into()), "{errno}");
        }
    }
}
