//! One POST of JSON over a connection of its own. Redirects are not followed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use linarite_core::dps::allocation::WebhookUrl;
use linarite_env::Clock;
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dial::{BoxedStream, Dial};
use crate::config::WebhookConfig;
use crate::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_HEAD_BYTES_MAX, WEBHOOKS_MAX};
use crate::tls;

/// Why there is no answer. The words go on a sentence, and never hold the query of the address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("because the answer of {url} broke off or is no HTTP: {error}")]
    Broken { url: String, error: String },
    #[error("because the answer of {url} is longer than {WEBHOOK_ANSWER_BYTES_MAX} bytes")]
    Long { url: String },
    #[error("with status code: {status}")]
    Status { status: u16 },
    #[error("because {url} did not answer within {seconds} s")]
    Late { url: String, seconds: u64 },
    #[error("because the TLS handshake with {url} failed: {error}")]
    Tls { url: String, error: String },
    #[error("because {url} could not be reached: {error}")]
    Unreachable { url: String, error: String },
}

/// Posts, a bounded number at once.
pub(crate) struct Poster {
    dial: Arc<dyn Dial>,
    clock: Clock,
    extra_ca: Vec<Vec<u8>>,
    /// Made when it is first needed: reading the system's CAs takes a while.
    tls: OnceLock<TlsConnector>,
    limit: Duration,
    room: Semaphore,
}

impl Poster {
    /// A poster that waits and trusts as `config` says.
    ///
    /// # Errors
    /// If one of the extra CA certificates is none.
    pub(crate) fn new(
        config: &WebhookConfig,
        clock: &Clock,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, rustls::Error> {
        tls::outgoing::check_ca(&config.extra_ca)?;
        Ok(Self {
            dial,
            clock: clock.clone(),
            extra_ca: config.extra_ca.clone(),
            tls: OnceLock::new(),
            limit: config.timeout,
            room: Semaphore::new(WEBHOOKS_MAX),
        })
    }

    /// Posts `body` to `url`; gives the body of a 200.
    pub(crate) async fn post(&self, url: &WebhookUrl, body: Bytes) -> Result<Bytes, PostError> {
        // The wait for room does not count: whoever waits is not late.
        let permit = self.room.acquire().await;
        let posted = timeout(self.limit, Box::pin(self.exchange(url, body))).await;
        drop(permit);
        posted.unwrap_or_else(|_| {
            Err(PostError::Late {
                url: url.to_string(),
                seconds: self.limit.as_secs(),
            })
        })
    }

    async fn exchange(&self, url: &WebhookUrl, body: Bytes) -> Result<Bytes, PostError> {
        let broken = |error: &dyn std::fmt::Display| PostError::Broken {
            url: url.to_string(),
            error: error.to_string(),
        };
        let stream = TokioIo::new(self.open(url).await?);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(WEBHOOK_HEAD_BYTES_MAX)
            .handshake(stream)
            .await
            .map_err(|error| broken(&error))?;
        // Ends with this call, however it ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::post(url.target())
            .header(HOST, url.authority())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("linarite/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(PostError::Status { status });
        }
        let body = Limited::new(response.into_body(), WEBHOOK_ANSWER_BYTES_MAX);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(PostError::Long {
                url: url.to_string(),
            }),
            Err(error) => Err(broken(&error)),
        }
    }

    async fn open(&self, url: &WebhookUrl) -> Result<BoxedStream, PostError> {
        let dialled = self.dial.dial(url.host(), url.port()).await;
        let stream = dialled.map_err(|error| PostError::Unreachable {
            url: url.to_string(),
            error: error.to_string(),
        })?;
        if !url.tls() {
            return Ok(stream);
        }
        let failed = |error: &dyn std::fmt::Display| PostError::Tls {
            url: url.to_string(),
            error: error.to_string(),
        };
        let name = ServerName::try_from(url.host().to_owned()).map_err(|error| failed(&error))?;
        let connector = self.connector().map_err(|error| failed(&error))?;
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| failed(&error))?))
    }

    fn connector(&self) -> Result<TlsConnector, rustls::Error> {
        if let Some(connector) = self.tls.get() {
            return Ok(connector.clone());
        }
        let config = tls::outgoing::client_config(&self.extra_ca, &self.clock)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(self.tls.get_or_init(|| connector).clone())
    }
}
