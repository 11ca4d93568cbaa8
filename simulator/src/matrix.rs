//! Whether a verdict depends on a reading of what Azure does not document.
//!
//! A scenario runs with every combination of the values that are asked for. Where two runs that
//! differ in one setting alone end differently, the verdict hangs on that setting, and whoever
//! relies on it relies on a guess.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::Value;

use crate::readings::{self, Readings, shown};

/// Most runs of one matrix.
pub const COMBINATIONS_MAX: usize = 64;

/// Settings, each with the values to try.
pub type Matrix = BTreeMap<String, Vec<Value>>;

/// The runs that `matrix` stands for, on top of `base`, which is the first.
///
/// # Errors
/// A sentence, where there are more than [`COMBINATIONS_MAX`].
pub fn combinations(base: &Readings, matrix: &Matrix) -> Result<Vec<Readings>, String> {
    let product = matrix
        .values()
        .try_fold(1usize, |product, values| product.checked_mul(values.len()));
    if product.is_none_or(|product| product > COMBINATIONS_MAX) {
        return Err(format!(
            "the matrix has more than {COMBINATIONS_MAX} combinations; name fewer settings"
        ));
    }
    let mut all = vec![base.clone()];
    for (name, values) in matrix {
        let with = |before: &Readings, value: &Value| {
            let mut next = before.clone();
            next.insert(name.clone(), value.clone());
            next
        };
        all = all
            .iter()
            .flat_map(|before| values.iter().map(move |value| with(before, value)))
            .collect();
    }
    all.sort_by_key(|readings| differences(base, readings));
    Ok(all)
}

/// `base`, and every other value of each setting by itself.
#[must_use]
pub fn one_at_a_time(base: &Readings) -> Vec<Readings> {
    let mut all = vec![base.clone()];
    for reading in readings::known() {
        for value in &reading.choices {
            if *value != in_force(base, &reading.name) {
                let mut next = base.clone();
                next.insert(reading.name.clone(), value.clone());
                all.push(next);
            }
        }
    }
    all
}

/// Every value of each of the settings called `names`.
///
/// # Errors
/// A sentence, where a name is unknown or its values are numbers.
pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Matrix, String> {
    let values = |name: &str| {
        let reading = readings::find(name)?;
        if reading.choices.is_empty() {
            return Err(format!(
                "{name} is {}; list the values to try below [matrix] in the scenario",
                reading.domain()
            ));
        }
        Ok((name.to_owned(), reading.choices.clone()))
    };
    names.into_iter().map(values).collect()
}

/// The value that the setting `name` has under `readings`.
fn in_force(readings: &Readings, name: &str) -> Value {
    let default = || readings::find(name).map(|reading| reading.default.clone());
    let named = readings.get(name).cloned();
    named.unwrap_or_else(|| default().unwrap_or(Value::Boolean(false)))
}

fn differences(base: &Readings, other: &Readings) -> usize {
    let differs = |name: &&String| in_force(base, name) != in_force(other, name);
    other.keys().filter(differs).count()
}

/// How a scenario ended under one combination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The settings, by name.
    pub settings: Readings,
    /// Whether the verdict was pass.
    pub passed: bool,
    /// Whether it ended as the scenario expects.
    pub met: bool,
    /// The checks that failed.
    pub failed: Vec<&'static str>,
    /// The command that runs it again.
    pub replay: String,
}

/// A setting on which the verdict hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependence {
    /// Its name.
    pub setting: String,
    /// What it decides.
    pub what: String,
    /// The rules that it stands for, the open question first.
    pub rules: Vec<String>,
    /// The values with which the scenario passes where another fails.
    pub passes: Vec<String>,
    /// The values with which it fails.
    pub fails: Vec<String>,
    /// Whether the other settings of the matrix decide if it matters.
    pub sometimes: bool,
}

/// What a matrix of runs showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Each combination, that of the scenario first.
    pub outcomes: Vec<Outcome>,
    /// The settings on which the verdict hangs; none, if it is the same throughout.
    pub depends_on: Vec<Dependence>,
}

impl Comparison {
    /// Compares `outcomes`.
    #[must_use]
    pub fn new(outcomes: Vec<Outcome>) -> Self {
        let names: BTreeSet<&String> = outcomes
            .iter()
            .flat_map(|one| one.settings.keys())
            .collect();
        let depends_on = names
            .into_iter()
            .filter_map(|name| dependence(name, &outcomes))
            .collect();
        Self {
            outcomes,
            depends_on,
        }
    }

    /// The settings of `outcome` that differ between combinations, for people.
    #[must_use]
    pub fn named(&self, outcome: &Outcome) -> String {
        let differs = |name: &&String| {
            let value = in_force(&outcome.settings, name);
            let mut others = self.outcomes.iter();
            others.any(|other| in_force(&other.settings, name) != value)
        };
        let first = self.outcomes.first();
        let alone = |name: &str| {
            let usual = first.map(|first| in_force(&first.settings, name));
            usual == Some(in_force(&outcome.settings, name))
        };
        let names: BTreeSet<&String> = outcome.settings.keys().filter(differs).collect();
        if names.iter().all(|name| alone(name)) {
            return "as the scenario has it".to_owned();
        }
        let changed = names.into_iter().filter(|name| !alone(name));
        let named =
            changed.map(|name| format!("{name}={}", shown(&in_force(&outcome.settings, name))));
        named.collect::<Vec<String>>().join(" ")
    }

    /// Whether every combination ended as expected.
    #[must_use]
    pub fn met(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.met)
    }

    /// The conclusion, one sentence a line.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let runs = self.outcomes.len();
        if self.depends_on.is_empty() {
            let word = if self.outcomes.iter().all(|one| one.passed) {
                "pass"
            } else {
                "fail"
            };
            return vec![format!(
                "The verdict is {word} with all {runs} readings of what Azure does not document."
            )];
        }
        self.depends_on.iter().map(Dependence::sentence).collect()
    }
}

impl Dependence {
    /// What hangs on it.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "The verdict depends on {} ({}): {}. It passes with {} and fails with {}{}. Azure does \
             not document which holds.",
            self.setting,
            self.rules.join(", "),
            self.what,
            self.passes.join(" or "),
            self.fails.join(" or "),
            if self.sometimes {
                ", with some of the other settings"
            } else {
                ""
            },
        )
    }
}

/// Whether the verdict hangs on the setting `name`: compares runs that differ in nothing else.
fn dependence(name: &str, outcomes: &[Outcome]) -> Option<Dependence> {
    let names: BTreeSet<&String> = outcomes
        .iter()
        .flat_map(|one| one.settings.keys())
        .collect();
    let mut groups: BTreeMap<Vec<String>, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let others = names.iter().filter(|other| **other != name);
        let others = others.map(|other| shown(&in_force(&outcome.settings, other)));
        groups.entry(others.collect()).or_default().push(outcome);
    }
    groups.retain(|_, group| group.len() > 1);
    let split = |group: &&Vec<&Outcome>| group.iter().any(|one| one.passed != group[0].passed);
    let divided: Vec<&Outcome> = groups.values().filter(split).flatten().copied().collect();
    if divided.is_empty() {
        return None;
    }
    let values = |passed: bool| {
        let ended = divided.iter().filter(|one| one.passed == passed);
        let values: BTreeSet<String> = ended
            .map(|one| shown(&in_force(&one.settings, name)))
            .collect();
        values.into_iter().collect()
    };
    let reading = readings::find(name).ok();
    Some(Dependence {
        setting: name.to_owned(),
        what: reading.map_or_else(String::new, |reading| reading.what.clone()),
        rules: reading.map_or_else(Vec::new, |reading| {
            reading.rules.iter().map(ToString::to_string).collect()
        }),
        passes: values(true),
        fails: values(false),
        sometimes: groups.values().any(|group| !split(&group)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(pairs: &[(&str, bool)]) -> Readings {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::Boolean(*value)))
            .collect()
    }

    fn outcome(pairs: &[(&str, bool)], passed: bool) -> Outcome {
        Outcome {
            settings: readings(pairs),
            passed,
            met: passed,
            failed: Vec::new(),
            replay: String::new(),
        }
    }

    #[test]
    fn a_matrix_is_every_combination_the_usual_one_first_and_no_more_than_can_be_run() {
        let matrix = of_names(["drop_on_expiry", "check_validity"]).unwrap();
        let all = combinations(&Readings::new(), &matrix).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(
            all[0],
            readings(&[("drop_on_expiry", false), ("check_validity", true)])
        );
        let names: Vec<&str> = readings::known()
            .iter()
            .filter(|reading| !reading.choices.is_empty())
            .map(|reading| reading.name.as_str())
            .collect();
        let every = of_names(names.iter().copied()).unwrap();
        assert!(
            combinations(&Readings::new(), &every)
                .unwrap_err()
                .contains("more than 64")
        );
        assert_eq!(one_at_a_time(&Readings::new()).len(), names.len() + 1);
        assert!(
            of_names(["sas_clock_skew_seconds"])
                .unwrap_err()
                .contains("[matrix]")
        );
    }

    #[test]
    fn a_verdict_that_changes_with_one_setting_alone_depends_on_it() {
        let (a, b) = ("drop_on_expiry", "check_validity");
        let outcomes = vec![
            outcome(&[(a, false), (b, true)], true),
            outcome(&[(a, true), (b, true)], false),
            outcome(&[(a, false), (b, false)], true),
            outcome(&[(a, true), (b, false)], false),
        ];
        let comparison = Comparison::new(outcomes);
        assert!(!comparison.met());
        assert_eq!(comparison.depends_on.len(), 1);
        let on = &comparison.depends_on[0];
        assert_eq!((on.setting.as_str(), on.sometimes), (a, false));
        assert_eq!(
            (&on.passes[0], &on.fails[0]),
            (&"false".to_owned(), &"true".to_owned())
        );
        assert_eq!(on.rules[0], "I-4");
        assert!(comparison.sentences()[0].contains("passes with false and fails with true"));
    }

    #[test]
    fn a_setting_left_out_has_its_default() {
        let outcomes = vec![
            outcome(&[], true),
            outcome(&[("check_validity", false)], false),
        ];
        let comparison = Comparison::new(outcomes);
        assert_eq!(comparison.depends_on[0].passes, ["true"]);
        let same = vec![outcome(&[], true), outcome(&[("strict_ids", true)], true)];
        assert!(Comparison::new(same).sentences()[0].contains("with all 2 readings"));
    }
}
