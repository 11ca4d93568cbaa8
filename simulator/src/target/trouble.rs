//! Trouble at an emulator in another process: asked for at its admin listener, and taken away
//! again, for it may be somebody else's as well.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use linarite_env::Clock;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::fault::DpsAnswer;
use crate::fault::service::{DpsErrors, Trouble, Troubling};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The admin listener, and what it was asked for.
pub(super) struct Admin {
    at: SocketAddr,
    clock: Clock,
    /// What ends each trouble, by a DELETE.
    made: Mutex<Vec<String>>,
}

impl Admin {
    pub(super) fn new(at: SocketAddr) -> Self {
        Self {
            at,
            clock: Clock::system(),
            made: Mutex::default(),
        }
    }

    /// Ends all trouble that was made here and is not over.
    pub(super) async fn calm(&self) -> anyhow::Result<()> {
        let made = std::mem::take(&mut *self.made());
        for path in made {
            let (status, text, _) = self.ask(Method::DELETE, &path).await?;
            let over = status == StatusCode::NOT_FOUND;
            ensure!(status.is_success() || over, "DELETE {path}: {text}");
        }
        Ok(())
    }

    async fn make_dps(&self, errors: DpsErrors) -> anyhow::Result<()> {
        let DpsErrors {
            from,
            until,
            share,
            answer,
        } = errors;
        let now = self.clock.now_ms();
        let begins = from.since(now).max(0);
        let lasts = until.since(now) - begins;
        if lasts <= 0 {
            return Ok(());
        }
        let status = match answer {
            DpsAnswer::Throttled(seconds) => format!("429&retry_after={seconds}"),
            DpsAnswer::InternalError => "500".to_owned(),
            DpsAnswer::Unavailable => "503".to_owned(),
        };
        let begins = match begins {
            0 => String::new(),
            ms => format!("&in={}", seconds(ms)),
        };
        let path = format!(
            "/faults/dps?status={status}&share={}/{}{begins}&for={}",
            share.hits,
            share.of,
            seconds(lasts)
        );
        let place = self.require(&path).await?;
        let place =
            place.context("the answer does not say how to end it; is it the same linarite?")?;
        self.made().push(place);
        Ok(())
    }

    async fn make_restart(&self, host: &str, down_for: Duration) -> anyhow::Result<()> {
        let lasts = i64::try_from(down_for.as_millis()).unwrap_or(i64::MAX);
        let hub = format!("/faults/hub-restart?hub={host}");
        // What would be over at once is a restart all the same.
        self.require(&format!("{hub}&for={}", seconds(lasts.max(1))))
            .await?;
        self.made().push(hub);
        Ok(())
    }

    /// Asks for trouble; gives where it can be ended, if that is said.
    async fn require(&self, path: &str) -> anyhow::Result<Option<String>> {
        let (status, text, place) = self.ask(Method::POST, path).await?;
        if !status.is_success() {
            bail!("the emulator refuses it: {}", text.trim_end());
        }
        Ok(place)
    }

    /// Status, text and `Location` of an answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
    ) -> anyhow::Result<(StatusCode, String, Option<String>)> {
        let asked = timeout(PATIENCE, self.exchange(method, path)).await;
        let place = || format!("the admin listener at {}", self.at);
        let asked = asked.with_context(|| format!("{} does not answer", place()))?;
        asked.with_context(place)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
    ) -> anyhow::Result<(StatusCode, String, Option<String>)> {
        let stream = TcpStream::connect(self.at).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.at.to_string())
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let place = head.headers.get(header::LOCATION);
        let place = place
            .and_then(|place| place.to_str().ok())
            .map(str::to_owned);
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        Ok((
            head.status,
            String::from_utf8_lossy(&body).into_owned(),
            place,
        ))
    }

    fn made(&self) -> MutexGuard<'_, Vec<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble for Admin {
    fn dps(&self, errors: DpsErrors) -> Troubling<'_> {
        Box::pin(async move {
            let made = self.make_dps(errors).await;
            made.map_err(|error| format!("{error:#}"))
        })
    }

    fn restart_hub<'a>(&'a self, host: &'a str, down_for: Duration) -> Troubling<'a> {
        Box::pin(async move {
            let made = self.make_restart(host, down_for).await;
            made.map_err(|error| format!("{error:#}"))
        })
    }
}

/// Milliseconds as the admin listener reads them.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
