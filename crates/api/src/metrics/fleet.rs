//! How all of the gateway is at the moment: read from the database and the queue when somebody asks, and again only after
//! a while, whoever asks meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_broker::{BackendState, WorkerReport, WorkerState};
use gateway_core::{JobStatus, Timestamp};
use gateway_db::{DbError, Figures};
use gateway_metrics::{
    COMFYUI_SERVERS, DATABASE_UP, JOBS, QUEUE_DELAYED, QUEUE_DEPTH, QUEUE_LIMIT, QUEUE_OLDEST_WAIT, QUEUE_PAUSED,
    QUEUE_UP, WEBHOOK_LAG, WEBHOOKS_PENDING, WORKERS,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::state::Parts;

/// How long a look is good for.
const TTL: Duration = Duration::from_secs(5);
/// How long a store may take to answer: whoever scrapes gives up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// The latest look.
#[derive(Default)]
pub(crate) struct Fleet(Mutex<Option<(Instant, Arc<Seen>)>>);

/// What a look has seen.
pub(crate) struct Seen {
    now: Timestamp,
    /// Of the database, and whether the queue is paused; `None` where it did not answer.
    database: Option<(Figures, bool)>,
    queue_answers: bool,
    queue_limit: u64,
    workers: Vec<WorkerReport>,
}

impl Fleet {
    /// How it is, or was a moment ago.
    pub(crate) async fn look(&self, parts: &Parts) -> Arc<Seen> {
        // Those who ask at the same time wait for one look.
        let mut latest = self.0.lock().await;
        if let Some((_, seen)) = latest.as_ref().filter(|(at, _)| at.elapsed() < TTL) {
            return Arc::clone(seen);
        }
        let seen = Arc::new(Seen::now(parts).await);
        *latest = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }
}

impl Seen {
    async fn now(parts: &Parts) -> Self {
        let figures =
            async { Ok::<_, DbError>((parts.database.figures().await?, parts.database.queue_paused().await?)) };
        let (database, queue, workers) = tokio::join!(
            timeout(PATIENCE, figures),
            timeout(PATIENCE, parts.broker.depth()),
            timeout(PATIENCE, parts.broker.workers()),
        );
        Self {
            now: parts.database.now(),
            database: database.ok().and_then(Result::ok),
            queue_answers: matches!(queue, Ok(Ok(_))),
            queue_limit: parts.queue.max_depth,
            workers: workers.unwrap_or_default(),
        }
    }

    /// Sets all gauges. What is not known has none.
    pub(crate) fn show(&self) {
        DATABASE_UP.of([]).set(u8::from(self.database.is_some()));
        QUEUE_UP.of([]).set(u8::from(self.queue_answers));
        QUEUE_LIMIT.of([]).set(self.queue_limit as f64);
        if let Some((figures, paused)) = &self.database {
            QUEUE_PAUSED.of([]).set(u8::from(*paused));
            self.show_figures(figures);
        }
        // While the queue is away nobody hears of workers that live all the same.
        if self.queue_answers {
            self.show_workers();
        }
    }

    fn show_figures(&self, figures: &Figures) {
        let mut queued = figures.delayed + figures.joined;
        for lane in &figures.lanes {
            let name = || [lane.priority.as_str().into()];
            QUEUE_DEPTH.of(name()).set(lane.waiting as f64);
            QUEUE_OLDEST_WAIT.of(name()).set(self.seconds_since(lane.since));
            queued += lane.waiting;
        }
        QUEUE_DELAYED.of([]).set(figures.delayed as f64);
        for (status, jobs) in [(JobStatus::Queued, queued), (JobStatus::Running, figures.running)] {
            JOBS.of([status.as_str().into()]).set(jobs as f64);
        }
        WEBHOOKS_PENDING.of([]).set(figures.messages as f64);
        WEBHOOK_LAG.of([]).set(self.seconds_since(figures.overdue_since));
    }

    fn show_workers(&self) {
        let mut workers: BTreeMap<&'static str, u32> = WorkerState::ALL.map(|state| (state.as_str(), 0)).into();
        let mut servers: BTreeMap<&'static str, u32> = BackendState::ALL.map(|state| (state.as_str(), 0)).into();
        for worker in &self.workers {
            *workers.entry(worker.state.as_str()).or_default() += 1;
            for backend in &worker.backends {
                *servers.entry(backend.state.as_str()).or_default() += 1;
            }
        }
        for (state, number) in workers {
            WORKERS.of([state.into()]).set(number);
        }
        for (state, number) in servers {
            COMFYUI_SERVERS.of([state.into()]).set(number);
        }
    }

    fn seconds_since(&self, since: Option<Timestamp>) -> f64 {
        since.map_or(0.0, |since| self.now.millis_since(since).max(0) as f64 / 1_000.0)
    }
}
