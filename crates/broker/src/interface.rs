//! What a broker does, whichever engine carries it. Knows nothing of databases or ComfyUI.

use std::sync::Arc;

use async_trait::async_trait;
use gateway_core::event::JobEvent;
use gateway_core::progress::Progress;
use gateway_core::workflow::NodeCatalog;
use gateway_core::{JobId, Owner, Priority, Timestamp};
use serde::Serialize;
use tokio::sync::broadcast;

/// A hint that a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The job.
    pub job: JobId,
    /// Its lane.
    pub priority: Priority,
    /// Whose it is.
    pub owner: Owner,
    /// Since when it waits: its place in the lane, and its age.
    pub since: Timestamp,
    /// Not to be handed out earlier.
    pub not_before: Option<Timestamp>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries in all lanes, delayed ones among them.
    pub total: u64,
    /// Entries that wait for their time.
    pub delayed: u64,
}

/// The events of one job from now on.
pub type EventReceiver = broadcast::Receiver<JobEvent>;

/// How a ComfyUI server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Not asked yet.
    Unknown,
    /// Answers and runs prompts.
    Ready,
    /// Does not answer.
    Unreachable,
    /// Answers, but not as ComfyUI does: a proxy or a login in between.
    Misconfigured,
    /// Answers, but runs nothing any more; only a restart of it helps.
    Stuck,
}

/// One ComfyUI server, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    /// Without credentials.
    pub url: String,
    /// How it is.
    pub state: BackendState,
    /// What is wrong and what may help, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// ComfyUI's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Names of its devices.
    pub devices: Vec<String>,
    /// Checkpoints it can load.
    pub checkpoints: Vec<String>,
    /// Prompts that this worker has there.
    pub in_flight: usize,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Takes jobs.
    Running,
    /// Takes none for the moment: the queue is paused.
    Paused,
    /// Takes no more, ends what it has.
    Draining,
}

/// What an operator wants of workers, told at once; the lasting part is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Whether the queue is paused may have changed.
    Pause,
    /// This worker is to take no more jobs.
    Drain {
        /// Which.
        worker: String,
    },
}

/// A worker that lives.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReport {
    /// Unique to this start of the process.
    pub id: String,
    /// What it does.
    pub state: WorkerState,
    /// Its ComfyUI servers.
    pub backends: Vec<BackendReport>,
}

/// The broker could not do it.
#[derive(Debug, thiserror::Error)]
#[error("the queue is not available: {reason}")]
pub struct BrokerError {
    /// Why.
    pub reason: String,
}

/// Carries work, events and signals between the API and the workers.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The name of the engine, as `/health` shows it.
    fn name(&self) -> &'static str;

    /// Adds hints. A job that is hinted at already is not added twice.
    async fn enqueue(&self, entries: Vec<Entry>) -> Result<(), BrokerError>;

    /// Waits for work; hands out between 1 and `max` entries, the most urgent first.
    async fn next(&self, max: usize) -> Result<Vec<Entry>, BrokerError>;

    /// Forgets what hints at a job: it was canceled.
    async fn forget(&self, job: JobId) -> Result<(), BrokerError>;

    /// How much waits.
    async fn depth(&self) -> Result<Depth, BrokerError>;

    /// How many jobs are handed out before this one, plus 1; `None` where it does not wait, or far back.
    async fn position(&self, job: JobId) -> Result<Option<u64>, BrokerError>;

    /// Tells whoever runs `job` that it is to be canceled.
    async fn signal_cancel(&self, job: JobId) -> Result<(), BrokerError>;

    /// The wishes to cancel from now on.
    fn cancels(&self) -> broadcast::Receiver<JobId>;

    /// Tells the workers what an operator wants.
    async fn control(&self, control: Control) -> Result<(), BrokerError>;

    /// What operators want from now on.
    fn controls(&self) -> broadcast::Receiver<Control>;

    /// Tells whoever watches `job`.
    fn publish(&self, job: JobId, event: JobEvent);

    /// The events of `job` from now on.
    fn watch(&self, job: JobId) -> EventReceiver;

    /// How far `job` is, where it runs.
    async fn progress(&self, job: JobId) -> Option<Progress>;

    /// Registers a worker, or renews what is known of it.
    async fn announce(&self, report: WorkerReport);

    /// A worker has ended.
    async fn withdraw(&self, worker_id: &str);

    /// The workers that live.
    async fn workers(&self) -> Vec<WorkerReport>;

    /// Leaves what the ComfyUI at `server` says of its node classes.
    async fn put_node_catalog(&self, server: &str, catalog: Arc<NodeCatalog>);

    /// What the ComfyUI servers say of their node classes, as far as workers have left it.
    async fn node_catalogs(&self) -> Vec<Arc<NodeCatalog>>;
}
