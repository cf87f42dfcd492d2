//! Stops a prompt in ComfyUI: because its owner wants it canceled, because it runs too long, because the
//! worker ends. Never stops another prompt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comfyui_client::{CallError, CancelSent, QueuePlace};
use gateway_broker::BackendState;
use gateway_core::chain;
use gateway_core::event::LogLevel;

use super::follow::Following;
use super::{Ended, Run};
use crate::backend::Stuck;

/// Between two requests to stop a prompt that goes on: the first may have come between two nodes and be lost.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the server may take to answer one.
const ASK: Duration = Duration::from_secs(5);
/// How long a prompt may go on after it was told to stop. Between two nodes, or while it loads a model, ComfyUI
/// does not listen.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);
const CANCEL_GRACE: Duration = Duration::from_secs(15);
/// Between two looks for a prompt that does not end.
const LINGER: Duration = Duration::from_secs(1);

/// Why a prompt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its owner wants it.
    Cancel,
    /// It runs too long.
    Timeout,
}

/// A prompt that is being stopped.
pub(super) struct Stop {
    pub(super) reason: Reason,
    began: Instant,
    asked: Option<Instant>,
    told_helpless: bool,
    /// Whether the server did not answer when it was asked last.
    silent: bool,
}

impl Stop {
    pub(super) fn new(reason: Reason) -> Self {
        Self { reason, began: Instant::now(), asked: None, told_helpless: false, silent: false }
    }

    /// Whether the prompt has had its time to end.
    fn is_in_vain(&self) -> bool {
        let grace = match self.reason {
            Reason::Cancel => CANCEL_GRACE,
            Reason::Timeout => TIMEOUT_GRACE,
        };
        self.began.elapsed() >= grace
    }
}

impl Run {
    /// Asks ComfyUI to stop the prompt, and looks whether it has.
    pub(super) async fn stop(&mut self, following: &mut Following) -> Option<Ended> {
        let prompt_id = following.registration.prompt_id().to_owned();
        let stop = following.stop.as_mut()?;
        if stop.asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            stop.asked = Some(Instant::now());
            let ask = async {
                let exclusive = self.is_exclusive().await;
                self.backend.client.cancel(&prompt_id, exclusive).await
            };
            // A server that hangs must not keep the job from its end.
            let silent = |_elapsed| Err(CallError::Timeout { source: None });
            let asked = tokio::time::timeout(ASK, ask).await.unwrap_or_else(silent);
            stop.silent = matches!(asked, Err(CallError::Timeout { .. }));
            match asked {
                Ok(CancelSent::CannotTarget) if !stop.told_helpless => {
                    stop.told_helpless = true;
                    let text =
                        "this ComfyUI is too old to stop one run alone while others use it: it goes on to its end";
                    self.log(LogLevel::Warn, "cancel", text);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "ComfyUI can't be asked to stop a run yet")
                }
            }
        }
        self.backend.hurry_poll();
        let stop = following.stop.as_ref().filter(|stop| stop.is_in_vain())?;
        // A run that can't be stopped alone still works; one that ignores it, or takes too long, holds the server.
        let stuck = !stop.silent && (!stop.told_helpless || stop.reason == Reason::Timeout);
        if stop.silent {
            let problem = String::from("it accepts connections and does not answer: it may be loading, or hang");
            self.backend.set_state(BackendState::Unreachable, Some(problem));
        }
        let reason = stop.reason;
        self.let_linger(prompt_id, stuck);
        Some(match reason {
            Reason::Cancel => Ended::Canceled,
            Reason::Timeout => Ended::TimedOut,
        })
    }

    /// Whether all that this server has is ours: then an interrupt that goes astray hits no stranger.
    pub(super) async fn is_exclusive(&self) -> bool {
        match self.backend.client.queue().await {
            Ok(queue) => {
                let items = queue.running.iter().chain(&queue.pending);
                self.backend.prompts.owns_all(items.map(|item| item.prompt_id.as_str()))
            }
            Err(_unknown) => false,
        }
    }

    /// The prompt does not end: its slot stays taken until it does. Where the server is `stuck` with it, that gets
    /// no more jobs meanwhile.
    pub(super) fn let_linger(&mut self, prompt_id: String, stuck: bool) {
        let (backend, slot) = (Arc::clone(&self.backend), self.slot.take());
        backend.prompts.linger(&prompt_id);
        if stuck {
            backend.mark_stuck(Stuck::Lingers);
        }
        let draining = self.context.draining.clone();
        tokio::spawn(draining.run_until_cancelled_owned(async move {
            let _slot = slot;
            while !matches!(backend.client.queue().await, Ok(queue) if queue.find(&prompt_id).is_none()) {
                tokio::time::sleep(LINGER).await;
            }
            backend.prompts.stop_lingering(&prompt_id);
            backend.forget_history(prompt_id);
        }));
    }

    /// The server runs nothing: a prompt that waits there is taken back for another server, or a later time.
    pub(super) async fn take_back(&mut self, following: &Following) -> Option<Ended> {
        if following.running_since.is_some() {
            return None;
        }
        let prompt_id = following.registration.prompt_id();
        self.backend.client.delete_queued(&[prompt_id]).await.ok()?;
        let gone = self.backend.client.queue().await.ok()?.find(prompt_id).is_none();
        let ended = self.backend.client.history(prompt_id).await.ok()?.is_some();
        (gone && !ended).then_some(Ended::TakenBack)
    }

    /// The worker ends: what waits in ComfyUI is taken back, what runs there goes on for whoever comes next.
    pub(super) async fn hand_back(&mut self, following: &Following) -> Ended {
        let prompt_id = following.registration.prompt_id();
        let client = &self.backend.client;
        if let Ok(queue) = client.queue().await
            && let Some(QueuePlace::Pending(_)) = queue.find(prompt_id)
            && client.delete_queued(&[prompt_id]).await.is_ok()
            && let Ok(after) = client.queue().await
            && after.find(prompt_id).is_none()
            && let Ok(None) = client.history(prompt_id).await
        {
            return Ended::HandedBack { alive: false };
        }
        Ended::HandedBack { alive: true }
    }
}
