//! From rows to hints.

use gateway_broker::Entry;
use gateway_core::Timestamp;
use gateway_db::{Job, QueuedJob};

/// The hint at a waiting job.
pub(crate) fn of(job: QueuedJob) -> Entry {
    Entry {
        job: job.id,
        priority: job.priority,
        owner: job.owner,
        since: job.since,
        not_before: job.not_before,
        needs: job.needs,
        home: job.home,
    }
}

/// The hint at a job that goes back to the queue. `alive`: its server may still have the prompt.
pub(crate) fn back(job: &Job, not_before: Option<Timestamp>, alive: bool) -> Entry {
    Entry {
        job: job.id,
        priority: job.priority,
        owner: job.owner.clone(),
        since: job.created_at,
        not_before,
        needs: job.needs,
        home: job.backend.clone().filter(|_| alive),
    }
}
