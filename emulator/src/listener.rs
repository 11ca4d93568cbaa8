//! Listeners of TCP: accept and hand on, nothing else.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The first pause after the system ran out of something; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

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
    use rustix::io::Errno;

    use super::*;

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
