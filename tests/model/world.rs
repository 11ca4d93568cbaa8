//! DPS and one hub as their rules have it: who is admitted, who is let in, what an edit changes.

use super::firmware::Device;
use super::procedure::{Hour, NewIssuer, Procedure};

/// Devices of a procedure. Every other one, from the first on, is meant where a step says half.
pub(super) const DEVICES: u32 = 4;

/// Which of a device's two leaves.
pub(super) type Leaf = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    A,
    B,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Disable,
    Enable,
    Delete,
}

/// Something an operator does. Slots say whether they hold the old and the new thing: leaves in
/// an entry, intermediates in the lower group, roots in the upper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    AddCa {
        root: Root,
        verified: bool,
    },
    DeleteCa {
        root: Root,
    },
    PutGroup {
        upper: bool,
        slots: [bool; 2],
        disabled: bool,
    },
    DeleteGroup {
        upper: bool,
    },
    PutEntries {
        slots: [bool; 2],
        disabled: bool,
        half: bool,
    },
    DeleteEntries {
        half: bool,
    },
    Identities {
        change: Change,
        half: bool,
    },
    Deliver,
    Roll,
}

/// An enrollment, of whatever kind.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slots: [bool; 2],
    disabled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    leaf: Leaf,
    enabled: bool,
}

/// What DPS says to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Assigned,
    /// The entry is disabled; the credential is as good as any (R-A27).
    Disabled,
    Unauthorized,
    /// It has troubles of its own.
    Nothing,
}

/// Whether the hub is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    /// Back before anybody doubts it.
    BackSoon,
    /// Away until devices ask DPS where they belong (R-C11).
    Away,
}

pub(super) struct World {
    pub(super) now: Hour,
    pub(super) hub: Presence,
    /// Whether DPS leaves every request without its answer.
    pub(super) dps_away: bool,
    /// Whether the old leaves ought to be worthless, because a thief has them.
    pub(super) contained: bool,
    new_issuer: NewIssuer,
    old_until: Hour,
    verified: [bool; 2],
    /// On intermediates, and on roots.
    groups: [Option<Entry>; 2],
    entries: [Option<Entry>; DEVICES as usize],
    identities: [Option<Identity>; DEVICES as usize],
}

impl World {
    /// As it is once every device is provisioned with its old leaf.
    pub(super) fn new(procedure: &Procedure) -> Self {
        let old_alone = Entry {
            slots: [true, false],
            disabled: false,
        };
        let identity = Identity {
            leaf: 1,
            enabled: true,
        };
        Self {
            now: 0,
            hub: Presence::There,
            dps_away: false,
            contained: false,
            new_issuer: procedure.new_issuer,
            old_until: procedure.old_until,
            verified: [true, false],
            groups: [(!procedure.individual).then_some(old_alone), None],
            entries: [procedure.individual.then_some(old_alone); DEVICES as usize],
            identities: [Some(identity); DEVICES as usize],
        }
    }

    pub(super) fn is_valid(&self, leaf: Leaf) -> bool {
        leaf == 2 || self.now < self.old_until
    }

    /// Whether the old leaf has expired by a clock that shows this minute.
    pub(super) fn has_expired_by(&self, minute: i64) -> bool {
        minute >= i64::from(self.old_until) * 60
    }

    /// R-G7: the exact leaf, of an enabled identity, within its validity.
    pub(super) fn hub_takes(&self, device: u32, leaf: Leaf) -> bool {
        self.identities[device as usize]
            .is_some_and(|identity| identity.enabled && identity.leaf == leaf)
            && self.is_valid(leaf)
    }

    /// What DPS says to `leaf`, shown with its issuers or bare.
    fn word(&self, device: u32, leaf: Leaf, with_issuers: bool) -> Word {
        // Of the pairs (old, new): the intermediate and the root above this leaf.
        let (intermediate, root) = match (leaf, self.new_issuer) {
            (1, _) | (_, NewIssuer::Same) => (0, 0),
            (_, NewIssuer::Intermediate) => (1, 0),
            (_, NewIssuer::Root) => (1, 1),
        };
        let entry = match self.entries[device as usize] {
            // An entry of its own shadows every group, whether it fits or not (R-A21b).
            Some(own) => own.slots[leaf as usize - 1].then_some(own),
            None if !with_issuers => None,
            // The nearest group decides, and no other is looked at (R-A22).
            None => self.groups[0]
                .filter(|group| group.slots[intermediate])
                .or(self.groups[1].filter(|group| group.slots[root])),
        };
        // A path must reach a verified certificate, with an entry of one's own too (R-A12, R-A16).
        let anchored = with_issuers && self.verified[root];
        match entry {
            Some(entry) if anchored && self.is_valid(leaf) => match entry.disabled {
                true => Word::Disabled,
                false => Word::Assigned,
            },
            _ => Word::Unauthorized,
        }
    }

    /// A registration. The hub's identity holds the leaf that was shown, and no other, from then
    /// on (R-B18, R-B19, R-B21); one that was deleted is made anew.
    pub(super) fn register(&mut self, device: u32, leaf: Leaf, with_issuers: bool) -> Word {
        if self.dps_away {
            return Word::Nothing;
        }
        let word = self.word(device, leaf, with_issuers);
        if word == Word::Assigned {
            let identity = &mut self.identities[device as usize];
            let enabled = identity.is_none_or(|identity| identity.enabled);
            *identity = Some(Identity { leaf, enabled });
        }
        word
    }

    /// Whether DPS would have `leaf` now.
    pub(super) fn would_assign(&self, device: u32, leaf: Leaf, with_issuers: bool) -> bool {
        self.word(device, leaf, with_issuers) == Word::Assigned
    }

    /// What a stranger with the old leaf and its issuers does to `device`, if DPS lets him.
    pub(super) fn try_old_leaf_at_dps(&mut self, device: u32) -> bool {
        self.register(device, 1, true) == Word::Assigned
    }

    pub(super) fn take(&mut self, step: Step, devices: &mut [Device]) {
        let meant = |half: bool| (0..DEVICES).filter(move |device| !half || device % 2 == 0);
        match step {
            Step::AddCa { root, verified } => self.verified[root as usize] = verified,
            Step::DeleteCa { root } => self.verified[root as usize] = false,
            Step::PutGroup {
                upper,
                slots,
                disabled,
            } => self.groups[usize::from(upper)] = Some(Entry { slots, disabled }),
            Step::DeleteGroup { upper } => self.groups[usize::from(upper)] = None,
            Step::PutEntries {
                slots,
                disabled,
                half,
            } => {
                for device in meant(half) {
                    // No entry takes a certificate that is too old, unless it holds it (R-A20).
                    let holds = self.entries[device as usize].is_some_and(|entry| entry.slots[0]);
                    if holds || !slots[0] || self.is_valid(1) {
                        self.entries[device as usize] = Some(Entry { slots, disabled });
                    }
                }
            }
            Step::DeleteEntries { half } => {
                for device in meant(half) {
                    self.entries[device as usize] = None;
                }
            }
            Step::Identities { change, half } => {
                for device in meant(half) {
                    self.change(device, change, &mut devices[device as usize]);
                }
            }
            Step::Deliver => devices
                .iter_mut()
                .for_each(|device| device.deliver(self.now)),
            Step::Roll => devices
                .iter_mut()
                .for_each(|device| device.called(self.now)),
        }
    }

    /// R-E6: who is disabled or deleted is thrown out.
    fn change(&mut self, number: u32, change: Change, device: &mut Device) {
        let identity = &mut self.identities[number as usize];
        match (change, identity.as_mut()) {
            (Change::Enable, Some(identity)) => identity.enabled = true,
            (Change::Disable, Some(identity)) => {
                identity.enabled = false;
                device.session = None;
            }
            (Change::Delete, Some(_)) => {
                *identity = None;
                device.session = None;
            }
            (_, None) => {}
        }
    }
}

impl Step {
    pub(super) fn to_toml(self) -> String {
        let root = |root| if root == Root::A { "root-a" } else { "root-b" };
        let filled = |slots: [bool; 2], old: &str, new: &str| match slots {
            [true, true] => format!("primary = {old}\nsecondary = {new}"),
            [true, false] => format!("primary = {old}"),
            _ => format!("primary = {new}"),
        };
        let share = |half| if half { "\nshare = \"1/2\"" } else { "" };
        match self {
            Self::AddCa {
                root: which,
                verified,
            } => {
                let name = root(which);
                format!(
                    "do = \"add-ca-certificate\"\ncertificate = \"{name}\"\nverified = {verified}"
                )
            }
            Self::DeleteCa { root: which } => {
                format!(
                    "do = \"delete-ca-certificate\"\ncertificate = \"{}\"",
                    root(which)
                )
            }
            Self::PutGroup {
                upper,
                slots,
                disabled,
            } => {
                let (name, slots) = match upper {
                    true => ("upper", filled(slots, "\"root-a\"", "\"root-b\"")),
                    false => ("fleet", filled(slots, "\"issuer-a\"", "\"issuer-b\"")),
                };
                format!("do = \"put-group\"\ngroup = \"{name}\"\n{slots}\ndisabled = {disabled}")
            }
            Self::DeleteGroup { upper } => {
                let name = if upper { "upper" } else { "fleet" };
                format!("do = \"delete-group\"\ngroup = \"{name}\"")
            }
            Self::PutEntries {
                slots,
                disabled,
                half,
            } => {
                let slots = filled(slots, "1", "2");
                format!(
                    "do = \"put-individuals\"\n{slots}\ndisabled = {disabled}{}",
                    share(half)
                )
            }
            Self::DeleteEntries { half } => format!("do = \"delete-individuals\"{}", share(half)),
            Self::Identities { change, half } => {
                let verb = match change {
                    Change::Disable => "disable",
                    Change::Enable => "enable",
                    Change::Delete => "delete",
                };
                format!("do = \"{verb}-hub-identities\"{}", share(half))
            }
            Self::Deliver => "do = \"deliver-leaf\"\ngeneration = 2".to_owned(),
            Self::Roll => "do = \"schedule-job\"\nmethod = \"reprovision\"".to_owned(),
        }
    }
}
