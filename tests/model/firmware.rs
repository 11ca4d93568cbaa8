//! A device's firmware as a handful of intentions. Every wait has ended by the next moment, so a
//! device does whatever it can, until it can do no more.

use super::procedure::{Habits, Procedure, ROLL};
use super::world::{Leaf, Word, World};

/// Far more steps than a device takes before it stands still or goes in circles.
const STEPS_MAX: u32 = 32;

/// What a device is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// To be connected with the leaf in force.
    Stay,
    /// To register with a leaf; on command even if the hub lets it in meanwhile.
    Register { leaf: Leaf, commanded: bool },
    /// To connect with a leaf, and to put it in force by that.
    TakeOver { leaf: Leaf },
}

pub(super) struct Device {
    index: u32,
    habits: Habits,
    pub(super) awake: bool,
    /// Leaves held, ascending.
    held: Vec<Leaf>,
    current: Leaf,
    aim: Aim,
    /// Whether the leaf in force is worth showing to the hub.
    trusts_current: bool,
    /// DPS refused one leaf after the other, and which is next is anybody's guess.
    in_turns: bool,
    pub(super) session: Option<Leaf>,
    pub(super) stranded: bool,
    pub(super) waited: bool,
    pub(super) undecided: bool,
}

impl Device {
    /// Asleep, and provisioned with its old leaf.
    pub(super) fn new(index: u32, procedure: &Procedure) -> Self {
        Self {
            index,
            habits: procedure.habits,
            awake: false,
            held: vec![1],
            current: 1,
            aim: Aim::Stay,
            trusts_current: true,
            in_turns: false,
            session: None,
            stranded: false,
            waited: false,
            undecided: false,
        }
    }

    fn newest(&self) -> Leaf {
        self.held.last().copied().unwrap_or(self.current)
    }

    fn shows_issuers(&self, leaf: Leaf) -> bool {
        leaf == 1 || self.habits.keeps_chain
    }

    fn is_rolling(&self) -> bool {
        match self.aim {
            Aim::Stay => false,
            Aim::Register { leaf, .. } | Aim::TakeOver { leaf } => leaf != self.current,
        }
    }

    pub(super) fn wake(&mut self, world: &World) {
        self.awake = true;
        self.trusts_current = !self.habits.registers_at_boot;
        if self.is_rolling() {
            return;
        }
        self.aim = Aim::Stay;
        let expired = self.current == 1 && !world.is_valid(1);
        if self.newest() > self.current && (expired || self.habits.on_delivery) {
            self.trusts_current &= !expired;
            self.roll();
        } else if self.habits.registers_at_boot {
            self.aim = Aim::Register {
                leaf: self.current,
                commanded: false,
            };
        }
    }

    pub(super) fn sleep(&mut self, world: &World) {
        self.awake = false;
        self.session = None;
        self.look(world);
    }

    pub(super) fn deliver(&mut self) {
        if self.newest() < 2 {
            self.held.push(2);
            self.roll_if_delivery_is_enough();
        }
    }

    /// The job's call, which only reaches who is connected.
    pub(super) fn called(&mut self) {
        let underway = match self.aim {
            Aim::Stay => None,
            Aim::Register { leaf, .. } | Aim::TakeOver { leaf } => Some(leaf),
        };
        if self.session.is_none() || underway == Some(self.newest()) {
            return;
        }
        if self.newest() > self.current {
            self.roll();
        } else {
            self.aim = Aim::Register {
                leaf: self.current,
                commanded: true,
            };
        }
    }

    fn roll_if_delivery_is_enough(&mut self) {
        if self.awake && self.habits.on_delivery && self.newest() > self.current {
            self.roll();
        }
    }

    fn roll(&mut self) {
        let leaf = self.newest();
        self.in_turns = false;
        match self.habits.roll {
            "switch" => {
                self.adopt(leaf);
                self.session = None;
                self.trusts_current = true;
                self.aim = Aim::Stay;
            }
            "connect-first" => self.aim = Aim::TakeOver { leaf },
            _ => {
                self.aim = Aim::Register {
                    leaf,
                    commanded: true,
                }
            }
        }
    }

    fn adopt(&mut self, leaf: Leaf) {
        self.current = leaf;
        self.held.retain(|held| *held >= leaf);
    }

    /// Does what it can until nothing changes any more.
    pub(super) fn settle(&mut self, world: &mut World) {
        self.look(world);
        let both = |device: &Self| {
            let would = |leaf| world.would_assign(device.index, leaf, device.shows_issuers(leaf));
            device.held.len() == 2 && would(1) && would(2)
        };
        if self.awake && self.in_turns && both(self) {
            self.undecided = true;
        }
        for _ in 0..STEPS_MAX {
            if !self.awake || !self.tries(world) {
                break;
            }
            self.look(world);
        }
    }

    /// Notes whether anything is left that the hub would take.
    fn look(&mut self, world: &World) {
        let taken = |leaf: &Leaf| world.hub_takes(self.index, *leaf);
        let lost = self.session.is_none() && !self.held.iter().any(taken);
        self.stranded |= lost && world.now >= ROLL;
    }

    /// Tries what it is about, the hub before DPS; gives whether anything came of it.
    fn tries(&mut self, world: &mut World) -> bool {
        let shown = match self.aim {
            Aim::TakeOver { leaf } => Some(leaf),
            _ => (self.session.is_none() && self.trusts_current).then_some(self.current),
        };
        if let Some(leaf) = shown {
            let before = (self.aim, self.trusts_current);
            match world.hub_takes(self.index, leaf) {
                true => self.connected(leaf),
                false => self.refused_by_hub(leaf),
            }
            if self.session.is_some() || before != (self.aim, self.trusts_current) {
                return true;
            }
        }
        match self.aim {
            Aim::Register { leaf, .. } => self.registers(leaf, world),
            Aim::Stay | Aim::TakeOver { .. } => false,
        }
    }

    fn connected(&mut self, leaf: Leaf) {
        self.session = Some(leaf);
        self.trusts_current = true;
        match self.aim {
            Aim::TakeOver { .. } => {
                self.aim = Aim::Stay;
                self.adopt(leaf);
            }
            Aim::Register {
                leaf: wanted,
                commanded: false,
            } if wanted == leaf => self.aim = Aim::Stay,
            Aim::Stay | Aim::Register { .. } => {}
        }
        if !self.is_rolling() {
            self.roll_if_delivery_is_enough();
        }
    }

    /// R-C11, unless the firmware knows no better than to try again.
    fn refused_by_hub(&mut self, leaf: Leaf) {
        if !self.habits.registers_if_refused {
            return;
        }
        let current = leaf == self.current;
        self.trusts_current &= !current;
        if !matches!(self.aim, Aim::Register { .. }) {
            self.aim = Aim::Register {
                leaf,
                commanded: !current,
            };
        }
    }

    fn registers(&mut self, leaf: Leaf, world: &mut World) -> bool {
        match world.register(self.index, leaf, self.shows_issuers(leaf)) {
            Word::Assigned => {
                self.in_turns = false;
                self.trusts_current = true;
                self.aim = match self.session == Some(leaf) {
                    true => Aim::Stay,
                    false => Aim::TakeOver { leaf },
                };
                true
            }
            Word::Disabled => false,
            Word::Unauthorized => self.tries_the_other(leaf, world),
        }
    }

    /// With nothing to lose, the other leaf is worth a try where DPS will not have this one.
    fn tries_the_other(&mut self, leaf: Leaf, world: &World) -> bool {
        if self.session.is_some() || self.trusts_current {
            return false;
        }
        let other = match self.newest() == leaf {
            true => self.current,
            false => self.newest(),
        };
        self.in_turns |= other != leaf;
        let hope = world.would_assign(self.index, other, self.shows_issuers(other));
        self.aim = Aim::Register {
            leaf: other,
            commanded: true,
        };
        hope
    }
}
