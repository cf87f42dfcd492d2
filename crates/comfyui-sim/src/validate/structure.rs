//! The shape of a prompt as a graph, and the inputs that make a real server lose its worker or its process.
//! Such prompts pass validation: the damage is done when they run.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Chains of this length overflow Python's stack while cache keys are built.
const DEADLY_DEPTH: usize = 1000;

/// What running a prompt does to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The worker dies before it says anything.
    WorkerDiesSilently,
    /// The worker dies after `execution_start`.
    WorkerDies,
    /// The process ends.
    ProcessExits,
}

/// The id of the node a value links to.
pub(crate) fn link(value: &Value) -> Option<(&str, usize)> {
    match value.as_array()?.as_slice() {
        [Value::String(id), slot] => Some((id, usize::try_from(slot.as_i64()?).ok()?)),
        _ => None,
    }
}

/// The ids of the nodes that a node needs directly.
pub(crate) fn parents(node: &Value) -> impl Iterator<Item = &str> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs.into_iter().flatten().filter_map(|(_, value)| link(value)).map(|(id, _)| id)
}

/// All nodes, each after those it needs, and the longest chain. None when there is a cycle.
pub(crate) fn topological(prompt: &Map<String, Value>) -> Option<(Vec<&str>, usize)> {
    let mut depths: HashMap<&str, usize> = HashMap::with_capacity(prompt.len());
    let mut open: HashSet<&str> = HashSet::new();
    let mut order = Vec::with_capacity(prompt.len());
    for start in prompt.keys() {
        let mut stack = vec![(start.as_str(), false)];
        while let Some((id, parents_done)) = stack.pop() {
            if depths.contains_key(id) {
                continue;
            }
            let Some(node) = prompt.get(id) else { continue };
            if parents_done {
                let depth = parents(node).filter_map(|parent| depths.get(parent)).max().map_or(1, |depth| depth + 1);
                depths.insert(id, depth);
                open.remove(id);
                order.push(id);
                continue;
            }
            if !open.insert(id) {
                return None;
            }
            stack.push((id, true));
            stack.extend(parents(node).filter(|parent| !depths.contains_key(parent)).map(|parent| (parent, false)));
        }
    }
    let deepest = depths.values().copied().max().unwrap_or(0);
    Some((order, deepest))
}

/// Whether running this prompt harms the server.
pub(crate) fn damage(prompt: &Map<String, Value>, extra_data: &Value) -> Option<Damage> {
    let client = match extra_data {
        Value::Object(extra) => extra.get("client_id"),
        Value::Null | Value::Number(_) | Value::Bool(_) => return Some(Damage::WorkerDiesSilently),
        Value::String(_) | Value::Array(_) => None,
    };
    if matches!(client, Some(Value::Object(_) | Value::Array(_))) {
        return Some(Damage::ProcessExits);
    }
    if prompt.values().any(|node| !node.get("inputs").is_some_and(Value::is_object)) {
        return Some(Damage::WorkerDies);
    }
    match topological(prompt) {
        Some((_, depth)) if depth < DEADLY_DEPTH => None,
        _ => Some(Damage::WorkerDies),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nodes(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn nodes_come_after_what_they_need() {
        let prompt = nodes(json!({
            "a": {"inputs": {"x": ["b", 0], "y": ["c", 0]}}, "b": {"inputs": {"x": ["c", 0]}}, "c": {"inputs": {}},
        }));
        assert_eq!(topological(&prompt), Some((vec!["c", "b", "a"], 3)));
    }

    #[test]
    fn two_links_to_one_node_are_no_cycle_but_a_loop_is() {
        let twice = nodes(json!({"a": {"inputs": {"x": ["b", 0], "y": ["b", 0]}}, "b": {"inputs": {}}}));
        assert!(topological(&twice).is_some());
        let cycle = nodes(json!({"a": {"inputs": {"x": ["b", 0]}}, "b": {"inputs": {"x": ["a", 0]}}}));
        assert!(topological(&cycle).is_none());
    }
}
