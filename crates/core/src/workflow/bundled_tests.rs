//! The bundled workflows against the node classes of a real server.

use serde_json::{Map, Value, json};

use crate::Fault;

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

fn named(id: &str) -> Workflow {
    compile(bundled().iter().find(|each| each.id == id).unwrap(), None)
}

/// Every file that the workflow takes is an upload, which is `gateway/NAME.png` by the time of rendering.
fn render(workflow: &Workflow, mut inputs: Value) -> Map<String, Value> {
    let files: Vec<&str> = workflow.file_inputs().map(|(name, _)| name).collect();
    for name in &files {
        inputs[*name] = json!({"uploadId": "x"});
    }
    let mut resolved = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 7).unwrap();
    for name in files {
        resolved.insert(name.to_owned(), Value::from(format!("gateway/{name}.png")));
    }
    workflow.render(&resolved).unwrap()
}

/// The inputs of the only node of the class.
fn only<'g>(graph: &'g Map<String, Value>, class: &str) -> &'g Value {
    let found: Vec<&Value> = graph.values().filter(|node| node["class_type"] == class).collect();
    assert_eq!(found.len(), 1, "{class}");
    &found[0]["inputs"]
}

/// The node whose first output feeds `input` of the node with these `inputs`.
fn behind<'g>(graph: &'g Map<String, Value>, inputs: &Value, input: &str) -> &'g Value {
    assert_eq!(inputs[input][1], 0, "{input}");
    &graph[inputs[input][0].as_str().unwrap()]
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
        ("img2img", json!(["sd_xl_base_1.0.safetensors", 1024, 30, 7.0])),
        ("inpaint", json!(["v1-5-pruned-emaonly.safetensors", 512, 25, 7.5])),
    ];
    assert_eq!(bundled().len(), table.len());
    for (each, (id, expected)) in bundled().iter().zip(table) {
        assert_eq!(each.id, id);
        let graph = render(&compile(each, None), json!({"prompt": "a cat"}));
        let find = |class: &str| graph.values().find(|node| node["class_type"] == class).map(|node| &node["inputs"]);
        let canvas = ["EmptyLatentImage", "EmptyImage", "ImageScale"].into_iter().find_map(find).unwrap();
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

#[test]
fn the_workflows_that_start_from_files_ask_for_them() {
    let picture = ("image", FileKind::Image);
    let table = [("img2img", vec![picture]), ("inpaint", vec![picture, ("mask", FileKind::Mask)])];
    for (id, files) in table {
        let workflow = named(id);
        assert_eq!(workflow.file_inputs().collect::<Vec<_>>(), files, "{id}");
        let inputs = json!({"prompt": "a cat"});
        let faults = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 7).unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let expected: Vec<String> = files.iter().map(|(name, _)| format!("/inputs/{name}")).collect();
        assert_eq!(paths, expected, "{id}");
        let graph = render(&workflow, inputs);
        assert_eq!(*only(&graph, "LoadImage"), json!({"image": "gateway/image.png"}), "{id}");
    }
}

#[test]
fn the_strength_is_the_denoise_of_the_sampler() {
    for (id, default) in [("img2img", 0.6), ("inpaint", 1.0)] {
        let workflow = named(id);
        let denoise = |inputs: Value| only(&render(&workflow, inputs), "KSampler")["denoise"].clone();
        assert_eq!(denoise(json!({"prompt": "a cat"})), json!(default), "{id}");
        assert_eq!(denoise(json!({"prompt": "a cat", "strength": 0.35})), json!(0.35), "{id}");
        for strength in [0.04, 1.01] {
            let inputs = json!({"prompt": "a cat", "strength": strength, "image": {"uploadId": "x"}});
            let faults = workflow.resolve(inputs.as_object().unwrap(), &Map::new(), &mut || 7).unwrap_err();
            assert!(faults.iter().any(|fault| fault.path == "/inputs/strength"), "{id} {strength}: {faults:?}");
        }
    }
}

#[test]
fn the_picture_has_the_size_of_the_result_before_it_is_encoded() {
    for id in ["img2img", "inpaint"] {
        let graph = render(&named(id), json!({"prompt": "a cat", "width": 640, "height": 384}));
        let scaled = behind(&graph, only(&graph, "VAEEncode"), "pixels");
        assert_eq!(scaled["class_type"], "ImageScale", "{id}");
        let inputs = &scaled["inputs"];
        assert_eq!(json!([inputs["width"], inputs["height"], inputs["crop"]]), json!([640, 384, "center"]), "{id}");
        assert_eq!(behind(&graph, inputs, "image")["class_type"], "LoadImage", "{id}");
    }
}

#[test]
fn the_mask_is_scaled_and_cut_as_the_picture_is() {
    let inpaint = named("inpaint");
    let inputs = json!({"prompt": "a cat", "width": 640, "height": 384, "grow_mask_by": 12, "mask_channel": "alpha"});
    let graph = render(&inpaint, inputs);
    let picture = &behind(&graph, only(&graph, "VAEEncode"), "pixels")["inputs"];
    let grown = behind(&graph, only(&graph, "SetLatentNoiseMask"), "mask");
    assert_eq!((&grown["class_type"], &grown["inputs"]["expand"]), (&json!("GrowMask"), &json!(12)));
    let mask = &behind(&graph, only(&graph, "ImageToMask"), "image")["inputs"];
    assert_eq!(behind(&graph, &grown["inputs"], "mask")["class_type"], "ImageToMask");
    for input in ["width", "height", "crop"] {
        assert_eq!(mask[input], picture[input], "{input}");
    }
    assert_eq!((&mask["width"], &mask["height"]), (&json!(640), &json!(384)));
    assert_eq!(behind(&graph, mask, "image")["class_type"], "MaskToImage");
    assert_eq!(*only(&graph, "LoadImageMask"), json!({"image": "gateway/mask.png", "channel": "alpha"}));
    let defaults = render(&inpaint, json!({"prompt": "a cat"}));
    assert_eq!(only(&defaults, "LoadImageMask")["channel"], "red");
    assert_eq!(only(&defaults, "GrowMask")["expand"], 6);
}

#[test]
fn what_starts_from_a_file_is_bounded_like_everything_else() {
    let limits = SizeLimits { max_side: 1024, max_batch: 4 };
    for (id, scaled) in [("img2img", vec!["5"]), ("inpaint", vec!["5", "8"])] {
        let workflow = named(id);
        let check = |inputs: Value| {
            let blame = |node: &str, input: &str| format!("/inputs/{}", workflow.placeholders(node, input)[0]);
            check_sizes(&render(&workflow, inputs), &limits, &blame)
        };
        for (side, size) in [("width", "2048x1024"), ("height", "1024x2048")] {
            let mut inputs = json!({"prompt": "a cat", "width": 1024, "height": 1024});
            inputs[side] = json!(2048);
            let expected: Vec<Fault> = scaled
                .iter()
                .map(|node| {
                    let message =
                        format!("node {node} (ImageScale) would make {size}; the limit is 1024 (MAX_IMAGE_SIZE)");
                    Fault::new(format!("/inputs/{side}"), message)
                })
                .collect();
            assert_eq!(check(inputs), expected, "{id}");
        }
        let faults = check(json!({"prompt": "a cat", "width": 512, "height": 512, "batch_size": 5}));
        assert_eq!(faults.len(), 1, "{id}: {faults:?}");
        assert_eq!(faults[0].path, "/inputs/batch_size");
        assert!(faults[0].message.contains("(RepeatLatentBatch) would make a batch of 5"), "{}", faults[0].message);
    }
}

#[test]
fn an_animated_picture_makes_no_more_pictures_than_were_asked_for() {
    for (id, between) in [("img2img", None), ("inpaint", Some("SetLatentNoiseMask"))] {
        let graph = render(&named(id), json!({"prompt": "a cat", "batch_size": 3}));
        let repeated = behind(&graph, only(&graph, "KSampler"), "latent_image");
        assert_eq!(repeated["class_type"], "RepeatLatentBatch", "{id}");
        assert_eq!(repeated["inputs"]["amount"], 3, "{id}");
        let mut first = behind(&graph, &repeated["inputs"], "samples");
        if let Some(class) = between {
            assert_eq!(first["class_type"], class, "{id}");
            first = behind(&graph, &first["inputs"], "samples");
        }
        assert_eq!(first["class_type"], "LatentFromBatch", "{id}");
        assert_eq!(json!([first["inputs"]["batch_index"], first["inputs"]["length"]]), json!([0, 1]), "{id}");
        assert_eq!(behind(&graph, &first["inputs"], "samples")["class_type"], "VAEEncode", "{id}");
    }
}

#[test]
fn what_a_workflow_needs_is_told_without_a_callers_values() {
    let icon = named("icon_512");
    let default = icon.default_needs();
    assert_eq!(default.files().into_iter().collect::<Vec<_>>(), ["sd_xl_base_1.0.safetensors"]);
    assert!(icon.fixed_needs().files().is_empty(), "its callers may name another");
    assert_eq!(default.missing_in(&catalog()).iter().filter(|each| matches!(each, Missing::Class(_))).count(), 0);

    let lora = json!({"lora_name": "fixed.safetensors", "model": ["1", 0], "clip": ["1", 1]});
    let graph = json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{model}}.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": lora},
        "3": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    });
    let workflow = Workflow::compile(WorkflowSource { graph: &graph, input_schema: None, outputs: &[] }, None).unwrap();
    let files = workflow.default_needs();
    assert_eq!(files.files().into_iter().collect::<Vec<_>>(), ["fixed.safetensors"], "nobody knows the model's name");
}
