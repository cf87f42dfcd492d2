//! The links between the nodes of a graph: their shape, their targets, cycles and over-long chains.
//! Types of outputs are checked against a catalog elsewhere; here only their number counts.

use serde_json::Value;

use crate::Fault;

use super::catalog::NodeCatalog;
use super::graph::{Graph, Node};
use super::pointer::input_path;
use super::template::VALUE_KEY;
use super::value::{as_link, is_link_shaped, shorten};

/// The highest output index that a node of an unknown class may have.
const MAX_SLOT: u64 = 64;
/// How many links a graph may have.
const MAX_LINKS: usize = 10_000;
/// How many nodes may follow one another; ComfyUI walks a graph recursively and breaks on longer chains.
const MAX_CHAIN: usize = 500;

/// Notes every fault of the links of `graph`.
pub(super) fn check(graph: &Graph<'_>, catalog: Option<&NodeCatalog>, faults: &mut Vec<Fault>) {
    let mut count = 0;
    let mut edges: Vec<Vec<Edge<'_>>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut sources = Vec::new();
        for (input, value) in node.inputs {
            match check_input(graph, node, value, catalog) {
                Ok(None) => {}
                Ok(Some(source)) => {
                    count += 1;
                    sources.extend(graph.position(source).map(|at| Edge { input, source: at }));
                }
                Err(message) => faults.push(Fault::new(input_path(node.id, input), message)),
            }
        }
        edges.push(sources);
    }
    if count > MAX_LINKS {
        faults.push(Fault::new("/workflow", format!("has {count} links; the limit is {MAX_LINKS}")));
    }
    check_order(graph, &edges, faults);
}

struct Edge<'g> {
    input: &'g str,
    source: usize,
}

fn check_input<'g>(
    graph: &Graph<'g>,
    node: &Node<'g>,
    value: &'g Value,
    catalog: Option<&NodeCatalog>,
) -> Result<Option<&'g str>, String> {
    if value.get(VALUE_KEY).is_some_and(is_link_shaped) {
        return Err(format!("a `{VALUE_KEY}` list of a string and a number would be taken for a link"));
    }
    if !value.is_array() {
        return Ok(None);
    }
    let Some((source, slot)) = as_link(value) else {
        return Err(format!(
            "must be a link [\"node id\", output index from 0]; a list that is a value is written {{\"{VALUE_KEY}\": […]}}"
        ));
    };
    if source == node.id {
        return Err("links the node to itself".to_owned());
    }
    if !graph.raw.contains_key(source) {
        return Err(format!("links to node `{}`, which does not exist", shorten(source, 64)));
    }
    let outputs = graph.node(source).and_then(|from| Some((from.class, catalog?.output_count(from.class)?)));
    match outputs {
        Some((class, outputs)) if slot >= outputs as u64 => Err(format!(
            "links to output {slot} of node {source} ({class}), which has {outputs} output{}",
            if outputs == 1 { "" } else { "s" }
        )),
        None if slot > MAX_SLOT => Err(format!("links to output {slot}; the limit is {MAX_SLOT}")),
        _ => Ok(Some(source)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done(usize),
}

/// One walk over the graph, without recursion: finds links that close a cycle and the longest chain.
fn check_order(graph: &Graph<'_>, edges: &[Vec<Edge<'_>>], faults: &mut Vec<Fault>) {
    let mut marks = vec![Mark::New; edges.len()];
    let mut longest = 0;
    for start in 0..edges.len() {
        let mut stack = vec![(start, 0_usize)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 {
                if marks.get(at) != Some(&Mark::New) {
                    continue;
                }
                set(&mut marks, at, Mark::Open);
            }
            let sources = edges.get(at).map_or(&[][..], Vec::as_slice);
            let Some(edge) = sources.get(next) else {
                let below = sources.iter().filter_map(|edge| marks.get(edge.source)).map(|mark| match mark {
                    Mark::Done(length) => *length,
                    _ => 0,
                });
                let length = 1 + below.max().unwrap_or(0);
                longest = longest.max(length);
                set(&mut marks, at, Mark::Done(length));
                continue;
            };
            stack.push((at, next + 1));
            match marks.get(edge.source) {
                Some(Mark::New) => stack.push((edge.source, 0)),
                Some(Mark::Open) => faults.extend(cycle_fault(graph, at, edge)),
                _ => {}
            }
        }
    }
    if longest > MAX_CHAIN {
        let message = format!("has a chain of {longest} nodes; ComfyUI follows at most {MAX_CHAIN}");
        faults.push(Fault::new("/workflow", message));
    }
}

fn set(marks: &mut [Mark], at: usize, mark: Mark) {
    if let Some(slot) = marks.get_mut(at) {
        *slot = mark;
    }
}

fn cycle_fault(graph: &Graph<'_>, at: usize, edge: &Edge<'_>) -> Option<Fault> {
    let (node, source) = (graph.nodes.get(at)?, graph.nodes.get(edge.source)?);
    let message = format!("closes a cycle: node {} needs node {}, which needs it in turn", node.id, source.id);
    Some(Fault::new(input_path(node.id, edge.input), message))
}
