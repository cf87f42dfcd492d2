//! Sizes at every node: written ones, linked ones, and those that grow on the way.

use serde_json::{Map, Value, json};

use super::*;

const LIMITS: SizeLimits = SizeLimits { max_side: 2048, max_batch: 4 };

fn check(nodes: &Value) -> Vec<(String, String)> {
    let faults = check_sizes(nodes.as_object().unwrap(), &LIMITS, &|node, input| format!("{node}.{input}"));
    faults.into_iter().map(|fault| (fault.path, fault.message)).collect()
}

fn node(class: &str, inputs: Value) -> Value {
    json!({"class_type": class, "inputs": inputs})
}

/// A latent of `side` x `side`, a batch of `batch`, decoded; then `class` with `inputs`, then a save node.
fn chain(side: Value, batch: Value, class: &str, inputs: Value) -> Value {
    json!({
        "1": node("EmptyLatentImage", json!({"width": side, "height": side, "batch_size": batch})),
        "2": node("VAEDecode", json!({"samples": ["1", 0], "vae": ["9", 2]})),
        "3": node(class, inputs),
        "4": node("SaveImage", json!({"images": ["3", 0]})),
        "8": node("UpscaleModelLoader", json!({"model_name": "RealESRGAN_x2plus.safetensors"})),
        "9": node("CheckpointLoaderSimple", json!({"ckpt_name": "a.safetensors"})),
    })
}

#[test]
fn sizes_that_grow_on_the_way_are_found_where_they_grow() {
    let table = [
        ("LatentUpscaleBy", json!({"samples": ["1", 0], "scale_by": 2.5}), Some(("3.scale_by", "2560x2560"))),
        ("LatentUpscaleBy", json!({"samples": ["1", 0], "scale_by": 2}), None),
        (
            "ImageScaleToMaxDimension",
            json!({"image": ["2", 0], "largest_size": 4096}),
            Some(("3.largest_size", "4096x4096")),
        ),
        ("ImageScaleToMaxDimension", json!({"image": ["2", 0], "largest_size": 512}), None),
        (
            "ResizeAndPadImage",
            json!({"image": ["2", 0], "target_width": 4096, "target_height": 64}),
            Some(("3.target_width", "4096x64")),
        ),
        (
            "ImageStitch",
            json!({"image1": ["2", 0], "image2": ["2", 0], "direction": "right", "spacing_width": 8}),
            Some(("3.image2", "2056x1024")),
        ),
        (
            "ImageStitch",
            json!({"image1": ["2", 0], "image2": ["2", 0], "direction": "down", "spacing_width": 8}),
            Some(("3.image2", "1024x2056")),
        ),
        ("ImageStitch", json!({"image1": ["2", 0], "direction": "down"}), None),
        ("ImageScaleBy", json!({"image": ["2", 0], "scale_by": "8"}), Some(("3.scale_by", "8192x8192"))),
        ("ImageScaleBy", json!({"image": ["2", 0], "scale_by": 0.5}), None),
        ("ImageScale", json!({"image": ["2", 0], "width": 4096, "height": 512}), Some(("3.width", "4096x512"))),
        ("ImageScale", json!({"image": ["2", 0], "width": 0, "height": 3000}), Some(("3.height", "3000x3000"))),
        ("ImageScaleToTotalPixels", json!({"image": ["2", 0], "megapixels": 16}), Some(("3.megapixels", "4096x4096"))),
        ("ImageScaleToTotalPixels", json!({"image": ["2", 0], "megapixels": 4}), None),
        ("ImageUpscaleWithModel", json!({"image": ["2", 0], "upscale_model": ["8", 0]}), None),
        (
            "ImageUpscaleWithModel",
            json!({"image": ["2", 0], "upscale_model": ["7", 0]}),
            Some(("3.upscale_model", "4096x4096")),
        ),
        (
            "ImagePadForOutpaint",
            json!({"image": ["2", 0], "left": 600, "right": 500, "top": 8}),
            Some(("3.left", "2124x1032")),
        ),
        ("ImagePadForOutpaint", json!({"image": ["2", 0], "left": 512, "right": 512}), None),
        ("ImageCrop", json!({"image": ["2", 0], "width": 9000, "height": 10}), None),
        ("UltimateSDUpscale", json!({"image": ["2", 0], "upscale_by": 3}), Some(("3.upscale_by", "3072x3072"))),
        ("SomeResizer", json!({"pixels": ["2", 0], "factor": 4}), Some(("3.factor", "4096x4096"))),
        ("KSampler", json!({"latent_image": ["1", 0], "cfg": 8, "steps": 5000}), None),
    ];
    for (class, inputs, expected) in table {
        let found = check(&chain(json!(1024), json!(1), class, inputs.clone()));
        let expected: Vec<(String, String)> = expected
            .into_iter()
            .map(|(path, size)| {
                let message = format!("node 3 ({class}) would make {size}; the limit is 2048 (MAX_IMAGE_SIZE)");
                (path.to_owned(), message)
            })
            .collect();
        assert_eq!(found, expected, "{class} {inputs}");
    }
}

#[test]
fn written_sizes_are_checked_as_numbers_text_and_links_to_constants() {
    for side in [json!(4096), json!("4096"), json!(4096.0), json!(["5", 0]), json!({"__value__": 4096})] {
        let graph = json!({
            "1": node("EmptyLatentImage", json!({"width": side, "height": 512, "batch_size": 1})),
            "2": node("KSampler", json!({"latent_image": ["1", 0]})),
            "5": node("PrimitiveInt", json!({"value": ["6", 0]})),
            "6": node("PrimitiveInt", json!({"value": 4096})),
        });
        let found = check(&graph);
        assert_eq!(found.len(), 1, "{side}");
        let path = if side.is_array() { "6.value" } else { "1.width" };
        assert_eq!(found[0].0, path);
        assert!(found[0].1.starts_with("node 1 (EmptyLatentImage) would make 4096x512;"), "{}", found[0].1);
    }
}

#[test]
fn sides_that_only_condition_are_free() {
    let graph = |consumer: &str| {
        json!({
            "1": node("CLIPTextEncodeSDXL", json!({"width": 4096, "height": 4096, "clip": ["9", 1]})),
            "2": node("KSampler", json!({consumer: ["1", 0]})),
        })
    };
    for consumer in ["positive", "negative", "conditioning_1", "base_conditioning", "model", "clip"] {
        assert_eq!(check(&graph(consumer)), vec![], "{consumer}");
    }
    assert_eq!(check(&graph("latent_image")).len(), 2);
    let unused = json!({"1": node("MakeAndSave", json!({"width": 4096, "height": 64}))});
    assert_eq!(check(&unused).len(), 1);
}

#[test]
fn batches_are_counted_through_the_graph() {
    let table = [
        ("RepeatLatentBatch", json!({"samples": ["1", 0], "amount": 3}), Some(("3.amount", 6))),
        ("RepeatLatentBatch", json!({"samples": ["1", 0], "amount": 2}), None),
        ("LatentFromBatch", json!({"samples": ["1", 0], "batch_index": 0, "length": 64}), None),
        ("LatentFromBatch", json!({"samples": ["7", 0], "batch_index": 0, "length": 64}), Some(("3.length", 64))),
        ("ImageBatch", json!({"image1": ["2", 0], "image2": ["2", 0]}), None),
        ("EmptyHunyuanLatentVideo", json!({"width": 64, "height": 64, "length": 121, "batch_size": 1}), None),
        ("AnyNode", json!({"latent": ["1", 0], "batch_size": 9}), Some(("3.batch_size", 9))),
    ];
    for (class, inputs, expected) in table {
        let found = check(&chain(json!(512), json!(2), class, inputs.clone()));
        let expected: Vec<(String, String)> = expected
            .into_iter()
            .map(|(path, batch)| {
                let message =
                    format!("node 3 ({class}) would make a batch of {batch}; the limit is 4 (MAX_BATCH_SIZE)");
                (path.to_owned(), message)
            })
            .collect();
        assert_eq!(found, expected, "{class} {inputs}");
    }
    let joined = chain(json!(512), json!(4), "ImageBatch", json!({"image1": ["2", 0], "image2": ["2", 0]}));
    assert_eq!(check(&joined)[0].0, "3.image2");
}

#[test]
fn the_factor_of_an_upscale_model_is_in_its_name() {
    for (file, side) in [
        ("4x-UltraSharp.pth", 2052),
        ("RealESRGAN_x2plus.pth", 1026),
        ("8x_NMKD.pth", 4104),
        ("SwinIR_4x.pth", 2052),
        ("unknown.pth", 2052),
        ("model-x1024.pth", 2052),
    ] {
        let mut graph =
            chain(json!(513), json!(1), "ImageUpscaleWithModel", json!({"image": ["2", 0], "upscale_model": ["8", 0]}));
        graph["8"]["inputs"]["model_name"] = json!(file);
        let found = check(&graph);
        if side > 2048 {
            assert_eq!(found[0].0, "8.model_name");
            assert!(found[0].1.contains(&format!("{side}x{side}")), "{file}: {}", found[0].1);
        } else {
            assert_eq!(found, vec![], "{file}");
        }
    }
}

#[test]
fn absurd_numbers_and_cycles_neither_overflow_nor_hang() {
    let mut graph = Map::new();
    graph.insert("0".into(), node("EmptyImage", json!({"width": u64::MAX, "height": 1e300, "batch_size": -5})));
    for at in 1..400 {
        let before = (at - 1).to_string();
        graph.insert(at.to_string(), node("ImageScaleBy", json!({"image": [before, 0], "scale_by": 1e9})));
    }
    let found = check(&Value::Object(graph));
    assert!(found.iter().all(|(_, message)| message.contains("18446744073709551615")), "{:?}", found.first());
    let cycle = json!({
        "1": node("LatentUpscaleBy", json!({"samples": ["2", 0], "scale_by": 2})),
        "2": node("LatentUpscaleBy", json!({"samples": ["1", 0], "scale_by": 2})),
        "3": node("EmptyLatentImage", json!({"width": ["4", 0], "height": 4096})),
        "4": node("PrimitiveInt", json!({"value": ["4", 0]})),
    });
    assert_eq!(
        check(&cycle),
        vec![(
            "3.height".to_owned(),
            "node 3 (EmptyLatentImage) would make a height of 4096; the limit is 2048 (MAX_IMAGE_SIZE)".to_owned()
        )]
    );
    assert_eq!(check(&json!({"1": 5, "2": {"class_type": "X"}, "3": {"inputs": {"width": 9999}}})), vec![]);
}

#[test]
fn a_composite_has_the_size_of_its_canvas() {
    let graph = json!({
        "1": node("EmptyImage", json!({"width": 2048, "height": 2048, "batch_size": 1})),
        "2": node("EmptyImage", json!({"width": 512, "height": 512, "batch_size": 1})),
        "3": node("ImageCompositeMasked", json!({"destination": ["2", 0], "source": ["1", 0]})),
        "4": node("ImageScaleBy", json!({"image": ["3", 0], "scale_by": 4})),
    });
    assert_eq!(check(&graph), vec![]);
}
