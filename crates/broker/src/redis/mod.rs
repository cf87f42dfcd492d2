//! The broker of a gateway of several processes: streams, sorted sets and a few scripts in Redis. All that lies there
//! can be lost; the database fills it again.

mod check;
mod claim;
mod fleet;
mod keys;
mod link;
mod listen;
mod look;
mod scripts;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_redis::redis;
use gateway_auth::limit::{Decision, Rule};
use gateway_config::RedisSettings;
use gateway_core::JobId;
use gateway_core::event::{EventId, JobEvent};
use gateway_core::progress::Progress;
use gateway_core::workflow::NodeCatalog;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinSet;

use self::fleet::Fleet;
use self::link::{Link, State};
use self::listen::Ears;
use self::scripts::Scripts;
use self::writer::{Wish, Writer};
use crate::entry::{COURTESY, OUT, PREVIEWS_WANTED};
use crate::{
    Broker, BrokerError, Control, Depth, Entry, EventReceiver, Offer, Receipt, Replay, Run, Taken, WorkerReport,
};

pub use self::check::RedisRefusal;
pub use self::look::{RedisLook, RedisUnseen};

/// Whoever waits for work looks at least so often: a message may be lost.
const LOOK: Duration = Duration::from_secs(1);

/// Why a broker over Redis can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL makes no sense.
    #[error("REDIS_URL can't be used: {reason}")]
    Url {
        /// Why.
        reason: String,
    },
    /// The server must not be used, or does not want to be.
    #[error("Redis at {server} can't be used: {reason}")]
    Refused {
        /// The server, without credentials.
        server: String,
        /// Why.
        reason: String,
    },
}

/// A broker that processes share.
pub struct RedisBroker {
    shared: Arc<Shared>,
    /// End with it.
    _tasks: JoinSet<()>,
}

struct Shared {
    link: Link,
    scripts: Arc<Scripts>,
    ears: Arc<Ears>,
    writer: Writer,
    fleet: Fleet,
    ageing_ms: u64,
}

impl RedisBroker {
    /// Opens the broker; a server that can't be reached is waited for, in the background. A job that waited `ageing`
    /// counts as one priority higher.
    ///
    /// # Errors
    /// [`OpenError`] where waiting would not help.
    pub async fn open(settings: &RedisSettings, ageing: Duration) -> Result<Self, OpenError> {
        let link = Link::open(settings).await?;
        let (scripts, ears) = (Arc::new(Scripts::new()), Arc::new(Ears::new()));
        let (writer, wishes) = Writer::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::run(link.clone(), Arc::clone(&ears)));
        tasks.spawn(writer::run(link.clone(), Arc::clone(&scripts), wishes));
        let ageing_ms = claim::millis(ageing).max(1);
        let shared = Shared { link, scripts, ears, writer, fleet: Fleet::default(), ageing_ms };
        Ok(Self { shared: Arc::new(shared), _tasks: tasks })
    }
}

impl Shared {
    /// Puts back what has been out for `out_ms`.
    async fn reclaim(&self, out_ms: u64) -> Result<usize, BrokerError> {
        let back = self.link.run::<u64>(&self.scripts.reclaim, |script| {
            script.arg(out_ms);
        });
        Ok(usize::try_from(back.await?).unwrap_or(usize::MAX))
    }

    async fn count(&self) -> Result<Depth, BrokerError> {
        let mut commands = redis::pipe();
        for key in ["waiting:0", "waiting:1", "waiting:2", "delayed"] {
            commands.cmd("ZCARD").arg(self.link.key(key));
        }
        let (low, normal, high, delayed): (u64, u64, u64, u64) = self.link.send(&commands).await?;
        Ok(Depth { total: low + normal + high + delayed, delayed })
    }

    async fn say(&self, channel: &str, text: serde_json::Result<String>) -> Result<(), BrokerError> {
        let text = text.map_err(|error| BrokerError { reason: error.to_string() })?;
        let mut command = redis::pipe();
        command.cmd("PUBLISH").arg(self.link.key(channel)).arg(text).ignore();
        self.link.send(&command).await
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Option<u64>>, BrokerError> {
        self.shared.writer.enqueue(entries).await
    }

    async fn next(&self, offer: &Offer) -> Result<Vec<Taken>, BrokerError> {
        loop {
            let mut bell = std::pin::pin!(self.shared.ears.bell.notified());
            // Registered before looking, so that what arrives between the look and the wait wakes it.
            bell.as_mut().enable();
            if offer.ahead {
                tokio::time::sleep(COURTESY).await;
            }
            let (asker, answer) = oneshot::channel();
            tokio::spawn(Arc::clone(&self.shared).claim_for(offer.clone(), asker));
            let gone = |_gone| BrokerError { reason: String::from("the gateway stops") };
            let (taken, due) = answer.await.map_err(gone)??;
            if !taken.is_empty() {
                return Ok(taken);
            }
            let wait = due.map_or(LOOK, |due| LOOK.min(Duration::from_millis(due)));
            // What ends the wait does not matter.
            let _ = tokio::time::timeout(wait, bell).await;
        }
    }

    fn done(&self, receipt: Receipt, job: JobId) {
        self.shared.writer.leave(Wish::Done(receipt, job));
    }

    async fn runs(&self, worker: &str, held: &[Run], ended: &[Run], lease: Duration) -> Result<(), BrokerError> {
        self.shared.tell_runs(worker, held, ended, lease).await
    }

    async fn forget(&self, job: JobId) -> Result<(), BrokerError> {
        let shared = &self.shared;
        let forgotten = shared.link.run::<i64>(&shared.scripts.forget, |script| {
            script.arg(job.to_string());
        });
        forgotten.await.map(drop)
    }

    async fn depth(&self) -> Result<Depth, BrokerError> {
        self.shared.count().await
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>, BrokerError> {
        let shared = &self.shared;
        let position = shared.link.run::<i64>(&shared.scripts.position, |script| {
            script.arg(job.to_string());
        });
        Ok(u64::try_from(position.await?).ok())
    }

    async fn signal_cancel(&self, job: JobId) -> Result<(), BrokerError> {
        self.shared.say("cancels", serde_json::to_string(&job)).await
    }

    fn cancels(&self) -> broadcast::Receiver<JobId> {
        self.shared.ears.cancels.subscribe()
    }

    async fn control(&self, control: Control) -> Result<(), BrokerError> {
        self.shared.say("controls", serde_json::to_string(&control)).await
    }

    fn controls(&self) -> broadcast::Receiver<Control> {
        self.shared.ears.controls.subscribe()
    }

    fn publish(&self, job: JobId, event: JobEvent) {
        if self.shared.link.is_up() {
            self.shared.writer.leave(Wish::Publish(job, event));
        }
    }

    fn watch(&self, job: JobId) -> EventReceiver {
        self.shared.ears.watchers.watch(job)
    }

    async fn limit(&self, key: &str, rule: Rule, cost: u32) -> Result<Decision, BrokerError> {
        let shared = &self.shared;
        let (allowed, remaining, reset_after_ms, retry_after_ms): (bool, u32, u64, u64) = shared
            .link
            .run(&shared.scripts.limit, |script| {
                script.arg(key).arg(rule.interval()).arg(rule.tolerance()).arg(cost);
            })
            .await?;
        Ok(Decision { allowed, remaining, reset_after_ms, retry_after_ms })
    }

    async fn replay(&self, job: JobId, after: Option<EventId>) -> Replay {
        type Said = Vec<(String, std::collections::HashMap<String, String>)>;
        let mut command = redis::pipe();
        command.cmd("XRANGE").arg(self.shared.link.key(&format!("said:{job}"))).arg("-").arg("+");
        let Ok((said,)) = self.shared.link.send::<(Said,)>(&command).await else { return Replay::default() };
        let parsed = |(id, fields): &(String, std::collections::HashMap<String, String>)| {
            Some((id.parse::<EventId>().ok()?, serde_json::from_str(fields.get("event")?).ok()?))
        };
        Replay::after(said.iter().filter_map(parsed).collect(), after)
    }

    async fn want_previews(&self, job: JobId) {
        let mut command = redis::pipe();
        let key = self.shared.link.key(&format!("previews:{job}"));
        command.cmd("SET").arg(key).arg(1).arg("PX").arg(claim::millis(PREVIEWS_WANTED));
        if let Err(error) = self.shared.link.send::<()>(command.ignore()).await {
            tracing::debug!(%error, "previews are not asked for");
        }
    }

    async fn wants_previews(&self, job: JobId) -> bool {
        let mut command = redis::pipe();
        command.cmd("EXISTS").arg(self.shared.link.key(&format!("previews:{job}")));
        self.shared.link.send::<(bool,)>(&command).await.is_ok_and(|(wanted,)| wanted)
    }

    async fn progress(&self, job: JobId) -> Option<Progress> {
        let mut command = redis::pipe();
        command.cmd("GET").arg(self.shared.link.key(&format!("progress:{job}")));
        let (text,): (Option<String>,) = self.shared.link.send(&command).await.ok()?;
        serde_json::from_str(&text?).ok()
    }

    async fn announce(&self, report: WorkerReport) {
        let shared = &self.shared;
        if let Err(error) = Fleet::announce(&shared.link, &shared.scripts, &report).await {
            tracing::debug!(%error, "nobody is told that this worker lives");
        }
    }

    async fn withdraw(&self, worker_id: &str) {
        self.shared.writer.flush().await;
        if let Err(error) = Fleet::withdraw(&self.shared.link, worker_id).await {
            tracing::debug!(%error, "nobody is told that this worker ends; they find out");
        }
    }

    async fn workers(&self) -> Vec<WorkerReport> {
        self.shared.fleet.workers(&self.shared.link, &self.shared.scripts).await
    }

    async fn put_node_catalog(&self, digest: &str, catalog: Arc<NodeCatalog>) {
        if let Err(error) = self.shared.fleet.put_catalog(&self.shared.link, digest, catalog).await {
            tracing::debug!(%error, "nobody is told of the node classes; it is tried again");
        }
    }

    async fn node_catalogs(&self) -> Vec<Option<Arc<NodeCatalog>>> {
        self.shared.fleet.catalogs(&self.shared.link, &self.workers().await).await
    }

    async fn unknown(&self, jobs: &[JobId]) -> Result<Vec<JobId>, BrokerError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = jobs.iter().map(ToString::to_string).collect();
        let mut command = redis::pipe();
        command.cmd("HMGET").arg(self.shared.link.key("places")).arg(names);
        let (places,): (Vec<Option<String>>,) = self.shared.link.send(&command).await?;
        Ok(jobs.iter().zip(places).filter(|(_, place)| place.is_none()).map(|(job, _)| *job).collect())
    }

    async fn reclaim(&self) -> Result<usize, BrokerError> {
        self.shared.reclaim(claim::millis(OUT)).await
    }

    async fn turn(&self, chore: &str, period: Duration) -> Result<bool, BrokerError> {
        let key = self.shared.link.key(&format!("turn:{chore}"));
        let millis = claim::millis(period);
        let mut command = redis::pipe();
        command.cmd("SET").arg(key).arg(1).arg("NX").arg("PX").arg(millis);
        let (taken,): (Option<String>,) = self.shared.link.send(&command).await?;
        Ok(taken.is_some())
    }

    async fn marker(&self) -> Result<Option<String>, BrokerError> {
        let mut command = redis::pipe();
        command.cmd("GET").arg(self.shared.link.key("marker"));
        let (marker,): (Option<String>,) = self.shared.link.send(&command).await?;
        Ok(marker)
    }

    async fn set_marker(&self, marker: &str) -> Result<(), BrokerError> {
        let mut command = redis::pipe();
        command.cmd("SET").arg(self.shared.link.key("marker")).arg(marker).ignore();
        self.shared.link.send(&command).await
    }

    async fn back(&self) {
        let mut states = self.shared.link.states();
        states.mark_unchanged();
        // The sender lives in the link, so the channel can't be closed here.
        while states.changed().await.is_ok() {
            if *states.borrow() == State::Up {
                return;
            }
        }
    }
}
