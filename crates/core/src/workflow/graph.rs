//! A graph in ComfyUI's API format, read leniently: what is well formed is kept, the rest becomes faults.
//! Owns the shape of nodes; links, outputs and placeholders are other modules' business.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::Fault;

use super::dangerous;
use super::pointer::{input_path, node_path, pointer};
use super::value::has_nul;

/// How many nodes a graph may have.
const MAX_NODES: usize = 1_000;
/// How long a node's id and an input's name may be, in characters.
const MAX_NAME: usize = 64;
const MAX_CLASS: usize = 200;

const UI_EXPORT: &str = "this is ComfyUI's UI format (it has `nodes` and `links`), which cannot be queued; \
    export the API format instead: in ComfyUI open the Workflow menu and choose Export (API), \
    in old versions enable the dev mode options in the settings and press Save (API Format)";

/// A node whose shape is sound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'g> {
    pub(super) id: &'g str,
    pub(super) class: &'g str,
    pub(super) inputs: &'g Map<String, Value>,
}

/// The sound nodes of a graph, in its order, and the graph itself.
#[derive(Debug)]
pub(super) struct Graph<'g> {
    pub(super) raw: &'g Map<String, Value>,
    pub(super) nodes: Vec<Node<'g>>,
    index: HashMap<&'g str, usize>,
}

/// Whether `value` is a workflow in the format of ComfyUI's editor rather than of its API.
pub fn looks_like_ui_export(value: &Value) -> bool {
    value.get("nodes").is_some_and(Value::is_array)
        && (value.get("links").is_none_or(|links| links.is_array() || links.is_object()))
}

impl<'g> Graph<'g> {
    /// Reads `value`; `None` where it is no graph at all. Every fault of the nodes' shapes is noted.
    pub(super) fn read(value: &'g Value, faults: &mut Vec<Fault>) -> Option<Self> {
        let raw = match value.as_object() {
            _ if looks_like_ui_export(value) => Err(UI_EXPORT.to_owned()),
            None => Err("must be an object of nodes in ComfyUI's API format".to_owned()),
            Some(raw) if raw.is_empty() => Err("has no nodes".to_owned()),
            Some(raw) if raw.len() > MAX_NODES => Err(format!("has {} nodes; the limit is {MAX_NODES}", raw.len())),
            Some(raw) => Ok(raw),
        };
        let raw = raw.map_err(|message| faults.push(Fault::new("/workflow", message))).ok()?;
        let nodes: Vec<Node<'g>> = raw.iter().filter_map(|(id, node)| read_node(id, node, faults)).collect();
        let index = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        Some(Self { raw, nodes, index })
    }

    /// The sound node with this id.
    pub(super) fn node(&self, id: &str) -> Option<&Node<'g>> {
        self.position(id).and_then(|at| self.nodes.get(at))
    }

    /// Where the sound node with this id stands among the sound nodes.
    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }
}

fn read_node<'g>(id: &'g str, node: &'g Value, faults: &mut Vec<Fault>) -> Option<Node<'g>> {
    if let Some(message) = odd_name(id) {
        faults.push(Fault::new(node_path(id), format!("the node's id {message}")));
    }
    if has_nul(node) {
        faults.push(Fault::new(node_path(id), "has a NUL character in a string"));
    }
    let Some(fields) = node.as_object() else {
        faults.push(Fault::new(node_path(id), "must be an object with `class_type` and `inputs`"));
        return None;
    };
    let class = read_class(id, fields.get("class_type"), faults);
    let inputs = match fields.get("inputs") {
        Some(Value::Object(inputs)) => Some(inputs),
        Some(_) => {
            faults.push(Fault::new(pointer(&["workflow", id, "inputs"]), "must be an object"));
            None
        }
        None => {
            faults.push(Fault::new(node_path(id), "has no `inputs`; a node without any has an empty object there"));
            None
        }
    };
    for name in inputs.into_iter().flat_map(Map::keys) {
        if let Some(message) = odd_name(name) {
            faults.push(Fault::new(input_path(id, name), format!("the input's name {message}")));
        }
    }
    Some(Node { id, class: class?, inputs: inputs? })
}

fn read_class<'g>(id: &str, class: Option<&'g Value>, faults: &mut Vec<Fault>) -> Option<&'g str> {
    let message = match class {
        None => "is missing".to_owned(),
        Some(Value::String(class)) => match odd_class(class) {
            None => return Some(class),
            Some(message) => message,
        },
        Some(_) => "must be a string".to_owned(),
    };
    faults.push(Fault::new(pointer(&["workflow", id, "class_type"]), message));
    None
}

fn odd_class(class: &str) -> Option<String> {
    if class.trim().is_empty() {
        Some("is empty".to_owned())
    } else if class.chars().count() > MAX_CLASS {
        Some(format!("is longer than {MAX_CLASS} characters"))
    } else if class.contains("{{") {
        Some("cannot hold a placeholder".to_owned())
    } else if is_reserved(class) || class.chars().any(char::is_control) {
        Some("is no name of a node class".to_owned())
    } else {
        dangerous::fault(class)
    }
}

fn odd_name(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.chars().count() > MAX_NAME {
        Some(format!("is longer than {MAX_NAME} characters"))
    } else if name.contains("{{") || is_reserved(name) || name.chars().any(char::is_control) {
        Some("is not allowed".to_owned())
    } else {
        None
    }
}

/// Names that mean something else than a name to the languages that read a graph.
fn is_reserved(name: &str) -> bool {
    let name = name.trim();
    (name.len() > 3 && name.starts_with("__") && name.ends_with("__")) || matches!(name, "constructor" | "prototype")
}
