//! The rules of the table.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{CLAIM_LENGTH_MAX, ParityError, RuleId};

/// The tables, each with the area it is about.
const TABLES: [(Area, &str); 7] = [
    (Area::Dps, include_str!("rules/dps.toml")),
    (Area::Hub, include_str!("rules/hub.toml")),
    (Area::Device, include_str!("rules/device.toml")),
    (Area::Ambiguity, include_str!("rules/ambiguity.toml")),
    (Area::Wire, include_str!("rules/wire.toml")),
    (Area::Scenario, include_str!("rules/scenario.toml")),
    (Area::Property, include_str!("rules/property.toml")),
];

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The Device Provisioning Service
    Dps,
    /// IoT Hub
    Hub,
    /// What devices do: the virtual ones
    Device,
    /// Where Azure's documentation leaves something open
    Ambiguity,
    /// What official clients put on the wire and need back
    Wire,
    /// What a rollover looks like from outside
    Scenario,
    /// What holds whatever the input
    Property,
}

/// How a rule or an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Done as Azure does it
    Emulated,
    /// A setting chooses
    Setting,
    /// Done in one fixed way, without evidence that Azure does it so
    Assumed,
    /// Done, but for something
    Partly,
    /// Not done; a clear error says so
    NotEmulated,
}

/// A rule and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its number.
    pub id: RuleId,
    /// What it is about.
    pub area: Area,
    #[serde(flatten)]
    body: Body,
    /// The tests that cite it.
    pub tested_by: Vec<String>,
}

/// A rule as the tables have it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// What holds, in a line.
    pub claim: String,
    /// How good the evidence is, in letters; none for scenarios and properties.
    #[serde(default)]
    pub grade: String,
    /// How it stands.
    pub state: State,
    /// The settings it depends on.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Which part of it is assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
    /// What is missing of one that is partly emulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Why it is not emulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What else is worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl std::ops::Deref for Rule {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.body
    }
}

impl Area {
    /// All areas, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Dps,
        Self::Hub,
        Self::Device,
        Self::Ambiguity,
        Self::Wire,
        Self::Scenario,
        Self::Property,
    ];

    /// Its heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Dps => "Device Provisioning Service",
            Self::Hub => "IoT Hub",
            Self::Device => "What devices do",
            Self::Ambiguity => "What Azure leaves open",
            Self::Wire => "What official clients need on the wire",
            Self::Scenario => "What a rollover looks like from outside",
            Self::Property => "What holds whatever the input",
        }
    }
}

impl State {
    /// All states, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Emulated,
        Self::Setting,
        Self::Assumed,
        Self::Partly,
        Self::NotEmulated,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emulated => "emulated",
            Self::Setting => "setting",
            Self::Assumed => "assumed",
            Self::Partly => "partly",
            Self::NotEmulated => "not emulated",
        }
    }

    /// Checks that what is missing, or why, is there where it belongs and nowhere else.
    pub(super) fn check_gap(
        self,
        missing: Option<&String>,
        reason: Option<&String>,
    ) -> Result<(), &'static str> {
        match (self, missing, reason) {
            (Self::Partly, Some(_), None) | (Self::NotEmulated, None, Some(_)) => Ok(()),
            (Self::Partly, _, _) => Err("partly takes missing and no reason"),
            (Self::NotEmulated, _, _) => Err("not-emulated takes a reason and nothing missing"),
            (_, None, None) => Ok(()),
            _ => Err("missing and reason are for partly and not-emulated"),
        }
    }
}

impl Body {
    fn check(&self, area: Area) -> Result<(), &'static str> {
        self.state
            .check_gap(self.missing.as_ref(), self.reason.as_ref())?;
        let length = self.claim.chars().count();
        if length == 0 || length > CLAIM_LENGTH_MAX || self.claim.ends_with('.') {
            return Err("claim: expected one line of up to 100 characters without a full stop");
        }
        if self.state == State::Setting && self.settings.is_empty() {
            return Err("settings: expected the setting that chooses");
        }
        let ungraded = matches!(area, Area::Scenario | Area::Property);
        if self.grade.is_empty() != ungraded {
            return Err("grade: expected for every rule, and for rules alone");
        }
        let mut grades = self.grade.split(' ').filter(|grade| !grade.is_empty());
        if !grades.all(|grade| ["D", "T", "S", "I+", "I-", "K", "X"].contains(&grade)) {
            return Err("grade: expected letters of D T S I+ I- K X");
        }
        let weak = self
            .grade
            .split(' ')
            .any(|grade| ["K", "X"].contains(&grade));
        let owned = self.assumed.is_some() || !self.settings.is_empty();
        let owned = owned || matches!(self.state, State::Assumed | State::NotEmulated);
        if weak && !owned {
            return Err("graded K or X: expected a setting, or the part that is assumed");
        }
        Ok(())
    }
}

/// All rules, by area and number.
pub(super) fn read() -> Result<Vec<Rule>, ParityError> {
    let mut rules = Vec::new();
    for (area, text) in TABLES {
        let table: BTreeMap<String, Body> =
            toml::from_str(text).map_err(|error| ParityError::new("rules", error))?;
        let first = rules.len();
        for (id, body) in table {
            let wrong = |problem| ParityError::new("rules", format!("{id}: {problem}"));
            body.check(area).map_err(wrong)?;
            let id = RuleId::parse(&id).ok_or_else(|| wrong("is no number of a rule"))?;
            rules.push(Rule {
                id,
                area,
                body,
                tested_by: Vec::new(),
            });
        }
        rules[first..].sort_by_key(|rule| rule.id);
    }
    let mut ids: Vec<RuleId> = rules.iter().map(|rule: &Rule| rule.id).collect();
    ids.sort();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!("{} is there twice", twice[0]);
        return Err(ParityError::new("rules", problem));
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_hides_something_is_refused() {
        let table = [
            ("claim = 'c'\ngrade = 'D'\nstate = 'emulated'", None),
            (
                "claim = 'c'\ngrade = 'D K'\nstate = 'emulated'",
                Some("graded K or X"),
            ),
            ("claim = 'c'\ngrade = 'X'\nstate = 'assumed'", None),
            (
                "claim = 'c'\ngrade = 'D X'\nstate = 'emulated'\nassumed = 'a'",
                None,
            ),
            (
                "claim = 'c'\ngrade = 'K'\nstate = 'setting'\nsettings = ['s']",
                None,
            ),
            (
                "claim = 'c'\ngrade = 'D'\nstate = 'setting'",
                Some("settings"),
            ),
            (
                "claim = 'c'\ngrade = 'D'\nstate = 'partly'",
                Some("missing"),
            ),
            (
                "claim = 'c'\ngrade = 'D'\nstate = 'not-emulated'",
                Some("reason"),
            ),
            (
                "claim = 'c'\ngrade = 'D'\nstate = 'emulated'\nreason = 'r'",
                Some("reason"),
            ),
            ("claim = 'c'\nstate = 'emulated'", Some("grade")),
            (
                "claim = 'c'\ngrade = 'E'\nstate = 'emulated'",
                Some("grade"),
            ),
            (
                "claim = 'c.'\ngrade = 'D'\nstate = 'emulated'",
                Some("claim"),
            ),
        ];
        for (text, expected) in table {
            let body: Body = toml::from_str(text).unwrap();
            let problem = body.check(Area::Dps).err();
            assert_eq!(problem.is_some(), expected.is_some(), "{text}: {problem:?}");
            let words = problem.unwrap_or_default();
            assert!(
                words.contains(expected.unwrap_or_default()),
                "{text}: {words}"
            );
        }
    }
}
