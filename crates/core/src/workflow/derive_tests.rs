//! Schemas that are derived from placeholders, with a catalog and without one.

use serde_json::{Map, Value, json};

use super::*;

fn catalog() -> NodeCatalog {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workflow/object_info_core.json"));
    NodeCatalog::parse(&serde_json::from_str::<Value>(text).unwrap()["object_info"])
}

fn derive(catalog: Option<&NodeCatalog>) -> Value {
    let graph = json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{checkpoint}}"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{negative}}, {{mood}}", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": "{{width}}", "height": "{{height|768}}", "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "seed": "{{seed}}", "steps": "{{rounds}}",
            "cfg": "{{cfg}}", "sampler_name": "{{sampler}}", "scheduler": "normal", "positive": ["2", 0],
            "negative": ["3", 0], "latent_image": ["4", 0], "denoise": 1}},
        "6": {"class_type": "LoadImage", "inputs": {"image": "{{photo}}"}},
        "7": {"class_type": "Custom", "inputs": {"flag": "{{flag|true}}", "level": "{{level|0.5}}", "what": "{{what}}"}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "gw/{{folder}}"}},
    });
    let source = WorkflowSource { graph: &graph, input_schema: None, outputs: &[] };
    let workflow = Workflow::compile(source, catalog).unwrap_or_else(|faults| panic!("{faults:#?}"));
    workflow.input_schema().clone()
}

fn assert_property(schema: &Value, name: &str, expected: Value) {
    let mut property = schema["properties"][name].clone();
    property.as_object_mut().unwrap().remove("description").unwrap();
    assert_eq!(property, expected, "{name}");
}

fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn with_a_catalog_types_ranges_choices_and_defaults_come_from_the_server() {
    let schema = derive(Some(&catalog()));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert_property(&schema, "checkpoint", json!({"type": "string", "enum": ["v1-5-random.safetensors"]}));
    assert_property(&schema, "prompt", json!({"type": "string"}));
    assert_property(&schema, "width", json!({"type": "integer", "minimum": 16, "maximum": 16384, "default": 512}));
    assert_property(&schema, "height", json!({"type": "integer", "minimum": 16, "maximum": 16384, "default": 768}));
    assert_property(&schema, "rounds", json!({"type": "integer", "minimum": 1, "maximum": 10000, "default": 20}));
    assert_property(&schema, "cfg", json!({"type": "number", "minimum": 0.0, "maximum": 100.0, "default": 8.0}));
    assert_property(&schema, "seed", json!({"type": "integer", "minimum": -1, "default": -1}));
    assert_property(&schema, "photo", json!({"type": "object", "format": "image"}));
    assert!(schema["properties"]["sampler"]["enum"].as_array().unwrap().len() > 20);
    assert_eq!(required(&schema), ["checkpoint", "prompt", "mood", "sampler", "photo", "what", "folder"]);
}

#[test]
fn without_a_catalog_names_and_defaults_tell_the_types() {
    let schema = derive(None);
    let scalar = json!({"type": ["string", "number", "integer", "boolean"]});
    assert_property(&schema, "prompt", json!({"type": "string"}));
    assert_property(&schema, "negative", json!({"type": "string", "default": ""}));
    assert_property(&schema, "mood", scalar.clone());
    assert_property(&schema, "width", json!({"type": "integer", "minimum": 16, "maximum": 16384}));
    assert_property(&schema, "height", json!({"type": "integer", "minimum": 16, "maximum": 16384, "default": 768}));
    assert_property(&schema, "rounds", json!({"type": "integer", "minimum": 1, "maximum": 10000}));
    assert_property(&schema, "sampler", json!({"type": "string", "minLength": 1, "maxLength": 64}));
    assert_property(&schema, "photo", json!({"type": "object", "format": "image"}));
    assert_property(&schema, "flag", json!({"type": "boolean", "default": true}));
    assert_property(&schema, "level", json!({"type": "number", "default": 0.5}));
    assert_property(&schema, "what", scalar);
    assert_property(&schema, "folder", json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}));
    let expected = ["checkpoint", "prompt", "mood", "width", "rounds", "cfg", "sampler", "photo", "what", "folder"];
    assert_eq!(required(&schema), expected);
}

#[test]
fn a_workflow_without_placeholders_takes_no_inputs() {
    let graph = json!({"1": {"class_type": "SaveImage", "inputs": {}}});
    let source = WorkflowSource { graph: &graph, input_schema: None, outputs: &[] };
    let workflow = Workflow::compile(source, None).unwrap();
    assert_eq!(workflow.input_schema()["properties"], json!({}));
    assert!(workflow.resolve(&Map::new(), &Map::new(), &mut || 0).unwrap().is_empty());
    let faults = workflow.resolve(json!({"x": 1}).as_object().unwrap(), &Map::new(), &mut || 0).unwrap_err();
    assert_eq!(faults[0].message, "unknown input `x`; this workflow takes: none");
}

#[test]
fn a_default_that_the_server_would_refuse_is_a_fault() {
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": "{{width|many}}", "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    let source = WorkflowSource { graph: &graph, input_schema: None, outputs: &[] };
    let faults = Workflow::compile(source, Some(&catalog())).unwrap_err();
    assert!(faults[0].message.contains("must be an integer"), "{faults:?}");
}
