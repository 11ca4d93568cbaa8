//! `GET /metrics`: counts and levels in Prometheus's text format.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Admin;
use crate::counters::head;
use crate::events::PartitionInfo;
use crate::limits::EVENT_STREAMS_MAX;

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let mut out = String::new();
    admin.counters.write(&mut out);
    let (room, most) = &admin.room;
    gauge(
        &mut out,
        "linarite_connections",
        "Connections of devices and back ends that are open.",
        most.saturating_sub(room.available_permits()),
    );
    gauge(
        &mut out,
        "linarite_event_streams",
        "Event streams of the admin listener that are open.",
        EVENT_STREAMS_MAX.saturating_sub(admin.streams.available_permits()),
    );
    endpoints(&admin, &mut out);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], out)
}

fn gauge(out: &mut String, name: &str, help: &str, value: usize) {
    head(out, name, "gauge", help);
    let _ = writeln!(out, "{name} {value}");
}

/// What event endpoints keep and lost, partition by partition.
fn endpoints(admin: &Admin, out: &mut String) {
    type Pick = fn(&PartitionInfo) -> u64;
    let table: [(&str, &str, &str, Pick); 4] = [
        (
            "linarite_events_kept",
            "gauge",
            "Events kept at an event endpoint.",
            |info| info.events as u64,
        ),
        (
            "linarite_events_kept_bytes",
            "gauge",
            "About how much memory they take.",
            |info| info.bytes,
        ),
        (
            "linarite_events_expired_total",
            "counter",
            "Events that fell out because they were too old.",
            |info| info.expired,
        ),
        (
            "linarite_events_displaced_total",
            "counter",
            "Events that fell out because there was no room.",
            |info| info.displaced,
        ),
    ];
    for (name, kind, help, pick) in table {
        head(out, name, kind, help);
        for hub in admin.services.hubs.iter() {
            for partition in 0..hub.events.partition_count() {
                let value = pick(&hub.events.info(partition));
                let hub = &hub.host;
                let _ = writeln!(
                    out,
                    "{name}{{hub=\"{hub}\",partition=\"{partition}\"}} {value}"
                );
            }
        }
    }
}
