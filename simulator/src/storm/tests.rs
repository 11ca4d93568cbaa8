use linarite_core::hub::tier::Edition;

use super::*;

mod causes;
mod failover;

/// The hub is there again in the same moment.
const FAILOVER: Cause = Cause::HubFailover { down_for: Span(0) };

fn plan(devices: u32, registrations: u32, tier: Option<(Edition, u32)>) -> Plan {
    Plan {
        devices,
        limits: Limits {
            registrations_per_minute: NonZeroU32::new(registrations),
            tier: tier.map(|(edition, units)| Tier::new(edition, units).unwrap()),
            refused_requests_count: false,
        },
        give_up: Duration::from_secs(1_800),
        ..Plan::default()
    }
}

fn outcome(plan: &Plan) -> Outcome {
    run(plan, false, &Interrupt::new()).unwrap()
}

/// R-H3, R-H6: the hub's registry sets the pace, and what the fleet takes beyond it is one poll.
#[test]
fn a_thousand_patient_devices_on_one_unit_take_what_arithmetic_says() {
    let outcome = outcome(&plan(1_000, 1_000, Some((Edition::S1, 1))));
    assert!(outcome.all_served());
    assert_eq!(outcome.forecast.bound_ms, 540_000);
    assert_eq!(outcome.forecast.set_by, Some("hub registry writes"));
    let ratio = outcome.ratio.unwrap();
    assert!((1.0..1.02).contains(&ratio), "{ratio}");
    assert_eq!(outcome.registrations.accepted, 1_000);
    assert_eq!(
        (outcome.registrations.throttled, outcome.polls_throttled),
        (0, 0)
    );
    // Nobody is ever ahead of the arithmetic.
    for point in &outcome.curve {
        assert!(point.connected <= point.forecast, "{point:?}");
        assert!(point.connected <= point.registered, "{point:?}");
    }
}

/// R-H6: polls that are left out would have changed nothing.
#[test]
fn a_storm_is_the_same_whether_or_not_polls_in_vain_are_made() {
    let one_unit = Some((Edition::S1, 1));
    for (devices, registrations, tier) in [(400, 1_000, one_unit), (150, 60, one_unit)] {
        let plan = plan(devices, registrations, tier);
        let without = run_with(&plan, false, false, &Interrupt::new()).unwrap();
        let with = outcome(&plan);
        assert!(with.all_served());
        assert_eq!(without_wall_time(&with), without_wall_time(&without));
    }
}

/// Everything but how long it took on this machine.
fn without_wall_time(outcome: &Outcome) -> Outcome {
    Outcome {
        wall_ms: 0,
        ..outcome.clone()
    }
}

/// R-C12, R-H1. It is no later for it: a refusal takes nothing out of the bucket.
#[test]
fn naive_firmware_asks_far_more_often_than_patient_firmware() {
    let patient = plan(300, 60, None);
    let naive = Plan {
        patience: Patience::Naive,
        ..patient.clone()
    };
    let (patient, naive) = (outcome(&patient), outcome(&naive));
    assert_eq!(patient.forecast, naive.forecast);
    assert_eq!(patient.forecast.bound_ms, 240_000);
    assert!(patient.all_served() && naive.all_served());
    assert!(patient.finish_ms.unwrap() >= 240_000 && naive.finish_ms.unwrap() >= 240_000);
    // The fleet is spread over the time it takes, so most are put off once, and hardly any often.
    assert!(
        (240..600).contains(&patient.registrations.throttled),
        "{:?}",
        patient.registrations
    );
    let times = naive.registrations.throttled / patient.registrations.throttled;
    assert!(times >= 50, "{times}");
    assert_eq!(patient.polls_throttled, 0);
}

/// R-C12, R-H1: where refusals count, who does not wait keeps itself out, and who waits loses
/// nothing.
#[test]
fn naive_firmware_keeps_itself_out_where_refusals_count() {
    let mut patient = plan(500, 400, Some((Edition::S1, 1)));
    patient.limits.refused_requests_count = true;
    patient.give_up = Duration::from_secs(86_400);
    let naive = Plan {
        patience: Patience::Naive,
        ..patient.clone()
    };
    let (patient, naive) = (outcome(&patient), outcome(&naive));
    assert!(patient.all_served() && !patient.stalled);
    let ratio = patient.ratio.unwrap();
    assert!((1.0..=1.02).contains(&ratio), "{ratio}");
    assert!(patient.registrations.throttled > 0);
    assert!(naive.stalled && naive.served < 500, "{}", naive.served);
    assert!(
        naive
            .text()
            .contains("given up, as nobody got further any more")
    );
    assert!(naive.replay.ends_with(" --refused-requests-count"));
}

/// R-C12: a fleet that spreads its return from the start is hardly ever put off.
#[test]
fn jitter_spares_a_fleet_the_waiting() {
    let at_once = plan(300, 60, None);
    let jitter = Plan {
        arrival: Arrival::Jitter,
        ..at_once.clone()
    };
    let (at_once, jitter) = (outcome(&at_once), outcome(&jitter));
    assert!(jitter.all_served());
    assert!(jitter.registrations.throttled * 10 < at_once.registrations.throttled);
    let median = |outcome: &Outcome| outcome.time_to_service_ms.unwrap().p50;
    assert!(median(&jitter) < 5_000 && median(&at_once) > 60_000);
}

/// R-C13: batches of what the limit lets through in the meantime are hardly ever put off.
#[test]
fn batches_as_large_as_the_limit_spare_a_fleet_the_waiting() {
    let at_once = plan(300, 60, None);
    let batches = Plan {
        arrival: "batches=60/1m".parse().unwrap(),
        ..at_once.clone()
    };
    let (at_once, batches) = (outcome(&at_once), outcome(&batches));
    assert!(batches.all_served());
    assert_eq!(
        (batches.forecast.bound_ms, batches.forecast.set_by),
        (240_000, None)
    );
    let finish_ms = batches.finish_ms.unwrap();
    assert!((240_000..=250_000).contains(&finish_ms), "{finish_ms}");
    assert_eq!(batches.registrations.throttled, 0);
    assert!(at_once.registrations.throttled > 200);
    assert!(batches.replay.contains(" --arrival batches=60/1m "));
}

/// A wait counts from the moment a device was to arrive, not from when it got its turn.
#[test]
fn without_limits_a_device_waits_for_nothing_but_its_poll() {
    let ramp = Plan {
        arrival: Arrival::Ramp(Span(60_000)),
        ..plan(60, 0, None)
    };
    let outcome = outcome(&ramp);
    let waits = outcome.time_to_service_ms.unwrap();
    assert_eq!((waits.p50, waits.max), (3_000, 3_000));
    assert_eq!(
        (outcome.finish_ms, outcome.forecast.bound_ms),
        (Some(62_000), 59_000)
    );
    assert_eq!(outcome.forecast.set_by, None);
}

#[test]
fn one_seed_has_one_outcome_and_another_seed_another() {
    let first = plan(200, 60, Some((Edition::S1, 1)));
    let outcomes = [1, 1, 2].map(|seed| {
        let plan = Plan {
            seed,
            ..first.clone()
        };
        let mut outcome = without_wall_time(&outcome(&plan));
        (outcome.seed, outcome.replay) = (0, String::new());
        outcome
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

#[test]
fn a_storm_that_is_given_up_says_who_was_left() {
    let short = Plan {
        give_up: Duration::from_secs(60),
        ..plan(300, 60, None)
    };
    let outcome = outcome(&short);
    assert!(!outcome.all_served());
    assert_eq!((outcome.finish_ms, outcome.ratio), (None, None));
    assert!((60..=120).contains(&outcome.served), "{}", outcome.served);
    let left = 300 - outcome.served;
    assert!(
        outcome
            .text()
            .starts_with(&format!("NOT SERVED  {left} of 300 devices"))
    );
}

#[test]
fn a_storm_is_held_to_its_thresholds() {
    let mut held = plan(200, 60, None);
    let texts = ["finish>=140s", "throttled>=100", "failed==0", "ratio<2.5"];
    held.thresholds = texts.map(|text| text.parse().unwrap()).to_vec();
    let outcome = outcome(&held);
    assert!(outcome.all_served() && outcome.passed);
    let written = texts.map(|text| format!(" --threshold '{}'", text.replace("140s", "2m20s")));
    assert!(
        outcome.replay.ends_with(&written.concat()),
        "{}",
        outcome.replay
    );

    held.thresholds = vec!["p50<=1s".parse().unwrap(), "failed==0".parse().unwrap()];
    let outcome = self::outcome(&held);
    assert!(outcome.all_served() && !outcome.passed);
    let text = outcome.text();
    assert!(
        text.starts_with("FAILED  1 of 2 thresholds; all 200 devices were served"),
        "{text}"
    );
    assert!(text.contains("  threshold     FAIL  p50<=1s"), "{text}");
    assert!(text.contains("  threshold     ok    failed==0"), "{text}");
    let junit = outcome.junit().unwrap();
    assert!(
        junit.contains(r#"tests="3" skipped="0" failures="1""#),
        "{junit}"
    );
    let median = outcome.thresholds[0].measured_text();
    assert!(junit.contains(&format!("p50 is {median}")), "{junit}");
    let page = outcome.html().unwrap();
    assert!(
        page.contains("<code>p50&lt;=1s</code>") && page.contains(">missed</td>"),
        "{page}"
    );
}

#[test]
fn a_storm_says_what_comes_when_its_certificates_end() {
    let mut together = plan(300, 60, None);
    together.certificate_life = Some(Span(86_400_000));
    let mut apart = together.clone();
    apart.arrival = "ramp=10m".parse().unwrap();
    let (together, apart) = (outcome(&together), outcome(&apart));
    let text = together.text();
    assert!(
        text.contains("  echo          the next storm comes after 1d, when certificates of 1d end: 300 within 1m, 5.0 times what DPS registrations let through (60)"),
        "{text}"
    );
    assert!(together.replay.contains(" --certificate-life 1d"));
    let page = together.html().unwrap();
    assert!(page.contains("The next storm comes after 1d"), "{page}");
    assert!(!apart.echo.as_ref().unwrap().storm);
    assert!(
        apart
            .text()
            .contains("no storm when certificates of 1d end")
    );
    assert_eq!(outcome(&plan(10, 0, None)).echo, None);
}

/// A figure that a storm does not have holds to nothing.
#[test]
fn what_cannot_be_measured_holds_no_threshold() {
    let mut short = plan(300, 60, None);
    short.give_up = Duration::from_secs(60);
    short.thresholds = ["finish<=30d", "finish!=1s", "ratio>=0", "p50<=1h"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let outcome = outcome(&short);
    let passed: Vec<bool> = outcome.thresholds.iter().map(|it| it.passed).collect();
    assert_eq!(passed, [false, false, false, true]);
    assert_eq!(outcome.thresholds[0].measured_text(), "nothing to measure");
    assert!(!outcome.passed);
}

#[test]
fn the_page_draws_every_curve_and_names_every_limit() {
    let outcome = outcome(&plan(120, 60, Some((Edition::S1, 1))));
    let page = outcome.html().unwrap();
    for class in ["arrived", "bound", "registered", "connected"] {
        let drawn = format!(r#"<path class="{class}" d="M72.0 "#);
        assert!(page.contains(&drawn), "{class}");
    }
    for gate in &outcome.forecast.gates {
        assert!(page.contains(gate.name), "{}", gate.name);
    }
    assert!(page.contains(&outcome.replay));
    assert_eq!(outcome.curve.len(), 61);
    let failover = Plan {
        cause: FAILOVER,
        ..plan(20, 60, None)
    };
    let page = self::outcome(&failover).html().unwrap();
    assert!(page.contains("connected to the hub"), "{page}");
    assert!(!page.contains("assigned by DPS"), "{page}");
    assert!(!page.contains(r#"class="registered""#), "{page}");
}
