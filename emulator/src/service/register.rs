//! The device's side of DPS: begin a registration, carry it out, tell how it stands.
//!
//! `core::dps::registration::decide` judges; this file takes the snapshot it judges, keeps two
//! registrations of one id apart (R-B8), waits as Azure does (R-B1), and writes what was decided
//! at the hub and in the record, in that order.

mod asked;
mod challenge;
mod custom;
mod foresight;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use linarite_core::dps::enrollment::Slot;
use linarite_core::dps::registration::{Assignment, Decision, EnrollmentRef, PastAssignment};
use linarite_core::hub::tier::Metered;
use linarite_core::id::{EnrollmentGroupId, HubHostName, IdScope, RegistrationId};
use linarite_core::settings::Settings;
use linarite_core::throttle::RateLimit;
use linarite_env::event::{Reason, SlotName};
use linarite_env::{Env, Event};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::links::Links;
use super::throttle::{Meter, Spread};
use crate::config::Config;
use crate::error::ServiceError;
use crate::fault::DpsFaults;
use crate::limits::{REGISTRATIONS_MAX, TPM_CHALLENGES_MAX};
use crate::names::Names;
use crate::outgoing::Poster;
use crate::store::book::Book;
use crate::store::challenges::Challenges;
use crate::store::page::Page;
use crate::store::registrations::{
    Mechanism, Operation, RegistrationRecord, RegistrationStatus, Registrations,
};

pub(crate) use asked::{Asked, Shown};
pub(crate) use challenge::Challenged;
pub(crate) use custom::Entry;
use judge::{Judged, Unfit};

/// How a registration begins.
#[derive(Clone, Debug)]
pub(crate) enum Beginning {
    Assigning(Begun),
    Challenged(Challenged),
}

/// A registration that was accepted and is under way.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) registration_id: String,
    pub(crate) operation_id: String,
    pub(crate) retry_after_seconds: u32,
}

/// How an operation stands.
#[derive(Clone, Debug)]
pub(crate) enum OperationState {
    Assigning(Begun),
    Ended {
        operation_id: String,
        record: Arc<RegistrationRecord>,
    },
}

/// What registrations need of the services around them.
pub(crate) struct Around {
    pub(crate) env: Env,
    pub(crate) faults: Arc<DpsFaults>,
    pub(crate) names: Arc<Names>,
    pub(crate) book: Arc<Book>,
    pub(crate) hubs: Arc<[Arc<Hub>]>,
    pub(crate) links: Arc<Links>,
    pub(crate) poster: Poster,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Register(Arc<Inner>);

struct Inner {
    env: Env,
    faults: Arc<DpsFaults>,
    names: Arc<Names>,
    book: Arc<Book>,
    hubs: Arc<[Arc<Hub>]>,
    links: Arc<Links>,
    poster: Poster,
    cancel: CancellationToken,
    settings: Settings,
    id_scope: IdScope,
    latency: Duration,
    retry_after_seconds: u32,
    /// What is left of the limit on registrations.
    budget: Meter,
    /// How far apart those come back who find nothing left.
    spread: Spread,
    poll_limit: Option<RateLimit>,
    registrations: Registrations,
    challenges: Challenges,
    tasks: TaskTracker,
}

impl Register {
    pub(crate) fn new(config: &Config, around: Around) -> Self {
        let refusals = config.settings.refusals();
        let jitter = config.settings.retry_after_jitter_seconds;
        Self(Arc::new(Inner {
            spread: Spread::new(jitter, &around.env.entropy),
            env: around.env,
            faults: around.faults,
            names: around.names,
            book: around.book,
            hubs: around.hubs,
            links: around.links,
            poster: around.poster,
            cancel: around.cancel,
            settings: config.settings,
            id_scope: config.dps.id_scope.clone(),
            latency: config.assignment_latency,
            retry_after_seconds: config.retry_after_seconds,
            budget: Meter::new(config.dps.throttles.registrations, refusals),
            poll_limit: config.dps.throttles.polls,
            registrations: Registrations::default(),
            challenges: Challenges::new(TPM_CHALLENGES_MAX),
            tasks: around.tasks,
        }))
    }

    /// Judges a registration and, if it stands, starts the operation that carries it out. A TPM
    /// is challenged first.
    ///
    /// # Errors
    /// What the rules refuse, 409203 while another operation of the id runs (R-B8), 429001 beyond
    /// the limit (R-H1).
    pub(crate) fn begin(&self, id: &str, asked: Asked) -> Result<Beginning, ServiceError> {
        self.spend(id, &asked)?;
        let now = self.0.env.clock.now();
        let judged = match self.judge(id, &asked, now, None) {
            Ok(judged) => judged,
            Err(Unfit::Unproven(unproven)) => {
                return self.challenge(*unproven).map(Beginning::Challenged);
            }
            Err(Unfit::Refused(error)) => {
                self.0.env.events.emit(Event::RegistrationRefused {
                    registration_id: id.into(),
                    presented: asked.fingerprint(),
                    reason: error.reason(),
                });
                return Err(error);
            }
        };
        let operation_id = self.start(&judged.id, &asked)?;
        self.0.env.events.emit(Event::RegistrationAccepted {
            registration_id: judged.id.as_str().into(),
            presented: asked.fingerprint(),
        });
        let begun = self.begun(&judged.id, &operation_id);
        let (service, latency) = (self.clone(), self.0.latency);
        let outside = matches!(judged.decision, Decision::Ask(_));
        if latency.is_zero() && !outside && !self.waits_at_hubs() {
            service.carry_out(judged, &operation_id, &asked);
        } else {
            self.0.tasks.spawn(async move {
                tokio::time::sleep(latency).await;
                let cancel = service.0.cancel.clone();
                let judged = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    judged = Box::pin(service.settled(judged, &asked, now)) => judged,
                };
                service.wait_at_hub(&judged, &operation_id).await;
                service.carry_out(judged, &operation_id, &asked);
            });
        }
        Ok(Beginning::Assigning(begun))
    }

    /// Has the limit on registrations not hold until it is not `lifted` any more.
    pub(crate) fn lift_limit(&self, lifted: bool) {
        self.0.budget.lift(lifted);
    }

    /// How an operation stands, told only to who began it.
    ///
    /// # Errors
    /// 404202 if the id has no such operation, 401000 if somebody else asks, 429001 beyond the
    /// limit of the device (R-H2).
    pub(crate) fn operation(
        &self,
        id: &str,
        operation_id: &str,
        asked: &Asked,
    ) -> Result<OperationState, ServiceError> {
        self.0.faults.meet(id)?;
        let id = parse_id(id)?;
        let operation = self
            .0
            .registrations
            .read(&id, |registration| registration.operation.clone())
            .flatten()
            .filter(|operation| operation.id == operation_id)
            .ok_or_else(|| ServiceError::dps_not_found(404_202, "Operation"))?;
        self.check_asker(&id, &operation, asked)?;
        self.count_poll(&id)?;
        Ok(match operation.ended {
            None => OperationState::Assigning(self.begun(&id, operation_id)),
            Some(record) => OperationState::Ended {
                operation_id: operation_id.to_owned(),
                record,
            },
        })
    }

    /// The record of `id` for a device that can show what its enrollment demands (behaviour B.1,
    /// registration status lookup).
    ///
    /// # Errors
    /// What the rules refuse, 404202 if there is no record, 429001 beyond the limit on
    /// registrations, to which a look-up counts (R-B9, R-H2).
    pub(crate) fn lookup(
        &self,
        id: &str,
        asked: &Asked,
    ) -> Result<Arc<RegistrationRecord>, ServiceError> {
        self.spend(id, asked)?;
        let judged = self.judge(id, asked, self.0.env.clock.now(), None)?;
        self.record(&judged.id)
            .ok_or_else(|| ServiceError::dps_not_found(404_202, "Registration"))
    }

    /// The record of `id`, for operators.
    pub(crate) fn record(&self, id: &RegistrationId) -> Option<Arc<RegistrationRecord>> {
        self.0
            .registrations
            .read(id, |registration| registration.record.clone())
            .flatten()
    }

    /// Up to `count` records of one group, in the order of ids from after `after`.
    pub(crate) fn records_of(
        &self,
        group: &EnrollmentGroupId,
        after: Option<&RegistrationId>,
        count: usize,
    ) -> Page<Arc<RegistrationRecord>> {
        self.0.registrations.of_group_after(group, after, count)
    }

    /// Removes a record; the hub's identity stays (R-E1).
    ///
    /// # Errors
    /// 404202 if there is none, 412 if `check` refuses its etag.
    pub(crate) fn delete_record(
        &self,
        id: &RegistrationId,
        check: impl FnOnce(&RegistrationRecord) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        self.0.registrations.change(id, |registration| {
            let record = registration
                .record
                .as_ref()
                .ok_or_else(|| ServiceError::dps_not_found(404_202, "Registration"))?;
            check(record)?;
            registration.record = None;
            registration
                .operation
                .take_if(|operation| operation.ended.is_some());
            Ok::<(), ServiceError>(())
        })?;
        let registration_id = id.as_str().into();
        self.0
            .env
            .events
            .emit(Event::RegistrationDeleted { registration_id });
        Ok(())
    }

    /// R-H1, R-H2, R-B9: registrations and look-ups of all devices have one budget. It is asked
    /// first, so that who is refused anyway uses it up as well.
    fn spend(&self, id: &str, asked: &Asked) -> Result<(), ServiceError> {
        let met = self.0.faults.meet(id);
        let taken = met.and_then(|()| {
            let taken = self.0.budget.take(self.0.env.clock.now_ms());
            taken.map_err(|throttled| {
                let throttled = self.0.spread.over(throttled);
                ServiceError::throttled("registrations", throttled)
            })
        });
        taken.inspect_err(|error| {
            self.0.env.events.emit(Event::RegistrationRefused {
                registration_id: id.into(),
                presented: asked.fingerprint(),
                reason: error.reason(),
            });
        })
    }

    /// R-H2: polls of a device have a budget of its own.
    fn count_poll(&self, id: &RegistrationId) -> Result<(), ServiceError> {
        let Some(limit) = self.0.poll_limit else {
            return Ok(());
        };
        let now = self.0.env.clock.now_ms().0;
        let refusals = self.0.settings.refusals();
        let polls = &self.0.registrations;
        let taken = polls.change(id, |registration| {
            registration.polls.take(limit, refusals, now)
        });
        taken.map_err(|throttled| ServiceError::throttled("polls of one device", throttled))
    }

    /// An operation is told to who began it: to the same certificate, or to a token that holds.
    fn check_asker(
        &self,
        id: &RegistrationId,
        operation: &Operation,
        asked: &Asked,
    ) -> Result<(), ServiceError> {
        match &asked.shown {
            Shown::Token(_) if operation.presented.is_none() => {
                self.judge(id.as_str(), asked, self.0.env.clock.now(), None)?;
                Ok(())
            }
            Shown::Certificate(_) if operation.presented == asked.shown.fingerprint() => Ok(()),
            Shown::Certificate(_) | Shown::Token(_) | Shown::Nothing => Err(unauthorized("R-A30")),
        }
    }

    fn start(&self, id: &RegistrationId, asked: &Asked) -> Result<String, ServiceError> {
        let registrations = &self.0.registrations;
        if registrations.len() >= REGISTRATIONS_MAX && !registrations.contains(id) {
            return Err(ServiceError::limit(
                "The instance holds no more registrations.",
            ));
        }
        let operation_id = self.0.names.operation_id();
        self.0.registrations.change(id, |registration| {
            let running = |operation: &Operation| operation.ended.is_none();
            if registration.operation.as_ref().is_some_and(running) {
                return Err(ServiceError::new(
                    409_203,
                    "Conflict",
                    "R-B8",
                    "Precondition failed.",
                ));
            }
            registration.operation = Some(Operation {
                id: operation_id.clone(),
                presented: asked.fingerprint(),
                ends_at: None,
                ended: None,
            });
            Ok(operation_id)
        })
    }

    /// R-H6: whether what is written at some hub may have to wait for its turn there.
    fn waits_at_hubs(&self) -> bool {
        let waits =
            |hub: &Arc<Hub>| hub.dps_writes_count && hub.meters.limits(Metered::RegistryOperations);
        self.0.hubs.iter().any(waits)
    }

    /// R-H6: writing at a hub takes its turn among the hub's registry operations.
    async fn wait_at_hub(&self, judged: &Judged, operation_id: &str) {
        let Decision::Assign(assignment) = &judged.decision else {
            return;
        };
        let hub = self.0.hubs.iter().find(|hub| hub.host == assignment.hub);
        if let Some(hub) = hub.filter(|hub| hub.dps_writes_count) {
            let wait = hub.meters.wait_of_dps(self.0.env.clock.now_ms());
            self.foresee(&judged.id, operation_id, wait);
            tokio::select! {
                biased;
                () = self.0.cancel.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn begun(&self, id: &RegistrationId, operation_id: &str) -> Begun {
        Begun {
            registration_id: id.to_string(),
            operation_id: operation_id.to_owned(),
            retry_after_seconds: self.0.retry_after_seconds,
        }
    }

    /// Does what was decided: first the hub, then the record, then the news.
    fn carry_out(&self, judged: Judged, operation_id: &str, asked: &Asked) {
        let Judged {
            id,
            decision,
            challenge,
            ..
        } = judged;
        let group;
        let mut assigned = None;
        let status = match decision {
            Decision::Assign(assignment) => {
                group = group_of(&assignment.enrollment);
                let status = self.assign(&assignment, asked);
                assigned = Some(assignment);
                status
            }
            Decision::Disabled { enrollment } => {
                group = group_of(&enrollment);
                RegistrationStatus::Disabled
            }
            Decision::Failed {
                enrollment,
                failure,
            } => {
                group = group_of(&enrollment);
                RegistrationStatus::Failed {
                    rule: failure.rule,
                    code: failure.code,
                    text: failure.text,
                }
            }
            // `settled` leaves nothing to ask; this only says what would be wrong with it.
            Decision::Ask(question) => {
                group = group_of(question.enrollment());
                RegistrationStatus::Failed {
                    rule: "R-B16",
                    code: 400_207,
                    text: "Custom allocation failed because the webhook was not asked".to_owned(),
                }
            }
        };
        let mechanism = match (challenge, &asked.shown) {
            (Some(challenge), _) => {
                let assigned = assigned.as_ref();
                Mechanism::Tpm(assigned.and_then(|assigned| self.hub_key(assigned, &challenge)))
            }
            (None, Shown::Token(_)) => Mechanism::SymmetricKey,
            (None, Shown::Certificate(_) | Shown::Nothing) => Mechanism::X509,
        };
        self.write_record(&id, operation_id, &status, mechanism, group);
        self.tell(&id, &status, assigned.as_ref(), asked);
    }

    fn assign(&self, assignment: &Assignment, asked: &Asked) -> RegistrationStatus {
        let find = |host: &HubHostName| self.0.hubs.iter().find(|hub| hub.host == *host);
        let Some(hub) = find(&assignment.hub) else {
            let text = format!("hub {} is not linked", assignment.hub);
            return RegistrationStatus::Failed {
                rule: "R-B14",
                code: 400_208,
                text,
            };
        };
        hub.provision(assignment, asked.fingerprint(), find);
        RegistrationStatus::Assigned {
            hub: assignment.hub.clone(),
            device_id: assignment.device_id.clone(),
            substatus: assignment.substatus,
            payload: assignment.payload.clone().map(Arc::new),
        }
    }

    fn write_record(
        &self,
        id: &RegistrationId,
        operation_id: &str,
        status: &RegistrationStatus,
        mechanism: Mechanism,
        group: Option<EnrollmentGroupId>,
    ) {
        let now = self.0.env.clock.now_ms();
        let etag = self.0.names.etag();
        self.0.registrations.change(id, |registration| {
            let before = registration.record.as_ref();
            let assigned = match status {
                RegistrationStatus::Assigned { hub, device_id, .. } => Some(PastAssignment {
                    hub: hub.clone(),
                    device_id: device_id.clone(),
                }),
                RegistrationStatus::Disabled | RegistrationStatus::Failed { .. } => {
                    before.and_then(|record| record.assigned.clone())
                }
            };
            let record = Arc::new(RegistrationRecord {
                registration_id: before
                    .map_or_else(|| id.clone(), |record| record.registration_id.clone()),
                created: before.map_or(now, |record| record.created),
                updated: now,
                etag,
                status: status.clone(),
                mechanism,
                group,
                assigned,
            });
            if let Some(operation) = &mut registration.operation
                && operation.id == operation_id
            {
                operation.ended = Some(Arc::clone(&record));
            }
            registration.record = Some(record);
        });
    }

    fn tell(
        &self,
        id: &RegistrationId,
        status: &RegistrationStatus,
        assigned: Option<&Assignment>,
        asked: &Asked,
    ) {
        let registration_id: Arc<str> = id.as_str().into();
        let ended = |status, rule, code, text| Event::RegistrationEnded {
            registration_id: Arc::clone(&registration_id),
            presented: asked.fingerprint(),
            status,
            reason: Reason { rule, code, text },
        };
        let event = match (status, assigned) {
            (RegistrationStatus::Assigned { .. }, Some(assignment)) => Event::DeviceAssigned {
                registration_id: Arc::clone(&registration_id),
                device_id: assignment.device_id.as_str().into(),
                hub: assignment.hub.as_str().into(),
                substatus: assignment.substatus.as_str(),
                enrollment: assignment.enrollment.id.as_str().into(),
                slot: Some(match assignment.slot {
                    Slot::Primary => SlotName::Primary,
                    Slot::Secondary => SlotName::Secondary,
                }),
                presented: asked.fingerprint(),
            },
            (RegistrationStatus::Failed { rule, code, text }, _) => {
                ended("failed", *rule, *code, text.clone())
            }
            (RegistrationStatus::Disabled | RegistrationStatus::Assigned { .. }, _) => ended(
                "disabled",
                "R-A27",
                0,
                "the enrollment is disabled".to_owned(),
            ),
        };
        self.0.env.events.emit(event);
    }
}

fn unauthorized(rule: &'static str) -> ServiceError {
    ServiceError::new(401_000, "Unauthorized", rule, "Unauthorized")
}

fn parse_id(id: &str) -> Result<RegistrationId, ServiceError> {
    RegistrationId::parse(id).map_err(|error| {
        tracing::debug!(%error, "a registration id is refused");
        ServiceError::new(400_004, "ArgumentInvalid", "R-A2", "Invalid RegistrationId")
    })
}

fn group_of(enrollment: &EnrollmentRef) -> Option<EnrollmentGroupId> {
    enrollment
        .group
        .then(|| EnrollmentGroupId::parse(&enrollment.id).ok())
        .flatten()
}
