//! Follows the journal of an admin listener: server-sent events, one JSON object each.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use linarite_env::{Event, Events, UnixMillis};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Longest line of the stream, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One event as the journal tells it.
#[derive(Deserialize)]
struct Told {
    at: String,
    #[serde(flatten)]
    event: Event,
}

/// A stream that is being followed.
pub(super) struct Journal {
    ended: CancellationToken,
    following: JoinHandle<anyhow::Result<()>>,
    /// Carries the bytes.
    _connection: AbortOnDropHandle<()>,
}

impl Journal {
    /// Hands everything that happens from now on to the listeners of `events`.
    pub(super) async fn follow(admin: SocketAddr, events: &Events) -> anyhow::Result<Self> {
        let place = || format!("the admin listener at {admin}");
        let stream = TcpStream::connect(admin).await;
        let stream = stream.with_context(|| format!("cannot reach {}", place()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let request = Request::get("/events/journal")
            .header(header::HOST, admin.to_string())
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await.with_context(place)?;
        let status = answer.status();
        ensure!(status.is_success(), "{} answered {status}", place());
        let (ended, events) = (CancellationToken::new(), events.clone());
        let cancelled = ended.clone();
        let following = tokio::spawn(async move {
            let read = read(answer.into_body(), &events);
            tokio::select! {
                biased;
                read = read => read,
                () = cancelled.cancelled() => Ok(()),
            }
        });
        Ok(Self {
            ended,
            following,
            _connection: connection,
        })
    }

    /// Stops; an error if anything was missed until now.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.ended.cancel();
        self.following.await.context("reading the journal")?
    }
}

/// Reads until the stream ends, which it should not.
async fn read(mut body: Incoming, events: &Events) -> anyhow::Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.context("the journal broke off")?.into_data() else {
            continue;
        };
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            hear(&String::from_utf8_lossy(&line), events)?;
        }
        ensure!(
            rest.len() <= LINE_BYTES_MAX,
            "a line of the journal is too long"
        );
    }
    bail!("the journal ended; is the emulator still up?")
}

/// Hands on what a line tells.
fn hear(line: &str, events: &Events) -> anyhow::Result<()> {
    let line = line.trim_end();
    ensure!(
        line != "event: dropped",
        "the journal ran ahead of its reader"
    );
    let Some(data) = line.strip_prefix("data:") else {
        // Ids and signs of life.
        return Ok(());
    };
    let told: Told = serde_json::from_str(data.trim_start())
        .context("the journal tells what this version does not know; is it the same linarite?")?;
    let at = OffsetDateTime::parse(&told.at, &Rfc3339).context("the moment of an event")?;
    let at = i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000))?;
    events.emit_as_of(UnixMillis(at), told.event);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use linarite_env::Clock;

    use super::*;

    #[test]
    fn a_line_becomes_an_event_of_its_moment() {
        let events = Events::new(Clock::system());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        events.listen(move |stamped| keep.lock().unwrap().push(stamped.clone()));
        let fingerprint = "AB".repeat(32);
        let line = format!(
            r#"data: {{"at":"2026-01-01T00:00:01.5Z","event":"SessionRefused","hub":"h","deviceId":"d","presented":"{fingerprint}","reason":{{"rule":"R-G10","code":401003,"text":"no"}}}}"#
        );
        hear(&line, &events).unwrap();
        for other in ["id: 1-2\n", "\n", ": alive\n"] {
            hear(other, &events).unwrap();
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].at, UnixMillis(1_767_225_601_500));
        let Event::SessionRefused {
            presented, reason, ..
        } = &heard[0].event
        else {
            panic!("{:?}", heard[0])
        };
        assert_eq!(presented.unwrap().0, [0xAB; 32]);
        assert_eq!((reason.rule, reason.code), ("R-G10", 401_003));
    }

    #[test]
    fn what_is_missed_or_unknown_is_no_verdict() {
        let events = Events::new(Clock::system());
        for line in [
            "event: dropped",
            "data: {\"at\":\"x\",\"event\":\"Nothing\"}",
            "data: {",
        ] {
            assert!(hear(line, &events).is_err(), "{line}");
        }
    }
}
