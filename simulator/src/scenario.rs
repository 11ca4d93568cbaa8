//! A scenario: one claim about a rollover, as data.
//!
//! A TOML file becomes a `RawScenario`, is checked as a whole, and becomes a
//! [`Scenario`] in which every name is known to exist. Nothing later re-reads the file.

pub mod admission;
mod authority;
mod backoff;
mod check;
pub mod condition;
pub mod duration;
mod fault;
pub mod intent;
pub mod limits;
pub mod pace;
mod place;
pub mod plan;
mod power;
mod raw;
mod readings;
pub mod schema;
mod steps;
pub mod suggest;

use std::fmt;
use std::time::Duration;

use linarite_env::UnixMillis;

pub use condition::{Condition, Percent};
pub use duration::Span;
pub use intent::{Breach, Lockout};
pub use limits::Limits;
pub use place::ScenarioError;

use crate::fault::{Fault, Recovery};
use crate::firmware::Firmware;
use crate::matrix::Matrix;
use crate::observation::{DeviceIndex, Generation};
use crate::pki::Given;
use crate::plan::Window;
use crate::readings::Readings;

/// Most devices a run may have.
pub const DEVICES_MAX: u32 = 100_000;

/// A scenario whose every part is known to make sense.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name, as files and reports carry it.
    pub name: String,
    /// The file it came from, or its embedded name.
    pub file: String,
    /// What a pass proves, in one sentence.
    pub claim: String,
    /// The section of the roll guide that it follows.
    pub guide: Option<String>,
    /// Rules and oracles it exercises.
    pub proves: Vec<String>,
    /// Seed, where the command line gives none.
    pub seed: u64,
    /// Time zero as a day of the calendar, where the scenario has one.
    pub starts: Option<UnixMillis>,
    /// Length of the run.
    pub duration: Duration,
    /// From when on the zero-downtime checks count.
    pub roll_starts: Duration,
    /// Longest wait between sessions while awake.
    pub gap_budget: Duration,
    /// Longest time a device may hold nothing that its hub would take.
    pub stranded_budget: Duration,
    /// Certificates in the hands of a thief, if the scenario is about a breach.
    pub breach: Option<Breach>,
    /// Devices that are meant to be refused, if there are any.
    pub locked_out: Option<Lockout>,
    /// The hubs, by their short names.
    pub hubs: Vec<String>,
    /// The hub that every device must end on, if it matters.
    pub ends_on: Option<String>,
    /// How it runs against the wall clock.
    pub real_time: RealTime,
    /// How the emulator reads what Azure does not document, where it is not the usual way.
    pub settings: Readings,
    /// How often DPS may be asked.
    pub limits: Limits,
    /// What of these the command line chose.
    pub overrides: Readings,
    /// Readings to compare.
    pub matrix: Matrix,
    /// What registration ids begin with.
    pub id_prefix: String,
    /// The devices.
    pub fleet: FleetShape,
    /// Roots and intermediates; an issuer stands before those it signs.
    pub authorities: Vec<Authority>,
    /// Generations of device certificates, from 1 without gaps.
    pub leaves: Vec<LeafKind>,
    /// What goes wrong on purpose.
    pub faults: Vec<Fault>,
    /// When all have to be back from it; none where nothing goes wrong.
    pub recovery: Option<Recovery>,
    /// What the operator does, in order.
    pub steps: Vec<Step>,
    /// How it is meant to end.
    pub expect: Expectation,
}

/// How a scenario shrinks against the wall clock: the procedure does, protocols do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealTime {
    /// Wall time of one scenario day asleep.
    pub day: Duration,
    /// Time between two telemetry messages of a device.
    pub telemetry: Duration,
    /// Within which time devices are switched on.
    pub spread: Duration,
    /// What becomes of a time awake, however long it is.
    pub awake: Duration,
}

/// The devices of a scenario.
#[derive(Clone, Debug)]
pub struct FleetShape {
    /// How many, where the command line does not say.
    pub devices: u32,
    /// How DPS knows them.
    pub enrollment: Enrollment,
    /// Time between two telemetry messages of a device.
    pub telemetry: Duration,
    /// Each device wakes up to this much after its window begins.
    pub spread: Duration,
    /// When devices are awake; the last window reaches the end of the run.
    pub awake: Vec<Window>,
    /// Firmware models with their shares.
    pub firmware: Vec<(u32, Firmware)>,
}

/// How DPS knows the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrollment {
    /// All through one enrollment group.
    Group(String),
    /// Each by an entry of its own.
    Individual,
}

/// A root or an intermediate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its name, also as a DPS CA certificate.
    pub name: String,
    /// Who signed it; `None` for a root.
    pub issuer: Option<String>,
    /// Whose subject and key it shares, if it is a cross certificate.
    pub same_key_as: Option<String>,
    /// First moment of its life, from the start of the run.
    pub from: Span,
    /// Last moment of its life.
    pub until: Span,
    /// Its certificate and key, where they were made elsewhere.
    pub given: Option<Given>,
}

/// One generation of device certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafKind {
    /// Its number.
    pub generation: Generation,
    /// The authority that signs it.
    pub issuer: String,
    /// The authorities whose certificates devices show with it, nearest first, where these are
    /// not all up to its root.
    pub chain: Option<Vec<String>>,
    /// Subject common name; `{id}` stands for the registration id.
    pub common_name: String,
    /// First moment of its life, from the start of the run.
    pub from: Span,
    /// Last moment of its life.
    pub until: Span,
}

impl LeafKind {
    /// The common name of the device `registration_id`.
    #[must_use]
    pub fn common_name_of(&self, registration_id: &str) -> String {
        self.common_name.replace("{id}", registration_id)
    }
}

/// Something the operator does, not before a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Not before this time from the start of the run.
    pub at: Duration,
    /// What it waits for, if that is more than the time.
    pub when: Option<Condition>,
    /// How much of it may fail.
    pub may_fail: Percent,
    /// What to do.
    pub action: Action,
}

impl fmt::Display for Step {
    /// As the report lists it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.action)?;
        self.when
            .map_or(Ok(()), |condition| write!(f, ", once {condition}"))
    }
}

/// What an operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Upload a CA certificate and, unless that is forgotten, prove possession of its key.
    AddCaCertificate { certificate: String, verified: bool },
    /// Delete a CA certificate.
    DeleteCaCertificate { certificate: String },
    /// Create or save an enrollment group.
    PutGroup {
        group: String,
        primary: Option<String>,
        secondary: Option<String>,
        style: GroupStyle,
        disabled: bool,
        /// The one hub it assigns devices to from now on; else any.
        hub: Option<String>,
        /// What becomes of a device that registers again; else as it was.
        reprovision: Option<Reprovision>,
        /// Who chooses a device's hub from now on; else as it was.
        allocation: Option<Allocation>,
    },
    /// Delete an enrollment group.
    DeleteGroup { group: String },
    /// Create or save the individual enrollment of one device of `one_in`. Without a certificate
    /// it is one by symmetric key, which the device does not have.
    PutIndividuals {
        primary: Option<Generation>,
        secondary: Option<Generation>,
        disabled: bool,
        /// Who chooses the device's hub; else DPS, as the instance does.
        allocation: Option<Allocation>,
        one_in: u32,
    },
    /// Delete the individual enrollment of one device of `one_in`.
    DeleteIndividuals { one_in: u32 },
    /// Change or delete the hub identity of one device of `one_in`.
    ChangeHubIdentities { change: IdentityChange, one_in: u32 },
    /// Put a certificate of this generation into the secure store of every device, or of every
    /// device with one firmware.
    DeliverLeaf {
        generation: Generation,
        firmware: Option<String>,
    },
    /// Call a direct method on every device.
    CallMethod { method: String },
    /// Have every hub call a direct method on all its devices, by a job.
    ScheduleJob { method: String },
    /// Put a version of the operator's function in place, which DPS asks where the function
    /// chooses (R-B16).
    DeployFunction {
        /// The hub it chooses.
        hub: String,
        /// Whether DPS is linked to that hub.
        linked: bool,
        /// For one device in so many; for the others it chooses as before.
        one_in: u32,
    },
    /// Try certificates of this generation as a thief would, on one device of `one_in`.
    Audit {
        generation: Generation,
        at_hub: bool,
        at_dps: bool,
        one_in: u32,
    },
}

/// What becomes of a device's hub and data when it registers again (R-C2 to R-C6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reprovision {
    /// It moves to the hub it is assigned now, and its data with it.
    Migrate,
    /// It moves, and begins anew.
    Reset,
    /// It stays where it is.
    Never,
    /// The entry has no policy: what becomes of it depends on its API (R-C7).
    Unset,
}

/// Who chooses the hub of a device that registers (R-B11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocation {
    /// DPS, by the device's name (R-B13).
    Hashed,
    /// The operator's function (R-B16).
    Custom,
}

/// What is done to an identity at a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityChange {
    /// Refuse its device.
    Disable,
    /// Let its device in again.
    Enable,
    /// Forget it.
    Delete,
}

/// How a group names its CA certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStyle {
    /// The certificates themselves, `signingCertificates`.
    SigningCertificates,
    /// Names of certificates in the store, `caReferences`.
    CaReferences,
}

impl fmt::Display for Action {
    /// As the report lists it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddCaCertificate {
                certificate,
                verified,
            } => {
                let verb = if *verified { "add and verify" } else { "add" };
                write!(f, "{verb} CA certificate {certificate}")
            }
            Self::DeleteCaCertificate { certificate } => {
                write!(f, "delete CA certificate {certificate}")
            }
            Self::PutGroup {
                group,
                primary,
                secondary,
                disabled,
                hub,
                allocation,
                ..
            } => {
                write!(f, "save group {group}: ")?;
                slots(f, primary.as_ref(), secondary.as_ref())?;
                if let Some(hub) = hub {
                    write!(f, ", to {hub}")?;
                }
                f.write_str(chooser(*allocation))?;
                f.write_str(if *disabled { ", disabled" } else { "" })
            }
            Self::DeleteGroup { group } => write!(f, "delete group {group}"),
            Self::PutIndividuals {
                primary,
                secondary,
                disabled,
                allocation,
                one_in,
            } => {
                write!(f, "save individual enrollments{}: ", of(*one_in))?;
                slots(f, primary.as_ref(), secondary.as_ref())?;
                f.write_str(chooser(*allocation))?;
                f.write_str(if *disabled { ", disabled" } else { "" })
            }
            Self::DeleteIndividuals { one_in } => {
                write!(f, "delete individual enrollments{}", of(*one_in))
            }
            Self::ChangeHubIdentities { change, one_in } => {
                let verb = match change {
                    IdentityChange::Disable => "disable",
                    IdentityChange::Enable => "enable",
                    IdentityChange::Delete => "delete",
                };
                write!(f, "{verb} hub identities{}", of(*one_in))
            }
            Self::DeliverLeaf {
                generation,
                firmware,
            } => {
                write!(f, "deliver leaf {generation}")?;
                match firmware {
                    Some(name) => write!(f, " to devices with firmware {name}"),
                    None => Ok(()),
                }
            }
            Self::CallMethod { method } => write!(f, "call method {method}"),
            Self::ScheduleJob { method } => write!(f, "call method {method} by a job"),
            Self::DeployFunction {
                hub,
                linked,
                one_in,
            } => {
                let devices = match one_in {
                    1 => "every device".to_owned(),
                    _ => format!("one device in {one_in}"),
                };
                write!(f, "deploy a function that sends {devices} to {hub}")?;
                f.write_str(if *linked { "" } else { ", which is not linked" })
            }
            Self::Audit {
                generation,
                at_hub,
                at_dps,
                ..
            } => {
                let place = match (at_hub, at_dps) {
                    (true, true) => "the hub and DPS",
                    (true, false) => "the hub",
                    _ => "DPS",
                };
                write!(f, "try leaf {generation} at {place}")
            }
        }
    }
}

/// Of how many devices.
fn of(one_in: u32) -> String {
    match one_in {
        1 => String::new(),
        _ => format!(" of one device in {one_in}"),
    }
}

/// Who chooses hubs.
fn chooser(allocation: Option<Allocation>) -> &'static str {
    match allocation {
        None => "",
        Some(Allocation::Hashed) => ", hubs by name",
        Some(Allocation::Custom) => ", hubs by the function",
    }
}

fn slots<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    primary: Option<&T>,
    secondary: Option<&T>,
) -> fmt::Result {
    match (primary, secondary) {
        (Some(primary), Some(secondary)) => {
            write!(f, "primary {primary}, secondary {secondary}")
        }
        (Some(primary), None) => write!(f, "primary {primary}, no secondary"),
        (None, Some(secondary)) => write!(f, "no primary, secondary {secondary}"),
        (None, None) => f.write_str("both slots empty"),
    }
}

/// How a scenario is meant to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Every check passes.
    #[default]
    Pass,
    /// The verdict is fail, for the stated reason where one is stated.
    Fail {
        /// The check that must be among the failed ones.
        check: Option<String>,
        /// The rule that one of its offences must have fallen to.
        rule: Option<String>,
    },
}

impl Scenario {
    /// Reads a scenario from `text`; `file` is how errors name it.
    ///
    /// # Errors
    /// The first mistake found, with file, line, field and what would do instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let source = place::Source { file, text };
        let raw: raw::RawScenario = toml::from_str(text).map_err(|error| {
            let message = error.message().trim().replace('\n', ", ");
            match error.span() {
                Some(span) => source.error_at(span.start, message),
                None => ScenarioError::new(file, None, String::new(), message),
            }
        })?;
        check::resolve(source, raw)
    }

    /// Whether the operator has a function that DPS may ask.
    #[must_use]
    pub fn has_function(&self) -> bool {
        let deploys = |step: &Step| matches!(step.action, Action::DeployFunction { .. });
        self.steps.iter().any(deploys)
    }

    /// The newest generation that the operator delivers.
    #[must_use]
    pub fn newest_generation(&self) -> Generation {
        let delivered = self.steps.iter().filter_map(|step| match step.action {
            Action::DeliverLeaf { generation, .. } => Some(generation),
            _ => None,
        });
        delivered.max().unwrap_or(Generation(1))
    }

    /// The kind of leaf that `generation` is.
    #[must_use]
    pub fn leaf(&self, generation: Generation) -> Option<&LeafKind> {
        self.leaves
            .iter()
            .find(|leaf| leaf.generation == generation)
    }

    /// The registration id of a device: `dev-00001` is the first.
    #[must_use]
    pub fn registration_id(&self, index: DeviceIndex) -> String {
        format!("{}{:05}", self.id_prefix, u64::from(index.0) + 1)
    }

    /// The authorities from `name` up to its root.
    #[must_use]
    pub fn chain(&self, name: &str) -> Vec<&Authority> {
        let mut chain = Vec::new();
        let mut next = Some(name);
        // An issuer always stands before those it signs, so the walk ends.
        while let Some(authority) =
            next.and_then(|name| self.authorities.iter().find(|known| known.name == name))
        {
            chain.push(authority);
            next = authority.issuer.as_deref();
        }
        chain
    }

    /// The authorities whose certificates devices show with `leaf`, nearest first.
    #[must_use]
    pub fn shown_with(&self, leaf: &LeafKind) -> Vec<&Authority> {
        match &leaf.chain {
            None => self.chain(&leaf.issuer),
            Some(names) => names
                .iter()
                .filter_map(|name| self.authority(name))
                .collect(),
        }
    }

    fn authority(&self, name: &str) -> Option<&Authority> {
        { self.authorities.iter() }.find(|known| known.name == name)
    }
}

#[cfg(test)]
mod tests;
