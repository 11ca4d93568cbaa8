//! `linarite parity`: tells which rules of Azure are followed, and which operations there are.

use clap::Args;

use super::{Exit, answers, fails};
use crate::parity::{Area, Parity, Rule, RuleId, State};

/// Arguments of `linarite parity`.
#[derive(Args, Clone, Debug)]
pub struct ParityArgs {
    /// Rules to tell all about, such as R-A22 or I-1; the whole table without one
    #[arg(value_name = "RULE", conflicts_with_all = ["state", "area"])]
    rules: Vec<String>,
    /// Only what stands like this
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only what is about this
    #[arg(long, value_name = "AREA")]
    area: Option<Area>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the table, or what `args` leave of it.
///
/// Gives [`Exit::Usage`] for a rule that does not exist.
#[must_use]
pub fn parity(args: &ParityArgs) -> Exit {
    let parity = match Parity::built_in() {
        Ok(parity) => parity,
        Err(error) => return fails(Exit::Machine, &error.to_string()),
    };
    match shown(args, parity) {
        Ok(text) => answers(Exit::AsExpected, &text),
        Err(message) => fails(Exit::Usage, &message),
    }
}

/// What is printed, or what is wrong with `args`.
fn shown(args: &ParityArgs, parity: Parity) -> Result<String, String> {
    let ids = args
        .rules
        .iter()
        .map(|text| find(&parity, text))
        .collect::<Result<Vec<RuleId>, String>>()?;
    let parity = if ids.is_empty() {
        let fits = |area, state| {
            args.area.is_none_or(|wanted| wanted == area)
                && args.state.is_none_or(|wanted| wanted == state)
        };
        parity.only(
            |rule| fits(rule.area, rule.state),
            |api, operation| fits(api.area, operation.state),
        )
    } else {
        parity.only(|rule| ids.contains(&rule.id), |_, _| false)
    };
    if args.json {
        let json = parity.json().map_err(|error| error.to_string())?;
        return Ok(format!("{json}\n"));
    }
    Ok(if ids.is_empty() {
        parity.text()
    } else {
        parity.details()
    })
}

/// The rule that `text` names, in any case.
fn find(parity: &Parity, text: &str) -> Result<RuleId, String> {
    let Some(id) = RuleId::parse(&spelt(text)) else {
        return Err(format!(
            "{text} is no number of a rule; expected one such as R-A22, R-A21b, I-1, W9, J4 or K.8"
        ));
    };
    if parity.rule(id).is_some() {
        return Ok(id);
    }
    let family = |rule: &&Rule| rule.id.family() == id.family();
    let mut known: Vec<RuleId> = parity.rules.iter().filter(family).map(|r| r.id).collect();
    known.sort();
    let (first, last) = (known.first(), known.last());
    let range = first
        .zip(last)
        .map(|(first, last)| format!("{first} to {last}"));
    Err(format!(
        "there is no rule {id}; there are {}, and linarite parity lists all",
        range.unwrap_or_else(|| "others".to_owned())
    ))
}

/// `text` with capitals but for the letter of a part.
fn spelt(text: &str) -> String {
    let mut spelt = text.to_ascii_uppercase();
    let digit = |byte: &u8| byte.is_ascii_digit();
    let behind_digit = spelt.len() > 1 && spelt.as_bytes().iter().rev().nth(1).is_some_and(digit);
    if behind_digit && let Some(part) = spelt.pop() {
        spelt.push(part.to_ascii_lowercase());
    }
    spelt
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ParityArgs,
    }

    fn told(words: &[&str]) -> Result<String, String> {
        let words = ["parity"].iter().chain(words);
        let args = Cli::try_parse_from(words)
            .map_err(|error| error.to_string())?
            .args;
        shown(&args, Parity::built_in().unwrap())
    }

    #[test]
    fn a_rule_is_found_in_any_case_and_told_in_full() {
        let text = told(&["r-a21B", "i-1"]).unwrap();
        assert!(
            text.starts_with("R-A21b  Device Provisioning Service  emulated"),
            "{text}"
        );
        assert!(text.contains("tested by\n    core::"), "{text}");
        assert!(
            text.contains("settings.disabled_precedence = \"first_match\""),
            "{text}"
        );
        assert!(!text.contains("R-A22"), "{text}");
    }

    #[test]
    fn an_unknown_rule_is_answered_with_those_there_are() {
        let error = told(&["R-A99"]).unwrap_err();
        assert_eq!(
            error,
            "there is no rule R-A99; there are R-A1 to R-A35, and linarite parity lists all"
        );
        assert!(
            told(&["22"])
                .unwrap_err()
                .contains("expected one such as R-A22")
        );
        assert!(told(&["é"]).is_err());
        assert!(
            told(&["R-A1", "--area", "dps"]).is_err(),
            "filters are for the table"
        );
    }

    #[test]
    fn filters_keep_what_stands_so_and_is_about_that() {
        let json = |words: &[&str]| -> serde_json::Value {
            serde_json::from_str(&told(words).unwrap()).unwrap()
        };
        for (area, list) in [("wire", "rules"), ("hub", "operations")] {
            let missing = json(&["--json", "--state", "not-emulated", "--area", area]);
            let list = missing[list].as_array().unwrap();
            assert!(!list.is_empty(), "{area}");
            for item in list {
                assert_eq!(item["state"], "not-emulated");
                assert_eq!(item["area"], area);
                assert!(item["reason"].is_string(), "{item}");
            }
        }
        let one = json(&["--json", "W2"]);
        assert_eq!(one["rules"].as_array().unwrap().len(), 1);
        assert_eq!(one["operations"].as_array().unwrap().len(), 0);
        assert!(told(&["--area", "nowhere"]).is_err());
    }
}
