//! What everything in a worker shares.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway_broker::{Broker, Entry};
use gateway_config::{
    CacheSettings, ComfySettings, FileSettings, QueueSettings, RetentionSettings, WebhookSettings, WorkerSettings,
};
use gateway_core::access::Terms;
use gateway_core::event::JobEvent;
use gateway_core::workflow::{Workflow, WorkflowSource};
use gateway_core::{JobChange, JobError, JobId};
use gateway_db::{Aftermath, Database, DbError, Job};
use gateway_storage::Storage;
use gateway_telemetry::job_changed;
use moka::sync::Cache;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::active::ActiveJobs;
use crate::backend::Backend;
use crate::runs::Runs;
use crate::{failure, hint};

/// Jobs whose outputs are fetched at the same time, beside those that run.
const COLLECTING: usize = 16;
/// How long what is known of earlier runs is used.
const USUAL_TTL: Duration = Duration::from_secs(30);

/// What a worker is built from.
#[derive(Clone)]
pub struct WorkerParts {
    /// What lasts.
    pub database: Database,
    /// What processes tell each other.
    pub broker: Arc<dyn Broker>,
    /// Outputs.
    pub storage: Arc<dyn Storage>,
    /// The ComfyUI servers.
    pub comfyui: ComfySettings,
    /// The queue.
    pub queue: QueueSettings,
    /// Concurrency, leases, grace.
    pub worker: WorkerSettings,
    /// Messages to the owners of jobs.
    pub webhooks: WebhookSettings,
    /// Results that are used again.
    pub cache: CacheSettings,
    /// Files in and out.
    pub files: FileSettings,
    /// How long what is kept.
    pub retention: RetentionSettings,
    /// Whether nothing of what jobs are about is kept longer than they run, nor told anybody but their owners.
    pub privacy: bool,
    /// The way to the owners of jobs.
    pub egress: gateway_egress::Client,
    /// The version of the gateway.
    pub version: &'static str,
}

/// What everything in a worker shares.
pub(crate) struct Context {
    pub(crate) parts: WorkerParts,
    pub(crate) worker_id: String,
    pub(crate) active: ActiveJobs,
    /// The jobs in hand, as the queue is told of them.
    pub(crate) runs: Runs,
    /// How owners share the servers.
    pub(crate) terms: watch::Sender<Arc<Terms>>,
    pub(crate) collecting: Semaphore,
    /// Pictures that are converted at the same time.
    pub(crate) conversions: Arc<Semaphore>,
    /// The worker ends.
    pub(crate) draining: CancellationToken,
    /// No more jobs are taken: the worker ends, or an operator wants it to take none.
    pub(crate) retired: CancellationToken,
    /// Whether the queue is paused.
    pub(crate) paused: watch::Sender<bool>,
    /// Whether the queue, when it was last told of waiting jobs, did not take them.
    pub(crate) untold: watch::Sender<bool>,
    /// Running jobs are handed back.
    pub(crate) hand_back: CancellationToken,
    /// The ComfyUI servers of this worker.
    pub(crate) fleet: OnceLock<Vec<Arc<Backend>>>,
    /// Jobs under way.
    pub(crate) jobs: TaskTracker,
    /// There are messages to be sent.
    pub(crate) messages: Notify,
    workflows: Cache<(String, i32), Arc<Workflow>>,
    /// How long runs of a workflow usually take on each server, in milliseconds.
    usual: Cache<String, Arc<BTreeMap<String, i64>>>,
}

impl Context {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        let random: u64 = rand::random();
        let draining = CancellationToken::new();
        Self {
            worker_id: format!("w-{random:016x}"),
            active: ActiveJobs::default(),
            runs: Runs::default(),
            terms: watch::channel(Arc::new(Terms { running: parts.queue.owner_running, ..Terms::default() })).0,
            collecting: Semaphore::new(COLLECTING),
            conversions: Arc::new(Semaphore::new(parts.files.conversions)),
            retired: draining.child_token(),
            draining,
            paused: watch::channel(false).0,
            untold: watch::channel(false).0,
            hand_back: CancellationToken::new(),
            fleet: OnceLock::new(),
            jobs: TaskTracker::new(),
            messages: Notify::new(),
            workflows: Cache::new(1_000),
            usual: Cache::builder().max_capacity(1_000).time_to_live(USUAL_TTL).build(),
            parts,
        }
    }

    /// Waits until the queue is paused, or until it is not.
    pub(crate) async fn pause_is(&self, wanted: bool) {
        // The sender lives in self, so the channel can't be closed here.
        let _ = self.paused.subscribe().wait_for(|paused| *paused == wanted).await;
    }

    /// The server of this name, where it is one of this worker's.
    pub(crate) fn backend(&self, name: &str) -> Option<Arc<Backend>> {
        self.fleet.get()?.iter().find(|backend| backend.name() == name).cloned()
    }

    /// The workflow of `job`, in the version that it began with.
    pub(crate) async fn workflow(&self, job: &Job) -> Result<Result<Arc<Workflow>, Box<JobError>>, DbError> {
        let key = (job.workflow_id.clone(), job.workflow_version);
        if let Some(workflow) = self.workflows.get(&key) {
            return Ok(Ok(workflow));
        }
        let Some(record) = self.parts.database.find_workflow(&key.0, Some(key.1)).await? else {
            return Ok(Err(Box::new(failure::workflow_gone())));
        };
        let source = WorkflowSource {
            graph: &record.graph,
            input_schema: Some(&record.summary.input_schema),
            outputs: &record.outputs,
        };
        match Workflow::compile(source, None) {
            Ok(workflow) => {
                let workflow = Arc::new(workflow);
                self.workflows.insert(key, Arc::clone(&workflow));
                Ok(Ok(workflow))
            }
            Err(faults) => Ok(Err(Box::new(failure::invalid_graph(faults)))),
        }
    }

    /// How long a run like this usually takes on the server named `backend`, in milliseconds; `None` where none has
    /// succeeded there lately.
    pub(crate) async fn usual_run(&self, job: &Job, backend: &str) -> Option<i64> {
        let times = match self.usual.get(&job.workflow_id) {
            Some(times) => times,
            None => {
                let times = Arc::new(self.parts.database.usual_runs(&job.workflow_id).await.ok()?);
                self.usual.insert(job.workflow_id.clone(), Arc::clone(&times));
                times
            }
        };
        times.get(backend).copied()
    }

    /// Tells everybody whom the end of a job concerned.
    pub(crate) async fn follow_up(&self, aftermath: Aftermath) {
        for change in aftermath.ended {
            self.parts.broker.publish(change.job, JobEvent::Status(change.to));
            job_ended(&change);
        }
        for job in aftermath.promoted {
            self.enqueue(hint::of(job)).await;
        }
        if aftermath.messages {
            self.messages.notify_one();
        }
    }

    /// Hints the queue at a job that is `queued` in the database.
    pub(crate) async fn enqueue(&self, entry: Entry) {
        let job: JobId = entry.job;
        match self.parts.broker.enqueue(vec![entry]).await {
            Ok(_positions) => {
                if let Err(error) = self.parts.database.mark_dispatched(&[job]).await {
                    tracing::debug!(%error, jobId = %job, "not noted as dispatched; the sweep will tell the queue again");
                }
            }
            Err(error) => tracing::debug!(%error, jobId = %job, "the queue was not told of a job; the sweep will"),
        }
    }
}

/// Tells log and metrics of a job that has ended.
pub(crate) fn job_ended(change: &JobChange) {
    gateway_metrics::job_ended(change);
    job_changed(change);
}
