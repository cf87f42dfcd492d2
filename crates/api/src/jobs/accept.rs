//! Accepting a job: the row first, then the hint to the queue. A caller that goes away in between does not
//! stop it, and a process that dies in between is made good by the sweep.

use std::time::Duration;

use gateway_broker::Entry;
use gateway_core::ErrorCode;
use gateway_core::event::JobEvent;
use gateway_db::{Accepted, Aftermath, NewJob, QueuedJob};
use gateway_metrics::{QUEUE_REFUSALS, job_ended};
use gateway_telemetry::{carried, job_changed};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::jobs::answer::{self, Answer};
use crate::jobs::submit::Submission;
use crate::metrics::Arrival;
use crate::state::ApiState;

/// Seconds after which a caller with too many waiting jobs may look again.
const OWN_FULL: u32 = 10;
/// How long the queue may take to be told of a job.
const HINT: Duration = Duration::from_millis(500);

/// Accepts a job and tells the queue.
pub(crate) async fn accept(state: &ApiState, caller: &Caller, submission: Submission) -> Result<Answer, ApiError> {
    if submission.acceptance.hit.is_none() {
        check_room(state, caller, 1).await?;
    }
    let state = state.clone();
    to_the_end(async move { store(&state, submission).await }).await
}

/// Does `work` whatever becomes of the request: dropping that must not leave jobs that nobody was told of.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(carried(work)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "accepting jobs failed");
        Err(ApiError::internal())
    })
}

async fn store(state: &ApiState, submission: Submission) -> Result<Answer, ApiError> {
    let Submission { acceptance, outputs } = submission;
    let (id, retry_of) = (acceptance.job.id, acceptance.job.retry_of);
    let (waiting, arrival) = (entry(&acceptance.job), Arrival::of(&acceptance.job));
    let (accepted, aftermath) = state.parts.database.accept_job(acceptance).await?;
    arrival.tell(&accepted);
    follow_up(state, aftermath).await;
    Ok(match accepted {
        Accepted::Queued => {
            let position = hint(state, vec![waiting]).await.into_iter().next().flatten();
            answer::queued(id, retry_of, position)
        }
        Accepted::Joined(leader) => {
            if let Some(leader) = leader {
                raise(state, leader).await;
            }
            answer::queued(id, retry_of, None)
        }
        Accepted::Hit if outputs.is_empty() => answer::hit(id, &state.parts.database.outputs_of(id).await?),
        Accepted::Hit => answer::hit(id, &outputs),
        known @ (Accepted::Repeated(_) | Accepted::KeyReused) => answer::known(state, known).await?,
    })
}

/// The queue's hint at a new job.
pub(crate) fn entry(job: &NewJob) -> Entry {
    Entry {
        job: job.id,
        priority: job.priority,
        owner: job.owner.clone(),
        since: job.id.timestamp(),
        not_before: job.not_before,
        needs: job.needs,
        home: None,
    }
}

/// Tells the queue of jobs that are noted as dispatched, as new ones are; gives each one's place there, where it has one.
pub(crate) async fn hint(state: &ApiState, entries: Vec<Entry>) -> Vec<Option<u64>> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.job).collect();
    let positions = tell(state, entries).await;
    if positions.is_none() {
        ids.into_iter().for_each(|id| state.note_dispatch(id, false));
    }
    positions.unwrap_or_default()
}

/// Tells the queue of jobs; each one's place there, and `None` where it may not have heard.
async fn tell(state: &ApiState, entries: Vec<Entry>) -> Option<Vec<Option<u64>>> {
    // The jobs are safe: a queue that is slow must not keep the caller.
    match tokio::time::timeout(HINT, state.parts.broker.enqueue(entries)).await {
        Ok(Ok(positions)) => Some(positions),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the queue was not told of a job; a sweep will");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("the queue is slow; a sweep tells it of a job again");
            None
        }
    }
}

/// Tells the queue that a waiting job has become more urgent.
pub(crate) async fn raise(state: &ApiState, job: QueuedJob) {
    if let Err(error) = state.parts.broker.forget(job.id).await {
        return tracing::debug!(%error, jobId = %job.id, "a job keeps its place in the queue");
    }
    hint(state, vec![entry_of(job)]).await;
}

/// The queue's hint at a job that waits in the database.
pub(super) fn entry_of(job: QueuedJob) -> Entry {
    Entry {
        job: job.id,
        priority: job.priority,
        owner: job.owner,
        since: job.since,
        not_before: job.not_before,
        needs: job.needs,
        home: job.home,
    }
}

/// Tells everybody whom the end of a job concerned.
pub(crate) async fn follow_up(state: &ApiState, aftermath: Aftermath) {
    for change in aftermath.ended {
        job_ended(&change);
        state.parts.broker.publish(change.job, JobEvent::Status(change.to));
        job_changed(&change);
    }
    let promoted: Vec<Entry> = aftermath.promoted.into_iter().map(entry_of).collect();
    let ids: Vec<_> = promoted.iter().map(|entry| entry.job).collect();
    if !promoted.is_empty() && tell(state, promoted).await.is_some() {
        ids.into_iter().for_each(|id| state.note_dispatch(id, true));
    }
}

/// Refuses where `more` jobs do not find room in the queue.
pub(crate) async fn check_room(state: &ApiState, caller: &Caller, more: u64) -> Result<(), ApiError> {
    if let Some(limit) = caller.rights.queue_limit.map(u64::from).or(state.parts.access.owner_queue) {
        let waiting = state.parts.database.count_waiting_of(&caller.owner).await?;
        if waiting.saturating_add(more) > limit {
            QUEUE_REFUSALS.of(["owner".into()]).increment(1);
            let detail = format!("{waiting} of your jobs wait already; at most {limit} may");
            return Err(ApiError::new(ErrorCode::QueueFull, detail)
                .recommend("wait until some have run; an operator can raise OWNER_QUEUE_LIMIT, or the key's own limit")
                .retry_after(OWN_FULL));
        }
    }
    let depth = state.depth().await?;
    if depth.saturating_add(more) > state.parts.queue.max_depth {
        QUEUE_REFUSALS.of(["queue".into()]).increment(1);
        return Err(queue_full(state, depth).await);
    }
    Ok(())
}

/// How long it may take until there is room: the depth at the pace of the latest runs.
async fn queue_full(state: &ApiState, depth: u64) -> ApiError {
    let average = state.parts.database.average_run_ms().await.ok().flatten();
    let per_job = Duration::from_millis(average.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(10_000));
    let wait = (per_job.as_secs_f64() * depth as f64 / 20.0).clamp(1.0, 3_600.0).ceil();
    ApiError::new(ErrorCode::QueueFull, format!("{depth} jobs wait already, which is as many as may"))
        .recommend("try again later; an operator can raise QUEUE_MAX_DEPTH or add ComfyUI servers")
        .retry_after(wait as u32)
}
