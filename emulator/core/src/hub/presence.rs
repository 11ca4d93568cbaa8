//! When a hub tells that a device connected or disconnected (R-G39).
//!
//! Not at each connect: the hub looks once a minute and tells what it sees, and only of devices
//! that have something to do with messages.

/// The time between two looks, in milliseconds (R-G39: 60 s).
pub const SNAPSHOT_EVERY_MS: i64 = 60_000;

/// What an event says a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// A session is open.
    Connected,
    /// None is.
    Disconnected,
}

/// What a hub has noticed of a device's sessions since its last look.
///
/// Source: behaviour.md R-G39 — that a take-over is no change, and that a device that never
/// reported is not told to be gone, is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    connected: bool,
    /// The connection went up or down since the last event.
    changed: bool,
    /// A session since the last look asked for cloud-to-device messages or sent telemetry.
    reported: bool,
    told: Option<ConnectionState>,
}

impl Presence {
    /// A session opened. One that takes over from another changes nothing.
    pub fn opened(&mut self) {
        if !self.connected {
            self.connected = true;
            self.changed = true;
        }
    }

    /// The open session asked for cloud-to-device messages or sent telemetry.
    pub fn reported(&mut self) {
        if self.connected {
            self.reported = true;
        }
    }

    /// The session closed and no other took its place.
    pub fn closed(&mut self) {
        if self.connected {
            self.connected = false;
            // Who was never told of need not be told gone.
            self.changed = self.reported || self.told == Some(ConnectionState::Connected);
        }
    }

    /// Whether the next look tells something.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.changed && (self.reported || !self.connected)
    }

    /// Whether nothing is known of the device that a fresh [`Presence`] would not say, too.
    #[must_use]
    pub fn is_forgettable(&self) -> bool {
        !self.connected && !self.changed
    }

    /// Looks: what to tell of the device now, if anything.
    ///
    /// Source: behaviour.md R-G39.
    pub fn look(&mut self) -> Option<ConnectionState> {
        if !self.is_due() {
            return None;
        }
        self.changed = false;
        let state = if self.connected {
            ConnectionState::Connected
        } else {
            self.reported = false;
            ConnectionState::Disconnected
        };
        self.told = Some(state);
        Some(state)
    }
}

/// When the look after `now_ms` is due, in Unix milliseconds: looks are on whole minutes.
#[must_use]
pub fn next_look_ms(now_ms: i64) -> i64 {
    now_ms
        .div_euclid(SNAPSHOT_EVERY_MS)
        .saturating_add(1)
        .saturating_mul(SNAPSHOT_EVERY_MS)
}

/// The sequence number of a connection-state event: 64 hexadecimal digits that grow, as text,
/// with the moment and then with the count.
///
/// Takes:   the moment in Unix milliseconds, never less than at the call before; how many there
///          were before.
/// Source:  behaviour.md R-G39; non-telemetry event schemas, connection state events.
#[must_use]
pub fn sequence_number(at_ms: i64, count: u64) -> String {
    /// From 1601-01-01 to 1970-01-01, in milliseconds.
    const EPOCH_MS: i64 = 11_644_473_600_000;
    let ticks = i128::from(at_ms.saturating_add(EPOCH_MS)).max(0) * 10_000;
    format!("0000000000000000{ticks:016X}00000000{count:024X}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectionState::{Connected, Disconnected};
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        Report,
        Close,
        Look(Option<ConnectionState>),
    }
    use Step::{Close, Look, Open, Report};

    fn play(steps: &[Step]) {
        let mut presence = Presence::default();
        for (index, step) in steps.iter().enumerate() {
            match step {
                Open => presence.opened(),
                Report => presence.reported(),
                Close => presence.closed(),
                Look(expected) => {
                    let due = presence.is_due();
                    let told = presence.look();
                    assert_eq!(told, *expected, "step {index} of {steps:?}");
                    assert_eq!(due, told.is_some(), "step {index} of {steps:?}");
                }
            }
        }
    }

    /// R-G39.
    #[test]
    fn a_look_tells_the_state_of_devices_that_reported() {
        let (up, down) = (Look(Some(Connected)), Look(Some(Disconnected)));
        let nothing = Look(None);
        let table: &[&[Step]] = &[
            &[Open, Report, up, nothing, Close, down, nothing],
            // Without telemetry or a subscription there is no event, whatever happens.
            &[Open, nothing, nothing, Close, nothing],
            // The report may come late.
            &[Open, nothing, Report, up, nothing],
            // A flicker within a minute: the last state counts.
            &[Open, Report, up, Close, Open, up, nothing],
            &[Open, Report, Close, down, nothing],
            &[Open, Report, up, Close, Open, Close, down, nothing],
            // A take-over is no change.
            &[Open, Report, up, Open, nothing, Open, Report, nothing],
            // A device that was told of is told gone, even if its last session said nothing.
            &[Open, Report, up, Close, down, Open, nothing, Close, nothing],
            // A report outside of a session counts for nothing.
            &[Report, nothing, Open, nothing],
        ];
        for steps in table {
            play(steps);
        }
    }

    /// R-G39.
    #[test]
    fn sequence_numbers_have_64_digits_and_grow_as_text() {
        let numbers = [
            sequence_number(0, 0),
            sequence_number(0, 1),
            sequence_number(0, 16),
            sequence_number(1, 0),
            sequence_number(1_767_225_600_000, 5),
        ];
        for number in &numbers {
            assert_eq!(number.len(), 64);
            assert!(number.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:#?}");
        // 2022-06-01T18:43:04.556Z, counted in 100 ns since 1601.
        assert_eq!(
            sequence_number(1_654_108_984_556, 7),
            "000000000000000001D875E76DAFC2C000000000000000000000000000000007"
        );
    }

    #[test]
    fn looks_are_on_whole_minutes() {
        let table = [
            (0, 60_000),
            (1, 60_000),
            (59_999, 60_000),
            (60_000, 120_000),
            (-1, 0),
        ];
        for (now, next) in table {
            assert_eq!(next_look_ms(now), next, "{now}");
        }
    }

    proptest! {
        /// R-G39: no two events without a change between them, and the last one is true.
        #[test]
        fn what_was_told_is_true_in_the_end(
            steps in prop::collection::vec(0u8..4, 0..40),
        ) {
            let mut presence = Presence::default();
            let (mut open, mut told, mut reported) = (false, None, false);
            for step in steps {
                match step {
                    0 => { presence.opened(); open = true; }
                    1 => { presence.reported(); reported |= open; }
                    2 => { presence.closed(); open = false; }
                    _ => if let Some(state) = presence.look() {
                        prop_assert!(reported, "told of a device that never reported");
                        prop_assert_eq!(state == Connected, open);
                        told = Some(state);
                        prop_assert_eq!(presence.look(), None);
                    },
                }
            }
            if told == Some(Connected) && !open {
                prop_assert_eq!(presence.look(), Some(Disconnected));
            }
            if presence.is_forgettable() {
                prop_assert!(!open);
            }
        }
    }
}
