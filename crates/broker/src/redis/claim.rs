//! What is handed out to a worker, and what it has in hand of owners whose running jobs are bounded.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis;
use gateway_core::Owner;
use gateway_core::access::OwnTerms;
use gateway_core::workflow::NeedsId;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Shared, keys};
use crate::entry::{MOST_BYPASSES, OUT};
use crate::{BrokerError, Offer, Receipt, Run, Taken};

/// What was handed out, and in how many ms more may be due.
pub(super) type Claimed = Result<(Vec<Taken>, Option<u64>), BrokerError>;

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    /// What is there for `offer`.
    pub(super) async fn claim(&self, offer: &Offer) -> Claimed {
        let said = said(offer);
        let answer: Vec<redis::Value> = self
            .link
            .run(&self.scripts.claim, |script| {
                script.arg(offer.max.max(1)).arg(&offer.worker).arg(self.ageing_ms).arg(MOST_BYPASSES);
                script.arg(millis(OUT)).arg(said);
            })
            .await?;
        let mut values = answer.into_iter();
        let due = values.next().and_then(|value| redis::from_redis_value::<i64>(value).ok());
        let texts: Vec<String> = values.filter_map(|value| redis::from_redis_value(value).ok()).collect();
        let mut taken = Vec::new();
        for entry in texts.chunks_exact(4) {
            let [lane, id, job, since] = entry else { continue };
            match keys::entry(lane, job, since) {
                Some(entry) => {
                    let receipt = Receipt { lane: lane.clone(), id: id.clone() };
                    taken.push(Taken { entry, receipt: Some(receipt) });
                }
                None => self.set_aside(lane, id, job).await?,
            }
        }
        Ok((taken, due.and_then(|due| u64::try_from(due).ok())))
    }

    async fn set_aside(&self, lane: &str, id: &str, job: &str) -> Result<(), BrokerError> {
        tracing::error!(lane, entry = id, "an entry of the queue can't be read; it is set aside");
        self.link
            .run::<i64>(&self.scripts.set_aside, |script| {
                script.arg(lane).arg(id).arg(job);
            })
            .await
            .map(drop)
    }

    /// Takes part in `claim` to its end even where nobody waits for it any more: what was handed out goes back then.
    pub(super) async fn claim_for(self: Arc<Self>, offer: Offer, asker: oneshot::Sender<Claimed>) {
        let claimed = self.claim(&offer).await;
        if let Err(Ok((taken, _))) = asker.send(claimed)
            && !taken.is_empty()
        {
            let entries: Vec<_> = taken.into_iter().map(|taken| taken.entry).collect();
            let bounded = entries.iter().filter(|entry| offer.terms.running_limit(&entry.owner).is_some());
            let runs: Vec<Run> = bounded.map(|entry| Run { owner: entry.owner.clone(), job: entry.job }).collect();
            // First: once they are back, this worker may be given them again.
            let told = match runs.as_slice() {
                [] => Ok(()),
                runs => self.tell_runs(&offer.worker, &[], runs, OUT).await,
            };
            if let Err(error) = self.writer.enqueue(entries).await.map(drop).and(told) {
                tracing::debug!(%error, "what nobody took is put back when its time is out");
            }
        }
    }

    /// Tells what `worker` has in hand, and what no more.
    pub(super) async fn tell_runs(
        &self,
        worker: &str,
        held: &[Run],
        ended: &[Run],
        lease: Duration,
    ) -> Result<(), BrokerError> {
        let told = self.link.run::<i64>(&self.scripts.runs, |script| {
            script.arg(worker).arg(millis(lease)).arg(held.len());
            for run in held.iter().chain(ended) {
                script.arg(keys::escape(run.owner.as_str())).arg(run.job.to_string());
            }
        });
        told.await.map(drop)
    }
}

/// An offer as the script reads it.
fn said(offer: &Offer) -> String {
    let texts = |needs: &HashSet<NeedsId>| needs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let homes: Vec<String> = offer.homes.iter().map(|home| keys::escape(home)).collect();
    let terms = &offer.terms;
    let own = |of: &dyn Fn(&Owner, &OwnTerms) -> Option<u32>| -> BTreeMap<String, u32> {
        let said = terms.own.iter().filter_map(|(owner, own)| Some((keys::escape(owner.as_str()), of(owner, own)?)));
        said.collect()
    };
    json!({
        "cannot": texts(&offer.cannot),
        "warm": texts(&offer.warm),
        "homes": homes,
        "limit": terms.running.unwrap_or(0),
        "limits": own(&|_, own| own.running),
        "weights": own(&|owner, own| own.weight.map(|_| terms.weight(owner))),
    })
    .to_string()
}
