//! `POST /jobs/{id}/cancel` and `DELETE /jobs/{id}`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use gateway_core::{ErrorCode, JobId, JobStatus, Scope};
use gateway_db::{CancelOutcome, DeleteOutcome};
use serde_json::json;

use crate::audit::Actor;
use crate::auth::Caller;
use crate::body::Nothing;
use crate::error::ApiError;
use crate::jobs::accept::{entry_of, follow_up};
use crate::jobs::parse_id;
use crate::state::ApiState;

/// Cancels a job: a queued one at once, a running one by asking its worker.
pub(crate) async fn cancel_job(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    let status = cancel_one(&state, id, caller.scope()).await?;
    Ok(HttpResponse::Accepted().json(json!({"jobId": id, "status": status, "cancelRequested": true})))
}

/// Cancels one job; gives where it stands now.
pub(crate) async fn cancel_one(state: &ApiState, id: JobId, scope: Scope) -> Result<JobStatus, ApiError> {
    let broker = &state.parts.broker;
    match state.parts.database.cancel_job(id, scope).await? {
        CancelOutcome::NotFound => Err(ApiError::job_not_found()),
        CancelOutcome::Ended(status) => {
            Err(ApiError::new(ErrorCode::Conflict, format!("the job has ended: it is {status}")))
        }
        CancelOutcome::Canceled(aftermath) => {
            follow_up(state, aftermath).await;
            // The hint does no harm: whoever takes it finds that the job has ended.
            if let Err(error) = broker.forget(id).await {
                tracing::debug!(%error, jobId = %id, "a hint at a canceled job stays in the queue");
            }
            Ok(JobStatus::Canceled)
        }
        CancelOutcome::RequestedOfQueued(job) => {
            if let Err(error) = broker.enqueue(vec![entry_of(job)]).await {
                tracing::debug!(%error, jobId = %id, "the queue was not told; workers look in the database meanwhile");
            }
            Ok(JobStatus::Running)
        }
        CancelOutcome::Requested => {
            if let Err(error) = broker.signal_cancel(id).await {
                tracing::warn!(%error, jobId = %id, "the worker learns of a wish to cancel at its next renewal");
            }
            Ok(JobStatus::Running)
        }
    }
}

/// Deletes an ended job and its outputs.
pub(crate) async fn delete_job(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    actor: Actor,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    match state.parts.database.delete_job(id, caller.scope()).await? {
        DeleteOutcome::NotFound => Err(ApiError::job_not_found()),
        DeleteOutcome::NotEnded(status) => {
            let detail = format!("the job is {status}; only an ended job can be deleted");
            Err(ApiError::new(ErrorCode::Conflict, detail).recommend("cancel it first"))
        }
        DeleteOutcome::Deleted => {
            state.forget_ended_job(id);
            actor.note(&state, "job.delete", &id.to_string()).await;
            Ok(HttpResponse::NoContent().finish())
        }
    }
}
