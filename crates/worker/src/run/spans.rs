//! What lines of a run are told under, and its part of the trace that its job came with. Never what the job is about.

use gateway_core::{ErrorCode, TraceParent};
use gateway_db::Job;
use gateway_telemetry::{Kind, TraceSpan};
use tracing::{Instrument as _, Span};

use crate::backend::Backend;
use crate::context::Context;

/// The spans of one run.
#[derive(Clone)]
pub(crate) struct Spans {
    /// Lends its fields to lines.
    around: Span,
    /// Part of the trace.
    trace: TraceSpan,
}

impl Spans {
    pub(super) fn of(context: &Context, backend: &Backend, job: &Job) -> Self {
        let (worker, backend) = (context.worker_id.as_str(), backend.name());
        let trace = TraceSpan::begin("run", Kind::Consumer, job.options.trace_parent);
        trace.set_text("jobId", job.id);
        trace.set_text("workflowId", &job.workflow_id);
        trace.set_text("correlationId", &job.correlation_id);
        trace.set_number("attempt", job.attempt);
        trace.set_text("worker", worker);
        trace.set_text("backend", backend);
        let parent = trace.context().or(job.options.trace_parent);
        let around = tracing::error_span!(
            "run",
            jobId = %job.id,
            workflowId = job.workflow_id,
            correlationId = job.correlation_id,
            attempt = job.attempt,
            worker,
            backend,
            traceId = parent.map(TraceParent::trace_hex),
        );
        Self { around, trace }
    }

    /// `run` within them.
    pub(super) fn around<T>(&self, run: impl Future<Output = T>) -> impl Future<Output = T> {
        self.trace.around(run).instrument(self.around.clone())
    }

    /// Another attempt has begun within the run.
    pub(super) fn attempt(&self, attempt: i32) {
        self.around.record("attempt", attempt);
        self.trace.set_number("attempt", attempt);
    }

    /// It has failed.
    pub(super) fn failed(&self, code: ErrorCode) {
        self.trace.set_text("code", code);
        self.trace.fail();
    }
}
