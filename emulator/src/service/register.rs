//! The device's side of DPS: begin a registration, carry it out, tell how it stands.
//!
//! `core::dps::registration::decide` judges; this file takes the snapshot it judges, keeps two
//! registrations of one id apart (R-B8), waits as Azure does (R-B1), and writes what was decided
//! at the hub and in the record, in that order.

use std::sync::Arc;
use std::time::Duration;

use linarite_core::certificate::Chain;
use linarite_core::dps::attestation::PresentedAttestation;
use linarite_core::dps::enrollment::Slot;
use linarite_core::dps::registration::{
    Assignment, Attempt, Book as BookView, Decision, EnrollmentRef, PastAssignment, decide,
};
use linarite_core::dps::reprovision::DeviceApi;
use linarite_core::id::{EnrollmentGroupId, HubHostName, IdScope, RegistrationId};
use linarite_core::sas::SharedAccessSignature;
use linarite_core::settings::Settings;
use linarite_core::time::UnixTime;
use linarite_env::event::{Fingerprint, Reason, SlotName};
use linarite_env::{Env, Event};
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::links::Links;
use crate::config::Config;
use crate::error::ServiceError;
use crate::limits::REGISTRATIONS_MAX;
use crate::names::Names;
use crate::store::book::Book;
use crate::store::page::Page;
use crate::store::registrations::{
    Mechanism, Operation, RegistrationRecord, RegistrationStatus, Registrations,
};

/// What a device shows to be judged.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Certificate(Chain),
    Token(SharedAccessSignature),
    Nothing,
}

impl Shown {
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Certificate(chain) => Some(Fingerprint(chain.leaf().fingerprint())),
            Self::Token(_) | Self::Nothing => None,
        }
    }

    fn as_presented(&self) -> PresentedAttestation<'_> {
        match self {
            Self::Certificate(chain) => PresentedAttestation::X509(chain),
            Self::Token(token) => PresentedAttestation::SymmetricKey(token),
            Self::Nothing => PresentedAttestation::None,
        }
    }

    fn mechanism(&self) -> Mechanism {
        match self {
            Self::Certificate(_) | Self::Nothing => Mechanism::X509,
            Self::Token(_) => Mechanism::SymmetricKey,
        }
    }
}

/// What a device asks with, beside its id.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) shown: Shown,
    pub(crate) api: DeviceApi,
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
        record: RegistrationRecord,
    },
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Register(Arc<Inner>);

struct Inner {
    env: Env,
    names: Arc<Names>,
    book: Arc<Book>,
    hubs: Arc<[Arc<Hub>]>,
    links: Arc<Links>,
    settings: Settings,
    id_scope: IdScope,
    latency: Duration,
    retry_after_seconds: u32,
    registrations: Registrations,
    tasks: TaskTracker,
}

impl Register {
    pub(crate) fn new(
        config: &Config,
        env: &Env,
        names: &Arc<Names>,
        book: &Arc<Book>,
        hubs: &Arc<[Arc<Hub>]>,
        links: &Arc<Links>,
        tasks: &TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            env: env.clone(),
            names: Arc::clone(names),
            book: Arc::clone(book),
            hubs: Arc::clone(hubs),
            links: Arc::clone(links),
            settings: config.settings,
            id_scope: config.dps.id_scope.clone(),
            latency: config.assignment_latency,
            retry_after_seconds: config.retry_after_seconds,
            registrations: Registrations::default(),
            tasks: tasks.clone(),
        }))
    }

    /// Judges a registration and, if it stands, starts the operation that carries it out.
    ///
    /// # Errors
    /// What the rules refuse, 409203 while another operation of the id runs (R-B8).
    pub(crate) fn begin(&self, id: &str, asked: Asked) -> Result<Begun, ServiceError> {
        let now = self.0.env.clock.now();
        let judged = self.judge(id, &asked.shown, asked.api, now);
        let judged = judged.inspect_err(|error| {
            self.0.env.events.emit(Event::RegistrationRefused {
                registration_id: id.into(),
                presented: asked.shown.fingerprint(),
                reason: error.reason(),
            });
        })?;
        let (id, decision) = judged;
        let operation_id = self.start(&id, &asked.shown)?;
        self.0.env.events.emit(Event::RegistrationAccepted {
            registration_id: id.as_str().into(),
            presented: asked.shown.fingerprint(),
        });
        let begun = self.begun(&id, &operation_id);
        let (service, latency) = (self.clone(), self.0.latency);
        if latency.is_zero() {
            service.carry_out(&id, &operation_id, decision, &asked.shown);
        } else {
            self.0.tasks.spawn(async move {
                tokio::time::sleep(latency).await;
                service.carry_out(&id, &operation_id, decision, &asked.shown);
            });
        }
        Ok(begun)
    }

    /// How an operation stands, told only to who began it.
    ///
    /// # Errors
    /// 404202 if the id has no such operation, 401000 if somebody else asks.
    pub(crate) fn operation(
        &self,
        id: &str,
        operation_id: &str,
        shown: &Shown,
    ) -> Result<OperationState, ServiceError> {
        let id = parse_id(id)?;
        let operation = self
            .0
            .registrations
            .read(&id, |registration| registration.operation.clone())
            .flatten()
            .filter(|operation| operation.id == operation_id)
            .ok_or_else(|| ServiceError::dps_not_found(404_202, "Operation"))?;
        self.check_asker(&id, &operation, shown)?;
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
    /// What the rules refuse, 404202 if there is no record.
    pub(crate) fn lookup(
        &self,
        id: &str,
        shown: &Shown,
    ) -> Result<RegistrationRecord, ServiceError> {
        let now = self.0.env.clock.now();
        let judged = self.judge(id, shown, DeviceApi::default(), now)?;
        self.record(&judged.0)
            .ok_or_else(|| ServiceError::dps_not_found(404_202, "Registration"))
    }

    /// The record of `id`, for operators.
    pub(crate) fn record(&self, id: &RegistrationId) -> Option<RegistrationRecord> {
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
    ) -> Page<RegistrationRecord> {
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

    /// An operation is told to who began it: to the same certificate, or to a token that holds.
    fn check_asker(
        &self,
        id: &RegistrationId,
        operation: &Operation,
        shown: &Shown,
    ) -> Result<(), ServiceError> {
        match shown {
            Shown::Token(_) if operation.presented.is_none() => {
                let (api, now) = (DeviceApi::default(), self.0.env.clock.now());
                self.judge(id.as_str(), shown, api, now).map(|_| ())
            }
            Shown::Certificate(_) if operation.presented == shown.fingerprint() => Ok(()),
            Shown::Certificate(_) | Shown::Token(_) | Shown::Nothing => Err(unauthorized("R-A30")),
        }
    }

    /// Judges by the entries and hubs of this moment what was shown at `now`.
    fn judge(
        &self,
        id: &str,
        shown: &Shown,
        api: DeviceApi,
        now: UnixTime,
    ) -> Result<(RegistrationId, Decision), ServiceError> {
        let id = parse_id(id)?;
        let inner = &*self.0;
        inner.check_scope(shown)?;
        let individual = inner.book.individual(&id);
        let snapshot = inner.book.snapshot();
        let view = BookView {
            individual: individual.as_deref(),
            groups: &snapshot.groups,
            ca_store: &snapshot.ca_store,
        };
        let hubs = inner.links.current().hubs();
        let past = self.record(&id).and_then(|record| record.assigned);
        let attempt = Attempt {
            registration_id: &id,
            presented: shown.as_presented(),
            api,
        };
        let settings = &inner.settings;
        let decision = decide(&attempt, &view, past.as_ref(), &hubs, settings, now);
        let decision = decision.map_err(|refusal| {
            tracing::info!(
                registration_id = id.as_str(),
                rule = refusal.rule(),
                "{refusal}"
            );
            ServiceError::from(&refusal)
        })?;
        Ok((id, decision))
    }

    fn start(&self, id: &RegistrationId, shown: &Shown) -> Result<String, ServiceError> {
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
                presented: shown.fingerprint(),
                ended: None,
            });
            Ok(operation_id)
        })
    }

    fn begun(&self, id: &RegistrationId, operation_id: &str) -> Begun {
        Begun {
            registration_id: id.to_string(),
            operation_id: operation_id.to_owned(),
            retry_after_seconds: self.0.retry_after_seconds,
        }
    }

    /// Does what was decided: first the hub, then the record, then the news.
    fn carry_out(
        &self,
        id: &RegistrationId,
        operation_id: &str,
        decision: Decision,
        shown: &Shown,
    ) {
        let mut group = None;
        let mut assigned = None;
        let status = match decision {
            Decision::Assign(assignment) => {
                group = group_of(&assignment.enrollment);
                let status = self.assign(&assignment, shown);
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
            Decision::Ask(_) => RegistrationStatus::Failed {
                rule: "R-B16",
                code: 400_208,
                text: "custom allocation webhooks are not emulated".to_owned(),
            },
        };
        self.write_record(id, operation_id, &status, shown, group);
        self.tell(id, &status, assigned.as_ref(), shown);
    }

    fn assign(&self, assignment: &Assignment, shown: &Shown) -> RegistrationStatus {
        let find = |host: &HubHostName| self.0.hubs.iter().find(|hub| hub.host == *host);
        let Some(hub) = find(&assignment.hub) else {
            let text = format!("hub {} is not linked", assignment.hub);
            return RegistrationStatus::Failed {
                rule: "R-B14",
                code: 400_208,
                text,
            };
        };
        hub.provision(assignment, shown.fingerprint(), find);
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
        shown: &Shown,
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
            let record = RegistrationRecord {
                registration_id: before
                    .map_or_else(|| id.clone(), |record| record.registration_id.clone()),
                created: before.map_or(now, |record| record.created),
                updated: now,
                etag,
                status: status.clone(),
                mechanism: shown.mechanism(),
                group,
                assigned,
            };
            if let Some(operation) = &mut registration.operation
                && operation.id == operation_id
            {
                operation.ended = Some(record.clone());
            }
            registration.record = Some(record);
        });
    }

    fn tell(
        &self,
        id: &RegistrationId,
        status: &RegistrationStatus,
        assigned: Option<&Assignment>,
        shown: &Shown,
    ) {
        let registration_id: Arc<str> = id.as_str().into();
        let ended = |status, rule, code, text| Event::RegistrationEnded {
            registration_id: Arc::clone(&registration_id),
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
                presented: shown.fingerprint(),
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

impl Inner {
    /// A token names the id scope it is for; `core` checks the rest of its resource (R-A31).
    fn check_scope(&self, shown: &Shown) -> Result<(), ServiceError> {
        let Shown::Token(token) = shown else {
            return Ok(());
        };
        let resource = token.resource();
        let scope = resource.split('/').next().unwrap_or_default();
        if scope.eq_ignore_ascii_case(self.id_scope.as_str()) {
            Ok(())
        } else {
            Err(unauthorized("R-A31"))
        }
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
