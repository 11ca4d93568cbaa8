//! What the emulator told, counted, for `/metrics`.
//!
//! Counting costs an addition for each event; what is rare and has names of its own is behind a
//! lock. Everything is counted from the moment the admin listener opens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use linarite_env::Event;
use linarite_env::event::SlotName;

/// Counts of one emulator.
#[derive(Debug)]
pub(crate) struct Counters {
    hubs: BTreeMap<Arc<str>, HubCounters>,
    /// By metric and the value of its label.
    named: Mutex<BTreeMap<(&'static str, String), u64>>,
}

#[derive(Debug, Default)]
struct HubCounters {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    telemetry: AtomicU64,
    desired: AtomicU64,
    reported: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
}

/// A label beside the hub's, and what it counts.
type Series = (&'static str, fn(&HubCounters) -> &AtomicU64);

/// The metrics of [`Counters::named`]: name, label and what it counts.
const NAMED: [(&str, &str, &str); 6] = [
    (
        "linarite_registrations_total",
        "outcome",
        "Registrations at DPS by how they ended.",
    ),
    (
        "linarite_assignments_total",
        "slot",
        "Assignments by the certificate slot of the enrollment that matched.",
    ),
    (
        "linarite_handshakes_failed_total",
        "",
        "TLS handshakes that failed or took too long.",
    ),
    (
        "linarite_protocol_violations_total",
        "rule",
        "Connections ended for breaking the protocol.",
    ),
    (
        "linarite_connects_refused_total",
        "connack",
        "MQTT CONNECTs refused, by return code.",
    ),
    (
        "linarite_limits_reached_total",
        "limit",
        "What was refused for a bound.",
    ),
];

impl Counters {
    /// Counts for these hubs, all at 0.
    pub(crate) fn new(hubs: impl IntoIterator<Item = Arc<str>>) -> Self {
        let hubs = hubs.into_iter().map(|hub| (hub, HubCounters::default()));
        Self {
            hubs: hubs.collect(),
            named: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, event: &Event) {
        let [
            registrations,
            assignments,
            handshakes,
            violations,
            connects,
            limits,
        ] = NAMED.map(|(name, _, _)| name);
        match event {
            Event::TelemetryAccepted { hub, .. } => self.at(hub, |hub| &hub.telemetry),
            Event::SessionOpened { hub, .. } => self.at(hub, |hub| &hub.opened),
            Event::SessionClosed { hub, .. } => self.at(hub, |hub| &hub.closed),
            Event::SessionRefused { hub, .. } => self.at(hub, |hub| &hub.refused),
            Event::TwinChanged { hub, reported, .. } => {
                self.at(hub, |hub| {
                    if *reported {
                        &hub.reported
                    } else {
                        &hub.desired
                    }
                });
            }
            Event::MethodAnswered { hub, .. } => self.at(hub, |hub| &hub.answered),
            Event::MethodFailed { hub, .. } => self.at(hub, |hub| &hub.unanswered),
            Event::DeviceAssigned { slot, .. } => {
                self.name(registrations, "assigned");
                self.name(
                    assignments,
                    match slot {
                        Some(SlotName::Primary) => "primary",
                        Some(SlotName::Secondary) => "secondary",
                        None => "none",
                    },
                );
            }
            Event::RegistrationEnded { status, .. } => self.name(registrations, status),
            Event::RegistrationRefused { .. } => self.name(registrations, "refused"),
            Event::RegistrationChallenged { .. } => self.name(registrations, "challenged"),
            Event::HandshakeFailed { .. } => self.name(handshakes, ""),
            Event::ProtocolViolated { reason, .. } => self.name(violations, reason.rule),
            Event::ConnectRefused { connack, .. } => self.name(connects, &connack.to_string()),
            Event::LimitReached { limit } => self.name(limits, limit),
            _ => {}
        }
    }

    /// Appends everything in Prometheus's text format.
    pub(crate) fn write(&self, out: &mut String) {
        let by_hub: [(&str, &str, &[Series]); 6] = [
            (
                "linarite_sessions_opened_total",
                "Sessions that hubs let in.",
                &[("", |hub| &hub.opened)],
            ),
            (
                "linarite_sessions_closed_total",
                "Sessions that ended.",
                &[("", |hub| &hub.closed)],
            ),
            (
                "linarite_sessions_refused_total",
                "Devices that hubs refused.",
                &[("", |hub| &hub.refused)],
            ),
            (
                "linarite_telemetry_messages_total",
                "Messages stored at event endpoints.",
                &[("", |hub| &hub.telemetry)],
            ),
            (
                "linarite_twin_changes_total",
                "Changes of twins by the side that wrote.",
                &[
                    (",side=\"desired\"", |hub| &hub.desired),
                    (",side=\"reported\"", |hub| &hub.reported),
                ],
            ),
            (
                "linarite_methods_total",
                "Direct methods by how they ended.",
                &[
                    (",outcome=\"answered\"", |hub| &hub.answered),
                    (",outcome=\"failed\"", |hub| &hub.unanswered),
                ],
            ),
        ];
        for (name, help, series) in by_hub {
            head(out, name, "counter", help);
            for (hub, counters) in &self.hubs {
                for (label, pick) in series {
                    let value = pick(counters).load(Ordering::Relaxed);
                    let _ = writeln!(out, "{name}{{hub=\"{hub}\"{label}}} {value}");
                }
            }
        }
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, label, help) in NAMED {
            head(out, name, "counter", help);
            let series = named.iter().filter(|((known, _), _)| *known == name);
            for ((_, value), count) in series {
                if label.is_empty() {
                    let _ = writeln!(out, "{name} {count}");
                } else {
                    let _ = writeln!(out, "{name}{{{label}=\"{value}\"}} {count}");
                }
            }
        }
    }

    fn at(&self, hub: &Arc<str>, pick: impl FnOnce(&HubCounters) -> &AtomicU64) {
        if let Some(hub) = self.hubs.get(hub) {
            pick(hub).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Values are the emulator's own words, so there are few, and none needs escaping.
    fn name(&self, metric: &'static str, value: &str) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        *named.entry((metric, value.to_owned())).or_default() += 1;
    }
}

/// Begins a metric of that type (`counter` or `gauge`).
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_hub_and_by_name() {
        let hub: Arc<str> = "hub.test".into();
        let counters = Counters::new([Arc::clone(&hub)]);
        for _ in 0..3 {
            counters.count(&Event::TelemetryAccepted {
                hub: Arc::clone(&hub),
                device_id: "d".into(),
                message_id: None,
            });
        }
        counters.count(&Event::TwinChanged {
            hub,
            device_id: "d".into(),
            reported: true,
            version: 2,
        });
        counters.count(&Event::LimitReached {
            limit: "connections",
        });
        let mut text = String::new();
        counters.write(&mut text);
        for line in [
            "# TYPE linarite_telemetry_messages_total counter",
            "linarite_telemetry_messages_total{hub=\"hub.test\"} 3",
            "linarite_twin_changes_total{hub=\"hub.test\",side=\"desired\"} 0",
            "linarite_twin_changes_total{hub=\"hub.test\",side=\"reported\"} 1",
            "linarite_limits_reached_total{limit=\"connections\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line} in\n{text}"
            );
        }
    }
}
