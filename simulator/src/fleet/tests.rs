//! A small fleet against scripted services, in virtual time and with real TLS.

use std::sync::Mutex;

use linarite_env::{Clock, UnixMillis};

use super::*;
use crate::driver::fake::{Fake, NOW};
use crate::firmware::{Firmware, Trigger};
use crate::observation::{Generation, Observation};
use crate::plan::Window;

const DEVICES: u32 = 12;
const HOUR: Duration = Duration::from_secs(3_600);

/// Who observed what, and when, in milliseconds since the start.
type Trace = Vec<(u32, i64, String)>;

#[derive(Default)]
struct Recorder(Mutex<Trace>);

impl Observer for Recorder {
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation) {
        let shown = match observation {
            // Keys, and so fingerprints, differ from run to run.
            Observation::CredentialStored { generation, .. } => format!("Stored {generation}"),
            other => format!("{other:?}"),
        };
        self.0
            .lock()
            .unwrap()
            .push((device.0, at.0 - NOW * 1_000, shown));
    }
}

fn plans() -> Vec<DevicePlan> {
    let firmware = Arc::new(Firmware {
        trigger: Trigger::Delivery,
        ..Firmware::default()
    });
    let windows: Arc<[Window]> = Arc::from([Window {
        from: HOUR,
        until: 4 * HOUR,
    }]);
    let plan = |index| DevicePlan {
        index: DeviceIndex(index),
        registration_id: format!("dev-{index}").into(),
        firmware: Arc::clone(&firmware),
        windows: Arc::clone(&windows),
        lag: Duration::from_secs(u64::from(index / 3)),
        telemetry_every: Duration::from_secs(600),
        faults: None,
        past: None,
    };
    (0..DEVICES).map(plan).collect()
}

/// Delivers #1 at the start and #2 after two hours, and looks back after five.
async fn rollover() -> Trace {
    let fake = Fake::new();
    let env = Env::new(Clock::tokio(UnixMillis(NOW * 1_000)), 7);
    let recorder = Arc::new(Recorder::default());
    let fleet = Fleet::start(
        plans(),
        fake.services.clone(),
        Arc::clone(&fake) as _,
        env,
        Arc::clone(&recorder) as _,
        4,
    )
    .unwrap();
    for generation in [Generation(1), Generation(2)] {
        for index in 0..DEVICES {
            let name = format!("dev-{index}");
            let credential = fake.pki.leaf("ca", &name, generation, 0, 2 * NOW).unwrap();
            fleet.store(DeviceIndex(index), credential).await.unwrap();
        }
        tokio::time::sleep(2 * HOUR).await;
    }
    tokio::time::sleep(HOUR).await;
    assert_eq!(fleet.len(), DEVICES as usize);
    assert_eq!(fleet.stop().await, 0);
    std::mem::take(&mut *recorder.0.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_fleet_rolls_without_a_gap_and_sleeps_on_time() {
    let trace = rollover().await;
    for device in 0..DEVICES {
        let life: Vec<&str> = trace
            .iter()
            .filter(|(who, ..)| *who == device)
            .map(|(.., it)| it.as_str())
            .collect();
        let count = |what: &str| life.iter().filter(|it| it.starts_with(what)).count();
        assert_eq!(
            life[..3],
            [
                "Stored #1",
                "Awoke",
                "RegistrationStarted { generation: Generation(1) }"
            ]
        );
        assert_eq!(count("SessionOpened"), 2, "{life:#?}");
        assert_eq!(count("SessionClosed"), 1, "{life:#?}");
        assert_eq!(count("RegistrationSucceeded"), 2);
        assert_eq!(count("CredentialDropped { generation: Generation(1) }"), 1);
        assert!(count("MessageOffered") >= 18, "{life:#?}");
        assert_eq!(count("MessageOffered"), count("MessageAcknowledged"));
        assert_eq!(
            life[life.len() - 2..],
            ["SessionClosed { planned: true }", "FellAsleep"]
        );
    }
    let awoke = |index| {
        trace
            .iter()
            .find(|it| it.0 == index && it.2 == "Awoke")
            .unwrap()
            .1
    };
    assert_eq!((awoke(0), awoke(11)), (3_600_000, 3_603_000));
}

#[test]
fn one_seed_gives_one_trace() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(rollover())
    };
    assert_eq!(run(), run());
}

#[tokio::test(start_paused = true)]
async fn a_credential_for_nobody_is_refused() {
    let fake = Fake::new();
    let env = Env::new(Clock::tokio(UnixMillis(NOW * 1_000)), 7);
    let observer = Arc::new(Recorder::default());
    let connector = Arc::clone(&fake) as _;
    let services = fake.services.clone();
    let fleet = Fleet::start(plans(), services, connector, env, observer, 4).unwrap();
    let credential = fake
        .pki
        .leaf("ca", "dev-99", Generation(1), 0, 2 * NOW)
        .unwrap();
    let unknown = DeviceIndex(99);
    let refused = fleet.store(unknown, credential).await;
    assert_eq!(refused, Err(DeliveryError::UnknownDevice(unknown)));
}

#[test]
fn a_task_is_small() {
    let fake = Fake::new();
    let env = Env::new(Clock::system(), 7);
    let dialer = Dialer::new(&fake.services, Arc::clone(&fake) as _, &env.clock, 1).unwrap();
    let observer = Arc::new(Recorder::default());
    let surroundings = Surroundings {
        dialer: Arc::new(dialer),
        clock: env.clock.clone(),
        observer,
    };
    let account = Arc::new(Account {
        dps_host: "d".into(),
        id_scope: "s".into(),
    });
    let plan = plans().remove(0);
    let device = Device::new(&plan, account, &env.entropy);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let schedule = Schedule::new(&plan, Instant::now());
    let driver = Driver::new(plan.index, device, schedule, Arc::new(surroundings), None);
    let (_, receiver) = mpsc::channel(1);
    let size = size_of_val(&driver.run(receiver, CancellationToken::new()));
    assert!(size <= 2_176, "{size} bytes");
}
