//! A workflow that passed every check at registration: what it asks of a caller and how it is rendered.
//! Immutable; the checks themselves live in the modules that this one calls in order.

use serde_json::{Map, Value};

use crate::Fault;

use super::catalog::NodeCatalog;
use super::consistency;
use super::derive;
use super::files::FileKind;
use super::graph::Graph;
use super::guard;
use super::links;
use super::needs::Needs;
use super::outputs;
use super::pointer::pointer;
use super::resolve::Resolution;
use super::schema::InputSchema;
use super::template::Template;
use super::value::{MAX_DEPTH, class_of, deeper_than};

/// Places with a placeholder, and properties of a schema: each is held against all of the other.
const MAX_PLACES: usize = 2_000;
pub(super) const MAX_PROPERTIES: usize = 1_000;

/// What a workflow is registered with.
#[derive(Debug, Clone, Copy)]
pub struct WorkflowSource<'a> {
    /// The graph in ComfyUI's API format, with placeholders.
    pub graph: &'a Value,
    /// The JSON Schema of its inputs; derived from the placeholders where there is none.
    pub input_schema: Option<&'a Value>,
    /// The ids of the output nodes; may be empty, then every node that saves something is one.
    pub outputs: &'a [String],
}

/// A compiled workflow: the parsed template and its schema's validator. Cheap to share in an `Arc`.
#[derive(Debug)]
pub struct Workflow {
    graph: Map<String, Value>,
    template: Template,
    schema: InputSchema,
    outputs: Vec<String>,
    /// Those of them that the author declared.
    declared: Vec<String>,
}

impl Workflow {
    /// Checks and compiles a workflow. The error holds every fault at once, ordered by path: below `/workflow`,
    /// `/inputSchema` or `/outputs`. With a `catalog` types, ranges and outputs of known classes are used, too.
    pub fn compile(source: WorkflowSource<'_>, catalog: Option<&NodeCatalog>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        for (path, value) in [("/workflow", Some(source.graph)), ("/inputSchema", source.input_schema)] {
            if value.is_some_and(|value| deeper_than(value, MAX_DEPTH)) {
                faults.push(Fault::new(path, format!("is nested deeper than {MAX_DEPTH} levels")));
            }
        }
        let properties = source.input_schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        if let Some(count) = properties.map(Map::len).filter(|count| *count > MAX_PROPERTIES) {
            let message = format!("has {count} properties; the limit is {MAX_PROPERTIES}");
            faults.push(Fault::new("/inputSchema/properties", message));
        }
        // Whatever is nested too deep, or too large, is not walked any further.
        if !faults.is_empty() {
            return Err(faults);
        }
        let graph = Graph::read(source.graph, &mut faults);
        let template = graph.as_ref().map(|graph| Template::parse(graph, &mut faults)).unwrap_or_default();
        if template.uses.len() > MAX_PLACES {
            let message = format!("has {} placeholders; the limit is {MAX_PLACES}", template.uses.len());
            return Err(vec![Fault::new("/workflow", message)]);
        }
        let mut outputs = Vec::new();
        if let Some(graph) = &graph {
            links::check(graph, catalog, &mut faults);
            outputs = outputs::pick(graph, source.outputs, catalog, &mut faults);
        }
        let schema = match source.input_schema {
            Some(given) => InputSchema::compile(given, &mut faults),
            None => InputSchema::compile(&derive::input_schema(&template, catalog), &mut faults),
        };
        if let Some(graph) = &graph {
            consistency::check(graph, &template, schema.as_ref(), catalog, &mut faults);
        }
        match (graph, schema) {
            (Some(graph), Some(schema)) if faults.is_empty() => {
                let (graph, declared) = (graph.raw.clone(), source.outputs.to_vec());
                Ok(Self { graph, template, schema, outputs, declared })
            }
            _ => Err(Fault::in_order(faults)),
        }
    }

    /// The JSON Schema of the inputs: as it was given, or derived.
    pub fn input_schema(&self) -> &Value {
        &self.schema.value
    }

    /// The values of a run: what the caller sent, defaults, drawn seeds, all checked. `draw_seed` is called once for
    /// each seed to draw. The error holds every fault at once, ordered by path, below `/inputs` or `/params`.
    pub fn resolve(
        &self,
        inputs: &Map<String, Value>,
        params: &Map<String, Value>,
        draw_seed: &mut dyn FnMut() -> u64,
    ) -> Result<Map<String, Value>, Vec<Fault>> {
        let mut resolution = Resolution::new(&self.schema, &self.template);
        resolution.accept(inputs, params);
        resolution.fill(draw_seed);
        resolution.check();
        if resolution.faults.is_empty() { Ok(resolution.values) } else { Err(Fault::in_order(resolution.faults)) }
    }

    /// The graph for ComfyUI with `resolved` in place of the placeholders. Files must be names by then.
    /// The error names values that are missing or cannot stand where their placeholder does.
    pub fn render(&self, resolved: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Fault>> {
        let mut faults = Vec::new();
        for property in &self.schema.properties {
            let Some(value) = resolved.get(&property.name) else { continue };
            let message = match value {
                Value::Object(_) if property.file.is_some() => Some("is a file that was not uploaded yet".to_owned()),
                _ => guard::structure_fault(property, value),
            };
            faults.extend(message.map(|message| Fault::new(pointer(&["inputs", &property.name]), message)));
        }
        let mut graph = self.graph.clone();
        for dynamic in &self.template.inputs {
            match dynamic.render(resolved) {
                Ok(value) => {
                    let inputs = graph.get_mut(&dynamic.node).and_then(|node| node.get_mut("inputs"));
                    if let Some(slot) = inputs.and_then(|inputs| inputs.get_mut(&dynamic.input)) {
                        *slot = value;
                    }
                }
                Err(misfit) => {
                    let name = misfit.name.as_ref().or(dynamic.names.first()).map_or("", String::as_str);
                    faults.push(Fault::new(pointer(&["inputs", name]), misfit.message));
                }
            }
        }
        if faults.is_empty() { Ok(graph) } else { Err(Fault::in_order(faults)) }
    }

    /// What every run needs, whatever its caller sends.
    pub fn fixed_needs(&self) -> Needs {
        self.needs_with(&Map::new())
    }

    /// What a run needs whose caller leaves every input that has a default as it is. Files that callers must name are
    /// not among it.
    pub fn default_needs(&self) -> Needs {
        let mut resolution = Resolution::new(&self.schema, &self.template);
        resolution.fill(&mut || 0);
        self.needs_with(&resolution.values)
    }

    /// What a graph needs that has these values, and nothing where one is missing.
    fn needs_with(&self, values: &Map<String, Value>) -> Needs {
        let mut graph = self.graph.clone();
        for dynamic in &self.template.inputs {
            let inputs = graph.get_mut(&dynamic.node).and_then(|node| node.get_mut("inputs"));
            let Some(inputs) = inputs.and_then(Value::as_object_mut) else { continue };
            match dynamic.render(values) {
                Ok(value) => inputs.insert(dynamic.input.clone(), value),
                Err(_) => inputs.remove(&dynamic.input),
            };
        }
        Needs::of(&graph)
    }

    /// The ids of the output nodes: the declared ones, or all that were found.
    pub fn output_nodes(&self) -> &[String] {
        &self.outputs
    }

    /// The ids of the output nodes that the author declared; empty where every node that saves something counts.
    pub fn declared_outputs(&self) -> &[String] {
        &self.declared
    }

    /// Whether what this node makes is an output of the workflow.
    pub fn is_output(&self, node_id: &str) -> bool {
        self.declared.is_empty() || self.is_declared(node_id)
    }

    /// Whether this node only ever shows what it gets: its files do not outlive ComfyUI.
    pub fn is_preview(&self, node_id: &str) -> bool {
        self.class_type(node_id).is_some_and(outputs::is_preview_class)
    }

    /// Whether the author named this node as an output.
    pub fn is_declared(&self, node_id: &str) -> bool {
        self.declared.iter().any(|id| id == node_id)
    }

    /// The name of a node for people: its title, else its class. `None` for an unknown id.
    pub fn node_title(&self, node_id: &str) -> Option<&str> {
        let title = self.graph.get(node_id)?.pointer("/_meta/title").and_then(Value::as_str);
        title.filter(|title| !title.trim().is_empty()).or_else(|| self.class_type(node_id))
    }

    /// How many nodes the graph has.
    pub fn node_count(&self) -> usize {
        self.graph.len()
    }

    /// The class of a node. `None` for an unknown id.
    pub fn class_type(&self, node_id: &str) -> Option<&str> {
        class_of(self.graph.get(node_id)?)
    }

    /// Whether the input `name` may be a text, as far as its schema says; `None` where there is no such input.
    pub fn takes_text(&self, name: &str) -> Option<bool> {
        self.schema.property(name).map(|property| property.types.is_open() || property.types.declares("string"))
    }

    /// The inputs that are files: their names and what they take.
    pub fn file_inputs(&self) -> impl Iterator<Item = (&str, FileKind)> {
        self.schema.properties.iter().filter_map(|property| Some((property.name.as_str(), property.file?)))
    }

    /// `resolved` with each file that it has as the name that `name` gives for it.
    pub fn name_files(
        &self,
        resolved: &Map<String, Value>,
        mut name: impl FnMut(&str, &Map<String, Value>) -> String,
    ) -> Map<String, Value> {
        let mut named = resolved.clone();
        for (input, _) in self.file_inputs() {
            if let Some(value) = named.get_mut(input)
                && let Value::Object(file) = &*value
            {
                *value = Value::String(name(input, file));
            }
        }
        named
    }

    /// The placeholders inside of one input of a node, in order; empty where its value is fixed.
    pub fn placeholders(&self, node_id: &str, input: &str) -> &[String] {
        let mut inputs = self.template.inputs.iter();
        inputs.find(|each| each.node == node_id && each.input == input).map_or(&[], |each| &each.names)
    }
}
