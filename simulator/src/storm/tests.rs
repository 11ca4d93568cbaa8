use linarite_core::hub::tier::Edition;

use super::*;

fn plan(devices: u32, registrations: u32, tier: Option<(Edition, u32)>) -> Plan {
    Plan {
        devices,
        arrival: Arrival::AtOnce,
        limits: Limits {
            registrations_per_minute: NonZeroU32::new(registrations),
            tier: tier.map(|(edition, units)| Tier::new(edition, units).unwrap()),
        },
        patience: Patience::Patient,
        give_up: Duration::from_secs(1_800),
        seed: 1,
    }
}

fn outcome(plan: &Plan) -> Outcome {
    run(plan, false).unwrap()
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
