//! What comes in and goes out beside the jobs themselves.

use std::time::Duration;

use gateway_core::event::LogLine;
use gateway_core::record::{Job, JobOptions};
use gateway_core::workflow::NeedsId;
use gateway_core::{JobId, Owner, Priority, Timestamp, UploadId};
use serde_json::{Map, Value};

use crate::jobs::QueuedJob;

/// A job to be accepted. Its time of acceptance is that of its id.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, which no job has had. It holds the time of acceptance, by which waiting jobs of one priority are ordered.
    pub id: JobId,
    /// Whose it is: who may see it, and whose limits it counts for.
    pub owner: Owner,
    /// The id of a workflow that is registered.
    pub workflow_id: String,
    /// The version of the workflow that it runs, whatever comes later; the first is 1.
    pub workflow_version: i32,
    /// Its lane in the queue.
    pub priority: Priority,
    /// The workflow's inputs as the caller gave them, files by their uploads.
    pub inputs: Map<String, Value>,
    /// The workflow's params as the caller gave them.
    pub params: Map<String, Value>,
    /// Inputs and params with defaults and the drawn seed: what the graph is rendered from.
    pub resolved: Map<String, Value>,
    /// The caller's own notes; nothing is done by them but for `requestId`.
    pub metadata: Map<String, Value>,
    /// `metadata.requestId`: 1 to 255 characters by which its owner finds it.
    pub request_id: Option<String>,
    /// Follows the job through every log line.
    pub correlation_id: String,
    /// The longest run of one attempt in ComfyUI, in milliseconds; `COMFYUI_TIMEOUT_MS` holds where it is `None`.
    pub timeout_ms: Option<i64>,
    /// It waits at least until then; `None` where it may run at once.
    pub not_before: Option<Timestamp>,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// How many nodes its graph has, against which progress is counted.
    pub nodes_total: i32,
    /// What its graph needs of a server; `None` where that is not known.
    pub needs: Option<NeedsId>,
    /// What its owner wants besides.
    pub options: JobOptions,
}

/// A job to be accepted, with what decides whether it is to be run at all.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The job.
    pub job: NewJob,
    /// The key that the sender gave the request.
    pub request: Option<RequestKey>,
    /// The job whose outputs are its result, where they were found in the cache and are still there.
    pub hit: Option<JobId>,
    /// Uploaded files that it uses.
    pub uploads: Vec<UploadId>,
}

impl Acceptance {
    /// Whose turns accepting it takes: that of its result, that of its request, and those of its uploads, which go with
    /// a job that has ended.
    pub(crate) fn turns(&self) -> Vec<String> {
        let request = self.request.as_ref().map(|request| request.turn(&self.job.owner));
        let uploads = self.uploads.iter().map(ToString::to_string);
        self.job.options.cache_key.iter().cloned().chain(request).chain(uploads).collect()
    }
}

impl From<NewJob> for Acceptance {
    fn from(job: NewJob) -> Self {
        Self { job, request: None, hit: None, uploads: Vec::new() }
    }
}

impl From<&NewJob> for Acceptance {
    fn from(job: &NewJob) -> Self {
        job.clone().into()
    }
}

/// What tells a repeated request from a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The sender's key; its owner's own.
    pub key: String,
    /// The digest of the request's body.
    pub body_hash: String,
}

impl RequestKey {
    /// The name under which those who send it, as `owner`, take turns.
    pub(crate) fn turn(&self, owner: &Owner) -> String {
        format!("request:{}:{}", owner.as_str(), self.key)
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It waits to be run.
    Queued,
    /// It waits for an identical job. The queue is to hear of that one anew where it became more urgent.
    Joined(Option<QueuedJob>),
    /// It has its result.
    Hit,
    /// The key was used for the same request before: this job (or batch) came of it.
    Repeated(String),
    /// The key was used for another request.
    KeyReused,
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
    /// Whether there are messages to be sent.
    pub messages: bool,
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
