//! One run of one scenario: prepares certificates and services, switches the fleet on, carries
//! out the steps, and asks the checker for its verdict.

mod credentials;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use linarite_env::{Clock, Env, UnixMillis};
use tokio::time::{Instant, sleep, sleep_until};

use crate::checker::{Ledger, Names, Terms, Troubled};
use crate::endpoint::{Connector, Services};
use crate::fault::{self, Fault};
use crate::fleet::Fleet;
use crate::function::{Function, Hosted};
use crate::interrupt::Interrupt;
use crate::observation::{DeviceIndex, Generation, Observation, Observer};
use crate::operator::{Operator, StepOutcome, Tools};
use crate::pki::{Credential, PkiError};
use crate::plan::DevicePlan;
use crate::progress::Progress;
use crate::report::{Report, Run};
use crate::scenario::duration::Span;
use crate::scenario::pace::Pace;
use crate::scenario::plan::device_plans;
use crate::scenario::{Enrollment, Scenario, Step};
use crate::service_client::ServiceError;
use crate::tls::TlsError;

/// Handshakes the fleet makes at a time.
const HANDSHAKES_AT_ONCE: usize = 64;

/// How far the services' events may be behind, where these are in another process.
const ECHO: Duration = Duration::from_millis(500);

/// Why a run could not be carried through. What a device or a service does wrong is no such
/// reason; that stands in the report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A certificate could not be made.
    #[error("cannot make the run's certificates: {0}")]
    Pki(#[from] PkiError),
    /// The operator could not be equipped.
    #[error("cannot reach the services: {0}")]
    Service(#[from] ServiceError),
    /// The fleet could not be equipped.
    #[error("cannot equip the fleet: {0}")]
    Tls(#[from] TlsError),
    /// A certificate did not reach its device.
    #[error("cannot equip the fleet: {0}")]
    Delivery(#[from] crate::fleet::DeliveryError),
    /// There is no place for the operator's function.
    #[error("cannot serve the operator's function: {0}")]
    Function(#[source] std::io::Error),
    /// Services do not fail as they are to.
    #[error("cannot make the services fail: {0}")]
    Trouble(#[from] fault::service::TroubleError),
}

/// What may differ between two runs of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of devices.
    pub devices: u32,
    /// Virtual time or the wall clock.
    pub pace: Pace,
    /// The file that names the emulator in another process, where the run takes place in one.
    pub target: Option<PathBuf>,
}

/// Where a run takes place. The seed is the environment's.
#[derive(Clone)]
pub struct Stage {
    /// The services.
    pub services: Services,
    /// The way to them.
    pub connector: Arc<dyn Connector>,
    /// The clock, chance, and events that services and fleet share.
    pub env: Env,
    /// Whether it is to end before its time.
    pub interrupt: Interrupt,
}

/// Moments of a run on its clock.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// When preparations began.
    prepared_from: UnixMillis,
    /// Start of the run: time zero of the scenario.
    origin: UnixMillis,
    /// The same moment for timers.
    start: Instant,
}

/// Runs `scenario` on `stage`. Where it is interrupted the report tells what was seen by then.
///
/// # Errors
/// [`RunError`] where nothing could be run; never for what a run shows.
pub async fn run_scenario(
    scenario: Arc<Scenario>,
    options: &Options,
    stage: &Stage,
    progress: Arc<Progress>,
) -> Result<Report, RunError> {
    let wall = Clock::system();
    let began = wall.now_ms();
    let times = times(&scenario, options, stage);
    let (pki, issued) = credentials::issue(&scenario, options, &times, &stage.interrupt)?;
    let (pki, issued) = (Arc::new(pki), Arc::new(issued));
    let ledger = Ledger::new(
        terms(&scenario, &options.pace, &times),
        &names(&scenario, options),
    );
    if let Some(hub) = &scenario.ends_on {
        let hosts = stage.services.hubs.iter().map(|(host, _)| host.as_str());
        let is_it = |host: &&str| host.split('.').next() == Some(hub);
        let host = { hosts }.find(is_it);
        ledger.expect_hub(host.unwrap_or(hub));
    }
    ledger.listen(&stage.env.events);
    let observer = Arc::new(Watched {
        ledger: Arc::clone(&ledger),
        progress: Arc::clone(&progress),
    });
    let plans = device_plans(
        &scenario,
        &stage.env.entropy,
        options.devices,
        &options.pace,
    );
    let hosted = host_function(&scenario, options, stage)?;
    let function = hosted.as_ref().map(|hosted| Arc::clone(&hosted.function));
    let operator = Operator::new(Tools {
        scenario: Arc::clone(&scenario),
        services: stage.services.clone(),
        connector: Arc::clone(&stage.connector),
        env: stage.env.clone(),
        pki,
        credentials: Arc::clone(&issued),
        registration_ids: registration_ids(&scenario, options),
        firmware: plans
            .iter()
            .map(|plan| Arc::clone(&plan.firmware))
            .collect(),
        function: hosted,
        ledger: Arc::clone(&ledger),
    })?;
    let mut procedure = Procedure {
        scenario: &scenario,
        pace: &options.pace,
        stage,
        ledger: &ledger,
        operator,
        function,
        times,
        steps: Vec::new(),
        fleet: None,
    };
    let born_with = issued.get(&Generation(1)).map_or(&[][..], Vec::as_slice);
    let interrupted = tokio::select! {
        biased;
        () = stage.interrupt.asked() => true,
        ended = Box::pin(procedure.carry_through(plans, born_with, observer)) => {
            ended?;
            false
        }
    };
    let now = stage.env.clock.now_ms();
    let findings = ledger.judge(now);
    let Procedure {
        times,
        mut steps,
        fleet,
        ..
    } = procedure;
    // What was interrupted does not wait for devices to end.
    if let Some(fleet) = fleet
        && !interrupted
    {
        fleet.stop().await;
    }
    progress.finish();

    for step in &mut steps {
        step.began_ms -= times.origin.0;
    }
    let run = Run {
        seed: stage.env.entropy.seed(),
        devices: options.devices,
        pace: options.pace.clone(),
        target: options.target.clone(),
        // Before time zero nothing has happened.
        elapsed_ms: now.since(times.origin).max(0),
        wall_ms: wall.now_ms().since(began),
        steps,
        interrupted,
    };
    Ok(Report::new(&scenario, run, findings))
}

/// The run itself, and how far it is, wherever it is interrupted.
struct Procedure<'a> {
    scenario: &'a Scenario,
    pace: &'a Pace,
    stage: &'a Stage,
    ledger: &'a Ledger,
    operator: Arc<Operator>,
    function: Option<Arc<Function>>,
    times: Times,
    /// Those taken, their moments on the clock of the stage.
    steps: Vec<StepOutcome>,
    /// Switched on at time zero.
    fleet: Option<Fleet>,
}

impl Procedure<'_> {
    /// From the first preparation to the end of the run.
    async fn carry_through(
        &mut self,
        plans: Vec<DevicePlan>,
        born_with: &[Credential],
        observer: Arc<Watched>,
    ) -> Result<(), RunError> {
        let scenario = self.scenario;
        let before = { scenario.steps.iter() }.take_while(|step| step.at == Duration::ZERO);
        let (before, after) = scenario.steps.split_at(before.count());
        self.prepare(before).await;
        let fleet = Fleet::start(
            plans,
            self.stage.services.clone(),
            Arc::clone(&self.stage.connector),
            self.stage.env.clone(),
            observer,
            HANDSHAKES_AT_ONCE,
        )?;
        let fleet = self.fleet.insert(fleet);
        let faults = scenario.faults.iter();
        let faults: Vec<Fault> = faults.map(|fault| fault.on_clock(self.pace)).collect();
        let Times { start, origin, .. } = self.times;
        if let Some(function) = &self.function {
            function.fails(&faults, origin);
        }
        let trouble = fault::service::begin(&faults, self.stage, (start, origin)).await?;
        for (index, credential) in (0..).zip(born_with) {
            fleet.store(DeviceIndex(index), credential.clone()).await?;
        }
        let end = start + self.pace.procedure(scenario.duration);
        for step in after {
            let taken = take_step(&self.operator, step, self.pace, start, end, fleet).await;
            self.steps.push(taken);
        }
        sleep_until(end).await;
        if let Pace::RealTime(_) = self.pace {
            // What the services tell of the last moments may still be on its way.
            sleep(ECHO).await;
        }
        trouble.end()?;
        Ok(())
    }

    /// Carries out the steps before time zero, and waits for it.
    async fn prepare(&mut self, before: &[Step]) {
        for step in before {
            self.steps.push(self.operator.carry_out(step, None).await);
        }
        sleep_until(self.times.start).await;
        let late = Instant::now().saturating_duration_since(self.times.start);
        if late > Duration::from_millis(50) {
            // Preparation took longer than was foreseen; everything happens that much later.
            self.times.start += late;
            self.times.origin = self.stage.env.clock.now_ms();
            let terms = terms(self.scenario, self.pace, &self.times);
            self.ledger.put_off(terms);
        }
    }
}

async fn take_step(
    operator: &Arc<Operator>,
    step: &Step,
    pace: &Pace,
    start: Instant,
    end: Instant,
    fleet: &Fleet,
) -> StepOutcome {
    sleep_until(start + pace.procedure(step.at)).await;
    if Instant::now() > end {
        let reason = "the steps before it took until after the end of the run";
        return operator.left_out(step, reason.to_owned());
    }
    if let Some(condition) = &step.when {
        let until = start + pace.procedure(step.at + condition.within);
        if let Err(reason) = operator.wait_for(condition, until).await {
            return operator.left_out(step, reason);
        }
    }
    operator.carry_out(step, Some(fleet)).await
}

/// What the clock of a run shows at first: `usual`, unless the scenario begins on a day of the
/// calendar, before which it is prepared.
#[must_use]
pub fn epoch(scenario: &Scenario, options: &Options, usual: UnixMillis) -> UnixMillis {
    let before = preparation(scenario, options).as_millis();
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let starts = scenario.starts;
    starts.map_or(usual, |starts| UnixMillis(starts.0.saturating_sub(before)))
}

/// How long before time zero a run begins, so that what is prepared is ready by then.
fn preparation(scenario: &Scenario, options: &Options) -> Duration {
    match options.pace {
        Pace::Virtual => Duration::from_secs(3600),
        Pace::RealTime(_) => {
            let each = match scenario.fleet.enrollment {
                Enrollment::Group(_) => 1,
                Enrollment::Individual => 5,
            };
            Duration::from_secs(2) + Duration::from_millis(u64::from(options.devices) * each)
        }
    }
}

/// Sets time zero so far ahead that what is prepared before is ready by then.
fn times(scenario: &Scenario, options: &Options, stage: &Stage) -> Times {
    let preparation = preparation(scenario, options);
    let prepared_from = stage.env.clock.now_ms();
    let span = i64::try_from(preparation.as_millis()).unwrap_or(i64::MAX);
    let origin = UnixMillis(prepared_from.0.saturating_add(span));
    Times {
        prepared_from,
        origin,
        start: Instant::now() + preparation,
    }
}

fn terms(scenario: &Scenario, pace: &Pace, times: &Times) -> Terms {
    let after = |time: Duration| {
        let span = i64::try_from(pace.procedure(time).as_millis()).unwrap_or(i64::MAX);
        UnixMillis(times.origin.0.saturating_add(span))
    };
    let (grace_ms, settle_ms) = match pace {
        Pace::Virtual => (0, 1000),
        Pace::RealTime(_) => (1000, 10_000),
    };
    Terms {
        origin: times.origin,
        roll_from: after(scenario.roll_starts),
        end: after(scenario.duration),
        gap_budget_ms: i64::try_from(scenario.gap_budget.as_millis()).unwrap_or(i64::MAX),
        stranded_budget_ms: i64::try_from(scenario.stranded_budget.as_millis()).unwrap_or(i64::MAX),
        breach: scenario
            .breach
            .map(|breach| (breach.generation, after(breach.contained))),
        locked_out: scenario
            .locked_out
            .map(|lockout| (lockout.one_in, after(lockout.from))),
        troubled: scenario.recovery.map(|recovery| Troubled {
            from: after(recovery.from),
            calm: after(recovery.calm),
            within_ms: i64::try_from(recovery.within.as_millis()).unwrap_or(i64::MAX),
        }),
        newest: scenario.newest_generation(),
        grace_ms,
        settle_ms,
    }
}

/// Serves the operator's function, if the scenario has one.
fn host_function(
    scenario: &Scenario,
    options: &Options,
    stage: &Stage,
) -> Result<Option<Hosted>, RunError> {
    if !scenario.has_function() {
        return Ok(None);
    }
    let devices = (0..).zip(names(scenario, options));
    let names = devices.flat_map(|(device, names)| {
        let own = std::iter::once(names.registration_id.to_string());
        own.chain(names.others).map(move |name| (device, name))
    });
    let function = Function::new(stage.env.clone(), names);
    let hosted = stage.connector.host(function);
    hosted.map(Some).map_err(RunError::Function)
}

fn registration_ids(scenario: &Scenario, options: &Options) -> Vec<Arc<str>> {
    (0..options.devices)
        .map(|index| scenario.registration_id(DeviceIndex(index)).into())
        .collect()
}

fn names(scenario: &Scenario, options: &Options) -> Vec<Names> {
    let names = |id: Arc<str>| {
        let others = scenario.leaves.iter().map(|leaf| leaf.common_name_of(&id));
        Names {
            others: others.filter(|name| **name != *id).collect(),
            registration_id: id,
        }
    };
    registration_ids(scenario, options)
        .into_iter()
        .map(names)
        .collect()
}

impl Times {
    /// The seconds of a certificate's life. One that is to be valid from the start is valid
    /// while the run is prepared as well, however little of a day the pace leaves.
    fn validity(&self, pace: &Pace, from: Span, until: Span) -> (i64, i64) {
        let moment = |span| self.origin.0.saturating_add(pace.procedure_ms(span));
        let mut not_before = moment(from).div_euclid(1000);
        if from <= Span(0) {
            not_before = not_before.min(self.prepared_from.seconds().0 - 60);
        }
        (not_before, (moment(until) + 999).div_euclid(1000))
    }
}

/// Hands observations on to the ledger and shows how things go.
struct Watched {
    ledger: Arc<Ledger>,
    progress: Arc<Progress>,
}

impl Observer for Watched {
    fn observe(&self, device: DeviceIndex, at: UnixMillis, observation: Observation) {
        self.ledger.observe(device, at, observation);
        self.progress.tick(|| self.ledger.glance());
    }
}

#[cfg(test)]
mod tests;
