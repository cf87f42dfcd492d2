//! `GET /jobs/stats`.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use serde_json::{Value, json};

use crate::auth::Admin;
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

/// Figures over all jobs.
pub(crate) async fn job_stats(state: Data<ApiState>, _: Admin, request: HttpRequest) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let stats = state.parts.database.job_stats().await?;
    let now = state.parts.database.now();
    Ok(Json(json!({
        "jobs": stats.by_status,
        "queue": {
            "byPriority": stats.queued_by_priority,
            "oldestWaitMs": stats.oldest_queued.map(|since| now.millis_since(since)),
        },
        "processing": {"averageMs": stats.average_run_ms, "p95Ms": stats.p95_run_ms},
        "cacheHitRate": stats.cache_hit_rate,
    })))
}
