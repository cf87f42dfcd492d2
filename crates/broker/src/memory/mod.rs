//! The broker of a gateway that is one process. Everything in it is gone when the process is; the database
//! fills it again at start.

mod events;
mod lanes;
mod runs;
mod shares;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gateway_auth::limit::{Decision, Limiter, Rule};
use gateway_core::event::{EventId, JobEvent};
use gateway_core::progress::Progress;
use gateway_core::workflow::NodeCatalog;
use gateway_core::{JobId, Timestamp};
use tokio::sync::{Notify, broadcast};

use crate::entry::COURTESY;
use crate::{
    Broker, BrokerError, Control, Depth, Entry, EventReceiver, Offer, Receipt, Replay, Run, Taken, WorkerReport,
};
use events::Events;
use lanes::Lanes;

/// Wishes to cancel that a busy worker may be behind; it also learns of them when it renews its leases.
const CANCEL_BACKLOG: usize = 1_024;

const CONTROL_BACKLOG: usize = 64;
/// Keys and addresses whose requests are counted at the same time.
const LIMITED: usize = 100_000;

/// Catalogs beyond this are looked through for those of the past.
const MANY_CATALOGS: usize = 64;

/// A broker in this process.
#[derive(Debug)]
pub struct MemoryBroker {
    lanes: Mutex<Lanes>,
    arrived: Notify,
    cancels: broadcast::Sender<JobId>,
    controls: broadcast::Sender<Control>,
    events: Mutex<Events>,
    workers: Mutex<BTreeMap<String, WorkerReport>>,
    catalogs: Mutex<BTreeMap<String, Arc<NodeCatalog>>>,
    marker: Mutex<Option<String>>,
    limiter: Limiter,
}

impl MemoryBroker {
    /// An empty broker in which a job that waited `ageing` counts as one lane higher.
    pub fn new(ageing: Duration) -> Self {
        let ageing_ms = i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX);
        Self {
            lanes: Mutex::new(Lanes::new(ageing_ms)),
            arrived: Notify::new(),
            cancels: broadcast::channel(CANCEL_BACKLOG).0,
            controls: broadcast::channel(CONTROL_BACKLOG).0,
            events: Mutex::default(),
            workers: Mutex::default(),
            catalogs: Mutex::default(),
            marker: Mutex::default(),
            limiter: Limiter::new(LIMITED),
        }
    }

    fn take(&self, offer: &Offer) -> (Vec<Taken>, Option<Timestamp>) {
        let now = now();
        let mut lanes = lock(&self.lanes);
        let taken = std::iter::from_fn(|| lanes.pop(offer, now)).take(offer.max.max(1));
        let taken = taken.map(|entry| Taken { entry, receipt: None }).collect();
        (taken, lanes.next_change(now))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Broker for MemoryBroker {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Option<u64>>, BrokerError> {
        let now = now();
        let mut lanes = lock(&self.lanes);
        let mut positions = Vec::with_capacity(entries.len());
        for entry in entries {
            let job = entry.job;
            lanes.insert(entry, now);
            positions.push(lanes.position(job, now));
        }
        drop(lanes);
        self.arrived.notify_waiters();
        Ok(positions)
    }

    async fn next(&self, offer: &Offer) -> Result<Vec<Taken>, BrokerError> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            // Registered before looking, so that what arrives between the look and the wait wakes it.
            arrived.as_mut().enable();
            if offer.ahead {
                tokio::time::sleep(COURTESY).await;
            }
            let (taken, due) = self.take(offer);
            if !taken.is_empty() {
                return Ok(taken);
            }
            match due {
                Some(due) => {
                    let wait = u64::try_from(due.millis_since(now())).unwrap_or(0);
                    let _ = tokio::time::timeout(Duration::from_millis(wait.max(1)), arrived).await;
                }
                None => arrived.await,
            }
        }
    }

    fn done(&self, _receipt: Receipt, _job: JobId) {}

    async fn runs(&self, worker: &str, held: &[Run], ended: &[Run], lease: Duration) -> Result<(), BrokerError> {
        let mut lanes = lock(&self.lanes);
        for run in ended {
            lanes.end(run.clone(), worker);
        }
        lanes.hold(held.to_vec(), worker, lease, now());
        drop(lanes);
        if !ended.is_empty() {
            self.arrived.notify_waiters();
        }
        Ok(())
    }

    async fn forget(&self, job: JobId) -> Result<(), BrokerError> {
        lock(&self.lanes).remove(job);
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        Ok(lock(&self.lanes).depth())
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>, BrokerError> {
        Ok(lock(&self.lanes).position(job, now()))
    }

    async fn signal_cancel(&self, job: JobId) -> Result<(), BrokerError> {
        // No worker may be listening; then the renewal of the lease tells it.
        let _ = self.cancels.send(job);
        Ok(())
    }

    fn cancels(&self) -> broadcast::Receiver<JobId> {
        self.cancels.subscribe()
    }

    async fn control(&self, control: Control) -> Result<(), BrokerError> {
        // No worker may be listening; what lasts it reads at its start.
        let _ = self.controls.send(control);
        Ok(())
    }

    fn controls(&self) -> broadcast::Receiver<Control> {
        self.controls.subscribe()
    }

    fn publish(&self, job: JobId, event: JobEvent) {
        lock(&self.events).publish(job, event, now());
    }

    fn watch(&self, job: JobId) -> EventReceiver {
        lock(&self.events).watch(job)
    }

    async fn limit(&self, key: &str, rule: Rule, cost: u32) -> Result<Decision, BrokerError> {
        Ok(self.limiter.take_many(key, now().as_millis(), rule, cost))
    }

    async fn replay(&self, job: JobId, after: Option<EventId>) -> Replay {
        lock(&self.events).replay(job, after)
    }

    async fn want_previews(&self, job: JobId) {
        lock(&self.events).want_previews(job);
    }

    async fn wants_previews(&self, job: JobId) -> bool {
        lock(&self.events).wants_previews(job)
    }

    async fn progress(&self, job: JobId) -> Option<Progress> {
        lock(&self.events).progress(job)
    }

    async fn announce(&self, report: WorkerReport) {
        lock(&self.workers).insert(report.id.clone(), report);
    }

    async fn withdraw(&self, worker_id: &str) {
        lock(&self.workers).remove(worker_id);
    }

    async fn workers(&self) -> Vec<WorkerReport> {
        lock(&self.workers).values().cloned().collect()
    }

    async fn put_node_catalog(&self, digest: &str, catalog: Arc<NodeCatalog>) {
        lock(&self.catalogs).insert(digest.to_owned(), catalog);
    }

    async fn node_catalogs(&self) -> Vec<Option<Arc<NodeCatalog>>> {
        let workers = lock(&self.workers);
        let mut catalogs = lock(&self.catalogs);
        let named =
            || workers.values().flat_map(|worker| &worker.backends).map(|backend| backend.node_catalog.as_ref());
        let found = named().map(|digest| catalogs.get(digest?).cloned()).collect();
        // Models come and go: what no report names any more must not pile up.
        if catalogs.len() > MANY_CATALOGS {
            catalogs.retain(|digest, _| named().flatten().any(|name| name == digest));
        }
        found
    }

    async fn unknown(&self, _jobs: &[JobId]) -> Result<Vec<JobId>, BrokerError> {
        Ok(Vec::new())
    }

    async fn reclaim(&self) -> Result<usize, BrokerError> {
        Ok(0)
    }

    async fn turn(&self, _chore: &str, _period: Duration) -> Result<bool, BrokerError> {
        Ok(true)
    }

    async fn marker(&self) -> Result<Option<String>, BrokerError> {
        Ok(lock(&self.marker).clone())
    }

    async fn back(&self) {
        std::future::pending().await
    }

    async fn set_marker(&self, marker: &str) -> Result<(), BrokerError> {
        *lock(&self.marker) = Some(marker.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open() -> Option<Arc<dyn Broker>> {
        tokio::task::yield_now().await;
        Some(Arc::new(MemoryBroker::new(crate::suite::AGEING)))
    }

    crate::suite::keeps_the_contract!(open);
}
