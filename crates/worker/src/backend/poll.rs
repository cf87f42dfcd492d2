//! Looks up all open prompts of a server in one call: the truth, however the socket fares. Notices a server
//! that answers but runs nothing any more.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use comfyui_client::{QueuePlace, QueueSnapshot};
use gateway_broker::BackendState;
use gateway_core::chain;

use crate::backend::{Backend, OpenPrompts, Update};

/// A server whose queue waits this long while nothing runs has lost the thread that runs prompts.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// A stuck server that nobody saw restart is tried with jobs again after this time.
const TRIAL_AFTER: Duration = Duration::from_secs(30);

/// Why a server that answers gets no jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Prompts wait and none runs.
    Still,
    /// A prompt goes on that was told to stop.
    Lingers,
    /// Its device failed: whatever runs next fails, too.
    Device,
    /// A stranger's prompt runs on and on, or only seems to.
    Held,
}

impl Stuck {
    const fn problem(self) -> &'static str {
        match self {
            Self::Still => "it answers, but prompts wait in its queue and none runs: restart ComfyUI",
            Self::Lingers => "it answers, but a run goes on that was told to stop: restart ComfyUI if it does not end",
            Self::Device => "it answers, but its device failed: restart ComfyUI",
            Self::Held => {
                "it answers, but one prompt of another client has run for longer than COMFYUI_TIMEOUT_MS: restart \
                 ComfyUI if it does not end"
            }
        }
    }

    /// Whether a server that has been stuck like this for so long may get jobs again.
    fn is_over(self, queue: &QueueSnapshot, prompts: &OpenPrompts, stuck_for: Duration, held: bool) -> bool {
        match self {
            Self::Held => !held,
            Self::Still => !queue.running.is_empty() || (queue.is_empty() && stuck_for >= TRIAL_AFTER),
            Self::Lingers => !queue.running.iter().any(|item| prompts.is_lingering(&item.prompt_id)),
            Self::Device => stuck_for >= TRIAL_AFTER,
        }
    }
}

/// What consecutive looks at the queue have shown.
#[derive(Debug, Default)]
struct Watch {
    still_since: Option<Instant>,
    stuck_since: Option<Instant>,
    /// The stranger's prompt that runs, and since when it was seen to.
    stranger: Option<(String, Instant)>,
}

/// Polls for ever, while anything is open.
pub(crate) async fn run(backend: Arc<Backend>) {
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(backend.poll) => {}
            () = backend.hurry.notified() => {}
        }
        if backend.prompts.is_empty() && backend.state() != BackendState::Stuck {
            watch = Watch::default();
            continue;
        }
        match backend.client.queue().await {
            Ok(queue) => {
                watch.look(&backend, &queue);
                tell(&backend, &queue);
            }
            Err(error) => {
                tracing::debug!(backend = backend.name(), error = %chain(&error), "the queue can't be read");
                if error.is_unreachable() {
                    let problem = format!("{error}; prompts under way are looked for when it is back");
                    backend.set_state(BackendState::Unreachable, Some(problem));
                } else {
                    // The history may answer where the queue does not: it can hold more than may be read.
                    for prompt_id in backend.prompts.ids() {
                        backend.prompts.send(&prompt_id, Update::Unseen);
                    }
                }
            }
        }
    }
}

fn tell(backend: &Backend, queue: &QueueSnapshot) {
    let stuck = backend.state() == BackendState::Stuck;
    for prompt_id in backend.prompts.ids() {
        let update = match queue.find(&prompt_id) {
            Some(QueuePlace::Pending(_)) if stuck => Update::Stuck,
            Some(place) => Update::Place(place),
            None => Update::Absent,
        };
        backend.prompts.send(&prompt_id, update);
    }
}

impl Watch {
    fn look(&mut self, backend: &Backend, queue: &QueueSnapshot) {
        let now = Instant::now();
        let still = queue.running.is_empty() && !queue.pending.is_empty();
        self.still_since = still.then(|| self.still_since.unwrap_or(now));
        let still_for = self.still_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        if still_for >= STUCK_AFTER && backend.state() == BackendState::Ready {
            backend.mark_stuck(Stuck::Still);
        }
        let held = self.is_held(backend, queue, now);
        if held && backend.state() == BackendState::Ready {
            backend.mark_stuck(Stuck::Held);
        }
        if backend.state() != BackendState::Stuck {
            self.stuck_since = None;
            return;
        }
        let stuck_for = now.duration_since(*self.stuck_since.get_or_insert(now));
        let reason = *backend.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_none_or(|reason| reason.is_over(queue, &backend.prompts, stuck_for, held)) {
            backend.set_state(BackendState::Ready, None);
        }
    }

    /// Whether a stranger's prompt has been running for longer than a job of ours may. A thread that died in it
    /// leaves it so for ever.
    fn is_held(&mut self, backend: &Backend, queue: &QueueSnapshot, now: Instant) -> bool {
        let running = queue.running.first().map(|item| item.prompt_id.as_str());
        let Some(stranger) = running.filter(|id| !backend.prompts.owns_all([*id])) else {
            self.stranger = None;
            return false;
        };
        if self.stranger.as_ref().is_none_or(|(id, _)| id != stranger) {
            self.stranger = Some((stranger.to_owned(), now));
        }
        self.stranger.as_ref().is_some_and(|(_, since)| now.duration_since(*since) >= backend.patience)
    }
}

impl Backend {
    /// The server answers and can't be used: no more jobs for it until it moves again.
    pub(crate) fn mark_stuck(&self, reason: Stuck) {
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.set_state(BackendState::Stuck, Some(reason.problem().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use comfyui_client::QueueItem;
    use serde_json::Value;

    use super::*;

    fn queue(running: &[&str], pending: &[&str]) -> QueueSnapshot {
        let items = |ids: &[&str]| {
            ids.iter()
                .map(|id| QueueItem { number: 0.0, prompt_id: (*id).to_owned(), extra_data: Value::Null })
                .collect()
        };
        QueueSnapshot { running: items(running), pending: items(pending) }
    }

    #[test]
    fn a_server_that_runs_nothing_is_over_it_when_something_runs_or_after_a_while_with_an_empty_queue() {
        let prompts = OpenPrompts::default();
        let over =
            |queue: &QueueSnapshot, secs| Stuck::Still.is_over(queue, &prompts, Duration::from_secs(secs), false);
        assert!(over(&queue(&["a"], &[]), 0));
        assert!(!over(&queue(&[], &[]), 1));
        assert!(over(&queue(&[], &[]), 30));
        assert!(!over(&queue(&[], &["foreign"]), 3_600));
    }

    #[test]
    fn a_server_that_a_run_holds_is_over_it_when_that_run_has_left() {
        let prompts = OpenPrompts::default();
        prompts.linger("a");
        assert!(!Stuck::Lingers.is_over(&queue(&["a"], &[]), &prompts, Duration::from_secs(3_600), false));
        assert!(Stuck::Lingers.is_over(&queue(&["b"], &[]), &prompts, Duration::ZERO, false));
        assert!(Stuck::Lingers.is_over(&queue(&[], &[]), &prompts, Duration::ZERO, false));
    }

    #[test]
    fn a_failed_device_is_tried_again_only_after_a_while() {
        let prompts = OpenPrompts::default();
        assert!(!Stuck::Device.is_over(&queue(&["a"], &[]), &prompts, Duration::from_secs(1), false));
        assert!(Stuck::Device.is_over(&queue(&["a"], &[]), &prompts, Duration::from_secs(30), false));
    }
}
