//! A graph that a caller sends with a job, in place of a workflow's id. It is taken apart: its structure (nodes, classes,
//! links) becomes a template, its values become the inputs of that, and from there on it is a workflow like any other.
//! So a text of a caller is never read as a template, a file is given as to any workflow, what is kept of the structure
//! holds no prompt, and graphs that differ in values alone are one workflow.
//!
//! Owns what such a graph may not say; whether it is a sound graph is `Workflow::compile`'s, whether its values fit
//! `Workflow::resolve`'s. Stores nothing.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::Fault;
use crate::cache::digest;
use crate::ids::RAW_PREFIX;

use super::compiled::{MAX_PROPERTIES, WorkflowSource};
use super::node_policy::NodePolicy;
use super::pointer::{input_path, pointer};
use super::policy;
use super::value::class_of;

/// Digits of its hash in the id of such a workflow.
const DIGITS: usize = 32;
/// Characters of an input's name and of a node's id in the name of a value.
const NAME: usize = 40;
/// What stands where a node names its files, until the worker puts its own name there.
const FILES: &str = "gateway";

/// A graph of a caller, taken apart.
#[derive(Debug)]
pub struct RawGraph {
    id: String,
    graph: Value,
    schema: Value,
    inputs: Map<String, Value>,
    /// Where each input stood in the graph.
    places: HashMap<String, String>,
}

impl RawGraph {
    /// Takes `graph` apart. Gives with it what is wrong with its classes, as `policy` has it, and with its values; what
    /// is wrong with its shape shows when its [`source`](Self::source) is compiled.
    pub fn read(mut graph: Value, policy: &NodePolicy) -> (Self, Vec<Fault>) {
        keep_what_counts(&mut graph);
        let mut lift = Lift { faults: policy.check(&graph), ..Lift::default() };
        lift.graph(&mut graph, Pass::Texts);
        if lift.wanted > MAX_PROPERTIES {
            let message = format!("has {} texts and files; the limit is {MAX_PROPERTIES}", lift.wanted);
            lift.faults.push(Fault::new("/workflow", message));
        }
        lift.graph(&mut graph, Pass::Numbers);
        let Lift { properties, inputs, places, faults, .. } = lift;
        let schema = json!({"type": "object", "properties": properties});
        let digits: String = digest(&json!([graph, schema])).chars().take(DIGITS).collect();
        let id = format!("{RAW_PREFIX}{digits}");
        (Self { id, graph, schema, inputs, places }, Fault::in_order(faults))
    }

    /// The id of the workflow that it becomes: the same for graphs that differ in their values alone.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What to compile.
    pub fn source(&self) -> WorkflowSource<'_> {
        WorkflowSource { graph: &self.graph, input_schema: Some(&self.schema), outputs: &[] }
    }

    /// The template.
    pub fn graph(&self) -> &Value {
        &self.graph
    }

    /// Its values, by the names that the template has for them.
    pub fn inputs(&self) -> &Map<String, Value> {
        &self.inputs
    }

    /// Faults of its template and its inputs as faults of the graph that was sent.
    pub fn told(&self, faults: Vec<Fault>) -> Vec<Fault> {
        let any = !faults.is_empty();
        let mut told: Vec<Fault> = faults.into_iter().filter_map(|fault| self.told_one(fault)).collect();
        if any && told.is_empty() {
            told.push(Fault::new("/workflow", "can't be read"));
        }
        Fault::in_order(told)
    }

    fn told_one(&self, Fault { path, message }: Fault) -> Option<Fault> {
        // The caller sent no schema: what that has against a broken node, the node's own fault says better.
        if path.starts_with("/inputSchema") {
            return None;
        }
        if path == "/outputs" {
            let message = "the workflow saves nothing, it only previews; add a node that saves, such as SaveImage";
            return Some(Fault::new("/workflow", message));
        }
        let place = path.strip_prefix("/inputs/").and_then(|input| {
            let (name, below) = input.split_once('/').map_or((input, None), |(name, below)| (name, Some(below)));
            let place = self.places.get(name)?;
            Some(below.map_or_else(|| place.clone(), |below| format!("{place}/{below}")))
        });
        let path = match place {
            Some(place) => place,
            None if matches!(path.as_str(), "/workflowId" | "/inputs") => String::from("/workflow"),
            None => path,
        };
        Some(Fault { path, message })
    }
}

/// Leaves of each node its class and its inputs: titles and the like are no part of what runs.
fn keep_what_counts(graph: &mut Value) {
    for node in graph.as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        node.retain(|field, _| matches!(field.as_str(), "class_type" | "inputs"));
    }
}

/// Which values are taken out: texts and files always, numbers as far as there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Texts,
    Numbers,
}

/// One input of one node.
#[derive(Debug, Clone, Copy)]
struct Slot<'g> {
    node: &'g str,
    class: &'g str,
    input: &'g str,
}

/// The values that were taken out of a graph.
#[derive(Debug, Default)]
struct Lift {
    properties: Map<String, Value>,
    inputs: Map<String, Value>,
    places: HashMap<String, String>,
    faults: Vec<Fault>,
    /// Values that are to be taken out, also those that find no room.
    wanted: usize,
}

impl Lift {
    fn graph(&mut self, graph: &mut Value, pass: Pass) {
        for (id, node) in graph.as_object_mut().into_iter().flatten() {
            let class = class_of(node).unwrap_or_default().to_owned();
            let Some(inputs) = node.get_mut("inputs").and_then(Value::as_object_mut) else { continue };
            for (input, value) in inputs {
                self.input(Slot { node: id, class: &class, input }, value, pass);
            }
        }
    }

    fn input(&mut self, slot: Slot<'_>, value: &mut Value, pass: Pass) {
        let path = input_path(slot.node, slot.input);
        if policy::is_prefix_input(slot.input) {
            *value = Value::from(FILES);
        } else if value.is_array() {
            // A link, or a list that is none, which the template is refused for.
            if policy::takes_no_link(slot.class, slot.input) {
                self.faults.push(Fault::new(path, "must not be a link: over one any file could be named"));
            }
        } else if let Some(kind) = policy::loaded_file(slot.class, slot.input) {
            if pass == Pass::Texts {
                let file = value.take();
                *value = self.put(slot, path, file, json!({"type": "object", "format": kind.as_format()}));
            }
        } else {
            self.value(slot, path, value, pass);
        }
    }

    fn value(&mut self, slot: Slot<'_>, path: String, value: &mut Value, pass: Pass) {
        match value {
            Value::String(text) if pass == Pass::Texts => {
                let text = std::mem::take(text);
                let fault = policy::raw_value_fault(slot.class, slot.input, &text);
                self.faults.extend(fault.map(|message| Fault::new(path.clone(), message)));
                *value = self.put(slot, path, Value::String(text), json!({"type": "string"}));
            }
            Value::Number(_) if pass == Pass::Numbers && self.inputs.len() < MAX_PROPERTIES => {
                let number = value.take();
                // What is called a seed is not drawn: the caller has said what it is.
                *value = self.put(slot, path, number, json!({"type": "number", "x-random": false}));
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.value(slot, format!("{path}/{at}"), item, pass);
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields.iter_mut() {
                    let below = format!("{path}{}", pointer(&[key]));
                    self.value(slot, below, item, pass);
                }
            }
            _ => {}
        }
    }

    /// Takes `value` out; gives what stands in its place.
    fn put(&mut self, slot: Slot<'_>, path: String, value: Value, schema: Value) -> Value {
        self.wanted += 1;
        if self.inputs.len() >= MAX_PROPERTIES {
            return Value::from("");
        }
        let name = self.free_name(slot);
        let token = format!("{{{{{name}}}}}");
        self.properties.insert(name.clone(), schema);
        self.inputs.insert(name.clone(), value);
        self.places.insert(name, path);
        Value::String(token)
    }

    /// A name that no value has yet, and that a placeholder can have: `text_6` for the text of node 6.
    fn free_name(&self, slot: Slot<'_>) -> String {
        let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
        let plain = |text: &str| text.chars().take(NAME).map(letter).collect::<String>();
        let mut base = format!("{}_{}", plain(slot.input), plain(slot.node));
        if base.starts_with(|first: char| first.is_ascii_digit()) {
            base.insert(0, '_');
        }
        let mut name = base.clone();
        let mut number = 2;
        while self.inputs.contains_key(&name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name
    }
}
