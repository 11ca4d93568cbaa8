//! The number of a rule.

use std::fmt;

use serde::{Serialize, Serializer};

/// What numbers begin with, in the order of the table.
const FAMILIES: [&str; 12] = [
    "R-A", "R-B", "R-C", "R-D", "R-E", "R-F", "R-G", "R-H", "I-", "W", "J", "K.",
];

/// A rule's number, such as `R-A21b`, `I-3`, `W9`, `J4` or `K.8`. Ordered as the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Index into [`FAMILIES`].
    family: usize,
    number: u16,
    /// The letter of a part of a rule.
    part: Option<char>,
}

impl RuleId {
    /// Reads a number that is all of `text`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match Self::read(text)? {
            (id, "") => Some(id),
            _ => None,
        }
    }

    /// Reads a number at the beginning of `text`; gives it and what follows. No letter or digit
    /// may follow at once.
    #[must_use]
    pub fn read(text: &str) -> Option<(Self, &str)> {
        let (family, rest) = FAMILIES
            .iter()
            .enumerate()
            .find_map(|(index, prefix)| Some((index, text.strip_prefix(prefix)?)))?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, mut rest) = rest.split_at(digits);
        if digits.starts_with('0') {
            return None;
        }
        let number = digits.parse().ok()?;
        let part = rest.chars().next().filter(char::is_ascii_lowercase);
        let part = part.filter(|_| FAMILIES[family].starts_with("R-"));
        rest = &rest[part.map_or(0, char::len_utf8)..];
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let id = Self {
            family,
            number,
            part,
        };
        Some((id, rest))
    }

    /// The rule this is a part of; itself if it is whole.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { part: None, ..self }
    }

    /// The rules from this one to `last`, if both are whole, of one family, and in order.
    #[must_use]
    pub fn to(self, last: Self) -> Option<impl Iterator<Item = Self>> {
        let range = self.family == last.family && self < last;
        let whole = self.part.is_none() && last.part.is_none();
        (range && whole)
            .then(|| (self.number..=last.number).map(move |number| Self { number, ..self }))
    }

    /// What the numbers of its family begin with.
    #[must_use]
    pub fn family(self) -> &'static str {
        FAMILIES[self.family]
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.part {
            None => format!("{}{}", self.family(), self.number),
            Some(part) => format!("{}{}{part}", self.family(), self.number),
        };
        f.pad(&text)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RuleId {
        RuleId::parse(text).unwrap()
    }

    #[test]
    fn numbers_print_as_they_are_read() {
        for text in ["R-A1", "R-A21b", "R-H7", "I-18", "W23", "J15", "K.10"] {
            assert_eq!(id(text).to_string(), text);
        }
        for text in [
            "", "R-", "R-A", "R-A0", "R-I1", "r-a1", "R-A1B", "I1", "W", "J4a", "K8", "R-A1 ",
        ] {
            assert_eq!(RuleId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_ends_where_its_word_ends() {
        assert_eq!(
            RuleId::read("R-A21b, then").unwrap(),
            (id("R-A21b"), ", then")
        );
        assert_eq!(RuleId::read("R-A2…R-A4").unwrap(), (id("R-A2"), "…R-A4"));
        assert_eq!(RuleId::read("J1: both").unwrap().1, ": both");
        for text in ["W3C", "R-A2bc", "J1_x", "I-1x"] {
            assert_eq!(RuleId::read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_sort_as_numbers_and_ranges_stay_in_their_family() {
        let mut ids = [
            "K.1", "W2", "R-B1", "R-A21b", "R-A21", "R-A3", "I-2", "R-A21a",
        ]
        .map(id);
        ids.sort();
        let sorted = ids.map(|id| id.to_string());
        assert_eq!(
            sorted,
            [
                "R-A3", "R-A21", "R-A21a", "R-A21b", "R-B1", "I-2", "W2", "K.1"
            ]
        );
        let range = |first, last| id(first).to(id(last)).map(Iterator::count);
        assert_eq!(range("R-A8", "R-A12"), Some(5));
        assert_eq!(range("R-A12", "R-A8"), None);
        assert_eq!(range("R-A1", "R-B2"), None);
        assert_eq!(range("R-A21a", "R-A22"), None);
    }
}
