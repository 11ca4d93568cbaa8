//! Listeners of TCP: accept and hand on, nothing else.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Gives every stream to `serve`, which must not wait, until `cancel`.
///
/// An error of the system (no descriptors left) is waited out for 10 ms, doubling to 1 s.
pub(crate) async fn accept(
    listener: TcpListener,
    cancel: CancellationToken,
    serve: impl Fn(TcpStream),
) {
    let mut pause = Duration::from_millis(10);
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = Duration::from_millis(10);
                // Small packets in both directions; waiting to fill them only adds latency.
                let _ = stream.set_nodelay(true);
                serve(stream);
            }
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}
