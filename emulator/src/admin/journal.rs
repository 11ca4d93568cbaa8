//! `GET /events/journal`: everything the emulator tells of itself, as server-sent events.
//!
//! Each event is one JSON object: `at`, `event` (what happened), and what belongs to that. There
//! are names, fingerprints and rule numbers in it, never a key or a token.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::Event as Told;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use linarite_env::{Event, Stamped};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Admin;
use super::parameters::{Parameters, Refused};
use super::stream::{Start, Until, answer, begin, dropped, id, permit};
use crate::limits::EVENT_BATCH_MAX;
use crate::names::rfc3339;
use crate::store::journal::Read;

/// One reader.
struct Watcher {
    admin: Arc<Admin>,
    /// The place of the event to be told next.
    place: u64,
    /// Read and not yet told.
    events: VecDeque<Arc<Stamped>>,
    missed: u64,
    until: Until,
    /// Where it ends, unless it follows.
    end: u64,
    _permit: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event,
}

/// Parameters: `from` (`earliest`, `latest` by default, a place or an event's id), `limit`,
/// `follow`.
pub(super) async fn journal(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let watcher = match open(admin, Parameters::new(query), &headers) {
        Ok(watcher) => watcher,
        Err(refused) => return refused.into_response(),
    };
    answer(stream::unfold(watcher, |mut watcher| async {
        Some((watcher.next().await?, watcher))
    }))
}

fn open(
    admin: Arc<Admin>,
    mut parameters: Parameters,
    headers: &HeaderMap,
) -> Result<Watcher, Refused> {
    let place = |text: &str| text.parse::<u64>().ok();
    let from = begin(&mut parameters, headers, admin.began, place)?;
    let until = Until::read(&mut parameters)?;
    parameters.end()?;
    let permit = permit(&admin.streams)?;
    let (beginning, end) = admin.journal.bounds();
    let place = match from {
        Start::Earliest => beginning,
        Start::Latest => end,
        Start::Number(place) | Start::Place(place) => place.min(end),
    };
    Ok(Watcher {
        admin,
        place,
        events: VecDeque::new(),
        missed: 0,
        until,
        end,
        _permit: permit,
    })
}

impl Watcher {
    async fn next(&mut self) -> Option<Told> {
        loop {
            if self.until.is_over() {
                return None;
            }
            if self.missed > 0 {
                return Some(dropped(std::mem::take(&mut self.missed)));
            }
            if let Some(event) = self.events.pop_front() {
                return Some(self.tell(&event));
            }
            if !self.until.follow && self.place >= self.end {
                return None;
            }
            let read = self.read().await?;
            self.missed = read.missed;
            self.place = read.first;
            self.events = read.events.into();
        }
    }

    /// What comes next; `None` once the emulator has stopped and all was read.
    async fn read(&self) -> Option<Read> {
        let journal = &self.admin.journal;
        tokio::select! {
            biased;
            read = journal.read(self.place, EVENT_BATCH_MAX) => Some(read),
            () = self.admin.services.cancel.cancelled() => None,
        }
    }

    fn tell(&mut self, event: &Stamped) -> Told {
        self.until.count();
        self.place += 1;
        let line = Line {
            at: rfc3339(event.at),
            event: &event.event,
        };
        let data = serde_json::to_string(&line).unwrap_or_default();
        Told::default()
            .id(id(self.admin.began, &self.place.to_string()))
            .data(data)
    }
}
