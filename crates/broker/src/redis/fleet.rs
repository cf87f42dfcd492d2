//! Which workers live and what their ComfyUI servers can do, with what was read lately kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis;
use gateway_core::workflow::NodeCatalog;
use tokio::time::Instant;

use super::keys;
use super::link::Link;
use super::scripts::Scripts;
use crate::{BackendState, BrokerError, WorkerReport};

/// A worker that was silent for so long is gone; they report once a second.
const SILENT_MS: u64 = 10_000;
/// How long what was read counts.
const FRESH: Duration = Duration::from_millis(500);
/// How long it counts while Redis is away.
const STALE: Duration = Duration::from_secs(10);
/// How long a catalog is kept that nobody leaves again; they do each minute.
const CATALOG_SECONDS: i64 = 600;

#[derive(Default)]
pub(super) struct Fleet {
    workers: tokio::sync::Mutex<Option<(Instant, Vec<WorkerReport>)>>,
    catalogs: Mutex<BTreeMap<String, Arc<NodeCatalog>>>,
}

impl Fleet {
    /// Tells that a worker lives.
    pub(super) async fn announce(link: &Link, scripts: &Scripts, report: &WorkerReport) -> Result<(), BrokerError> {
        let text = serde_json::to_string(report).map_err(|error| BrokerError { reason: error.to_string() })?;
        link.run::<i64>(&scripts.announce, |script| {
            script.arg(&report.id).arg(text).arg(SILENT_MS);
            for backend in report.backends.iter().filter(|backend| backend.state == BackendState::Ready) {
                script.arg(keys::escape(&backend.name));
            }
        })
        .await
        .map(drop)
    }

    pub(super) async fn withdraw(link: &Link, worker: &str) -> Result<(), BrokerError> {
        let mut commands = redis::pipe();
        commands.cmd("ZREM").arg(link.key("workers")).arg(worker).ignore();
        commands.cmd("HDEL").arg(link.key("reports")).arg(worker).ignore();
        link.send(&commands).await
    }

    /// The workers that live, as of a moment ago.
    pub(super) async fn workers(&self, link: &Link, scripts: &Scripts) -> Vec<WorkerReport> {
        let mut kept = self.workers.lock().await;
        if let Some((_, workers)) = kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::trace!("workers as read before");
            return workers.clone();
        }
        let read = link.run::<Vec<String>>(&scripts.workers, |script| {
            script.arg(SILENT_MS);
        });
        match read.await {
            Ok(reports) => {
                let mut workers: Vec<WorkerReport> =
                    reports.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
                workers.sort_by(|a, b| a.id.cmp(&b.id));
                *kept = Some((Instant::now(), workers.clone()));
                workers
            }
            Err(error) => {
                tracing::debug!(%error, "the workers are not known");
                kept.as_ref().filter(|(at, _)| at.elapsed() < STALE).map(|(_, kept)| kept.clone()).unwrap_or_default()
            }
        }
    }

    /// Leaves a catalog under its digest.
    pub(super) async fn put_catalog(
        &self,
        link: &Link,
        digest: &str,
        catalog: Arc<NodeCatalog>,
    ) -> Result<(), BrokerError> {
        let key = link.key(&format!("catalog:{digest}"));
        let mut renew = redis::pipe();
        renew.cmd("EXPIRE").arg(&key).arg(CATALOG_SECONDS);
        let (there,): (i64,) = link.send(&renew).await?;
        if there == 0 {
            let text = serde_json::to_string(&*catalog).map_err(|error| BrokerError { reason: error.to_string() })?;
            let mut write = redis::pipe();
            write.cmd("SET").arg(&key).arg(text).arg("EX").arg(CATALOG_SECONDS).ignore();
            link.send_large::<()>(&write).await?;
        }
        self.keep(digest.to_owned(), catalog);
        Ok(())
    }

    /// The catalogs of the servers of `workers`, `None` for one that is not known.
    pub(super) async fn catalogs(&self, link: &Link, workers: &[WorkerReport]) -> Vec<Option<Arc<NodeCatalog>>> {
        let mut found = Vec::new();
        for backend in workers.iter().flat_map(|worker| &worker.backends) {
            found.push(match backend.node_catalog.as_deref() {
                Some(digest) => self.catalog(link, digest).await,
                None => None,
            });
        }
        found
    }

    async fn catalog(&self, link: &Link, digest: &str) -> Option<Arc<NodeCatalog>> {
        if let Some(catalog) = self.kept(digest) {
            return Some(catalog);
        }
        let mut read = redis::pipe();
        read.cmd("GET").arg(link.key(&format!("catalog:{digest}")));
        let (text,): (Option<String>,) = link.send_large(&read).await.ok()?;
        let catalog = Arc::new(serde_json::from_str::<NodeCatalog>(&text?).ok()?);
        self.keep(digest.to_owned(), Arc::clone(&catalog));
        Some(catalog)
    }

    fn kept(&self, digest: &str) -> Option<Arc<NodeCatalog>> {
        self.catalogs.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn keep(&self, digest: String, catalog: Arc<NodeCatalog>) {
        let mut kept = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        // Models come and go: old ones must not pile up.
        if kept.len() >= 64 {
            kept.pop_first();
        }
        kept.insert(digest, catalog);
    }
}
