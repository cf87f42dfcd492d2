//! `MAX_IMAGE_SIZE` and `MAX_BATCH_SIZE`, on the graph that would run.

use gateway_testkit::TestGateway;
use serde_json::{Value, json};

use super::support::{invalid, offline, picture_workflow};

fn save(source: &str) -> Value {
    json!({"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": "x"}})
}

fn picture(width: Value, batch: Value) -> Value {
    json!({"class_type": "EmptyImage", "inputs": {"width": width, "height": 64, "batch_size": batch, "color": 0}})
}

async fn check(test: &TestGateway, workflow: &str, part: &str, values: Value, fault: Option<(&str, &str)>) {
    let mut body = json!({"workflowId": workflow, "inputs": {}});
    body[part] = values.clone();
    let submitted = test.post("/jobs", &body).await;
    body.as_object_mut().unwrap().remove("workflowId");
    let validated = test.post(&format!("/workflows/{workflow}/validate"), &body).await;
    match fault {
        None => {
            assert_eq!((submitted.status, validated.status), (202, 200), "{workflow} {values}: {}", submitted.json());
        }
        Some((path, limit)) => {
            for answer in [submitted, validated] {
                let told = answer.json();
                assert_eq!(answer.status, 422, "{workflow} {values}");
                assert!(answer.fault_paths().iter().all(|each| each == path), "{workflow} {values}: {told}");
                assert!(told["errors"][0]["message"].as_str().unwrap().contains(limit), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_size_over_the_limit_is_refused_wherever_in_the_graph_it_comes_from() {
    let test = offline().await;
    let latent = json!({"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 512, "batch_size": 1}});
    let decoded =
        |samples: &str| json!({"class_type": "VAEDecode", "inputs": {"samples": [samples, 0], "vae": ["9", 2]}});
    let loader = json!({"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-random.safetensors"}});
    for (id, graph) in [
        ("literal", json!({"1": picture(json!(4096), json!(1)), "2": save("1")})),
        ("crowd", json!({"1": picture(json!(64), json!(5)), "2": save("1")})),
        (
            "scaled",
            json!({
                "1": latent, "9": loader, "4": decoded("2"), "5": save("4"),
                "2": {"class_type": "LatentUpscaleBy", "inputs": {
                    "samples": ["1", 0], "upscale_method": "nearest-exact", "scale_by": "{{scale}}"
                }}
            }),
        ),
        (
            "linked",
            json!({
                "1": {"class_type": "PrimitiveInt", "inputs": {"value": "{{side}}"}},
                "2": picture(json!(["1", 0]), json!(1)), "3": save("2")
            }),
        ),
        (
            "repeated",
            json!({
                "1": latent, "9": loader, "4": decoded("2"), "5": save("4"),
                "2": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["1", 0], "amount": "{{times}}"}}
            }),
        ),
        (
            "resized",
            json!({
                "1": picture(json!(64), json!(1)), "3": save("2"),
                "2": {"class_type": "ImageScale", "inputs": {
                    "image": ["1", 0], "upscale_method": "lanczos", "width": "{{w}}", "height": 0, "crop": "disabled"
                }}
            }),
        ),
    ] {
        test.register(id, json!({"workflow": graph})).await;
    }
    test.register("picture", picture_workflow()).await;
    let (side, batch) = ("MAX_IMAGE_SIZE", "MAX_BATCH_SIZE");
    for (workflow, part, values, fault) in [
        ("tiny", "inputs", json!({"color": 1, "width": 2048, "height": 2048, "batch_size": 4}), None),
        ("tiny", "inputs", json!({"color": 1, "width": 2049}), Some(("/inputs/width", side))),
        ("tiny", "inputs", json!({"color": 1, "height": 2049}), Some(("/inputs/height", side))),
        ("tiny", "inputs", json!({"color": 1, "batch_size": 5}), Some(("/inputs/batch_size", batch))),
        ("tiny", "params", json!({"color": 1, "width": 2049}), Some(("/params/width", side))),
        ("picture", "inputs", json!({"prompt": "a", "width": 4096}), Some(("/inputs/width", side))),
        ("picture", "inputs", json!({"prompt": "a", "batch": 64}), Some(("/inputs/batch", batch))),
        ("literal", "inputs", json!({}), Some(("/workflowId", side))),
        ("crowd", "inputs", json!({}), Some(("/workflowId", batch))),
        ("scaled", "inputs", json!({"scale": 2.0}), None),
        ("scaled", "inputs", json!({"scale": 2.1}), Some(("/inputs/scale", side))),
        ("linked", "inputs", json!({"side": 2048}), None),
        ("linked", "inputs", json!({"side": 2049}), Some(("/inputs/side", side))),
        ("linked", "inputs", json!({"side": 1_000_000_000_000_u64}), Some(("/inputs/side", side))),
        ("repeated", "inputs", json!({"times": 4}), None),
        ("repeated", "inputs", json!({"times": 5}), Some(("/inputs/times", batch))),
        ("resized", "inputs", json!({"w": 2048}), None),
        ("resized", "inputs", json!({"w": 2056}), Some(("/inputs/w", side))),
    ] {
        check(&test, workflow, part, values, fault).await;
    }
    let both = json!({"workflowId": "tiny", "inputs": {"color": 1, "width": 3000, "batch_size": 9}});
    invalid(&test.post("/jobs", &both).await, &["/inputs/batch_size", "/inputs/width"]);
}
