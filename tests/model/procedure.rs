//! Procedures drawn at random, and their spelling as scenario files.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::world::{Change, Root, Step};

/// Hours after the start of the run.
pub(super) type Hour = u32;

/// When every device wakes; the first time it was provisioned and is left out here.
pub(super) const WAKES: [Hour; 2] = [60 * 24, 80 * 24];
/// When every device falls asleep.
pub(super) const SLEEPS: [Hour; 1] = [60 * 24 + 12];
/// When the operator may do something: before, during and between the times awake.
pub(super) const STEPS: [Hour; 7] = [
    59 * 24,
    60 * 24 + 2,
    60 * 24 + 4,
    60 * 24 + 6,
    60 * 24 + 8,
    70 * 24,
    80 * 24 + 2,
];
/// When the run ends.
pub(super) const END: Hour = 80 * 24 + 6;
/// From when on the checks count.
pub(super) const ROLL: Hour = 59 * 24;
/// Far beyond the end.
const NEVER: Hour = 1000 * 24;

/// Below what the new leaf hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewIssuer {
    /// The old intermediate.
    Same,
    /// A new intermediate of the old root.
    Intermediate,
    /// A new intermediate of a new root.
    Root,
}

/// How devices behave, in the words of the scenario file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) on_delivery: bool,
    pub(super) roll: &'static str,
    pub(super) registers_if_refused: bool,
    pub(super) registers_at_boot: bool,
    pub(super) keeps_chain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Procedure {
    pub(super) individual: bool,
    pub(super) habits: Habits,
    pub(super) new_issuer: NewIssuer,
    /// Last hour of the old leaves.
    pub(super) old_until: Hour,
    pub(super) steps: Vec<Option<Step>>,
}

impl Procedure {
    /// Everything that happens, in order; steps come first where two things coincide.
    pub(super) fn moments(&self) -> Vec<Hour> {
        let mut moments = [&WAKES[..], &SLEEPS, &STEPS, &[ROLL, END]].concat();
        moments.extend((self.old_until < END).then_some(self.old_until));
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    pub(super) fn step_at(&self, hour: Hour) -> Option<Step> {
        let number = STEPS.iter().position(|at| *at == hour)?;
        self.steps[number]
    }

    pub(super) fn expires(&self, hour: Hour) -> bool {
        self.old_until == hour
    }

    /// The scenario file of this procedure.
    pub(super) fn to_toml(&self) -> String {
        let Habits {
            on_delivery,
            roll,
            registers_if_refused,
            registers_at_boot,
            keeps_chain,
        } = self.habits;
        let enrollment = match self.individual {
            true => "individual = true",
            false => "group = \"fleet\"",
        };
        let pick =
            |choice: bool, yes: &'static str, no: &'static str| if choice { yes } else { no };
        let mut text = format!(
            "name = \"drawn\"\nclaim = \"None.\"\nduration = \"{END}h\"\nroll_starts = \"{ROLL}h\"\n\
             budget = {{ gap = \"70m\" }}\n\
             [fleet]\ndevices = 4\nenrollment = {{ {enrollment} }}\ntelemetry = \"30m\"\n\
             spread = \"2m\"\nawake = [{{ from = \"1h\", for = \"1h\" }}, \
             {{ from = \"1440h\", for = \"12h\" }}, {{ from = \"1920h\", for = \"6h\" }}]\n\
             [[fleet.firmware]]\nname = \"drawn\"\nshare = 1\ntrigger = \"{}\"\nroll = \"{roll}\"\n\
             on_unauthorized = \"{}\"\non_boot = \"{}\"\nkeeps = \"{}\"\n",
            pick(on_delivery, "delivery", "method"),
            pick(registers_if_refused, "register", "retry"),
            pick(registers_at_boot, "register", "connect"),
            pick(keeps_chain, "chain", "leaf-only"),
        );
        let above = pick(self.new_issuer == NewIssuer::Root, "root-b", "root-a");
        let issuer = pick(self.new_issuer == NewIssuer::Same, "issuer-a", "issuer-b");
        let authorities = [
            ("root-a", None),
            ("root-b", None),
            ("issuer-a", Some("root-a")),
            ("issuer-b", Some(above)),
        ];
        for (name, above) in authorities {
            let _ = writeln!(
                text,
                "[[authority]]\nname = \"{name}\"\nvalid = [\"-1d\", \"3000d\"]"
            );
            if let Some(above) = above {
                let _ = writeln!(text, "issuer = \"{above}\"");
            }
        }
        let _ = write!(
            text,
            "[[leaf]]\ngeneration = 1\nissuer = \"issuer-a\"\nvalid = [\"0d\", \"{}h\"]\n\
             [[leaf]]\ngeneration = 2\nissuer = \"{issuer}\"\nvalid = [\"0d\", \"2000d\"]\n\
             [[step]]\nat = \"0d\"\ndo = \"add-ca-certificate\"\ncertificate = \"root-a\"\n\
             [[step]]\nat = \"0d\"\n{}\n",
            self.old_until,
            match self.individual {
                true => "do = \"put-individuals\"\nprimary = 1",
                false => "do = \"put-group\"\ngroup = \"fleet\"\nprimary = \"issuer-a\"",
            }
        );
        for (at, step) in STEPS.iter().zip(&self.steps) {
            if let Some(step) = step {
                let _ = writeln!(text, "[[step]]\nat = \"{at}h\"\n{}", step.to_toml());
            }
        }
        text
    }

    /// Leaves out what could not be done: the CA store takes a certificate once, and nothing can
    /// be deleted that is not there.
    fn possible(mut self) -> Self {
        let mut stored = [true, false];
        let mut groups = [!self.individual, false];
        for step in &mut self.steps {
            let possible = match step {
                Some(Step::AddCa { root, .. }) => {
                    !std::mem::replace(&mut stored[*root as usize], true)
                }
                Some(Step::DeleteCa { root }) => std::mem::take(&mut stored[*root as usize]),
                Some(Step::PutGroup { upper, .. }) => {
                    groups[usize::from(*upper)] = true;
                    true
                }
                Some(Step::DeleteGroup { upper }) => {
                    std::mem::take(&mut groups[usize::from(*upper)])
                }
                _ => true,
            };
            if !possible {
                *step = None;
            }
        }
        self
    }
}

/// Nothing, or one of the things an operator can do, sensible ones more often.
fn step(individual: bool) -> impl Strategy<Value = Option<Step>> {
    let slots = || prop::sample::select(vec![[true, true], [true, false], [false, true]]);
    let root = || prop::sample::select(vec![Root::A, Root::B]);
    let rarely = || prop::bool::weighted(0.2);
    let change = prop::sample::select(vec![Change::Disable, Change::Enable, Change::Delete]);
    let add = (root(), prop::bool::weighted(0.8));
    let group = (prop::bool::weighted(0.3), slots(), rarely());
    let entries = (slots(), rarely(), rarely());
    let (of_group, of_entries) = if individual { (1, 6) } else { (6, 1) };
    prop_oneof![
        3 => Just(None),
        4 => Just(Some(Step::Roll)),
        2 => Just(Some(Step::Deliver)),
        3 => add.prop_map(|(root, verified)| Some(Step::AddCa { root, verified })),
        1 => root().prop_map(|root| Some(Step::DeleteCa { root })),
        of_group => group.prop_map(|(upper, slots, disabled)| {
            Some(Step::PutGroup { upper, slots, disabled })
        }),
        1 => rarely().prop_map(|upper| Some(Step::DeleteGroup { upper })),
        of_entries => entries.prop_map(|(slots, disabled, half)| {
            Some(Step::PutEntries { slots, disabled, half })
        }),
        1 => prop::bool::ANY.prop_map(|half| Some(Step::DeleteEntries { half })),
        2 => (change, rarely()).prop_map(|(change, half)| Some(Step::Identities { change, half })),
    ]
}

fn habits() -> impl Strategy<Value = Habits> {
    let roll = prop::sample::select(vec![
        "register-first",
        "register-first",
        "connect-first",
        "switch",
    ]);
    let likely = || prop::bool::weighted(0.8);
    (prop::bool::ANY, roll, likely(), likely(), likely()).prop_map(
        |(on_delivery, roll, registers_if_refused, connects_at_boot, keeps_chain)| Habits {
            on_delivery,
            roll,
            registers_if_refused,
            registers_at_boot: !connects_at_boot,
            keeps_chain,
        },
    )
}

pub(super) fn procedures() -> impl Strategy<Value = Procedure> {
    let outline = (
        prop::bool::weighted(0.4),
        habits(),
        prop::sample::select(vec![
            NewIssuer::Same,
            NewIssuer::Intermediate,
            NewIssuer::Root,
        ]),
        prop::sample::select(vec![NEVER, 75 * 24, 60 * 24 + 5]),
        // In a scenario somebody has to deliver the new leaf; here not too late to be used.
        0..4_usize,
    );
    outline.prop_flat_map(|(individual, habits, new_issuer, old_until, delivery)| {
        prop::collection::vec(step(individual), STEPS.len()).prop_map(move |mut steps| {
            steps[delivery] = Some(Step::Deliver);
            for (at, step) in STEPS.iter().zip(&mut steps) {
                let awake = (WAKES[0]..SLEEPS[0]).contains(at) || *at > WAKES[1];
                if *step == Some(Step::Roll) && !awake {
                    *step = None;
                }
            }
            Procedure {
                individual,
                habits,
                new_issuer,
                old_until,
                steps,
            }
            .possible()
        })
    })
}
