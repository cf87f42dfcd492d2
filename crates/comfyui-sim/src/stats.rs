//! Counters that prove what a simulator did. They survive a crash, unlike everything it served.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::sync::lock;

/// What a simulator did since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SimStats {
    /// Prompts that were queued.
    pub prompts_accepted: u64,
    /// Prompts that were refused with 400.
    pub prompts_refused: u64,
    /// Prompts that began to run.
    pub prompts_started: u64,
    /// Prompts that came to an end of any kind.
    pub prompts_finished: u64,
    /// How often each prompt id began to run.
    pub starts: BTreeMap<String, u64>,
    /// Nanoseconds in which nothing ran, summed over all gaps between two prompts.
    pub idle_nanos: u64,
    /// Requests by method and route, such as `GET /history/{id}`.
    pub requests: BTreeMap<String, u64>,
    /// The header `traceparent` of the latest request that had one, by method and route.
    pub trace_parents: BTreeMap<String, String>,
    /// Websockets that are open now.
    pub open_sockets: u64,
    /// How often it crashed.
    pub crashes: u64,
}

#[derive(Default)]
struct Inner {
    stats: SimStats,
    last_end: Option<Instant>,
}

/// Collects `SimStats`.
#[derive(Default)]
pub(crate) struct Recorder {
    inner: Mutex<Inner>,
}

impl Recorder {
    pub(crate) fn snapshot(&self) -> SimStats {
        lock(&self.inner).stats.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut SimStats)) {
        change(&mut lock(&self.inner).stats);
    }

    pub(crate) fn request(&self, route: String, trace_parent: Option<&str>) {
        let mut inner = lock(&self.inner);
        if let Some(trace_parent) = trace_parent {
            inner.stats.trace_parents.insert(route.clone(), trace_parent.to_owned());
        }
        *inner.stats.requests.entry(route).or_default() += 1;
    }

    pub(crate) fn prompt_started(&self, prompt_id: &str) {
        let mut inner = lock(&self.inner);
        if let Some(end) = inner.last_end.take() {
            let gap = u64::try_from(end.elapsed().as_nanos()).unwrap_or(u64::MAX);
            inner.stats.idle_nanos = inner.stats.idle_nanos.saturating_add(gap);
        }
        inner.stats.prompts_started += 1;
        match inner.stats.starts.get_mut(prompt_id) {
            Some(count) => *count += 1,
            None => {
                inner.stats.starts.insert(prompt_id.to_owned(), 1);
            }
        }
    }

    pub(crate) fn prompt_finished(&self) {
        let mut inner = lock(&self.inner);
        inner.stats.prompts_finished += 1;
        inner.last_end = Some(Instant::now());
    }

    pub(crate) fn crashed(&self) {
        let mut inner = lock(&self.inner);
        inner.stats.crashes += 1;
        inner.last_end = None;
    }
}
