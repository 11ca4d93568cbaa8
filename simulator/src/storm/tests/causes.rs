//! Each cause ends as its own forecast says.

use super::*;

/// As `cause` has it, on one unit of S1 and before Azure's limit on registrations.
fn of(cause: Cause, devices: u32) -> Plan {
    Plan {
        cause,
        ..plan(devices, 1_000, Some((Edition::S1, 1)))
    }
}

const FORGETFUL: Cause = Cause::PowerCut { forgetful: true };
const MINDFUL: Cause = Cause::PowerCut { forgetful: false };

/// R-C10, R-C11, R-H6: who goes through DPS waits for the hub's registry, 200 devices beyond its
/// bucket at 100 a minute.
#[test]
fn who_has_to_register_waits_for_the_registry() {
    for cause in [Cause::RootExpiry, Cause::Breach, FORGETFUL] {
        let outcome = outcome(&of(cause, 300));
        assert!(outcome.all_served(), "{cause}");
        assert_eq!(outcome.forecast.bound_ms, 120_000, "{cause}");
        assert_eq!(outcome.forecast.set_by, Some("hub registry writes"));
        let ratio = outcome.ratio.unwrap();
        // Who was put off by the connection throttle first comes for his turn a little later.
        assert!((1.0..1.2).contains(&ratio), "{cause}: {ratio}");
        assert_eq!(outcome.registrations.accepted, 300, "{cause}");
        assert_eq!(outcome.registrations.failed, 0, "{cause}");
        assert_eq!(outcome.connects.failed, 0, "{cause}");
        for point in &outcome.curve {
            assert!(point.connected <= point.forecast, "{cause}: {point:?}");
        }
    }
}

/// R-C14, R-E7, R-G10: the old certificate is refused once by each device, and then the new one is
/// let in.
#[test]
fn who_changes_certificates_is_refused_once_with_the_old_one() {
    for cause in [Cause::RootExpiry, Cause::Breach] {
        let outcome = outcome(&of(cause, 120));
        assert_eq!(outcome.connects.unauthorized, 120, "{cause}");
        assert_eq!(outcome.served_with_generation, [0, 120], "{cause}");
        let connections = outcome.forecast.gates.last().unwrap();
        assert_eq!(
            (connections.name, connections.times),
            ("hub connections", 2)
        );
        assert!(
            outcome
                .text()
                .contains("120 with the new certificate, 0 with the old")
        );
        assert!(outcome.replay.contains(&format!(" --cause {cause} ")));
    }
}

/// R-C10, R-C11: who knows its hub leaves DPS alone, and nothing but new connections is limited.
#[test]
fn who_remembers_its_hub_waits_for_the_connection_throttle_alone() {
    for cause in [FAILOVER, MINDFUL] {
        let naive = Plan {
            patience: Patience::Naive,
            ..of(cause, 1_500)
        };
        let outcome = outcome(&naive);
        assert!(outcome.all_served(), "{cause}");
        // Who was put off ten times in a row asks DPS (R-C11).
        let asked = outcome.registrations.accepted;
        assert!(asked < 300, "{cause}: {asked}");
        let names: Vec<_> = outcome
            .forecast
            .gates
            .iter()
            .map(|gate| gate.name)
            .collect();
        assert_eq!(names, ["hub connections"]);
        // 1,400 devices beyond the bucket, 100 a second; they try again every half second.
        assert_eq!(outcome.forecast.bound_ms, 14_000);
        let ratio = outcome.ratio.unwrap();
        assert!((1.0..1.2).contains(&ratio), "{cause}: {ratio}");
        assert_eq!(outcome.connects.unauthorized, 0);
        assert_eq!(outcome.served_with_generation, [1_500]);
    }
}

/// A back-off of no time at all opens the next connection before the end of the last is noticed,
/// which is not the end of the next.
#[test]
fn no_connection_fails_but_by_being_refused() {
    for patience in [Patience::Patient, Patience::Naive] {
        let plan = Plan {
            patience,
            ..of(FAILOVER, 1_200)
        };
        for seed in [1, 2] {
            let outcome = outcome(&Plan {
                seed,
                ..plan.clone()
            });
            assert!(outcome.all_served() && outcome.connects.refused > 1_000);
            assert_eq!(outcome.connects.failed, 0, "{patience:?}, seed {seed}");
        }
    }
}

/// R-C11: what a device loses it does not ask for again in the same moment.
#[test]
fn who_lost_a_connection_waits_before_it_tries_again() {
    let unlimited = |cause| Plan {
        cause,
        ..plan(200, 0, None)
    };
    let failover = outcome(&unlimited(FAILOVER));
    let spread = failover.time_to_service_ms.unwrap();
    assert!((1_500..3_500).contains(&spread.p50), "{spread:?}");
    assert!(spread.max <= 5_000, "{spread:?}");
    let power = outcome(&unlimited(MINDFUL));
    assert_eq!(power.time_to_service_ms.unwrap().max, 0);
    for outcome in [&failover, &power] {
        assert_eq!(outcome.registrations.accepted, 0);
        assert_eq!(outcome.registration_ms, None);
    }
    let forgetful = outcome(&unlimited(FORGETFUL));
    // One poll for the outcome of its registration.
    assert_eq!(forgetful.time_to_service_ms.unwrap().max, 3_000);
}

/// What comes before a storm is not in its figures.
#[test]
fn a_fleet_that_was_provisioned_before_finds_the_limits_untouched() {
    let again = outcome(&of(FORGETFUL, 150));
    let first = outcome(&of(Cause::FirstBoot, 150));
    let same = |outcome: &Outcome| {
        let (waits, registrations) = (outcome.time_to_service_ms, outcome.registrations);
        (
            outcome.finish_ms,
            waits,
            registrations,
            outcome.curve.clone(),
        )
    };
    assert_eq!(same(&again), same(&first));
}

#[test]
fn one_seed_has_one_outcome_for_every_cause() {
    for cause in [Cause::RootExpiry, Cause::Breach, FAILOVER] {
        let plan = of(cause, 150);
        let twice = [(); 2].map(|()| without_wall_time(&outcome(&plan)));
        assert_eq!(twice[0], twice[1], "{cause}");
    }
}

/// Over TLS as without it.
#[test]
fn causes_end_alike_with_tls() {
    for cause in [Cause::RootExpiry, Cause::Breach, FAILOVER] {
        let without = of(cause, 130);
        let with = Plan {
            over: Over::Pipes,
            ..without.clone()
        };
        let (without, with) = (outcome(&without), outcome(&with));
        assert!(without.all_served() && with.all_served(), "{cause}");
        assert_eq!(without.forecast, with.forecast, "{cause}");
        assert_eq!(without.served_with_generation, with.served_with_generation);
        assert_eq!(
            without.connects.unauthorized, with.connects.unauthorized,
            "{cause}"
        );
        let (a, b) = (without.finish_ms.unwrap(), with.finish_ms.unwrap());
        assert!(a.abs_diff(b) <= a.max(b) / 5, "{cause}: {a} {b}");
    }
}

#[test]
fn a_cause_with_a_past_works_over_sockets() {
    let plan = Plan {
        over: Over::Sockets,
        give_up: Duration::from_secs(120),
        cause: Cause::Breach,
        ..plan(20, 0, None)
    };
    let outcome = outcome(&plan);
    assert!(outcome.all_served());
    assert_eq!(outcome.connects.unauthorized, 20);
    assert_eq!(outcome.served_with_generation, [0, 20]);
}
