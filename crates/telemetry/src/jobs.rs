//! The one line that a job's change of state has, whoever brings it about.

use gateway_core::{ErrorCode, JobChange, JobStatus, TraceParent};

/// Tells of `change`, which has happened.
pub fn job_changed(change: &JobChange) {
    tracing::info!(
        target: "gateway_job",
        jobId = %change.job,
        workflowId = change.workflow_id,
        correlationId = change.correlation_id,
        traceId = change.trace.map(TraceParent::trace_hex),
        from = change.from.map(JobStatus::as_str),
        to = change.to.as_str(),
        attempt = change.attempt,
        durationMs = change.duration_ms,
        code = change.code.map(ErrorCode::as_str),
        error = change.error,
        notBefore = change.not_before.map(tracing::field::display),
        "job {}",
        change.to
    );
}
