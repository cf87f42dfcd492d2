//! A job and its outputs as they are kept: plain data. How they are stored belongs to gateway-db, how they are shown to
//! [`crate::view`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::webhook::Callback;
use crate::workflow::NeedsId;
use crate::{BatchId, JobError, JobId, JobStatus, OutputKind, Owner, Priority, Timestamp, TraceParent};

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: Owner,
    /// The workflow.
    pub workflow_id: String,
    /// The workflow's version at acceptance.
    pub workflow_version: i32,
    /// Where it stands.
    pub status: JobStatus,
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
    /// Longest run in milliseconds, where the caller gave one.
    pub timeout_ms: Option<i64>,
    /// Not to be run earlier.
    pub not_before: Option<Timestamp>,
    /// The job that this one repeats.
    pub retry_of: Option<JobId>,
    /// Nodes of the workflow.
    pub nodes_total: i32,
    /// Attempts so far.
    pub attempt: i32,
    /// Workers that it has lost.
    pub crashes: i32,
    /// The number of its latest claim.
    pub epoch: i64,
    /// Who has claimed it.
    pub worker_id: Option<String>,
    /// The ComfyUI server of the claim.
    pub backend: Option<String>,
    /// The id of its prompt there.
    pub prompt_id: Option<String>,
    /// Whether its owner wants it canceled.
    pub cancel_requested: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long collecting its outputs took.
    pub store_ms: Option<i64>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// What its graph needs of a server.
    pub needs: Option<NeedsId>,
    /// What its owner wants besides.
    pub options: JobOptions,
    /// Whether it waits for an identical job and takes over what that one makes.
    pub joined: bool,
}

/// What the owner of a job wants besides having it run, and what else came with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobOptions {
    /// Who is to be told how it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// Whether answers hold the outputs' bytes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
    /// The format that pictures are stored in, where not that of ComfyUI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The quality of that format, 1–100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u32>,
    /// The name of its result in the cache; `None` where the cache has no part in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// Whether it was to wait for an identical job.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// The job whose outputs these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<JobId>,
    /// The batch that it is one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// Whether what it was about was taken out of its record when it ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The trace of the request that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<TraceParent>,
}

/// What stands in place of a value that is not kept.
pub const REDACTED: &str = "[redacted]";

/// Puts [`REDACTED`] in place of every value; the names stay.
pub fn redact(values: &mut Map<String, Value>) {
    for value in values.values_mut() {
        *value = Value::from(REDACTED);
    }
}

impl Job {
    /// Takes out what it is about: what its caller gave, and what was made of that.
    pub fn redact(&mut self) {
        for values in [&mut self.inputs, &mut self.params, &mut self.resolved] {
            redact(values);
        }
    }

    /// Whether it can't be run anew because what its caller gave is gone.
    pub fn is_forgotten(&self) -> bool {
        self.options.redacted && !(self.inputs.is_empty() && self.params.is_empty())
    }
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
    /// When its bytes were removed because they were old.
    pub removed_at: Option<Timestamp>,
}
