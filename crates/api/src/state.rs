//! What handlers share: the stores, the settings, and what is remembered for a moment of what costs to ask.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_auth::limit::Limiter;
use gateway_broker::{BackendState, Broker};
use gateway_config::{
    AccessSettings, CacheSettings, Environment, FileSettings, HttpSettings, ImageSettings, LimitSettings, McpSettings,
    QueueSettings,
};
use gateway_core::cache::digest;
use gateway_core::workflow::{NodeCatalog, NodePolicy, SizeLimits, Workflow, WorkflowSource};
use gateway_core::{CursorKey, JobId, JobIdSequence, Owner, Timestamp};
use gateway_db::{Database, DbError, StoredKey, WorkflowRecord};
use gateway_metrics::Exposition;
use gateway_storage::Storage;
use moka::sync::Cache;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::error::ApiError;
use crate::jobs::Rules;
use crate::metrics::{self, Fleet};
use crate::outputs::Conversions;

/// How long a workflow is used without a look whether another process has replaced it.
const WORKFLOW_TTL: Duration = Duration::from_secs(1);
/// How long a stored key is used without a look whether it was revoked.
const KEY_TTL: Duration = Duration::from_millis(800);
/// Callers that are remembered at the same time.
const LIMITED: usize = 100_000;
/// How long what is known of the pace of runs is used.
const PACE_TTL: Duration = Duration::from_secs(5);
/// How long it is gathered what the queue was told before that is noted together.
const DISPATCH_GATHER: Duration = Duration::from_millis(100);
/// How long a count of waiting jobs counts that many processes add to.
const DEPTH_TTL: Duration = Duration::from_millis(100);
const DISPATCH_BATCH: usize = 512;
/// Ended jobs whose answers are kept.
const ENDED_JOBS: u64 = 10_000;
/// They never change, but their files may be deleted by another process.
const ENDED_TTL: Duration = Duration::from_secs(5);

/// What the API is built from.
#[derive(Clone)]
pub struct Parts {
    /// What lasts.
    pub database: Database,
    /// What processes tell each other.
    pub broker: Arc<dyn Broker>,
    /// Outputs.
    pub storage: Arc<dyn Storage>,
    /// Development, test or production.
    pub environment: Environment,
    /// The HTTP server.
    pub http: HttpSettings,
    /// What a job may ask for.
    pub limits: LimitSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// Results that are used again.
    pub cache: CacheSettings,
    /// Files in and out.
    pub files: FileSettings,
    /// Tools for agents.
    pub mcp: McpSettings,
    /// OpenAI's images API.
    pub images: ImageSettings,
    /// The way to the owners of jobs.
    pub callbacks: gateway_egress::Client,
    /// The way to files that callers name by URL.
    pub sources: gateway_egress::Client,
    /// Who may do what.
    pub access: AccessSettings,
    /// Whether this process alone works the queue, so that readiness depends on ComfyUI.
    pub embedded: bool,
    /// What is measured in this process.
    pub metrics: Arc<Exposition>,
    /// The version of the gateway.
    pub version: &'static str,
}

/// A workflow that is ready for use.
pub(crate) struct Ready {
    pub(crate) record: WorkflowRecord,
    pub(crate) workflow: Workflow,
    /// What tells its graph from that of another version.
    pub(crate) content: String,
}

/// A job as it is answered.
#[derive(Clone)]
pub(crate) struct ShownJob {
    pub(crate) owner: Owner,
    pub(crate) body: Bytes,
    pub(crate) etag: String,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) parts: Arc<Parts>,
    pub(crate) cursor_key: CursorKey,
    pub(crate) started: Instant,
    ids: Arc<Mutex<JobIdSequence>>,
    /// Jobs of which the queue was told, or could not be.
    dispatched: mpsc::UnboundedSender<(JobId, bool)>,
    /// Turns true when the server stops: streams that would never end by themselves end then.
    pub(crate) stopping: Arc<watch::Sender<bool>>,
    depth: Arc<tokio::sync::Mutex<Option<(Instant, u64)>>>,
    /// How all of the gateway is, for whoever watches it.
    pub(crate) fleet: Arc<Fleet>,
    /// Turns true when a stop was asked for: load balancers are to look elsewhere.
    pub(crate) leaving: Arc<AtomicBool>,
    /// Counts requests while the processes' common count is away.
    pub(crate) limiter: Arc<Limiter>,
    /// Keys as they are stored, of a moment ago: one that is revoked is turned away within that time.
    pub(crate) keys: Cache<String, Option<Arc<StoredKey>>>,
    /// When keys were last noted as used.
    pub(crate) key_uses: Cache<String, Timestamp>,
    open: Cache<(), bool>,
    pub(crate) conversions: Conversions,
    workflows: Cache<String, Arc<Ready>>,
    /// Which node classes graphs of callers may have.
    policy: Cache<(), Arc<NodePolicy>>,
    /// How long runs of a workflow usually take, in milliseconds, and how many servers there are for them.
    pace: Cache<String, Option<(i64, u64)>>,
    /// Jobs that have ended.
    ended: Cache<JobId, ShownJob>,
}

impl ApiState {
    /// The shared state over `parts`.
    ///
    /// # Errors
    /// [`DbError`] where the database does not give the secret for page cursors.
    pub async fn new(parts: Parts) -> Result<Self, DbError> {
        metrics::begin();
        let (dispatched, told) = mpsc::unbounded_channel();
        tokio::spawn(note_dispatches(parts.database.clone(), told));
        let cursor_key = parts.database.cursor_key(rand::random()).await?;
        Ok(Self {
            limiter: Arc::new(Limiter::new(LIMITED)),
            keys: Cache::builder().max_capacity(LIMITED as u64).time_to_live(KEY_TTL).build(),
            key_uses: Cache::builder().max_capacity(LIMITED as u64).time_to_live(Duration::from_secs(120)).build(),
            open: Cache::builder().max_capacity(1).time_to_live(KEY_TTL).build(),
            conversions: Conversions::new(parts.files.conversions),
            parts: Arc::new(parts),
            cursor_key,
            ids: Arc::default(),
            dispatched,
            stopping: Arc::new(watch::channel(false).0),
            started: Instant::now(),
            depth: Arc::default(),
            fleet: Arc::default(),
            leaving: Arc::default(),
            pace: Cache::builder().max_capacity(1_000).time_to_live(PACE_TTL).build(),
            workflows: Cache::builder().max_capacity(1_000).time_to_live(WORKFLOW_TTL).build(),
            policy: Cache::builder().max_capacity(1).time_to_live(WORKFLOW_TTL).build(),
            ended: Cache::builder().max_capacity(ENDED_JOBS).time_to_live(ENDED_TTL).build(),
        })
    }

    /// How many jobs wait: as the queue says, or while that is away the database; of a moment ago where asking costs.
    pub(crate) async fn depth(&self) -> Result<u64, ApiError> {
        if !self.parts.broker.is_shared() {
            return Ok(self.parts.broker.depth().await?.total);
        }
        let mut known = self.depth.lock().await;
        if let Some((_, depth)) = known.filter(|(at, _)| at.elapsed() < DEPTH_TTL) {
            tracing::trace!("depth as read before");
            return Ok(depth);
        }
        let depth = match self.parts.broker.depth().await {
            Ok(depth) => depth.total,
            Err(_away) => self.parts.database.count_queued().await?,
        };
        *known = Some((Instant::now(), depth));
        Ok(depth)
    }

    /// Whether no credentials are asked for: there are none.
    pub(crate) async fn is_open(&self) -> Result<bool, ApiError> {
        if self.parts.access.knows_callers() {
            return Ok(false);
        }
        if let Some(open) = self.open.get(&()) {
            return Ok(open);
        }
        let open = !self.parts.database.has_keys().await?;
        self.open.insert((), open);
        Ok(open)
    }

    /// A key was made or revoked.
    pub(crate) fn forget_key(&self, id: &str) {
        self.keys.invalidate(id);
        self.open.invalidate(&());
    }

    /// A new id, now: jobs sort in the order in which they were accepted.
    pub(crate) fn new_job_id(&self) -> JobId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.next(self.parts.database.now(), rand::random())
    }

    /// The workflow `id` in its current version, compiled.
    pub(crate) async fn workflow(&self, id: &str) -> Result<Arc<Ready>, ApiError> {
        if let Some(ready) = self.workflows.get(id) {
            return Ok(ready);
        }
        let Some(record) = self.parts.database.find_workflow(id, None).await? else {
            return Err(ApiError::workflow_not_found());
        };
        let source = WorkflowSource {
            graph: &record.graph,
            input_schema: Some(&record.summary.input_schema),
            outputs: &record.outputs,
        };
        let workflow = Workflow::compile(source, None).map_err(|faults| {
            ApiError::invalid(faults)
                .recommend("this workflow was stored by another version of the gateway; register it again")
        })?;
        let content = digest(&json!([record.graph, record.outputs]));
        let ready = Arc::new(Ready { record, workflow, content });
        self.workflows.insert(id.to_owned(), Arc::clone(&ready));
        Ok(ready)
    }

    /// Seconds until a job of `workflow` that waits at `position` may be done: those ahead are taken to run as long, on
    /// all servers that can be used. `None` where no run is known.
    pub(crate) async fn expected(&self, workflow: &str, position: u64) -> Option<u64> {
        let pace = match self.pace.get(workflow) {
            Some(pace) => pace,
            None => {
                let pace = self.look_at_pace(workflow).await;
                self.pace.insert(workflow.to_owned(), pace);
                pace
            }
        };
        let (usual_ms, servers) = pace?;
        let rounds = position.div_ceil(servers.max(1));
        u64::try_from(usual_ms).ok().map(|usual| usual.saturating_mul(rounds).div_ceil(1000))
    }

    async fn look_at_pace(&self, workflow: &str) -> Option<(i64, u64)> {
        let times = self.parts.database.usual_runs(workflow).await.ok()?;
        let count = i64::try_from(times.len()).ok().filter(|count| *count > 0)?;
        let workers = self.parts.broker.workers().await;
        let backends = workers.iter().flat_map(|worker| &worker.backends);
        let servers = backends.filter(|backend| backend.state == BackendState::Ready).count();
        Some((times.values().sum::<i64>() / count, u64::try_from(servers).unwrap_or(1)))
    }

    pub(crate) fn forget_workflow(&self, id: &str) {
        self.workflows.invalidate(id);
        self.policy.invalidate(&());
    }

    /// Which node classes graphs of callers may have: those that an operator names, or those of registered workflows.
    pub(crate) async fn node_policy(&self) -> Result<Arc<NodePolicy>, ApiError> {
        if let Some(policy) = self.policy.get(&()) {
            return Ok(policy);
        }
        let raw = &self.parts.access.raw;
        let registered =
            if raw.allowed.is_empty() { self.parts.database.registered_graphs().await? } else { Vec::new() };
        let policy = Arc::new(NodePolicy::new(&raw.allowed, &registered, &raw.denied));
        self.policy.insert((), Arc::clone(&policy));
        Ok(policy)
    }

    /// What a ComfyUI says of its node classes, where one has been asked.
    pub(crate) async fn catalog(&self) -> Option<Arc<NodeCatalog>> {
        self.parts.broker.node_catalogs().await.into_iter().flatten().next()
    }

    /// What each ComfyUI says of its node classes; none where one of them was not asked yet.
    pub(crate) async fn catalogs(&self) -> Vec<Arc<NodeCatalog>> {
        self.parts.broker.node_catalogs().await.into_iter().collect::<Option<_>>().unwrap_or_default()
    }

    pub(crate) fn rules(&self) -> Rules {
        let limits = &self.parts.limits;
        let sizes = SizeLimits { max_side: limits.max_image_size, max_batch: limits.max_batch_size };
        Rules { sizes, discreet: self.parts.access.privacy }
    }

    /// Notes, a little later and together with others, whether the queue was told of a job.
    pub(crate) fn note_dispatch(&self, id: JobId, told: bool) {
        if self.dispatched.send((id, told)).is_err() {
            tracing::debug!(jobId = %id, "not noted what the queue knows; the sweep will find out");
        }
    }

    pub(crate) fn ended_job(&self, id: JobId) -> Option<ShownJob> {
        self.ended.get(&id)
    }

    pub(crate) fn keep_ended_job(&self, id: JobId, job: ShownJob) {
        self.ended.insert(id, job);
    }

    pub(crate) fn forget_ended_job(&self, id: JobId) {
        self.ended.invalidate(&id);
    }
}

async fn note_dispatches(database: Database, mut told: mpsc::UnboundedReceiver<(JobId, bool)>) {
    let mut notes = Vec::new();
    while told.recv_many(&mut notes, DISPATCH_BATCH).await > 0 {
        tokio::time::sleep(DISPATCH_GATHER).await;
        while notes.len() < DISPATCH_BATCH
            && let Ok(note) = told.try_recv()
        {
            notes.push(note);
        }
        let ids = |told: bool| notes.iter().filter(|note| note.1 == told).map(|note| note.0).collect::<Vec<_>>();
        let (known, unknown) = (ids(true), ids(false));
        if !known.is_empty()
            && let Err(error) = database.mark_dispatched(&known).await
        {
            tracing::warn!(%error, "not noted as dispatched; the sweep will tell the queue again");
        }
        if !unknown.is_empty()
            && let Err(error) = database.mark_undispatched(&unknown).await
        {
            tracing::warn!(%error, "not noted that the queue was not told of jobs; the sweep will find out");
        }
        notes.clear();
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}
