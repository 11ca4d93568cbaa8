//! The properties of a message: those with a meaning of their own, and the sender's.

use std::collections::HashSet;
use std::fmt;

use super::BagText;

/// What an MQTT property bag calls a system property, and what readers call it.
///
/// Source: wire.md 4.3; behaviour.md R-G37.
const SYSTEM: [(&str, &str); 13] = [
    ("$.mid", "message-id"),
    ("$.cid", "correlation-id"),
    ("$.uid", "user-id"),
    ("$.to", "to"),
    ("$.ct", "content-type"),
    ("$.ce", "content-encoding"),
    ("$.exp", "absolute-expiry-time"),
    ("$.ctime", "iothub-creation-time-utc"),
    ("$.on", "iothub-outputname"),
    ("$.ifid", "iothub-interface-id"),
    ("$.sub", "dt-subject"),
    ("$.diagid", "Diagnostic-Id"),
    ("$.diagctx", "Correlation-Context"),
];

/// Claims to be somebody. The hub says itself who sent a message, so these go nowhere.
const CLAIMS: [&str; 2] = ["$.cdid", "$.cmid"];

/// System and application properties in their order, in two allocations however many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Names and values, one behind the other, system properties first.
    text: Box<str>,
    /// Where each piece of the text ends.
    ends: Box<[u32]>,
    /// How many properties are system properties.
    system: usize,
}

impl Properties {
    /// The given properties, by the names readers know.
    #[must_use]
    pub fn new<'a>(
        system: impl IntoIterator<Item = (&'a str, &'a str)>,
        application: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut text = String::new();
        let mut ends = Vec::new();
        let mut append = |(name, value): (&str, &str)| {
            for piece in [name, value] {
                text.push_str(piece);
                // Senders are held to MESSAGE_BYTES_MAX; the hub's own are short.
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        };
        let mut count = 0;
        for property in system {
            append(property);
            count += 1;
        }
        application.into_iter().for_each(append);
        Self {
            text: text.into(),
            ends: ends.into(),
            system: count,
        }
    }

    /// Sorts a decoded property bag into system and application properties.
    ///
    /// Of a name that is there twice the last value counts. A `$.` name that nobody knows stays
    /// an application property, so that nothing is lost.
    ///
    /// Source: behaviour.md R-G37; wire.md 4.3 — which of two values counts is assumed.
    #[must_use]
    pub fn from_bag(pairs: &[(BagText<'_>, BagText<'_>)]) -> Self {
        let last = last_of_each(pairs);
        let system = last
            .iter()
            .filter_map(|(name, value)| Some((system_name(name)?, &**value)));
        let application = last
            .iter()
            .filter(|(name, _)| system_name(name).is_none() && !CLAIMS.contains(&&**name))
            .map(|(name, value)| (&**name, &**value));
        Self::new(system, application)
    }

    /// The system properties.
    pub fn system(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(0, self.system)
    }

    /// The system properties, by the names a property bag has for them.
    pub fn system_bag(&self) -> impl Iterator<Item = (&str, &str)> {
        self.system().map(|(name, value)| {
            let short = SYSTEM.iter().find(|(_, known)| *known == name);
            (short.map_or(name, |(short, _)| *short), value)
        })
    }

    /// The application properties.
    pub fn application(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(self.system, self.ends.len() / 2)
    }

    /// A system property.
    #[must_use]
    pub fn system_value(&self, name: &str) -> Option<&str> {
        self.system()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// What counts towards the size of a message: the values of system properties, names and
    /// values of the others.
    ///
    /// Source: message format, message size.
    pub(in crate::hub) fn counted_bytes(&self) -> usize {
        let names: usize = self.system().map(|(name, _)| name.len()).sum();
        self.text.len() - names
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.ends)
    }

    fn pairs(&self, from: usize, to: usize) -> impl Iterator<Item = (&str, &str)> {
        (from..to).map(|index| (self.piece(2 * index), self.piece(2 * index + 1)))
    }

    fn piece(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.system())
            .entries(self.application())
            .finish()
    }
}

fn system_name(key: &str) -> Option<&'static str> {
    SYSTEM
        .iter()
        .find_map(|(short, name)| (*short == key).then_some(*name))
}

/// Up to here it is quicker to look at all names again than to remember them.
const FEW: usize = 16;

/// The pairs whose name does not come again, in order.
fn last_of_each<'b, 'a>(
    pairs: &'b [(BagText<'a>, BagText<'a>)],
) -> Vec<&'b (BagText<'a>, BagText<'a>)> {
    if pairs.len() <= FEW {
        let comes_again = |index: usize, name: &BagText<'_>| {
            pairs[index + 1..].iter().any(|(later, _)| later == name)
        };
        let numbered = pairs.iter().enumerate();
        return numbered
            .filter(|(index, (name, _))| !comes_again(*index, name))
            .map(|(_, pair)| pair)
            .collect();
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    let mut last: Vec<_> = pairs
        .iter()
        .rev()
        .filter(|(name, _)| seen.insert(&**name))
        .collect();
    last.reverse();
    last
}
