//! A hub that is down for a while after it has failed over.

use super::*;

/// On one unit of S1 that is down for `seconds`, and before Azure's limit on registrations.
fn down_for(seconds: i64, devices: u32) -> Plan {
    Plan {
        cause: Cause::HubFailover {
            down_for: Span(seconds * 1_000),
        },
        give_up: Duration::from_secs(4 * 3_600),
        ..plan(devices, 1_000, Some((Edition::S1, 1)))
    }
}

/// The shortest wait of a device, in milliseconds.
fn shortest_ms(outcome: &Outcome) -> u64 {
    outcome.time_to_service_by_percentile[0].ms
}

/// R-C11, R-H5.
#[test]
fn nobody_is_connected_before_the_hub_is_back_and_all_are_after() {
    let outcome = outcome(&down_for(600, 200));
    assert!(outcome.all_served());
    assert_eq!(outcome.down_for_ms, Some(600_000));
    assert_eq!(outcome.forecast.bound_ms, 601_000);
    assert_eq!(outcome.forecast.set_by, Some("hub connections"));
    assert!(shortest_ms(&outcome) >= 600_000);
    // The longest back-off is as long as the hub was down.
    let finish_ms = outcome.finish_ms.unwrap();
    assert!((601_000..=1_210_000).contains(&finish_ms), "{finish_ms}");
    for point in &outcome.curve {
        assert!(point.connected <= point.forecast, "{point:?}");
        assert!(point.at_ms >= 600_000 || point.forecast == 0, "{point:?}");
    }
    // What a device sees of it is CONNACK 3.
    let connects = outcome.connects;
    assert!(connects.refused > 200 * 5, "{connects:?}");
    assert_eq!((connects.unauthorized, connects.failed), (0, 0));
}

#[test]
fn one_seed_has_one_failover_and_another_seed_another() {
    let outcomes = [1, 1, 2].map(|seed| {
        let plan = Plan {
            seed,
            ..down_for(600, 200)
        };
        let mut outcome = without_wall_time(&outcome(&plan));
        (outcome.seed, outcome.replay) = (0, String::new());
        outcome
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

/// R-C11: who was refused ten times in a row asks DPS, and is sent to the same hub again. He keeps
/// trying it meanwhile, so that a full DPS holds nobody up.
#[test]
fn who_asks_dps_while_the_hub_is_down_is_served_none_the_later() {
    let with_room = down_for(7_200, 300);
    let crowded = Plan {
        limits: Limits {
            registrations_per_minute: NonZeroU32::new(1),
            ..with_room.limits
        },
        ..with_room.clone()
    };
    let (with_room, crowded) = (outcome(&with_room), outcome(&crowded));
    assert!(with_room.registrations.accepted >= 300);
    assert_eq!(with_room.registrations.throttled, 0);
    assert!(crowded.registrations.accepted < 300 && crowded.registrations.throttled > 0);
    for outcome in [&with_room, &crowded] {
        assert!(outcome.all_served() && shortest_ms(outcome) >= 7_200_000);
        assert_eq!(outcome.registrations.failed, 0);
        // No longer than the longest back-off after the hub is back.
        let finish_ms = outcome.finish_ms.unwrap();
        assert!((7_202_000..=7_810_000).contains(&finish_ms), "{finish_ms}");
    }
}

/// R-H1: nobody gets further while the hub is down, which is nobody's fault.
#[test]
fn a_storm_is_not_given_up_while_the_hub_is_down() {
    let stalls_at_ms = |seconds| {
        let mut plan = down_for(seconds, 10);
        plan.limits.refused_requests_count = true;
        plan.tally(vec![0, 1_000]).stalls_at_ms().unwrap()
    };
    assert_eq!(stalls_at_ms(3_600), stalls_at_ms(1) + 3_599_000);
}

#[test]
fn everything_that_is_told_of_a_storm_tells_of_the_downtime() {
    let limited = outcome(&down_for(120, 150));
    let unlimited = outcome(&Plan {
        cause: down_for(120, 150).cause,
        ..plan(150, 0, None)
    });
    let cause = "  cause         hub-failover: the hub lost every connection and lets nobody in for 2m; \
                 devices connect again\n";
    let row = "<tr><td>hub is down</td><td>nobody</td><td>2m</td></tr>";
    for (outcome, forecast) in [
        (
            &limited,
            "at least 2m1s, set by hub connections (100 in 1s) once the hub is back after 2m; ",
        ),
        (&unlimited, "at least 2m, when the hub is back; "),
    ] {
        let (text, page) = (outcome.text(), outcome.html().unwrap());
        assert!(text.contains(cause), "{text}");
        assert!(text.contains(forecast), "{text}");
        assert!(page.contains(row) && page.contains(forecast), "{page}");
        let replay = " --cause hub-failover --down-for 2m --arrival ";
        assert!(outcome.replay.contains(replay), "{}", outcome.replay);
    }
    let gate = "<td>hub connections</td><td>100 in 1s once it is back</td><td>2m1s</td>";
    assert!(limited.html().unwrap().contains(gate));
    assert_eq!(unlimited.forecast.set_by, None);
    assert!(!unlimited.html().unwrap().contains(">none</td>"));
}

#[test]
fn a_failover_without_downtime_does_not_speak_of_any() {
    let at_once = outcome(&down_for(0, 20));
    assert_eq!(at_once.down_for_ms, Some(0));
    assert!(!at_once.text().contains("hub is back"));
    assert!(!at_once.html().unwrap().contains("hub is down"));
    assert!(!at_once.replay.contains("--down-for"));
    let elsewhere = outcome(&plan(20, 0, None));
    assert_eq!(elsewhere.down_for_ms, None);
}

/// Work takes no virtual time, so TLS changes nothing.
#[test]
fn a_hub_is_down_as_long_with_tls() {
    let without = down_for(120, 40);
    let with = Plan {
        over: Over::Pipes,
        ..without.clone()
    };
    let (without, with) = (outcome(&without), outcome(&with));
    assert!(with.all_served() && shortest_ms(&with) >= 120_000);
    assert_eq!(without.forecast, with.forecast);
    assert_eq!(with.connects.failed, 0);
    let (a, b) = (without.connects.refused, with.connects.refused);
    assert!(a.abs_diff(b) * 20 <= a, "{a} {b}");
}

#[test]
fn a_hub_is_down_over_sockets() {
    let plan = Plan {
        over: Over::Sockets,
        cause: Cause::HubFailover {
            down_for: Span(700),
        },
        patience: Patience::Naive,
        give_up: Duration::from_secs(120),
        ..plan(10, 0, None)
    };
    let outcome = outcome(&plan);
    assert!(outcome.all_served());
    assert!(shortest_ms(&outcome) >= 700, "{}", outcome.text());
}
