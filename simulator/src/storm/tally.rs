//! What happened to the devices of a storm, counted.

use std::time::Duration;

use super::waits::Waits;
use crate::observation::{Generation, Observation};
use crate::wire::dps::is_transient;

/// When something happened to a device, in milliseconds since the start; none if it did not.
type Moment = Option<u32>;

/// The counts. A device's own moments are kept, all else only by the second.
#[derive(Debug)]
pub(super) struct Tally {
    /// When each device was to arrive, in milliseconds since the start.
    pub(super) arrivals: Vec<u64>,
    /// When each was assigned to its hub for the first time.
    pub(super) registered: Vec<Moment>,
    /// When each was connected to its hub.
    pub(super) served: Vec<Moment>,
    /// From a device's arrival until it was assigned for the first time.
    pub(super) until_registered: Waits,
    /// From there, or from the arrival of who needs no registration, until it was connected.
    pub(super) until_connected: Waits,
    /// From a device's arrival until it was connected.
    pub(super) until_served: Waits,
    /// Registrations that DPS carried out.
    pub(super) accepted: u64,
    /// Registrations that DPS put off (R-H1).
    pub(super) throttled: u64,
    /// Polls that DPS put off (R-H2).
    pub(super) polls_throttled: u64,
    /// Registrations that failed in any other way.
    pub(super) failed: u64,
    /// Connections that the hub put off (R-H5).
    pub(super) connects_refused: u64,
    /// Connections that the hub refused as unauthorized (R-G10, R-E7).
    pub(super) connects_unauthorized: u64,
    /// Devices that were served, by the generation of the certificate they showed.
    pub(super) served_with: Vec<u32>,
    /// Connections that failed in any other way.
    pub(super) connects_failed: u64,
    /// Whatever was put off, by second.
    pub(super) put_off: Vec<u32>,
    /// When the last thing happened, in milliseconds since the start.
    pub(super) last_ms: u64,
    /// When somebody last got a step further, or the last one is to arrive, or the hub is to be
    /// back, in milliseconds since the start.
    progressed_ms: u64,
    /// For how long nobody may get further, in milliseconds; none for as long as one likes.
    patience_ms: Option<u64>,
    served_count: u32,
    /// Whether devices change their certificates.
    pub(super) rolls: bool,
}

/// CONNACK "server unavailable".
const UNAVAILABLE: u8 = 3;
/// CONNACK "bad user name or password" and "not authorized".
const UNAUTHORIZED: [u8; 2] = [4, 5];

impl Tally {
    /// Nothing yet. A storm in which nobody gets a step further for `patience` after all have
    /// arrived is stalled.
    pub(super) fn new(arrivals: Vec<u64>, patience: Option<Duration>) -> Self {
        let devices = arrivals.len();
        let last_arrival = arrivals.iter().max().copied().unwrap_or(0);
        Self {
            arrivals,
            registered: vec![None; devices],
            served: vec![None; devices],
            until_registered: Waits::new(),
            until_connected: Waits::new(),
            until_served: Waits::new(),
            accepted: 0,
            throttled: 0,
            polls_throttled: 0,
            failed: 0,
            connects_refused: 0,
            connects_unauthorized: 0,
            served_with: Vec::new(),
            connects_failed: 0,
            put_off: Vec::new(),
            last_ms: 0,
            progressed_ms: last_arrival,
            patience_ms: patience.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            served_count: 0,
            rolls: false,
        }
    }

    /// That nobody gets further before the hub is back, in milliseconds since the start, is no
    /// stall.
    pub(super) fn expect_nobody_before(&mut self, back_ms: u64) {
        self.progressed_ms = self.progressed_ms.max(back_ms);
    }

    pub(super) fn served_count(&self) -> u32 {
        self.served_count
    }

    pub(super) fn all_served(&self) -> bool {
        self.served_count as usize == self.served.len()
    }

    /// When there is nothing to be hoped for any more unless somebody gets further before, in
    /// milliseconds since the start.
    pub(super) fn stalls_at_ms(&self) -> Option<u64> {
        Some(self.progressed_ms.saturating_add(self.patience_ms?))
    }

    /// Takes note of what `device` observed; gives whether it is served by it.
    pub(super) fn note(&mut self, device: usize, at_ms: u64, observation: &Observation) -> bool {
        let moment = Some(u32::try_from(at_ms).unwrap_or(u32::MAX));
        self.last_ms = self.last_ms.max(at_ms);
        match observation {
            Observation::RegistrationSucceeded { .. } => {
                self.accepted += 1;
                self.progressed_ms = self.progressed_ms.max(at_ms);
                if self.registered[device].is_none() {
                    self.registered[device] = moment;
                    self.until_registered
                        .note(at_ms.saturating_sub(self.arrivals[device]));
                }
            }
            Observation::RegistrationFailed { status, .. } if is_transient(*status) => {
                self.throttled += 1;
                self.put_off(at_ms);
            }
            Observation::RegistrationFailed { .. } => self.failed += 1,
            Observation::ConnectRefused { connack, .. } if *connack == UNAVAILABLE => {
                self.connects_refused += 1;
                self.put_off(at_ms);
            }
            Observation::ConnectRefused { connack, .. } if UNAUTHORIZED.contains(connack) => {
                self.connects_unauthorized += 1;
            }
            Observation::ConnectRefused { .. } => self.connects_failed += 1,
            Observation::SessionOpened { generation } if self.served[device].is_none() => {
                self.served_with(*generation);
                self.progressed_ms = self.progressed_ms.max(at_ms);
                self.served[device] = moment;
                self.served_count += 1;
                let arrived = self.arrivals[device];
                let assigned = self.registered[device].map_or(arrived, u64::from);
                self.until_connected.note(at_ms.saturating_sub(assigned));
                self.until_served.note(at_ms.saturating_sub(arrived));
                return true;
            }
            _ => {}
        }
        false
    }

    /// Takes note of a poll that came too soon, which devices do not speak of.
    pub(super) fn poll_put_off(&mut self, at_ms: u64) {
        self.polls_throttled += 1;
        self.put_off(at_ms);
    }

    fn served_with(&mut self, generation: Generation) {
        // Generations are numbered from 1, and no storm has a third.
        let place = generation.0.saturating_sub(1).min(1) as usize;
        if self.served_with.len() <= place {
            self.served_with.resize(place + 1, 0);
        }
        self.served_with[place] += 1;
    }

    fn put_off(&mut self, at_ms: u64) {
        let second = usize::try_from(at_ms / 1000).unwrap_or(usize::MAX);
        if self.put_off.len() <= second {
            self.put_off.resize(second + 1, 0);
        }
        self.put_off[second] = self.put_off[second].saturating_add(1);
    }
}
