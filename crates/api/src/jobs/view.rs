//! A job as the API shows it. Never a row: what is not named here is not shown.

use gateway_core::progress::Progress;
use gateway_core::workflow::Needs;
use gateway_core::{JobError, JobId, JobStatus, Timestamp};
use gateway_db::{Job, Output};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::jobs::prepare::missing;
use crate::state::ApiState;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobView<'a> {
    job_id: JobId,
    workflow_id: &'a str,
    workflow_version: i32,
    status: JobStatus,
    progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// What no ComfyUI server has that it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_for: Vec<String>,
    attempt: i32,
    priority: &'static str,
    cached: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancel_requested: bool,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    timings: Timings,
    outputs: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a JobError>,
    metadata: &'a Map<String, Value>,
    inputs: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    params: &'a Map<String, Value>,
    resolved_inputs: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    correlation_id: &'a str,
}

/// Milliseconds; each only once it is known.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_ms: Option<i64>,
}

/// The job as JSON.
pub(super) async fn render(state: &ApiState, job: &Job, outputs: &[Output]) -> Result<Vec<u8>, ApiError> {
    let broker = &state.parts.broker;
    let total = usize::try_from(job.nodes_total).unwrap_or(0);
    let idle = || Progress { nodes_total: total, ..Progress::default() };
    let progress = match job.status {
        JobStatus::Succeeded => Progress::complete(total),
        JobStatus::Running => broker.progress(job.id).await.unwrap_or_else(idle),
        _ => idle(),
    };
    let position = match job.status {
        JobStatus::Queued => broker.position(job.id).await.unwrap_or_default(),
        _ => None,
    };
    let mut view = view(job, outputs, progress, position);
    if job.status == JobStatus::Queued {
        view.waiting_for = waiting_for(state, job).await;
    }
    serde_json::to_vec(&view).map_err(|error| {
        tracing::error!(%error, "a job could not be shown");
        ApiError::new(gateway_core::ErrorCode::Internal, "the job could not be shown")
    })
}

/// What every ComfyUI server that is known lacks to run a job.
async fn waiting_for(state: &ApiState, job: &Job) -> Vec<String> {
    let catalogs = state.catalogs().await;
    if catalogs.is_empty() {
        return Vec::new();
    }
    let Ok(ready) = state.workflow(&job.workflow_id).await else { return Vec::new() };
    if ready.record.summary.version != job.workflow_version {
        return Vec::new();
    }
    let Ok(graph) = ready.workflow.render(&job.resolved) else { return Vec::new() };
    missing(&Needs::of(&graph), &catalogs).iter().map(ToString::to_string).collect()
}

fn view<'a>(job: &'a Job, outputs: &[Output], progress: Progress, position: Option<u64>) -> JobView<'a> {
    let run_ms = job.started_at.zip(job.finished_at).map(|(start, end)| end.millis_since(start));
    JobView {
        job_id: job.id,
        workflow_id: &job.workflow_id,
        workflow_version: job.workflow_version,
        status: job.status,
        progress,
        position,
        waiting_for: Vec::new(),
        attempt: job.attempt,
        priority: job.priority.as_str(),
        cached: false,
        cancel_requested: job.cancel_requested,
        created_at: job.created_at,
        not_before: job.not_before,
        started_at: job.started_at,
        finished_at: job.finished_at,
        timings: Timings {
            queued_ms: job.started_at.map(|start| start.millis_since(job.created_at)),
            run_ms: run_ms.map(|run| run.saturating_sub(job.store_ms.unwrap_or(0)).max(0)),
            store_ms: job.store_ms,
        },
        outputs: outputs.iter().map(|output| output_view(job.id, output)).collect(),
        error: job.error.as_ref(),
        metadata: &job.metadata,
        inputs: &job.inputs,
        params: &job.params,
        resolved_inputs: &job.resolved,
        retry_of: job.retry_of,
        worker: job.worker_id.as_deref(),
        correlation_id: &job.correlation_id,
    }
}

/// An output as the API shows it.
pub(crate) fn output_view(job: JobId, output: &Output) -> Value {
    let mut view = json!({
        "file": output.file,
        "url": format!("/outputs/{job}/{}", output.file),
        "nodeId": output.node_id,
        "kind": output.kind,
        "contentType": output.content_type,
        "size": output.size,
        "sha256": output.sha256,
        "createdAt": output.created_at,
    });
    if let (Some(object), Some(width), Some(height)) = (view.as_object_mut(), output.width, output.height) {
        object.insert(String::from("width"), json!(width));
        object.insert(String::from("height"), json!(height));
    }
    view
}
