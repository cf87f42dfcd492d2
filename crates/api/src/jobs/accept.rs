//! Accepting a job: the row first, then the hint to the queue. A caller that goes away in between does not
//! stop it, and a process that dies in between is made good by the sweep.

use std::time::Duration;

use gateway_broker::Entry;
use gateway_core::ErrorCode;
use gateway_db::NewJob;

use crate::error::ApiError;
use crate::state::ApiState;

/// How long the queue may take to be told of a job.
const HINT: Duration = Duration::from_millis(500);

/// Stores `job` and tells the queue; returns its place there, where it has one.
pub(super) async fn accept(state: &ApiState, job: NewJob) -> Result<Option<u64>, ApiError> {
    let depth = state.depth().await?;
    if depth >= state.parts.queue.max_depth {
        return Err(queue_full(state, depth).await);
    }
    let state = state.clone();
    // A task of its own: dropping the request must not leave a job that nobody was told of.
    let accepted = tokio::spawn(async move { store(&state, job).await }).await;
    accepted.unwrap_or_else(|error| {
        tracing::error!(%error, "accepting a job failed");
        Err(ApiError::new(ErrorCode::Internal, "the gateway failed; its log says why, under this correlation id"))
    })
}

async fn store(state: &ApiState, job: NewJob) -> Result<Option<u64>, ApiError> {
    state.parts.database.accept_job(&job).await?;
    let entry = Entry {
        job: job.id,
        priority: job.priority,
        owner: job.owner,
        since: job.id.timestamp(),
        not_before: job.not_before,
        needs: job.needs,
        home: None,
    };
    // The job is safe: a queue that is slow must not keep the caller.
    match tokio::time::timeout(HINT, state.parts.broker.enqueue(vec![entry])).await {
        Ok(Ok(positions)) => {
            state.mark_dispatched(job.id);
            Ok(positions.first().copied().flatten())
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, job_id = %job.id, "the queue was not told of a job; a sweep will");
            Ok(None)
        }
        Err(_elapsed) => {
            tracing::debug!(job_id = %job.id, "the queue is slow; a sweep tells it of a job again");
            Ok(None)
        }
    }
}

/// How long it may take until there is room: the depth at the pace of the latest runs.
async fn queue_full(state: &ApiState, depth: u64) -> ApiError {
    let average = state.parts.database.job_stats().await.ok().and_then(|stats| stats.average_run_ms);
    let per_job = Duration::from_millis(average.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(10_000));
    let wait = (per_job.as_secs_f64() * depth as f64 / 20.0).clamp(1.0, 3_600.0).ceil();
    ApiError::new(ErrorCode::QueueFull, format!("{depth} jobs wait already, which is as many as may"))
        .recommend("try again later; an operator can raise QUEUE_MAX_DEPTH or add ComfyUI servers")
        .retry_after(wait as u32)
}
