//! What a ComfyUI knows of its node classes: `/object_info` in the shapes of all its versions, read once.
//! Answers questions about classes and inputs; checking a graph against it is `catalog_check`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use super::files::FileKind;
use crate::hex;

/// The node classes of a ComfyUI server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeCatalog {
    classes: BTreeMap<String, NodeClass>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NodeClass {
    pub(super) inputs: Vec<InputSpec>,
    /// The type of each output; a list of choices is `COMBO`.
    pub(super) outputs: Vec<String>,
    output_node: bool,
    core: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InputSpec {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) kind: InputKind,
    pub(super) default: Option<Value>,
    /// The input takes the name of a file that was uploaded.
    pub(super) upload: Option<FileKind>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum InputKind {
    Int(Range),
    Float(Range),
    Text,
    Boolean,
    Choice(Choices),
    /// Anything else, which comes over a link: `MODEL`, `IMAGE,MASK`, `*`.
    Other(String),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) min: Option<Number>,
    pub(super) max: Option<Number>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Choices {
    /// `None` where the server does not say which there are.
    pub(super) options: Option<Vec<Value>>,
    pub(super) multiple: bool,
}

impl NodeCatalog {
    /// Reads the answer of `/object_info` or `/object_info/{class}`; what is malformed there is left out.
    pub fn parse(object_info: &Value) -> Self {
        let classes = object_info
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, class)| Some((name.clone(), NodeClass::parse(class.as_object()?))))
            .collect();
        Self { classes }
    }

    /// The same for catalogs that say the same.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(text).get(..16).unwrap_or_default())
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no class at all.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether the server has this class.
    pub fn contains(&self, class: &str) -> bool {
        self.classes.contains_key(class)
    }

    /// Whether nodes of this class are run for their own sake; `None` for an unknown class.
    pub fn is_output_node(&self, class: &str) -> Option<bool> {
        self.class(class).map(|class| class.output_node)
    }

    /// How many outputs nodes of this class have; `None` for an unknown class.
    pub fn output_count(&self, class: &str) -> Option<usize> {
        self.class(class).map(|class| class.outputs.len())
    }

    /// Whether the class comes with ComfyUI itself; `None` for an unknown class.
    pub fn is_core(&self, class: &str) -> Option<bool> {
        self.class(class).map(|class| class.core)
    }

    /// The choices of an input, such as the checkpoints that are installed; `None` where it has no fixed list.
    pub fn choices(&self, class: &str, input: &str) -> Option<&[Value]> {
        match &self.input(class, input)?.kind {
            InputKind::Choice(choices) => choices.options.as_deref(),
            _ => None,
        }
    }

    pub(super) fn class(&self, class: &str) -> Option<&NodeClass> {
        self.classes.get(class)
    }

    pub(super) fn input(&self, class: &str, input: &str) -> Option<&InputSpec> {
        self.class(class)?.inputs.iter().find(|spec| spec.name == input)
    }
}

impl NodeClass {
    fn parse(class: &Map<String, Value>) -> Self {
        let group = |name: &str| class.get("input").and_then(|input| input.get(name)).and_then(Value::as_object);
        let required = group("required").into_iter().flatten().map(|(name, spec)| InputSpec::parse(name, spec, true));
        let optional = group("optional").into_iter().flatten().map(|(name, spec)| InputSpec::parse(name, spec, false));
        let outputs = class.get("output").and_then(Value::as_array).into_iter().flatten();
        let module = class.get("python_module").and_then(Value::as_str).unwrap_or_default();
        Self {
            inputs: required.chain(optional).collect(),
            outputs: outputs.map(|each| each.as_str().unwrap_or("COMBO").to_owned()).collect(),
            output_node: class.get("output_node").and_then(Value::as_bool).unwrap_or(false),
            core: module == "nodes" || module.starts_with("comfy_extras") || module.starts_with("comfy_api_nodes"),
        }
    }
}

impl InputSpec {
    /// Reads `["INT", {…}]`, `[["a", "b"], {…}]`, `["COMBO", {"options": […]}]`, or the same without the object.
    fn parse(name: &str, spec: &Value, required: bool) -> Self {
        let mut parts = spec.as_array().into_iter().flatten();
        let kind = parts.next().unwrap_or(spec);
        let empty = Map::new();
        let options = parts.next().and_then(Value::as_object).unwrap_or(&empty);
        let number = |key: &str| options.get(key).and_then(Value::as_number).cloned();
        let range = || Range { min: number("min"), max: number("max") };
        let flag = |key: &str| options.get(key).and_then(Value::as_bool).unwrap_or(false);
        let multiple = flag("multiselect") || options.get("multi_select").is_some_and(|each| each != false);
        let upload = [("image_upload", FileKind::Image), ("video_upload", FileKind::Video)]
            .into_iter()
            .chain([("audio_upload", FileKind::Audio), ("file_upload", FileKind::File)])
            .find_map(|(key, kind)| flag(key).then_some(kind));
        Self {
            name: name.to_owned(),
            required,
            kind: match kind {
                Value::Array(choices) => InputKind::Choice(Choices { options: Some(choices.clone()), multiple }),
                Value::String(kind) => match kind.as_str() {
                    "INT" => InputKind::Int(range()),
                    "FLOAT" => InputKind::Float(range()),
                    "STRING" => InputKind::Text,
                    "BOOLEAN" => InputKind::Boolean,
                    "COMBO" => {
                        let choices = options.get("options").and_then(Value::as_array).cloned();
                        InputKind::Choice(Choices { options: choices, multiple })
                    }
                    other => InputKind::Other(other.to_owned()),
                },
                _ => InputKind::Other("*".to_owned()),
            },
            default: options.get("default").filter(|default| !default.is_null()).cloned(),
            upload,
        }
    }
}

impl InputKind {
    /// The name of the type as links know it.
    pub(super) fn link_type(&self) -> &str {
        match self {
            Self::Int(_) => "INT",
            Self::Float(_) => "FLOAT",
            Self::Text => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::Choice(_) => "COMBO",
            Self::Other(name) => name,
        }
    }
}
