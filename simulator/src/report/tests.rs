//! Reports say what the findings say, in every form.

use super::*;
use crate::checker::{Counts, Moment, Offence};

fn scenario() -> Scenario {
    let text = include_str!("../../../scenarios/mistakes/intermediate-removed-early.toml");
    Scenario::parse("scenarios/mistakes/intermediate-removed-early.toml", text).unwrap()
}

fn findings(failing: Option<(&str, &str)>) -> Findings {
    let check = |&(name, letter): &(&'static str, &'static str)| {
        let rule = failing
            .filter(|(failed, _)| *failed == name)
            .map(|(_, rule)| rule.to_owned());
        let offence = rule.clone().map(|rule| Offence {
            device: "dev-00007".to_owned(),
            from_ms: Some(60 * 86_400_000),
            until_ms: Some(60 * 86_400_000 + 3_600_000),
            rule: Some(rule),
            what: "for <1h>".to_owned(),
        });
        Check {
            name,
            letter,
            passed: offence.is_none(),
            open: false,
            detail: "a detail".to_owned(),
            offenders: usize::from(offence.is_some()),
            rules: rule.into_iter().map(|rule| (rule, 1)).collect(),
            offences: offence.into_iter().collect(),
        }
    };
    let counts = Counts {
        asleep: 400,
        disconnected: 100,
        connected: vec![300, 200],
    };
    Findings {
        checks: CHECKS.iter().map(check).collect(),
        downtime: Downtime {
            max: 3_600_000,
            p99: 4_000,
            p50: 0,
        },
        longest_gaps_ms: vec![0, 0, 4_000, 3_600_000],
        messages: MessageTotals::default(),
        registrations: Registrations::default(),
        on_newest: 999,
        locked_out: 0,
        stale_accepted: 0,
        timeline: vec![
            TimelinePoint {
                at_ms: 0,
                counts: Counts {
                    asleep: 1000,
                    ..Counts::default()
                },
            },
            TimelinePoint {
                at_ms: 60 * 86_400_000 + 60_000,
                counts,
            },
        ],
        refusals: vec![Refusals {
            place: "DPS",
            rule: "R-A15",
            devices: 3,
            others: 1,
        }],
        activity: vec![ActivityBin {
            at_ms: 60 * 86_400_000 + 60_000,
            registered: 4,
            refused_by_dps: 3,
            refused_by_hub: 0,
        }],
        worst: Some(Worst {
            device: "dev-00007".to_owned(),
            longest_wait_ms: 3_600_000,
            stranded_ms: 0,
            moments: vec![Moment {
                at_ms: 60 * 86_400_000 + 90_000,
                until_ms: 60 * 86_400_000 + 120_000,
                times: 3,
                what: "was refused by DPS with certificate #1 (status 401)".to_owned(),
                rule: Some("R-A15"),
            }],
            left_out: 0,
        }),
        trace_hash: "00".repeat(32),
    }
}

fn report(failing: Option<(&str, &str)>) -> Report {
    let run = Run {
        seed: 7,
        devices: 1000,
        pace: Pace::Virtual,
        target: None,
        elapsed_ms: 95 * 86_400_000,
        wall_ms: 12_345,
        steps: Vec::new(),
        interrupted: false,
    };
    Report::new(&scenario(), run, findings(failing))
}

#[test]
fn an_expected_failure_needs_its_check_and_its_rule() {
    let expected = |failing| report(failing).expected;
    assert!(expected(Some(("gap-within-budget", "R-A15"))).met);
    let wrong_rule = expected(Some(("gap-within-budget", "R-G10")));
    assert_eq!(
        wrong_rule.difference.as_deref(),
        Some("expected a device to fall to R-A15, got R-G10")
    );
    let wrong_check = expected(Some(("never-stranded", "R-A15")));
    assert_eq!(
        wrong_check.difference.as_deref(),
        Some("expected gap-within-budget to fail, but it holds")
    );
    assert_eq!(
        expected(None).difference.as_deref(),
        Some("expected fail, got pass")
    );
}

#[test]
fn report_json_has_the_documented_fields() {
    let json: serde_json::Value = serde_json::from_str(&report(None).json().unwrap()).unwrap();
    for field in [
        "scenario",
        "seed",
        "devices",
        "verdict",
        "checks",
        "downtime_ms",
        "messages",
        "registrations",
        "devices_on_new_certificate",
        "stale_credentials_accepted",
        "virtual_seconds",
        "wall_seconds",
        "trace_hash",
    ] {
        assert!(!json[field].is_null(), "{field}");
    }
    assert_eq!(json["verdict"], "pass");
    assert_eq!(json["virtual_seconds"], 95.0 * 86_400.0);
    assert_eq!(json["timeline"][1]["connected"][1], 200);
}

#[test]
fn the_summary_says_the_verdict_first_and_how_to_run_it_again() {
    let text = report(Some(("gap-within-budget", "R-A15"))).text();
    assert!(
        text.starts_with("FAIL, as expected  intermediate-removed-early"),
        "{text}"
    );
    assert!(
        text.contains("dev-00007  for <1h>, from 60d to 60d1h  R-A15"),
        "{text}"
    );
    assert!(text.contains("--seed 7 --devices 1000"), "{text}");
}

#[test]
fn a_report_tells_what_was_rolled_who_was_refused_and_what_became_of_the_worst() {
    let report = report(Some(("gap-within-budget", "R-A15")));
    let text = report.text();
    let rolled = "enrollment group fleet, certificate #1 of issuer-1 (until 90d) -> #2 of issuer-2";
    assert!(text.contains(rolled), "{text}");
    assert!(text.contains("dev-00007, which fared worst"), "{text}");
    assert!(
        text.contains("(status 401), 3 times until 60d2m  R-A15"),
        "{text}"
    );
    let page = report.html().unwrap();
    for words in [
        "issuer-2, by root-a",
        "day 60 00:01:30",
        "3 times until day 60 00:02:00",
        "<title>3 refusals by DPS</title>",
        "<title>4 registrations</title>",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_rule_that_is_named_is_explained_and_no_other() {
    let report = report(Some(("gap-within-budget", "R-A15")));
    for form in [report.text(), report.html().unwrap()] {
        assert!(
            form.contains("no enrollment group holds a certificate"),
            "{form}"
        );
        assert!(!form.contains("the hub knows no such device"), "{form}");
    }
}

#[test]
fn the_page_is_self_contained_and_escapes_what_it_shows() {
    let page = report(Some(("gap-within-budget", "R-A15"))).html().unwrap();
    assert!(page.contains("for &lt;1h&gt;"), "device texts are escaped");
    assert!(page.contains("day 60"), "the axis is labelled in days");
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn junit_holds_a_failure_only_for_what_was_not_expected() {
    let met = junit([&report(Some(("gap-within-budget", "R-A15")))]).unwrap();
    assert!(
        met.contains("fails-as-expected") && !met.contains("<failure"),
        "{met}"
    );
    let unmet = junit([&report(None)]).unwrap();
    assert!(
        unmet.contains("<failure") && unmet.contains("expected fail, got pass"),
        "{unmet}"
    );
}

#[test]
fn one_range_of_waits_ends_at_the_budget() {
    let bins = chart::bins(&[0, 2_500, 5_000, 5_001, 100_000_000], 5_000);
    let counted: Vec<(&str, usize, bool)> = bins
        .iter()
        .filter(|bin| bin.devices > 0)
        .map(|bin| (bin.label.as_str(), bin.devices, bin.over_budget))
        .collect();
    let expected = [
        ("none", 1, false),
        ("≤ 3s", 1, false),
        ("≤ 5s", 1, false),
        ("≤ 10s", 1, true),
        ("longer", 1, true),
    ];
    assert_eq!(counted, expected);
}
