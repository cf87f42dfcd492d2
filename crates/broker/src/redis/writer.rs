//! Gathers what many callers want of Redis at the same time, and sends it together.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_core::JobId;
use gateway_core::event::JobEvent;
use tokio::sync::{mpsc, oneshot};

use super::keys;
use super::link::Link;
use super::scripts::Scripts;
use crate::entry::KEPT_EVENTS;
use crate::{BrokerError, Entry, Receipt};

/// Wishes that go together.
const TOGETHER: usize = 256;
/// Wishes that may wait before more are turned away.
const BACKLOG: usize = 16_384;
/// How long the progress of a job is kept that nobody writes any more.
const PROGRESS_SECONDS: u64 = 3_600;
/// How long the events of a job are kept after the last one.
const KEPT_SECONDS: u64 = 3_600;

pub(super) type Positions = Result<Vec<Option<u64>>, BrokerError>;

pub(super) enum Wish {
    Enqueue(Vec<Entry>, oneshot::Sender<Positions>),
    Done(Receipt, JobId),
    Publish(JobId, JobEvent),
    /// Answered when all that was wished before was sent.
    Flush(oneshot::Sender<()>),
}

/// Where wishes go.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Wish>);

impl Writer {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Wish>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self(sender), receiver)
    }

    pub(super) async fn enqueue(&self, entries: Vec<Entry>) -> Positions {
        let stopped = || BrokerError { reason: String::from("the gateway stops") };
        let (answer, told) = oneshot::channel();
        self.0.send(Wish::Enqueue(entries, answer)).await.map_err(|_gone| stopped())?;
        told.await.map_err(|_gone| stopped())?
    }

    /// Waits until all that was wished so far was sent, or can't be.
    pub(super) async fn flush(&self) {
        let (asker, flushed) = oneshot::channel();
        if self.0.send(Wish::Flush(asker)).await.is_ok() {
            // Sent or not, there is nothing more to do.
            let _ = flushed.await;
        }
    }

    /// Leaves a wish whose loss costs time only.
    pub(super) fn leave(&self, wish: Wish) {
        if self.0.try_send(wish).is_err() {
            tracing::debug!("Redis is too far behind: what can be had otherwise is not told");
        }
    }
}

/// Sends what is wished until nobody is left to wish.
pub(super) async fn run(link: Link, scripts: Arc<Scripts>, mut wishes: mpsc::Receiver<Wish>) {
    let mut together = Vec::new();
    while wishes.recv_many(&mut together, TOGETHER).await > 0 {
        let mut batch = Batch::default();
        for wish in together.drain(..) {
            batch.add(wish);
        }
        batch.send(&link, &scripts).await;
    }
}

#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    askers: Vec<(usize, oneshot::Sender<Positions>)>,
    done: Vec<(Receipt, JobId)>,
    /// Of several steps of one job only the last is told.
    events: Vec<(JobId, JobEvent)>,
    latest: HashMap<JobId, usize>,
    flushed: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, wish: Wish) {
        match wish {
            Wish::Enqueue(entries, asker) => {
                self.askers.push((entries.len(), asker));
                self.entries.extend(entries);
            }
            Wish::Flush(asker) => self.flushed.push(asker),
            Wish::Done(receipt, job) => self.done.push((receipt, job)),
            Wish::Publish(job, event) => {
                let place = self.latest.get(&job).and_then(|place| self.events.get_mut(*place));
                match (place, &event) {
                    (Some((_, last @ JobEvent::Progress(_))), JobEvent::Progress(_)) => *last = event,
                    _ => {
                        self.latest.insert(job, self.events.len());
                        self.events.push((job, event));
                    }
                }
            }
        }
    }

    async fn send(self, link: &Link, scripts: &Scripts) {
        if !self.entries.is_empty() {
            let mut positions = enqueue(link, scripts, &self.entries).await;
            for (many, asker) in self.askers {
                let answer = match &mut positions {
                    Ok(positions) => Ok(positions.drain(..many.min(positions.len())).collect()),
                    Err(error) => Err(error.clone()),
                };
                // Whoever asked may have gone.
                let _ = asker.send(answer);
            }
        }
        if !self.done.is_empty() {
            let told = link.run::<i64>(&scripts.done, |script| {
                for (receipt, job) in &self.done {
                    script.arg(&receipt.lane).arg(&receipt.id).arg(job.to_string());
                }
            });
            if let Err(error) = told.await {
                tracing::debug!(%error, "claimed jobs stay in the queue; whoever takes them finds that they are claimed");
            }
        }
        if !self.events.is_empty() {
            publish(link, scripts, self.events).await;
        }
        for asker in self.flushed {
            // Whoever asked may have gone.
            let _ = asker.send(());
        }
    }
}

async fn enqueue(link: &Link, scripts: &Scripts, entries: &[Entry]) -> Positions {
    let positions: Vec<i64> = link
        .run(&scripts.enqueue, |script| {
            for entry in entries {
                let due = entry.not_before.map_or(0, gateway_core::Timestamp::as_millis);
                script.arg(entry.job.to_string()).arg(keys::lane(entry)).arg(entry.since.as_millis()).arg(due);
            }
        })
        .await?;
    Ok(positions.into_iter().map(|position| u64::try_from(position).ok()).collect())
}

async fn publish(link: &Link, scripts: &Scripts, events: Vec<(JobId, JobEvent)>) {
    let told = link.run::<i64>(&scripts.publish, |script| {
        script.arg(KEPT_EVENTS).arg(KEPT_SECONDS).arg(PROGRESS_SECONDS);
        for (job, event) in &events {
            let (kind, text) = match event {
                JobEvent::Progress(progress) => ("progress", serde_json::to_string(progress)),
                JobEvent::Status(_) => ("status", serde_json::to_string(event)),
                JobEvent::Log(_) => ("log", serde_json::to_string(event)),
                JobEvent::Preview(_) => ("preview", serde_json::to_string(event)),
            };
            if let Ok(text) = text {
                script.arg(job.to_string()).arg(kind).arg(text);
            }
        }
    });
    if let Err(error) = told.await {
        tracing::debug!(%error, "watchers are not told; they look now and then");
    }
}
