//! Who waits for which prompt of a server.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use comfyui_client::{Event, PreviewFormat, QueuePlace};
use tokio::sync::mpsc;

use crate::backend::busy::{BusyClock, Times};

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
    /// A first look at what it makes.
    Preview { node: String, format: PreviewFormat, bytes: Bytes },
    /// It is not in the queue: ended, or lost.
    Absent,
    /// The queue could not be read: it may have ended.
    Unseen,
    /// The server runs nothing any more.
    Stuck,
}

#[derive(Debug)]
struct Open {
    /// Tells this registration from a later one of the same prompt.
    token: u64,
    updates: mpsc::UnboundedSender<Update>,
    /// Nodes whose pictures come over the socket only, so that their frames are results.
    picture_nodes: HashSet<String>,
    /// Whether frames that are no results are wanted, too.
    previews: bool,
}

#[derive(Debug, Default)]
struct State {
    tokens: u64,
    open: HashMap<String, Open>,
    ended: VecDeque<String>,
    /// Prompts that were given up and still hold the server.
    lingering: HashSet<String>,
    /// Prompt and node that run, to attribute frames that don't say.
    current: Option<(String, String)>,
    clock: BusyClock,
}

/// The prompts of one server that somebody waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenPrompts(Arc<Mutex<State>>);

/// Waits for one prompt; gives up when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    prompts: OpenPrompts,
    prompt_id: String,
    token: u64,
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
        state.tokens += 1;
        let token = state.tokens;
        state.open.insert(prompt_id.to_owned(), Open { token, updates: sender, picture_nodes, previews: false });
        state.clock.set_busy(true, Instant::now());
        drop(state);
        Registration { prompts: self.clone(), prompt_id: prompt_id.to_owned(), token, updates }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Their server can be used from now on, or can't.
    pub(crate) fn set_up(&self, up: bool) {
        self.lock().clock.set_up(up, Instant::now());
    }

    /// How long their server could be used, and how much of that there were any.
    pub(crate) fn times(&self) -> Times {
        self.lock().clock.read(Instant::now())
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

    /// Gives an event to whoever waits for its prompt. Previews go only to whoever needs them as results, or wants them.
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
            } else if open.previews {
                let _ = open.updates.send(Update::Preview { node, format, bytes });
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

    /// Has previews told, or not.
    pub(crate) fn set_previews(&self, wanted: bool) {
        if let Some(open) = self.prompts.lock().open.get_mut(&self.prompt_id).filter(|open| open.token == self.token) {
            open.previews = wanted;
        }
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
        let mut state = self.prompts.lock();
        if state.open.get(&self.prompt_id).is_some_and(|open| open.token == self.token) {
            state.open.remove(&self.prompt_id);
            let busy = !state.open.is_empty();
            state.clock.set_busy(busy, Instant::now());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn executing(prompt: &str, node: Option<&str>) -> Event {
        Event::Executing { prompt_id: Some(prompt.to_owned()), node: node.map(str::to_owned), display_node: None }
    }

    fn frame(prompt: Option<&str>, node: Option<&str>, format: PreviewFormat) -> Event {
        Event::Preview {
            prompt_id: prompt.map(str::to_owned),
            node_id: node.map(str::to_owned),
            format,
            bytes: bytes::Bytes::from_static(b"x"),
        }
    }

    fn received(registration: &mut Registration) -> Vec<Update> {
        std::iter::from_fn(|| registration.updates.try_recv().ok()).collect()
    }

    #[test]
    fn events_reach_only_whoever_waits_for_their_prompt() {
        let prompts = OpenPrompts::default();
        let (mut a, mut b) = (prompts.register("a", HashSet::new()), prompts.register("b", HashSet::new()));
        prompts.deliver(executing("a", Some("1")));
        prompts.deliver(executing("stranger", Some("1")));
        assert_eq!(received(&mut a).len(), 1);
        assert!(received(&mut b).is_empty());
    }

    #[test]
    fn an_end_that_came_before_the_prompts_name_was_known_is_told_when_it_is() {
        let prompts = OpenPrompts::default();
        prompts.deliver(executing("a", None));
        let mut late = prompts.register("a", HashSet::new());
        assert!(matches!(received(&mut late).as_slice(), [Update::Event(Event::Executing { node: None, .. })]));
    }

    #[test]
    fn ends_of_strangers_are_remembered_only_up_to_a_number() {
        let prompts = OpenPrompts::default();
        prompts.deliver(executing("first", None));
        for index in 0..REMEMBERED_ENDS {
            prompts.deliver(executing(&format!("stranger {index}"), None));
        }
        assert!(received(&mut prompts.register("first", HashSet::new())).is_empty());
        assert_eq!(prompts.lock().ended.len(), REMEMBERED_ENDS);
    }

    #[test]
    fn frames_without_a_name_belong_to_the_node_that_runs_and_count_only_where_they_are_results() {
        let prompts = OpenPrompts::default();
        let mut waits = prompts.register("a", nodes(&["2"]));
        prompts.deliver(frame(None, None, PreviewFormat::Png));
        prompts.deliver(executing("a", Some("1")));
        prompts.deliver(frame(None, None, PreviewFormat::Png));
        prompts.deliver(executing("a", Some("2")));
        prompts.deliver(frame(None, None, PreviewFormat::Jpeg));
        prompts.deliver(frame(None, None, PreviewFormat::Png));
        prompts.deliver(frame(Some("a"), Some("2"), PreviewFormat::Png));
        let pictures = received(&mut waits);
        let named = |update: &&Update| matches!(update, Update::Event(Event::Preview { node_id: Some(node), .. }) if node == "2");
        assert_eq!(pictures.iter().filter(named).count(), 2);
        assert_eq!(pictures.len(), 4, "two executing, two pictures");
    }

    #[test]
    fn a_registration_that_was_replaced_does_not_take_its_successor_along() {
        let prompts = OpenPrompts::default();
        let earlier = prompts.register("a", HashSet::new());
        let mut later = prompts.register("a", HashSet::new());
        drop(earlier);
        prompts.send("a", Update::Absent);
        assert_eq!(received(&mut later).len(), 1);
        drop(later);
        assert!(prompts.is_empty());
    }

    #[test]
    fn open_and_lingering_prompts_are_ours_and_others_are_not() {
        let prompts = OpenPrompts::default();
        let _open = prompts.register("a", HashSet::new());
        prompts.linger("b");
        assert!(prompts.owns_all(["a", "b"]));
        assert!(!prompts.owns_all(["a", "stranger"]));
        prompts.stop_lingering("b");
        assert!(!prompts.owns_all(["b"]));
    }
}
