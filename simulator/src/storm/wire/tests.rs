use std::num::NonZeroU32;

use linarite_core::hub::tier::{Edition, Tier};

use super::*;
use crate::observation::Generation;
use crate::storm::{Limits, Patience};

fn plan(devices: u32, registrations: u32, over: Over) -> Plan {
    Plan {
        devices,
        limits: Limits {
            refused_requests_count: false,
            registrations_per_minute: NonZeroU32::new(registrations),
            tier: None,
        },
        give_up: Duration::from_secs(7_200),
        over,
        ..Plan::default()
    }
}

fn outcome(plan: &Plan) -> Outcome {
    super::super::run(plan, false, &Interrupt::new()).unwrap()
}

/// R-H1, R-H6. What TLS adds is work, and work takes no virtual time: the fleet comes back along
/// the same curve.
#[test]
fn the_curve_with_tls_is_the_curve_without() {
    let tier = Some(Tier::new(Edition::S1, 2).unwrap());
    for limits in [
        Limits {
            refused_requests_count: false,
            registrations_per_minute: NonZeroU32::new(60),
            tier: None,
        },
        Limits {
            refused_requests_count: false,
            registrations_per_minute: NonZeroU32::new(100),
            tier,
        },
    ] {
        let like = Plan {
            limits,
            ..plan(300, 60, Over::Nothing)
        };
        let with = Plan {
            over: Over::Pipes,
            ..like.clone()
        };
        let (without, with) = (outcome(&like), outcome(&with));
        assert!(without.all_served() && with.all_served());
        assert_eq!(without.forecast, with.forecast);
        let apart = |a: u64, b: u64| a.abs_diff(b) * 20 <= a.max(b);
        let finishes = (without.finish_ms.unwrap(), with.finish_ms.unwrap());
        assert!(apart(finishes.0, finishes.1), "{finishes:?}");
        for (a, b) in without.curve.iter().zip(&with.curve) {
            // Each in a twentieth of the fleet, though the two moments may differ a little.
            let near = |a: usize, b: usize| a.abs_diff(b) * 20 <= 300;
            let alike = near(a.connected, b.connected) && near(a.registered, b.registered);
            assert!(alike, "{a:?} {b:?}");
        }
    }
}

#[test]
fn one_seed_has_one_curve_with_tls() {
    let plan = plan(60, 30, Over::Pipes);
    let [first, second] = [outcome(&plan), outcome(&plan)];
    assert_eq!(first.curve, second.curve);
    assert_eq!(first.registrations, second.registrations);
    assert!(first.replay.ends_with("--over tls"), "{}", first.replay);
}

#[test]
fn a_storm_over_sockets_serves_every_device_and_all_are_connected_at_once() {
    let outcome = outcome(&plan(40, 0, Over::Sockets));
    assert!(outcome.all_served());
    assert_eq!(outcome.registrations.failed + outcome.connects.failed, 0);
    let wire = outcome.wire.as_ref().unwrap();
    assert_eq!((wire.over, wire.connected), ("tcp", 40));
    assert!(
        outcome
            .text()
            .contains("  wire          mutual TLS over sockets, 40")
    );
}

#[test]
fn a_storm_with_tls_that_is_given_up_says_who_was_left() {
    let short = Plan {
        give_up: Duration::from_secs(30),
        ..plan(60, 20, Over::Pipes)
    };
    let outcome = outcome(&short);
    assert!(!outcome.all_served());
    assert!((20..=40).contains(&outcome.served), "{}", outcome.served);
}

/// R-H1: who locks himself out is given up with TLS as without.
#[test]
fn naive_firmware_that_keeps_itself_out_is_given_up_over_either() {
    let mut without = plan(60, 20, Over::Nothing);
    without.patience = Patience::Naive;
    without.limits.refused_requests_count = true;
    without.give_up = Duration::from_secs(86_400);
    let with = Plan {
        over: Over::Pipes,
        ..without.clone()
    };
    for plan in [without, with] {
        let outcome = outcome(&plan);
        let (served, over) = (outcome.served, plan.over);
        assert!(outcome.stalled && served < 60, "{served} over {over:?}");
    }
}

/// A fleet that is being stopped still observes.
#[test]
fn once_the_counts_are_taken_nothing_is_counted() {
    let clock = Clock::system();
    let progress = Progress::new(clock.clone(), None, false);
    let watch = Watch::new(clock.now_ms(), Tally::new(vec![0, 0], None), progress);
    let opened = |device| {
        let generation = Generation(1);
        let opened = Observation::SessionOpened { generation };
        watch.observe(DeviceIndex(device), clock.now_ms(), opened);
    };
    opened(0);
    let (tally, connected) = watch.close();
    assert_eq!((tally.served_count(), connected), (1, 1));
    opened(1);
    watch.poll_put_off(clock.now_ms());
    let (tally, connected) = watch.close();
    assert_eq!((tally.served_count(), connected), (0, 1));
    assert_eq!((tally.served.len(), tally.polls_throttled), (0, 0));
}

#[test]
fn more_devices_than_there_are_descriptors_for_are_refused_with_what_to_do() {
    assert!(check_descriptors(9_872, 20_000).is_ok());
    let refused = check_descriptors(9_873, 20_000).unwrap_err().to_string();
    let expected = "9873 devices over sockets take 20002 file descriptors, and this process may \
                    open 20000; raise the limit (ulimit -Hn 20002), take at most --devices 9872, \
                    or use --over tls, which needs none";
    assert_eq!(refused, expected);
}

#[test]
fn a_large_fleet_comes_from_several_addresses() {
    assert_eq!(Over::Sockets.mode(10_000), LabMode::Loopback);
    let several = LabMode::LoopbackFrom { addresses: 3 };
    assert_eq!(Over::Sockets.mode(20_001), several);
    assert_eq!(Over::Pipes.mode(20_001), LabMode::InMemory);
}

#[test]
fn a_wire_is_read_as_it_is_called() {
    for over in [Over::Nothing, Over::Pipes, Over::Sockets] {
        assert_eq!(over.name().parse(), Ok(over));
    }
    assert!("udp".parse::<Over>().is_err());
}
