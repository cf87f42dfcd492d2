//! A job as the API shows it: its record, and what the queue, the workers and the storage know of it at the moment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_core::record::{Job, Output};
use gateway_core::view::JobView;
use gateway_core::workflow::Needs;
use gateway_core::{ErrorCode, JobStatus};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::jobs::prepare::{missing, without_files};
use crate::state::ApiState;
use crate::stored::read_all;

/// The job as JSON; `inline`: with its outputs' bytes.
pub(super) async fn render(state: &ApiState, job: &Job, outputs: &[Output], inline: bool) -> Result<String, ApiError> {
    let broker = &state.parts.broker;
    let mut view = JobView::of(job, outputs);
    match job.status {
        JobStatus::Running => {
            if let Some(progress) = broker.progress(job.id).await {
                view.progress = progress;
            }
        }
        JobStatus::Queued if !job.joined => {
            view.position = broker.position(job.id).await.unwrap_or_default();
            view.waiting_for = waiting_for(state, job).await;
            view.progress.eta_seconds = match view.position {
                Some(position) if view.waiting_for.is_empty() => state.expected(&job.workflow_id, position).await,
                _ => None,
            };
        }
        _ => {}
    }
    if inline {
        insert_bytes(state, outputs, &mut view.outputs).await?;
    }
    serde_json::to_string(&view).map_err(|error| {
        tracing::error!(%error, jobId = %job.id, "a job could not be shown");
        ApiError::internal()
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
    let Ok(graph) = ready.workflow.render(&without_files(&ready.workflow, &job.resolved)) else { return Vec::new() };
    missing(&Needs::of(&graph), &catalogs).iter().map(ToString::to_string).collect()
}

/// Whether the bytes of `outputs` may stand in one answer.
pub(crate) fn fits(state: &ApiState, outputs: &[Output]) -> bool {
    total(outputs) <= state.parts.files.max_inline_bytes
}

/// In bytes.
fn total(outputs: &[Output]) -> u64 {
    let here = outputs.iter().filter(|output| output.removed_at.is_none());
    here.filter_map(|output| u64::try_from(output.size).ok()).sum()
}

/// Why they may not.
pub(crate) fn too_much(state: &ApiState, outputs: &[Output]) -> ApiError {
    let (total, limit) = (total(outputs), state.parts.files.max_inline_bytes);
    let detail = format!("the outputs are {total} bytes; at most {limit} are put into one answer");
    ApiError::new(ErrorCode::PayloadTooLarge, detail)
}

/// Adds to each output its bytes as Base64.
async fn insert_bytes(state: &ApiState, outputs: &[Output], views: &mut [Value]) -> Result<(), ApiError> {
    if !fits(state, outputs) {
        return Err(too_much(state, outputs).recommend(
            "fetch each output by its URL, which GET /outputs/{jobId} lists; an operator can raise MAX_INLINE_BYTES",
        ));
    }
    for (output, view) in outputs.iter().zip(views).filter(|(output, _)| output.removed_at.is_none()) {
        let bytes = read_all(&*state.parts.storage, &output.storage_key).await?;
        if let Some(object) = view.as_object_mut() {
            object.insert(String::from("base64"), json!(STANDARD.encode(bytes)));
        }
    }
    Ok(())
}
