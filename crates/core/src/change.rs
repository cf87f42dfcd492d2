//! A job's way from one state to another, as it is told afterwards: plain data for the log.

use crate::record::Job;
use crate::{ErrorCode, JobError, JobId, JobStatus, Timestamp, TraceParent};

/// One change of state that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// The job.
    pub job: JobId,
    /// Its workflow.
    pub workflow_id: String,
    /// Follows it through every log line.
    pub correlation_id: String,
    /// The trace that it is part of.
    pub trace: Option<TraceParent>,
    /// Where it stood; `None` for one that is new.
    pub from: Option<JobStatus>,
    /// Where it stands now.
    pub to: JobStatus,
    /// Attempts so far.
    pub attempt: i32,
    /// How long it was in the state that it left, in milliseconds, where that is known.
    pub duration_ms: Option<i64>,
    /// Why its run failed.
    pub code: Option<ErrorCode>,
    /// The same in words, with all causes.
    pub error: Option<String>,
    /// When it may be run again.
    pub not_before: Option<Timestamp>,
}

impl JobChange {
    /// `job`, which stood at `from`, stands at `to`.
    pub fn of(job: &Job, from: Option<JobStatus>, to: JobStatus) -> Self {
        Self {
            job: job.id,
            workflow_id: job.workflow_id.clone(),
            correlation_id: job.correlation_id.clone(),
            trace: job.options.trace_parent,
            from,
            to,
            attempt: job.attempt,
            duration_ms: None,
            code: None,
            error: None,
            not_before: None,
        }
    }

    /// With how long it was in the state that it left, in milliseconds.
    #[must_use]
    pub fn after(self, duration_ms: Option<i64>) -> Self {
        Self { duration_ms, ..self }
    }

    /// With why its run failed.
    #[must_use]
    pub fn because_of(self, error: Option<&JobError>) -> Self {
        let words = |error: &JobError| error.cause.as_ref().unwrap_or(&error.message).clone();
        Self { code: error.map(|error| error.code), error: error.map(words), ..self }
    }
}
