//! Topics of the mirror: `telemetry/{deviceId}` and `telemetry/{deviceId}/{moduleId}`, and the
//! filters that ask for them.

use linarite_core::id::IdentityId;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rmqtt_codec::types::QoS;

use crate::limits::MIRROR_FILTERS_MAX;

const ROOT: &str = "telemetry";

/// What would end a level, or be taken for a wildcard; and `%`, so that ids stay apart.
const SPECIAL: &AsciiSet = &CONTROLS.add(b'%').add(b'+').add(b'#').add(b'/');

/// Where messages of a device or module appear. Each id is one level, percent-encoded.
pub(super) fn topic(id: &IdentityId) -> String {
    let level = |text| utf8_percent_encode(text, SPECIAL);
    let device = level(id.device_id());
    match id.module_id() {
        None => format!("{ROOT}/{device}"),
        Some(module) => format!("{ROOT}/{device}/{}", level(module)),
    }
}

/// What one subscriber asked for.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<(Box<str>, QoS)>);

impl Filters {
    /// Adds a filter, or changes its QoS; gives what is granted. `None` for a filter that can
    /// match nothing here, or is one too many.
    pub(super) fn add(&mut self, filter: &str, qos: QoS) -> Option<QoS> {
        let first = filter.split('/').next()?;
        if ![ROOT, "+", "#"].contains(&first) {
            return None;
        }
        let qos = match qos {
            QoS::AtMostOnce => QoS::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::AtLeastOnce,
        };
        if let Some((_, granted)) = self.0.iter_mut().find(|(known, _)| **known == *filter) {
            *granted = qos;
            return Some(qos);
        }
        if self.0.len() >= MIRROR_FILTERS_MAX {
            return None;
        }
        self.0.push((filter.into(), qos));
        Some(qos)
    }

    pub(super) fn remove(&mut self, filter: &str) {
        self.0.retain(|(known, _)| **known != *filter);
    }

    /// The highest QoS with which this topic was asked for.
    pub(super) fn wanted(&self, topic: &str) -> Option<QoS> {
        let matching = self.0.iter().filter(|(filter, _)| matches(filter, topic));
        let mut wanted = None;
        for (_, qos) in matching {
            if wanted != Some(QoS::AtLeastOnce) {
                wanted = Some(*qos);
            }
        }
        wanted
    }
}

/// Whether a well-formed filter matches (MQTT 3.1.1, 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            // The level above it counts too.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_level_whatever_is_in_it() {
        let table = [
            ("dev-1", "telemetry/dev-1"),
            ("dev-1/m", "telemetry/dev-1/m"),
            ("a+b#c%d", "telemetry/a%2Bb%23c%25d"),
            ("$SYS/+", "telemetry/$SYS/%2B"),
        ];
        for (id, expected) in table {
            assert_eq!(topic(&IdentityId::parse(id).unwrap()), expected);
        }
    }

    #[test]
    fn filters_match_as_mqtt_has_it() {
        let table = [
            ("telemetry/dev-1", [true, false]),
            ("telemetry/+", [true, false]),
            ("telemetry/#", [true, true]),
            ("telemetry/dev-1/#", [true, true]),
            ("telemetry/+/m", [false, true]),
            ("telemetry/+/+", [false, true]),
            ("+/dev-1/m", [false, true]),
            ("#", [true, true]),
            ("+", [false, false]),
            ("telemetry", [false, false]),
            ("telemetry/dev-2", [false, false]),
            ("telemetry/dev-1/", [false, false]),
        ];
        for (filter, expected) in table {
            let topics = ["telemetry/dev-1", "telemetry/dev-1/m"];
            assert_eq!(
                topics.map(|topic| matches(filter, topic)),
                expected,
                "{filter}"
            );
        }
    }

    #[test]
    fn what_can_match_nothing_or_is_too_much_is_not_granted() {
        let mut filters = Filters::default();
        for filter in [
            "$SYS/#",
            "$share/g/telemetry/#",
            "devices/d",
            "",
            "/telemetry",
            "x",
        ] {
            assert_eq!(filters.add(filter, QoS::AtMostOnce), None, "{filter}");
        }
        assert_eq!(
            filters.add("telemetry/+", QoS::ExactlyOnce),
            Some(QoS::AtLeastOnce)
        );
        assert_eq!(filters.add("#", QoS::AtMostOnce), Some(QoS::AtMostOnce));
        assert_eq!(filters.wanted("telemetry/d"), Some(QoS::AtLeastOnce));
        assert_eq!(filters.wanted("telemetry/d/m"), Some(QoS::AtMostOnce));
        filters.remove("#");
        assert_eq!(filters.wanted("telemetry/d/m"), None);
        for number in 1..MIRROR_FILTERS_MAX {
            let filter = format!("telemetry/{number}");
            assert!(filters.add(&filter, QoS::AtMostOnce).is_some());
        }
        assert_eq!(filters.add("telemetry/more", QoS::AtMostOnce), None);
        assert_eq!(
            filters.add("telemetry/1", QoS::AtLeastOnce),
            Some(QoS::AtLeastOnce)
        );
    }
}
