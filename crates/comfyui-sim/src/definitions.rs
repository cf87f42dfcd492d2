//! What the node classes look like: the answer of `/object_info` and the shapes that validation needs.
//! Holds no behaviour of nodes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::files::{FileStore, Folder};

static OBJECT_INFO: &str = include_str!("../data/object_info.json");

/// What an input accepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputType {
    /// A named type such as `INT` or `MODEL`; `*` takes any.
    Named(String),
    /// One of these values, given in place of a type.
    OneOf(Vec<Value>),
}

/// One input of a class.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) kind: InputType,
    /// The options of `object_info`, an object.
    pub(crate) options: Value,
}

impl Input {
    /// `[type, options]` as errors show it.
    pub(crate) fn config(&self) -> Value {
        let kind = match &self.kind {
            InputType::Named(name) => Value::from(name.as_str()),
            InputType::OneOf(choices) => Value::from(choices.clone()),
        };
        Value::from(vec![kind, self.options.clone()])
    }

    pub(crate) fn is_named(&self, wanted: &str) -> bool {
        matches!(&self.kind, InputType::Named(name) if name == wanted)
    }
}

/// One class.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) class: String,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<String>,
    pub(crate) is_output: bool,
    info: Value,
}

/// All classes.
#[derive(Debug, Clone)]
pub(crate) struct Definitions {
    classes: HashMap<String, Arc<Definition>>,
    order: Vec<String>,
}

impl Definitions {
    pub(crate) fn new(checkpoints: &[String]) -> Self {
        let mut definitions = embedded().clone();
        let choices = Value::from(checkpoints.to_vec());
        if let Some(loader) = definitions.classes.get_mut("CheckpointLoaderSimple").map(Arc::make_mut) {
            if let Some(slot) = loader.info.pointer_mut("/input/required/ckpt_name/0") {
                *slot = choices;
            }
            if let Some(input) = loader.inputs.first_mut() {
                input.kind = InputType::OneOf(checkpoints.iter().map(|name| Value::from(name.as_str())).collect());
            }
        }
        definitions
    }

    pub(crate) fn get(&self, class: &str) -> Option<&Arc<Definition>> {
        self.classes.get(class)
    }

    /// The entry of `/object_info` for a class, with the files that can be loaded now.
    pub(crate) fn describe(&self, class: &str, files: &FileStore) -> Option<Value> {
        let mut info = self.classes.get(class)?.info.clone();
        if matches!(class, "LoadImage" | "LoadImageMask")
            && let Some(slot) = info.pointer_mut("/input/required/image/0")
        {
            *slot = Value::from(files.list(Folder::Input));
        }
        Some(info)
    }

    /// The whole answer of `/object_info`.
    pub(crate) fn describe_all(&self, files: &FileStore) -> Value {
        let described = self.order.iter().filter_map(|class| Some((class.clone(), self.describe(class, files)?)));
        Value::Object(described.collect::<Map<_, _>>())
    }
}

fn embedded() -> &'static Definitions {
    static PARSED: OnceLock<Definitions> = OnceLock::new();
    PARSED.get_or_init(|| {
        let all: Map<String, Value> = serde_json::from_str(OBJECT_INFO).unwrap_or_default();
        let order = all.keys().cloned().collect();
        let classes = all.into_iter().map(|(class, info)| (class.clone(), Arc::new(read_class(class, info)))).collect();
        Definitions { classes, order }
    })
}

fn read_class(class: String, info: Value) -> Definition {
    let mut inputs = Vec::new();
    for section in ["required", "optional"] {
        let Some(specs) = info.pointer(&format!("/input/{section}")).and_then(Value::as_object) else { continue };
        inputs.extend(specs.iter().map(|(name, spec)| read_input(name, section == "required", spec)));
    }
    let outputs = info.get("output").and_then(Value::as_array).cloned().unwrap_or_default();
    let outputs = outputs.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let is_output = info.get("output_node").and_then(Value::as_bool).unwrap_or(false);
    Definition { class, inputs, outputs, is_output, info }
}

fn read_input(name: &str, required: bool, spec: &Value) -> Input {
    let kind = match spec.get(0) {
        Some(Value::Array(choices)) => InputType::OneOf(choices.clone()),
        Some(Value::String(name)) => InputType::Named(name.clone()),
        _ => InputType::Named("*".to_owned()),
    };
    let options = spec.get(1).cloned().unwrap_or_else(|| Value::Object(Map::new()));
    Input { name: name.to_owned(), required, kind, options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_read_with_its_inputs_and_outputs() {
        let definitions = Definitions::new(&["a".to_owned()]);
        assert!(definitions.order.len() >= 83);
        let sampler = definitions.get("KSampler").unwrap();
        assert_eq!(sampler.outputs, ["LATENT"]);
        assert!(sampler.inputs.iter().any(|input| input.name == "seed" && input.required && input.is_named("INT")));
        let files = FileStore::open(None).unwrap();
        let loader = definitions.describe("CheckpointLoaderSimple", &files).unwrap();
        assert_eq!(loader["input"]["required"]["ckpt_name"][0], serde_json::json!(["a"]));
    }
}
