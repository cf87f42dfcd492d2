//! Keeps a ComfyUI server busy: takes from the queue what it has room for and can run; while the queue is away, from the
//! database.

use std::sync::Arc;
use std::time::Duration;

use gateway_broker::{Offer, Taken};
use rand::seq::SliceRandom as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::backend::Backend;
use crate::context::Context;
use crate::{hint, run};

/// Entries taken at once.
const TAKE: usize = 32;
/// Between two looks into the database while the queue is away.
const LOOK: Duration = Duration::from_millis(300);
/// How long what was found there may take to be claimed, before the next look finds it again.
const CLAIMED: Duration = Duration::from_millis(50);
/// Between two looks into the database while the queue hands out what it has and takes no more.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// Rows looked at for each free place: other workers look, too.
const SPREAD: usize = 4;

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
    backend.classes_soon().await;
    let mut news = backend.abilities.subscribe();
    let mut terms = context.terms.subscribe();
    // Alone it may look ahead at once; among others, a server that has nothing to run goes first.
    let alone = !context.parts.broker.is_shared() && context.fleet.get().is_none_or(|fleet| fleet.len() == 1);
    let room = backend.room(slots.len());
    let ahead = !alone && room == 0;
    if !alone && !ahead {
        slots.truncate(room);
    }
    let offer = Offer { ahead, ..offer(context, backend, slots.len()) };
    // Dropped while it waits, this loses nothing: entries leave the queue only with its answer.
    let taken = tokio::select! {
        taken = context.parts.broker.next(&offer) => taken,
        () = backend.unready() => return,
        () = context.pause_is(true) => return,
        // What it can run is not what was offered.
        _ = news.changed() => return,
        // Nor are the limits and weights under which it was.
        _ = terms.changed() => return,
        // It has nothing to run any more.
        _ = Arc::clone(&backend.slots).acquire_owned(), if ahead => return,
        () = look_now_and_then(context) => Ok(Vec::new()),
    };
    match taken {
        Ok(taken) if taken.is_empty() => drop(from_database(context, backend, &offer, slots).await),
        Ok(taken) => start(context, backend, taken, slots).await,
        Err(error) => {
            tracing::debug!(%error, "the queue is away: waiting jobs are looked for in the database");
            let found = from_database(context, backend, &offer, slots).await;
            let pause = if found > 0 { CLAIMED } else { LOOK.mul_f64(1.0 + rand::random::<f64>()) };
            tokio::time::sleep(pause).await;
        }
    }
}

fn offer(context: &Context, backend: &Backend, max: usize) -> Offer {
    let (cannot, warm) = backend.with_ability(|ability| (ability.cannot(), ability.warm()));
    let homes = context.fleet.get().into_iter().flatten().map(|backend| backend.name().to_owned()).collect();
    let terms = Arc::clone(&context.terms.borrow());
    Offer { max, worker: context.worker_id.clone(), homes, ahead: false, cannot, warm, terms }
}

/// Waits, while the queue takes what it is told, for ever.
async fn look_now_and_then(context: &Context) {
    // The sender lives in the context, so the channel can't be closed here.
    let _ = context.untold.subscribe().wait_for(|untold| *untold).await;
    tokio::time::sleep(SLOW_LOOK).await;
}

/// Starts what was taken. What there is no slot for, more than was asked for, goes back.
async fn start(
    context: &Arc<Context>,
    backend: &Arc<Backend>,
    taken: Vec<Taken>,
    mut slots: Vec<OwnedSemaphorePermit>,
) {
    for taken in taken {
        let hold = context.runs.hold(&taken.entry);
        match slots.pop() {
            Some(slot) => {
                let job = run::run(Arc::clone(context), Arc::clone(backend), taken, slot);
                context.jobs.spawn(async move {
                    let _hold = hold;
                    job.await;
                });
            }
            None => context.enqueue(taken.entry).await,
        }
    }
}

/// Starts what waits in the database; tells how much.
async fn from_database(
    context: &Arc<Context>,
    backend: &Arc<Backend>,
    offer: &Offer,
    slots: Vec<OwnedSemaphorePermit>,
) -> usize {
    let limit = i64::try_from(slots.len() * SPREAD).unwrap_or(i64::MAX);
    match context.parts.database.urgent_jobs(&offer.cannot, limit).await {
        Ok(mut jobs) => {
            // Not all the same ones as other workers, and none before a more urgent one.
            jobs.shuffle(&mut rand::rng());
            jobs.sort_by_key(|job| std::cmp::Reverse(job.priority));
            let taken = jobs.into_iter().map(|job| Taken { entry: hint::of(job), receipt: None });
            let taken: Vec<Taken> = taken.take(slots.len()).collect();
            let found = taken.len();
            start(context, backend, taken, slots).await;
            found
        }
        Err(error) => {
            tracing::warn!(%error, "waiting jobs can be had neither from the queue nor from the database");
            0
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
