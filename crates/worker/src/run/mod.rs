//! One job, from the queue's hint to its end. Holds the order of the steps; each step is a file.

mod able;
mod adopt;
mod collect;
mod files;
mod finish;
mod follow;
mod prepare;
mod preview;
mod shape;
mod sniff;
mod spans;
mod stop;
mod submit;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use comfyui_client::{CallError, ExecutionFailure, HistoryEntry, PreparedPrompt};
use gateway_broker::{BackendState, Entry, Taken};
use gateway_core::event::{JobEvent, LogLevel, LogLine};
use gateway_core::workflow::{Needs, Workflow};
use gateway_core::{JobChange, JobError, JobStatus};
use gateway_db::{Claim, Claimed, Job, Lease, Output};
use gateway_metrics::JOB_WAIT;
use gateway_telemetry::{Kind, job_changed, traced};
use tokio::sync::{OwnedSemaphorePermit, watch};

use self::able::Verdict;
use self::spans::Spans;
use crate::active::Signal;
use crate::backend::{Backend, Stream};
use crate::context::Context;

/// How long a hint waits whose job could not be claimed because the database failed.
const CLAIM_AGAIN_MS: i64 = 1_000;

/// A job under way.
pub(crate) struct Run {
    pub(crate) context: Arc<Context>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) job: Job,
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) signal: watch::Receiver<Signal>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) began: Instant,
    pub(crate) spans: Spans,
    /// The event stream under which the prompt was sent; `None` for a prompt of an earlier claim.
    pub(crate) stream: Option<Stream>,
    /// Room in ComfyUI; given back as soon as the prompt has left it.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
}

/// How a prompt left ComfyUI, or why it is followed no more.
pub(crate) enum Ended {
    /// It has a history entry.
    Finished(Box<Finished>),
    /// It has ended, and its history entry can't be read.
    Unreadable(Box<CallError>),
    /// It is neither queued nor in the history.
    Lost,
    /// Its owner wanted it canceled, and it left without an entry or does not listen.
    Canceled,
    /// It ran too long.
    TimedOut,
    /// The server runs nothing any more; the prompt was taken back before it ran.
    TakenBack,
    /// The server has been gone for long; the prompt may be there when it is back.
    Unreachable,
    /// The worker stops. `alive`: ComfyUI still has the prompt.
    HandedBack { alive: bool },
    /// Somebody else has the job.
    ClaimLost,
}

/// A prompt that ran to an end.
pub(crate) struct Finished {
    pub(crate) entry: HistoryEntry,
    /// Pictures that came over the socket only, stored as they came.
    pub(crate) pictures: Result<Vec<Output>, collect::CollectError>,
    /// Whether some of them may have been missed.
    pub(crate) pictures_missed: bool,
    /// What stopped a branch, where something did.
    pub(crate) blocked: Option<ExecutionFailure>,
    /// Whether this worker asked ComfyUI to stop it.
    pub(crate) stopped: Option<stop::Reason>,
}

/// What becomes of a job that did not get as far as ComfyUI, or not with a result.
pub(crate) enum Setback {
    /// It fails, or is tried again where the error and the attempts left allow it.
    Failed(Box<JobError>),
    /// Like `Failed`, and ComfyUI may have its prompt nonetheless: the next attempt looks first.
    Unclear(Box<JobError>),
    /// Back to the queue; it was never run.
    NotRun,
    /// It was canceled.
    Canceled,
    /// Somebody else has it.
    ClaimLost,
}

/// Runs the job that was `taken` from the queue, on `backend`, in `slot`.
pub(crate) async fn run(context: Arc<Context>, backend: Arc<Backend>, taken: Taken, slot: OwnedSemaphorePermit) {
    let Taken { entry, receipt } = taken;
    let entry = match able::check(&context, &backend, entry).await {
        Verdict::Able(entry) => entry,
        // To whoever can; this server does not ask for its like again.
        Verdict::Unable(entry) => return context.enqueue(entry).await,
    };
    let claim = Claim {
        worker_id: context.worker_id.clone(),
        backend: backend.name().to_owned(),
        lease: context.parts.worker.lease,
    };
    let claimed = context.parts.database.claim_job(entry.job, claim).await;
    if let (Some(receipt), Ok(_)) = (receipt, &claimed) {
        // From here on the claim tells who has the job.
        context.parts.broker.done(receipt, entry.job);
    }
    let claimed = match claimed {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, jobId = %entry.job, "a job could not be claimed; it is tried again");
            let due = context.parts.database.now().plus_millis(CLAIM_AGAIN_MS);
            return context.enqueue(Entry { not_before: Some(due), ..entry }).await;
        }
    };
    let Claimed { job, look_first, messages } = claimed;
    if messages {
        context.messages.notify_one();
    }
    let (_guard, signal) = context.active.add(Lease { job: job.id, epoch: job.epoch });
    if job.cancel_requested {
        context.active.cancel(job.id);
    }
    context.parts.broker.publish(job.id, JobEvent::Status(job.status));
    // A prompt that may live is looked for where it was sent, whichever server has room now; but for one that is gone.
    let earlier = job.backend.as_deref().filter(|_| look_first).and_then(|name| context.backend(name));
    let answers = |server: &Arc<Backend>| matches!(server.state(), BackendState::Ready | BackendState::Stuck);
    let backend = earlier.filter(answers).unwrap_or(backend);
    let spans = Spans::of(&context, &backend, &job);
    let whole = begin(context, backend, job, Hand { spans: spans.clone(), signal, slot }, look_first);
    spans.around(whole).await;
}

/// What a run holds besides its job.
struct Hand {
    spans: Spans,
    signal: watch::Receiver<Signal>,
    slot: OwnedSemaphorePermit,
}

/// Runs a job that was claimed.
async fn begin(context: Arc<Context>, backend: Arc<Backend>, job: Job, hand: Hand, look_first: bool) {
    let Hand { spans, signal, slot } = hand;
    // Only of the first claim is it known since when the job has waited.
    let waited = job.started_at.filter(|_| job.epoch == 1).map(|start| start.millis_since(job.created_at));
    if waited.is_some() {
        measure_wait(&job);
    }
    job_changed(&JobChange::of(&job, Some(JobStatus::Queued), job.status).after(waited));
    let workflow = match context.workflow(&job).await {
        Ok(Ok(workflow)) => workflow,
        Ok(Err(error)) => return finish::without_workflow(&context, &job, *error).await,
        Err(error) => return finish::database_failed(&context, &job, &error).await,
    };
    let run = Run {
        context,
        backend,
        job,
        workflow,
        signal,
        logs: Vec::new(),
        began: Instant::now(),
        spans,
        stream: None,
        slot: Some(slot),
    };
    run.go(look_first).await;
}

/// How long a job waited that begins now: since it was accepted, or since it was due.
fn measure_wait(job: &Job) {
    let Some(started) = job.started_at else { return };
    let since = job.not_before.map_or(job.created_at, |due| due.max(job.created_at));
    let waited = Duration::from_millis(u64::try_from(started.millis_since(since)).unwrap_or_default());
    JOB_WAIT.of([gateway_metrics::workflow(&job.workflow_id)]).record(waited);
}

impl Run {
    async fn go(mut self, look_first: bool) {
        let ended = match self.reach_the_end(look_first).await {
            Ok(ended) => ended,
            Err(setback) => return self.set_back(setback).await,
        };
        match ended {
            Ended::Finished(finished) => self.finish(*finished).await,
            other => self.conclude(other).await,
        }
    }

    async fn reach_the_end(&mut self, look_first: bool) -> Result<Ended, Setback> {
        let prompt = self.prepare()?;
        let needs = Needs::of(prompt.graph());
        self.backend.with_ability(|ability| {
            ability.learn(&needs);
            ability.runs(&needs);
        });
        if look_first && let Some(ended) = self.adopt(&prompt).await? {
            return Ok(ended);
        }
        if self.signal.borrow().cancel {
            return Err(Setback::Canceled);
        }
        self.submit_and_follow(&prompt).await
    }

    async fn submit_and_follow(&mut self, prompt: &PreparedPrompt) -> Result<Ended, Setback> {
        if self.workflow.file_inputs().next().is_some() {
            traced("upload", Kind::Client, self.hand_over()).await?;
        }
        let registration = traced("prompt", Kind::Client, self.submit(prompt)).await?;
        Ok(traced("execution", Kind::Client, self.follow(registration, prompt.graph())).await)
    }

    /// The claim that all writes must show.
    pub(crate) fn lease(&self) -> Lease {
        Lease { job: self.job.id, epoch: self.job.epoch }
    }

    /// How long it has taken so far, in milliseconds.
    pub(crate) fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The id of the prompt in ComfyUI.
    pub(crate) fn prompt_id(&self) -> String {
        self.job.prompt_id.clone().unwrap_or_else(|| self.job.id.prompt_id(self.job.epoch).to_string())
    }

    /// Adds a line to the job's log. `message` must hold nothing that the caller sent.
    pub(crate) fn log(&mut self, level: LogLevel, event: &str, message: impl Into<String>) {
        let time = self.context.parts.database.now();
        let line = LogLine { time, level, event: event.to_owned(), message: message.into(), node: None };
        self.context.parts.broker.publish(self.job.id, JobEvent::Log(line.clone()));
        self.logs.push(line);
    }
}
