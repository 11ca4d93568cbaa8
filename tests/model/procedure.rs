//! Procedures drawn at random, and their spelling as scenario files.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::breach::{self, AUDIT, CONTAINED};
use super::trouble::{BUDGET, Kind, SITES, Trouble, WITHIN};
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
    /// Minutes by which the device's clock is ahead.
    pub(super) skew: i32,
    /// When a new key is safe from a loss of power.
    pub(super) persists: &'static str,
    /// At which step of its roll power fails, once.
    pub(super) power_loss: Option<&'static str>,
    pub(super) on_delivery: bool,
    pub(super) roll: &'static str,
    pub(super) registers_if_refused: bool,
    pub(super) registers_at_boot: bool,
    pub(super) keeps_chain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Procedure {
    pub(super) individual: bool,
    /// Of one firmware, or of two.
    pub(super) habits: Vec<Habits>,
    /// Whether the new leaf is valid from an hour before it is first delivered, not from long ago.
    pub(super) fresh: bool,
    pub(super) troubles: Vec<Trouble>,
    /// When a thief's old leaves have to be worthless, if there is one.
    pub(super) contained: Option<Hour>,
    pub(super) new_issuer: NewIssuer,
    /// Last hour of the old leaves.
    pub(super) old_until: Hour,
    pub(super) steps: Vec<Option<Step>>,
}

fn pick(choice: bool, yes: &'static str, no: &'static str) -> &'static str {
    if choice { yes } else { no }
}

impl Habits {
    fn to_toml(self, number: usize) -> String {
        let mut text = format!(
            "[[fleet.firmware]]\nname = \"{number}\"\nshare = 1\ntrigger = \"{}\"\n\
             roll = \"{}\"\non_unauthorized = \"{}\"\non_boot = \"{}\"\nkeeps = \"{}\"\n\
             clock_skew = \"{}m\"\n",
            pick(self.on_delivery, "delivery", "method"),
            self.roll,
            pick(self.registers_if_refused, "register", "retry"),
            pick(self.registers_at_boot, "register", "connect"),
            pick(self.keeps_chain, "chain", "leaf-only"),
            self.skew,
        );
        if self.roll != "switch" {
            let _ = writeln!(text, "persists = \"{}\"", self.persists);
        }
        if let Some(step) = self.power_loss {
            let _ = writeln!(text, "power_loss = \"{step}\"");
        }
        text
    }
}

impl Procedure {
    /// Everything that happens, in order; steps come first where two things coincide.
    pub(super) fn moments(&self) -> Vec<Hour> {
        let mut moments = [&WAKES[..], &SLEEPS, &STEPS, &[ROLL, END]].concat();
        moments.extend(self.troubles.iter().map(|trouble| trouble.site));
        moments.extend(self.troubles.iter().map(Trouble::ends_at));
        moments.extend(self.contained.into_iter().flat_map(|hour| [hour, AUDIT]));
        moments.extend((self.old_until < END).then_some(self.old_until));
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    pub(super) fn step_at(&self, hour: Hour) -> Option<Step> {
        let number = STEPS.iter().position(|at| *at == hour)?;
        self.steps[number]
    }

    /// From when on the new leaf is valid, in minutes.
    pub(super) fn new_from(&self) -> u32 {
        let delivers = |step: &Option<Step>| *step == Some(Step::Deliver);
        let first = self.steps.iter().position(delivers).map(|at| STEPS[at]);
        match (self.fresh, first) {
            (true, Some(hour)) => (hour - 1) * 60,
            _ => 0,
        }
    }

    /// From when until when something may go wrong, in minutes.
    pub(super) fn trouble(&self) -> Option<(u32, u32)> {
        let windows = || self.troubles.iter().map(Trouble::minutes);
        let from = windows().map(|(from, _)| from).min()?;
        Some((from, windows().map(|(_, until)| until).max()?))
    }

    /// The scenario file of this procedure.
    pub(super) fn to_toml(&self) -> String {
        let enrollment = match self.individual {
            true => "individual = true",
            false => "group = \"fleet\"",
        };
        let mut text = format!(
            "name = \"drawn\"\nclaim = \"None.\"\nduration = \"{END}h\"\nroll_starts = \"{ROLL}h\"\n\
             budget = {{ gap = \"{BUDGET}m\" }}\n\
             [fleet]\ndevices = 4\nenrollment = {{ {enrollment} }}\ntelemetry = \"30m\"\n\
             spread = \"2m\"\nawake = [{{ from = \"1h\", for = \"1h\" }}, \
             {{ from = \"1440h\", for = \"12h\" }}, {{ from = \"1920h\", for = \"6h\" }}]\n",
        );
        for (number, habits) in self.habits.iter().enumerate() {
            text += &habits.to_toml(number);
        }
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
            "[[leaf]]\ngeneration = 1\nissuer = \"issuer-a\"\nvalid = [\"-1d\", \"{}h\"]\n\
             [[leaf]]\ngeneration = 2\nissuer = \"{issuer}\"\nvalid = [\"{}m\", \"2000d\"]\n\
             [[step]]\nat = \"0d\"\ndo = \"add-ca-certificate\"\ncertificate = \"root-a\"\n\
             [[step]]\nat = \"0d\"\n{}\n",
            self.old_until,
            self.new_from(),
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
        if let Some(contained) = self.contained {
            text += &breach::to_toml(contained);
        }
        for trouble in &self.troubles {
            text += &trouble.to_toml();
        }
        if !self.troubles.is_empty() {
            let _ = writeln!(text, "[recovery]\nwithin = \"{WITHIN}m\"");
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
    let skew = prop::sample::select(vec![0, 0, 0, -90, 40 * 24 * 60]);
    let persists = prop::sample::select(vec![
        "when-delivered",
        "when-delivered",
        "when-assigned",
        "when-connected",
    ]);
    let power_loss = prop::sample::select(vec![
        None,
        None,
        None,
        Some("before-registering"),
        Some("after-registering"),
        Some("after-connecting"),
    ]);
    let order = (prop::bool::ANY, roll, likely(), likely(), likely());
    (order, skew, persists, power_loss).prop_map(|(order, skew, persists, power_loss)| {
        let (on_delivery, roll, registers_if_refused, connects_at_boot, keeps_chain) = order;
        Habits {
            skew,
            // Who switches at once has nothing to hold back, and no scenario may say otherwise.
            persists: pick(roll == "switch", "when-delivered", persists),
            power_loss: power_loss.filter(|_| roll != "switch"),
            on_delivery,
            roll,
            registers_if_refused,
            registers_at_boot: !connects_at_boot,
            keeps_chain,
        }
    })
}

/// Nothing that goes wrong, or one or two things at different hours.
fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let kind = prop_oneof![
        2 => Just(Kind::Power),
        2 => Just(Kind::Cuts),
        2 => Just(Kind::Silence),
        1 => Just(Kind::Late),
        3 => (prop::sample::select(vec![429, 500, 503]), prop::bool::weighted(0.7)).prop_map(
            |(status, all)| Kind::Dps { status, all, until: 0 }
        ),
        2 => Just(Kind::Restart),
        2 => Just(Kind::LongRestart),
    ];
    let one = (kind, 0..SITES.len(), 0..3_usize, prop::bool::ANY);
    prop::collection::vec(one, 0..=2).prop_map(|drawn| {
        let mut troubles: Vec<Trouble> = Vec::new();
        for (kind, place, further, half) in drawn {
            let until = SITES[(place + further).min(SITES.len() - 1)];
            let trouble = Trouble {
                kind: match kind {
                    Kind::Dps { status, all, .. } => Kind::Dps { status, all, until },
                    kind => kind,
                },
                site: SITES[place],
                half,
            };
            let apart =
                |other: &Trouble| trouble.ends_at() < other.site || other.ends_at() < trouble.site;
            if trouble.is_clear() && troubles.iter().all(apart) {
                troubles.push(trouble);
            }
        }
        troubles
    })
}

/// What a careful operator does: both issuers admitted, leaves delivered, devices called, and the
/// old issuer removed later. Nothing where there is nothing to do.
fn careful(
    individual: bool,
    new_issuer: NewIssuer,
    twice: bool,
    retires: bool,
) -> Vec<Option<Step>> {
    let edit = |slots| match individual {
        true => Step::PutEntries {
            slots,
            disabled: false,
            half: false,
        },
        false => Step::PutGroup {
            upper: false,
            slots,
            disabled: false,
        },
    };
    let other = individual || new_issuer != NewIssuer::Same;
    let root = Step::AddCa {
        root: Root::B,
        verified: true,
    };
    vec![
        (new_issuer == NewIssuer::Root).then_some(root),
        other.then(|| edit([true, true])),
        Some(Step::Deliver),
        Some(Step::Roll),
        twice.then_some(Step::Roll),
        (other && retires).then(|| edit([false, true])),
        twice.then_some(Step::Roll),
    ]
}

/// The habits of firmware that has thought of what may happen, whatever order it rolls in.
fn mature(mut habits: Habits) -> Habits {
    habits.registers_if_refused = true;
    habits.keeps_chain = true;
    habits.skew = 0;
    habits.persists = "when-delivered";
    if habits.roll == "switch" {
        habits.roll = "register-first";
    }
    habits
}

fn plain_steps(individual: bool) -> BoxedStrategy<Vec<Option<Step>>> {
    // In a scenario somebody has to deliver the new leaf; here not too late to be used.
    let steps = prop::collection::vec(step(individual), STEPS.len());
    (steps, 0..4_usize)
        .prop_map(|(mut steps, delivery)| {
            steps[delivery] = Some(Step::Deliver);
            steps
        })
        .boxed()
}

/// A careful procedure, of which one step in three times is something else.
fn careful_steps(individual: bool, new_issuer: NewIssuer) -> BoxedStrategy<Vec<Option<Step>>> {
    let slip = (prop::bool::weighted(0.3), 0..STEPS.len(), step(individual));
    (any::<bool>(), prop::bool::weighted(0.8), slip)
        .prop_map(move |(twice, retires, (slips, place, other))| {
            let mut steps = careful(individual, new_issuer, twice, retires);
            let delivery = steps[place] == Some(Step::Deliver);
            if slips && !delivery {
                steps[place] = other;
            }
            steps
        })
        .boxed()
}

/// Half of the procedures are drawn step by step, and mostly fare badly; in the others an operator
/// knows what to do, and may slip.
pub(super) fn procedures() -> impl Strategy<Value = Procedure> {
    let breach = prop::option::weighted(0.5, prop::sample::select(CONTAINED.to_vec()));
    let outline = (
        prop::bool::weighted(0.4),
        prop::collection::vec(habits(), 1..=2),
        (any::<bool>(), any::<bool>(), troubles(), breach),
        prop::sample::select(vec![
            NewIssuer::Same,
            NewIssuer::Intermediate,
            NewIssuer::Root,
        ]),
        prop::sample::select(vec![NEVER, 75 * 24, 60 * 24 + 5]),
    );
    outline.prop_flat_map(|(individual, habits, more, new_issuer, old_until)| {
        let (fresh, careful, troubles, contained) = more;
        let steps = match careful {
            true => careful_steps(individual, new_issuer),
            false => plain_steps(individual),
        };
        let habits: Vec<Habits> = match careful {
            true => habits.into_iter().map(mature).collect(),
            false => habits,
        };
        steps.prop_map(move |mut steps| {
            for (at, step) in STEPS.iter().zip(&mut steps) {
                let awake = (WAKES[0]..SLEEPS[0]).contains(at) || *at > WAKES[1];
                if *step == Some(Step::Roll) && !awake {
                    *step = None;
                }
            }
            Procedure {
                individual,
                habits: habits.clone(),
                fresh,
                troubles: troubles.clone(),
                contained,
                new_issuer,
                old_until,
                steps,
            }
            .possible()
        })
    })
}
