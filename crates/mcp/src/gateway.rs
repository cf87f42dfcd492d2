//! What the server needs of a gateway, as one caller of it sees it. Knows neither HTTP nor a database.

use bytes::Bytes;
use gateway_core::progress::Progress;
use gateway_core::{Fault, JobStatus, OutputKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// A gateway as one caller sees it. Every call fails with the [`Problem`] that the HTTP API would answer with.
pub trait Gateway: Send + Sync + 'static {
    /// The workflows that the caller may run.
    fn workflows(&self) -> impl Future<Output = Result<Vec<WorkflowInfo>, Problem>> + Send;

    /// Accepts a job of `workflow`; gives its id.
    fn submit(
        &self,
        workflow: &str,
        inputs: Map<String, Value>,
    ) -> impl Future<Output = Result<String, Problem>> + Send;

    /// Follows the job `id` to its end and tells `progress` how far it is. Gives the job; `None` where the gateway stops
    /// before, and the job goes on without it.
    fn follow(
        &self,
        id: &str,
        progress: &watch::Sender<Progress>,
    ) -> impl Future<Output = Result<Option<Job>, Problem>> + Send;

    /// The job `id`.
    fn job(&self, id: &str) -> impl Future<Output = Result<Job, Problem>> + Send;

    /// A page of the caller's jobs, the newest first.
    fn jobs(&self, wish: PageWish) -> impl Future<Output = Result<JobPage, Problem>> + Send;

    /// Cancels the job `id`; gives where it stands now.
    fn cancel(&self, id: &str) -> impl Future<Output = Result<JobStatus, Problem>> + Send;

    /// The bytes of the output `file` of `job`; of a picture in another form, where one is given.
    fn output(&self, job: &str, file: &str, form: Option<Form>) -> impl Future<Output = Result<Bytes, Problem>> + Send;

    /// The address at which `path` of the HTTP API is found.
    fn url(&self, path: &str) -> String;
}

/// A workflow that can be run.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowInfo {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The JSON Schema of its inputs.
    pub input_schema: Value,
}

/// A job, as much of it as agents are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub job_id: String,
    /// The workflow.
    pub workflow_id: String,
    /// Where it stands.
    pub status: JobStatus,
    /// How far it is.
    pub progress: Progress,
    /// How many wait before it, plus 1.
    #[serde(default)]
    pub position: Option<u64>,
    /// What no ComfyUI server has that it needs.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// What it made.
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Failure>,
    /// Its inputs with defaults and the drawn seed.
    #[serde(default)]
    pub resolved_inputs: Map<String, Value>,
}

/// Why a job failed.
#[derive(Debug, Clone, Deserialize)]
pub struct Failure {
    /// The code of the HTTP API.
    pub code: String,
    /// What happened, as a sentence.
    pub message: String,
    /// What can be done about it.
    #[serde(default)]
    pub recommendation: Option<String>,
}

/// What a job made: one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Its name.
    pub file: String,
    /// Its path in the HTTP API.
    pub url: String,
    /// What it is.
    pub kind: OutputKind,
    /// Its media type.
    pub content_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Width and height in pixels, of a picture.
    #[serde(default)]
    pub width: Option<u64>,
    /// See `width`.
    #[serde(default)]
    pub height: Option<u64>,
    /// When its bytes were removed because they were old.
    #[serde(default)]
    pub removed_at: Option<String>,
}

/// Another form of a picture: WebP that fits into a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The side of the square in pixels.
    pub side: u32,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PageWish {
    /// In this state.
    pub status: Option<JobStatus>,
    /// Of this workflow.
    pub workflow_id: Option<String>,
    /// So many at most, 1 to 100.
    pub limit: Option<u32>,
    /// Those behind the page that ended with it.
    pub cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobPage {
    /// The jobs.
    pub items: Vec<Job>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// Why something was not done, in the words of the HTTP API.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Problem {
    /// The code.
    pub code: String,
    /// What is wrong this time.
    pub detail: String,
    /// What can be done.
    #[serde(default)]
    pub recommendation: Option<String>,
    /// Each fault of what was sent.
    #[serde(default, rename = "errors")]
    pub faults: Vec<Fault>,
    /// In how many seconds to try again.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem with nothing to recommend.
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into(), ..Self::default() }
    }

    /// The same, with what can be done.
    #[must_use]
    pub fn recommend(self, text: impl Into<String>) -> Self {
        Self { recommendation: Some(text.into()), ..self }
    }
}
