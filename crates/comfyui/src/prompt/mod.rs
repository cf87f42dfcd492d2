//! A prompt that is safe to send: some graphs get a 200 from ComfyUI and then kill its worker thread or the process.
//! Owns the checks before sending; values of inputs are the server's business and stay untouched.

mod fault;
mod graph;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value};

pub use self::fault::{PromptFault, PromptFaultKind};
use self::graph::{Links, collect_links, find_cycle, longest_chain, upstream_of};

/// Most nodes a prompt may have.
pub const MAX_NODES: usize = 10_000;
/// Longest chain of links. ComfyUI walks chains recursively and fails at about 1000.
pub const MAX_CHAIN: usize = 500;
/// Deepest nesting of arrays and objects within one input.
pub const MAX_VALUE_DEPTH: usize = 64;
/// Most faults that are reported at once.
const MAX_FAULTS: usize = 50;

/// A checked prompt in ComfyUI's API format.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedPrompt {
    graph: Map<String, Value>,
    dropped: Vec<String>,
}

impl PreparedPrompt {
    /// Checks a graph (node id to `{class_type, inputs}`). With the ids of its output nodes known, nodes that feed none
    /// of them are left out, since ComfyUI walks even those; otherwise every node stays.
    ///
    /// # Errors
    /// Every fault found, up to 50, of the first stage that finds any: nodes and values, then outputs and links,
    /// then cycles and length.
    pub fn prepare(graph: Map<String, Value>, outputs_known: Option<&[String]>) -> Result<Self, Vec<PromptFault>> {
        check_size(&graph)?;
        stage(check_nodes(&graph))?;
        if let Some(outputs) = outputs_known {
            stage(check_outputs(&graph, outputs))?;
        }
        let all_links = collect_links(&graph);
        let kept = match outputs_known {
            Some(outputs) => upstream_of(&all_links, outputs),
            None => graph.keys().cloned().collect(),
        };
        let (links, faults) = check_links(&graph, &kept);
        stage(faults)?;
        stage(check_shape(&links))?;
        Ok(Self::keep(graph, &kept))
    }

    fn keep(mut graph: Map<String, Value>, kept: &HashSet<String>) -> Self {
        let dropped: Vec<String> = graph.keys().filter(|id| !kept.contains(*id)).cloned().collect();
        graph.retain(|id, _| kept.contains(id));
        for node in graph.values_mut().filter_map(Value::as_object_mut) {
            // Newer servers read the title below "_meta" and fail when it is no object; it has no other effect.
            if node.get("_meta").is_some_and(|meta| !meta.is_object()) {
                node.shift_remove("_meta");
            }
        }
        Self { graph, dropped }
    }

    /// The graph as it will be sent.
    pub const fn graph(&self) -> &Map<String, Value> {
        &self.graph
    }

    /// Ids of the nodes that feed no output and were left out.
    pub fn dropped_nodes(&self) -> &[String] {
        &self.dropped
    }
}

fn stage(mut faults: Vec<PromptFault>) -> Result<(), Vec<PromptFault>> {
    faults.truncate(MAX_FAULTS);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_size(graph: &Map<String, Value>) -> Result<(), Vec<PromptFault>> {
    if graph.is_empty() {
        return stage(vec![PromptFault::whole(PromptFaultKind::Empty)]);
    }
    if graph.len() > MAX_NODES {
        return stage(vec![PromptFault::whole(PromptFaultKind::TooManyNodes { nodes: graph.len() })]);
    }
    Ok(())
}

fn check_nodes(graph: &Map<String, Value>) -> Vec<PromptFault> {
    let mut faults = Vec::new();
    for (id, node) in graph {
        if id.is_empty() || id.contains('\0') {
            faults.push(PromptFault::node(id, PromptFaultKind::BadNodeId));
        }
        let Some(node) = node.as_object() else {
            faults.push(PromptFault::node(id, PromptFaultKind::NotAnObject));
            continue;
        };
        match node.get("class_type").and_then(Value::as_str) {
            Some(class) if !class.is_empty() && !class.contains('\0') => {}
            _ => faults.push(PromptFault::node(id, PromptFaultKind::MissingClassType)),
        }
        match node.get("inputs").and_then(Value::as_object) {
            Some(inputs) => check_values(id, inputs, &mut faults),
            None => faults.push(PromptFault::node(id, PromptFaultKind::MissingInputs)),
        }
    }
    faults
}

fn check_values(id: &str, inputs: &Map<String, Value>, faults: &mut Vec<PromptFault>) {
    for (name, value) in inputs {
        if name.contains('\0') {
            faults.push(PromptFault::input(id, name, PromptFaultKind::NulInText));
        }
        if let Some(kind) = value_fault(value, MAX_VALUE_DEPTH) {
            faults.push(PromptFault::input(id, name, kind));
        }
    }
}

/// Recursion ends at `depth` levels.
fn value_fault(value: &Value, depth: usize) -> Option<PromptFaultKind> {
    let inner = depth.checked_sub(1);
    match (value, inner) {
        (Value::String(text), _) => text.contains('\0').then_some(PromptFaultKind::NulInText),
        (Value::Array(_) | Value::Object(_), None) => Some(PromptFaultKind::NestedTooDeep),
        (Value::Array(items), Some(depth)) => items.iter().find_map(|item| value_fault(item, depth)),
        (Value::Object(fields), Some(depth)) => {
            let bad_key = fields.keys().any(|key| key.contains('\0')).then_some(PromptFaultKind::NulInText);
            bad_key.or_else(|| fields.values().find_map(|field| value_fault(field, depth)))
        }
        _ => None,
    }
}

fn check_outputs(graph: &Map<String, Value>, outputs: &[String]) -> Vec<PromptFault> {
    if outputs.is_empty() {
        return vec![PromptFault::whole(PromptFaultKind::NoOutputs)];
    }
    let missing = outputs.iter().filter(|id| !graph.contains_key(*id));
    missing.map(|id| PromptFault::node(id, PromptFaultKind::OutputMissing)).collect()
}

/// Links among the kept nodes, and the faults of what should be links but is not.
fn check_links<'a>(graph: &'a Map<String, Value>, kept: &HashSet<String>) -> (Links<'a>, Vec<PromptFault>) {
    let mut links = Links::new();
    let mut faults = Vec::new();
    for (id, node) in graph.iter().filter(|(id, _)| kept.contains(*id)) {
        let sources = links.entry(id.as_str()).or_default();
        let inputs = node.get("inputs").and_then(Value::as_object);
        for (name, value) in inputs.into_iter().flatten() {
            let Value::Array(items) = value else { continue };
            match items.as_slice() {
                [Value::String(source), slot] if slot.is_u64() => {
                    if graph.contains_key(source) {
                        sources.push(source);
                    } else {
                        let kind = PromptFaultKind::LinkToMissingNode { source_node: source.clone() };
                        faults.push(PromptFault::input(id, name, kind));
                    }
                }
                _ => faults.push(PromptFault::input(id, name, PromptFaultKind::BadLink)),
            }
        }
    }
    (links, faults)
}

fn check_shape(links: &Links<'_>) -> Vec<PromptFault> {
    if let Some(cycle) = find_cycle(links) {
        let first = cycle.first().cloned().unwrap_or_default();
        return vec![PromptFault::node(&first, PromptFaultKind::Cycle { nodes: cycle })];
    }
    let (length, last) = longest_chain(links);
    if length > MAX_CHAIN {
        return vec![PromptFault::node(last, PromptFaultKind::ChainTooLong { nodes: length })];
    }
    Vec::new()
}
