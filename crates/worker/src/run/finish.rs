//! The end of a run: outputs stored, the job settled or given back, whoever watches told.

use std::time::{Duration, Instant};

use comfyui_client::{FailureClass, Outcome};
use gateway_core::event::{JobEvent, LogLevel, LogLine};
use gateway_core::retry::backoff_ms;
use gateway_core::{JobChange, JobError, JobStatus, Timestamp, chain};
use gateway_db::{DbError, Job, Lease, Release, Settlement};
use gateway_media::StripError;
use gateway_metrics::{JOB_RETRIES, JOB_RUN, JOB_STORE};
use gateway_telemetry::{Kind, job_changed, traced};

use super::collect::CollectError;
use super::stop::Reason;
use super::{Ended, Finished, Run, Setback};
use crate::backend::Stuck;
use crate::context::{Context, job_ended};
use crate::failure;
use crate::hint;
use crate::privacy;

/// Between two tries to settle a job while the database is away.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// How long a job waits whose ComfyUI can't be asked for its prompt.
const UNREACHABLE_PAUSE_MS: i64 = 1_000;

impl Run {
    /// A prompt that has a history entry.
    pub(super) async fn finish(mut self, mut finished: Finished) {
        match &finished.entry.outcome {
            Outcome::Succeeded => {}
            Outcome::Failed(failure) => {
                if failure.class == FailureClass::OutOfMemory {
                    self.free_memory().await;
                }
                if failure.class == FailureClass::CudaPoisoned {
                    self.backend.mark_stuck(Stuck::Device);
                }
                let error = failure::execution(failure, &self.workflow);
                return self.end_in_failure(error).await;
            }
            Outcome::Interrupted => {
                return match finished.stopped {
                    Some(Reason::Cancel) => self.settle(JobStatus::Canceled, None, Vec::new(), None).await,
                    Some(Reason::Timeout) => self.end_timed_out().await,
                    None if self.signal.borrow().cancel => {
                        self.settle(JobStatus::Canceled, None, Vec::new(), None).await
                    }
                    None => self.end_in_failure(failure::interrupted()).await,
                };
            }
            Outcome::Unknown => return self.end_in_failure(failure::unknown_outcome()).await,
        }
        // The next prompt may go to ComfyUI while this one's outputs are fetched, but not without bound.
        if finished.pictures_missed {
            return self.end_in_failure(failure::pictures_missed()).await;
        }
        let context = std::sync::Arc::clone(&self.context);
        let _collecting = context.collecting.acquire().await;
        self.slot = None;
        let began = Instant::now();
        match traced("collect", Kind::Client, self.collect(&mut finished)).await {
            Ok(outputs) if outputs.is_empty() => {
                let error = failure::no_outputs(finished.blocked.as_ref(), &self.workflow);
                self.end_in_failure(error).await;
            }
            Ok(outputs) => {
                let store_ms = i64::try_from(began.elapsed().as_millis()).ok();
                self.settle(JobStatus::Succeeded, None, outputs, store_ms).await;
            }
            Err(error) => {
                if matches!(error, CollectError::Gone) {
                    // Cached nodes name files of earlier runs; without the cache they are made anew.
                    self.free_memory().await;
                }
                self.end_in_failure(collect_failure(&error)).await;
            }
        }
    }

    /// A prompt that left ComfyUI in another way.
    pub(super) async fn conclude(mut self, ended: Ended) {
        match ended {
            Ended::Finished(finished) => Box::pin(self.finish(*finished)).await,
            Ended::Unreadable(error) => self.end_in_failure(failure::unreadable(&error)).await,
            Ended::Lost => {
                self.log(LogLevel::Warn, "lost", "ComfyUI no longer knows the prompt");
                self.end_in_failure(failure::prompt_lost()).await;
            }
            Ended::Canceled => self.settle(JobStatus::Canceled, None, Vec::new(), None).await,
            Ended::TimedOut => self.end_timed_out().await,
            Ended::TakenBack | Ended::HandedBack { alive: false } => self.release(None, false, false, None).await,
            Ended::HandedBack { alive: true } => self.release(None, true, true, None).await,
            // Nobody can stop it there; its owner need not wait for that.
            Ended::Unreachable if self.signal.borrow().cancel => {
                self.settle(JobStatus::Canceled, None, Vec::new(), None).await;
            }
            Ended::Unreachable => {
                let due = self.context.parts.database.now().plus_millis(UNREACHABLE_PAUSE_MS);
                self.release(Some(due), true, true, None).await;
            }
            Ended::ClaimLost => {
                tracing::warn!(epoch = self.job.epoch, "another worker has the job; this one drops it");
            }
        }
    }

    /// A job that did not get as far as ComfyUI.
    pub(super) async fn set_back(mut self, setback: Setback) {
        match setback {
            Setback::Failed(error) => self.end_in_failure(*error).await,
            Setback::Unclear(error) => self.fail(*error, true).await,
            Setback::NotRun => self.release(None, false, false, None).await,
            Setback::Canceled => self.settle(JobStatus::Canceled, None, Vec::new(), None).await,
            Setback::ClaimLost => {
                tracing::warn!(epoch = self.job.epoch, "another worker has the job; this one drops it");
            }
        }
    }

    async fn end_timed_out(&mut self) {
        if self.signal.borrow().cancel {
            return self.settle(JobStatus::Canceled, None, Vec::new(), None).await;
        }
        let limit = i64::try_from(self.time_limit().as_millis()).unwrap_or(i64::MAX);
        self.settle(JobStatus::Failed, Some(failure::timeout(limit)), Vec::new(), None).await;
    }

    async fn end_in_failure(&mut self, error: JobError) {
        self.fail(error, false).await;
    }

    /// Tries again later where that can help and attempts are left; else the job fails.
    async fn fail(&mut self, error: JobError, prompt_may_live: bool) {
        let error = privacy::said(&self.context, error);
        let attempts = self.job.attempt;
        let again = error.retryable && attempts < self.context.parts.queue.max_attempts && !self.signal.borrow().cancel;
        if !again {
            let status = if self.signal.borrow().cancel { JobStatus::Canceled } else { JobStatus::Failed };
            let error = (status == JobStatus::Failed).then_some(error);
            return self.settle(status, error, Vec::new(), None).await;
        }
        let wait = backoff_ms(attempts, self.context.parts.queue.backoff_scale, rand::random());
        let message =
            format!("attempt {attempts} failed ({}: {}); the next one follows in {wait} ms", error.code, error.message);
        self.log(LogLevel::Warn, "retry", message);
        let workflow = gateway_metrics::workflow(&self.job.workflow_id);
        JOB_RETRIES.of([workflow, error.code.as_str().into()]).increment(1);
        let due = self.context.parts.database.now().plus_millis(wait);
        self.spans.failed(error.code);
        self.release(Some(due), true, prompt_may_live, Some(&error)).await;
    }

    async fn settle(
        &mut self,
        status: JobStatus,
        error: Option<JobError>,
        outputs: Vec<gateway_db::Output>,
        store_ms: Option<i64>,
    ) {
        let took = self.began.elapsed();
        let change = JobChange::of(&self.job, Some(JobStatus::Running), status).because_of(error.as_ref());
        if let Some(error) = &error {
            self.spans.failed(error.code);
        }
        let logs = std::mem::take(&mut self.logs);
        let cache_for = self.context.parts.cache.ttl;
        let settlement = Settlement { status, error, outputs, store_ms, logs, cache_for };
        if !traced("store", Kind::Internal, settle(&self.context, self.lease(), settlement)).await {
            return;
        }
        self.slot = None;
        self.backend.forget_history(self.prompt_id());
        if let (JobStatus::Succeeded, Some(store_ms)) = (status, store_ms) {
            self.measure(took, store_ms);
        }
        job_ended(&change.after(Some(self.elapsed_ms())));
    }

    /// How long a run `took` that succeeded: to make its outputs, and to store them.
    fn measure(&self, took: Duration, store_ms: i64) {
        let store = Duration::from_millis(u64::try_from(store_ms).unwrap_or_default());
        let workflow = gateway_metrics::workflow(&self.job.workflow_id);
        JOB_RUN.of([workflow.clone()]).record(took.saturating_sub(store));
        JOB_STORE.of([workflow]).record(store);
    }

    /// Gives the job back to the queue; `error` is why its run failed, where it did.
    async fn release(
        &mut self,
        not_before: Option<Timestamp>,
        used_attempt: bool,
        prompt_may_live: bool,
        error: Option<&JobError>,
    ) {
        let logs = std::mem::take(&mut self.logs);
        let release = Release { not_before, used_attempt, prompt_may_live, logs };
        match self.context.parts.database.release_job(self.lease(), release).await {
            Ok(true) => {}
            Ok(false) => {
                return tracing::warn!(epoch = self.job.epoch, "the claim was lost before the job was given back");
            }
            Err(error) => {
                return tracing::error!(%error, "a job was not given back; it is recovered when its claim runs out");
            }
        }
        let mut change = JobChange::of(&self.job, Some(JobStatus::Running), JobStatus::Queued).because_of(error);
        change.attempt -= i32::from(!used_attempt);
        change.not_before = not_before;
        job_changed(&change.after(Some(self.elapsed_ms())));
        if !prompt_may_live {
            self.backend.forget_history(self.prompt_id());
        }
        self.context.parts.broker.publish(self.job.id, JobEvent::Status(JobStatus::Queued));
        self.context.enqueue(hint::back(&self.job, not_before, prompt_may_live)).await;
    }

    async fn free_memory(&mut self) {
        self.log(LogLevel::Info, "free", "ComfyUI is asked to free its memory");
        if let Err(error) = self.backend.client.free(true, true).await {
            tracing::warn!(error = %chain(&error), "ComfyUI could not be asked to free memory");
        }
    }
}

fn collect_failure(error: &CollectError) -> JobError {
    let failed = match error {
        CollectError::Gone => failure::call(
            "ComfyUI lists an output that it no longer has",
            &comfyui_client::CallError::Status { status: 404, hint: "the file is gone" },
        ),
        CollectError::Fetch(error) => failure::call("an output could not be fetched", error),
        CollectError::Store(error) => failure::storage(error),
        CollectError::Strip(error @ StripError::Incomplete(_)) => failure::cut_short(error),
        CollectError::Strip(error) => failure::not_stripped(&error.to_string()),
        CollectError::Telling => failure::not_stripped("its format is not known"),
    };
    failed.caused_by(error)
}

/// Settles and tells whoever watches; `false` where the claim was lost or nothing could be written.
async fn settle(context: &Context, lease: Lease, settlement: Settlement) -> bool {
    let status = settlement.status;
    let mut settled = context.parts.database.settle_job(lease, settlement.clone()).await;
    let began = Instant::now();
    // The work is done: a database that is away for a moment must not make it be done again.
    while settled.as_ref().is_err_and(DbError::is_transient) && began.elapsed() < context.parts.worker.lease / 2 {
        tokio::time::sleep(SETTLE_AGAIN).await;
        settled = context.parts.database.settle_job(lease, settlement.clone()).await;
    }
    match settled {
        Ok(Some(aftermath)) => {
            context.parts.broker.publish(lease.job, JobEvent::Status(status));
            context.follow_up(aftermath).await;
            true
        }
        Ok(None) => {
            tracing::warn!(epoch = lease.epoch, "the claim was lost: another worker's result stands");
            false
        }
        Err(error) => {
            tracing::error!(%error, "a job was not settled; it is recovered when its claim runs out");
            false
        }
    }
}

/// A job whose workflow can't be had.
pub(super) async fn without_workflow(context: &Context, job: &Job, error: JobError) {
    let error = Some(privacy::said(context, error));
    let change = JobChange::of(job, Some(JobStatus::Running), JobStatus::Failed).because_of(error.as_ref());
    let settlement = Settlement {
        status: JobStatus::Failed,
        error,
        outputs: Vec::new(),
        store_ms: None,
        logs: Vec::new(),
        cache_for: None,
    };
    if settle(context, Lease { job: job.id, epoch: job.epoch }, settlement).await {
        job_ended(&change);
    }
}

/// The database failed after the claim: the job goes back, or is recovered when its claim runs out.
pub(super) async fn database_failed(context: &Context, job: &Job, error: &DbError) {
    tracing::error!(%error, "a job's workflow could not be read");
    let line = LogLine {
        time: context.parts.database.now(),
        level: LogLevel::Warn,
        event: String::from("retry"),
        message: String::from("the database failed; the job is queued again"),
        node: None,
    };
    let release = Release {
        not_before: Some(context.parts.database.now().plus_millis(1_000)),
        used_attempt: false,
        prompt_may_live: job.prompt_id.is_some(),
        logs: vec![line],
    };
    let mut change = JobChange::of(job, Some(JobStatus::Running), JobStatus::Queued);
    change.attempt -= 1;
    change.not_before = release.not_before;
    match context.parts.database.release_job(Lease { job: job.id, epoch: job.epoch }, release).await {
        Ok(true) => job_changed(&change),
        Ok(false) => tracing::warn!(epoch = job.epoch, "the claim was lost before the job was given back"),
        Err(error) => tracing::error!(%error, "a job was not given back; it is recovered when its claim runs out"),
    }
}
