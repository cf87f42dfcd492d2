//! Looks up all open prompts of a server in one call: the truth, however the socket fares. Notices a server
//! that answers but runs nothing any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comfyui_client::QueueSnapshot;
use gateway_broker::BackendState;

use crate::backend::{Backend, Update};

/// A server whose queue waits this long while nothing runs has lost the thread that runs prompts.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Polls for ever, while anything is open.
pub(crate) async fn run(backend: Arc<Backend>) {
    let mut idle_since: Option<Instant> = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(backend.poll) => {}
            () = backend.hurry.notified() => {}
        }
        let stuck = backend.state() == BackendState::Stuck;
        if backend.prompts.is_empty() && !stuck {
            idle_since = None;
            continue;
        }
        match backend.client.queue().await {
            Ok(queue) => {
                idle_since = note_stillness(&backend, &queue, idle_since);
                tell(&backend, &queue);
            }
            Err(error) => {
                tracing::debug!(comfyui = backend.url(), %error, "the queue can't be read");
                if error.is_unreachable() {
                    let problem = format!("{error}; prompts under way are looked for when it is back");
                    backend.set_state(BackendState::Unreachable, Some(problem));
                }
            }
        }
    }
}

fn tell(backend: &Backend, queue: &QueueSnapshot) {
    for prompt_id in backend.prompts.ids() {
        let update = match queue.find(&prompt_id) {
            Some(place) => Update::Place(place),
            None => Update::Absent,
        };
        backend.prompts.send(&prompt_id, update);
    }
}

/// Since when prompts wait and none runs.
fn note_stillness(backend: &Backend, queue: &QueueSnapshot, idle_since: Option<Instant>) -> Option<Instant> {
    let still = queue.running.is_empty() && !queue.pending.is_empty();
    if !still {
        if backend.state() == BackendState::Stuck && (queue.is_empty() || !queue.running.is_empty()) {
            backend.recovered_if_moving(queue);
        }
        return None;
    }
    let since = idle_since.unwrap_or_else(Instant::now);
    if since.elapsed() >= STUCK_AFTER && backend.state() == BackendState::Ready {
        backend.mark_stuck("prompts wait in its queue and none runs");
        for prompt_id in backend.prompts.ids() {
            backend.prompts.send(&prompt_id, Update::Stuck);
        }
    }
    Some(since)
}

impl Backend {
    /// The server answers and runs nothing: no more jobs for it until it moves again.
    pub(crate) fn mark_stuck(&self, why: &str) {
        let problem = format!("it answers, but {why}: restart ComfyUI");
        self.set_state(BackendState::Stuck, Some(problem));
    }

    /// A stuck server whose queue has changed works again.
    fn recovered_if_moving(&self, queue: &QueueSnapshot) {
        let same = queue.running.iter().any(|item| self.prompts.is_lingering(&item.prompt_id));
        if !same {
            self.set_state(BackendState::Ready, None);
        }
    }
}
