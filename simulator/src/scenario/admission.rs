//! Which certificates DPS ought to admit after each step, worked out from the scenario alone.
//!
//! The checker holds the emulator to this: a generation that was admitted and no longer is has
//! been retired, and nothing may register with it from then on (R-A16, R-A21, R-A22, R-D7).

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, GroupStyle, LeafKind, Scenario};
use crate::observation::{DeviceIndex, Generation};

/// DPS as the operator believes it to be.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    verified: BTreeSet<String>,
    groups: BTreeMap<String, Group>,
    /// What was done to devices' own entries, one device in so many each time; `None` deleted.
    individuals: Vec<(u32, Option<Individual>)>,
}

#[derive(Clone, Debug)]
struct Individual {
    slots: [Option<Generation>; 2],
    disabled: bool,
}

#[derive(Clone, Debug)]
struct Group {
    slots: [Option<String>; 2],
    style: GroupStyle,
    disabled: bool,
}

impl Admission {
    /// Takes note of an action that succeeded.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::AddCaCertificate {
                certificate,
                verified: true,
            } => {
                self.verified.insert(certificate.clone());
            }
            Action::DeleteCaCertificate { certificate } => {
                self.verified.remove(certificate);
            }
            Action::PutGroup {
                group,
                primary,
                secondary,
                style,
                disabled,
                ..
            } => {
                let slots = [primary.clone(), secondary.clone()];
                let entry = Group {
                    slots,
                    style: *style,
                    disabled: *disabled,
                };
                self.groups.insert(group.clone(), entry);
            }
            Action::DeleteGroup { group } => {
                self.groups.remove(group);
            }
            Action::PutIndividuals {
                primary,
                secondary,
                disabled,
                one_in,
                ..
            } => {
                let entry = Individual {
                    slots: [*primary, *secondary],
                    disabled: *disabled,
                };
                self.individuals.push((*one_in, Some(entry)));
            }
            Action::DeleteIndividuals { one_in } => self.individuals.push((*one_in, None)),
            Action::AddCaCertificate {
                verified: false, ..
            }
            | Action::ChangeHubIdentities { .. }
            | Action::DeliverLeaf { .. }
            | Action::CallMethod { .. }
            | Action::ScheduleJob { .. }
            | Action::DeployFunction { .. }
            | Action::Audit { .. } => {}
        }
    }

    /// The generations with whose leaves `device` may register, expiry left aside.
    #[must_use]
    pub fn admitted(&self, scenario: &Scenario, device: DeviceIndex) -> BTreeSet<Generation> {
        let mut admitted = BTreeSet::new();
        let touched = |(one_in, _): &&(u32, _)| device.0.is_multiple_of(*one_in);
        let individual = self.individuals.iter().rev().find(touched);
        for leaf in &scenario.leaves {
            let chain = self.path(scenario, leaf);
            let anchored = chain.iter().any(|name| self.verified.contains(*name));
            let entered = match individual {
                // An entry of the device's own shadows every group (R-A21b).
                Some((_, Some(own))) => !own.disabled && own.slots.contains(&Some(leaf.generation)),
                Some((_, None)) | None => chain
                    .iter()
                    .find_map(|name| self.group_on(name))
                    .is_some_and(|group| !group.disabled),
            };
            if anchored && entered {
                admitted.insert(leaf.generation);
            }
        }
        admitted
    }

    /// The authorities that DPS finds above `leaf`, nearest first: those that devices show, and
    /// behind each the verified root that signed it (R-A16, I-3).
    fn path<'s>(&self, scenario: &'s Scenario, leaf: &'s LeafKind) -> Vec<&'s str> {
        let root = |name: &'s str| {
            let found = scenario.authority(name)?;
            (found.issuer.is_none() && self.verified.contains(name)).then_some(name)
        };
        let mut path: Vec<&str> = Vec::new();
        let mut issuer = Some(leaf.issuer.as_str());
        for shown in scenario.shown_with(leaf) {
            path.extend(issuer.and_then(root).filter(|name| *name != shown.name));
            path.push(&shown.name);
            issuer = shown.issuer.as_deref();
        }
        path.extend(issuer.and_then(root));
        path
    }

    fn group_on(&self, authority: &str) -> Option<&Group> {
        self.groups.values().find(|group| {
            let named = group.slots.iter().flatten().any(|slot| slot == authority);
            // A reference to a certificate no longer in the store leads nowhere.
            let stored = self.verified.contains(authority);
            named && (group.style == GroupStyle::SigningCertificates || stored)
        })
    }
}
