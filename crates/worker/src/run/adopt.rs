//! A job whose earlier claim may have reached ComfyUI: its prompt is looked for there and followed, not run twice.

use std::time::Duration;

use comfyui_client::{CallError, PreparedPrompt};
use gateway_core::chain;
use gateway_core::event::LogLevel;
use gateway_db::Claimed;
use gateway_telemetry::{Kind, traced};

use super::follow::is_unreadable;
use super::prepare::picture_nodes;
use super::{Ended, Finished, Run, Setback};
use crate::failure;

/// Between the two looks: the earlier claim's request may still be on its way.
const SECOND_LOOK: Duration = Duration::from_millis(1_200);

/// What one look found.
enum Found {
    /// In the queue, under this id.
    Queued(String),
    Ended(Box<Finished>),
    Nothing,
}

impl Run {
    /// Follows the prompt of an earlier claim where ComfyUI has it; else begins a new attempt and gives `None`.
    pub(super) async fn adopt(&mut self, prompt: &PreparedPrompt) -> Result<Option<Ended>, Setback> {
        let pictures = picture_nodes(prompt.graph());
        let mut registration = self.backend.prompts.register(&self.prompt_id(), pictures.clone());
        for look in 0..2 {
            if look > 0 {
                tokio::time::sleep(SECOND_LOOK).await;
            }
            match self.look().await {
                Ok(Found::Queued(prompt_id)) => {
                    if prompt_id != registration.prompt_id() {
                        registration = self.backend.prompts.register(&prompt_id, pictures);
                        self.take_name(prompt_id).await?;
                    }
                    self.log(
                        LogLevel::Info,
                        "adopted",
                        "ComfyUI still has the prompt of an earlier worker; it is followed",
                    );
                    let followed = traced("execution", Kind::Client, self.follow(registration, prompt.graph()));
                    return Ok(Some(followed.await));
                }
                // What it sent over the socket reached nobody: it is to be made again.
                Ok(Found::Ended(_)) if !pictures.is_empty() => {
                    self.backend.forget_history(self.prompt_id());
                    break;
                }
                Ok(Found::Ended(finished)) => {
                    self.log(LogLevel::Info, "adopted", "ComfyUI has the result of an earlier worker; it is collected");
                    return Ok(Some(Ended::Finished(finished)));
                }
                Ok(Found::Nothing) => {}
                Err(error) => {
                    tracing::info!(error = %chain(&error), "ComfyUI can't be asked for an earlier prompt yet");
                    return Ok(Some(Ended::Unreachable));
                }
            }
        }
        drop(registration);
        self.begin_again().await?;
        Ok(None)
    }

    /// First the queue, then the history: in the other order a prompt that ends in between is missed.
    async fn look(&self) -> Result<Found, CallError> {
        let prompt_id = self.prompt_id();
        if let Some(prompt_id) = self.queued_as(&self.backend.client.queue().await?, None) {
            return Ok(Found::Queued(prompt_id));
        }
        let finished =
            |entry| Finished { entry, pictures: Ok(Vec::new()), pictures_missed: false, blocked: None, stopped: None };
        match self.backend.client.history(&prompt_id).await {
            Ok(Some(entry)) => Ok(Found::Ended(Box::new(finished(entry)))),
            Ok(None) => match self.ended_as(None).await? {
                Some((_, entry)) => Ok(Found::Ended(Box::new(finished(entry)))),
                None => Ok(Found::Nothing),
            },
            // An entry that ComfyUI itself can't write stays so; without it the job is run anew.
            Err(error) if is_unreadable(&error) => {
                self.backend.forget_history(prompt_id);
                Ok(Found::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    async fn begin_again(&mut self) -> Result<(), Setback> {
        if self.signal.borrow().cancel {
            return Err(Setback::Canceled);
        }
        if self.job.attempt >= self.context.parts.queue.max_attempts {
            return Err(Setback::Failed(Box::new(failure::worker_lost(self.job.attempt))));
        }
        let begun = self.context.parts.database.begin_attempt(self.lease(), self.backend.name()).await;
        match begun {
            Ok(Some(Claimed { job, .. })) => {
                self.job = job;
                self.context.active.replace(self.lease());
                self.spans.attempt(self.job.attempt);
                self.log(LogLevel::Info, "attempt", format!("attempt {} begins", self.job.attempt));
                Ok(())
            }
            Ok(None) => Err(Setback::ClaimLost),
            Err(error) => {
                tracing::warn!(%error, "a new attempt could not be stored");
                Err(Setback::ClaimLost)
            }
        }
    }
}
