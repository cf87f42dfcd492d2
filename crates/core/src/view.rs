//! A job as its owner sees it, in answers and in messages. What is not named here is not shown.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::progress::Progress;
use crate::record::{Job, Output};
use crate::{BatchId, JobError, JobId, JobStatus, OutputKind, Timestamp};

/// A job as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView<'a> {
    job_id: JobId,
    workflow_id: &'a str,
    workflow_version: i32,
    status: JobStatus,
    /// How far it is.
    pub progress: Progress,
    /// How many wait before it, plus 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What no ComfyUI server has that it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    attempt: i32,
    priority: &'static str,
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_from: Option<JobId>,
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
    /// What it made.
    pub outputs: Vec<Value>,
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
    batch_id: Option<BatchId>,
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

impl<'a> JobView<'a> {
    /// `job` with its outputs; its progress as far as its state tells it.
    pub fn of(job: &'a Job, outputs: &[Output]) -> Self {
        let run_ms = job.started_at.zip(job.finished_at).map(|(start, end)| end.millis_since(start));
        let total = usize::try_from(job.nodes_total).unwrap_or(0);
        Self {
            job_id: job.id,
            workflow_id: &job.workflow_id,
            workflow_version: job.workflow_version,
            status: job.status,
            progress: match job.status {
                JobStatus::Succeeded => Progress::complete(total),
                _ => Progress { nodes_total: total, ..Progress::default() },
            },
            position: None,
            waiting_for: Vec::new(),
            attempt: job.attempt,
            priority: job.priority.as_str(),
            cached: job.options.cached_from.is_some(),
            cached_from: job.options.cached_from,
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
            batch_id: job.options.batch,
            worker: job.worker_id.as_deref(),
            correlation_id: &job.correlation_id,
        }
    }
}

/// An output as JSON.
pub fn output_view(job: JobId, output: &Output) -> Value {
    let mut view = Map::from_iter(
        [
            ("file", json!(output.file)),
            ("url", json!(format!("/outputs/{job}/{}", output.file))),
            ("nodeId", json!(output.node_id)),
            ("kind", json!(output.kind)),
            ("contentType", json!(output.content_type)),
            ("size", json!(output.size)),
            ("sha256", json!(output.sha256)),
            ("createdAt", json!(output.created_at)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let (Some(width), Some(height)) = (output.width, output.height) {
        view.insert(String::from("width"), json!(width));
        view.insert(String::from("height"), json!(height));
    }
    if output.kind == OutputKind::Image && output.removed_at.is_none() {
        let thumbnail = format!("/outputs/{job}/{}?format=webp&width=256&height=256", output.file);
        view.insert(String::from("thumbnailUrl"), json!(thumbnail));
    }
    if let Some(removed) = output.removed_at {
        view.insert(String::from("removedAt"), json!(removed));
    }
    Value::Object(view)
}
