//! Keeps a ComfyUI server busy: takes from the queue what it has room for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::backend::Backend;
use crate::context::Context;
use crate::run;

/// Entries taken at once.
const TAKE: usize = 32;
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Takes jobs until the worker drains.
pub(crate) async fn run(context: Arc<Context>, backend: Arc<Backend>) {
    while !context.retired.is_cancelled() {
        tokio::select! {
            () = take(&context, &backend) => {}
            () = context.retired.cancelled() => return,
        }
    }
}

async fn take(context: &Arc<Context>, backend: &Arc<Backend>) {
    let mut slots = free_slots(backend).await;
    // After the wait for a slot: what gives slots back may be that the server runs nothing any more.
    backend.ready().await;
    context.pause_is(false).await;
    backend.socket_soon().await;
    // Dropped while it waits, this loses nothing: entries leave the queue only with its answer.
    let taken = tokio::select! {
        taken = context.parts.broker.next(slots.len()) => taken,
        () = backend.unready() => return,
        () = context.pause_is(true) => return,
    };
    match taken {
        Ok(entries) => {
            for entry in entries {
                let Some(slot) = slots.pop() else {
                    // More than asked for: back they go.
                    context.enqueue(entry).await;
                    continue;
                };
                let job = run::run(Arc::clone(context), Arc::clone(backend), entry, slot);
                context.jobs.spawn(job);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "no work can be taken from the queue");
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Waits for one slot, then takes what else is free.
async fn free_slots(backend: &Backend) -> Vec<OwnedSemaphorePermit> {
    let mut slots = Vec::new();
    match Arc::clone(&backend.slots).acquire_owned().await {
        Ok(slot) => slots.push(slot),
        Err(_closed) => std::future::pending().await,
    }
    while slots.len() < TAKE
        && let Ok(slot) = Arc::clone(&backend.slots).try_acquire_owned()
    {
        slots.push(slot);
    }
    slots
}
