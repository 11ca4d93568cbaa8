//! Random procedures, told twice: by the fleet against the emulator, with the checker's verdict,
//! and by a model of the rules so simple that it can be read at one sitting. Both must agree on
//! every device's fate.
//!
//! The model knows no protocol, no certificate and no millisecond. It shares no code with the
//! emulator, the devices or the checker; what it shares is the rules it names.

mod books;
mod breach;
mod firmware;
mod procedure;
mod trouble;
mod world;

use std::cell::Cell;
use std::collections::BTreeSet;

use linarite::fault::DeviceFaults;
use linarite::report::Report;
use linarite::scenario::Scenario;
use linarite::scenario::pace::Pace;
use linarite::scenario::plan::device_plans;
use linarite_env::Entropy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::breach::AUDIT;
use self::firmware::Device;
use self::procedure::{END, Procedure, SLEEPS, STEPS, WAKES, procedures};
use self::trouble::{Kind, SITES, Trouble};
use self::world::{DEVICES, Presence, Step, World};
use crate::scenarios::run_with;

/// Procedures for every run of the tests; `LINARITE_PROCEDURES` asks for another number.
const CASES: u32 = 40;
/// Of every run.
const SEED: u64 = 1;

/// What became of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fate {
    /// At some moment of the roll it had no session and nothing its hub would have taken.
    stranded: bool,
    /// It was awake and without a session for longer than it may.
    waited: bool,
    /// It was not back soon enough after the last trouble.
    late: bool,
    /// A certificate of its that ought to be worthless was accepted.
    misused: bool,
    /// It was connected with the new leaf in the end.
    on_new: bool,
}

impl Fate {
    fn is_bad(self) -> bool {
        self.stranded || self.waited || self.late || self.misused || !self.on_new
    }
}

/// What the seed decides and no rule does: of which firmware a device is, and which troubles,
/// by their place, meet it.
struct Lot {
    firmware: usize,
    met: Vec<bool>,
}

fn lots(scenario: &Scenario) -> Vec<Lot> {
    let entropy = Entropy::new(SEED);
    let plans = device_plans(scenario, &entropy, DEVICES, &Pace::Virtual);
    let lot = |plan: &linarite::plan::DevicePlan| {
        let meets = |fault| DeviceFaults::draw(&[fault], &entropy, &plan.registration_id).is_some();
        Lot {
            firmware: plan.firmware.name.parse().unwrap(),
            met: scenario.faults.iter().cloned().map(meets).collect(),
        }
    };
    plans.iter().map(lot).collect()
}

/// Each device's fate by the model; `None` where the rules leave two ways open. For each trouble
/// that may go two ways, `luck` holds whether it goes the worse one.
fn foretold(procedure: &Procedure, lots: &[Lot], luck: u32) -> Vec<Option<Fate>> {
    let mut world = World::new(procedure);
    let mut devices: Vec<Device> = (0..)
        .zip(lots)
        .map(|(index, lot)| Device::new(index, procedure.habits[lot.firmware], procedure))
        .collect();
    for hour in procedure.moments() {
        world.now = hour;
        if WAKES.contains(&hour) {
            devices.iter_mut().for_each(|device| device.wake(&world));
        }
        if SLEEPS.contains(&hour) {
            devices.iter_mut().for_each(|device| device.sleep(&world));
        }
        let step = procedure.step_at(hour);
        let called = step == Some(Step::Roll);
        for (place, trouble) in procedure.troubles.iter().enumerate() {
            if trouble.site == hour {
                // A call that comes through the silence is lost in it.
                let lost = called && trouble.kind == Kind::Silence;
                let worse = lost || luck & (1 << place) != 0;
                begins(
                    trouble,
                    worse,
                    &mut world,
                    &mut met(&mut devices, lots, place, trouble),
                );
            }
        }
        if let Some(step) = step {
            world.take(step, &mut devices);
        }
        if hour == AUDIT && procedure.contained.is_some() {
            breach::audit(&mut world, &mut devices);
        }
        settle(&mut world, &mut devices);
        for (place, trouble) in procedure.troubles.iter().enumerate() {
            if trouble.ends_at() == hour {
                ends(
                    trouble,
                    &mut world,
                    &mut met(&mut devices, lots, place, trouble),
                );
                settle(&mut world, &mut devices);
            }
        }
        if procedure.contained == Some(hour) {
            world.contained = true;
            devices.iter_mut().for_each(Device::is_contained);
        }
    }
    let fate = |device: &Device| Fate {
        stranded: device.stranded,
        waited: device.books.waited,
        late: device.books.late,
        misused: device.misused,
        on_new: device.session == Some(2),
    };
    devices
        .iter()
        .map(|device| (!device.undecided).then(|| fate(device)))
        .collect()
}

fn settle(world: &mut World, devices: &mut [Device]) {
    for device in devices {
        device.settle(world);
    }
}

/// The devices that a trouble meets: a hub's or DPS's all of them.
fn met<'a>(
    devices: &'a mut [Device],
    lots: &[Lot],
    place: usize,
    trouble: &Trouble,
) -> Vec<&'a mut Device> {
    let pairs = devices.iter_mut().zip(lots);
    let met = pairs.filter(|(_, lot)| lot.met[place] || !trouble.is_of_devices());
    met.map(|(device, _)| device).collect()
}

fn begins(trouble: &Trouble, worse: bool, world: &mut World, devices: &mut [&mut Device]) {
    match trouble.kind {
        Kind::Dps { all, .. } => world.dps_away = all,
        Kind::Restart => world.hub = Presence::BackSoon,
        Kind::LongRestart => world.hub = Presence::Away,
        Kind::Power | Kind::Cuts | Kind::Silence | Kind::Late => {}
    }
    for device in devices {
        device.suffers(trouble.kind, worse, world);
    }
}

fn ends(trouble: &Trouble, world: &mut World, devices: &mut [&mut Device]) {
    match trouble.kind {
        Kind::Dps { .. } => world.dps_away = false,
        Kind::Restart | Kind::LongRestart => world.hub = Presence::There,
        Kind::Power | Kind::Cuts | Kind::Silence | Kind::Late => {}
    }
    for device in devices {
        device.recovers(trouble.kind, world);
    }
}

/// Every fate that a device may have by the model; none where it cannot tell.
fn fates(procedure: &Procedure, lots: &[Lot]) -> Vec<Option<Vec<Fate>>> {
    let ways = 1_u32 << procedure.troubles.len();
    let told: Vec<_> = (0..ways)
        .map(|luck| foretold(procedure, lots, luck))
        .collect();
    let of = |device: usize| told.iter().map(|way| way[device]).collect();
    (0..lots.len()).map(of).collect()
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
    let late = offenders("recovers");
    let misused = offenders("retired-credentials-refused");
    let not_on_new = offenders("ends-on-new-certificate");
    (1..=DEVICES)
        .map(|number| format!("dev-{number:05}"))
        .map(|id| Fate {
            stranded: stranded.contains(id.as_str()),
            waited: waited.contains(id.as_str()),
            late: late.contains(id.as_str()),
            misused: misused.contains(id.as_str()),
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
    // How many procedures served most of their devices well, and how many met a thief.
    let [kind, breached, misused] = [const { Cell::new(0_u32) }; 3];
    let compared = runner.run(&procedures(), |procedure| {
        let text = procedure.to_toml();
        let scenario =
            Scenario::parse("drawn.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let possible = fates(&procedure, &lots(&scenario));
        let report = run_with(scenario, SEED, DEVICES);
        let fates = told(&report);
        let stolen = fates.iter().filter(|fate| fate.misused).count();
        misused.set(misused.get() + u32::try_from(stolen).unwrap());
        let served = fates.iter().filter(|fate| !fate.is_bad()).count();
        kind.set(kind.get() + u32::from(2 * served > DEVICES as usize));
        breached.set(breached.get() + u32::from(procedure.contained.is_some()));
        for (number, (possible, told)) in (1..).zip(possible.into_iter().zip(fates)) {
            let place = match possible.as_deref() {
                Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => {
                    usize::from(first.is_bad())
                }
                _ => 2,
            };
            seen[place].set(seen[place].get() + 1);
            assert!(
                possible.as_ref().is_none_or(|fates| fates.contains(&told)),
                "device {number}: the model foretells {possible:?}, the checker saw {told:?}\n\
                 {}\n{text}",
                report.text()
            );
        }
        Ok(())
    });
    compared.unwrap();
    let [well, badly, open] = seen.map(|number| number.get());
    let [kind, breached, misused] = [kind, breached, misused].map(|number| number.get());
    eprintln!(
        "{well} devices fared well, {badly} badly, {open} in a way the rules leave open; {kind} of \
         {} procedures served most devices well, {breached} met a thief, \
         whose leaves {misused} devices had accepted",
        cases()
    );
    assert!(
        kind >= cases() / 4 && breached >= cases() / 4 && misused >= cases() / 4,
        "{kind} procedures were kind, {breached} met a thief with {misused} devices: the draws show \
         too little"
    );
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
    let with_a_step = |site: &u32| STEPS.contains(site);
    assert!(
        SITES
            .iter()
            .all(|site| with_a_step(site) || !moments.contains(site))
    );
}
