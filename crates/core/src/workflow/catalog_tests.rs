//! Reading `/object_info` in its shapes, and rendered graphs against it.

use serde_json::{Map, Value, json};

use super::*;

fn catalog() -> NodeCatalog {
    NodeCatalog::parse(&json!({
        "Loader": {"input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"], {}]}},
            "output": ["MODEL", "CLIP"], "output_node": false, "python_module": "nodes"},
        "Newer": {"input": {"required": {"mode": ["COMBO", {"options": ["x", "y"], "multiselect": false}]},
            "optional": {"remote": ["COMBO", {"remote": {"route": "/x"}}], "n": ["INT"]}},
            "output": [["x", "y"]], "python_module": "custom_nodes.newer"},
        "Sampler": {"input": {"required": {
            "model": ["MODEL"],
            "seed": ["INT", {"min": 0, "max": 18_446_744_073_709_551_615_u64}],
            "cfg": ["FLOAT", {"min": 0.0, "max": 100.0, "step": 0.1}],
            "text": ["STRING", {"multiline": true}],
            "flag": ["BOOLEAN", {"default": true}]},
            "hidden": {"prompt": "PROMPT"}}, "output": ["LATENT"]},
        "Save": {"input": {"required": {"any": ["LATENT,IMAGE", {}]}}, "output": [], "output_node": true},
        "LoadImage": {"input": {"required": {"image": [["example.png"], {"image_upload": true}]}}, "output": ["IMAGE"]},
        "Empty": {"input": {"required": {"model_name": [[]]}}, "output": ["*"]},
        "Broken": 5,
    }))
}

fn graph(nodes: Value) -> Map<String, Value> {
    nodes.as_object().unwrap().clone()
}

fn sampler(key: &str, value: Value) -> Map<String, Value> {
    let mut nodes = graph(json!({
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "Sampler", "inputs": {"model": ["1", 0], "seed": 1, "cfg": 7, "text": "t", "flag": true}},
        "3": {"class_type": "Save", "inputs": {"any": ["2", 0]}},
    }));
    nodes["2"]["inputs"][key] = value;
    nodes
}

#[test]
fn every_shape_of_an_input_is_read() {
    let catalog = catalog();
    assert_eq!(catalog.len(), 6);
    assert!(!catalog.is_empty() && catalog.contains("Loader") && !catalog.contains("Broken"));
    assert_eq!(catalog.choices("Loader", "ckpt_name").unwrap().len(), 2);
    assert_eq!(catalog.choices("Newer", "mode").unwrap(), [json!("x"), json!("y")]);
    assert_eq!(catalog.choices("Newer", "remote"), None);
    assert_eq!(catalog.choices("Nope", "x"), None);
    assert_eq!(catalog.is_output_node("Save"), Some(true));
    assert_eq!(catalog.is_output_node("Loader"), Some(false));
    assert_eq!(catalog.is_output_node("Nope"), None);
    assert_eq!(catalog.output_count("Loader"), Some(2));
    assert_eq!(catalog.is_core("Loader"), Some(true));
    assert_eq!(catalog.is_core("Newer"), Some(false));
}

#[test]
fn nonsense_in_place_of_object_info_is_an_empty_catalog() {
    for nonsense in [json!(null), json!([]), json!("x"), json!({"A": null, "B": []})] {
        assert!(NodeCatalog::parse(&nonsense).is_empty());
    }
    let odd =
        NodeCatalog::parse(&json!({"A": {"input": {"required": {"x": [], "y": "INT", "z": [5]}}, "output": "no"}}));
    assert_eq!(odd.output_count("A"), Some(0));
}

#[test]
fn a_sound_graph_has_no_faults() {
    let sound = [
        ("cfg", json!(7)),
        ("cfg", json!("7.5")),
        ("seed", json!(u64::MAX)),
        ("seed", json!("7")),
        ("seed", json!(3.0)),
        ("text", json!(5)),
        ("text", json!({"__value__": "x"})),
        ("extra", json!([1, 2, 3])),
    ];
    for (key, value) in sound {
        assert_eq!(catalog().check_graph(&sampler(key, value.clone()), &[]), vec![], "{key} = {value}");
    }
}

#[test]
fn every_fault_of_a_graph_names_its_input() {
    let table = [
        ("seed", json!(-1), "must be between 0 and 18446744073709551615"),
        ("seed", json!(1.5), "must be an integer"),
        ("seed", json!("many"), "must be an integer"),
        ("seed", json!(null), "must be an integer"),
        ("cfg", json!(100.5), "must be between 0.0 and 100.0"),
        ("cfg", json!("x"), "must be a number"),
        ("text", json!({"a": 1}), "must be a string"),
        ("text", json!(null), "must be a string"),
        ("flag", json!("false"), "must be true or false"),
        ("model", json!("a"), "must be a link to a MODEL output"),
        ("model", json!(["1", 2]), "links to output 2 of node 1 (Loader), which has 2"),
        ("model", json!(["1", 1]), "needs MODEL, but output 1 of node 1 (Loader) is CLIP"),
        ("model", json!(["9", 0]), "links to node `9`, which does not exist"),
        ("model", json!(["1", -1]), "must be a link [\"node id\", output index from 0]"),
    ];
    for (key, value, message) in table {
        let faults = catalog().check_graph(&sampler(key, value), &[]);
        assert_eq!(faults.len(), 1, "{key}: {faults:?}");
        assert_eq!(faults[0].path, format!("/workflow/2/inputs/{key}"));
        assert_eq!(faults[0].message, message);
    }
}

#[test]
fn choices_are_enforced_unless_they_are_to_be_ignored() {
    let catalog = catalog();
    let nodes = graph(json!({
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": "nope"}},
        "2": {"class_type": "Newer", "inputs": {"mode": "z", "remote": "anything", "n": 4}},
        "3": {"class_type": "LoadImage", "inputs": {"image": "uploaded.png"}},
        "4": {"class_type": "Empty", "inputs": {"model_name": "4x.safetensors"}},
    }));
    let faults = catalog.check_graph(&nodes, &[]);
    let found: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.path.as_str(), fault.message.as_str())).collect();
    let expected = [
        ("/workflow/1/inputs/ckpt_name", "must be one of: a.safetensors, b.safetensors"),
        ("/workflow/2/inputs/mode", "must be one of: x, y"),
        ("/workflow/4/inputs/model_name", "is not installed: this ComfyUI has no choices for it"),
    ];
    assert_eq!(found, expected);
    assert_eq!(catalog.check_graph(&nodes, &["ckpt_name", "mode", "model_name"]), vec![]);
}

#[test]
fn unknown_classes_and_missing_inputs_are_faults() {
    let nodes = graph(json!({
        "1": {"class_type": "Nope", "inputs": {}},
        "2": {"class_type": "Save", "inputs": {}},
        "3": {"inputs": {}},
    }));
    let faults = catalog().check_graph(&nodes, &[]);
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["/workflow/1/class_type", "/workflow/2/inputs/any", "/workflow/3"]);
}
