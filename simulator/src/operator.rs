//! Carries out a scenario's steps the way a person with the portal would: through the public
//! management, provisioning and hub APIs, and in no other way.
//!
//! A step that fails does not stop the run; what became of it stands in its [`StepOutcome`], and
//! the checker hears of it.

mod condition;
mod hubs;
mod per_device;
mod saves;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use linarite_env::{Env, UnixMillis};
use serde_json::Value;

use crate::checker::{Ledger, StepFailure};
use crate::endpoint::{Connector, Services};
use crate::firmware::Firmware;
use crate::fleet::Fleet;
use crate::function::Hosted;
use crate::observation::{DeviceIndex, Generation};
use crate::pki::{Credential, Pki};
use crate::scenario::{Action, Percent, Scenario, Step, admission::Admission};
use crate::service_client::{Authorization, Call, ConnectionString, ServiceClient, ServiceError};
use per_device::{Entry, Errand};

/// Failures whose words are kept.
const FAILURES_KEPT: usize = 20;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepOutcome {
    /// What was to be done.
    pub title: String,
    /// When it was to be done, in scenario milliseconds.
    pub due_ms: u64,
    /// When it began, in milliseconds of the run's clock since the start.
    pub began_ms: i64,
    /// How long it took, in milliseconds of the run's clock.
    pub took_ms: i64,
    /// Parts that went well: devices, or the one thing the step does.
    pub succeeded: usize,
    /// Parts that did not.
    pub failed: usize,
    /// Whether no more failed than the scenario announces.
    pub as_announced: bool,
    /// The first failures in words.
    pub failures: Vec<String>,
}

/// What of a step failed that the scenario does not announce. Whether a thief is let in is for
/// another check to say.
fn unannounced(step: &Step, progress: &Progress) -> Option<StepFailure> {
    let (failed, all) = (progress.failed, progress.succeeded + progress.failed);
    let judged_elsewhere = matches!(step.action, Action::Audit { .. });
    if judged_elsewhere || step.may_fail.bounds(failed, all) {
        return None;
    }
    let first = progress.failures.first().map_or("", String::as_str);
    let allowed = match step.may_fail {
        none if none == Percent::default() => String::new(),
        share => format!(", {share} may"),
    };
    Some(StepFailure(match all {
        1 => format!("{}: {first}", step.action),
        _ => format!(
            "{}: {failed} of {all} failed{allowed}; {first}",
            step.action
        ),
    }))
}

/// Successes and failures while a step is under way.
#[derive(Debug, Default)]
struct Progress {
    succeeded: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Progress {
    fn add(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => self.succeeded += 1,
            Err(reason) => {
                self.failed += 1;
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(reason);
                }
            }
        }
    }
}

/// Everything an operator has at hand.
pub struct Tools {
    /// The scenario whose steps are carried out.
    pub scenario: Arc<Scenario>,
    /// The services.
    pub services: Services,
    /// The way to them.
    pub connector: Arc<dyn Connector>,
    /// Time and chance.
    pub env: Env,
    /// The authorities.
    pub pki: Arc<Pki>,
    /// Every device's certificates, by generation and device.
    pub credentials: Arc<BTreeMap<Generation, Vec<Credential>>>,
    /// Registration ids in the order of the devices.
    pub registration_ids: Vec<Arc<str>>,
    /// Every device's firmware.
    pub firmware: Vec<Arc<Firmware>>,
    /// The operator's function, where the scenario has one.
    pub function: Option<Hosted>,
    /// Where attempts with retired certificates are noted.
    pub ledger: Arc<Ledger>,
}

/// The operator of one run.
pub struct Operator {
    tools: Tools,
    client: ServiceClient,
    management: Authorization,
    dps: Authorization,
    hubs: HashMap<String, Authorization>,
    /// Etags as the services last gave them, for saving without reading anew.
    etags: Mutex<HashMap<String, String>>,
    admission: Mutex<Admission>,
}

impl Operator {
    /// An operator with `tools`.
    ///
    /// # Errors
    /// [`ServiceError`] if a connection string or the services' CA cannot be used.
    pub fn new(tools: Tools) -> Result<Arc<Self>, ServiceError> {
        let sas =
            |text: &str| ConnectionString::parse(text).map(|key| Authorization::Sas(Arc::new(key)));
        let hubs = tools.services.hubs.iter();
        let hubs: Result<HashMap<_, _>, ServiceError> = hubs
            .map(|(host, text)| Ok((host.to_lowercase(), sas(text)?)))
            .collect();
        let client = ServiceClient::new(
            &tools.services,
            Arc::clone(&tools.connector),
            tools.env.clock.clone(),
        )?;
        Ok(Arc::new(Self {
            dps: sas(&tools.services.dps_connection_string)?,
            hubs: hubs?,
            management: Authorization::Bearer("linarite"),
            etags: Mutex::default(),
            admission: Mutex::default(),
            client,
            tools,
        }))
    }

    /// Carries out `step`; `fleet` is there once devices are switched on.
    pub async fn carry_out(self: &Arc<Self>, step: &Step, fleet: Option<&Fleet>) -> StepOutcome {
        let clock = &self.tools.env.clock;
        let began = clock.now_ms();
        let mut progress = Progress::default();
        match &step.action {
            Action::AddCaCertificate {
                certificate,
                verified,
            } => {
                progress.add(self.add_ca_certificate(certificate, *verified).await);
            }
            Action::DeleteCaCertificate { certificate } => {
                progress.add(self.delete_ca_certificate(certificate).await);
            }
            Action::PutGroup { .. } => progress.add(self.put_group(&step.action).await),
            Action::DeleteGroup { group } => progress.add(self.delete_group(group).await),
            Action::DeliverLeaf {
                generation,
                firmware,
            } => {
                let to = firmware.as_deref();
                self.deliver(*generation, to, fleet, &mut progress).await;
            }
            Action::PutIndividuals {
                primary,
                secondary,
                disabled,
                allocation,
                one_in,
            } => {
                let entry = Entry {
                    slots: [*primary, *secondary],
                    disabled: *disabled,
                    allocation: *allocation,
                };
                self.run(Errand::Save(entry), *one_in, &mut progress).await;
            }
            Action::DeployFunction {
                hub,
                linked,
                one_in,
            } => progress.add(self.deploy_function(hub, *linked, *one_in)),
            Action::DeleteIndividuals { one_in } => {
                self.run(Errand::Delete, *one_in, &mut progress).await;
            }
            Action::ChangeHubIdentities { change, one_in } => {
                self.run(Errand::Identity(*change), *one_in, &mut progress)
                    .await;
            }
            Action::ScheduleJob { method } => self.schedule_job(method, &mut progress).await,
            Action::CallMethod { method } => {
                self.run(Errand::Call(method.as_str().into()), 1, &mut progress)
                    .await;
            }
            Action::Audit {
                generation,
                at_hub,
                at_dps,
                one_in,
            } => {
                let errand = Errand::Audit {
                    generation: *generation,
                    hub: *at_hub,
                    dps: *at_dps,
                };
                self.run(errand, *one_in, &mut progress).await;
            }
        }
        self.client.rest();
        if progress.failed == 0 {
            self.believe(&step.action);
        }
        let failure = unannounced(step, &progress);
        self.conclude(step, began, progress, failure)
    }

    /// The outcome of a step that was not carried out, for `reason`.
    pub fn left_out(&self, step: &Step, reason: String) -> StepOutcome {
        let mut progress = Progress::default();
        let failure = StepFailure(format!("{}: {reason}", step.action));
        progress.add(Err(reason));
        let now = self.tools.env.clock.now_ms();
        self.conclude(step, now, progress, Some(failure))
    }

    /// Tells the checker what became of a step, and gives it for the report.
    fn conclude(
        &self,
        step: &Step,
        began: UnixMillis,
        progress: Progress,
        failure: Option<StepFailure>,
    ) -> StepOutcome {
        let as_announced = failure.is_none();
        self.tools.ledger.step_taken(began, failure);
        let Progress {
            succeeded,
            failed,
            failures,
        } = progress;
        StepOutcome {
            title: step.to_string(),
            due_ms: u64::try_from(step.at.as_millis()).unwrap_or(u64::MAX),
            began_ms: began.0,
            took_ms: self.tools.env.clock.now_ms().since(began),
            succeeded,
            failed,
            as_announced,
            failures,
        }
    }

    /// Tells the checker which certificates DPS ought to admit now.
    fn believe(&self, action: &Action) {
        let mut admission = self
            .admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        admission.apply(action);
        let now = self.tools.env.clock.now_ms();
        let admitted = |device| admission.admitted(&self.tools.scenario, device);
        self.tools.ledger.admits(now, admitted);
    }

    /// Puts certificates of `generation` into the secure stores of devices, of all of them or of
    /// those with one firmware.
    async fn deliver(
        &self,
        generation: Generation,
        firmware: Option<&str>,
        fleet: Option<&Fleet>,
        progress: &mut Progress,
    ) {
        let (Some(fleet), Some(credentials)) = (fleet, self.tools.credentials.get(&generation))
        else {
            return progress.add(Err(format!("no device is there to take {generation}")));
        };
        for ((index, credential), own) in (0..).zip(credentials).zip(&self.tools.firmware) {
            if firmware.is_some_and(|name| name != own.name) {
                continue;
            }
            let stored = fleet.store(DeviceIndex(index), credential.clone()).await;
            progress.add(stored.map_err(|error| error.to_string()));
        }
    }

    async fn dps(
        &self,
        method: http::Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, ServiceError> {
        let call = Call {
            method,
            host: &self.tools.services.dps_host,
            path: format!("{path}?api-version=2021-10-01"),
            authorization: &self.dps,
            if_match,
            body,
        };
        self.client.send(&call).await
    }

    async fn hub(
        &self,
        hub: &str,
        method: http::Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, ServiceError> {
        let known = self.hubs.get(&hub.to_lowercase());
        let call = Call {
            method,
            host: hub,
            path: format!("{path}?api-version=2021-04-12"),
            authorization: known
                .ok_or(ServiceError::ConnectionString("there is none for this hub"))?,
            if_match,
            body,
        };
        self.client.send(&call).await
    }

    fn etag(&self, path: &str) -> Option<String> {
        self.etags
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned()
    }

    fn remember(&self, path: &str, document: &Value) {
        let mut etags = self.etags.lock().unwrap_or_else(PoisonError::into_inner);
        match document.get("etag").and_then(Value::as_str) {
            Some(etag) => etags.insert(path.to_owned(), etag.to_owned()),
            None => etags.remove(path),
        };
    }
}
