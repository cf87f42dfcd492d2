//! Resolving: what a caller may send, what is filled in, and what is refused with which words.

use serde_json::{Map, Value, json};

use super::*;

fn workflow() -> Workflow {
    let graph = json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{checkpoint}}"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}, {{style|plain}}", "clip": ["1", 1]}},
        "3": {"class_type": "KSampler", "inputs": {"steps": "{{steps}}", "cfg": "{{cfg|7}}", "seed": "{{seed}}",
            "noise": "{{noise_seed}}", "sampler_name": "{{sampler}}"}},
        "4": {"class_type": "LoadImage", "inputs": {"image": "{{picture}}"}},
        "5": {"class_type": "LoadImage", "inputs": {"image": "{{name}}"}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "gw/{{folder}}"}},
    });
    let schema = json!({"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "style": {"type": "string"},
        "steps": {"type": "integer", "minimum": 1, "maximum": 150, "default": 30},
        "cfg": {"type": "number", "exclusiveMaximum": 20},
        "seed": {"type": "integer", "minimum": 0},
        "noise_seed": {"type": "integer", "minimum": 10, "maximum": 12, "default": 11},
        "sampler": {"enum": ["euler", "heun"], "default": "euler"},
        "checkpoint": {"type": "string", "default": "old.ckpt"},
        "picture": {"type": ["object", "null"], "format": "image", "default": null},
        "name": {"type": "string", "default": "example.png"},
        "folder": {"type": "string", "pattern": "^.{1,20}$", "default": "x"},
    }});
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    Workflow::compile(source, None).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn resolve(inputs: Value, params: Value) -> Result<Map<String, Value>, Vec<(String, String)>> {
    let (inputs, params) = (inputs.as_object().unwrap().clone(), params.as_object().unwrap().clone());
    let resolved = workflow().resolve(&inputs, &params, &mut || 1_000_003);
    resolved.map_err(|faults| faults.into_iter().map(|fault| (fault.path, fault.message)).collect())
}

fn with(name: &str, value: Value) -> Value {
    let mut inputs = json!({"prompt": "a cat"});
    inputs[name] = value;
    inputs
}

#[test]
fn schema_defaults_come_first_then_those_of_the_template() {
    let resolved = resolve(json!({"prompt": "a cat"}), json!({"steps": 5})).unwrap();
    let expected = json!({
        "prompt": "a cat", "style": "plain", "steps": 5, "cfg": 7, "seed": 1_000_003, "noise_seed": 11,
        "sampler": "euler", "checkpoint": "old.ckpt", "picture": null, "name": "example.png", "folder": "x",
    });
    assert_eq!(Value::Object(resolved), expected);
}

#[test]
fn a_seed_is_drawn_when_it_is_missing_null_or_minus_one() {
    for seed in [json!(null), json!(-1), json!(-1.0)] {
        assert_eq!(resolve(with("seed", seed), json!({})).unwrap()["seed"], 1_000_003);
    }
    assert_eq!(resolve(with("seed", json!(5)), json!({})).unwrap()["seed"], 5);
    assert_eq!(resolve(with("noise_seed", json!(-1)), json!({})).unwrap()["noise_seed"], 11);
    assert_eq!(resolve(with("noise_seed", json!(12)), json!({})).unwrap()["noise_seed"], 12);
}

#[test]
fn seeds_are_exact_integers_up_to_the_largest() {
    for seed in [0, 9_007_199_254_740_993, u64::MAX] {
        let resolved = resolve(with("seed", json!(seed)), json!({})).unwrap();
        assert_eq!(resolved["seed"].as_u64(), Some(seed));
    }
    assert_eq!(resolve(with("steps", json!(30.0)), json!({})).unwrap()["steps"].as_u64(), Some(30));
    for seed in [json!(18_446_744_073_709_551_616.0), json!(1e300), json!(-2), json!(1.5), json!("7"), json!(true)] {
        let faults = resolve(with("seed", seed.clone()), json!({})).unwrap_err();
        assert_eq!(faults.len(), 1, "{seed}: {faults:?}");
        assert_eq!(faults[0].0, "/inputs/seed");
    }
}

#[test]
fn drawn_seeds_stay_inside_of_the_limits() {
    let limits = [
        (json!({}), 0, (1 << 53) - 1),
        (json!({"minimum": -1}), 0, (1 << 53) - 1),
        (json!({"minimum": 5, "maximum": 9}), 5, 9),
        (json!({"exclusiveMinimum": -1, "exclusiveMaximum": 1}), 0, 0),
        (json!({"maximum": u64::MAX}), 0, u64::MAX),
        (json!({"type": "integer", "maximum": 4_294_967_295_u64}), 0, 4_294_967_295),
        (json!({"minimum": u64::MAX}), u64::MAX, u64::MAX),
    ];
    for (property, low, high) in limits {
        let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"s": "{{my_seed}}"}}});
        let schema = json!({"type": "object", "properties": {"my_seed": property}});
        let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
        let workflow = Workflow::compile(source, None).unwrap();
        for draw in [0, 1, 7, (1 << 53) - 1, 1 << 53, u64::MAX] {
            let resolved = workflow.resolve(&Map::new(), &Map::new(), &mut || draw).unwrap();
            let seed = resolved["my_seed"].as_u64().unwrap();
            assert!((low..=high).contains(&seed), "{schema}: {draw} became {seed}");
        }
    }
}

#[test]
fn any_number_can_be_marked_as_random_and_a_seed_as_fixed() {
    let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"a": "{{variation}}", "b": "{{seed}}", "c": "{{x_seed|5}}"}}});
    let schema = json!({"type": "object", "properties": {
        "variation": {"type": "integer", "x-random": true}, "seed": {"type": "integer", "default": 42}, "x_seed": {"type": "integer"}}});
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    let workflow = Workflow::compile(source, None).unwrap();
    let resolved = workflow.resolve(&Map::new(), &Map::new(), &mut || 9).unwrap();
    assert_eq!(Value::Object(resolved), json!({"variation": 9, "seed": 42, "x_seed": 5}));
    let nulls = json!({"seed": null, "x_seed": -1});
    let resolved = workflow.resolve(nulls.as_object().unwrap(), &Map::new(), &mut || 9).unwrap();
    assert_eq!(Value::Object(resolved), json!({"variation": 9, "seed": 9, "x_seed": 9}));
}

#[test]
fn every_fault_names_its_place_and_what_is_allowed() {
    let long = "x".repeat(64 * 1024 + 1);
    let mut deep = json!(1);
    for _ in 0..70 {
        deep = json!([deep]);
    }
    let table = [
        ("steps", json!(0), "", "must be between 1 and 150"),
        ("steps", json!(1_000_000_000), "", "must be between 1 and 150"),
        ("steps", json!("7"), "", "must be an integer"),
        ("steps", json!(1.5), "", "must be an integer"),
        ("steps", json!(null), "", "must be an integer"),
        ("steps", json!({"a": 1}), "", "must be an integer"),
        ("cfg", json!(20), "", "must be less than 20"),
        ("cfg", json!(null), "", "must be a number"),
        ("sampler", json!("ddim"), "", "must be one of: euler, heun"),
        ("prompt", json!(""), "", "must have at least 1 characters"),
        ("prompt", json!(["a"]), "", "must be a string"),
        ("prompt", json!("a\0b"), "", "must not contain a NUL character"),
        ("prompt", json!(long), "", "must have at most 65536 bytes"),
        ("prompt", deep, "", "is nested deeper than 64 levels"),
        ("folder", json!("../up"), "", "must not contain `..`"),
        ("folder", json!("a\\b"), "", "must not contain a backslash"),
        ("checkpoint", json!("evil.ckpt"), "", "must name a model file that ends in .safetensors, .sft or .gguf"),
        ("checkpoint", json!("../a.safetensors"), "", "must not contain `..`"),
        ("name", json!("x.png [output]"), "", "must not name one of ComfyUI's folders"),
        ("name", json!("/etc/passwd"), "", "must not be an absolute path"),
        ("name", json!("blake3:0"), "", "must not be a content address"),
        (
            "picture",
            json!("cat.png"),
            "",
            "must be a file: {\"url\"}, {\"base64\"}, {\"uploadId\"} or {\"jobId\", \"file\"}",
        ),
        (
            "picture",
            json!({"url": "a", "base64": "b"}),
            "",
            "must be a file: {\"url\"}, {\"base64\"}, {\"uploadId\"} or {\"jobId\", \"file\"}",
        ),
        ("picture", json!({"url": 5}), "/url", "must be a string that is not empty"),
    ];
    for (name, value, below, message) in table {
        let faults = resolve(with(name, value), json!({})).unwrap_err();
        assert_eq!(faults, vec![(format!("/inputs/{name}{below}"), message.to_owned())]);
    }
}

#[test]
fn sound_values_of_every_kind_are_taken() {
    let prompt = "a".to_owned() + &"\u{301}".repeat(1000);
    for (name, value) in [
        ("prompt", json!(prompt)),
        ("prompt", json!("x".repeat(64 * 1024))),
        ("prompt", json!("a door [output]")),
        ("checkpoint", json!("sdxl/a.safetensors")),
        ("name", json!("cat.png")),
        ("picture", json!({"url": "https://example.com/a.png"})),
        ("picture", json!({"base64": "x".repeat(200_000)})),
        ("picture", json!({"uploadId": "1"})),
        ("picture", json!({"jobId": "1", "file": "a.png"})),
        ("picture", json!(null)),
    ] {
        let resolved = resolve(with(name, value.clone()), json!({})).unwrap();
        assert_eq!(resolved[name], value);
    }
}

#[test]
fn a_file_that_the_schema_lists_may_be_chosen_whatever_its_name() {
    let graph = json!({
        "1": {"class_type": "VAELoader", "inputs": {"vae_name": "{{vae}}"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    });
    let schema = json!({"type": "object", "properties": {"vae": {"enum": ["pixel_space", "old.pt"]}}});
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    let workflow = Workflow::compile(source, None).unwrap();
    let inputs = json!({"vae": "old.pt"});
    assert!(workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 0).is_ok());
}

#[test]
fn parts_that_are_harmless_alone_are_checked_where_they_meet() {
    let graph = json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{a}}{{b}}/x.safetensors"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    });
    let source = WorkflowSource { graph: &graph, input_schema: None, outputs: &[] };
    let workflow = Workflow::compile(source, None).unwrap();
    let inputs = json!({"a": ".", "b": "."});
    let faults = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 0).unwrap_err();
    assert_eq!(faults[0].path, "/inputs/a");
}

#[test]
fn unknown_missing_and_doubled_names_are_all_reported_in_order() {
    let faults = resolve(json!({"step": 5, "cfg": 3, "zzz/y": 1}), json!({"cfg": 4, "sampler": "no"})).unwrap_err();
    let takes = "prompt, style, steps, cfg, seed, noise_seed, sampler, checkpoint, picture, name, folder";
    let expected = [
        ("/inputs/cfg", "`cfg` is given in both inputs and params; give it once".to_owned()),
        ("/inputs/prompt", "`prompt` is missing".to_owned()),
        ("/inputs/step", format!("unknown input `step`; this workflow takes: {takes}; did you mean `steps`?")),
        ("/inputs/zzz~1y", format!("unknown input `zzz/y`; this workflow takes: {takes}")),
        ("/params/cfg", "`cfg` is given in both inputs and params; give it once".to_owned()),
        ("/params/sampler", "must be one of: euler, heun".to_owned()),
    ];
    let expected: Vec<(String, String)> =
        expected.into_iter().map(|(path, message)| (path.to_owned(), message)).collect();
    assert_eq!(faults, expected);
}

#[test]
fn faults_never_repeat_what_was_sent() {
    let secret = "swordfish ".repeat(50);
    for name in ["steps", "sampler", "checkpoint", "picture", "folder", "seed"] {
        let faults = resolve(with(name, json!(secret)), json!({})).unwrap_err();
        assert!(!faults.iter().any(|(_, message)| message.contains("swordfish")), "{faults:?}");
    }
}

#[test]
fn lists_and_objects_need_a_schema_that_asks_for_them() {
    let graph = json!({"1": {"class_type": "SaveAny", "inputs": {"a": "{{open}}", "b": "{{list}}", "c": "{{map}}"}}});
    let schema = json!({"type": "object", "properties": {"open": {}, "list": {"type": "array", "items": {"maximum": 5}}, "map": {"type": "object"}}});
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    let workflow = Workflow::compile(source, None).unwrap();
    let resolve = |inputs: Value| workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 0);
    assert!(resolve(json!({"open": 1, "list": [1, 2], "map": {"a": 1}})).is_ok());
    for (inputs, path) in [
        (json!({"open": [1], "list": [], "map": {}}), "/inputs/open"),
        (json!({"open": {}, "list": [], "map": {}}), "/inputs/open"),
        (json!({"open": 1, "list": ["4", 0], "map": {}}), "/inputs/list"),
        (json!({"open": 1, "list": [9], "map": {}}), "/inputs/list/0"),
        (json!({"open": 1, "list": [], "map": {"x": {"__value__": ["4", 0]}}}), "/inputs/map"),
    ] {
        let faults = resolve(inputs).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].path, path);
    }
}

#[test]
fn file_inputs_are_named_with_their_kind() {
    let workflow = workflow();
    let files: Vec<(&str, FileKind)> = workflow.file_inputs().collect();
    assert_eq!(files, [("picture", FileKind::Image)]);
}
