//! Who waits for which prompt of a server.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comfyui_client::{Event, PreviewFormat, QueuePlace};
use tokio::sync::mpsc;

/// Ends that are remembered for prompts that nobody waits for yet: an old server names a prompt only in its
/// answer, and events may come before that.
const REMEMBERED_ENDS: usize = 64;

/// News of one prompt.
#[derive(Debug)]
pub(crate) enum Update {
    /// From the socket.
    Event(Event),
    /// It is in the queue.
    Place(QueuePlace),
    /// It is not in the queue: ended, or lost.
    Absent,
    /// The server runs nothing any more.
    Stuck,
}

#[derive(Debug)]
struct Open {
    updates: mpsc::UnboundedSender<Update>,
    /// Nodes whose pictures come over the socket only, so that their frames are results.
    picture_nodes: HashSet<String>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<String, Open>,
    ended: VecDeque<String>,
    /// Prompts that were given up and still hold the server.
    lingering: HashSet<String>,
    /// Prompt and node that run, to attribute frames that don't say.
    current: Option<(String, String)>,
}

/// The prompts of one server that somebody waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenPrompts(Arc<Mutex<State>>);

/// Waits for one prompt; gives up when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    prompts: OpenPrompts,
    prompt_id: String,
    updates: mpsc::UnboundedReceiver<Update>,
}

impl OpenPrompts {
    /// Begins to wait for `prompt_id`; before it is sent, so that nothing is missed.
    pub(crate) fn register(&self, prompt_id: &str, picture_nodes: HashSet<String>) -> Registration {
        let (sender, updates) = mpsc::unbounded_channel();
        let mut state = self.lock();
        if state.ended.iter().any(|ended| ended == prompt_id) {
            let end = Event::Executing { prompt_id: Some(prompt_id.to_owned()), node: None, display_node: None };
            // The receiver is in this function.
            let _ = sender.send(Update::Event(end));
        }
        state.open.insert(prompt_id.to_owned(), Open { updates: sender, picture_nodes });
        drop(state);
        Registration { prompts: self.clone(), prompt_id: prompt_id.to_owned(), updates }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().open.keys().cloned().collect()
    }

    /// Whether all of `ids` are prompts of this worker.
    pub(crate) fn owns_all<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> bool {
        let state = self.lock();
        ids.into_iter().all(|id| state.open.contains_key(id) || state.lingering.contains(id))
    }

    pub(crate) fn send(&self, prompt_id: &str, update: Update) {
        if let Some(open) = self.lock().open.get(prompt_id) {
            // Whoever waited may have given up just now.
            let _ = open.updates.send(update);
        }
    }

    pub(crate) fn linger(&self, prompt_id: &str) {
        self.lock().lingering.insert(prompt_id.to_owned());
    }

    pub(crate) fn stop_lingering(&self, prompt_id: &str) {
        self.lock().lingering.remove(prompt_id);
    }

    pub(crate) fn is_lingering(&self, prompt_id: &str) -> bool {
        self.lock().lingering.contains(prompt_id)
    }

    /// Gives an event to whoever waits for its prompt. Previews go only to whoever needs them as results.
    pub(crate) fn deliver(&self, event: Event) {
        let mut state = self.lock();
        if let Event::Preview { prompt_id, node_id, format, bytes } = event {
            let (prompt, node) = match (prompt_id, node_id) {
                (Some(prompt), Some(node)) => (prompt, node),
                _ => match &state.current {
                    Some(current) => current.clone(),
                    None => return,
                },
            };
            let Some(open) = state.open.get(&prompt) else { return };
            if format == PreviewFormat::Png && open.picture_nodes.contains(&node) {
                let event = Event::Preview { prompt_id: Some(prompt), node_id: Some(node), format, bytes };
                let _ = open.updates.send(Update::Event(event));
            }
            return;
        }
        let Some(prompt_id) = prompt_of(&event).map(str::to_owned) else { return };
        if let Event::Executing { node, .. } = &event {
            state.current = node.clone().map(|node| (prompt_id.clone(), node));
            if node.is_none() && !state.open.contains_key(&prompt_id) {
                state.ended.push_back(prompt_id.clone());
                if state.ended.len() > REMEMBERED_ENDS {
                    state.ended.pop_front();
                }
            }
        }
        if let Some(open) = state.open.get(&prompt_id) {
            let _ = open.updates.send(Update::Event(event));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    pub(crate) fn prompt_id(&self) -> &str {
        &self.prompt_id
    }

    /// The next news.
    pub(crate) async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            // The sender goes only when this registration was replaced by another of the same prompt.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.prompts.lock().open.remove(&self.prompt_id);
    }
}

fn prompt_of(event: &Event) -> Option<&str> {
    match event {
        Event::ExecutionStart { prompt_id }
        | Event::Cached { prompt_id, .. }
        | Event::ProgressState { prompt_id, .. }
        | Event::Executed { prompt_id, .. }
        | Event::Success { prompt_id }
        | Event::Error { prompt_id, .. }
        | Event::Interrupted { prompt_id, .. } => Some(prompt_id),
        Event::Executing { prompt_id, .. } | Event::Progress { prompt_id, .. } => prompt_id.as_deref(),
        _ => None,
    }
}
