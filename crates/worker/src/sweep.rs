//! Mends what crashes leave behind: claims of the dead, jobs that the queue does not know, files that nothing refers
//! to. Takes no input, may run at any time and in several processes at once.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::{JobId, Timestamp, chain};
use gateway_db::{DbError, QueuedJob, Recovered, Retention, Swept};
use gateway_metrics::CLAIMS_EXPIRED;
use gateway_telemetry::job_changed;

use crate::context::Context;
use crate::hint;

const INTERVAL: Duration = Duration::from_secs(5);
/// A job that the queue was not told of within this time never will be by whoever accepted it.
const FORGOTTEN_MS: i64 = 2_000;
/// How far back one of all workers looks, at each sweep, for jobs that whoever accepted them died before telling of: over
/// two sweeps at the least.
const NEW_MS: i64 = 15_000;
/// Workers of many that a job may lose before it is held for what kills them.
const MAX_CRASHES: i32 = 3;
/// The same where one process does all: whatever ends it hits every job that runs, and most are innocent.
const MAX_CRASHES_ALONE: i32 = 10;
const PAGE: i64 = 500;
/// How much of each kind goes at a time where it is old: whoever writes meanwhile waits for no more than that.
const OLD: i64 = 100;
/// How often one of all workers looks whether the queue knows every waiting job: one that has failed over may lack the
/// latest.
const AUDIT: Duration = Duration::from_secs(30);
/// How long filling an empty queue may take before another worker does it.
const REFILL: Duration = Duration::from_secs(60);

/// Before the first claim. A worker that has the database for itself knows that every running job was left behind by a
/// process that is gone, and that the queue is empty.
pub(crate) async fn at_start(context: &Context) -> Result<(), DbError> {
    if context.parts.broker.is_shared() {
        return sweep(context).await;
    }
    let far = Timestamp::from_millis(i64::MAX);
    let mut recovered = 0;
    loop {
        let page = context.parts.database.recover_jobs(far, MAX_CRASHES_ALONE, PAGE).await?;
        recovered += page.jobs.len();
        if page.jobs.is_empty() {
            break;
        }
        tell(context, page).await;
    }
    let queued = tell_of_all(context).await?;
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
            // It may have lost everything.
            () = context.parts.broker.back() => {}
            () = context.draining.cancelled() => return,
        }
        if let Err(error) = sweep(&context).await {
            tracing::warn!(%error, "a sweep failed; the next one will do its work");
        }
        // One of all workers is enough.
        if context.parts.broker.turn("trash", INTERVAL / 2).await.unwrap_or(true) {
            remove_old(&context).await;
            empty_trash(&context).await;
        }
    }
}

async fn sweep(context: &Context) -> Result<(), DbError> {
    let (database, broker) = (&context.parts.database, &context.parts.broker);
    let crashes = if broker.is_shared() { MAX_CRASHES } else { MAX_CRASHES_ALONE };
    let recovered = database.recover_jobs(database.now(), crashes, PAGE).await?;
    if !recovered.jobs.is_empty() {
        CLAIMS_EXPIRED.of([]).increment(u64::try_from(recovered.jobs.len()).unwrap_or_default());
        tracing::warn!(jobs = recovered.jobs.len(), "claims ran out: the jobs are queued again");
        tell(context, recovered).await;
    }
    let forgotten = database.undispatched_jobs(database.now().plus_millis(-FORGOTTEN_MS), PAGE).await?;
    if forgotten.is_empty() {
        context.untold.send_if_modified(|untold| std::mem::replace(untold, false));
    } else {
        tracing::info!(jobs = forgotten.len(), "the queue is told of jobs that it did not know");
        dispatch(context, forgotten).await?;
    }
    if !broker.is_shared() {
        return Ok(());
    }
    match broker.reclaim().await {
        Ok(0) | Err(_) => {}
        Ok(back) => tracing::warn!(jobs = back, "a worker died between taking and claiming: back in the queue"),
    }
    refill(context).await?;
    if broker.turn("audit", AUDIT).await.unwrap_or(false) {
        let lost = tell_of_unknown(context, None, None).await?;
        if lost > 0 {
            tracing::warn!(jobs = lost, "the queue has lost jobs: it is told of them again");
        }
    } else if broker.turn("new", INTERVAL.mul_f64(0.8)).await.unwrap_or(false) {
        let until = database.now().plus_millis(-FORGOTTEN_MS);
        let (after, until) = (JobId::floor(until.plus_millis(-NEW_MS)), JobId::floor(until));
        let untold = tell_of_unknown(context, Some(after), Some(until)).await?;
        if untold > 0 {
            tracing::info!(jobs = untold, "the queue is told of jobs that it did not know");
        }
    }
    Ok(())
}

/// Tells everybody of jobs whose claims ran out.
async fn tell(context: &Context, recovered: Recovered) {
    recovered.queued.iter().for_each(job_changed);
    context.follow_up(recovered.aftermath).await;
}

/// Fills a queue that has lost everything. Such a one does not have the marker that was left in it.
async fn refill(context: &Context) -> Result<(), DbError> {
    let (database, broker) = (&context.parts.database, &context.parts.broker);
    let Ok(marker) = broker.marker().await else { return Ok(()) };
    let noted = database.queue_marker().await?;
    if marker.is_some() && marker == noted {
        return Ok(());
    }
    if !broker.turn("refill", REFILL).await.unwrap_or(false) {
        return Ok(());
    }
    let queued = tell_of_all(context).await?;
    let marker = format!("{:016x}", rand::random::<u64>());
    database.set_queue_marker(&marker).await?;
    match broker.set_marker(&marker).await {
        Ok(()) => tracing::info!(queued, "the queue was empty: it is told of all waiting jobs"),
        Err(error) => tracing::debug!(%error, "the queue is away again; it is filled when it is back"),
    }
    Ok(())
}

/// Tells the queue of those waiting jobs after `after` and before `until` that it does not know; gives how many there are.
async fn tell_of_unknown(context: &Context, mut after: Option<JobId>, until: Option<JobId>) -> Result<usize, DbError> {
    let mut told = 0;
    loop {
        let mut page = context.parts.database.queued_jobs(after, PAGE).await?;
        page.retain(|job| until.is_none_or(|until| job.id < until));
        let Some(end) = page.last() else { return Ok(told) };
        after = Some(end.id);
        let ids: Vec<JobId> = page.iter().map(|job| job.id).collect();
        let Ok(unknown) = context.parts.broker.unknown(&ids).await else { return Ok(told) };
        if !unknown.is_empty() {
            told += unknown.len();
            dispatch(context, page.into_iter().filter(|job| unknown.contains(&job.id)).collect()).await?;
        }
    }
}

/// Tells the queue of every waiting job; gives how many there are.
async fn tell_of_all(context: &Context) -> Result<usize, DbError> {
    let mut last = None;
    let mut queued = 0;
    loop {
        let page = context.parts.database.queued_jobs(last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(queued) };
        last = Some(end.id);
        queued += page.len();
        dispatch(context, page).await?;
    }
}

async fn dispatch(context: &Context, jobs: Vec<QueuedJob>) -> Result<(), DbError> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let entries = jobs.into_iter().map(hint::of).collect();
    let told = context.parts.broker.enqueue(entries).await;
    let untold = told.is_err();
    context.untold.send_if_modified(|before| std::mem::replace(before, untold) != untold);
    match told {
        Ok(_positions) => context.parts.database.mark_dispatched(&ids).await,
        Err(error) => {
            tracing::debug!(%error, "the queue can't be told of waiting jobs; the next sweep will try");
            Ok(())
        }
    }
}

/// Removes what is older than it may be, a little at a time.
async fn remove_old(context: &Context) {
    let settings = context.parts.retention;
    let retention = Retention { jobs: settings.jobs, outputs: settings.outputs };
    match context.parts.database.sweep_old(retention, OLD).await {
        Ok(swept) if swept.is_empty() => {}
        Ok(Swept { jobs, outputs, uploads }) => tracing::info!(jobs, outputs, uploads, "what was old is removed"),
        Err(error) => tracing::warn!(%error, "what is old was not removed; the next sweep will"),
    }
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
            Err(error) => tracing::warn!(error = %chain(&error), prefix, "files can't be removed"),
        }
    }
    if !gone.is_empty()
        && let Err(error) = context.parts.database.forget_trash(gone).await
    {
        tracing::warn!(%error, "removed files stay listed as trash");
    }
}
