//! Guesses what an author meant to write.

/// How alike two words must be for one to be a slip of the other.
const ALIKE: f64 = 0.6;

/// The word that was probably meant, where `message` complains of one that is unknown.
///
/// Our own messages and those of the TOML reader have the same build: the unknown word comes
/// first, in backticks, and behind `known:` or `expected` those that would have done.
pub(super) fn suggestion(message: &str) -> Option<String> {
    let (_, quoted) = message.split_once('`')?;
    let (wrong, rest) = quoted.split_once('`')?;
    let listed: Vec<&str> = match rest.split_once("known: ") {
        Some((_, names)) => names.split(", ").collect(),
        None => {
            let (_, names) = rest.split_once("expected ")?;
            names.split('`').skip(1).step_by(2).collect()
        }
    };
    nearest(wrong, listed).map(str::to_owned)
}

/// The one of `names` that is most like `wrong`, if one is like it at all.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // `on-boot` for `on_boot` is the most common slip of all.
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let wrong = plain(wrong);
    let alike = |name: &str| strsim::normalized_damerau_levenshtein(&wrong, &plain(name));
    let scored = names.into_iter().map(|name| (alike(name), name));
    let likely = scored.filter(|(alike, _)| *alike >= ALIKE);
    likely
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let table = [
            (
                "unknown field `duratoin`, expected one of `name`, `duration`",
                Some("duration"),
            ),
            (
                "unknown variant `regster`, expected `connect` or `register`",
                Some("register"),
            ),
            (
                "no step is called `put_group`; known: put-group, put-individuals",
                Some("put-group"),
            ),
            (
                "no authority is called `isuer-2`; known: root-a, issuer-1, issuer-2",
                Some("issuer-2"),
            ),
            (
                "no check is called `uptime`; known: never-stranded, gap-within-budget",
                None,
            ),
            ("invalid type: string \"many\", expected u32", None),
            (
                "`10` is not a duration; write it like 90d, 1h30m, 500ms or -1d",
                None,
            ),
        ];
        for (message, expected) in table {
            assert_eq!(suggestion(message).as_deref(), expected, "{message}");
        }
    }
}
