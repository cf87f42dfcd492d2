//! Jobs and outputs as the rest of the gateway sees them.

use std::time::Duration;

use gateway_core::event::LogLine;
use gateway_core::workflow::NeedsId;
use gateway_core::{JobError, JobId, JobStatus, OutputKind, Owner, Priority, Timestamp};
use serde_json::{Map, Value};

/// A job to be accepted. Its time of acceptance is that of its id.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: Owner,
    /// The workflow.
    pub workflow_id: String,
    /// The workflow's version at acceptance.
    pub workflow_version: i32,
    /// Its lane.
    pub priority: Priority,
    /// As the caller gave them.
    pub inputs: Map<String, Value>,
    /// As the caller gave them.
    pub params: Map<String, Value>,
    /// Inputs and params with defaults and the drawn seed.
    pub resolved: Map<String, Value>,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// `metadata.requestId`.
    pub request_id: Option<String>,
    /// Follows the job through every log line.
    pub correlation_id: String,
    /// Longest run, where the caller gave one.
    pub timeout_ms: Option<i64>,
    /// Not to be run earlier.
    pub not_before: Option<Timestamp>,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Nodes of the workflow.
    pub nodes_total: i32,
    /// What its graph needs of a server.
    pub needs: Option<NeedsId>,
}

/// A job.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of NewJob and of the API's job")]
pub struct Job {
    pub id: JobId,
    pub owner: Owner,
    pub workflow_id: String,
    pub workflow_version: i32,
    pub status: JobStatus,
    pub priority: Priority,
    pub inputs: Map<String, Value>,
    pub params: Map<String, Value>,
    pub resolved: Map<String, Value>,
    pub metadata: Map<String, Value>,
    pub request_id: Option<String>,
    pub correlation_id: String,
    pub timeout_ms: Option<i64>,
    pub not_before: Option<Timestamp>,
    pub retry_of: Option<JobId>,
    pub nodes_total: i32,
    pub attempt: i32,
    pub crashes: i32,
    pub epoch: i64,
    pub worker_id: Option<String>,
    pub backend: Option<String>,
    pub prompt_id: Option<String>,
    pub cancel_requested: bool,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub store_ms: Option<i64>,
    pub error: Option<JobError>,
    pub needs: Option<NeedsId>,
}

/// An output that is stored whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name in URLs; ours, never ComfyUI's.
    pub file: String,
    /// The node that made it.
    pub node_id: String,
    /// What it is.
    pub kind: OutputKind,
    /// By content.
    pub content_type: String,
    /// In bytes.
    pub size: i64,
    /// Lower-case hex.
    pub sha256: String,
    /// In pixels, for pictures.
    pub width: Option<i32>,
    /// In pixels, for pictures.
    pub height: Option<i32>,
    /// Where the storage has it.
    pub storage_key: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// Who claims, and for how long.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The worker.
    pub worker_id: String,
    /// The ComfyUI server that will run the prompt.
    pub backend: String,
    /// How long the claim holds without renewal.
    pub lease: Duration,
}

/// A job that was claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job, as it is after the claim.
    pub job: Job,
    /// Whether the prompt id is that of an earlier claim that may have reached ComfyUI: look for it there
    /// before anything is sent.
    pub look_first: bool,
}

/// One claim: what each later write of the worker must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The epoch of the claim.
    pub epoch: i64,
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The claim.
    pub lease: Lease,
    /// Whether it still holds. If not, somebody else has the job: stop, write nothing.
    pub held: bool,
    /// Whether the owner wants the job canceled.
    pub cancel_requested: bool,
}

/// How a job goes back to the queue.
#[derive(Debug, Clone)]
pub struct Release {
    /// Not before this time.
    pub not_before: Option<Timestamp>,
    /// Whether the attempt counts. A hand-back without any run does not.
    pub used_attempt: bool,
    /// Whether the prompt may still be in ComfyUI, so that the next claim must look for it.
    pub prompt_may_live: bool,
    /// What to add to the job's log.
    pub logs: Vec<LogLine>,
}
