//! Random procedures, told twice: by the fleet against the emulator, with the checker's verdict,
//! and by a model of the rules so simple that it can be read at one sitting. Both must agree on
//! every device's fate.
//!
//! The model knows no protocol, no certificate and no millisecond. It shares no code with the
//! emulator, the devices or the checker; what it shares is the rules it names.

mod firmware;
mod procedure;
mod world;

use std::cell::Cell;
use std::collections::BTreeSet;

use linarite::report::Report;
use linarite::scenario::Scenario;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::firmware::Device;
use self::procedure::{END, Procedure, SLEEPS, STEPS, WAKES, procedures};
use self::world::{DEVICES, World};
use crate::scenarios::run_with;

/// Procedures for every run of the tests; `LINARITE_PROCEDURES` asks for another number.
const CASES: u32 = 40;

/// What became of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fate {
    /// At some moment of the roll it had no session and nothing its hub would have taken.
    stranded: bool,
    /// It was awake and without a session for longer than an hour.
    waited: bool,
    /// It was connected with the new leaf in the end.
    on_new: bool,
}

/// Each device's fate by the model; `None` where the rules leave two ways open.
fn foretold(procedure: &Procedure) -> Vec<Option<Fate>> {
    let mut world = World::new(procedure);
    let mut devices: Vec<Device> = (0..DEVICES)
        .map(|index| Device::new(index, procedure))
        .collect();
    for hour in procedure.moments() {
        world.now = hour;
        if let Some(step) = procedure.step_at(hour) {
            world.take(step, &mut devices);
        }
        for device in &mut devices {
            if WAKES.contains(&hour) {
                device.wake(&world);
            }
            if SLEEPS.contains(&hour) {
                device.sleep(&world);
            }
            device.settle(&mut world);
            device.waited |= device.awake && device.session.is_none() && !procedure.expires(hour);
        }
    }
    let fate = |device: &Device| Fate {
        stranded: device.stranded,
        waited: device.waited,
        on_new: device.session == Some(2),
    };
    devices
        .iter()
        .map(|device| (!device.undecided).then(|| fate(device)))
        .collect()
}

/// Each device's fate as the checker saw it.
fn told(report: &Report) -> Vec<Fate> {
    let offenders = |name: &str| -> BTreeSet<&str> {
        let check = report.checks.iter().find(|check| check.name == name);
        let check = check.unwrap_or_else(|| panic!("the report holds no check {name}"));
        assert_eq!(
            check.offences.len(),
            check.offenders,
            "{name} lists them all"
        );
        check.offences.iter().map(|it| it.device.as_str()).collect()
    };
    let stranded = offenders("never-stranded");
    let waited = offenders("gap-within-budget");
    let not_on_new = offenders("ends-on-new-certificate");
    (1..=DEVICES)
        .map(|number| format!("dev-{number:05}"))
        .map(|id| Fate {
            stranded: stranded.contains(id.as_str()),
            waited: waited.contains(id.as_str()),
            on_new: !not_on_new.contains(id.as_str()),
        })
        .collect()
}

fn cases() -> u32 {
    let asked = std::env::var("LINARITE_PROCEDURES").ok();
    asked.map_or(CASES, |number| number.parse().unwrap())
}

#[test]
fn checker_and_model_agree_on_every_devices_fate() {
    let mut runner = TestRunner::new_with_rng(
        Config {
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::with_cases(cases())
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    // How many devices fared well, badly, and in a way that the rules leave open.
    let seen = [const { Cell::new(0_u32) }; 3];
    let compared = runner.run(&procedures(), |procedure| {
        let text = procedure.to_toml();
        let scenario =
            Scenario::parse("drawn.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let report = run_with(scenario, 1, DEVICES);
        let pairs = foretold(&procedure).into_iter().zip(told(&report));
        for (number, (foretold, told)) in (1..).zip(pairs) {
            let place = match foretold {
                None => 2,
                Some(fate) => usize::from(fate.stranded || fate.waited || !fate.on_new),
            };
            seen[place].set(seen[place].get() + 1);
            assert!(
                foretold.is_none_or(|foretold| foretold == told),
                "device {number}: the model foretells {foretold:?}, the checker saw {told:?}\n\
                 {}\n{text}",
                report.text()
            );
        }
        Ok(())
    });
    compared.unwrap();
    let [well, badly, open] = seen.map(|number| number.get());
    eprintln!("{well} devices fared well, {badly} badly, {open} in a way the rules leave open");
    assert!(
        well >= cases() / 4 && badly >= cases() / 4 && open < cases(),
        "{well} devices fared well, {badly} badly, {open} undecided: the draws show too little"
    );
}

#[test]
fn the_moments_of_a_procedure_leave_room_between_them() {
    let mut moments: Vec<u32> = [&WAKES[..], &SLEEPS, &STEPS, &[END]].concat();
    moments.sort_unstable();
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= 2));
}
