//! One job from its creation to its end: waits for its start, finds its devices, and goes
//! through them at the hub's pace.
//!
//! All calls that wait for devices are polled by the job's own task, and there are never more
//! than [`JOB_CALLS_MAX`] of them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use linarite_core::hub::job::{MethodOutcome, Outcome, TargetError, Work};
use linarite_core::id::{ETag, IdentityId};
use linarite_env::{Event, UnixMillis};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::error::ServiceError;
use crate::limits::{JOB_CALLS_MAX, JOB_NEWS_INTERVAL_MS, QUERY_BATCH};
use crate::service::hub::Hub;
use crate::service::mailbox::MethodAnswer;
use crate::service::query::SpellTwin;
use crate::service::twin::TwinDraft;
use crate::store::jobs::JobCell;

/// Carries out a job.
pub(super) async fn run(hub: &Hub, job: &JobCell, spell: SpellTwin) {
    if !started(hub, job, spell).await {
        return;
    }
    let mut round = Round::new(hub, job);
    round.go_through().await;
    let now = hub.env.clock.now_ms().0;
    if job.change(|job| job.finish(now)).is_ok() {
        hub.tell_job(job);
    }
}

/// Waits for the job's time and fixes whom it is for; gives whether there is something to do.
async fn started(hub: &Hub, job: &JobCell, spell: SpellTwin) -> bool {
    let start = UnixMillis(job.read(|job| job.start_ms()));
    if start > hub.env.clock.now_ms() {
        if job.change(|job| job.schedule()).is_err() {
            return false;
        }
        hub.tell_job(job);
        tokio::select! {
            biased;
            () = job.cancelled.notified() => return false,
            () = hub.env.clock.sleep_until(start) => {}
        }
    }
    let condition = job.read(|job| job.request().condition().clone());
    let targets = hub.targets(&condition, spell).await;
    let now = hub.env.clock.now_ms().0;
    let started = if hub.workshop.jobs.has_room_for(targets.len()) {
        job.change(|job| job.start(targets, now))
    } else {
        let reason = "The hub remembers no more devices of jobs.";
        job.change(|job| job.fail(reason, now))
    };
    // Cancelled at the last moment, perhaps.
    if started.is_err() {
        return false;
    }
    hub.tell_job(job);
    job.read(|job| !job.status().is_final())
}

/// A job's way through its devices.
struct Round<'a> {
    hub: &'a Hub,
    job: &'a JobCell,
    work: Work,
    /// The device that comes next, and how many there are.
    next: usize,
    count: usize,
    told_ms: i64,
    /// Whether it has been told that answers are not kept.
    dropped: bool,
}

impl<'a> Round<'a> {
    fn new(hub: &'a Hub, job: &'a JobCell) -> Self {
        let (work, count) = job.read(|job| (job.request().work().clone(), job.targets().len()));
        Self {
            hub,
            job,
            work,
            next: 0,
            count,
            told_ms: hub.env.clock.now_ms().0,
            dropped: false,
        }
    }

    async fn go_through(&mut self) {
        let deadline = UnixMillis(self.job.read(|job| job.deadline_ms()));
        let over = self.hub.env.clock.sleep_until(deadline);
        tokio::pin!(over);
        match self.work.clone() {
            Work::Twin(change) => {
                let draft = TwinDraft {
                    tags: change.tags,
                    desired: change.desired,
                };
                let write = |hub: &Hub, id: &IdentityId| {
                    let allow = |current: Option<&ETag>| change.precondition.check_delete(current);
                    hub.write_twin(id, allow, &draft, true)
                };
                tokio::select! {
                    biased;
                    () = &mut over => {}
                    () = self.write_all(write) => {}
                }
            }
            Work::Method(request) => {
                let payload = request
                    .payload()
                    .map_or_else(|| "null".to_owned(), ToString::to_string);
                let payload = Bytes::from(payload);
                let hub = self.hub;
                let call = |index: usize, id: IdentityId| {
                    let (request, payload) = (&request, payload.clone());
                    async move { (index, hub.call_method(&id, request, payload).await) }
                };
                tokio::select! {
                    biased;
                    () = &mut over => {}
                    () = self.call_all(call) => {}
                }
            }
        }
    }

    /// Writes the twins one after another.
    async fn write_all<T>(&mut self, write: impl Fn(&Hub, &IdentityId) -> Result<T, ServiceError>) {
        while self.next < self.count {
            for _ in 0..QUERY_BATCH {
                match self.turn() {
                    Turn::Now(index, id) => {
                        let outcome = match write(self.hub, &id) {
                            Ok(_) => Outcome::Written,
                            Err(error) => failed(&error),
                        };
                        self.end(index, outcome);
                    }
                    Turn::Later(at) => {
                        sleep_until(at).await;
                        break;
                    }
                    Turn::None => break,
                }
            }
            yield_now().await;
        }
    }

    /// Calls the devices, many at a time.
    async fn call_all<C>(&mut self, call: impl Fn(usize, IdentityId) -> C)
    where
        C: Future<Output = (usize, Result<MethodAnswer, ServiceError>)>,
    {
        let mut calls = FuturesUnordered::new();
        loop {
            let mut pause = None;
            let mut begun = 0;
            while calls.len() < JOB_CALLS_MAX && begun < QUERY_BATCH {
                match self.turn() {
                    Turn::Now(index, id) => calls.push(call(index, id)),
                    Turn::Later(at) => {
                        pause = Some(at);
                        break;
                    }
                    Turn::None => break,
                }
                begun += 1;
            }
            let waiting = self.next < self.count && calls.len() < JOB_CALLS_MAX;
            if calls.is_empty() && !waiting {
                return;
            }
            tokio::select! {
                biased;
                Some((index, answer)) = calls.next(), if !calls.is_empty() => {
                    let outcome = match answer {
                        Ok(answer) => self.answered(&answer),
                        Err(error) => failed(&error),
                    };
                    self.end(index, outcome);
                }
                () = pause_until(pause), if waiting => {}
            }
        }
    }

    /// Whose turn it is.
    fn turn(&mut self) -> Turn {
        if self.next == self.count {
            return Turn::None;
        }
        if let Err(at) = self.hub.workshop.pace.take(Instant::now()) {
            return Turn::Later(at);
        }
        let (index, now) = (self.next, self.hub.env.clock.now_ms().0);
        self.next += 1;
        match self.job.change(|job| job.begin(index, now)) {
            Some(id) => Turn::Now(index, id),
            None => Turn::None,
        }
    }

    /// What a device answered, as far as there is room to keep it.
    fn answered(&mut self, answer: &MethodAnswer) -> Outcome {
        let kept = self.hub.workshop.jobs.keeps(answer.payload.len());
        if !kept && !self.dropped {
            self.dropped = true;
            let limit = "answers of jobs";
            self.hub.env.events.emit(Event::LimitReached { limit });
        }
        Outcome::Answered(MethodOutcome {
            status: answer.status,
            payload: kept.then(|| answer.payload.to_vec().into()),
        })
    }

    /// Notes an end, and tells of the progress now and then.
    fn end(&mut self, index: usize, outcome: Outcome) {
        let now = self.hub.env.clock.now_ms().0;
        self.job.change(|job| job.end(index, outcome, now));
        if now - self.told_ms >= JOB_NEWS_INTERVAL_MS {
            self.told_ms = now;
            self.hub.tell_job(self.job);
        }
    }
}

/// What a job may do now.
enum Turn {
    /// Begin with this device.
    Now(usize, IdentityId),
    /// Wait until then.
    Later(Instant),
    /// Nothing: all devices have had their turn.
    None,
}

/// Until the next turn, or until others have had theirs.
async fn pause_until(pause: Option<Instant>) {
    match pause {
        Some(at) => sleep_until(at).await,
        None => yield_now().await,
    }
}

fn failed(error: &ServiceError) -> Outcome {
    Outcome::Failed(TargetError {
        code: error.name,
        description: error.message.as_str().into(),
    })
}
