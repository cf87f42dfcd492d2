//! Python's `heapq` on prompts: the order in which they run, and the odd order in which they are listed.
//! Follows the original step by step, since `GET /queue` shows the array as it lies.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Value, json};

/// One prompt in the queue.
#[derive(Debug)]
pub(crate) struct Item {
    /// Lower runs first; whole when the server counted it, a float when it was sent.
    pub(crate) number: Value,
    pub(crate) prompt_id: String,
    pub(crate) prompt: Arc<Value>,
    pub(crate) extra_data: Arc<Value>,
    pub(crate) outputs: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) create_time: i64,
}

impl Item {
    fn priority(&self) -> f64 {
        match &self.number {
            Value::String(text) => crate::pyjson::special(text).unwrap_or(0.0),
            other => other.as_f64().unwrap_or(0.0),
        }
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.extra_data.get("client_id").and_then(Value::as_str)
    }

    /// `[number, prompt_id, prompt, extra_data, outputs]`, without some keys of `extra_data`.
    pub(crate) fn to_json(&self, hidden: &[&str]) -> Value {
        let extra = match self.extra_data.as_ref() {
            Value::Object(extra) if hidden.iter().any(|key| extra.contains_key(*key)) => {
                let kept = extra.iter().filter(|(key, _)| !hidden.contains(&key.as_str()));
                Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            other => other.clone(),
        };
        json!([self.number, self.prompt_id, self.prompt.as_ref(), extra, self.outputs])
    }
}

/// Comparing two items ends in comparing dictionaries, which Python refuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotComparable;

/// The waiting prompts.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    items: Vec<Arc<Item>>,
    clash: bool,
}

impl Heap {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.iter()
    }

    /// Adds an item. After an error it lies in the queue all the same.
    pub(crate) fn push(&mut self, item: Arc<Item>) -> Result<(), NotComparable> {
        self.clash = false;
        self.items.push(item);
        self.rise(0, self.items.len() - 1);
        if self.clash { Err(NotComparable) } else { Ok(()) }
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Item>> {
        if self.items.is_empty() {
            return None;
        }
        let first = self.items.swap_remove(0);
        if !self.items.is_empty() {
            self.sink(0);
        }
        Some(first)
    }

    /// Removes the first item with an id, wherever it lies.
    pub(crate) fn remove(&mut self, prompt_id: &str) -> Option<Arc<Item>> {
        let place = self.items.iter().position(|item| item.prompt_id == prompt_id)?;
        let removed = self.items.remove(place);
        for place in (0..self.items.len() / 2).rev() {
            self.sink(place);
        }
        Some(removed)
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }

    fn less(&mut self, left: usize, right: usize) -> bool {
        let (Some(left), Some(right)) = (self.items.get(left), self.items.get(right)) else { return false };
        match left.priority().partial_cmp(&right.priority()) {
            Some(Ordering::Equal) => {
                let order = left.prompt_id.cmp(&right.prompt_id);
                self.clash |= order == Ordering::Equal;
                order == Ordering::Less
            }
            other => other == Some(Ordering::Less),
        }
    }

    /// `_siftdown` of heapq.
    fn rise(&mut self, start: usize, mut place: usize) {
        while place > start {
            let parent = (place - 1) / 2;
            if !self.less(place, parent) {
                break;
            }
            self.items.swap(place, parent);
            place = parent;
        }
    }

    /// `_siftup` of heapq: down to a leaf along the smaller children, then up again.
    fn sink(&mut self, start: usize) {
        let mut place = start;
        loop {
            let left = 2 * place + 1;
            if left >= self.items.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.items.len() && !self.less(left, right) { right } else { left };
            self.items.swap(place, child);
            place = child;
        }
        self.rise(start, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: f64, prompt_id: &str) -> Arc<Item> {
        Arc::new(Item {
            number: json!(number),
            prompt_id: prompt_id.to_owned(),
            prompt: Arc::default(),
            extra_data: Arc::default(),
            outputs: Vec::new(),
            create_time: 0,
        })
    }

    #[test]
    fn the_listing_is_the_heap_of_python_and_prompts_run_by_number() {
        let mut heap = Heap::default();
        for (number, id) in [(10.0, "n0"), (11.0, "n1"), (-12.0, "front1"), (5.0, "n2"), (-13.0, "front2"), (-5.5, "f")]
        {
            heap.push(item(number, id)).unwrap();
        }
        // What CPython 3.11 shows for the same pushes.
        let listed: Vec<&str> = heap.iter().map(|item| item.prompt_id.as_str()).collect();
        assert_eq!(listed, ["front2", "front1", "f", "n1", "n2", "n0"]);
        let run: Vec<String> = std::iter::from_fn(|| heap.pop()).map(|item| item.prompt_id.clone()).collect();
        assert_eq!(run, ["front2", "front1", "f", "n2", "n0", "n1"]);
    }

    #[test]
    fn a_second_item_with_the_same_number_and_id_is_queued_with_an_error() {
        let mut heap = Heap::default();
        heap.push(item(1.0, "a")).unwrap();
        assert_eq!(heap.push(item(1.0, "a")), Err(NotComparable));
        assert_eq!(heap.len(), 2);
    }
}
