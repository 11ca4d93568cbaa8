//! Checks and resolves the operator's steps.

use std::time::Duration;

use toml::Spanned;

use super::check::{self, Checked, at, known};
use super::duration::Span;
use super::place::Source;
use super::raw::{RawSlot, RawStep};
use super::{
    Action, Allocation, Authority, Enrollment, FleetShape, GroupStyle, IdentityChange, LeafKind,
    Step, condition,
};
use crate::observation::Generation;

const STEPS_MAX: usize = 1000;

/// The kinds of steps with the fields that belong to each.
pub(super) const KINDS: [(&str, &[&str]); 14] = [
    ("add-ca-certificate", &["certificate", "verified"]),
    (
        "put-group",
        &[
            "group",
            "primary",
            "secondary",
            "style",
            "disabled",
            "hub",
            "reprovision",
            "allocation",
        ],
    ),
    (
        "put-individuals",
        &["primary", "secondary", "disabled", "allocation", "share"],
    ),
    ("delete-individuals", &["share"]),
    ("disable-hub-identities", &["share"]),
    ("enable-hub-identities", &["share"]),
    ("delete-hub-identities", &["share"]),
    ("deliver-leaf", &["generation", "firmware"]),
    ("call-method", &["method"]),
    ("schedule-job", &["method"]),
    ("deploy-function", &["hub", "linked", "share"]),
    ("audit", &["generation", "at_hub", "at_dps", "share"]),
    ("delete-ca-certificate", &["certificate"]),
    ("delete-group", &["group"]),
];

/// What the rest of the file declares.
pub(super) struct Known<'a> {
    pub(super) authorities: &'a [Authority],
    pub(super) leaves: &'a [LeafKind],
    pub(super) fleet: &'a FleetShape,
    pub(super) hubs: &'a [String],
    pub(super) duration: Duration,
    /// Whether the scenario is about devices that are refused.
    pub(super) locks_out: bool,
}

pub(super) fn resolve(
    source: Source<'_>,
    raw: &[RawStep],
    declared: &Known<'_>,
) -> Checked<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for entry in raw {
        let before = steps.last().map_or(Duration::ZERO, |step| step.at);
        let moment = time_of(source, entry, before, declared)?;
        let reader = Reader {
            source,
            step: entry,
            declared,
        };
        reader.fields_belong()?;
        let action = reader.action()?;
        reader.fits(&action, moment, &steps)?;
        let known = |place: &Spanned<u32>, number| reader.known_generation(place, number);
        let times = (moment, declared.duration);
        steps.push(Step {
            at: moment,
            when: condition::condition(source, entry.when.as_ref(), times, known)?,
            may_fail: condition::may_fail(source, entry.may_fail.as_ref())?,
            action,
        });
        if steps.len() > STEPS_MAX {
            let message = format!("a scenario may have at most {STEPS_MAX} steps");
            return Err(at(source, &entry.r#do, message));
        }
    }
    the_roll_is_whole(source, &steps, declared)?;
    Ok(steps)
}

fn time_of(
    source: Source<'_>,
    step: &RawStep,
    before: Duration,
    declared: &Known<'_>,
) -> Checked<Duration> {
    let Some(value) = &step.at else {
        return Ok(before);
    };
    let moment = value.get_ref().duration();
    if *value.get_ref() < Span(0) || moment > declared.duration {
        return Err(at(
            source,
            value,
            format!("{} lies outside the run", value.get_ref()),
        ));
    }
    if moment < before {
        let message = format!(
            "{} is earlier than the step before it; steps run in the order of the file",
            value.get_ref()
        );
        return Err(at(source, value, message));
    }
    Ok(moment)
}

fn the_roll_is_whole(source: Source<'_>, steps: &[Step], declared: &Known<'_>) -> Checked<()> {
    if declared.leaves.is_empty() {
        return Err(source.error_at(
            0,
            "devices need a certificate: declare [[leaf]] generation = 1",
        ));
    }
    let delivers = |step: &Step| matches!(step.action, Action::DeliverLeaf { .. });
    if !steps.iter().any(delivers) && !declared.locks_out {
        let message = "no step delivers a leaf and [locked_out] names no device, so there is \
                       nothing to judge";
        return Err(source.error_at(0, message));
    }
    let enrolls = |step: &Step| match (&step.action, &declared.fleet.enrollment) {
        (Action::PutGroup { group, .. }, Enrollment::Group(own)) => group == own,
        (Action::PutIndividuals { .. }, Enrollment::Individual) => true,
        _ => false,
    };
    if !steps.iter().any(enrolls) {
        let message = match &declared.fleet.enrollment {
            Enrollment::Group(group) => {
                format!("no put-group step creates fleet's group `{group}`")
            }
            Enrollment::Individual => "no put-individuals step enrolls the devices".to_owned(),
        };
        return Err(source.error_at(0, message));
    }
    Ok(())
}

/// Whether the operator has a function from this step on.
pub(super) fn deploys(step: &Step) -> bool {
    matches!(step.action, Action::DeployFunction { .. })
}

/// Reads a share: one device in so many.
pub(super) fn one_in(source: Source<'_>, share: &Spanned<String>) -> Checked<u32> {
    let number = share
        .get_ref()
        .strip_prefix("1/")
        .and_then(|n| n.parse().ok());
    number.filter(|n| (1..=100_000).contains(n)).ok_or_else(|| {
        let message = format!("`{}` is not a share like \"1/10\"", share.get_ref());
        at(source, share, message)
    })
}

/// Reads one step.
struct Reader<'a> {
    source: Source<'a>,
    step: &'a RawStep,
    declared: &'a Known<'a>,
}

impl Reader<'_> {
    fn fields_belong(&self) -> Checked<()> {
        let kind = self.step.r#do.get_ref().as_str();
        let Some((_, fields)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            let names = known("step", KINDS.iter().map(|(name, _)| *name));
            let message = format!("no step is called `{kind}`; {names}");
            return Err(at(self.source, &self.step.r#do, message));
        };
        for (field, start) in self.present() {
            if !fields.contains(&field) {
                let names = known("field", fields.iter().copied());
                let message = format!("`{field}` does not belong to a `{kind}` step; {names}");
                return Err(self.source.error_at(start, message));
            }
        }
        Ok(())
    }

    fn present(&self) -> Vec<(&'static str, usize)> {
        fn start<T>(value: Option<&Spanned<T>>) -> Option<usize> {
            value.map(|value| value.span().start)
        }
        let step = self.step;
        let fields = [
            ("certificate", start(step.certificate.as_ref())),
            ("group", start(step.group.as_ref())),
            ("primary", start(step.primary.as_ref())),
            ("secondary", start(step.secondary.as_ref())),
            ("style", start(step.style.as_ref())),
            ("disabled", start(step.disabled.as_ref())),
            ("hub", start(step.hub.as_ref())),
            ("reprovision", start(step.reprovision.as_ref())),
            ("allocation", start(step.allocation.as_ref())),
            ("linked", start(step.linked.as_ref())),
            ("verified", start(step.verified.as_ref())),
            ("generation", start(step.generation.as_ref())),
            ("method", start(step.method.as_ref())),
            ("firmware", start(step.firmware.as_ref())),
            ("at_hub", start(step.at_hub.as_ref())),
            ("at_dps", start(step.at_dps.as_ref())),
            ("share", start(step.share.as_ref())),
        ];
        fields
            .into_iter()
            .filter_map(|(name, start)| Some((name, start?)))
            .collect()
    }

    fn action(&self) -> Checked<Action> {
        let step = self.step;
        Ok(match step.r#do.get_ref().as_str() {
            "add-ca-certificate" => Action::AddCaCertificate {
                certificate: self.certificate()?,
                verified: step.verified.as_ref().is_none_or(|value| *value.get_ref()),
            },
            "delete-ca-certificate" => Action::DeleteCaCertificate {
                certificate: self.certificate()?,
            },
            "put-group" => Action::PutGroup {
                group: self.needed("group", step.group.as_ref())?.get_ref().clone(),
                primary: self.authority_slot(step.primary.as_ref())?,
                secondary: self.authority_slot(step.secondary.as_ref())?,
                style: self.style()?,
                disabled: step.disabled.as_ref().is_some_and(|value| *value.get_ref()),
                hub: self.hub()?,
                reprovision: step.reprovision.as_ref().map(|value| *value.get_ref()),
                allocation: self.allocation(),
            },
            "delete-group" => Action::DeleteGroup {
                group: self.needed("group", step.group.as_ref())?.get_ref().clone(),
            },
            "put-individuals" => Action::PutIndividuals {
                primary: self.generation_slot(step.primary.as_ref())?,
                secondary: self.generation_slot(step.secondary.as_ref())?,
                disabled: step.disabled.as_ref().is_some_and(|value| *value.get_ref()),
                allocation: self.allocation(),
                one_in: self.one_in()?,
            },
            "delete-individuals" => Action::DeleteIndividuals {
                one_in: self.one_in()?,
            },
            "disable-hub-identities" => self.identities(IdentityChange::Disable)?,
            "enable-hub-identities" => self.identities(IdentityChange::Enable)?,
            "delete-hub-identities" => self.identities(IdentityChange::Delete)?,
            "deliver-leaf" => Action::DeliverLeaf {
                generation: self.generation()?,
                firmware: self.firmware()?,
            },
            "call-method" => Action::CallMethod {
                method: self.method()?,
            },
            "schedule-job" => Action::ScheduleJob {
                method: self.method()?,
            },
            "deploy-function" => self.function()?,
            _ => Action::Audit {
                generation: self.generation()?,
                at_hub: step.at_hub.as_ref().is_some_and(|value| *value.get_ref()),
                at_dps: step.at_dps.as_ref().is_some_and(|value| *value.get_ref()),
                one_in: self.one_in()?,
            },
        })
    }

    fn needed<'v, T>(&self, field: &str, value: Option<&'v Spanned<T>>) -> Checked<&'v Spanned<T>> {
        let kind = self.step.r#do.get_ref();
        value.ok_or_else(|| {
            at(
                self.source,
                &self.step.r#do,
                format!("a `{kind}` step needs the field `{field}`"),
            )
        })
    }

    fn firmware(&self) -> Checked<Option<String>> {
        let Some(name) = &self.step.firmware else {
            return Ok(None);
        };
        let models = &self.declared.fleet.firmware;
        if models
            .iter()
            .any(|(_, model)| model.name == *name.get_ref())
        {
            return Ok(Some(name.get_ref().clone()));
        }
        let names = known(
            "firmware",
            models.iter().map(|(_, model)| model.name.as_str()),
        );
        let message = format!("no firmware is called `{}`; {names}", name.get_ref());
        Err(at(self.source, name, message))
    }

    fn hub(&self) -> Checked<Option<String>> {
        let name = self.step.hub.as_ref();
        let known = |name| check::hub(self.source, name, self.declared.hubs);
        name.map(known).transpose()
    }

    fn allocation(&self) -> Option<Allocation> {
        self.step.allocation.as_ref().map(|value| *value.get_ref())
    }

    fn function(&self) -> Checked<Action> {
        let name = self.needed("hub", self.step.hub.as_ref())?;
        let linked = self.step.linked.as_ref();
        let linked = linked.is_none_or(|value| *value.get_ref());
        let hub = match linked {
            true => check::hub(self.source, name, self.declared.hubs)?,
            false => check::other_hub(self.source, name, self.declared.hubs)?,
        };
        Ok(Action::DeployFunction {
            hub,
            linked,
            one_in: self.one_in()?,
        })
    }

    fn method(&self) -> Checked<String> {
        let method = self.needed("method", self.step.method.as_ref())?;
        Ok(method.get_ref().clone())
    }

    fn identities(&self, change: IdentityChange) -> Checked<Action> {
        Ok(Action::ChangeHubIdentities {
            change,
            one_in: self.one_in()?,
        })
    }

    fn certificate(&self) -> Checked<String> {
        let name = self.needed("certificate", self.step.certificate.as_ref())?;
        self.authority(name, name.get_ref())
    }

    fn authority<T>(&self, place: &Spanned<T>, name: &str) -> Checked<String> {
        let declared = self.declared.authorities;
        if declared.iter().any(|authority| authority.name == name) {
            return Ok(name.to_owned());
        }
        let names = known(
            "authority",
            declared.iter().map(|authority| authority.name.as_str()),
        );
        Err(at(
            self.source,
            place,
            format!("no authority is called `{name}`; {names}"),
        ))
    }

    fn authority_slot(&self, slot: Option<&Spanned<RawSlot>>) -> Checked<Option<String>> {
        let Some(slot) = slot else { return Ok(None) };
        match slot.get_ref() {
            RawSlot::Authority(name) => self.authority(slot, name).map(Some),
            RawSlot::Generation(_) => {
                let message = "a group's slot holds the name of an authority, in quotes";
                Err(at(self.source, slot, message))
            }
        }
    }

    fn generation_slot(&self, slot: Option<&Spanned<RawSlot>>) -> Checked<Option<Generation>> {
        let Some(slot) = slot else { return Ok(None) };
        match slot.get_ref() {
            RawSlot::Generation(number) => self.known_generation(slot, *number).map(Some),
            RawSlot::Authority(_) => {
                let message = "an individual entry's slot holds the number of a generation";
                Err(at(self.source, slot, message))
            }
        }
    }

    fn generation(&self) -> Checked<Generation> {
        let number = self.needed("generation", self.step.generation.as_ref())?;
        self.known_generation(number, *number.get_ref())
    }

    fn known_generation<T>(&self, place: &Spanned<T>, number: u32) -> Checked<Generation> {
        let generation = Generation(number);
        if self
            .declared
            .leaves
            .iter()
            .any(|leaf| leaf.generation == generation)
        {
            return Ok(generation);
        }
        let numbers: Vec<String> = self
            .declared
            .leaves
            .iter()
            .map(|leaf| leaf.generation.0.to_string())
            .collect();
        let names = known("generation", numbers.iter().map(String::as_str));
        Err(at(
            self.source,
            place,
            format!("no [[leaf]] has generation {number}; {names}"),
        ))
    }

    fn style(&self) -> Checked<GroupStyle> {
        let Some(style) = &self.step.style else {
            return Ok(GroupStyle::SigningCertificates);
        };
        match style.get_ref().as_str() {
            "signing-certificates" => Ok(GroupStyle::SigningCertificates),
            "ca-references" => Ok(GroupStyle::CaReferences),
            other => {
                let names = known("style", ["signing-certificates", "ca-references"]);
                Err(at(
                    self.source,
                    style,
                    format!("no style is called `{other}`; {names}"),
                ))
            }
        }
    }

    fn one_in(&self) -> Checked<u32> {
        let share = self.step.share.as_ref();
        share.map_or(Ok(1), |share| one_in(self.source, share))
    }

    /// What a step presumes of the time and of the steps before it.
    fn fits(&self, action: &Action, moment: Duration, before: &[Step]) -> Checked<()> {
        let complain = |message: String| Err(at(self.source, &self.step.r#do, message));
        match action {
            Action::PutGroup {
                primary: None,
                secondary: None,
                ..
            }
            | Action::PutIndividuals {
                primary: None,
                secondary: None,
                disabled: false,
                ..
            } => complain("name at least one of `primary` and `secondary`".to_owned()),
            Action::Audit {
                at_hub: false,
                at_dps: false,
                ..
            } => complain("say where to try: `at_hub = true`, `at_dps = true` or both".to_owned()),
            Action::DeliverLeaf {
                generation: Generation(1),
                ..
            } => complain("devices are born with generation 1; deliver a later one".to_owned()),
            Action::CallMethod { .. } | Action::ScheduleJob { .. } if !self.all_awake(moment) => {
                complain(format!(
                    "not every device is awake at {}; choose a time at least fleet.spread after a \
                 window's start and before its end",
                    Span(i64::try_from(moment.as_millis()).unwrap_or(i64::MAX))
                ))
            }
            Action::PutGroup {
                allocation: Some(Allocation::Custom),
                ..
            }
            | Action::PutIndividuals {
                allocation: Some(Allocation::Custom),
                ..
            } if !before.iter().any(deploys) => {
                complain("there is nothing to ask; let a `deploy-function` step come first".into())
            }
            Action::DeployFunction { one_in, .. } if *one_in > 1 && !before.iter().any(deploys) => {
                let message = "what is deployed first has to answer for every device; leave \
                               `share` out";
                complain(message.to_owned())
            }
            Action::DeleteGroup { group } => {
                let mut put = before.iter().filter_map(|step| match &step.action {
                    Action::PutGroup { group, .. } => Some(group.as_str()),
                    _ => None,
                });
                if put.any(|known| known == group) {
                    return Ok(());
                }
                complain(format!(
                    "no step before this one creates the group `{group}`"
                ))
            }
            _ => Ok(()),
        }
    }

    fn all_awake(&self, moment: Duration) -> bool {
        let fleet = self.declared.fleet;
        fleet
            .awake
            .iter()
            .any(|window| window.from + fleet.spread <= moment && moment < window.until)
    }
}
