//! A scenario is read whole or refused with the place of its mistake.

use linarite_env::Entropy;

use super::duration::DAY_MS;
use super::pace::Pace;
use super::plan::device_plans;
use super::*;
use crate::firmware::RegistersAs;
use crate::observation::DeviceIndex;

pub(super) const GOOD: &str = r#"
name = "small"
claim = "a claim"
duration = "10d"
roll_starts = "5d"
[budget]
gap = "10s"
[fleet]
devices = 100
enrollment = { group = "fleet" }
telemetry = "10m"
spread = "2m"
awake = [
  { from = "1h", for = "1h" },
  { from = "9d", for = "1d" },
]
[[fleet.firmware]]
name = "one"
share = 3
[[fleet.firmware]]
name = "two"
share = 1
on_boot = "register"
[[authority]]
name = "root-a"
valid = ["-1d", "100d"]
[[authority]]
name = "issuer-1"
issuer = "root-a"
valid = ["-1d", "9d"]
[[authority]]
name = "issuer-2"
issuer = "root-a"
valid = ["1d", "90d"]
[[leaf]]
generation = 1
issuer = "issuer-1"
valid = ["0d", "9d"]
[[leaf]]
generation = 2
issuer = "issuer-2"
valid = ["4d", "20d"]
[[step]]
at = "0d"
do = "add-ca-certificate"
certificate = "root-a"
[[step]]
do = "put-group"
group = "fleet"
primary = "issuer-1"
[[step]]
at = "9d1h"
do = "deliver-leaf"
generation = 2
[[step]]
at = "9d2h"
do = "call-method"
method = "reprovision"
"#;

fn good() -> Scenario {
    Scenario::parse("small.toml", GOOD).unwrap()
}

#[test]
fn a_good_scenario_is_resolved() {
    let scenario = good();
    assert_eq!(scenario.steps.len(), 4);
    assert_eq!(
        scenario.steps[1].at,
        Duration::ZERO,
        "without `at` a step follows at once"
    );
    assert_eq!(scenario.newest_generation(), Generation(2));
    let chain: Vec<&str> = scenario
        .chain("issuer-2")
        .iter()
        .map(|authority| authority.name.as_str())
        .collect();
    assert_eq!(chain, ["issuer-2", "root-a"]);
}

/// Replaces `old` by `new` in the good scenario and expects the message to begin with `place`
/// and to hold `words`.
fn refuses(old: &str, new: &str, place: &str, words: &str) {
    let text = GOOD.replacen(old, new, 1);
    assert_ne!(text, GOOD, "`{old}` is not in the scenario");
    let error = Scenario::parse("small.toml", &text).unwrap_err();
    let line = error.line;
    let message = error.to_string();
    assert!(line.is_some(), "{message}");
    assert_eq!(error.field, place, "{message}");
    assert!(message.contains(words), "{message}");
}

#[test]
fn mistakes_are_answered_with_their_place_and_what_would_do() {
    let table = [
        (
            "duration = \"10d\"",
            "duration = \"10\"",
            "duration",
            "write it like 90d",
        ),
        (
            "duration = \"10d\"",
            "duratoin = \"10d\"",
            "duratoin",
            "unknown field",
        ),
        (
            "[budget]",
            "[settings]\nchek_validity = false\n[budget]",
            "settings.chek_validity",
            "did you mean `check_validity`?",
        ),
        (
            "[budget]",
            "[settings]\nforced_close_delay_seconds = 301\n[budget]",
            "settings.forced_close_delay_seconds",
            "a number from 0 to 300",
        ),
        (
            "[budget]",
            "[matrix]\nstrict_ids = [true]\n[budget]",
            "matrix.strict_ids",
            "at least two values",
        ),
        (
            "roll_starts = \"5d\"",
            "roll_starts = \"11d\"",
            "roll_starts",
            "between 0s and 10d",
        ),
        (
            "devices = 100",
            "devices = 100001",
            "fleet.devices",
            "100000",
        ),
        ("devices = 100", "devices = 0", "fleet.devices", "between 1"),
        (
            "{ group = \"fleet\" }",
            "{ }",
            "fleet.enrollment",
            "individual = true",
        ),
        (
            "from = \"9d\"",
            "from = \"1h30m\"",
            "fleet.awake",
            "does not begin after",
        ),
        (
            "for = \"1d\"",
            "for = \"1h\"",
            "fleet.awake",
            "reach the end",
        ),
        (
            "share = 3",
            "share = 0",
            "fleet.firmware[1].share",
            "between 1 and 1000",
        ),
        (
            "on_boot = \"register\"",
            "on_boot = \"sleep\"",
            "fleet.firmware[2].on_boot",
            "`connect`",
        ),
        (
            "issuer = \"root-a\"",
            "issuer = \"root-b\"",
            "authority[2].issuer",
            "known: root-a",
        ),
        (
            "valid = [\"1d\", \"90d\"]",
            "valid = [\"1d\", \"1d\"]",
            "authority[3].valid",
            "not after",
        ),
        (
            "issuer = \"issuer-2\"",
            "issuer = \"issuer-3\"",
            "leaf[2].issuer",
            "known: root-a, issuer-1, issuer-2",
        ),
        (
            "generation = 2\nissuer",
            "generation = 3\nissuer",
            "leaf[2].generation",
            "where 2 was expected",
        ),
        (
            "issuer = \"issuer-2\"",
            "issuer = \"issuer-2\"\ncommon_name = \"x\"",
            "leaf[2].common_name",
            "{id}",
        ),
        (
            "do = \"add-ca-certificate\"",
            "do = \"add-certificate\"",
            "step[1].do",
            "known: add-ca-certificate",
        ),
        (
            "certificate = \"root-a\"",
            "certificate = \"root-b\"",
            "step[1].certificate",
            "known: root-a",
        ),
        (
            "certificate = \"root-a\"",
            "certificate = \"root-a\"\ngroup = \"g\"",
            "step[1].group",
            "does not belong",
        ),
        (
            "primary = \"issuer-1\"",
            "",
            "step[2].do",
            "at least one of",
        ),
        (
            "primary = \"issuer-1\"",
            "primary = 1",
            "step[2].primary",
            "name of an authority",
        ),
        (
            "group = \"fleet\"\nprimary",
            "group = \"flet\"\nprimary",
            "name",
            "`fleet`",
        ),
        (
            "at = \"9d2h\"",
            "at = \"9d\"",
            "step[4].at",
            "earlier than the step before",
        ),
        (
            "at = \"9d2h\"",
            "at = \"11d\"",
            "step[4].at",
            "outside the run",
        ),
        (
            "at = \"9d1h\"\ndo = \"deliver-leaf\"",
            "at = \"9d1h\"\ndo = \"call-method\"",
            "step[3].generation",
            "does not belong",
        ),
        (
            "generation = 2\n[[step]]",
            "generation = 1\n[[step]]",
            "step[3].do",
            "born with",
        ),
        (
            "generation = 2\n[[step]]",
            "generation = 7\n[[step]]",
            "step[3].generation",
            "known: 1, 2",
        ),
        (
            "generation = 2\n[[step]]",
            "generation = 2\nfirmware = \"three\"\n[[step]]",
            "step[3].firmware",
            "known: one, two",
        ),
        (
            "[budget]",
            "hubs = [\"hub-1\", \"hub-1\"]\n[budget]",
            "hubs",
            "each once",
        ),
        (
            "[budget]",
            "ends_on = \"hub-2\"\n[budget]",
            "ends_on",
            "known: hub-1",
        ),
        (
            "primary = \"issuer-1\"\n",
            "primary = \"issuer-1\"\nhub = \"hub-9\"\n",
            "step[2].hub",
            "known: hub-1",
        ),
        (
            "[fleet]",
            "[breach]\ngeneration = 1\ncontained = \"9d\"\n[fleet]",
            "breach.contained",
            "audit",
        ),
        (
            "[fleet]",
            "[locked_out]\nshare = \"a tenth\"\nfrom = \"9d\"\n[fleet]",
            "locked_out.share",
            "1/10",
        ),
    ];
    for (old, new, place, words) in table {
        // Errors about the file as a whole point at its beginning.
        let place = if place == "name" { "" } else { place };
        refuses(old, new, place, words);
    }
}

#[test]
fn a_function_is_deployed_before_it_is_asked_and_for_everybody_first() {
    let step =
        |fields: &str| format!("[[step]]\nat = \"0d\"\ndo = \"deploy-function\"\n{fields}\n");
    let with = |steps: &str| {
        let text = GOOD.replacen("[[step]]", &format!("{steps}[[step]]"), 1);
        let custom = "primary = \"issuer-1\"\nallocation = \"custom\"";
        let text = text.replacen("primary = \"issuer-1\"", custom, 1);
        Scenario::parse("s.toml", &text).map_err(|error| error.to_string())
    };
    let whole = step("hub = \"hub-1\"");
    let scenario =
        with(&(whole + &step("hub = \"hub-2\"\nlinked = false\nshare = \"1/4\""))).unwrap();
    assert!(scenario.has_function() && !good().has_function());
    let shown: Vec<String> = { scenario.steps.iter() }.map(ToString::to_string).collect();
    assert_eq!(
        shown[0],
        "deploy a function that sends every device to hub-1"
    );
    let other = "deploy a function that sends one device in 4 to hub-2, which is not linked";
    assert_eq!(shown[1], other);
    assert!(shown[3].ends_with(", hubs by the function"), "{}", shown[3]);
    let table = [
        (String::new(), "there is nothing to ask"),
        (step(""), "needs the field `hub`"),
        (step("hub = \"hub-2\""), "no hub is called `hub-2`"),
        (
            step("hub = \"hub-1\"\nlinked = false"),
            "all of which are linked",
        ),
        (
            step("hub = \"Hub 2\"\nlinked = false"),
            "is not 3 to 50 small letters",
        ),
        (
            step("hub = \"hub-1\"\nshare = \"1/2\""),
            "has to answer for every device",
        ),
        (
            step("hub = \"hub-1\"\ngroup = \"fleet\""),
            "`group` does not belong",
        ),
    ];
    for (steps, words) in table {
        let message = with(&steps).unwrap_err();
        assert!(message.contains(words), "{message}, and not {words}");
    }
}

#[test]
fn a_method_is_called_only_when_every_device_is_awake() {
    let text = GOOD
        .replace("at = \"9d1h\"", "at = \"9d\"")
        .replace("9d2h", "9d1m");
    let message = Scenario::parse("small.toml", &text)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("small.toml:57: step[4].do: not every device is awake"),
        "{message}"
    );
}

#[test]
fn a_plan_depends_on_seed_and_device_alone() {
    let scenario = good();
    let few = device_plans(&scenario, &Entropy::new(7), 10, &Pace::Virtual);
    let many = device_plans(&scenario, &Entropy::new(7), 100, &Pace::Virtual);
    let other = device_plans(&scenario, &Entropy::new(8), 10, &Pace::Virtual);
    let lags = |plans: &[crate::plan::DevicePlan]| -> Vec<Duration> {
        plans.iter().take(10).map(|plan| plan.lag).collect()
    };
    assert_eq!(lags(&few), lags(&many));
    assert_ne!(lags(&few), lags(&other));
    assert!(many.iter().all(|plan| plan.lag <= Duration::from_secs(120)));
    let second = many
        .iter()
        .filter(|plan| plan.firmware.name == "two")
        .count();
    assert!(
        (10..45).contains(&second),
        "{second} of 100 with a share of a quarter"
    );
    assert_eq!(&*many[0].registration_id, "dev-00001");
    assert_eq!(good().registration_id(DeviceIndex(99_999)), "dev-100000");
}

#[test]
fn in_real_time_sleeps_shrink_by_the_day_and_times_awake_to_a_fixed_length() {
    let scenario = good();
    let pace = Pace::real_time(&scenario);
    let hour = DAY_MS / 24;
    // Awake from 1h to 2h and from 9d to 10d; 500 ms for a day asleep, 20 s for each time awake.
    let table = [
        (-DAY_MS, -500),
        (0, 0),
        (hour, 20),
        (hour + hour / 2, 10_020),
        (2 * hour, 20_020),
        (9 * DAY_MS, 24_478),
        (10 * DAY_MS, 44_478),
        (12 * DAY_MS, 45_478),
    ];
    for (span, clock) in table {
        assert_eq!(pace.procedure_ms(Span(span)), clock, "{}", Span(span));
    }
    assert!((pace.days(44_478) - 10.0).abs() < 0.01);
    assert!((pace.days(34_478) - 9.5).abs() < 0.01);
    let plans = device_plans(&scenario, &Entropy::new(1), 1, &pace);
    assert_eq!(plans[0].windows[1].from, Duration::from_millis(24_478));
    assert_eq!(plans[0].telemetry_every, Duration::from_secs(1));
}

#[test]
fn dps_ought_to_admit_what_the_steps_say() {
    let scenario = good();
    let mut admission = admission::Admission::default();
    let admitted = |admission: &admission::Admission| -> Vec<u32> {
        admission
            .admitted(&scenario, DeviceIndex(2))
            .into_iter()
            .map(|generation| generation.0)
            .collect()
    };
    let group = |primary: Option<&str>, secondary: Option<&str>, disabled| Action::PutGroup {
        group: "fleet".to_owned(),
        primary: primary.map(str::to_owned),
        secondary: secondary.map(str::to_owned),
        style: GroupStyle::SigningCertificates,
        disabled,
        hub: None,
        reprovision: None,
        allocation: None,
    };
    admission.apply(&group(Some("issuer-1"), None, false));
    assert_eq!(admitted(&admission), [0; 0], "nothing is verified yet");
    admission.apply(&Action::AddCaCertificate {
        certificate: "root-a".to_owned(),
        verified: true,
    });
    assert_eq!(admitted(&admission), [1]);
    admission.apply(&group(Some("issuer-1"), Some("issuer-2"), false));
    assert_eq!(admitted(&admission), [1, 2]);
    admission.apply(&group(None, Some("issuer-2"), false));
    assert_eq!(admitted(&admission), [2]);
    admission.apply(&group(None, Some("issuer-2"), true));
    assert_eq!(admitted(&admission), [0; 0]);
    let individual = |primary, disabled, one_in| Action::PutIndividuals {
        primary,
        secondary: None,
        disabled,
        allocation: None,
        one_in,
    };
    admission.apply(&individual(Some(Generation(1)), false, 2));
    assert_eq!(
        admitted(&admission),
        [1],
        "an entry of its own shadows the disabled group"
    );
    admission.apply(&individual(None, true, 3));
    assert_eq!(
        admitted(&admission),
        [1],
        "that was for every third device, and this is not one of them"
    );
    admission.apply(&individual(None, true, 1));
    assert_eq!(admitted(&admission), [0; 0]);
    admission.apply(&Action::DeleteIndividuals { one_in: 2 });
    admission.apply(&group(None, Some("issuer-2"), false));
    assert_eq!(admitted(&admission), [2], "the group answers again");
    admission.apply(&Action::DeleteCaCertificate {
        certificate: "root-a".to_owned(),
    });
    assert_eq!(admitted(&admission), [0; 0]);
}

#[test]
fn a_clock_is_slow_or_fast() {
    for (skew, milliseconds) in [("-40d", -3_456_000_000), ("90s", 90_000)] {
        let text = GOOD.replacen(
            "share = 3",
            &format!("share = 3\nclock_skew = \"{skew}\""),
            1,
        );
        let scenario = Scenario::parse("s.toml", &text).unwrap();
        assert_eq!(scenario.fleet.firmware[0].1.clock_skew_ms, milliseconds);
        assert_eq!(scenario.fleet.firmware[1].1.clock_skew_ms, 0);
    }
    let text = GOOD.replacen("share = 3", "share = 3\nclock_skew = \"late\"", 1);
    let message = Scenario::parse("s.toml", &text).unwrap_err().to_string();
    assert!(message.starts_with("s.toml:20: "), "{message}");
    assert!(message.contains("write it like"), "{message}");
}

#[test]
fn firmware_has_an_id_and_an_api_of_its_own() {
    let keys = "share = 3\nregisters_as = \"device\"\ndps_api_version = \"2021-06-01-preview\"";
    let scenario = Scenario::parse("s.toml", &GOOD.replacen("share = 3", keys, 1)).unwrap();
    let [old, usual] = [0, 1].map(|index| &scenario.fleet.firmware[index].1);
    assert_eq!(old.registers_as, RegistersAs::Device);
    assert_eq!(old.dps_api_version, "2021-06-01-preview");
    assert_eq!(usual.registers_as, RegistersAs::CommonName);
    assert_eq!(usual.dps_api_version, "2019-03-31");

    let keys = "share = 3\ndps_api_version = \"2019-13-31\"";
    let wrong = Scenario::parse("s.toml", &GOOD.replacen("share = 3", keys, 1));
    let message = wrong.unwrap_err().to_string();
    assert!(message.starts_with("s.toml:20: "), "{message}");
    assert!(message.contains("`2019-13-31` is no version"), "{message}");
}
