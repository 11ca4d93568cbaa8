//! The jobs of one hub, and how much of them is remembered.
//!
//! A job is locked for itself; where both locks are held, that of the map was taken first.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linarite_core::hub::job::{Job, Outcome};
use linarite_core::id::JobId;
use tokio::sync::Notify;

use crate::limits::{JOB_PAYLOAD_BYTES_MAX, JOB_TARGETS_MAX, JOBS_MAX};

/// A job in its place.
#[derive(Debug)]
pub(crate) struct JobCell {
    pub(crate) id: JobId,
    /// Woken when the job is cancelled.
    pub(crate) cancelled: Notify,
    job: Mutex<Job>,
}

impl JobCell {
    /// Reads the job under its lock.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Job) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the job under its lock.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Job) -> T) -> T {
        work(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Job> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a job was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// As many jobs as are allowed have not ended yet.
    Active,
    /// There is one of that id.
    Exists,
    /// Too many are remembered, and none of them has ended.
    Full,
}

type Map = BTreeMap<JobId, Arc<JobCell>>;

/// The jobs of one hub.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    map: Mutex<Map>,
    /// Bytes of what devices answered, over all jobs.
    payload_bytes: AtomicUsize,
}

impl Jobs {
    /// Takes a job in, if at most `active_max` have not ended with it.
    pub(crate) fn add(
        &self,
        job: Job,
        now_ms: i64,
        active_max: usize,
    ) -> Result<Arc<JobCell>, NoRoom> {
        let mut map = self.lock();
        self.forget(&mut map, |job| job.is_forgotten(now_ms));
        let id = job.request().id().clone();
        if map.contains_key(&id) {
            return Err(NoRoom::Exists);
        }
        let active = |cell: &&Arc<JobCell>| cell.read(|job| !job.status().is_final());
        if map.values().filter(active).count() >= active_max {
            return Err(NoRoom::Active);
        }
        while map.len() >= JOBS_MAX {
            if !self.forget_oldest(&mut map) {
                return Err(NoRoom::Full);
            }
        }
        let cell = Arc::new(JobCell {
            id: id.clone(),
            cancelled: Notify::new(),
            job: Mutex::new(job),
        });
        map.insert(id, Arc::clone(&cell));
        Ok(cell)
    }

    /// The job of that id.
    pub(crate) fn get(&self, id: &JobId, now_ms: i64) -> Option<Arc<JobCell>> {
        let cell = self.lock().get(id).cloned()?;
        let kept = cell.read(|job| !job.is_forgotten(now_ms));
        kept.then_some(cell)
    }

    /// The first `limit` jobs after `after`, in order.
    pub(crate) fn after(
        &self,
        after: Option<&JobId>,
        limit: usize,
        now_ms: i64,
    ) -> Vec<Arc<JobCell>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let map = self.lock();
        let later = map.range::<JobId, _>((from, Bound::Unbounded));
        let kept = |cell: &&Arc<JobCell>| cell.read(|job| !job.is_forgotten(now_ms));
        let cells = later.map(|(_, cell)| cell).filter(kept);
        cells.take(limit).cloned().collect()
    }

    /// Whether there is room for a job of that many targets; the oldest that have ended make some.
    pub(crate) fn has_room_for(&self, targets: usize) -> bool {
        let mut map = self.lock();
        let held = |map: &Map| {
            let count = |cell: &Arc<JobCell>| cell.read(|job| job.targets().len());
            map.values().map(count).sum::<usize>()
        };
        while held(&map).saturating_add(targets) > JOB_TARGETS_MAX {
            if !self.forget_oldest(&mut map) {
                return false;
            }
        }
        true
    }

    /// Whether there is room for that much of an answer; if so, it is taken.
    pub(crate) fn keeps(&self, bytes: usize) -> bool {
        let room = |held: usize| {
            held.checked_add(bytes)
                .filter(|sum| *sum <= JOB_PAYLOAD_BYTES_MAX)
        };
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.payload_bytes.fetch_update(set, get, room).is_ok()
    }

    /// Forgets the job that ended first; gives whether there was one.
    fn forget_oldest(&self, map: &mut Map) -> bool {
        let ended = |cell: &Arc<JobCell>| cell.read(Job::ended_ms);
        let ended = map
            .iter()
            .filter_map(|(id, cell)| Some((ended(cell)?, id.clone())));
        let oldest = ended.min();
        if let Some((_, oldest)) = &oldest {
            self.forget(map, |job| job.request().id() == oldest);
        }
        oldest.is_some()
    }

    fn forget(&self, map: &mut Map, which: impl Fn(&Job) -> bool) {
        map.retain(|_, cell| {
            cell.read(|job| {
                let gone = which(job);
                if gone {
                    let bytes = job.targets().iter().map(|target| match target.outcome() {
                        Some(Outcome::Answered(answer)) => {
                            answer.payload.as_ref().map_or(0, |payload| payload.len())
                        }
                        _ => 0,
                    });
                    self.payload_bytes.fetch_sub(bytes.sum(), Ordering::Relaxed);
                }
                !gone
            })
        });
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linarite_core::hub::job::{JobDraft, JobRequest, MethodOutcome, Work};
    use linarite_core::hub::method::MethodRequest;
    use linarite_core::id::IdentityId;
    use linarite_core::limits::JOB_KEPT_MS;

    fn job(id: &str) -> Job {
        let draft = JobDraft {
            id: JobId::parse(id).unwrap(),
            work: Work::Method(MethodRequest::new("m", None, None, None).unwrap()),
            condition: "*".to_owned(),
            start_ms: None,
            execution_seconds: None,
        };
        Job::new(JobRequest::new(draft, 0).unwrap(), 0)
    }

    fn end(cell: &JobCell, at_ms: i64) {
        cell.change(|job| job.cancel(at_ms)).unwrap();
    }

    fn ids(jobs: &Jobs, now_ms: i64) -> Vec<String> {
        let cells = jobs.after(None, 10, now_ms);
        cells.iter().map(|cell| cell.id.to_string()).collect()
    }

    /// R-G32, R-G35, R-F10.
    #[test]
    fn ids_are_taken_once_and_active_jobs_are_counted() {
        let jobs = Jobs::default();
        let first = jobs.add(job("a"), 0, 2).unwrap();
        assert_eq!(jobs.add(job("a"), 0, 2).err(), Some(NoRoom::Exists));
        jobs.add(job("b"), 0, 2).unwrap();
        assert_eq!(jobs.add(job("c"), 0, 2).err(), Some(NoRoom::Active));
        end(&first, 5);
        jobs.add(job("c"), 6, 2).unwrap();
        assert_eq!(jobs.add(job("a"), 6, 9).err(), Some(NoRoom::Exists));
        assert_eq!(ids(&jobs, 6), ["a", "b", "c"]);
        let after = JobId::parse("a").unwrap();
        assert_eq!(jobs.after(Some(&after), 1, 6).len(), 1);
        // Thirty days later the id is free again.
        let later = 5 + JOB_KEPT_MS;
        assert!(jobs.get(&after, later - 1).is_some());
        assert!(jobs.get(&after, later).is_none());
        assert_eq!(ids(&jobs, later), ["b", "c"]);
        jobs.add(job("a"), later, 9).unwrap();
    }

    /// What has ended makes room; what has not is never forgotten.
    #[test]
    fn the_oldest_job_that_ended_makes_room() {
        let jobs = Jobs::default();
        for number in 0..JOBS_MAX {
            jobs.add(job(&format!("j{number}")), 0, usize::MAX).unwrap();
        }
        assert_eq!(
            jobs.add(job("new"), 0, usize::MAX).err(),
            Some(NoRoom::Full)
        );
        for (id, ended) in [("j7", 2), ("j5", 1)] {
            end(&jobs.get(&JobId::parse(id).unwrap(), 2).unwrap(), ended);
        }
        jobs.add(job("new"), 3, usize::MAX).unwrap();
        let held = |id: &str| jobs.get(&JobId::parse(id).unwrap(), 3).is_some();
        assert_eq!((held("j5"), held("j7"), held("new")), (false, true, true));
    }

    /// Answers are kept as long as there is room for them, and make room when their job goes.
    #[test]
    fn answers_take_room_until_their_job_is_forgotten() {
        let jobs = Jobs::default();
        let cell = jobs.add(job("a"), 0, 9).unwrap();
        assert!(jobs.keeps(JOB_PAYLOAD_BYTES_MAX));
        assert!(!jobs.keeps(1));
        cell.change(|job| {
            let target = IdentityId::parse("d").unwrap();
            job.start(vec![target], 0).unwrap();
            let payload = vec![0; JOB_PAYLOAD_BYTES_MAX].into();
            let answer = MethodOutcome {
                status: 200,
                payload: Some(payload),
            };
            job.end(0, Outcome::Answered(answer), 1);
            job.finish(2).unwrap();
        });
        assert!(!jobs.has_room_for(JOB_TARGETS_MAX + 1));
        assert!(jobs.get(&cell.id, 2).is_none(), "it made room in vain");
        assert!(jobs.keeps(JOB_PAYLOAD_BYTES_MAX));
    }
}
