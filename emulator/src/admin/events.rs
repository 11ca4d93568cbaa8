//! `GET /events`: what devices sent to a hub and what the hub said itself, as server-sent events.
//!
//! Each event is a line of JSON (`wire::event`) with an id to go on from. The hub's own log is the
//! only buffer: a reader who is too slow for it is told how many fell out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use linarite_env::UnixMillis;
use tokio::sync::OwnedSemaphorePermit;

use super::Admin;
use super::parameters::{Parameters, Refused};
use super::stream::{Start, Until, answer, begin, dropped, id, permit};
use crate::events::{EventReader, HubEvent, HubEvents, StartPosition};
use crate::limits::STREAM_BATCH;
use crate::service::hub::Hub;
use crate::wire;

/// Sequence number of the next event of each partition that is read.
type Positions = BTreeMap<u16, u64>;

/// One reader.
struct Watcher {
    hub: Arc<Hub>,
    began: UnixMillis,
    reader: EventReader,
    /// Behind the last event that was told.
    told: Positions,
    /// Read and not yet told.
    events: VecDeque<Arc<HubEvent>>,
    missed: u64,
    until: Until,
    /// Where it ends, unless it follows.
    ends: Positions,
    _permit: OwnedSemaphorePermit,
}

/// Parameters: `hub` (a host name, needed if there are several), `partition`, `from` (`earliest`,
/// `latest` by default, an offset in a partition, or an event's id), `limit`, `follow`.
pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let watcher = match open(&admin, Parameters::new(query), &headers) {
        Ok(watcher) => watcher,
        Err(refused) => return refused.into_response(),
    };
    answer(stream::unfold(watcher, |mut watcher| async {
        Some((watcher.next().await?, watcher))
    }))
}

fn open(
    admin: &Admin,
    mut parameters: Parameters,
    headers: &HeaderMap,
) -> Result<Watcher, Refused> {
    let hub = hub(admin, &mut parameters)?;
    let stopped = admin.services.cancel.clone();
    let events = HubEvents::new(Arc::clone(&hub.events), stopped);
    let count = events.partition_count();
    let expected = format!("0 to {}", count - 1);
    let partition = parameters.read("partition", &expected)?;
    if partition.is_some_and(|partition| partition >= count) {
        return Err(Refused::Wrong(format!("partition: expected {expected}")));
    }
    let from = begin(&mut parameters, headers, admin.began, places)?;
    let until = Until::read(&mut parameters)?;
    parameters.end()?;
    let permit = permit(&admin.streams)?;
    let reader = reader(&events, partition, from)?;
    let end = |(partition, _)| {
        let last = events.partition(partition).and_then(|info| info.last);
        (partition, last.map_or(0, |(number, _, _)| number + 1))
    };
    Ok(Watcher {
        began: admin.began,
        told: reader.positions().collect(),
        ends: reader.positions().map(end).collect(),
        hub,
        reader,
        events: VecDeque::new(),
        missed: 0,
        until,
        _permit: permit,
    })
}

fn hub(admin: &Admin, parameters: &mut Parameters) -> Result<Arc<Hub>, Refused> {
    let hubs = &admin.services.hubs;
    let names = || {
        let names = hubs.iter().map(|hub| hub.host.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match (parameters.take("hub")?, &hubs[..]) {
        (None, [only]) => Ok(Arc::clone(only)),
        (None, _) => Err(Refused::Wrong(format!("hub: expected one of {}", names()))),
        (Some(name), _) => admin.services.hub(&name).ok_or_else(|| {
            let names = names();
            Refused::Wrong(format!("hub: expected one of {names}, not {name:?}"))
        }),
    }
}

fn reader(
    events: &HubEvents,
    partition: Option<u16>,
    from: Start<Positions>,
) -> Result<EventReader, Refused> {
    let from = match from {
        Start::Earliest => StartPosition::Earliest,
        Start::Latest => StartPosition::Latest,
        Start::Number(offset) if partition.is_some() => StartPosition::Offset(offset),
        Start::Number(_) => {
            let text = "from: an offset is one of a partition, which has to be named too";
            return Err(Refused::Wrong(text.to_owned()));
        }
        Start::Place(positions) => {
            let positions: Vec<_> = positions.into_iter().collect();
            let these = positions.iter().map(|(partition, _)| *partition);
            let same = match partition {
                Some(partition) => these.eq([partition]),
                None => these.eq(0..events.partition_count()),
            };
            let reader = events.resume(&positions).filter(|_| same);
            let text = "Last-Event-ID: the id is one of a stream of other partitions";
            return reader.ok_or_else(|| Refused::Wrong(text.to_owned()));
        }
    };
    let reader = match partition {
        None => Some(events.read_all(from)),
        Some(partition) => events.read(partition, from),
    };
    reader.ok_or_else(|| Refused::Wrong("partition: there is no such partition".to_owned()))
}

/// `PARTITION:NUMBER`, more of them behind commas.
fn places(text: &str) -> Option<Positions> {
    let pairs = text.split(',').map(|pair| {
        let (partition, number) = pair.split_once(':')?;
        Some((partition.parse().ok()?, number.parse().ok()?))
    });
    pairs.collect()
}

impl Watcher {
    async fn next(&mut self) -> Option<Event> {
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
            let batch = if self.until.follow {
                self.reader.next(STREAM_BATCH).await?
            } else if self.reader.positions().all(|(partition, next)| {
                let end = self.ends.get(&partition);
                end.is_none_or(|end| next >= *end)
            }) {
                return None;
            } else {
                self.reader.ready(STREAM_BATCH)
            };
            self.missed = batch.missed;
            self.events = batch.events.into();
        }
    }

    fn tell(&mut self, event: &HubEvent) -> Event {
        self.until.count();
        self.told
            .insert(event.partition(), event.sequence_number() + 1);
        let places = self.told.iter();
        let places: Vec<_> = places
            .map(|(partition, next)| format!("{partition}:{next}"))
            .collect();
        Event::default()
            .id(id(self.began, &places.join(",")))
            .data(wire::event::event(self.hub.host.as_str(), event))
    }
}
