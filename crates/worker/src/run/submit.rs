//! Sends the prompt, once. An unclear answer is followed by a look, never by a second sending.

use std::collections::HashSet;
use std::time::Duration;

use comfyui_client::{
    CallError, CancelSent, HistoryEntry, PreparedPrompt, QueueSnapshot, RefusalReason, SubmitError, SubmitOptions,
};
use gateway_broker::BackendState;
use gateway_core::chain;
use gateway_core::event::LogLevel;
use serde_json::{Map, Value, json};

use super::prepare::picture_nodes;
use super::{Run, Setback};
use crate::backend::Registration;
use crate::failure;

/// Between the looks after an unclear answer: ComfyUI may still be checking the prompt.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1_000), Duration::from_millis(2_000)];

/// Entries of the history in which a prompt is looked for whose id is not known.
const LATEST: u32 = 64;

impl Run {
    /// Sends the prompt; gives what waits for it.
    pub(super) async fn submit(&mut self, prompt: &PreparedPrompt) -> Result<Registration, Setback> {
        let prompt_id = self.job.id.prompt_id(self.job.epoch);
        let pictures = picture_nodes(prompt.graph());
        let registration = self.backend.prompts.register(&prompt_id.to_string(), pictures.clone());
        self.stream = self.backend.stream();
        // Without an id, ComfyUI tells the events of a prompt to everybody.
        let nobody = || uuid::Uuid::new_v4().simple().to_string();
        let options = SubmitOptions {
            prompt_id,
            client_id: Some(self.stream.as_ref().map_or_else(nobody, |stream| stream.client_id().to_owned())),
            extra_data: self.extra_data(),
        };
        match self.backend.client.submit(prompt, &options).await {
            Ok(accepted) if accepted.own_id => {
                self.log(LogLevel::Info, "submitted", "given to ComfyUI");
                Ok(registration)
            }
            Ok(accepted) => {
                drop(registration);
                self.log(LogLevel::Info, "submitted", "given to ComfyUI, which named the prompt itself");
                self.take_name(accepted.prompt_id).await?;
                Ok(self.backend.prompts.register(&self.prompt_id(), pictures))
            }
            Err(SubmitError::Unknown(error)) => self.look_after(registration, pictures, &error).await,
            Err(error) => Err(self.not_taken(error).await),
        }
    }

    /// What ComfyUI keeps beside the prompt: by it the job is found again.
    fn extra_data(&self) -> Map<String, Value> {
        let gateway = json!({
            "job": self.job.id,
            "attempt": self.job.attempt,
            "epoch": self.job.epoch,
            "correlationId": self.job.correlation_id,
        });
        Map::from_iter([(String::from("gateway"), gateway)])
    }

    pub(super) async fn take_name(&mut self, prompt_id: String) -> Result<(), Setback> {
        match self.context.parts.database.rename_prompt(self.lease(), &prompt_id).await {
            Ok(true) => {
                self.job.prompt_id = Some(prompt_id);
                Ok(())
            }
            Ok(false) => Err(Setback::ClaimLost),
            Err(error) => {
                tracing::warn!(%error, "the prompt's own name was not stored");
                self.job.prompt_id = Some(prompt_id);
                Ok(())
            }
        }
    }

    /// The answer was lost: does ComfyUI have the prompt?
    async fn look_after(
        &mut self,
        registration: Registration,
        pictures: HashSet<String>,
        error: &CallError,
    ) -> Result<Registration, Setback> {
        self.log(
            LogLevel::Warn,
            "unclear",
            format!("ComfyUI's answer is not clear ({error}); it is asked for the prompt"),
        );
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            match self.find_prompt().await {
                Some(prompt_id) if prompt_id == registration.prompt_id() => return Ok(registration),
                Some(prompt_id) => {
                    drop(registration);
                    self.take_name(prompt_id).await?;
                    return Ok(self.backend.prompts.register(&self.prompt_id(), pictures));
                }
                None => {}
            }
        }
        Err(Setback::Unclear(Box::new(failure::call("ComfyUI did not take the job", error))))
    }

    /// The id under which ComfyUI has this claim's prompt: ours, or its own, found by what we left beside it.
    async fn find_prompt(&self) -> Option<String> {
        let own = self.prompt_id();
        let queue = self.backend.client.queue().await.ok()?;
        if let Some(prompt_id) = self.queued_as(&queue, Some(self.job.epoch)) {
            return Some(prompt_id);
        }
        if self.backend.client.history(&own).await.ok()?.is_some() {
            return Some(own);
        }
        self.ended_as(Some(self.job.epoch)).await.ok()?.map(|(prompt_id, _)| prompt_id)
    }

    /// The ended prompt of this job's claim `epoch`, or of any claim, on a server that names prompts itself.
    pub(super) async fn ended_as(&self, epoch: Option<i64>) -> Result<Option<(String, HistoryEntry)>, CallError> {
        if self.backend.client.capabilities().is_none_or(|known| known.own_prompt_ids) {
            return Ok(None);
        }
        let job = self.job.id.to_string();
        self.backend.client.find_in_history(LATEST, |extra| is_of(extra, &job, epoch)).await
    }

    /// The id of this job's prompt in `queue`, of the claim `epoch` or, without one, of any claim.
    pub(super) fn queued_as(&self, queue: &QueueSnapshot, epoch: Option<i64>) -> Option<String> {
        let (own, job) = (self.prompt_id(), self.job.id.to_string());
        let mut items = queue.running.iter().chain(&queue.pending);
        items
            .find(|item| item.prompt_id == own || is_of(&item.extra_data, &job, epoch))
            .map(|item| item.prompt_id.clone())
    }

    /// Something that is not ComfyUI refused the prompt. Where it refuses all else, too, jobs wait until that is
    /// mended; where it refuses only this, the others must not wait behind it.
    async fn refused_by_another(&self, reason: String) -> Setback {
        if let Err(CallError::Misconfigured { .. }) = self.backend.client.queue().await {
            self.backend.mark_misconfigured(&reason);
            return Setback::NotRun;
        }
        Setback::Failed(Box::new(failure::not_let_through(&reason)))
    }

    /// Stops the valid part of a refused prompt; where it runs already, it keeps the slot until it has ended.
    async fn stop_part(&mut self, prompt_id: String) {
        match self.backend.client.cancel(&prompt_id, self.is_exclusive().await).await {
            Ok(CancelSent::CannotTarget) => {
                tracing::info!("a refused job's valid part runs to its end: this ComfyUI is too old to stop it alone");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a refused job's valid part still runs in ComfyUI");
            }
        }
        self.let_linger(prompt_id, false);
    }

    async fn not_taken(&mut self, error: SubmitError) -> Setback {
        let failed = |error| Setback::Failed(Box::new(error));
        match error {
            SubmitError::Refused(refusal) => {
                if let Some(prompt_id) = &refusal.prompt_id {
                    // A part of it is queued; nobody asked for a part.
                    self.stop_part(prompt_id.clone()).await;
                }
                let mut error = failure::refused(&refusal, &self.workflow);
                if refusal.reason() == RefusalReason::MissingInputFile && self.workflow.file_inputs().next().is_some() {
                    // Somebody has cleared ComfyUI's input folder: the next attempt sends the files again.
                    self.backend.files.forget();
                    error.retryable = true;
                }
                failed(error)
            }
            SubmitError::TooLarge => failed(failure::too_large_for_comfyui()),
            SubmitError::Misconfigured(reason) => self.refused_by_another(reason).await,
            SubmitError::Unreachable(error) => {
                let problem = format!("{error}; waiting jobs run when it is back");
                self.backend.set_state(BackendState::Unreachable, Some(problem));
                Setback::NotRun
            }
            SubmitError::Unknown(error) => failed(failure::call("ComfyUI did not take the job", &error)),
        }
    }
}

/// Whether what was left beside a prompt says that it is of `job`, and of its claim `epoch`, where one is given.
fn is_of(extra: &Value, job: &str, epoch: Option<i64>) -> bool {
    extra.pointer("/gateway/job").and_then(Value::as_str) == Some(job)
        && epoch.is_none_or(|epoch| extra.pointer("/gateway/epoch").and_then(Value::as_i64) == Some(epoch))
}
