//! Drives the devices of a storm: from one moment to the next, device by device.
//!
//! All happens on one task and in the order of time and device, so that one seed has one storm.
//! Whatever the services do meanwhile happens while this task waits for the next moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use linarite_env::UnixMillis;

use super::Plan;
use super::progress::Progress;
use super::prologue::Held;
use super::stage::Stage;
use super::tally::Tally;
use crate::device::{Device, Link, Output};
use crate::firmware::Firmware;
use crate::interrupt::Interrupt;
use crate::lab::bare::Desk;
use crate::observation::{DeviceIndex, Observation};
use crate::pki::Credential;
use crate::plan::{DevicePlan, Past};
use crate::wire::dps::is_put_off;
use crate::wire::{PACKET_MAX, Packet};

/// A device that is not served yet, and its connections.
struct Body {
    device: Device,
    /// What it was switched on with.
    credential: Credential,
    /// What DPS has said of it.
    past: Option<Past>,
    /// To DPS, and to the hub by either link.
    desks: [Option<Box<Desk>>; 3],
    /// Which of them the peer has ended, and the device has not noticed.
    ended: [bool; 3],
    /// When it is to be looked at next.
    due: Option<UnixMillis>,
}

enum Place {
    /// Not arrived yet.
    Away,
    Waiting(Box<Body>),
    /// Connected. A served device has nothing to do but to stay, so it is not driven any more;
    /// only its connection is kept.
    Served {
        _desk: Option<Box<Desk>>,
    },
}

pub(super) struct Field<'a> {
    stage: &'a Stage,
    firmware: Arc<Firmware>,
    origin: UnixMillis,
    end: UnixMillis,
    places: Vec<Place>,
    agenda: BinaryHeap<Reverse<(UnixMillis, u32)>>,
    tally: Tally,
    progress: Progress,
    buffer: BytesMut,
    /// Whether polls are left out whose answer is known.
    pub(super) foresight: bool,
    /// What devices hold from before, by device; empty where that is nothing.
    held: Vec<Option<Held>>,
    /// Whether what they will have held is wanted.
    remembers: bool,
}

impl<'a> Field<'a> {
    /// A field on which devices arrive at `arrivals`, in milliseconds from now, by device.
    pub(super) fn new(
        stage: &'a Stage,
        plan: &Plan,
        arrivals: Vec<u64>,
        progress: Progress,
    ) -> Self {
        let origin = stage.env.clock.now_ms();
        let at = |arrival: &u64| after(origin, Duration::from_millis(*arrival));
        let agenda = (0..).zip(&arrivals);
        let agenda = agenda.map(|(index, arrival)| Reverse((at(arrival), index)));
        Self {
            stage,
            firmware: Arc::new(plan.firmware()),
            origin,
            end: after(origin, plan.give_up),
            places: arrivals.iter().map(|_| Place::Away).collect(),
            agenda: agenda.collect(),
            tally: plan.tally(arrivals),
            progress,
            buffer: BytesMut::new(),
            foresight: true,
            held: Vec::new(),
            remembers: false,
        }
    }

    /// Has devices begin with what they hold from before.
    pub(super) fn begin_with(&mut self, held: Vec<Held>) {
        self.held = held.into_iter().map(Some).collect();
    }

    /// Has the field remember what devices hold once they are served.
    pub(super) fn remember(&mut self) {
        self.remembers = true;
        self.held = vec![None; self.places.len()];
    }

    /// What devices hold that were served.
    pub(super) fn held(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.held)
            .into_iter()
            .flatten()
            .collect()
    }

    /// Until every device is served, the storm is given up, or interrupted.
    pub(super) async fn run(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        while !self.tally.all_served() && !interrupt.is_asked() {
            let Some(Reverse((at, index))) = self.agenda.pop() else {
                break;
            };
            let stalls_at = self.tally.stalls_at_ms();
            let stalls_at = stalls_at.map(|ms| after(self.origin, Duration::from_millis(ms)));
            if at > self.end || stalls_at.is_some_and(|stalls_at| at > stalls_at) {
                break;
            }
            let clock = &self.stage.env.clock;
            if at > clock.now_ms() {
                clock.sleep_until(at).await;
            }
            let now = clock.now_ms();
            self.visit(index, at, now)?;
            self.progress.tick(self.since_start(now), &self.tally);
        }
        Ok(())
    }

    /// What came of it, and what is left of the fleet: its connections, which end when dropped.
    pub(super) fn close(self) -> (Tally, impl Send + use<>) {
        (self.tally, self.places)
    }

    fn since_start(&self, now: UnixMillis) -> u64 {
        u64::try_from(now.since(self.origin)).unwrap_or(0)
    }

    /// Looks at a device whose moment `at` has come.
    fn visit(&mut self, index: u32, at: UnixMillis, now: UnixMillis) -> anyhow::Result<()> {
        let place = std::mem::replace(&mut self.places[index as usize], Place::Away);
        let mut body = match place {
            Place::Away => self.arrive(index, now)?,
            Place::Waiting(mut body) if body.due == Some(at) => {
                body.device.handle_timeout(now);
                body
            }
            // It was put off since, or needs nothing any more.
            other => {
                self.places[index as usize] = other;
                return Ok(());
            }
        };
        let served = self.perform(index, &mut body, now);
        let place = if served {
            if self.remembers {
                let (credential, past) = (body.credential.clone(), body.past.take());
                self.held[index as usize] = Some(Held { credential, past });
            }
            let [_, a, b] = body.desks;
            Place::Served { _desk: a.or(b) }
        } else {
            if self.foresight {
                pass_over_polls(&mut body, now);
            }
            body.due = body.device.poll_timeout().map(|due| due.max(now));
            if let Some(due) = body.due {
                self.agenda.push(Reverse((due, index)));
            }
            Place::Waiting(body)
        };
        self.places[index as usize] = place;
        Ok(())
    }

    /// Makes a device and switches it on.
    fn arrive(&self, index: u32, now: UnixMillis) -> anyhow::Result<Box<Body>> {
        let index = DeviceIndex(index);
        let held = self.held.get(index.0 as usize).cloned().flatten();
        let (credential, past) = match held {
            Some(held) => (held.credential, held.past),
            None => (self.stage.credential(index)?, None),
        };
        let next = match self.remembers {
            true => None,
            false => self.stage.next_credential(index)?,
        };
        let plan = DevicePlan {
            index,
            registration_id: credential.common_name().into(),
            firmware: Arc::clone(&self.firmware),
            windows: Arc::from([]),
            lag: Duration::ZERO,
            telemetry_every: Duration::ZERO,
            faults: None,
            past,
        };
        let account = Arc::clone(&self.stage.account);
        let mut device = Device::new(&plan, account, &self.stage.env.entropy);
        device.store_credential(credential.clone(), now);
        if let Some(next) = next {
            device.store_credential(next, now);
        }
        device.wake(now);
        Ok(Box::new(Body {
            device,
            credential,
            past: None,
            desks: [None, None, None],
            ended: [false; 3],
            due: None,
        }))
    }

    /// Does all that a device wants by now; gives whether it is served.
    fn perform(&mut self, index: u32, body: &mut Body, now: UnixMillis) -> bool {
        let mut served = false;
        while let Some(output) = next_output(body, now) {
            match output {
                Output::Report(observation) => {
                    let at_ms = self.since_start(now);
                    if self.remembers {
                        body.past = past_of(&observation).or(body.past.take());
                    }
                    served |= self.tally.note(index as usize, at_ms, &observation);
                }
                Output::Connect {
                    link, credential, ..
                } => match self.stage.desk(DeviceIndex(index), &credential) {
                    Ok(desk) => {
                        body.desks[slot(link)] = Some(Box::new(desk));
                        body.ended[slot(link)] = false;
                        body.device.handle_connected(link, now);
                    }
                    Err(error) => {
                        let text = error.to_string();
                        body.device.handle_connect_failed(link, text, now);
                    }
                },
                Output::Send { link, packet } => self.send(body, link, &packet, now),
                Output::Close { link } => {
                    body.desks[slot(link)] = None;
                    body.ended[slot(link)] = false;
                }
                // No firmware of a storm asks for it; power is back at once.
                Output::PowerOff { .. } => {
                    body.desks = [None, None, None];
                    body.ended = [false; 3];
                    body.device.wake(now);
                }
            }
        }
        served
    }

    fn send(&mut self, body: &mut Body, link: Link, packet: &Packet, now: UnixMillis) {
        let Some(desk) = &mut body.desks[slot(link)] else {
            return;
        };
        self.buffer.clear();
        let said = match packet.write(&mut self.buffer, PACKET_MAX) {
            Ok(_) => desk.take(&self.buffer),
            Err(_) => {
                body.ended[slot(link)] = true;
                return;
            }
        };
        let mut bytes = BytesMut::from(said.bytes);
        body.ended[slot(link)] = said.ended;
        while !bytes.is_empty() {
            match Packet::read(&mut bytes, PACKET_MAX) {
                Ok(packet) => {
                    if is_put_off(&packet) && body.device.is_accepted() {
                        self.tally.poll_put_off(self.since_start(now));
                    }
                    body.device.handle_packet(link, &packet, now);
                }
                // What the services say comes in whole packets.
                Err(_) => {
                    body.ended[slot(link)] = true;
                    break;
                }
            }
        }
    }
}

/// Leaves out the polls that would be told what the device knows already: one that waits for hours
/// for its turn at the hub (R-H6) makes thousands of them.
fn pass_over_polls(body: &mut Body, now: UnixMillis) {
    let desk = body.desks[slot(Link::Dps)].as_mut();
    if let (Some(desk), Some(every)) = (desk, body.device.polls_every(now)) {
        let polls = desk.pass_over_polls(every);
        body.device.pass_over_polls(polls, every);
    }
}

/// What a device knows after `observation` of where it belongs, if it is about that.
pub(super) fn past_of(observation: &Observation) -> Option<Past> {
    match observation {
        Observation::RegistrationSucceeded { hub, device_id, .. } => Some(Past {
            hub: hub.as_str().into(),
            device_id: device_id.as_str().into(),
            dropped: false,
        }),
        _ => None,
    }
}

/// What a device wants next. Where that is nothing, it notices that the peer has ended a connection
/// which it has not given up itself by then, as with a stream: it may have opened the next already.
fn next_output(body: &mut Body, now: UnixMillis) -> Option<Output> {
    loop {
        if let Some(output) = body.device.poll_output() {
            return Some(output);
        }
        let links = [Link::Dps, Link::HubA, Link::HubB];
        let ended = links.into_iter().find(|link| body.ended[slot(*link)])?;
        end(body, ended, now);
    }
}

/// The peer has ended a connection.
fn end(body: &mut Body, link: Link, now: UnixMillis) {
    body.desks[slot(link)] = None;
    body.ended[slot(link)] = false;
    body.device.handle_closed(link, now);
}

fn slot(link: Link) -> usize {
    match link {
        Link::Dps => 0,
        Link::HubA => 1,
        Link::HubB => 2,
    }
}

pub(super) fn after(moment: UnixMillis, span: Duration) -> UnixMillis {
    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(moment.0.saturating_add(ms))
}
