//! From what a device shows to a decision of `core`, by the entries and hubs of one moment.

use std::sync::Arc;

use linarite_core::dps::allocation::LinkedHubs;
use linarite_core::dps::attestation::tpm::{TpmChallenge, TpmError};
use linarite_core::dps::attestation::{AttestationError, AttestationMechanism};
use linarite_core::dps::registration::{Attempt, Book as BookView, Decision, Refusal, decide};
use linarite_core::id::RegistrationId;
use linarite_core::time::UnixTime;

use super::challenge::Unproven;
use super::custom::Entry;
use super::{Asked, Inner, Register, Shown, parse_id, unauthorized};
use crate::error::ServiceError;

/// A registration that the rules let through.
pub(super) struct Judged {
    pub(super) id: RegistrationId,
    pub(super) decision: Decision,
    /// The hubs as they were linked.
    pub(super) hubs: LinkedHubs,
    /// The entry that speaks, where a webhook is to be told of it.
    pub(super) entry: Option<Entry>,
    /// What its TPM has proven itself with, if it has one.
    pub(super) challenge: Option<Arc<TpmChallenge>>,
}

/// A registration that the rules do not let through.
pub(super) enum Unfit {
    Refused(ServiceError),
    /// Its TPM has yet to prove itself.
    Unproven(Box<Unproven>),
}

impl From<Unfit> for ServiceError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused(error) => error,
            Unfit::Unproven(unproven) => unproven.error,
        }
    }
}

impl From<ServiceError> for Unfit {
    fn from(error: ServiceError) -> Self {
        Self::Refused(error)
    }
}

impl Register {
    /// Judges by the entries and hubs of this moment what was shown at `now`; a TPM that has
    /// `answered` a challenge already by that one.
    pub(super) fn judge(
        &self,
        id: &str,
        asked: &Asked,
        now: UnixTime,
        answered: Option<Arc<TpmChallenge>>,
    ) -> Result<Judged, Unfit> {
        let id = parse_id(id)?;
        let inner = &*self.0;
        inner.check_scope(&asked.shown)?;
        let individual = inner.book.individual(&id);
        let of_tpm = individual
            .as_ref()
            .is_some_and(|entry| matches!(entry.attestation, AttestationMechanism::Tpm { .. }));
        let known = || answered.or_else(|| inner.challenges.get(&id));
        let challenge = of_tpm.then(known).flatten();
        let snapshot = inner.book.snapshot();
        let view = BookView {
            individual: individual.as_deref(),
            groups: &snapshot.groups,
            ca_store: &snapshot.ca_store,
            tpm_challenge: challenge.as_deref(),
        };
        let hubs = inner.links.current().hubs();
        let past = self.record(&id).and_then(|record| record.assigned.clone());
        let attempt = Attempt {
            registration_id: &id,
            presented: asked.presented(),
            transport: asked.transport,
            api: asked.api,
        };
        let settings = &inner.settings;
        let decision = decide(&attempt, &view, past.as_ref(), &hubs, settings, now);
        let decision = decision.map_err(|refusal| {
            tracing::info!(
                registration_id = id.as_str(),
                rule = refusal.rule(),
                "{refusal}"
            );
            unfit(&id, &refusal, asked)
        })?;
        let entry = match &decision {
            Decision::Ask(question) if question.enrollment().group => snapshot
                .groups
                .iter()
                .find(|group| group.enrollment_group_id.as_str() == question.enrollment().id)
                .map(|group| Entry::Group(Arc::clone(group))),
            Decision::Ask(_) => individual.clone().map(Entry::Individual),
            Decision::Assign(_) | Decision::Disabled { .. } | Decision::Failed { .. } => None,
        };
        Ok(Judged {
            id,
            decision,
            hubs,
            entry,
            challenge,
        })
    }
}

impl Inner {
    /// A token names the id scope it is for; `core` checks the rest of its resource (R-A31).
    fn check_scope(&self, shown: &Shown) -> Result<(), ServiceError> {
        let Some(token) = shown.token() else {
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

/// What a refusal means for what comes next.
fn unfit(id: &RegistrationId, refusal: &Refusal, asked: &Asked) -> Unfit {
    let error = ServiceError::from(refusal);
    match (refusal, &asked.tpm) {
        (Refusal::Attestation(AttestationError::Tpm(TpmError::ProofOutstanding)), Some(keys)) => {
            let (id, keys) = (id.clone(), keys.clone());
            Unfit::Unproven(Box::new(Unproven { id, keys, error }))
        }
        _ => Unfit::Refused(error),
    }
}
