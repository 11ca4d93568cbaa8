//! Rules by their numbers in any text.

use std::collections::BTreeSet;

use linarite::parity::RuleId;

/// Words between the ends of a range.
const RANGES: [&str; 6] = ["…", "...", "–", "to ", "to\n", "through "];

/// The rules that `text` names: one by one, as ranges, and as parts, which count for the whole
/// as well.
pub(super) fn rules(text: &str) -> BTreeSet<RuleId> {
    let mut found = BTreeSet::new();
    let (mut rest, mut before) = (text, ' ');
    while let Some(first) = rest.chars().next() {
        let begins = !before.is_alphanumeric() && !['_', '-'].contains(&before);
        let named = begins.then(|| RuleId::read(rest)).flatten();
        let Some((id, behind)) = named else {
            before = first;
            rest = &rest[first.len_utf8()..];
            continue;
        };
        found.insert(id);
        (rest, before) = (behind, '0');
        if let Some((last, behind)) = end_of_range(behind)
            && let Some(range) = id.to(last)
        {
            found.extend(range);
            rest = behind;
        }
    }
    let wholes: Vec<RuleId> = found.iter().map(|id| id.whole()).collect();
    found.extend(wholes);
    found
}

/// The number behind the word that makes a range, and what follows it.
fn end_of_range(text: &str) -> Option<(RuleId, &str)> {
    let text = text.trim_start();
    let text = RANGES.iter().find_map(|word| text.strip_prefix(word))?;
    RuleId::read(text.trim_start())
}

#[test]
fn rules_are_found_alone_in_ranges_and_as_parts() {
    let table = [
        ("R-A22, I-1.", "R-A22 I-1"),
        ("(R-F1 to R-F3)", "R-F1 R-F2 R-F3"),
        ("R-A31…R-A33", "R-A31 R-A32 R-A33"),
        ("R-B1 to\nR-B3, R-A2", "R-A2 R-B1 R-B2 R-B3"),
        ("R-A21b: no way back", "R-A21 R-A21b"),
        ("R-A21a to R-A22", "R-A21 R-A21a R-A22"),
        ("R-A3 to R-B1", "R-A3 R-B1"),
        ("J1/J2, K.8 and W9", "W9 J1 J2 K.8"),
        ("R-A19 step 4", "R-A19"),
        ("401002 R-A15", "R-A15"),
        ("W3C, P-256, API-1, r-a1, XR-A1, R-A, R-A1x2, J1x", ""),
        ("", ""),
    ];
    for (text, expected) in table {
        let found: Vec<String> = rules(text).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
}
