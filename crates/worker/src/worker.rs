//! Starts a worker, and drains it.

use std::sync::Arc;
use std::time::Duration;

use comfyui_client::ConfigError;
use gateway_broker::{BackendState, WorkerReport, WorkerState};
use gateway_db::DbError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::context::{Context, WorkerParts};
use crate::lease::Renewer;
use crate::{backend, control, notify, privacy, runs, sweep};

const ANNOUNCE: Duration = Duration::from_secs(1);
/// How long jobs may take to be handed back.
const HAND_BACK: Duration = Duration::from_secs(10);
/// How long messages under way may take after that; what is cut off is sent again.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A ComfyUI server can't be used as configured.
    #[error("COMFYUI_URL or COMFYUI_HEADERS can't be used")]
    Backend(#[source] ConfigError),
    /// Jobs of an earlier start can't be recovered.
    #[error("jobs of an earlier start can't be recovered")]
    Recover(#[source] DbError),
    /// No thread for renewing claims.
    #[error("the thread that renews claims can't be started")]
    Renewer(#[source] std::io::Error),
}

/// A running worker.
pub struct Worker {
    context: Arc<Context>,
    backends: Vec<Arc<Backend>>,
    tasks: JoinSet<()>,
    notifier: JoinSet<()>,
    /// No job of this worker has anything more to tell.
    settled: CancellationToken,
    _renewer: Renewer,
}

impl Worker {
    /// Recovers what an earlier process left behind and begins to take jobs.
    ///
    /// # Errors
    /// [`StartError`] where it can't.
    pub async fn start(parts: WorkerParts) -> Result<Self, StartError> {
        let context = Arc::new(Context::new(parts));
        let (settings, shared) = (&context.parts.comfyui, context.parts.broker.is_shared());
        let backends = settings
            .backends
            .iter()
            .map(|backend| Backend::new(backend, settings, &context.parts.worker, shared).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Backend)?;
        sweep::at_start(&context).await.map_err(StartError::Recover)?;
        control::look(&context).await;
        let lease = context.parts.worker.lease;
        let renewer = Renewer::start(context.parts.database.clone(), context.active.clone(), lease)
            .map_err(StartError::Renewer)?;
        let mut tasks = JoinSet::new();
        context.fleet.get_or_init(|| backends.clone());
        for one in &backends {
            backend::spawn(&mut tasks, &context, one);
        }
        tasks.spawn(sweep::run(Arc::clone(&context)));
        tasks.spawn(runs::run(Arc::clone(&context)));
        if context.parts.privacy {
            tasks.spawn(privacy::run(Arc::clone(&context)));
        }
        let (mut notifier, settled) = (JoinSet::new(), CancellationToken::new());
        notifier.spawn(notify::run(Arc::clone(&context), settled.clone()));
        tasks.spawn(listen_for_cancels(Arc::clone(&context)));
        tasks.spawn(control::run(Arc::clone(&context)));
        tasks.spawn(announce(Arc::clone(&context), backends.clone()));
        Ok(Self { context, backends, tasks, notifier, settled, _renewer: renewer })
    }

    /// The worker's id.
    pub fn id(&self) -> &str {
        &self.context.worker_id
    }

    /// A look at why no job can be run at the moment; it gives `None` where one can.
    pub fn problem(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let (context, backends) = (Arc::clone(&self.context), self.backends.clone());
        move || {
            if context.draining.is_cancelled() {
                return Some(String::from("the worker stops"));
            }
            if backends.iter().any(|backend| backend.state() == BackendState::Ready) {
                return None;
            }
            let problem = backends.iter().find_map(|backend| backend.problem());
            Some(problem.unwrap_or_else(|| String::from("no ComfyUI server can be used")))
        }
    }

    /// Takes no more jobs, lets those under way end within the configured grace, hands back the rest. Messages of those
    /// that ended are sent.
    pub async fn drain(mut self) {
        self.context.draining.cancel();
        self.context.jobs.close();
        let grace = self.context.parts.worker.grace;
        if tokio::time::timeout(grace, self.context.jobs.wait()).await.is_err() {
            tracing::info!(jobs = self.context.jobs.len(), "the grace is over: running jobs are handed back");
            self.context.hand_back.cancel();
            if tokio::time::timeout(HAND_BACK, self.context.jobs.wait()).await.is_err() {
                tracing::warn!(
                    jobs = self.context.jobs.len(),
                    "jobs were not handed back in time; they are recovered at the next start"
                );
            }
        }
        self.settled.cancel();
        for backend in &self.backends {
            backend.flush_history().await;
        }
        runs::tell(&self.context).await;
        if tokio::time::timeout(LAST_MESSAGES, self.notifier.join_next()).await.is_err() {
            tracing::debug!("messages under way are cut off; they are sent again");
        }
        self.notifier.shutdown().await;
        // Before it says that it is gone: it must not say that it is there after that.
        self.tasks.shutdown().await;
        self.context.parts.broker.withdraw(&self.context.worker_id).await;
        privacy::scrub(&self.context, true).await;
    }
}

async fn listen_for_cancels(context: Arc<Context>) {
    use tokio::sync::broadcast::error::RecvError;
    let mut cancels = context.parts.broker.cancels();
    loop {
        match cancels.recv().await {
            Ok(job) => context.active.cancel(job),
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "wishes to cancel are told at the next renewal"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn announce(context: Arc<Context>, backends: Vec<Arc<Backend>>) {
    let mut changes: Vec<_> = backends.iter().map(|backend| backend.watch_health()).collect();
    let mut pauses = context.paused.subscribe();
    loop {
        let state = match (context.retired.is_cancelled(), *context.paused.borrow()) {
            (true, _) => WorkerState::Draining,
            (false, true) => WorkerState::Paused,
            (false, false) => WorkerState::Running,
        };
        let report = WorkerReport {
            id: context.worker_id.clone(),
            node: context.parts.worker.node.clone(),
            version: context.parts.version.to_owned(),
            state,
            backends: backends.iter().map(|backend| backend.report(context.parts.privacy)).collect(),
        };
        context.parts.broker.announce(report).await;
        let changed = async {
            match changes.first_mut() {
                Some(first) => first.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(ANNOUNCE) => {}
            _ = changed => {}
            _ = pauses.changed() => {}
        }
    }
}
