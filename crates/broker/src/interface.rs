//! What a broker does, whichever engine carries it. Knows nothing of databases or ComfyUI.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_auth::limit::{Decision, Rule};
use gateway_core::JobId;
use gateway_core::event::{EventId, JobEvent};
use gateway_core::progress::Progress;
use gateway_core::workflow::NodeCatalog;
use tokio::sync::broadcast;

use crate::entry::{Depth, Entry, Offer, Receipt, Run, Taken};
use crate::report::{Control, WorkerReport};

/// The events of one job from now on. Closed where some may have been missed: watch again, and look where the job
/// stands.
pub type EventReceiver = broadcast::Receiver<Heard>;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Its number; none for what is only good at the moment, such as progress.
    pub id: Option<EventId>,
    /// What it is.
    pub event: JobEvent,
}

/// What whoever comes back to a job is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replay {
    /// What has happened since, as far as it is still known.
    pub missed: Vec<(EventId, JobEvent)>,
    /// The latest event that is known; `None` where nothing is.
    pub newest: Option<EventId>,
}

impl Replay {
    /// Of all that is known, what has happened after the event `after`. One that was not given out is no place to go on
    /// from: all is told then.
    pub(crate) fn after(mut said: Vec<(EventId, JobEvent)>, after: Option<EventId>) -> Self {
        let newest = said.last().map(|(id, _)| *id);
        if let Some(after) = after.filter(|after| newest.is_some_and(|newest| *after <= newest)) {
            said.retain(|(id, _)| *id > after);
        }
        Self { missed: said, newest }
    }
}

/// The broker could not do it.
#[derive(Debug, Clone, thiserror::Error)]
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

    /// Whether other processes use it, too.
    fn is_shared(&self) -> bool;

    /// Adds hints; gives each one's position. A job that is hinted at already is not added twice.
    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Option<u64>>, BrokerError>;

    /// Waits for work; hands out between 1 and `offer.max` entries, the most urgent first, but none of an owner of whom as
    /// many run as may. Dropped while it waits, it loses nothing.
    async fn next(&self, offer: &Offer) -> Result<Vec<Taken>, BrokerError>;

    /// A job that was handed out is claimed, or needs no hint any more.
    fn done(&self, receipt: Receipt, job: JobId);

    /// What `worker` has in hand of owners whose running jobs are bounded: each of `held` counts for as long as a `lease`
    /// from now, those in `ended` no more. What was handed out counts for a moment without this.
    async fn runs(&self, worker: &str, held: &[Run], ended: &[Run], lease: Duration) -> Result<(), BrokerError>;

    /// Forgets what hints at a job: it was canceled.
    async fn forget(&self, job: JobId) -> Result<(), BrokerError>;

    /// How much waits.
    async fn depth(&self) -> Result<Depth, BrokerError>;

    /// How many jobs of its priority and above wait longer than this one, plus 1; `None` where it does not wait, or far
    /// back.
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

    /// What has happened to `job` after the event `after`, as far as it is still known; from the first one known where
    /// that is not known. Progress and previews are not among it.
    async fn replay(&self, job: JobId, after: Option<EventId>) -> Replay;

    /// Somebody watches `job` and wants previews, for the next minute.
    async fn want_previews(&self, job: JobId);

    /// Whether somebody wants previews of `job`.
    async fn wants_previews(&self, job: JobId) -> bool;

    /// How far `job` is, where it runs.
    async fn progress(&self, job: JobId) -> Option<Progress>;

    /// Registers a worker, or renews what is known of it.
    async fn announce(&self, report: WorkerReport);

    /// A worker has ended; all that it said before has left this process then.
    async fn withdraw(&self, worker_id: &str);

    /// The workers that live.
    async fn workers(&self) -> Vec<WorkerReport>;

    /// Leaves what a ComfyUI says of its node classes, under its `digest`: its worker's report names that.
    async fn put_node_catalog(&self, digest: &str, catalog: Arc<NodeCatalog>);

    /// What each ComfyUI server of the workers that live says of its node classes; `None` where it was not asked yet.
    async fn node_catalogs(&self) -> Vec<Option<Arc<NodeCatalog>>>;

    /// Those of `jobs` that nothing hints at and that nobody was handed lately.
    async fn unknown(&self, jobs: &[JobId]) -> Result<Vec<JobId>, BrokerError>;

    /// Puts back what was handed out to workers that died before they claimed it; tells how much.
    async fn reclaim(&self) -> Result<usize, BrokerError>;

    /// Whether whoever is known as `key` may send `cost` more requests, counted over all processes.
    async fn limit(&self, key: &str, rule: Rule, cost: u32) -> Result<Decision, BrokerError>;

    /// Whether this process is to do `chore` now: of all processes one, once in `period`.
    async fn turn(&self, chore: &str, period: Duration) -> Result<bool, BrokerError>;

    /// What tells this queue from one that has lost everything; `None` where nothing was left yet.
    async fn marker(&self) -> Result<Option<String>, BrokerError>;

    /// Waits until the queue can be used again after it could not; for ever where that can't happen.
    async fn back(&self);

    /// Leaves a marker.
    async fn set_marker(&self, marker: &str) -> Result<(), BrokerError>;
}
