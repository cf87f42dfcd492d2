//! Which nodes of a graph are its outputs: those that the author declared, or those that save or show something.

use std::collections::HashSet;

use crate::Fault;

use super::catalog::NodeCatalog;
use super::graph::{Graph, Node};
use super::pointer::pointer;
use super::value::{as_link, shorten};

/// How many output nodes a graph may have.
const MAX_OUTPUTS: usize = 32;

const OUTPUT_WORDS: [&str; 9] = ["save", "preview", "output", "show", "combine", "export", "write", "send", "display"];

/// The output nodes of `graph`: the `declared` ones, or all that there are. Notes every fault.
pub(super) fn pick(
    graph: &Graph<'_>,
    declared: &[String],
    catalog: Option<&NodeCatalog>,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    check_declared(graph, declared, catalog, faults);
    let sources: HashSet<&str> = graph
        .nodes
        .iter()
        .flat_map(|node| node.inputs.values())
        .filter_map(|value| as_link(value).map(|(source, _)| source))
        .collect();
    let is_output = |node: &&Node<'_>| match catalog.and_then(|catalog| catalog.is_output_node(node.class)) {
        Some(known) => known,
        None => declared.iter().any(|id| id == node.id) || (!sources.contains(node.id) && names_an_output(node.class)),
    };
    let found: Vec<String> = graph.nodes.iter().filter(is_output).map(|node| node.id.to_owned()).collect();
    // With a broken node or a wrong declaration the search may have missed one: that fault says enough.
    if found.is_empty() && declared.is_empty() && graph.nodes.len() == graph.raw.len() {
        let message = "has no output node; add one that saves the result, such as SaveImage, or name it in `outputs`";
        faults.push(Fault::new("/workflow", message));
    }
    let only_previews = graph.nodes.iter().filter(is_output).all(|node| is_preview_class(node.class));
    if !found.is_empty() && declared.is_empty() && only_previews {
        let message =
            "the workflow saves nothing, it only previews; name the preview nodes here to keep what they show";
        faults.push(Fault::new("/outputs", message));
    }
    if found.len() > MAX_OUTPUTS {
        let message = format!("has {} output nodes; the limit is {MAX_OUTPUTS}", found.len());
        faults.push(Fault::new("/workflow", message));
    }
    if declared.is_empty() { found } else { declared.to_vec() }
}

/// Whether the files of a node of this class land in ComfyUI's temp folder.
pub(super) fn is_preview_class(class: &str) -> bool {
    class.to_ascii_lowercase().contains("preview")
}

fn check_declared(graph: &Graph<'_>, declared: &[String], catalog: Option<&NodeCatalog>, faults: &mut Vec<Fault>) {
    let mut seen = HashSet::new();
    for (at, id) in declared.iter().enumerate() {
        let class = graph.node(id).map(|node| node.class);
        let message = if !graph.raw.contains_key(id) {
            format!("there is no node `{}` in the workflow", shorten(id, 64))
        } else if !seen.insert(id) {
            format!("node `{id}` is named twice")
        } else if let Some(class) =
            class.filter(|class| catalog.and_then(|catalog| catalog.is_output_node(class)) == Some(false))
        {
            format!("node `{id}` ({class}) is no output node: ComfyUI would not run it for its own sake")
        } else {
            continue;
        };
        faults.push(Fault::new(pointer(&["outputs", &at.to_string()]), message));
    }
}

fn names_an_output(class: &str) -> bool {
    let class = class.to_ascii_lowercase();
    OUTPUT_WORDS.iter().any(|word| class.contains(word))
}
