//! What lines of a run are told under, and its part of the trace that its job came with. Never what the job is about.

use gateway_core::ErrorCode;
use gateway_db::Job;
use gateway_telemetry::{TRACE, continue_trace, trace_of};
use tracing::field::Empty;
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};

use crate::backend::Backend;
use crate::context::Context;

/// The spans of one run.
#[derive(Clone)]
pub(crate) struct Spans {
    /// Lends its fields to lines.
    around: Span,
    /// Part of the trace.
    trace: Span,
}

impl Spans {
    pub(super) fn of(context: &Context, backend: &Backend, job: &Job) -> Self {
        let (worker, backend) = (context.worker_id.as_str(), backend.name());
        let trace = tracing::info_span!(
            target: TRACE,
            "run",
            otel.kind = "consumer",
            otel.status_code = Empty,
            code = Empty,
            jobId = %job.id,
            workflowId = job.workflow_id,
            correlationId = job.correlation_id,
            attempt = job.attempt,
            worker,
            backend,
        );
        continue_trace(&trace, job.options.trace_parent);
        let parent = trace_of(&trace).or(job.options.trace_parent);
        let around = tracing::error_span!(
            "run",
            jobId = %job.id,
            workflowId = job.workflow_id,
            correlationId = job.correlation_id,
            attempt = job.attempt,
            worker,
            backend,
            traceId = parent.map(|parent| format!("{:032x}", parent.trace_id())),
        );
        Self { around, trace }
    }

    /// `run` within them.
    pub(super) fn around<T>(&self, run: T) -> Instrumented<Instrumented<T>> {
        run.instrument(self.trace.clone()).instrument(self.around.clone())
    }

    /// Another attempt has begun within the run.
    pub(super) fn attempt(&self, attempt: i32) {
        self.around.record("attempt", attempt);
        self.trace.record("attempt", attempt);
    }

    /// It has failed.
    pub(super) fn failed(&self, code: ErrorCode) {
        self.trace.record("code", code.as_str());
        self.trace.record("otel.status_code", "ERROR");
    }
}
