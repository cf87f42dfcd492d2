//! `POST /batches/{id}/cancel`: every job of it that has not ended.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use gateway_core::ErrorCode;
use serde_json::json;

use crate::auth::Caller;
use crate::batches::{not_found, parse_id};
use crate::body::Nothing;
use crate::error::ApiError;
use crate::jobs::cancel_one;
use crate::state::ApiState;

const PAGE: i64 = 200;

/// Cancels all jobs of a batch: queued ones at once, running ones by asking their workers.
pub(crate) async fn cancel_batch(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&path)?;
    let scope = caller.scope();
    let database = &state.parts.database;
    let batch = database.find_batch(id, scope.clone()).await?.ok_or_else(not_found)?;
    if batch.ended_at.is_some() {
        return Err(ApiError::new(ErrorCode::Conflict, "all jobs of the batch have ended"));
    }
    let (mut after, mut canceled) = (0, 0);
    loop {
        let page = database.open_jobs_of(id, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (_, job) in page {
            match cancel_one(&state, job, scope.clone()).await {
                Ok(_) => canceled += 1,
                // It has ended or was deleted meanwhile.
                Err(error) if matches!(error.code, ErrorCode::Conflict | ErrorCode::JobNotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(HttpResponse::Accepted().json(json!({"batchId": id, "cancelRequested": true, "jobs": canceled})))
}
