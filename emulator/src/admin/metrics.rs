//! `GET /metrics`: counts and levels in Prometheus's text format.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Admin;
use crate::counters::head;
use crate::events::PartitionInfo;
use crate::limits::EVENT_STREAMS_MAX;
use crate::mqtt::mirror::Mirror;

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
    if let Some(mirror) = &admin.mirror {
        watchers(mirror, &mut out);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], out)
}

fn gauge(out: &mut String, name: &str, help: &str, value: usize) {
    head(out, name, "gauge", help);
    let _ = writeln!(out, "{name} {value}");
}

/// Labels, and what each counts.
type Series<'a> = &'a [(&'a str, &'a AtomicU64)];

/// What the telemetry mirror does.
fn watchers(mirror: &Mirror, out: &mut String) {
    let counts = &mirror.counts;
    let up = usize::from(mirror.is_up());
    gauge(
        out,
        "linarite_mirror_up",
        "Whether the telemetry mirror serves.",
        up,
    );
    gauge(
        out,
        "linarite_mirror_subscribers",
        "Subscribers of the mirror that are connected.",
        counts.subscribers.load(Ordering::Relaxed),
    );
    let table: [(&str, &str, Series<'_>); 4] = [
        (
            "linarite_mirror_messages_total",
            "Messages that entered the mirror.",
            &[("", &counts.mirrored)],
        ),
        (
            "linarite_mirror_deliveries_total",
            "Messages sent to subscribers.",
            &[("", &counts.delivered)],
        ),
        (
            "linarite_mirror_dropped_total",
            "Messages that nobody, or a slow subscriber, was told.",
            &[
                ("{where=\"mirror\"}", &counts.late),
                ("{where=\"subscriber\"}", &counts.missed),
            ],
        ),
        (
            "linarite_mirror_publishes_refused_total",
            "Connections ended because they published.",
            &[("", &counts.refused)],
        ),
    ];
    for (name, help, series) in table {
        head(out, name, "counter", help);
        for (label, count) in series {
            let value = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{label} {value}");
        }
    }
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
