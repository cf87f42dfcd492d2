//! Stopping a prompt, by the means that the server's version offers.
//! Owns the rule that nothing but the named prompt may ever be stopped: on older servers an interrupt is global.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::{
    client::ComfyClient,
    error::CallError,
    queue::QueuePlace,
    transport::{BodyKind, send},
};

/// What became of a request to stop a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelSent {
    /// It was removed from the queue, or its interrupt was sent. It may still finish: look at the history.
    Dispatched,
    /// It neither runs nor waits: finished, unknown, or on its way into the queue.
    NotFound,
    /// It runs, and this server could only be told to stop whatever is running.
    CannotTarget,
}

#[derive(Deserialize)]
struct JobCancelled {
    cancelled: bool,
}

impl ComfyClient {
    /// `POST /interrupt` for one prompt. Does nothing unless that prompt runs.
    ///
    /// Servers before 0.3.57 interrupt whatever is running. There it is sent only if `exclusive` says that nobody else
    /// uses the server, and only while the queue shows this very prompt as running.
    ///
    /// # Errors
    /// [`CallError::Unsupported`] if the interrupt would be global and the server is shared; else as for every call.
    pub async fn interrupt(&self, prompt_id: &str, exclusive: bool) -> Result<(), CallError> {
        if prompt_id.is_empty() {
            return Err(CallError::InvalidArgument { what: "an empty prompt id" });
        }
        if !self.known_capabilities().await?.targeted_interrupt {
            if !exclusive {
                return Err(CallError::Unsupported { operation: "interrupt one prompt without stopping others" });
            }
            if self.queue().await?.find(prompt_id) != Some(QueuePlace::Running) {
                return Ok(());
            }
        }
        self.transport().post(&["interrupt"], &json!({"prompt_id": prompt_id})).await.map(drop)
    }

    /// Stops a prompt that waits or runs, in the safest way that the server knows. `exclusive` says that nobody else
    /// uses the server, which permits the global interrupt of old versions.
    ///
    /// # Errors
    /// [`CallError`] as for every call; it is safe to repeat.
    pub async fn cancel(&self, prompt_id: &str, exclusive: bool) -> Result<CancelSent, CallError> {
        if self.known_capabilities().await?.jobs_cancel
            && let Some(sent) = self.cancel_job(prompt_id).await?
        {
            return Ok(sent);
        }
        let waiting = match self.queue().await?.find(prompt_id) {
            None => return Ok(CancelSent::NotFound),
            Some(QueuePlace::Running) => return self.interrupt_running(prompt_id, exclusive).await,
            Some(QueuePlace::Pending(_)) => [prompt_id],
        };
        self.delete_queued(&waiting).await?;
        // It may have started between the look and the removal.
        match self.queue().await?.find(prompt_id) {
            Some(QueuePlace::Running) => self.interrupt_running(prompt_id, exclusive).await,
            _ => Ok(CancelSent::Dispatched),
        }
    }

    async fn interrupt_running(&self, prompt_id: &str, exclusive: bool) -> Result<CancelSent, CallError> {
        match self.interrupt(prompt_id, exclusive).await {
            Ok(()) => Ok(CancelSent::Dispatched),
            Err(CallError::Unsupported { .. }) => Ok(CancelSent::CannotTarget),
            Err(error) => Err(error),
        }
    }

    /// `POST /api/jobs/{id}/cancel`; `None` if the server turns out not to offer it for this prompt.
    async fn cancel_job(&self, prompt_id: &str) -> Result<Option<CancelSent>, CallError> {
        let url = self.transport().url(&["api", "jobs", prompt_id, "cancel"])?;
        let answer = send(self.transport().request(Method::POST, url)).await?;
        match (answer.status.as_u16(), answer.body) {
            // The route exists and does not know the job.
            (404, BodyKind::Json) => Ok(Some(CancelSent::NotFound)),
            (404 | 405, _) => {
                self.forget_jobs_cancel();
                Ok(None)
            }
            // The id has a form that this route refuses; the queue takes any.
            (400, _) => Ok(None),
            _ => {
                let answer = answer.success()?;
                let job: JobCancelled = self.transport().read_json("POST /api/jobs/{id}/cancel", answer).await?;
                Ok(Some(if job.cancelled { CancelSent::Dispatched } else { CancelSent::NotFound }))
            }
        }
    }
}
