//! `GET /jobs/{id}/logs`.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};
use gateway_core::JobStatus;
use gateway_core::event::{LogLevel, LogLine};
use gateway_db::Job;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::jobs::parse_id;
use crate::query::Query;
use crate::state::ApiState;

/// The log of one job. Its beginning and end are told from the job itself.
pub(crate) async fn list_logs(
    state: Data<ApiState>,
    path: Path<String>,
    caller: Caller,
    request: HttpRequest,
) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let id = parse_id(&path)?;
    let database = &state.parts.database;
    let job = database.find_job(id, caller.scope()).await?.ok_or_else(ApiError::job_not_found)?;
    let mut lines = database.logs_of(id).await?;
    lines.extend(milestones(&job));
    lines.sort_by_key(|line| line.time);
    Ok(Json(json!({"items": lines})))
}

fn milestones(job: &Job) -> Vec<LogLine> {
    let line = |time, level, event: &str, message: String| LogLine {
        time,
        level,
        event: event.to_owned(),
        message,
        node: None,
    };
    let mut lines = vec![line(
        job.created_at,
        LogLevel::Info,
        "accepted",
        format!("accepted for workflow {} version {}", job.workflow_id, job.workflow_version),
    )];
    if let Some(time) = job.started_at {
        lines.push(line(time, LogLevel::Info, "started", String::from("taken by a worker")));
    }
    if let Some(time) = job.finished_at {
        let (level, message) = match (&job.error, job.status) {
            (Some(error), _) => (LogLevel::Error, format!("failed: {}: {}", error.code, error.message)),
            (None, JobStatus::Canceled) => (LogLevel::Warn, String::from("canceled")),
            (None, status) => (LogLevel::Info, status.to_string()),
        };
        lines.push(line(time, level, job.status.as_str(), message));
    }
    lines
}
