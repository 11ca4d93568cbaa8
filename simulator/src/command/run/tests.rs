use clap::Parser;

use super::*;
use crate::report::Verdict;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RunArgs,
}

/// The arguments `words` and the one scenario that they name.
fn asked(words: &str) -> (RunArgs, Scenario) {
    let words = std::iter::once("run").chain(words.split(' '));
    let args = Cli::parse_from(words).args;
    let scenario = scenarios(&args).unwrap().remove(0);
    (args, scenario)
}

/// I-14.
#[test]
fn a_verdict_that_hangs_on_a_guess_says_on_which() {
    let words = "leaf-roll-same-issuer --devices 3 --matrix check_validity,strict_ids";
    let (args, scenario) = asked(words);
    let readings = matrix::wanted(&args, &scenario).unwrap();
    assert_eq!(readings.len(), 4);
    let report = matrix::compare(&args, &scenario, &readings, &Interrupt::new())
        .unwrap()
        .unwrap();
    assert!(report.expected.met && !report.met());
    let headline = report.headline();
    assert!(
        headline.starts_with("PASS, but not under every reading"),
        "{headline}"
    );
    let comparison = report.comparison.as_ref().unwrap();
    let on: Vec<&str> = comparison
        .depends_on
        .iter()
        .map(|one| one.setting.as_str())
        .collect();
    assert_eq!(on, ["check_validity"]);
    let text = report.text();
    let sentence = "depends on check_validity (I-14";
    assert!(
        text.contains(sentence) && text.contains("FAIL  check_validity=false"),
        "{text}"
    );
    assert!(report.html().unwrap().contains(sentence));
    assert!(
        junit([&report])
            .unwrap()
            .contains("reading: check_validity=false")
    );
    let replayed = &comparison.outcomes[3].replay;
    assert!(
        replayed.contains("--set check_validity=false"),
        "{replayed}"
    );
}

#[test]
fn a_setting_that_is_misspelt_is_answered_with_the_one_that_was_meant() {
    let message = setting("chek_validity=false").unwrap_err();
    assert!(
        message.ends_with("did you mean `check_validity`?"),
        "{message}"
    );
    let args = Cli::parse_from(["run", "--matrix", "strict_id"]).args;
    let message = scenarios(&args).unwrap_err();
    assert!(message.ends_with("did you mean `strict_ids`?"), "{message}");
}

#[test]
fn one_reading_is_chosen_by_name_and_shown() {
    let (args, scenario) = asked("leaf-roll-same-issuer --devices 2 --set check_validity=false");
    assert!(matrix::wanted(&args, &scenario).unwrap().is_empty());
    let report = execute(&args, scenario, Quiet::Yes, &Interrupt::new()).unwrap();
    assert_eq!(report.verdict, Verdict::Fail, "expired leaves are accepted");
    assert_eq!(report.settings[0].name, "check_validity");
    assert!(
        report.replay.ends_with("--set check_validity=false"),
        "{}",
        report.replay
    );
    assert!(
        report
            .text()
            .contains("check_validity is false and not true (I-14")
    );
}

#[test]
fn seeds_are_tried_until_one_ends_otherwise_than_expected() {
    let (args, scenario) = asked("individual-switched-early --devices 4 --seed 7 --seeds 3");
    let (found, report) = explore::explore(&args, &scenario, 2, &Interrupt::new()).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        (&json["tried"], &json["as_expected"]),
        (&2.into(), &2.into())
    );
    assert!(json["stopped"].is_null() && report.seed == 8, "{json}");
    assert!(
        found.text().contains("seeds 7 to 8, all 2"),
        "{}",
        found.text()
    );

    let (args, mut scenario) = asked("individual-switched-early --devices 4 --seed 7");
    scenario.expect = Expectation::Pass;
    let (found, report) = explore::explore(&args, &scenario, 3, &Interrupt::new()).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        (&json["tried"], &json["as_expected"]),
        (&1.into(), &0.into())
    );
    assert_eq!(json["stopped"]["replay"], report.replay.as_str());
    assert!(
        found.text().contains("--seed 7 --devices 4"),
        "{}",
        found.text()
    );
}

#[test]
fn a_seed_settles_a_run_however_many_run_beside_it() {
    let hashes = |jobs: &str| {
        let words = format!(
            "individual-switched-early root-expiry leaf-roll-changed-cn --devices 5 --jobs {jobs}"
        );
        let words = std::iter::once("run").chain(words.split(' '));
        let args = Cli::parse_from(words).args;
        let reports = all(&args, &scenarios(&args).unwrap(), &Interrupt::new()).unwrap();
        let hash = |report: Report| (report.scenario, report.trace_hash);
        reports.into_iter().map(hash).collect::<Vec<_>>()
    };
    let alone = hashes("1");
    assert_eq!(alone.len(), 3);
    assert_eq!(alone[0].0, "individual-switched-early");
    assert_eq!(alone, hashes("3"));
}

#[test]
fn a_failing_run_is_shortened_and_a_passing_one_is_not() {
    let (args, scenario) = asked("individual-switched-early --devices 6 --minimise");
    let report = execute(&args, scenario.clone(), Quiet::Yes, &Interrupt::new()).unwrap();
    let (minimum, shortest) = explore::minimise(&args, &scenario, &report, &Interrupt::new())
        .unwrap()
        .unwrap();
    let json = serde_json::to_value(&minimum).unwrap();
    assert_eq!(
        (&json["check"], &json["devices"]),
        (&"never-stranded".into(), &1.into())
    );
    assert!(minimum.text().contains("--devices 1"), "{}", minimum.text());
    assert_eq!((shortest.devices, shortest.verdict), (1, Verdict::Fail));

    let (args, scenario) = asked("individual-expiry --devices 2 --minimise");
    let report = execute(&args, scenario.clone(), Quiet::Yes, &Interrupt::new()).unwrap();
    assert!(
        explore::minimise(&args, &scenario, &report, &Interrupt::new())
            .unwrap()
            .is_none()
    );
}

#[test]
fn every_built_in_scenario_is_whole() {
    for (name, text) in EMBEDDED {
        let scenario = Scenario::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            name.ends_with(&scenario.name),
            "{name} calls itself {}",
            scenario.name
        );
        let twin = name.starts_with("mistakes/");
        assert_eq!(scenario.expect != Expectation::Pass, twin, "{name}");
    }
}

#[test]
fn a_name_that_is_nothing_is_answered_with_the_built_in_ones() {
    let message = sources("intermediate-expire").unwrap_err();
    assert!(message.contains("intermediate-expiry"), "{message}");
}
