//! Which certificates a scenario rolls, for the head of a report.

use serde::Serialize;

use crate::scenario::duration::Span;
use crate::scenario::pace::Pace;
use crate::scenario::{Action, Enrollment, LeafKind, Scenario};

/// The certificates of a run. Moments are on the run's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rolled {
    /// How DPS knows the devices.
    pub enrollment: String,
    /// Each generation of the devices' certificates.
    pub certificates: Vec<Certificate>,
}

/// A generation of the devices' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its number.
    pub generation: u32,
    /// The authorities whose certificates devices show with it: who signed it, and who signed
    /// that, up to the root unless the scenario names others.
    pub issuers: Vec<String>,
    /// First moment of its life, in milliseconds since the start of the run.
    pub from_ms: i64,
    /// Last moment of its life.
    pub until_ms: i64,
    /// When the operator delivers it; devices are born with the first.
    pub delivered_ms: Option<i64>,
}

impl Rolled {
    pub(super) fn new(scenario: &Scenario, pace: &Pace) -> Self {
        let certificate = |leaf: &LeafKind| {
            let issuers = scenario.shown_with(leaf).into_iter();
            Certificate {
                generation: leaf.generation.0,
                issuers: issuers.map(|authority| authority.name.clone()).collect(),
                from_ms: pace.procedure_ms(leaf.from),
                until_ms: pace.procedure_ms(leaf.until),
                delivered_ms: delivered(scenario, leaf).map(|at| pace.procedure_ms(at)),
            }
        };
        Self {
            enrollment: match &scenario.fleet.enrollment {
                Enrollment::Group(name) => format!("enrollment group {name}"),
                Enrollment::Individual => "individual enrollments".to_owned(),
            },
            certificates: scenario.leaves.iter().map(certificate).collect(),
        }
    }
}

/// When the first device was to get it.
fn delivered(scenario: &Scenario, leaf: &LeafKind) -> Option<Span> {
    let delivers = |action: &Action| matches!(action, Action::DeliverLeaf { generation, .. } if *generation == leaf.generation);
    let mut steps = scenario.steps.iter();
    let step = steps.find(|step| delivers(&step.action))?;
    i64::try_from(step.at.as_millis()).ok().map(Span)
}
