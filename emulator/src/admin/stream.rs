//! What the event streams have in common: where they begin, when they end, how they are written.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use linarite_env::UnixMillis;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::parameters::{Parameters, Refused};
use crate::limits::STREAM_SIGN_OF_LIFE;

/// Where a stream begins. `P` is a place in it, as the part of an event's id behind the dash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<P> {
    Earliest,
    Latest,
    /// At this number, whatever it counts.
    Number(u64),
    /// Where another stream ended.
    Place(P),
}

/// When a stream ends, unless the emulator does before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Until {
    /// After so many events.
    pub(super) left: Option<u64>,
    /// Whether to wait for more than there is.
    pub(super) follow: bool,
}

impl Until {
    pub(super) fn read(parameters: &mut Parameters) -> Result<Self, Refused> {
        let left = parameters.read("limit", "a number of events")?;
        let follow = parameters.read("follow", "true or false")?.unwrap_or(true);
        Ok(Self { left, follow })
    }

    /// Whether the last event was told.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// An event was told.
    pub(super) fn count(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

/// Reads `from` and `Last-Event-ID`, of which the latter counts: a client that connects again by
/// itself repeats the former.
///
/// An id of an emulator that began at another moment is a place in what is no more; all there is
/// now is told.
pub(super) fn begin<P>(
    parameters: &mut Parameters,
    headers: &HeaderMap,
    began: UnixMillis,
    place: impl Fn(&str) -> Option<P>,
) -> Result<Start<P>, Refused> {
    let from = parameters.take("from")?;
    let seen = headers.get("last-event-id");
    let seen = seen.map(|id| id.to_str().unwrap_or_default().to_owned());
    let (name, text) = match (seen, from) {
        (Some(id), _) => ("Last-Event-ID", id),
        (None, Some(from)) => ("from", from),
        (None, None) => return Ok(Start::Latest),
    };
    match (name, text.as_str()) {
        ("from", "earliest") => return Ok(Start::Earliest),
        ("from", "latest") => return Ok(Start::Latest),
        ("from", text) if text.parse::<u64>().is_ok() => {
            return Ok(Start::Number(text.parse().unwrap_or_default()));
        }
        _ => {}
    }
    let read = text.split_once('-').and_then(|(then, rest)| {
        let then = u64::from_str_radix(then, 16).ok()?;
        Some((then == began.0.unsigned_abs(), place(rest)?))
    });
    match read {
        Some((true, place)) => Ok(Start::Place(place)),
        Some((false, _)) => Ok(Start::Earliest),
        None => Err(Refused::Wrong(format!(
            "{name}: expected earliest, latest, a number or the id of an event, not {text:?}"
        ))),
    }
}

/// The id of an event, behind which `place` is.
pub(super) fn id(began: UnixMillis, place: &str) -> String {
    format!("{:x}-{place}", began.0.unsigned_abs())
}

/// Tells that `count` events fell out before this reader came to them.
pub(super) fn dropped(count: u64) -> Event {
    let data = json!({ "count": count }).to_string();
    Event::default().event("dropped").data(data)
}

/// Room for one stream more.
pub(super) fn permit(streams: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refused> {
    let permit = Arc::clone(streams).try_acquire_owned();
    permit.map_err(|_| Refused::Full)
}

/// The answer that is `events`. Nothing is asked of them before there is room to write.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let alive = KeepAlive::new().interval(STREAM_SIGN_OF_LIFE);
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(alive)
        .into_response()
}
