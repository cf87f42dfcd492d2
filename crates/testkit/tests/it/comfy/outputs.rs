//! What a run makes, found and kept whatever kind it is of.

use std::path::Path;

use gateway_testkit::{TestBuilder, TestGateway, sha256};
use serde_json::{Value, json};

use super::support::*;

fn picture(color: Value, batch: u64) -> Value {
    json!({"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": batch, "color": color}})
}

fn node(class: &str, inputs: Value) -> Value {
    json!({"class_type": class, "inputs": inputs})
}

async fn bytes_of(test: &TestGateway, output: &Value) -> Vec<u8> {
    let bytes = test.get(output["url"].as_str().expect("a URL")).await.expect(200).bytes;
    assert_eq!(output["size"], bytes.len(), "{output}");
    assert_eq!(output["sha256"], sha256(&bytes), "{output}");
    bytes
}

fn kinds(job: &Value) -> Vec<(&str, &str)> {
    let outputs = job["outputs"].as_array().expect("outputs");
    let mut kinds: Vec<_> = outputs
        .iter()
        .map(|output| (output["nodeId"].as_str().unwrap(), output["contentType"].as_str().unwrap()))
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn pictures_texts_animations_and_socket_pictures_of_several_nodes_are_collected() {
    let test = gateway(TestBuilder::default().settings(|settings| settings.cache.ttl = None)).await;
    let graph = json!({
        "1": picture(json!("{{color}}"), 3),
        "2": node("SaveImage", json!({"images": ["1", 0], "filename_prefix": "x"})),
        "3": node("PreviewImage", json!({"images": ["1", 0]})),
        "4": node("PreviewAny", json!({"source": "{{color}}"})),
        "5": node("SaveImageWebsocket", json!({"images": ["1", 0]})),
        "6": node("SaveAnimatedWEBP", json!({
            "images": ["1", 0], "filename_prefix": "y", "fps": 6.0, "lossless": true, "quality": 80, "method": "default"
        }))
    });
    let schema = json!({"type": "object", "properties": {"color": {"type": "integer"}}, "required": ["color"]});
    test.register("many", json!({"workflow": graph, "inputSchema": schema})).await;
    test.register("temp", json!({"workflow": graph, "inputSchema": schema, "outputs": ["3", "4"]})).await;

    let png = |id| [(id, "image/png"); 3];
    let mut wanted = [png("2"), png("5")].concat();
    wanted.extend([("4", "text/plain; charset=utf-8"), ("6", "image/webp")]);
    wanted.sort_unstable();
    for round in 0..2 {
        // The second time ComfyUI answers from its cache.
        let job = test.run("many", json!({"color": 255})).await;
        succeeded(&job, 1);
        assert_eq!(kinds(&job), wanted, "round {round}: {job}");
        for output in job["outputs"].as_array().unwrap() {
            let bytes = bytes_of(&test, output).await;
            match output["contentType"].as_str().unwrap() {
                "image/png" => {
                    let pixel = image::load_from_memory(&bytes).unwrap().to_rgb8().get_pixel(5, 5).0;
                    assert_eq!(pixel, [0, 0, 255], "{output}");
                }
                "image/webp" => assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WEBP"[..])),
                _ => assert_eq!(String::from_utf8(bytes).unwrap(), "255"),
            }
        }
    }

    for _ in 0..2 {
        let job = test.run("temp", json!({"color": 16711680})).await;
        succeeded(&job, 1);
        let wanted = [&png("3")[..], &[("4", "text/plain; charset=utf-8")]].concat();
        assert_eq!(kinds(&job), wanted, "only what the workflow declares: {job}");
    }
}

#[tokio::test]
async fn socket_pictures_that_come_after_the_history_are_waited_for() {
    let test = gateway(TestBuilder::default()).await;
    let graph = json!({
        "1": picture(json!("{{color}}"), 2),
        "2": node("SaveImageWebsocket", json!({"images": ["1", 0]}))
    });
    let schema = json!({"type": "object", "properties": {"color": {"type": "integer"}}});
    test.register("socket", json!({"workflow": graph, "inputSchema": schema})).await;
    test.sim.update(|switches| switches.hold_events = true);
    let id = test.submit("socket", json!({"color": 1})).await;
    gateway_testkit::until("the history was asked for", || async {
        let asked = test.sim.stats().requests.get("GET /history/{prompt_id}").copied().unwrap_or_default();
        (asked > 0).then_some(())
    })
    .await;
    test.sim.update(|switches| switches.hold_events = false);
    let job = test.wait_ended(&id).await;
    succeeded(&job, 1);
    assert_eq!(job["outputs"].as_array().map(Vec::len), Some(2), "{job}");
}

async fn register_bundled(test: &TestGateway, id: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows");
    let read = |name: String| -> Value { serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap() };
    let body = json!({"workflow": read(format!("{id}.json")), "inputSchema": read(format!("{id}.schema.json"))});
    test.register(id, body).await;
}

#[tokio::test]
async fn the_bundled_workflows_make_what_they_promise() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.step_ms = 0);
    for id in ["sdxl_realism_v1", "icon_512", "sprite_transparent_bg"] {
        register_bundled(&test, id).await;
    }
    let job =
        test.run("sdxl_realism_v1", json!({"prompt": "a lighthouse", "width": 512, "height": 384, "steps": 2})).await;
    succeeded(&job, 1);
    assert_eq!((&job["outputs"][0]["width"], &job["outputs"][0]["height"]), (&json!(512), &json!(384)), "{job}");

    let plain = test.run("icon_512", json!({"prompt": "a rocket", "steps": 2})).await;
    let doubled = test.run("icon_512", json!({"prompt": "a rocket", "steps": 2, "upscale": 2})).await;
    for (job, side) in [(&plain, 512), (&doubled, 1024)] {
        succeeded(job, 1);
        let picture = image::load_from_memory(&bytes_of(&test, &job["outputs"][0]).await).unwrap();
        assert_eq!((picture.width(), picture.height()), (side, side), "{job}");
    }

    let job =
        test.run("sprite_transparent_bg", json!({"prompt": "a knight", "width": 256, "height": 256, "steps": 2})).await;
    succeeded(&job, 1);
    let picture = image::load_from_memory(&bytes_of(&test, &job["outputs"][0]).await).unwrap().to_rgba8();
    let transparent = picture.pixels().filter(|pixel| pixel.0[3] == 0).count();
    let opaque = picture.pixels().filter(|pixel| pixel.0[3] == 255).count();
    assert!(transparent > 256 * 256 / 20 && opaque > 256 * 256 / 20, "{transparent} transparent, {opaque} opaque");
}

#[tokio::test]
async fn a_large_output_is_kept_byte_for_byte() {
    let test = gateway(TestBuilder::default()).await;
    test.sim.update(|switches| switches.output_bytes = 64 << 20);
    let job = test.run("tiny", json!({"color": 1})).await;
    succeeded(&job, 1);
    let bytes = bytes_of(&test, &job["outputs"][0]).await;
    assert!(bytes.len() >= 64 << 20, "{job}");
    let url = format!(
        "{}/view?filename=1_00001_.png&subfolder=gateway/{}&type=output",
        test.sim.url(),
        job["jobId"].as_str().unwrap()
    );
    let original = test.client().get(url).send().await.unwrap();
    assert_eq!(original.status(), 200);
    assert_eq!(sha256(&original.bytes().await.unwrap()), sha256(&bytes));
}
