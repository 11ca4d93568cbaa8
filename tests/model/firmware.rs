//! A device's firmware as a handful of intentions. Every wait has ended by the next moment, so a
//! device does whatever it can, until it can do no more.

use super::books::Books;
use super::procedure::{Habits, Hour, Procedure, ROLL};
use super::trouble::Kind;
use super::world::{Leaf, Presence, Word, World};

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
    pub(super) index: u32,
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
    pub(super) undecided: bool,
    /// Somebody took its old leaf after that ought to have been worthless.
    pub(super) misused: bool,
    pub(super) books: Books,
    /// From when on the new leaf is valid, in minutes.
    new_from: u32,
    /// Whether the new leaf survives a loss of power.
    saved: bool,
    power_failed: bool,
    /// When a trouble ended for it of which the seed decides whether it ended before or after
    /// what the device then did.
    back_about: Option<Hour>,
    /// Nothing reaches it.
    cut_off: bool,
    /// It has failed to reach its hub and not been there since, some times but not ten.
    failing: bool,
}

impl Device {
    /// Asleep, and provisioned with its old leaf.
    pub(super) fn new(index: u32, habits: Habits, procedure: &Procedure) -> Self {
        Self {
            index,
            habits,
            awake: false,
            held: vec![1],
            current: 1,
            aim: Aim::Stay,
            trusts_current: true,
            in_turns: false,
            session: None,
            stranded: false,
            undecided: false,
            misused: false,
            books: Books::new(procedure.trouble()),
            new_from: procedure.new_from(),
            saved: false,
            power_failed: false,
            back_about: None,
            cut_off: false,
            failing: false,
        }
    }

    /// The newest leaf whose time has come by the device's own clock.
    fn newest(&self, now: Hour) -> Leaf {
        let begun = |leaf: &&Leaf| **leaf == 1 || self.own_minute(now) >= i64::from(self.new_from);
        self.held
            .iter()
            .rev()
            .find(begun)
            .copied()
            .unwrap_or(self.current)
    }

    fn own_minute(&self, now: Hour) -> i64 {
        i64::from(now) * 60 + i64::from(self.habits.skew)
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
        self.failing = false;
        self.trusts_current = !self.habits.registers_at_boot;
        if self.is_rolling() {
            return;
        }
        self.aim = Aim::Stay;
        let expired = self.current == 1 && world.has_expired_by(self.own_minute(world.now));
        if self.newest(world.now) > self.current && (expired || self.habits.on_delivery) {
            self.trusts_current &= !expired;
            self.roll(world.now);
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

    /// What only memory held is gone.
    pub(super) fn lose_power(&mut self, world: &World) {
        self.awake = false;
        self.session = None;
        let saved = self.saved;
        self.held.retain(|leaf| *leaf == 1 || saved);
        let keeps = |leaf: &Leaf| self.held.contains(leaf);
        let target = match &self.aim {
            Aim::Stay => None,
            Aim::Register { leaf, .. } | Aim::TakeOver { leaf } => Some(leaf),
        };
        if !self.is_rolling() || !target.is_some_and(keeps) {
            self.aim = Aim::Stay;
        }
        self.look(world);
    }

    /// Power that fails at a step of the roll is back at once.
    fn power_fails(&mut self, step: &str, world: &World) -> bool {
        let due = self.habits.power_loss == Some(step) && !self.power_failed && self.is_rolling();
        if due {
            self.power_failed = true;
            self.lose_power(world);
            self.wake(world);
        }
        due
    }

    /// A trouble that meets the device begins; `worse` is the worse of the two ways it may go.
    pub(super) fn suffers(&mut self, kind: Kind, worse: bool, world: &mut World) {
        match kind {
            Kind::Power => self.lose_power(world),
            Kind::Cuts => {
                self.session = None;
                self.settle(world);
                if worse {
                    self.session = None;
                }
            }
            Kind::Silence => {
                if worse {
                    self.session = None;
                }
                self.cut_off = true;
                self.fails_to_connect();
            }
            Kind::Restart => {
                self.session = None;
                self.fails_to_connect();
            }
            Kind::LongRestart => self.session = None,
            Kind::Late | Kind::Dps { .. } => {}
        }
        self.look(world);
    }

    /// The same is over.
    pub(super) fn recovers(&mut self, kind: Kind, world: &World) {
        match kind {
            Kind::Power | Kind::Cuts => self.back_about = Some(world.now),
            _ => self.books.is_over(world.now * 60),
        }
        match kind {
            Kind::Power => self.wake(world),
            Kind::Cuts => self.session = None,
            _ => self.cut_off = false,
        }
        self.look(world);
    }

    /// Ten times in a row make it ask DPS; over more than one trouble nobody can tell.
    fn fails_to_connect(&mut self) {
        self.undecided |= self.failing;
        self.failing = self.session.is_none();
    }

    pub(super) fn deliver(&mut self, now: Hour) {
        if !self.held.contains(&2) {
            self.held.push(2);
            self.saved = self.habits.persists == "when-delivered";
            self.roll_if_delivery_is_enough(now);
        }
    }

    /// The job's call, which only reaches who is connected.
    pub(super) fn called(&mut self, now: Hour) {
        let underway = match self.aim {
            Aim::Stay => None,
            Aim::Register { leaf, .. } | Aim::TakeOver { leaf } => Some(leaf),
        };
        if self.session.is_none() || underway == Some(self.newest(now)) {
            return;
        }
        if self.newest(now) > self.current {
            self.roll(now);
        } else {
            self.aim = Aim::Register {
                leaf: self.current,
                commanded: true,
            };
        }
    }

    fn roll_if_delivery_is_enough(&mut self, now: Hour) {
        if self.awake && self.habits.on_delivery && self.newest(now) > self.current {
            self.roll(now);
        }
    }

    fn roll(&mut self, now: Hour) {
        let leaf = self.newest(now);
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
        self.saved |= leaf == 2;
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
        if self.awake && !self.cut_off && !world.dps_away && self.in_turns && both(self) {
            self.undecided = true;
        }
        for _ in 0..STEPS_MAX {
            if !self.awake || !self.tries(world) {
                break;
            }
            self.look(world);
        }
        self.keep_books(world.now);
    }

    fn keep_books(&mut self, now: Hour) {
        let newest = self.held.last() == self.session.as_ref();
        let connected = self.session.is_some();
        self.books.note(now * 60, self.awake, connected, newest);
    }

    /// Notes whether anything is left that the hub would take.
    fn look(&mut self, world: &World) {
        let taken = |leaf: &Leaf| world.hub_takes(self.index, *leaf);
        let lost = self.session.is_none() && !self.held.iter().any(taken);
        self.stranded |= lost && world.now >= ROLL;
        self.keep_books(world.now);
    }

    /// Tries what it is about, the hub before DPS; gives whether anything came of it.
    fn tries(&mut self, world: &mut World) -> bool {
        let registers = matches!(self.aim, Aim::Register { .. });
        if registers && self.power_fails("before-registering", world) {
            return true;
        }
        if self.cut_off {
            return false;
        }
        let shown = match self.aim {
            Aim::TakeOver { leaf } => Some(leaf),
            _ => (self.session.is_none() && self.trusts_current).then_some(self.current),
        };
        if let Some(leaf) = shown {
            // Whoever loses its power while it connects is about the same thing as before.
            let state = |device: &Self| (device.aim, device.trusts_current, device.power_failed);
            let before = state(self);
            match world.hub {
                Presence::There if world.hub_takes(self.index, leaf) => self.connected(leaf, world),
                Presence::There => self.refused_by_hub(leaf),
                Presence::BackSoon => {}
                Presence::Away => self.doubts_its_hub(leaf),
            }
            if self.session.is_some() || before != state(self) {
                return true;
            }
        }
        match self.aim {
            Aim::Register { leaf, .. } => self.registers(leaf, world),
            Aim::Stay | Aim::TakeOver { .. } => false,
        }
    }

    /// R-E8: a session outlives what was to contain its leaf, and ends only later.
    pub(super) fn is_contained(&mut self) {
        self.misused |= self.session == Some(1);
    }

    /// Somebody else connected in its name.
    pub(super) fn is_taken_over(&mut self, world: &World) {
        self.session = None;
        self.look(world);
    }

    fn connected(&mut self, leaf: Leaf, world: &World) {
        self.misused |= world.contained && leaf == 1;
        self.session = Some(leaf);
        self.trusts_current = true;
        self.failing = false;
        // Also a session that ends at once was one.
        self.keep_books(world.now);
        match self.aim {
            Aim::TakeOver { .. } => {
                if self.power_fails("after-connecting", world) {
                    self.undecided |= self.back_about == Some(world.now);
                    return;
                }
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
            self.roll_if_delivery_is_enough(world.now);
        }
    }

    /// R-C11, whatever the firmware: a hub that is not there may be the wrong one.
    fn doubts_its_hub(&mut self, leaf: Leaf) {
        if !matches!(self.aim, Aim::Register { .. }) {
            self.aim = Aim::Register {
                leaf,
                commanded: leaf != self.current,
            };
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
                self.misused |= world.contained && leaf == 1;
                if self.power_fails("after-registering", world) {
                    return true;
                }
                self.saved |= leaf == 2 && self.habits.persists == "when-assigned";
                self.in_turns = false;
                self.trusts_current = true;
                self.aim = match self.session == Some(leaf) {
                    true => Aim::Stay,
                    false => Aim::TakeOver { leaf },
                };
                true
            }
            Word::Disabled | Word::Nothing => false,
            Word::Unauthorized => self.tries_the_other(leaf, world),
        }
    }

    /// With nothing to lose, the other leaf is worth a try where DPS will not have this one.
    fn tries_the_other(&mut self, leaf: Leaf, world: &World) -> bool {
        if self.session.is_some() || self.trusts_current {
            return false;
        }
        let newest = self.newest(world.now);
        let other = match newest == leaf {
            true => self.current,
            false => newest,
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
