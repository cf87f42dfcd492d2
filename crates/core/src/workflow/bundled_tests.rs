//! The bundled workflows against the node classes of a real server.

use serde_json::{Map, Value, json};

use super::*;

fn catalog() -> NodeCatalog {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workflow/object_info_core.json"));
    let recorded: Value = serde_json::from_str(text).unwrap();
    NodeCatalog::parse(&recorded["object_info"])
}

fn compile(bundled: &BundledWorkflow, catalog: Option<&NodeCatalog>) -> Workflow {
    let graph: Value = serde_json::from_str(bundled.graph).unwrap();
    let schema: Value = serde_json::from_str(bundled.schema).unwrap();
    let source = WorkflowSource { graph: &graph, input_schema: Some(&schema), outputs: &[] };
    Workflow::compile(source, catalog).unwrap_or_else(|faults| panic!("{}: {faults:#?}", bundled.id))
}

fn render(workflow: &Workflow, inputs: Value) -> Map<String, Value> {
    let resolved = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 7).unwrap();
    workflow.render(&resolved).unwrap()
}

#[test]
fn the_manifest_lists_what_is_embedded() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../workflows/manifest.json"));
    let manifest: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(manifest.len(), bundled().len());
    for (entry, bundled) in manifest.iter().zip(bundled()) {
        assert_eq!(entry["id"], bundled.id);
        assert_eq!(entry["name"], bundled.name);
        assert_eq!(entry["description"], bundled.description);
        assert_eq!(entry["file"], format!("{}.json", bundled.id));
        assert_eq!(entry["schema"], format!("{}.schema.json", bundled.id));
    }
}

#[test]
fn every_bundled_workflow_compiles_without_a_catalog_and_with_one() {
    let catalog = catalog();
    for each in bundled() {
        compile(each, None);
        compile(each, Some(&catalog));
    }
}

#[test]
fn the_rendered_defaults_are_what_a_real_server_accepts() {
    let catalog = catalog();
    for each in bundled() {
        let graph = render(&compile(each, Some(&catalog)), json!({"prompt": "a cat"}));
        assert_eq!(catalog.check_graph(&graph, &["ckpt_name"]), vec![], "{}", each.id);
    }
}

#[test]
fn the_recorded_server_lacks_the_checkpoint_and_says_so() {
    let catalog = catalog();
    let graph = render(&compile(&bundled()[0], None), json!({"prompt": "a cat"}));
    let faults = catalog.check_graph(&graph, &[]);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, "/workflow/1/inputs/ckpt_name");
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let table = [
        ("sdxl_realism_v1", json!(["sd_xl_base_1.0.safetensors", 1024, 30, 7.0])),
        ("sprite_transparent_bg", json!(["v1-5-pruned-emaonly.safetensors", 512, 25, 7.5])),
        ("icon_512", json!(["sd_xl_base_1.0.safetensors", 512, 20, 6.0])),
    ];
    for (each, (id, expected)) in bundled().iter().zip(table) {
        assert_eq!(each.id, id);
        let graph = render(&compile(each, None), json!({"prompt": "a cat"}));
        let find = |class: &str| graph.values().find(|node| node["class_type"] == class).map(|node| &node["inputs"]);
        let canvas = find("EmptyLatentImage").or_else(|| find("EmptyImage")).unwrap();
        let (sampler, loader) = (find("KSampler").unwrap(), find("CheckpointLoaderSimple").unwrap());
        assert_eq!(json!([loader["ckpt_name"], canvas["width"], sampler["steps"], sampler["cfg"]]), expected, "{id}");
        assert_eq!(canvas["width"], canvas["height"]);
        assert_eq!(sampler["seed"], 7);
    }
}

#[test]
fn the_rendered_defaults_stay_inside_the_default_limits() {
    let limits = SizeLimits { max_side: 2048, max_batch: 4 };
    for each in bundled() {
        let graph = render(&compile(each, None), json!({"prompt": "a cat"}));
        assert_eq!(check_sizes(&graph, &limits, &|node, input| format!("{node}.{input}")), vec![], "{}", each.id);
    }
}

#[test]
fn an_icon_that_doubles_over_the_limit_is_refused_at_the_upscale() {
    let icon = compile(&bundled()[2], None);
    let graph = render(&icon, json!({"prompt": "a cat", "size": 1024, "upscale": 2}));
    let limits = SizeLimits { max_side: 1024, max_batch: 4 };
    let faults = check_sizes(&graph, &limits, &|node, input| format!("/inputs/{}", icon.placeholders(node, input)[0]));
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, "/inputs/upscale");
    assert_eq!(faults[0].message, "node 7 (ImageScaleBy) would make 2048x2048; the limit is 1024 (MAX_IMAGE_SIZE)");
}

#[test]
fn the_sprite_ends_in_a_picture_with_alpha() {
    let sprite = compile(&bundled()[1], None);
    let graph = render(&sprite, json!({"prompt": "a knight"}));
    let outputs = sprite.output_nodes();
    assert_eq!(outputs.len(), 1);
    let before = graph[&outputs[0]]["inputs"]["images"][0].as_str().unwrap();
    assert_eq!(graph[before]["class_type"], "JoinImageWithAlpha");
}

#[test]
fn the_sprite_refuses_a_background_word_that_is_more_than_a_word() {
    let sprite = compile(&bundled()[1], None);
    let inputs = json!({"prompt": "a knight", "background": "red, (blue:2)"});
    let faults = sprite.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 7).unwrap_err();
    assert_eq!(faults[0].path, "/inputs/background");
}
