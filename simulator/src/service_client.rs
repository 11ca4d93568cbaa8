//! The operator's HTTPS client: JSON in, JSON out, over whatever carries bytes.
//!
//! A few connections per host are kept while they are wanted. Every wait has an end, and an
//! error names the request and what the service said of it, never the token.

mod connections;
mod sas;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use linarite_env::Clock;
use serde_json::Value;

use crate::endpoint::{Connector, Services};
use crate::tls;
use connections::Connections;
pub use sas::ConnectionString;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is sent when the service asks for patience.
const ATTEMPTS: u32 = 30;
/// Longest pause between two attempts.
const PATIENCE_MAX: Duration = Duration::from_secs(120);
/// Largest answer that is read, in bytes.
const BODY_MAX: usize = 4 << 20;
/// Where a list in pages goes on.
const CONTINUATION: &str = "x-ms-continuation";
/// Life of a token, in seconds.
const TOKEN_SECONDS: i64 = 3600;

/// Why a request came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The connection string cannot be used.
    #[error("cannot use the connection string: {0}")]
    ConnectionString(&'static str),
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No answer came.
    #[error("{method} {path}: {reason}")]
    Unanswered {
        method: Method,
        path: String,
        reason: String,
    },
    /// The service refused.
    #[error("{method} {path}: {status}{}", said(.code, .message))]
    Refused {
        method: Method,
        path: String,
        status: StatusCode,
        /// Azure's error number; 0 where the answer has none.
        code: u64,
        /// What the answer said.
        message: String,
    },
}

fn said(code: &u64, message: &str) -> String {
    match (code, message) {
        (0, "") => String::new(),
        (0, message) => format!(", {message}"),
        (code, message) => format!(", {code} {message}"),
    }
}

impl ServiceError {
    /// The status of the answer, if one came.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What vouches for the operator.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// A token of the management plane.
    Bearer(&'static str),
    /// A key of a service's connection string.
    Sas(Arc<ConnectionString>),
}

/// One request to a service.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// HTTP method.
    pub method: Method,
    /// Host name of the service.
    pub host: &'a str,
    /// Path and query.
    pub path: String,
    /// Who asks.
    pub authorization: &'a Authorization,
    /// `If-Match`, as the service last gave it.
    pub if_match: Option<&'a str>,
    /// JSON body.
    pub body: Option<Value>,
}

/// A client for all hosts of one run. Cheap to share.
pub struct ServiceClient {
    connections: Connections,
    clock: Clock,
}

impl ServiceClient {
    /// A client that reaches `services` through `connector`.
    ///
    /// # Errors
    /// [`ServiceError::Tls`] if the services' CA cannot be used.
    pub fn new(
        services: &Services,
        connector: Arc<dyn Connector>,
        clock: Clock,
    ) -> Result<Self, ServiceError> {
        let tls = tls::connector(&services.ca_der, None, &clock)
            .map_err(|error| ServiceError::Tls(error.to_string()))?;
        Ok(Self {
            connections: Connections::new(connector, tls),
            clock,
        })
    }

    /// Closes connections that wait for use.
    pub fn rest(&self) {
        self.connections.rest();
    }

    /// Sends `call` and reads the answer; waits and sends again where the service answers 429.
    ///
    /// Gives JSON `null` for an answer without a body.
    ///
    /// # Errors
    /// [`ServiceError::Unanswered`] without an answer within 60 s, [`ServiceError::Refused`]
    /// for any other status than success.
    pub async fn send(&self, call: &Call<'_>) -> Result<Value, ServiceError> {
        self.send_page(call, None).await.map(|(body, _)| body)
    }

    /// The same for a list in pages: gives what is to be sent as `after` for the next page.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_page(
        &self,
        call: &Call<'_>,
        after: Option<&str>,
    ) -> Result<(Value, Option<String>), ServiceError> {
        let mut attempt = 1;
        loop {
            let unanswered = |reason: String| ServiceError::Unanswered {
                method: call.method.clone(),
                path: call.path.clone(),
                reason,
            };
            let answer = tokio::time::timeout(TIMEOUT, self.exchange(call, after)).await;
            let (head, body) = answer
                .map_err(|_| unanswered(format!("no answer within {} s", TIMEOUT.as_secs())))?
                .map_err(unanswered)?;
            let text = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
            let status = head.status;
            if status.is_success() {
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                return Ok((body, text(CONTINUATION)));
            }
            if status != StatusCode::TOO_MANY_REQUESTS || attempt == ATTEMPTS {
                return Err(refused(call, status, &body));
            }
            attempt += 1;
            let wait = text(header::RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok());
            let wait = wait.map(Duration::from_secs);
            tokio::time::sleep(wait.unwrap_or(Duration::from_secs(5)).min(PATIENCE_MAX)).await;
        }
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        after: Option<&str>,
    ) -> Result<(Parts, Bytes), String> {
        let request = self.request(call, after)?;
        let mut lease = self
            .connections
            .lease(call.host)
            .await
            .map_err(|e| e.to_string())?;
        let answer = lease
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, BODY_MAX)
            .collect()
            .await
            .map_err(|e| e.to_string())?;
        lease.keep();
        Ok((head, body.to_bytes()))
    }

    fn request(
        &self,
        call: &Call<'_>,
        after: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let token = match call.authorization {
            Authorization::Bearer(token) => format!("Bearer {token}"),
            Authorization::Sas(key) => key.token(self.clock.now().plus(TOKEN_SECONDS)),
        };
        let mut token = HeaderValue::try_from(token).map_err(|error| error.to_string())?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.path.as_str())
            .header(header::HOST, call.host)
            .header(header::AUTHORIZATION, token);
        if let Some(etag) = call.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if let Some(after) = after {
            request = request.header(CONTINUATION, after);
        }
        let body = match &call.body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
                Bytes::from(body.to_string())
            }
        };
        request
            .header(header::CONTENT_LENGTH, body.len())
            .body(Full::new(body))
            .map_err(|error| error.to_string())
    }
}

fn refused(call: &Call<'_>, status: StatusCode, body: &[u8]) -> ServiceError {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    // The management plane wraps its errors, the hub spells its members in capitals.
    let body = body.get("error").unwrap_or(&body);
    let member = |names: &[&str]| names.iter().find_map(|name| body.get(*name)).cloned();
    let code = member(&["errorCode", "code"])
        .and_then(|code| code.as_u64())
        .unwrap_or(0);
    let message = member(&["message", "Message"]);
    ServiceError::Refused {
        method: call.method.clone(),
        path: call.path.clone(),
        status,
        code,
        message: message
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_request_and_words_but_no_token() {
        let key = "HostName=h;SharedAccessKeyName=p;SharedAccessKey=c2VjcmV0";
        let sas = Authorization::Sas(Arc::new(ConnectionString::parse(key).unwrap()));
        let call = Call {
            method: Method::PUT,
            host: "h",
            path: "/enrollments/dev-1?api-version=2021-10-01".to_owned(),
            authorization: &sas,
            if_match: None,
            body: None,
        };
        let body = br#"{"errorCode":409203,"message":"Precondition failed."}"#;
        let shown = refused(&call, StatusCode::CONFLICT, body).to_string();
        assert_eq!(
            shown,
            "PUT /enrollments/dev-1?api-version=2021-10-01: 409 Conflict, 409203 Precondition failed."
        );
        assert!(!format!("{call:?}").contains("c2VjcmV0"));
    }
}
