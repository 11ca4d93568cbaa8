//! Custom allocation: what happens between a question that only a webhook can answer and the
//! assignment (R-B16, R-B17). The device sees `assigning` meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use linarite_core::dps::allocation::{
    AllocationAnswer, AllocationFailure, AllocationQuestion, resume,
};
use linarite_core::dps::enrollment::{EnrollmentGroup, IndividualEnrollment};
use linarite_core::dps::registration::{Decision, EnrollmentRef};
use linarite_core::id::ETag;
use linarite_core::time::UnixTime;
use linarite_env::Event;
use linarite_env::event::Reason;

use super::judge::{Judged, Unfit};
use super::{Asked, Register};
use crate::error::ServiceError;
use crate::limits::WEBHOOK_ROUNDS_MAX;
use crate::wire::webhook;

/// The entry that speaks for a device.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Group(Arc<EnrollmentGroup>),
    Individual(Arc<IndividualEnrollment>),
}

impl Entry {
    fn etag(&self) -> &ETag {
        match self {
            Self::Group(entry) => &entry.etag,
            Self::Individual(entry) => &entry.etag,
        }
    }
}

impl Register {
    /// Asks outside while that is what there is to do, and gives the judgement that is left.
    /// Nothing is held meanwhile, so an answer counts only if the entry is still the one it was
    /// asked about; else it is judged and asked again, a few times.
    ///
    /// `now` is when the device showed what it showed: the wait must not outlive its token.
    pub(super) async fn settled(&self, mut judged: Judged, asked: &Asked, now: UnixTime) -> Judged {
        for _ in 0..WEBHOOK_ROUNDS_MAX {
            let (Decision::Ask(question), Some(entry)) = (&judged.decision, &judged.entry) else {
                return judged;
            };
            let answer = self.ask(question, entry, asked).await;
            let answered = judged.challenge.clone();
            let again = match self.judge(judged.id.as_str(), asked, now, answered) {
                Ok(again) => again,
                Err(unfit) => {
                    judged.decision = refused(question.enrollment(), unfit);
                    return judged;
                }
            };
            let same = again.entry.as_ref().map(Entry::etag) == Some(entry.etag());
            judged = again;
            if same {
                return judged.answered(answer);
            }
        }
        let text = "because the enrollment changed whenever its webhook was asked";
        judged.answered(AllocationAnswer::Failed {
            text: text.to_owned(),
        })
    }

    async fn ask(
        &self,
        question: &AllocationQuestion,
        entry: &Entry,
        asked: &Asked,
    ) -> AllocationAnswer {
        let url = &question.webhook().webhook_url;
        let body = webhook::question(question, entry, asked).to_string();
        let posted = self.0.poster.post(url, Bytes::from(body)).await;
        let answer = posted
            .map_err(|error| error.to_string())
            .and_then(|body| webhook::read_answer(&body));
        let registration_id: Arc<str> = question.registration_id().as_str().into();
        let webhook: Arc<str> = url.to_string().into();
        match answer {
            Ok(answer) => {
                self.0.env.events.emit(Event::WebhookAnswered {
                    registration_id,
                    webhook,
                    hub: answer.hub.as_str().into(),
                });
                AllocationAnswer::Hub {
                    hub: answer.hub,
                    initial_twin: answer.initial_twin,
                    payload: answer.payload,
                }
            }
            Err(text) => {
                self.0.env.events.emit(Event::WebhookFailed {
                    registration_id,
                    webhook,
                    reason: Reason {
                        rule: "R-B16",
                        code: 400_207,
                        text: text.clone(),
                    },
                });
                AllocationAnswer::Failed { text }
            }
        }
    }
}

impl Judged {
    /// What comes of the answer, if there is a question still.
    fn answered(mut self, answer: AllocationAnswer) -> Self {
        self.decision = match self.decision {
            Decision::Ask(question) => resume(question, answer, &self.hubs),
            decision => decision,
        };
        self
    }
}

/// What was shown does not satisfy the entries as they are now.
fn refused(enrollment: &EnrollmentRef, unfit: Unfit) -> Decision {
    let error = ServiceError::from(unfit);
    Decision::Failed {
        enrollment: enrollment.clone(),
        failure: AllocationFailure {
            rule: error.rule,
            code: error.code,
            text: error.message,
        },
    }
}
