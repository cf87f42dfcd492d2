//! Which node runs next: ComfyUI's execution list, with its preference for what leads to an output soon.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::validate::structure;

/// The nodes that are still to run.
#[derive(Debug, Default)]
pub(super) struct Schedule<'a> {
    /// In the order in which they were found.
    pending: Vec<&'a str>,
    known: HashSet<&'a str>,
    waits_for: HashMap<&'a str, usize>,
    blocking: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Schedule<'a> {
    /// Adds an output with everything it needs that is not cached.
    pub(super) fn add(&mut self, prompt: &'a Map<String, Value>, output: &'a str, is_cached: impl Fn(&str) -> bool) {
        let mut stack = vec![output];
        let mut links = Vec::new();
        while let Some(id) = stack.pop() {
            let Some(node) = prompt.get(id).filter(|_| self.known.insert(id)) else { continue };
            self.pending.push(id);
            for parent in structure::parents(node).filter(|parent| !is_cached(parent)) {
                stack.push(parent);
                links.push((parent, id));
            }
        }
        for (from, to) in links {
            let blocked = self.blocking.entry(from).or_default();
            if !blocked.contains(&to) {
                blocked.push(to);
                *self.waits_for.entry(to).or_default() += 1;
            }
        }
    }

    /// The node to run now. None: all have run.
    pub(super) fn next(&self, is_output: impl Fn(&str) -> bool) -> Option<&'a str> {
        let ready: Vec<&str> = self.pending.iter().copied().filter(|id| self.is_ready(id)).collect();
        let after = |id: &str| self.blocking.get(id).map(Vec::as_slice).unwrap_or_default().iter().copied();
        let leads_soon = |id: &&str| after(id).any(&is_output);
        let leads_later = |id: &&str| after(id).any(|next| after(next).any(&is_output));
        let pick = |wanted: &dyn Fn(&&str) -> bool| ready.iter().copied().find(|id| wanted(id));
        pick(&|id| is_output(id))
            .or_else(|| pick(&leads_soon))
            .or_else(|| pick(&leads_later))
            .or_else(|| ready.first().copied())
    }

    fn is_ready(&self, id: &str) -> bool {
        self.waits_for.get(id).is_none_or(|count| *count == 0)
    }

    /// A node has run.
    pub(super) fn complete(&mut self, id: &str) {
        self.pending.retain(|pending| *pending != id);
        for next in self.blocking.get(id).into_iter().flatten() {
            if let Some(count) = self.waits_for.get_mut(next) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sampler_graph_runs_in_the_recorded_order() {
        let prompt = json!({
            "3": {"inputs": {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent": ["5", 0]}},
            "4": {"inputs": {}}, "5": {"inputs": {}}, "6": {"inputs": {"clip": ["4", 1]}},
            "7": {"inputs": {"clip": ["4", 1]}}, "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
            "9": {"inputs": {"images": ["8", 0]}},
        });
        let prompt = prompt.as_object().unwrap();
        let mut schedule = Schedule::default();
        schedule.add(prompt, "9", |_| false);
        let mut order = Vec::new();
        while let Some(id) = schedule.next(|id| id == "9") {
            order.push(id);
            schedule.complete(id);
        }
        assert_eq!(order, ["4", "5", "7", "6", "3", "8", "9"]);
    }
}
