//! `POST /queue/pause`, `POST /queue/resume` and `POST /queue/dead/{jobId}/retry`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path};
use gateway_broker::Control;
use gateway_core::{ErrorCode, Scope};
use serde_json::{Value, json};

use crate::audit::Actor;
use crate::auth::Admin;
use crate::body::Nothing;
use crate::error::ApiError;
use crate::jobs::{parse_id, retry};
use crate::state::ApiState;

/// Workers take no more jobs until the queue is resumed; jobs are accepted all the same, and those that run go on.
pub(crate) async fn pause_queue(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    _: Nothing,
) -> Result<Json<Value>, ApiError> {
    set_paused(&state, &actor, true).await
}

/// Workers take jobs again.
pub(crate) async fn resume_queue(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    _: Nothing,
) -> Result<Json<Value>, ApiError> {
    set_paused(&state, &actor, false).await
}

async fn set_paused(state: &ApiState, actor: &Actor, paused: bool) -> Result<Json<Value>, ApiError> {
    state.parts.database.set_queue_paused(paused).await?;
    if let Err(error) = state.parts.broker.control(Control::Pause).await {
        tracing::warn!(%error, "workers learn at their next look whether the queue is paused");
    }
    actor.note(state, if paused { "queue.pause" } else { "queue.resume" }, "queue").await;
    Ok(Json(json!({"paused": paused})))
}

/// A new job with the inputs of one whose workers were lost.
pub(crate) async fn retry_dead(
    state: Data<ApiState>,
    admin: Admin,
    actor: Actor,
    path: Path<String>,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    let job = state.parts.database.find_job(id, Scope::All).await?.ok_or_else(ApiError::job_not_found)?;
    if job.error.as_ref().is_none_or(|error| error.code != ErrorCode::WorkerLost) {
        let error = ApiError::new(ErrorCode::Conflict, "the job did not fail because its workers were lost");
        return Err(error.recommend("POST /jobs/{id}/retry repeats any other job that has ended"));
    }
    let answer = retry(&state, &admin.0, job, actor.correlation().clone()).await?;
    actor.note(&state, "queue.retry", &id.to_string()).await;
    Ok(answer)
}
