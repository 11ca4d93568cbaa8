//! Jobs: taking them in, telling of them, cancelling them (R-G32 to R-G35).
//!
//! Each job is one task, in `runner`, however many devices it is for.

mod pace;
mod runner;

use std::collections::BTreeSet;
use std::sync::Arc;

use linarite_core::hub::job::{Job, JobRequest, JobStatus, JobType, Target};
use linarite_core::hub::query::Query;
use linarite_core::hub::tier::Tier;
use linarite_core::id::{IdentityId, JobId};
use linarite_env::Event;
use serde_json::Value;
use tokio::task::yield_now;

use super::Services;
use super::hub::Hub;
use super::query::{Filled, Filling, Mark, SpellTwin};
use crate::error::ServiceError;
use crate::limits::{JOBS_ACTIVE_MAX, QUERY_BATCH};
use crate::store::jobs::{JobCell, Jobs, NoRoom};
use crate::store::page::Page;
use pace::Pace;

/// How a job is spelled.
pub(crate) type SpellJob = fn(&Job) -> Value;

/// How what became of a job at one device is spelled as a document.
pub(crate) type SpellTarget = fn(&Job, &Target) -> Value;

/// The jobs of a hub and what its tier allows them.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) jobs: Jobs,
    pub(super) pace: Pace,
    active_max: usize,
}

impl Workshop {
    /// A hub without a tier knows no limits but our own.
    pub(super) fn new(tier: Option<Tier>) -> Self {
        Self {
            jobs: Jobs::default(),
            pace: Pace::new(tier.map(Tier::job_devices_per_second)),
            active_max: tier.map_or(JOBS_ACTIVE_MAX, Tier::active_jobs),
        }
    }
}

/// Which jobs are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) job_type: Option<JobType>,
    pub(crate) status: Option<JobStatus>,
}

impl Services {
    /// Takes a job in and has it carried out.
    ///
    /// # Errors
    /// 409104 if the id is taken, 429004 if as many jobs as the tier allows have not ended.
    pub(crate) fn create_job(
        &self,
        hub: &Arc<Hub>,
        request: JobRequest,
        spell: SpellTwin,
    ) -> Result<Arc<JobCell>, ServiceError> {
        let now = self.env.clock.now_ms().0;
        let shop = &hub.workshop;
        let added = shop.jobs.add(Job::new(request, now), now, shop.active_max);
        let job = added.map_err(|no_room| hub.no_room(no_room))?;
        hub.tell_job(&job);
        let (hub, running) = (Arc::clone(hub), Arc::clone(&job));
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = runner::run(&hub, &running, spell) => {}
            }
        });
        Ok(job)
    }
}

impl Hub {
    /// The job of that id.
    pub(crate) fn job(&self, id: &JobId) -> Option<Arc<JobCell>> {
        self.workshop.jobs.get(id, self.env.clock.now_ms().0)
    }

    /// Cancels a job that has not begun.
    ///
    /// # Errors
    /// 404002 if there is no such job, 405001 if it is past cancelling.
    pub(crate) fn cancel_job(&self, id: &JobId) -> Result<Arc<JobCell>, ServiceError> {
        let job = self.job(id).ok_or_else(|| {
            let text = format!("Job {id} not found.");
            ServiceError::new(404_002, "JobNotFound", "R-F10", text)
        })?;
        let now = self.env.clock.now_ms().0;
        job.change(|job| job.cancel(now)).map_err(|illegal| {
            let text = format!("Job cannot be cancelled in '{}' status.", illegal.status);
            ServiceError::new(405_001, "OperationNotAllowedInCurrentState", "R-G33", text)
        })?;
        job.cancelled.notify_one();
        self.tell_job(&job);
        Ok(job)
    }

    /// A page of the jobs after `after`, by id.
    pub(crate) fn jobs_after(
        &self,
        after: Option<&JobId>,
        count: usize,
        wish: Wish,
        spell: SpellJob,
    ) -> Page<Value> {
        let wanted = |job: &Job| {
            wish.job_type
                .is_none_or(|wanted| wanted == job.request().job_type())
                && wish.status.is_none_or(|wanted| wanted == job.status())
        };
        let now = self.env.clock.now_ms().0;
        let all = self.workshop.jobs.after(after, usize::MAX, now);
        let spelled = all.iter().filter_map(|cell| {
            let value = cell.read(|job| wanted(job).then(|| spell(job)))?;
            Some((cell.id.as_str(), value))
        });
        Page::first(spelled, count)
    }

    /// A page of what `query` finds of jobs at devices after `mark`, at most `count` rows, by job
    /// and device.
    pub(crate) async fn query_jobs(
        &self,
        query: &Query,
        mark: Mark,
        count: usize,
        spell: SpellTarget,
    ) -> Page<Value> {
        let after = mark.key().and_then(|key| key.split_once(' '));
        let after = after.and_then(|(job, target)| {
            Some((JobId::parse(job).ok()?, IdentityId::parse(target).ok()?))
        });
        let mut filling = Filling::new(mark, count, query.top());
        for cell in self.jobs_to_look_at(query.job_ids(), after.as_ref().map(|(job, _)| job)) {
            let inside = after.as_ref().filter(|(job, _)| *job == cell.id);
            let mut last = inside.map(|(_, target)| target.clone());
            loop {
                let rows = cell.read(|job| rows_after(job, last.as_ref(), spell));
                let Some((id, _)) = rows.last() else { break };
                last = Some(id.clone());
                for (id, document) in rows {
                    let key = format!("{} {id}", cell.id);
                    if query.matches(&document)
                        && filling.put(&key, || query.row(document)) == Filled::Done
                    {
                        return filling.finish();
                    }
                }
                yield_now().await;
            }
        }
        filling.finish()
    }

    /// The jobs from `from` on, or those of `only` alone, in order.
    fn jobs_to_look_at(
        &self,
        only: Option<BTreeSet<&str>>,
        from: Option<&JobId>,
    ) -> Vec<Arc<JobCell>> {
        let now = self.env.clock.now_ms().0;
        let jobs = match only {
            Some(only) => {
                let ids = only.into_iter().filter_map(|id| JobId::parse(id).ok());
                ids.filter_map(|id| self.workshop.jobs.get(&id, now))
                    .collect()
            }
            None => self.workshop.jobs.after(None, usize::MAX, now),
        };
        let later = |cell: &Arc<JobCell>| from.is_none_or(|from| *from <= cell.id);
        jobs.into_iter().filter(later).collect()
    }

    /// Tells where a job stands.
    pub(super) fn tell_job(&self, cell: &JobCell) {
        let (status, statistics) = cell.read(|job| (job.status(), job.statistics()));
        let statistics = statistics.unwrap_or_default();
        self.env.events.emit(Event::JobChanged {
            hub: self.name(),
            job_id: cell.id.as_str().into(),
            status: status.name(),
            targets: statistics.targets,
            succeeded: statistics.succeeded,
            failed: statistics.failed,
        });
    }

    fn no_room(&self, no_room: NoRoom) -> ServiceError {
        match no_room {
            NoRoom::Active => ServiceError::new(
                429_004,
                "ThrottlingMaxActiveJobCountExceeded",
                "R-G35",
                format!(
                    "At most {} jobs may be queued, scheduled or running at once.",
                    self.workshop.active_max
                ),
            ),
            NoRoom::Exists => ServiceError::new(
                409_104,
                "JobAlreadyExists",
                "R-F10",
                "A job of this id exists already; it is kept for 30 days after its end.",
            ),
            NoRoom::Full => ServiceError::limit("The hub remembers no more jobs."),
        }
    }
}

/// The next documents of a job after the target `last`.
fn rows_after(
    job: &Job,
    last: Option<&IdentityId>,
    spell: SpellTarget,
) -> Vec<(IdentityId, Value)> {
    let targets = job.targets();
    let start = last.map_or(0, |last| {
        targets.partition_point(|target| target.id() <= last)
    });
    let next = targets.iter().skip(start).take(QUERY_BATCH);
    next.map(|target| (target.id().clone(), spell(job, target)))
        .collect()
}
