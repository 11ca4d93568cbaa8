//! A peer that does anything a peer could do, in any order.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::rig::Rig;
use crate::device::{Link, Output};
use crate::firmware::{Firmware, OnBoot, OnUnauthorized, Persists, PowerLoss, RollOrder, Trigger};
use crate::observation::{Generation, Observation};
use crate::wire::ConnectReturnCode::{
    BadUserNamePassword, NotAuthorized, ServiceUnavailable, Success,
};
use crate::wire::Packet;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Dialling,
    Open,
}

/// What must hold whatever happens.
#[derive(Default)]
struct Laws {
    lines: BTreeMap<u8, Line>,
    session: bool,
    awake: bool,
    held: Vec<Generation>,
    acknowledged: Option<u32>,
}

fn number(link: Link) -> u8 {
    link as u8
}

impl Laws {
    fn check(&mut self, output: &Output) {
        match output {
            Output::Connect {
                link, credential, ..
            } => {
                let before = self.lines.insert(number(*link), Line::Dialling);
                assert_eq!(before, None, "{link:?} is in use");
                assert!(
                    self.held.contains(&credential.generation()),
                    "an erased key was used"
                );
                assert!(self.awake, "a sleeping device dials");
            }
            Output::Send { link, packet } => {
                let line = self.lines.get(&number(*link));
                assert_eq!(line, Some(&Line::Open), "{packet:?} into the void");
                assert!(!matches!(packet, Packet::Publish(publish) if publish.topic.is_empty()));
            }
            Output::Close { link } => {
                self.lines.remove(&number(*link));
            }
            Output::PowerOff { .. } => self.lines.clear(),
            Output::Report(observation) => self.check_report(observation),
        }
    }

    fn check_report(&mut self, observation: &Observation) {
        match observation {
            Observation::Awoke => assert!(!std::mem::replace(&mut self.awake, true)),
            Observation::FellAsleep | Observation::PowerLost => {
                assert!(std::mem::replace(&mut self.awake, false));
                assert!(!self.session, "asleep with a session");
            }
            Observation::SessionOpened { .. } => self.session = true,
            Observation::SessionClosed { .. } => {
                assert!(
                    std::mem::replace(&mut self.session, false),
                    "closed without a session"
                );
            }
            Observation::CredentialStored { generation, .. } => self.held.push(*generation),
            Observation::CredentialDropped { generation } => {
                self.held.retain(|it| it != generation);
                assert!(!self.held.is_empty(), "the last key was erased");
            }
            Observation::MessageAcknowledged { sequence } => {
                assert!(self.acknowledged.is_none_or(|last| last + 1 == *sequence));
                self.acknowledged = Some(*sequence);
            }
            _ => {}
        }
    }

    /// A line in this state, if there is one.
    fn line(&self, rng: &mut Rng, state: Line) -> Option<Link> {
        let all = [Link::Dps, Link::HubA, Link::HubB];
        let fit = all
            .into_iter()
            .filter(|it| self.lines.get(&number(*it)) == Some(&state));
        rng.choice(fit.collect::<Vec<_>>())
    }
}

fn step(rig: &mut Rig, laws: &mut Laws, rng: &mut Rng, stored: &mut u32) {
    match rng.u8(0..25) {
        0..6 => {
            if let Some(link) = laws.line(rng, Line::Dialling) {
                laws.lines.insert(number(link), Line::Open);
                rig.connected(link);
            }
        }
        6..12 => {
            if let Some(link) = laws.line(rng, Line::Open) {
                let codes = [
                    Success,
                    Success,
                    Success,
                    ServiceUnavailable,
                    NotAuthorized,
                    BadUserNamePassword,
                ];
                match rng.u8(0..9) {
                    0..4 => rig.connack(link, codes[rng.usize(..codes.len())]),
                    4..6 => rig.suback(link),
                    6 => rig.pong(link),
                    7 => rig.puback(link, laws.acknowledged.map_or(0, |last| last + 1)),
                    _ => {
                        laws.lines.remove(&number(link));
                        rig.closed(link);
                    }
                }
            }
        }
        12..16 => match rng.u8(0..6) {
            _ if laws.lines.get(&number(Link::Dps)) != Some(&Line::Open) => {}
            0 | 1 => rig.assigning(rng.choice([None, Some(3), Some(100)]).flatten()),
            2 | 3 => rig.assigned(rng.choice(["hub.net", "other.net"]).unwrap_or("hub.net")),
            _ => rig.refused(rng.choice([400, 401, 429, 500]).unwrap_or(0), None),
        },
        16 => {
            if let Some(link) = laws.line(rng, Line::Dialling) {
                laws.lines.remove(&number(link));
                rig.connect_failed(link);
            }
        }
        17 if *stored < 6 => {
            *stored += 1;
            rig.store(*stored);
        }
        18 => rig.sleep(),
        19 => rig.wake(),
        20 => rig.call("reprovision"),
        21 => rig.lose_power(),
        _ if rig.device.poll_timeout().is_some() => {
            rig.wait();
        }
        _ => {}
    }
}

fn firmware(rng: &mut Rng) -> Firmware {
    Firmware {
        trigger: if rng.bool() {
            Trigger::Method
        } else {
            Trigger::Delivery
        },
        roll: rng
            .choice([
                RollOrder::RegisterFirst,
                RollOrder::ConnectFirst,
                RollOrder::Switch,
            ])
            .unwrap_or(RollOrder::Switch),
        on_unauthorized: if rng.bool() {
            OnUnauthorized::Register
        } else {
            OnUnauthorized::Retry
        },
        on_boot: if rng.bool() {
            OnBoot::Connect
        } else {
            OnBoot::Register
        },
        persists: rng
            .choice([
                Persists::WhenDelivered,
                Persists::WhenAssigned,
                Persists::WhenConnected,
            ])
            .unwrap_or(Persists::WhenDelivered),
        power_loss: rng
            .choice([
                None,
                Some(PowerLoss::BeforeRegistering),
                Some(PowerLoss::AfterRegistering),
                Some(PowerLoss::AfterConnecting),
            ])
            .flatten(),
        ..Firmware::default()
    }
}

#[test]
fn no_peer_drives_a_device_out_of_its_mind() {
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let mut rig = Rig::new(firmware(&mut rng));
        let mut laws = Laws::default();
        let mut stored = 0;
        for _ in 0..500 {
            step(&mut rig, &mut laws, &mut rng, &mut stored);
            for output in rig.outputs() {
                laws.check(&output);
            }
            let next = rig.device.poll_timeout();
            assert!(
                next.is_none_or(|at| laws.awake && at > rig.now()),
                "seed {seed} spins"
            );
        }
    }
}
