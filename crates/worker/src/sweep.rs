//! Mends what crashes leave behind: claims of the dead, jobs that the queue was never told of, files that
//! nothing refers to. Takes no input, may run at any time and in several processes at once.

use std::sync::Arc;
use std::time::Duration;

use gateway_broker::Entry;
use gateway_core::{JobId, Timestamp};
use gateway_db::{DbError, QueuedJob};

use crate::context::Context;

const INTERVAL: Duration = Duration::from_secs(5);
/// A job that the queue was not told of within this time never will be by whoever accepted it.
const FORGOTTEN_MS: i64 = 2_000;
/// Workers that a job may lose before it is held for what kills them.
const MAX_CRASHES: i32 = 10;
const PAGE: i64 = 500;

/// Before the first claim of a worker that has the database for itself: every running job was left behind by
/// a process that is gone, and the queue is empty.
pub(crate) async fn at_start(context: &Context) -> Result<(), DbError> {
    let far = Timestamp::from_millis(i64::MAX);
    let mut recovered = 0;
    loop {
        let page = context.parts.database.recover_jobs(far, MAX_CRASHES, PAGE).await?;
        recovered += page.len();
        if page.is_empty() {
            break;
        }
    }
    let mut last = None;
    let mut queued = 0;
    loop {
        let page = context.parts.database.queued_jobs(last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        queued += page.len();
        dispatch(context, page).await?;
    }
    if recovered + queued > 0 {
        tracing::info!(recovered, queued, "jobs of an earlier start are in the queue again");
    }
    Ok(())
}

/// Sweeps until the worker drains.
pub(crate) async fn run(context: Arc<Context>) {
    loop {
        let jitter = INTERVAL.mul_f64(rand::random::<f64>() * 0.2);
        tokio::select! {
            () = tokio::time::sleep(INTERVAL + jitter) => {}
            () = context.draining.cancelled() => return,
        }
        if let Err(error) = sweep(&context).await {
            tracing::warn!(%error, "a sweep failed; the next one will do its work");
        }
        empty_trash(&context).await;
    }
}

async fn sweep(context: &Context) -> Result<(), DbError> {
    let database = &context.parts.database;
    let recovered = database.recover_jobs(database.now(), MAX_CRASHES, PAGE).await?;
    if !recovered.is_empty() {
        tracing::warn!(jobs = recovered.len(), "claims ran out: the jobs are queued again");
    }
    let forgotten = database.undispatched_jobs(database.now().plus_millis(-FORGOTTEN_MS), PAGE).await?;
    if !forgotten.is_empty() {
        tracing::info!(jobs = forgotten.len(), "the queue is told of jobs that it did not know");
        dispatch(context, forgotten).await?;
    }
    Ok(())
}

async fn dispatch(context: &Context, jobs: Vec<QueuedJob>) -> Result<(), DbError> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let entries = jobs.into_iter().map(entry_of).collect();
    match context.parts.broker.enqueue(entries).await {
        Ok(()) => context.parts.database.mark_dispatched(&ids).await,
        Err(error) => {
            tracing::warn!(%error, "the queue can't be told of waiting jobs; the next sweep will try");
            Ok(())
        }
    }
}

fn entry_of(job: QueuedJob) -> Entry {
    Entry { job: job.id, priority: job.priority, owner: job.owner, since: job.since, not_before: job.not_before }
}

async fn empty_trash(context: &Context) {
    let prefixes = match context.parts.database.trash(PAGE).await {
        Ok(prefixes) => prefixes,
        Err(error) => return tracing::warn!(%error, "the trash can't be read"),
    };
    let mut gone = Vec::new();
    for prefix in prefixes {
        match context.parts.storage.remove_all(&prefix).await {
            Ok(()) => gone.push(prefix),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, prefix, "files can't be removed"),
        }
    }
    if !gone.is_empty()
        && let Err(error) = context.parts.database.forget_trash(gone).await
    {
        tracing::warn!(%error, "removed files stay listed as trash");
    }
}
