//! When a device wants to be woken, and what for.
//!
//! No timer is set or cancelled anywhere: each is read off the state it belongs to.

use linarite_env::UnixMillis;

use super::{Device, Phase, later};

/// What a moment means to a device. In the order in which those due together are served.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Drain,
    Orphan,
    Connack,
    Acknowledgement,
    Pong,
    Ping,
    Registration,
    Reconnect,
    Telemetry,
}

impl Timer {
    const ALL: [Self; 9] = [
        Self::Drain,
        Self::Orphan,
        Self::Connack,
        Self::Acknowledgement,
        Self::Pong,
        Self::Ping,
        Self::Registration,
        Self::Reconnect,
        Self::Telemetry,
    ];
}

impl Device {
    pub(super) fn next_timer(&self) -> Option<UnixMillis> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| self.deadline(timer))
            .min()
    }

    pub(super) fn fire_timers(&mut self, now: UnixMillis) {
        for timer in Timer::ALL {
            if self.deadline(timer).is_some_and(|at| at <= now) {
                self.fire(timer, now);
            }
        }
    }

    fn deadline(&self, timer: Timer) -> Option<UnixMillis> {
        match (self.phase, timer) {
            (Phase::Draining { until }, Timer::Drain) => Some(until),
            (Phase::Awake, timer) => self.deadline_awake(timer),
            (Phase::Asleep | Phase::Draining { .. }, _) => None,
        }
    }

    fn deadline_awake(&self, timer: Timer) -> Option<UnixMillis> {
        let session = self.hub.open.as_ref();
        match timer {
            Timer::Drain => None,
            Timer::Orphan => self.hub.orphaned_until,
            Timer::Connack => self.hub.attempt.as_ref()?.connack_by,
            Timer::Acknowledgement => session.and(self.hub.in_flight.as_ref()).map(|it| it.ack_by),
            Timer::Pong => session?.pong_by,
            Timer::Ping => {
                let idle = session.filter(|it| it.pong_by.is_none())?;
                let keep_alive = self.firmware.keep_alive;
                (!keep_alive.is_zero()).then(|| later(idle.last_sent, keep_alive))
            }
            Timer::Registration => self.registration_deadline(),
            Timer::Reconnect => self.reconnect_at(),
            Timer::Telemetry => self.telemetry_due(),
        }
    }

    fn fire(&mut self, timer: Timer, now: UnixMillis) {
        match timer {
            Timer::Drain => self.fall_asleep(now),
            Timer::Orphan => self.settle_orphan(),
            Timer::Connack => self.attempt_timed_out(now),
            Timer::Acknowledgement | Timer::Pong => self.session_timed_out(now),
            Timer::Ping => self.ping(now),
            Timer::Registration => self.registration_timeout(now),
            // Steering does these as soon as they are due.
            Timer::Reconnect | Timer::Telemetry => {}
        }
    }
}
