//! Finished prompts, oldest first, with ComfyUI's cap and its habit of overwriting an id in place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::heap::Item;

/// A finished prompt.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) item: Arc<Item>,
    pub(crate) outputs: Map<String, Value>,
    pub(crate) meta: Map<String, Value>,
    pub(crate) success: bool,
    pub(crate) completed: bool,
    pub(crate) messages: Vec<Value>,
    /// Reading it fails with 500.
    pub(crate) poisoned: bool,
}

impl Finished {
    pub(crate) fn to_json(&self) -> Value {
        let status = if self.success { "success" } else { "error" };
        json!({
            "prompt": self.item.to_json(&["auth_token_comfy_org", "api_key_comfy_org"]),
            "outputs": self.outputs,
            "status": {"status_str": status, "completed": self.completed, "messages": self.messages},
            "meta": self.meta,
        })
    }

    /// The data of the first message of a type.
    pub(crate) fn message(&self, name: &str) -> Option<&Value> {
        self.messages.iter().find(|message| message.get(0).and_then(Value::as_str) == Some(name))?.get(1)
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    entries: BTreeMap<u64, Arc<Finished>>,
    places: HashMap<String, u64>,
    next: u64,
}

impl History {
    /// Adds an entry; when more than `cap` are there already, the oldest goes first.
    pub(crate) fn insert(&mut self, finished: Arc<Finished>, cap: usize) {
        if self.entries.len() > cap
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.places.remove(&oldest.item.prompt_id);
        }
        let place = *self.places.entry(finished.item.prompt_id.clone()).or_insert(self.next);
        self.next = self.next.max(place + 1);
        self.entries.insert(place, finished);
    }

    pub(crate) fn get(&self, prompt_id: &str) -> Option<Arc<Finished>> {
        self.entries.get(self.places.get(prompt_id)?).cloned()
    }

    pub(crate) fn remove(&mut self, prompt_id: &str) {
        if let Some(place) = self.places.remove(prompt_id) {
            self.entries.remove(&place);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }

    pub(crate) fn all(&self) -> Vec<Arc<Finished>> {
        self.entries.values().cloned().collect()
    }

    /// The answer of `GET /history`: `max_items` of the newest, or of those from `offset` on.
    pub(crate) fn page(&self, max_items: Option<i64>, offset: i64) -> Vec<Arc<Finished>> {
        let count = i64::try_from(self.entries.len()).unwrap_or(i64::MAX);
        let from = match max_items {
            Some(max) if offset < 0 => (count - max).max(0),
            _ => offset.max(0),
        };
        let take = max_items.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(0));
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.entries.values().skip(from).take(take).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(prompt_id: &str) -> Arc<Finished> {
        let item = Item {
            number: json!(0),
            prompt_id: prompt_id.to_owned(),
            prompt: Arc::default(),
            extra_data: Arc::default(),
            outputs: Vec::new(),
            create_time: 0,
        };
        Arc::new(Finished {
            item: Arc::new(item),
            outputs: Map::new(),
            meta: Map::new(),
            success: true,
            completed: true,
            messages: Vec::new(),
            poisoned: false,
        })
    }

    fn ids(page: &[Arc<Finished>]) -> Vec<&str> {
        page.iter().map(|entry| entry.item.prompt_id.as_str()).collect()
    }

    #[test]
    fn one_more_than_the_cap_is_kept_and_an_overwritten_id_stays_where_it_was() {
        let mut history = History::default();
        for id in ["a", "b", "c", "b", "d"] {
            history.insert(finished(id), 2);
        }
        assert_eq!(ids(&history.all()), ["b", "c", "d"]);
    }

    #[test]
    fn pages_take_the_newest_or_skip_the_oldest() {
        let mut history = History::default();
        for id in ["a", "b", "c"] {
            history.insert(finished(id), 100);
        }
        assert_eq!(ids(&history.page(Some(2), -1)), ["b", "c"]);
        assert_eq!(ids(&history.page(None, 1)), ["b", "c"]);
        assert_eq!(ids(&history.page(Some(1), 1)), ["b"]);
        assert_eq!(ids(&history.page(Some(0), -1)).len() + ids(&history.page(Some(-1), -1)).len(), 0);
    }
}
