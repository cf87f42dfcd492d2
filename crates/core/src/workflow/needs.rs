//! What a rendered graph needs of the ComfyUI that is to run it: node classes and model files. Names a server's
//! shortcomings; which server is asked is the caller's.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::catalog::NodeCatalog;
use super::value::{class_of, inputs_of};

/// The endings that ComfyUI loads as models, and those of widely used custom nodes.
const MODEL_ENDINGS: [&str; 11] =
    [".safetensors", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".sft", ".gguf", ".onnx", ".engine"];
/// Longer texts are no file names.
const LONGEST_NAME: usize = 255;

/// A model file, and the input that names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelFile {
    /// The node class.
    pub class: String,
    /// Its input.
    pub input: String,
    /// The file as the input names it.
    pub file: String,
}

/// The namespace of ids of needs.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_3c0e_5a54_4d1b_9c0a_7be2_41f0_93d7);

/// Stands for what a graph needs: the same for equal needs, whichever process made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NeedsId(Uuid);

impl fmt::Display for NeedsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

impl FromStr for NeedsId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What a graph needs. The same for all jobs that differ in texts, seeds and sizes only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    classes: BTreeSet<String>,
    models: BTreeSet<ModelFile>,
}

/// Something that a server lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A node class.
    Class(String),
    /// A model file.
    Model(ModelFile),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "node class {class}"),
            Self::Model(model) => write!(f, "model {} ({}.{})", model.file, model.class, model.input),
        }
    }
}

impl Needs {
    /// What the rendered `graph` needs.
    pub fn of(graph: &Map<String, Value>) -> Self {
        let mut needs = Self::default();
        for node in graph.values() {
            let (Some(class), Some(inputs)) = (class_of(node), inputs_of(node)) else { continue };
            needs.classes.insert(class.to_owned());
            let files = inputs.iter().filter_map(|(input, value)| Some((input, value.as_str()?)));
            for (input, file) in files.filter(|(_, value)| is_model_file(value)) {
                let model = ModelFile { class: class.to_owned(), input: input.clone(), file: file.to_owned() };
                needs.models.insert(model);
            }
        }
        needs
    }

    /// What stands for these needs.
    pub fn id(&self) -> NeedsId {
        let mut text = String::new();
        for class in &self.classes {
            text.extend([class, "\n"]);
        }
        for model in &self.models {
            text.extend(["\n", &model.class, "\n", &model.input, "\n", &model.file]);
        }
        NeedsId(Uuid::new_v5(&NAMESPACE, text.as_bytes()))
    }

    /// The model files.
    pub fn files(&self) -> BTreeSet<&str> {
        self.models.iter().map(|model| model.file.as_str()).collect()
    }

    /// What the server with this `catalog` lacks. An input without a fixed list of choices takes any file.
    pub fn missing_in(&self, catalog: &NodeCatalog) -> Vec<Missing> {
        let classes = self.classes.iter().filter(|class| !catalog.contains(class)).cloned().map(Missing::Class);
        let lacks = |model: &&ModelFile| {
            catalog
                .choices(&model.class, &model.input)
                .is_some_and(|choices| !choices.iter().any(|choice| choice.as_str() == Some(&model.file)))
        };
        classes.chain(self.models.iter().filter(lacks).cloned().map(Missing::Model)).collect()
    }
}

fn is_model_file(value: &str) -> bool {
    let named = value.len() <= LONGEST_NAME && !value.contains(['\n', '\r']);
    let lower = value.to_ascii_lowercase();
    named && MODEL_ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needs(graph: &Value) -> Needs {
        Needs::of(graph.as_object().unwrap())
    }

    fn graph(checkpoint: &str, prompt: &str) -> Value {
        json!({
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["4", 1]}},
        })
    }

    #[test]
    fn what_a_server_lacks_is_named() {
        let catalog = NodeCatalog::parse(&json!({
            "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["a.safetensors", "sub/c.ckpt"]]}}},
            "CLIPTextEncode": {"input": {"required": {"text": ["STRING", {}], "clip": ["CLIP"]}}},
        }));
        assert_eq!(needs(&graph("a.safetensors", "x")).missing_in(&catalog), []);
        assert_eq!(needs(&graph("sub/c.ckpt", "x")).missing_in(&catalog), []);
        let missing = needs(&graph("b.safetensors", "x")).missing_in(&catalog);
        let words: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["model b.safetensors (CheckpointLoaderSimple.ckpt_name)"]);
        let missing = needs(&json!({"1": {"class_type": "Sorcery", "inputs": {}}})).missing_in(&catalog);
        assert_eq!(missing, [Missing::Class(String::from("Sorcery"))]);
    }

    #[test]
    fn equal_needs_have_one_id_and_others_have_another() {
        let id = |checkpoint, prompt| needs(&graph(checkpoint, prompt)).id();
        assert_eq!(id("a.safetensors", "x"), id("a.safetensors", "y"));
        assert_ne!(id("a.safetensors", "x"), id("b.safetensors", "x"));
        assert_eq!(id("a.safetensors", "x").to_string().parse(), Ok(id("a.safetensors", "x")));
        assert_eq!(needs(&graph("a.safetensors", "x")).files(), BTreeSet::from(["a.safetensors"]));
    }

    #[test]
    fn a_text_that_names_a_file_is_no_need_where_the_input_takes_any_text() {
        let catalog = NodeCatalog::parse(&json!({
            "CLIPTextEncode": {"input": {"required": {"text": ["STRING", {}]}}},
            "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": ["COMBO", {"options": ["a.safetensors"]}]}}},
        }));
        assert_eq!(needs(&graph("a.safetensors", "like x.safetensors")).missing_in(&catalog), []);
        assert_eq!(needs(&graph("a.safetensors", "two\nlines.ckpt")), needs(&graph("a.safetensors", "none")));
    }
}
